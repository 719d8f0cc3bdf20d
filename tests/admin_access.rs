//! Who may call the admin API: tokens, logins, and requests of other sites.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/admin.rs"]
mod admin_site;
mod common;

use std::time::Duration;

use admin_site::{BEARER, CALLS, EVERYTHING, OURS, Site, TOKEN, call, credentials, error, login, pages};
use axum::body::Body;
use axum_isr::Isr;
use axum_isr::admin::{self, AdminConfig};
use common::{Tap, body, header, send};

const HALF_A_DAY: Duration = Duration::from_secs(43_200);
const SECOND: Duration = Duration::from_secs(1);

/// The cookie goes to the router alone, not to scripts, and without TLS only on one machine.
#[tokio::test]
async fn a_login_is_a_cookie_for_the_router_alone() {
    for (host, config, life, secure) in [
        ("example.com", AdminConfig::new(TOKEN), 43_200, "; Secure"),
        ("localhost:3000", AdminConfig::new(TOKEN), 43_200, ""),
        ("127.0.0.1", AdminConfig::new(TOKEN), 43_200, ""),
        ("[::1]:80", AdminConfig::new(TOKEN), 43_200, ""),
        ("example.com", AdminConfig::new(TOKEN).session(Duration::from_millis(90_900)), 90, "; Secure"),
    ] {
        let site = Site::with(config);
        let response = site.post("/_isr/login", &[OURS, ("host", host)], credentials(TOKEN)).await;
        assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (204, "no-store"));
        assert!(response.headers()["set-cookie"].is_sensitive());
        let cookie = header(&response, "set-cookie").to_owned();
        let (session, rest) = cookie.split_once(';').unwrap();
        assert_eq!(rest, format!(" HttpOnly; SameSite=Strict; Path=/_isr; Max-Age={life}{secure}"), "{host}");
        let mac = session.strip_prefix(&format!("axum-isr-session={}.", 1_767_225_600 + life)).unwrap();
        assert!(mac.len() == 64 && mac.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{mac}");
        assert_eq!(body(response).await, "");
    }
    // As it is pasted; with the token in a header it is no page that asks.
    let site = Site::new();
    for (headers, token) in [(OURS, format!("\n {TOKEN}\t")), (BEARER, TOKEN.to_owned())] {
        assert_eq!(site.post("/_isr/login", &[headers], credentials(&token)).await.status(), 204);
    }
}

/// Nothing is kept of it: every process with the token knows it, for as long as it says.
#[tokio::test]
async fn a_session_is_as_good_as_the_token_until_it_ends() {
    let (site, other) = (Site::new(), Site::new());
    let cookie = site.login().await;
    other.clock.advance(HALF_A_DAY);
    other.clock.rewind(SECOND);
    let among = format!("theme=dark; {cookie}; x=\"y\"");
    for (site, headers) in [
        (&site, &[("cookie", &*cookie), OURS][..]),
        (&site, &[("cookie", &among), OURS]),
        (&site, &[("cookie", "theme=dark"), ("cookie", &cookie), OURS]),
        (&other, &[("cookie", &cookie), OURS]),
        // A proxy in front has asked for a password of its own.
        (&site, &[("cookie", &cookie), OURS, ("authorization", "Basic YTpi")]),
    ] {
        for (method, path, text) in CALLS {
            let request = call(method, &format!("/_isr{path}"), headers, text);
            assert_eq!(send(&site.app, request).await.status(), 200, "{path} {headers:?}");
        }
    }
    site.clock.advance(HALF_A_DAY);
    let before = site.isr.stats().invalidations;
    for (method, path, text) in CALLS {
        let request = call(method, &format!("/_isr{path}"), &[("cookie", &cookie), OURS], text);
        assert_eq!(send(&site.app, request).await.status(), 401, "{path}");
    }
    assert_eq!(site.isr.stats().invalidations, before);
    // Who is logged out has no cookie; the others stay.
    let again = site.login().await;
    assert_eq!(site.post("/_isr/api/expire", &[("cookie", &again), OURS], EVERYTHING).await.status(), 200);
}

/// CASES 141: what was not made with the token, is over or is there twice is no session.
#[tokio::test]
async fn a_forged_session_is_none() {
    let site = Site::new();
    let cookie = site.login().await;
    let (name, session) = cookie.split_once('=').unwrap();
    let (expiry, mac) = session.split_once('.').unwrap();
    let another = Site::with(AdminConfig::new("another-token-of-16"));
    let of_another = login(&another.app, "/_isr", "another-token-of-16").await;
    let flipped = if mac.starts_with('0') { "1" } else { "0" };
    let forged = [
        String::new(),
        name.to_owned(),
        format!("{name}="),
        format!("{name}=."),
        format!("{name}={TOKEN}"),
        format!("{name}={expiry}"),
        format!("{name}={expiry}."),
        format!("{name}={expiry}.{flipped}{}", &mac[1..]),
        format!("{name}={expiry}.{}", &mac[1..]),
        format!("{name}={session}0"),
        format!("{name}={expiry}.{}", mac.to_uppercase()),
        format!("{name}=9999999999.{mac}"),
        format!("{name}=0{session}"),
        format!("{name}=+{session}"),
        format!("{name}=\"{session}\""),
        format!("{cookie}; {cookie}"),
        format!("{cookie}; {name}="),
        format!("{name}=x; {cookie}"),
        format!("X{cookie}"),
        cookie.to_uppercase(),
        format!("{name}={}", "1".repeat(100_000)),
        of_another,
    ];
    for cookie in &forged {
        let response = site.post("/_isr/api/expire", &[("cookie", cookie), OURS], EVERYTHING).await;
        assert_eq!((response.status().as_u16(), header(&response, "www-authenticate")), (401, "Bearer"), "{cookie}");
    }
    let split = [("cookie", &*cookie), ("cookie", &cookie), OURS];
    assert_eq!(site.post("/_isr/api/expire", &split, EVERYTHING).await.status(), 401);
    let mut bytes = call("POST", "/_isr/api/expire", &[OURS], EVERYTHING);
    let value = http::HeaderValue::from_bytes(b"axum-isr-session=\xff\xfe.\x80").unwrap();
    bytes.headers_mut().insert("cookie", value);
    assert_eq!(send(&site.app, bytes).await.status(), 401);
    assert_eq!(site.isr.stats().invalidations, 0);
}

/// Nor can another site, or another host of ours, look by the browser of who is logged in: a stream has a place.
#[tokio::test]
async fn other_sites_do_not_look() {
    let site = Site::new();
    let cookie = site.login().await;
    for (from, expected) in [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("", 403)] {
        let headers = [("cookie", &*cookie), ("sec-fetch-site", from)];
        for path in ["/_isr/api/stats", "/_isr/api/events"] {
            assert_eq!(send(&site.app, call("GET", path, &headers, "")).await.status(), expected, "{from}: {path}");
        }
    }
    let token = [BEARER, ("sec-fetch-site", "cross-site")];
    assert_eq!(send(&site.app, call("GET", "/_isr/api/stats", &token, "")).await.status(), 200);
}

/// Another site can neither act, nor log anybody in or out; whoever has the token in a header is no page of any site.
#[tokio::test]
async fn requests_of_other_sites_do_nothing() {
    let site = Site::new();
    let cookie = site.login().await;
    let session = ("cookie", &*cookie);
    let from = |site: &'static str| ("sec-fetch-site", site);
    for (headers, expected) in [
        (&[OURS][..], true),
        (&[OURS, from("same-origin")], true),
        (&[BEARER], true),
        (&[BEARER, from("cross-site")], true),
        (&[], false),
        (&[from("same-origin")], false),
        (&[OURS, from("same-site")], false),
        (&[OURS, from("cross-site")], false),
        (&[OURS, from("none")], false),
        (&[OURS, from("")], false),
        (&[OURS, from("same-origin"), from("cross-site")], false),
        (&[("x-axum-isr", "0")], false),
        (&[("x-axum-isr", "")], false),
        (&[OURS, ("x-axum-isr", "2")], false),
        (&[("x-axum-isr", "1, 1")], false),
    ] {
        let before = site.isr.stats().invalidations;
        let with_session = [headers, &[session]].concat();
        let status = async |path: &str, text: &str| {
            let response = site.post(path, &with_session, text.to_owned()).await;
            let (status, cookie) = (response.status().as_u16(), response.headers().contains_key("set-cookie"));
            if status == 403 {
                assert!(error(response).await.starts_with("headers: expected x-axum-isr: 1"), "{path}");
            }
            (status, cookie)
        };
        let seen = [
            status("/_isr/login", &credentials(TOKEN)).await,
            status("/_isr/logout", "").await,
            status("/_isr/api/expire", EVERYTHING).await,
            status("/_isr/api/regenerate", r#"{"tag":"a"}"#).await,
        ];
        let all = if expected { [(204, true), (204, true), (200, false), (200, false)] } else { [(403, false); 4] };
        assert_eq!(seen, all, "{headers:?}");
        assert_eq!(site.isr.stats().invalidations > before, expected, "{headers:?}");
    }
    // Who has no session learns that first.
    assert_eq!(site.post("/_isr/api/expire", &[], EVERYTHING).await.status(), 401);
}

/// CASES 141: without exactly the token nothing, with the same answer for all that is wrong.
#[tokio::test]
async fn a_wrong_token_is_told_nothing() {
    let site = Site::new();
    let prefix = &TOKEN[..TOKEN.len() - 1];
    let longer = format!("{TOKEN}x");
    let upper = TOKEN.to_uppercase();
    let mut answers = Vec::new();
    for token in ["", " ", "wrong", prefix, &longer, &upper, "\u{0}", "é", &"x".repeat(4_000)] {
        let response = site.post("/_isr/login", &[OURS], credentials(token)).await;
        assert!(!response.headers().contains_key("set-cookie"), "{token}");
        answers.push(plain(response).await);
    }
    let cookie = site.login().await;
    for lines in [
        &[][..],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &["Bearer wrong"],
        &[&*format!("Bearer {prefix}")],
        &[&format!("Bearer {longer}")],
        &[&format!("Bearer {upper}")],
        &[&format!("Basic {TOKEN}")],
        &[&format!("Bearer{TOKEN}")],
        &[TOKEN],
        &[&format!("Bearer {TOKEN}, Bearer {TOKEN}")],
        &[&format!("Bearer {TOKEN}"), &format!("Bearer {TOKEN}")],
        &["Bearer wrong", &format!("Bearer {TOKEN}")],
        &[&format!("Bearer {TOKEN}"), "Basic YTpi"],
    ] {
        let mut headers: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
        // A bearer token that is wrong is not made good by a session.
        if lines.iter().any(|line| line.starts_with("Bearer") && !line.starts_with("Bearerc")) {
            headers.extend([("cookie", &*cookie), OURS]);
        }
        for (method, path, text) in CALLS {
            let path = format!("/_isr{path}?token={TOKEN}&access_token={TOKEN}");
            answers.push(plain(send(&site.app, call(method, &path, &headers, text)).await).await);
        }
    }
    for session in ["/_isr/login", "/_isr/logout"] {
        let headers = [("authorization", "Bearer wrong"), OURS];
        answers.push(plain(site.post(session, &headers, credentials(TOKEN)).await).await);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers[0].starts_with("401 Unauthorized") && answers[0].contains("\"www-authenticate\": \"Bearer\""));
    assert_eq!(site.isr.stats().invalidations, 0);
    for good in [format!("bearer {TOKEN}"), format!("BEARER  {TOKEN}")] {
        let response = site.post("/_isr/api/expire", &[("authorization", &good)], EVERYTHING).await;
        assert_eq!(response.status(), 200, "{good}");
    }
}

/// All of an answer.
async fn plain(response: axum::response::Response) -> String {
    format!("{} {:?} ", response.status(), response.headers()) + &body(response).await
}

/// A login is small, and what is wrong with it is not repeated: it may be a part of the token.
#[tokio::test]
async fn a_login_that_cannot_be_read_is_not_repeated() {
    let site = Site::new();
    for text in [
        String::new(),
        TOKEN.to_owned(),
        format!("token={TOKEN}"),
        format!("\"{TOKEN}\""),
        format!(r#"["{TOKEN}"]"#),
        format!(r#"{{"{TOKEN}":1}}"#),
        format!(r#"{{"token":["{TOKEN}"]}}"#),
        format!(r#"{{"token":"{TOKEN}","{TOKEN}":"x"}}"#),
        format!(r#"{{"token":"{TOKEN}","token":"{TOKEN}"}}"#),
        format!(r#"{{"token":"{TOKEN}"}} {TOKEN}"#),
        r#"{"token":1234567890123456}"#.to_owned(),
        "{}".to_owned(),
    ] {
        let response = site.post("/_isr/login", &[OURS], text.clone()).await;
        assert_eq!(response.status(), 400, "{text}");
        assert_eq!(error(response).await, r#"body: expected {"token": "…"}, got something else"#, "{text}");
    }
    let padded = |bytes: usize| {
        let text = credentials(TOKEN);
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    assert_eq!(site.post("/_isr/login", &[OURS], padded(4_096)).await.status(), 204);
    let response = site.post("/_isr/login", &[OURS], padded(4_097)).await;
    assert_eq!(response.status(), 413);
    assert_eq!(error(response).await, "body: expected at most 4096 bytes, got more");
}

/// Who may not is told so before the body is read: one that never ends keeps nobody.
#[tokio::test]
async fn nothing_is_read_of_who_may_not() {
    let site = Site::new();
    for (path, headers, status) in [
        ("/_isr/api/expire", &[OURS][..], 401),
        ("/_isr/api/revalidate", &[OURS], 401),
        ("/_isr/api/regenerate", &[OURS], 401),
        ("/_isr/login", &[], 403),
        ("/_isr/login", &[("authorization", "Bearer wrong"), OURS], 401),
        ("/_isr/logout", &[OURS], 204),
    ] {
        let (tap, endless) = Tap::open();
        let answer = Box::pin(site.post(path, headers, endless));
        let std::task::Poll::Ready(response) = futures_util::poll!(answer) else {
            panic!("{path} waits for the body");
        };
        assert_eq!(response.status(), status, "{path}");
        drop(tap);
    }
}

/// The cookie is taken back, whether there is a session or not.
#[tokio::test]
async fn who_logs_out_has_no_cookie() {
    let site = Site::new();
    let cookie = site.login().await;
    for headers in [&[OURS, ("host", "localhost")][..], &[OURS, ("host", "localhost"), ("cookie", &cookie)]] {
        let response = site.post("/_isr/logout", headers, Body::empty()).await;
        assert_eq!(response.status(), 204);
        let expected = "axum-isr-session=; HttpOnly; SameSite=Strict; Path=/_isr; Max-Age=0";
        assert_eq!(header(&response, "set-cookie"), expected);
    }
}

/// Each router has its cookie: nested in another nest, alone, or twice with two tokens.
#[tokio::test]
async fn the_cookie_is_for_where_the_router_is() {
    let isr = Isr::builder().build().unwrap();
    let other = "another-token-of-16";
    let router = |token: &str| admin::router::<Isr>(AdminConfig::new(token)).unwrap();
    let app = pages(&isr)
        .nest("/one", router(TOKEN))
        .nest("/two", axum::Router::new().nest("/deep", router(other)))
        .nest("/of/{tenant}/admin", router(TOKEN))
        .nest_service("/service", router(TOKEN).with_state(isr.clone()))
        .with_state(isr.clone());
    let alone: axum::Router = router(TOKEN).with_state(isr.clone());
    for (app, base, token, path) in [
        (&app, "/one", TOKEN, "; Path=/one"),
        (&app, "/two/deep", other, "; Path=/two/deep"),
        (&app, "/of/me/admin", TOKEN, "; Path=/of/me/admin"),
        // Then the browser takes the path up to the last slash.
        (&app, "/of/a;Path=%2F/admin", TOKEN, ""),
        (&app, "/service", TOKEN, "; Path=/service"),
        (&alone, "", TOKEN, "; Path=/"),
    ] {
        for end in ["login", "logout"] {
            let response = send(app, call("POST", &format!("{base}/{end}"), &[OURS], credentials(token))).await;
            let attributes = header(&response, "set-cookie").split_once(';').unwrap().1;
            let life = if end == "login" { 43_200 } else { 0 };
            let expected = format!(" HttpOnly; SameSite=Strict{path}; Max-Age={life}; Secure");
            assert_eq!(attributes, expected, "{base}/{end}");
        }
    }
    let cookie = login(&app, "/one", TOKEN).await;
    for (base, expected) in [("/one", 200), ("/two/deep", 401), ("/service", 200)] {
        let request = call("POST", &format!("{base}/api/expire"), &[("cookie", &cookie), OURS], EVERYTHING);
        assert_eq!(send(&app, request).await.status(), expected, "{base}");
    }
}
