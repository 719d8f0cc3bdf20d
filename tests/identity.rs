//! Who a visitor is: credentials, cookies, previews, and where a login belongs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::config::ResponseHeaders;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::oracle::{Attack, LIFE, MARK, Seen, Site, mirror};
use common::{Handler, body, fetch, request, request_with, send, settled, state};
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

fn victim() -> Request {
    request("/page")
}

/// CASES 133: credentials, well-formed or not, are invisible to the page and no reason to render it anew.
#[tokio::test]
async fn credentials_are_not_in_the_page() {
    for lines in [
        &[("authorization", "Bearer mallory-5ecret")][..],
        &[("authorization", "Basic mallory-5ecret")],
        &[("authorization", "mallory-5ecret")],
        &[("authorization", "")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer a"), ("authorization", "Bearer mallory-5ecret")],
        &[("proxy-authorization", "Basic mallory-5ecret")],
        &[("cookie", "sid=mallory-5ecret"), ("authorization", "Negotiate mallory-5ecret")],
        &[("x-api-key", "mallory-5ecret")],
    ] {
        let requests = || vec![request_with("/page", lines)];
        let site = || Site::page(mirror(), plain());
        let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails("credentials").await;
        assert!(!after.attacker[0].holds(MARK), "{lines:?}: the visitor himself gets the page of everybody");
        assert_eq!((after.attacker[0].state, after.victims[0].state), ("MISS", "HIT"), "{lines:?}");
    }
}

async fn check_login(request: Request, next: Next) -> Response {
    match request.headers().get("authorization") {
        Some(value) if value == "Bearer good" => next.run(request).await,
        Some(_) => StatusCode::FORBIDDEN.into_response(),
        None => (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")]).into_response(),
    }
}

/// CASES 133, 134: a login check inside runs for the render, which has no login, so nothing is kept and each visitor is
/// checked; outside it is asked before each HIT. In neither order does anybody get in on what an authorised visitor left.
#[tokio::test]
async fn a_login_check_is_not_passed_by_with_the_page_of_another() {
    for inside in [true, false] {
        let site = Site::new(Handler::new(|_, _| async { "members only" }), |isr, handler| {
            let router = Router::new().route("/page", get(handler));
            if inside {
                router.layer(from_fn(check_login)).layer(isr.layer(plain()))
            } else {
                router.layer(isr.layer(plain())).layer(from_fn(check_login))
            }
        });
        let member = ("authorization", "Bearer good");
        let mut members = 0;
        for round in 0..2 {
            for (headers, status) in [
                (&[member][..], 200),
                (&[], 401),
                (&[("authorization", "Bearer bad")], 403),
                (&[member], 200),
                (&[], 401),
            ] {
                let seen = Seen::of(send(&site.app, request_with("/page", headers)).await).await;
                settled(&site.isr).await;
                let name = format!("inside {inside}, {headers:?}");
                assert_eq!((seen.status, seen.body == "members only"), (status, status == 200), "{name}");
                members += usize::from(status == 200);
                let expected = match (inside, status, members) {
                    (false, 200, 1) => "MISS",
                    (false, 200, 3) => "STALE",
                    (false, 200, _) => "HIT",
                    _ => "",
                };
                assert_eq!(seen.state, expected, "{name}, round {round}");
            }
            site.clock.advance(LIFE);
        }
        // Inside, the check answers the renders: the handler runs for members alone.
        assert_eq!((site.handler.calls(), site.isr.stats().stored), if inside { (4, 0) } else { (2, 2) });
    }
}

/// CASES 134: a page that is for members from now on: the regeneration that is refused takes the old page away.
#[tokio::test]
async fn a_page_that_is_closed_is_not_served_from_before() {
    for status in [401, 403, 407, 451] {
        let closed = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&closed);
        let site = Site::page(
            Handler::new(move |_, _| {
                let closed = now.load(Ordering::SeqCst);
                async move {
                    if closed { StatusCode::from_u16(status).unwrap().into_response() } else { "open".into_response() }
                }
            }),
            plain(),
        );
        fetch(&site.app, "/page").await;
        closed.store(true, Ordering::SeqCst);
        site.clock.advance(LIFE);
        fetch(&site.app, "/page").await;
        settled(&site.isr).await;
        for _ in 0..2 {
            let response = fetch(&site.app, "/page").await;
            assert_eq!((response.status().as_u16(), state(&response)), (status, ""));
        }
    }
}

/// CASES 135: a page sees of all cookies those that its route declared, with their declared values, in one form; other
/// cookies neither reach it nor multiply it.
#[tokio::test]
async fn of_cookies_a_page_sees_the_declared_ones() {
    let site = || Site::page(mirror(), plain().cookie("theme", ["dark", "light"]).cookie("lang", ["de", "en"]));
    for (lines, canonical) in [
        (&["theme=dark; sid=mallory-5ecret"][..], "theme=dark"),
        (&["sid=mallory-5ecret; lang=de; theme=dark"], "lang=de; theme=dark"),
        (&["theme=dark; lang=de"], "lang=de; theme=dark"),
        (&["theme=dark", "sid=mallory-5ecret", "lang=de"], "lang=de; theme=dark"),
        (&["theme=\"dark\"; a=mallory-5ecret"], "theme=dark"),
        (&["theme=dark; theme=light; theme=mallory-5ecret"], "theme=dark"),
        (&["theme=mallory-5ecret; lang=en"], "lang=en"),
        (&["__Host-theme=dark; __Secure-lang=de"], ""),
        (&["THEME=dark"], ""),
        (&["theme"], ""),
        (&["mallory-5ecret"], ""),
        (&["theme=dark,lang=de"], ""),
        (&["theme=; lang= en ;"], "lang=en"),
        (&["$Version=1; theme=light; $Path=/mallory-5ecret"], "theme=light"),
        (&[""], ""),
    ] {
        let name = format!("{lines:?}");
        let cookies: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        let requests = || vec![request_with("/page", &cookies)];
        let clean = [("cookie", canonical)];
        let victim = || request_with("/page", if canonical.is_empty() { &[] } else { &clean });
        let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails(&name).await;
        let line = after.victims[0].body.lines().find(|line| line.starts_with("cookie")).unwrap_or_default();
        assert_eq!(line.trim_start_matches("cookie: "), canonical, "{name}");
        assert_eq!((after.victims[0].state, after.victims[0].header("vary")), ("HIT", "cookie"), "{name}");
        assert!(!after.attacker[0].holds(MARK), "{name}");
    }
    let requests = || {
        let mut odd = request("/page");
        odd.headers_mut().insert("cookie", HeaderValue::from_bytes(b"theme=\xff; sid=mallory-5ecret").unwrap());
        vec![odd]
    };
    let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 2 }.fails("odd").await;
    assert_eq!((after.attacker[0].state, after.victims[0].state), ("", "MISS"), "what cannot be read is not guessed");
}

/// Editors carry a token; a real one would be checked here.
async fn preview(mut request: Request, next: Next) -> Response {
    if request.headers().get("cookie").is_some_and(|cookie| cookie == "preview=good-mallory-5ecret") {
        request.extensions_mut().insert(RouteConfig::dynamic());
    }
    next.run(request).await
}

fn draft_or_published() -> Handler {
    Handler::new(|_, request: Request| async move {
        match request.headers().get("cookie") {
            Some(cookie) => ([("cache-control", "private, no-store")], format!("draft {}", cookie.to_str().unwrap()))
                .into_response(),
            None => "published".into_response(),
        }
    })
}

/// CASES 136: a preview that a layer outside has found to be authentic goes past the cache both ways, with the headers that
/// the handler gives it; it starts no regeneration. One that was not recognised sees what is published, and a regeneration
/// that its request starts renders that.
#[tokio::test]
async fn a_draft_does_not_become_the_page() {
    let site = || {
        Site::new(draft_or_published(), |isr, handler| {
            Router::new().route("/page", get(handler)).layer(isr.layer(plain())).layer(from_fn(preview))
        })
    };
    for (cookie, extra, body, states) in [
        ("preview=good-mallory-5ecret", 2, "draft preview=good-mallory-5ecret", ["", ""]),
        ("preview=mallory-5ecret", 0, "published", ["MISS", "STALE"]),
    ] {
        let requests = || vec![request_with("/page", &[("cookie", cookie)])];
        let after = Attack { site: &site, requests: &requests, victim: &victim, extra }.fails(cookie).await;
        assert_eq!(after.attacker.iter().map(|seen| seen.state).collect::<Vec<_>>(), states, "{cookie}");
        for seen in &after.attacker {
            assert_eq!(seen.body, body);
            assert_eq!(seen.header("cache-control") == "private, no-store", extra == 2, "{seen:?}");
        }
        assert!(after.victims.iter().all(|seen| seen.body == "published"), "{cookie}");
    }
    // While there is a page: the draft, and then the page again.
    let site = site();
    for (cookie, expected) in
        [("", "published"), ("preview=good-mallory-5ecret", "draft preview=good-mallory-5ecret"), ("", "published")]
    {
        let headers = [("cookie", cookie)];
        let headers = if cookie.is_empty() { &[][..] } else { &headers };
        assert_eq!(body(send(&site.app, request_with("/page", headers)).await).await, expected);
    }
    assert_eq!((site.handler.calls(), site.isr.stats().hits), (2, 1));
}

/// CASES 137: what an answer tells about the cache: by default whether it was a HIT and how old it is, with `none` no more
/// than `Age`; never the key. Who asked before, and with what, cannot be told from it.
#[tokio::test]
async fn an_answer_tells_no_more_than_that_the_page_is_popular() {
    for (profile, expected) in [
        (
            ResponseHeaders::shared(),
            &["age", "cache-control", "cache-status", "content-length", "content-type", "etag", "x-vinext-cache"][..],
        ),
        (ResponseHeaders::none(), &["age", "content-length", "content-type", "etag"]),
    ] {
        let isr = Isr::builder().headers(profile).deployment_id("deployment-5ecret").build().unwrap();
        let layer = isr.layer(plain().query(["q"]).namespace("namespace-5ecret").tags(["tag-5ecret"]));
        let app = Router::new().route("/page", get(|| async { "the page" })).route_layer(layer);
        let ask = || request("/page?q=query-5ecret");
        send(&app, ask()).await;
        let seen = Seen::of(send(&app, ask()).await).await;
        let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        assert!(!seen.holds("5ecret") && !seen.holds("/page"), "{seen:?}");
        assert!(["", "axum-isr; hit"].contains(&seen.header("cache-status")), "{seen:?}");
    }
    let requests = || vec![request_with("/page", &[("cookie", MARK), ("authorization", MARK), ("user-agent", MARK)])];
    let site = || Site::page(mirror(), plain());
    Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails("a probe").await;
}

/// CASES 138: pages are cut from one large buffer that holds other people's bytes around them, in all sizes, and asked for
/// on several threads at once, with regenerations between. Each answer is its page and not a byte more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_contains_bytes_of_another() {
    const PAGES: usize = 97;
    const ROUNDS: usize = 6;
    let letter = |n: usize| b'a' + u8::try_from(n % 26).unwrap();
    let length = |n: usize| n * n * 7 % 70_001;
    let starts: Vec<usize> = (0..=PAGES).scan(0, |at, n| Some(std::mem::replace(at, *at + length(n)))).collect();
    let buffer: Bytes = (0..PAGES).flat_map(|n| std::iter::repeat_n(letter(n), length(n))).collect::<Vec<_>>().into();
    let handler = Handler::new(move |_, request: Request| {
        let n: usize = request.uri().path()[1..].parse().unwrap();
        let page = buffer.slice(starts[n]..starts[n] + length(n));
        async move { page }
    });
    let site = Site::page(handler, plain());
    for _ in 0..ROUNDS {
        let visits = (0..PAGES * 3).map(|n| {
            let (app, n) = (site.app.clone(), n * 31 % PAGES);
            tokio::spawn(async move { (n, body(fetch(&app, &format!("/{n}")).await).await) })
        });
        for visit in join_all(visits).await {
            let (n, page) = visit.unwrap();
            assert!(page.len() == length(n) && page.bytes().all(|b| b == letter(n)), "page {n}: {} bytes", page.len());
        }
        settled(&site.isr).await;
        site.clock.advance(LIFE);
    }
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""), "and no unsafe code could do it");
}

/// CASES 140: a layer that counts or limits: inside it runs once a render, outside for each request.
#[tokio::test]
async fn a_layer_that_counts_visitors_belongs_outside() {
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let counting = |n: usize| {
        let count = Arc::clone(&counts[n]);
        from_fn(move |request: Request, next: Next| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            async move { if n < 20 { next.run(request).await } else { StatusCode::TOO_MANY_REQUESTS.into_response() } }
        })
    };
    let site = Site::new(Handler::counting(), |isr, handler| {
        Router::new().route("/page", get(handler)).layer(counting(0)).layer(isr.layer(plain())).layer(counting(1))
    });
    let mut answered = 0;
    for _ in 0..30 {
        answered += usize::from(fetch(&site.app, "/page").await.status() == StatusCode::OK);
    }
    let counts = counts.map(|count| count.load(Ordering::SeqCst));
    assert_eq!((answered, counts, site.handler.calls()), (20, [1, 30], 1));
}

/// CASES 137: what is in the key is nobody's business, unless the application has asked for it by `debug`.
#[tokio::test]
async fn headers_do_not_show_the_key() {
    for (profile, shows) in [(ResponseHeaders::shared(), false), (ResponseHeaders::shared().debug(), true)] {
        the_key_is_shown(profile, shows).await;
    }
}

async fn the_key_is_shown(profile: ResponseHeaders, shows: bool) {
    let isr = Isr::builder().headers(profile).clock(ManualClock::new()).build().unwrap();
    let layer = isr.layer(plain().cookie("team", ["red-5ecret"]).query(["q"]));
    let app = Router::new().route("/page", get(|| async { "the page" })).route_layer(layer);
    for status in ["fwd=miss", "hit"] {
        let seen = send(&app, request_with("/page?q=q-5ecret", &[("cookie", "team=red-5ecret")])).await;
        let seen = Seen::of(seen).await;
        assert!(seen.header("cache-status").contains(status), "{seen:?}");
        assert_eq!((seen.holds("5ecret"), seen.holds("/page")), (shows, shows), "{seen:?}");
    }
}
