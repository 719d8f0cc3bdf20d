//! The admin router: the page, what all answers have in common, and where it may be.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/admin.rs"]
mod admin_site;
mod common;

use std::time::Duration;

use admin_site::{BEARER, CALLS, EVERYTHING, OURS, Site, TOKEN, call, credentials, error, login, pages};
use axum::Router;
use axum::response::Response;
use axum_isr::admin::{self, AdminConfig};
use axum_isr::{Isr, RouteConfig};
use base64::Engine as _;
use common::{Logs, body, fetch, header, send, state};
use sha2::{Digest, Sha256};

fn has_the_headers_of_all(response: &Response, what: &str) {
    for (name, expected) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let values: Vec<_> = response.headers().get_all(name).iter().collect();
        assert_eq!(values, [expected], "{what}: {name}");
    }
}

/// Whatever is answered: kept by nobody, of nobody else's page; and why not is JSON.
#[tokio::test]
async fn every_answer_has_the_same_headers() {
    let site = Site::new();
    let cookie = site.login().await;
    let large = format!(r#"{{"tags":["{}"]}}"#, "x".repeat(64 << 10));
    let good = credentials(TOKEN);
    for (method, path, headers, text, status) in [
        ("GET", "/_isr", &[][..], "", 200),
        ("HEAD", "/_isr", &[], "", 200),
        ("POST", "/_isr", &[BEARER], "", 405),
        ("POST", "/_isr/login", &[OURS], &*good, 204),
        ("POST", "/_isr/login", &[OURS], "{}", 400),
        ("POST", "/_isr/login", &[OURS], r#"{"token":"wrong"}"#, 401),
        ("POST", "/_isr/login", &[], &good, 403),
        ("GET", "/_isr/login", &[], "", 405),
        ("POST", "/_isr/login", &[OURS], &large, 413),
        ("POST", "/_isr/logout", &[OURS], "", 204),
        ("POST", "/_isr/logout", &[], "", 403),
        ("DELETE", "/_isr/logout", &[OURS], "", 405),
        ("POST", "/_isr/api/expire", &[BEARER], EVERYTHING, 200),
        ("POST", "/_isr/api/expire", &[BEARER], "{}", 400),
        ("POST", "/_isr/api/expire", &[], EVERYTHING, 401),
        ("POST", "/_isr/api/expire", &[("cookie", &cookie)], EVERYTHING, 403),
        ("GET", "/_isr/api/expire", &[BEARER], "", 405),
        ("OPTIONS", "/_isr/api/expire", &[("origin", "https://example.com")], "", 405),
        ("POST", "/_isr/api/expire", &[BEARER], &large, 413),
        ("POST", "/_isr/api/regenerate", &[BEARER], r#"{"tag":"a"}"#, 200),
        ("POST", "/_isr/api/regenerate", &[BEARER], &large, 413),
        ("GET", "/_isr/api", &[], "", 404),
        ("GET", "/_isr/api/unknown", &[BEARER], "", 404),
        ("POST", "/_isr/unknown", &[], "", 404),
        ("GET", "/_isr/login/", &[], "", 404),
    ] {
        let what = format!("{method} {path} {headers:?}");
        let response = send(&site.app, call(method, path, headers, text.to_owned())).await;
        assert_eq!(response.status(), status, "{what}");
        has_the_headers_of_all(&response, &what);
        let allow = match (status, path) {
            (405, "/_isr") => "GET,HEAD",
            (405, _) => "POST",
            _ => "",
        };
        assert_eq!(header(&response, "allow"), allow, "{what}");
        assert_eq!(header(&response, "www-authenticate"), if status == 401 { "Bearer" } else { "" }, "{what}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{what}");
        if status >= 400 {
            assert!(error(response).await.contains(": expected "), "{what}");
        }
    }
    // What is not below it is the application's.
    let response = fetch(&site.app, "/unknown").await;
    assert_eq!((response.status().as_u16(), header(&response, "x-content-type-options")), (404, ""));
}

/// A browser runs the page's own style and script, and nothing else.
#[tokio::test]
async fn the_policy_allows_what_is_in_the_page_alone() {
    let site = Site::new();
    let response = fetch(&site.app, "/_isr").await;
    for (name, expected) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(header(&response, name), expected);
    }
    let policy = header(&response, "content-security-policy").to_owned();
    let html = body(response).await;
    let lower = html.to_ascii_lowercase();
    let inline = |tag: &str| {
        assert_eq!(lower.matches(&format!("<{tag}")).count(), 1, "one {tag}");
        let start = lower.find(&format!("<{tag}")).unwrap();
        let start = start + html[start..].find('>').unwrap() + 1;
        let end = start + lower[start..].find(&format!("</{tag}")).unwrap();
        let digest = Sha256::digest(&html[start..end]);
        format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
    };
    let (script, style) = (inline("script"), inline("style"));
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
    // Nothing is left to fill in, and nothing comes from elsewhere.
    assert_eq!(lower.matches("<link").count(), lower.matches("<link rel=\"icon\" href=\"data:").count());
    for part in ["{{style}}", "{{script}}", " src=\"http", "<iframe", "<base"] {
        assert!(!lower.contains(part), "{part}");
    }
    // It is the same for everybody: there is no data in it.
    let cookie = site.login().await;
    let again = send(&site.app, call("GET", "/_isr", &[("cookie", &cookie)], "")).await;
    assert_eq!(body(again).await, html);
}

/// Nested, nested in a nest, as a service, or alone. axum's `nest` has no slash at the end.
#[tokio::test]
async fn it_is_where_it_is_mounted() {
    let isr = Isr::builder().build().unwrap();
    let router = || admin::router::<Isr>(AdminConfig::new(TOKEN)).unwrap();
    let app = Router::new()
        .nest("/_isr", router())
        .nest("/in", Router::new().nest("/there", router()))
        .nest_service("/service", router().with_state(isr.clone()))
        .fallback(async || "the application's")
        .with_state(isr.clone());
    let alone: Router = router().with_state(isr.clone());
    for (app, path, expected) in [
        (&app, "/_isr", true),
        (&app, "/_isr?page=1", true),
        (&app, "/_isr/", false),
        (&app, "/in/there", true),
        (&app, "/in", false),
        (&app, "/service", true),
        (&app, "/service/", true),
        (&alone, "/", true),
    ] {
        let response = fetch(app, path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type").starts_with("text/html"), expected, "{path}");
    }
    for (app, base) in [(&app, "/_isr"), (&app, "/in/there"), (&app, "/service"), (&alone, "")] {
        let cookie = login(app, base, TOKEN).await;
        for (method, path, text) in CALLS {
            let request = call(method, &format!("{base}{path}"), &[("cookie", &cookie), OURS], text);
            assert_eq!(send(app, request).await.status(), 200, "{base}{path}");
        }
        let response = fetch(app, &format!("{base}/unknown")).await;
        assert_eq!(response.status(), 404);
        assert_eq!(error(response).await, "path: expected one of the admin API, got another");
    }
}

/// An application's own state may hold the handle, and a fallback of its own stays its own.
#[tokio::test]
async fn the_handle_may_be_a_part_of_the_state() {
    #[derive(Clone, axum::extract::FromRef)]
    struct App {
        isr: Isr,
    }
    let isr = Isr::builder().build().unwrap();
    let app: Router = Router::new()
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .with_state(App { isr: isr.clone() });
    let response = send(&app, call("POST", "/_isr/api/expire", &[BEARER], EVERYTHING)).await;
    assert_eq!((response.status().as_u16(), isr.stats().invalidations), (200, 1));
}

/// I2: a layer around everything keeps nothing of it, and shows nobody what another one was answered.
#[tokio::test]
async fn a_layer_around_everything_keeps_nothing_of_it() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new()
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .layer(isr.layer(RouteConfig::forever().statuses([
            http::StatusCode::NOT_FOUND,
            http::StatusCode::METHOD_NOT_ALLOWED,
            http::StatusCode::UNAUTHORIZED,
        ])))
        .with_state(isr.clone());
    let cookie = login(&app, "/_isr", TOKEN).await;
    for (path, status) in [("/_isr", 200), ("/_isr/api/expire", 405), ("/_isr/unknown", 404)] {
        for headers in [&[][..], &[BEARER], &[("cookie", &cookie)], &[]] {
            let response = send(&app, call("GET", path, headers, "")).await;
            assert_eq!((response.status().as_u16(), state(&response)), (status, ""), "{path}");
            has_the_headers_of_all(&response, path);
        }
    }
    for (headers, status) in [(&[BEARER][..], 200), (&[], 401), (&[("cookie", &cookie), OURS], 200)] {
        for (method, path, text) in CALLS {
            let response = send(&app, call(method, &format!("/_isr{path}"), headers, text)).await;
            assert_eq!((response.status().as_u16(), state(&response)), (status, ""), "{path} {headers:?}");
            has_the_headers_of_all(&response, path);
        }
    }
    let stats = isr.stats();
    assert_eq!((stats.hits, stats.stale, stats.flights), (0, 0, 0));
}

/// No error, no `Debug`, no log and no answer has the token.
#[tokio::test]
async fn nobody_is_shown_the_token() {
    let logs = Logs::capture();
    let config = AdminConfig::new(TOKEN).session(Duration::from_secs(60));
    assert_eq!(format!("{config:?}"), "AdminConfig { session: 60s, .. }");
    let router = admin::router::<Isr>(config.clone()).unwrap();
    assert!(!format!("{router:?} {router:#?}").contains(TOKEN));
    let site = Site::with(config);
    let cookie = site.login().await;
    let good = credentials(TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    for (method, path, headers, text) in [
        ("GET", "/_isr", &[BEARER][..], ""),
        ("POST", "/_isr/login", &[OURS], &*good),
        ("POST", "/_isr/login", &[OURS], TOKEN),
        ("POST", "/_isr/login", &[], &good),
        ("POST", "/_isr/logout", &[BEARER], &good),
        ("POST", "/_isr/api/expire", &[BEARER], EVERYTHING),
        ("POST", "/_isr/api/expire", &[BEARER, BEARER], EVERYTHING),
        ("POST", "/_isr/api/expire", &[("authorization", &bearer), ("cookie", &cookie)], "{}"),
        ("POST", "/_isr/api/regenerate", &[BEARER], r#"{"tag":"a"}"#),
        ("GET", "/_isr/api/expire", &[BEARER], ""),
        ("GET", "/_isr/api/unknown", &[BEARER], ""),
    ] {
        let response = send(&site.app, call(method, path, headers, text.to_owned())).await;
        let answer = format!("{:?}", response.headers()) + &body(response).await;
        assert!(!answer.contains(TOKEN), "{method} {path}: {answer}");
    }
    let session = cookie.split_once('=').unwrap().1;
    let logged = logs.lines().join("\n");
    assert!(!logged.is_empty() && !logged.contains(TOKEN) && !logged.contains(session), "{logged}");
}

/// CASES 141: without a token that is worth it there is no router, and the error does not show it.
#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let long = "x".repeat(1_025);
    for (token, expected) in [
        ("", "token: expected 16 or more characters, got 0"),
        ("s3cret-tokenxxx", "token: expected 16 or more characters, got 15"),
        (&*long, "token: expected at most 1024 characters, got 1025"),
        ("two words of sixteen", "token: expected visible ASCII without blanks, got something else"),
        ("caf\u{e9}-caf\u{e9}-caf\u{e9}-caf\u{e9}", "token: expected visible ASCII without blanks, got something else"),
        ("sixteen-of-them-\n", "token: expected visible ASCII without blanks, got something else"),
    ] {
        let problem = admin::router::<Isr>(AdminConfig::new(token)).unwrap_err();
        assert_eq!((problem.setting(), problem.to_string().as_str()), ("token", expected));
    }
    for life in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(400 * 86_400 + 1), Duration::MAX] {
        let problem = admin::router::<Isr>(AdminConfig::new(TOKEN).session(life)).unwrap_err();
        assert_eq!(problem.setting(), "session", "{problem}");
    }
    for (token, life) in [("x".repeat(16), 1), ("x".repeat(1_024), 400 * 86_400)] {
        let config = AdminConfig::new(token).session(Duration::from_secs(life));
        assert!(admin::router::<Isr>(config).is_ok());
    }
}

/// The longest token can be sent either way.
#[tokio::test]
async fn the_longest_token_can_log_in() {
    let token = "\"".repeat(1_024);
    let site = Site::with(AdminConfig::new(&token));
    let cookie = login(&site.app, "/_isr", &token).await;
    let bearer = format!("Bearer {token}");
    for headers in [&[("cookie", &*cookie), OURS][..], &[("authorization", &bearer)]] {
        assert_eq!(site.post("/_isr/api/expire", headers, EVERYTHING).await.status(), 200);
    }
    // The pages are the application's.
    let app: Router = pages(&site.isr).with_state(site.isr.clone());
    assert_eq!(fetch(&app, "/_isr").await.status(), 404);
}
