//! The headers that the cache adds, for each state and each profile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum_isr::config::ResponseHeaders;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Mode, RouteConfig};
use common::{Gate, Handler, Tap, body, fetch, header, let_run, request, send, settled, waiting};
use http::{HeaderName, HeaderValue, StatusCode};

const MINUTE: Duration = Duration::from_secs(60);

/// Every header of a response by name, but for those of the body, in one line; `etag` without its value.
fn added(response: &Response) -> String {
    let mut lines: Vec<String> = response
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "content-type" | "content-length" | "x-own"))
        .map(|(name, value)| match name.as_str() {
            "etag" => "etag".to_owned(),
            name => format!("{name}: {}", value.to_str().unwrap()),
        })
        .collect();
    lines.sort_unstable();
    lines.join(" | ")
}

/// A page for each way that an answer can take.
fn handler() -> Handler {
    Handler::new(|n, request: Request| async move {
        let mut response = match request.uri().path() {
            "/streaming" => {
                let (tap, body) = Tap::open();
                tokio::spawn(async move {
                    let_run().await;
                    tap.send("page");
                });
                Response::new(body)
            }
            "/pass" => StatusCode::BAD_REQUEST.into_response(),
            // Works once, so that failures of the pattern are believed.
            "/failure" if n > 1 => StatusCode::BAD_GATEWAY.into_response(),
            _ => "page".into_response(),
        };
        response.headers_mut().insert("x-own", HeaderValue::from_static("1"));
        response
    })
}

/// The added headers of: a MISS, a streaming MISS, a HIT, a STALE, a pass, a bypass.
async fn states(profile: ResponseHeaders) -> [String; 6] {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).headers(profile).build().unwrap();
    let route = RouteConfig::revalidate(MINUTE).expire(Duration::from_secs(90));
    let app = Router::new()
        .route("/a", any(handler()))
        .route("/pass", any(handler()))
        .route("/streaming", any(handler()))
        .route_layer(isr.layer(route));
    let miss = fetch(&app, "/a").await;
    let streaming = fetch(&app, "/streaming").await;
    let post = Request::builder().method("POST").uri("/a").body(axum::body::Body::empty()).unwrap();
    let bypass = send(&app, post).await;
    let pass = fetch(&app, "/pass").await;
    assert_eq!(added(&fetch(&app, "/pass").await), added(&pass), "found out, and remembered");
    clock.advance(Duration::from_secs(7));
    let hit = fetch(&app, "/a").await;
    clock.advance(Duration::from_secs(60));
    let stale = fetch(&app, "/a").await;
    let states = [&miss, &streaming, &hit, &stale, &pass, &bypass].map(|response| {
        assert_eq!(header(response, "x-own"), "1");
        added(response)
    });
    assert_eq!(body(streaming).await, "page");
    settled(&isr).await;
    states
}

/// DESIGN 2.6: the default profile.
#[tokio::test]
async fn headers_for_shared_caches() {
    let expected = [
        "cache-control: s-maxage=60, stale-while-revalidate=30 | cache-status: axum-isr; fwd=miss | etag | \
         x-vinext-cache: MISS",
        "cache-control: private, no-store | cache-status: axum-isr; fwd=miss | x-vinext-cache: MISS",
        "age: 7 | cache-control: s-maxage=60, stale-while-revalidate=30 | cache-status: axum-isr; hit | etag | \
         x-vinext-cache: HIT",
        "age: 67 | cache-control: s-maxage=0, stale-while-revalidate=23 | cache-status: axum-isr; hit; detail=stale | \
         etag | x-vinext-cache: STALE",
        "",
        "",
    ];
    assert_eq!(states(ResponseHeaders::shared()).await, expected);
    assert_eq!(states(ResponseHeaders::default()).await, expected);
}

/// DESIGN 2.6, RFC 9213: the CDN profile.
#[tokio::test]
async fn headers_for_a_cdn() {
    let expected = [
        "cache-control: public, max-age=0, must-revalidate | cache-status: axum-isr; fwd=miss | \
         cdn-cache-control: max-age=60, stale-while-revalidate=30 | etag | x-vinext-cache: MISS",
        "cache-control: private, no-store | cache-status: axum-isr; fwd=miss | x-vinext-cache: MISS",
        "age: 7 | cache-control: public, max-age=0, must-revalidate | cache-status: axum-isr; hit | \
         cdn-cache-control: max-age=60, stale-while-revalidate=30 | etag | x-vinext-cache: HIT",
        "age: 67 | cache-control: public, max-age=0, must-revalidate | cache-status: axum-isr; hit; detail=stale | \
         cdn-cache-control: max-age=0, stale-while-revalidate=23 | etag | x-vinext-cache: STALE",
        "",
        "",
    ];
    assert_eq!(states(ResponseHeaders::cdn()).await, expected);
}

/// DESIGN 2.6: nothing but `Age` and `ETag`.
#[tokio::test]
async fn no_headers() {
    assert_eq!(states(ResponseHeaders::none()).await, ["etag", "", "age: 7 | etag", "age: 67 | etag", "", ""]);
}

/// DESIGN 2.6, RFC 9211: `debug` adds `ttl`, `detail` and `key`, and says why an answer was passed or bypassed; it works with any
/// profile.
#[tokio::test]
async fn headers_for_finding_out_why() {
    let status = [
        "axum-isr;fwd=miss;stored;ttl=60;detail=cold",
        "axum-isr;fwd=miss;detail=cold",
        "axum-isr;hit;ttl=53;detail=fresh",
        "axum-isr;hit;ttl=-7;detail=age",
        "axum-isr;fwd=bypass;detail=status",
        "axum-isr;fwd=method;detail=method",
    ];
    for profile in [ResponseHeaders::none(), ResponseHeaders::shared(), ResponseHeaders::cdn()] {
        let (plain, debug) = (states(profile.clone()).await, states(profile.debug()).await);
        for ((plain, debug), status) in plain.iter().zip(&debug).zip(status) {
            let line = format!("cache-status: {status};key=\"v1::/");
            assert!(debug.split(" | ").any(|found| found.starts_with(&line)), "{debug}");
            let others = |all: &str| {
                let others = all.split(" | ").filter(|l| !l.is_empty() && !l.starts_with("cache-status"));
                others.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(others(plain), others(debug), "nothing else changes");
        }
    }
}

/// DESIGN 2.6: another name for the state; with `none`, the state alone.
#[tokio::test]
async fn a_state_header_of_another_name() {
    let name = HeaderName::from_static("x-page");
    let named = states(ResponseHeaders::none().state_header(name.clone())).await;
    let expected = [
        "etag | x-page: MISS",
        "x-page: MISS",
        "age: 7 | etag | x-page: HIT",
        "age: 67 | etag | x-page: STALE",
        "",
        "",
    ];
    assert_eq!(named, expected);
    let shared = states(ResponseHeaders::shared().state_header(name)).await;
    let default = states(ResponseHeaders::shared()).await.map(|all| all.replace("x-vinext-cache", "x-page"));
    assert_eq!(shared, default);
}

/// DESIGN 2.6: a handler cannot pass its own lines off as the cache's: not the state, under whichever name, not the age,
/// not the status of another cache.
#[tokio::test]
async fn what_the_cache_says_is_the_caches_own() {
    let name = HeaderName::from_static("x-page");
    let isr = Isr::builder().headers(ResponseHeaders::cdn().state_header(name)).build().unwrap();
    let handler = Handler::new(|_, _| async {
        let claims = [("x-page", "HIT"), ("x-vinext-cache", "HIT"), ("age", "5"), ("cache-status", "other; hit")];
        (claims, "page")
    });
    let app = Router::new().route("/a", any(handler)).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    for expected in ["MISS", "HIT"] {
        let response = fetch(&app, "/a").await;
        assert_eq!((header(&response, "x-page"), header(&response, "x-vinext-cache")), (expected, ""));
        for name in ["x-page", "cache-status", "cdn-cache-control", "cache-control"] {
            assert_eq!(response.headers().get_all(name).iter().count(), 1, "{name}");
        }
        assert!(header(&response, "cache-status").starts_with("axum-isr; "));
        assert_eq!(header(&response, "age"), if expected == "HIT" { "0" } else { "" });
        assert!(header(&response, "cdn-cache-control").starts_with("max-age=60, "));
    }
}

/// DESIGN 2.6: a failure and a timeout carry none of our headers; in development there is no state, and the lifetime that
/// production would send.
#[tokio::test]
async fn failures_and_development_have_no_state() {
    let isr = Isr::builder().build().unwrap();
    let route = || RouteConfig::revalidate(MINUTE).expire(Duration::from_secs(90));
    let app = Router::new().route("/{page}", any(handler())).route_layer(isr.layer(route()));
    fetch(&app, "/a").await;
    let failure = fetch(&app, "/failure").await;
    assert_eq!(
        (failure.status(), header(&failure, "x-own"), added(&failure).as_str()),
        (StatusCode::BAD_GATEWAY, "1", "")
    );

    let isr = Isr::builder().mode(Mode::Development).build().unwrap();
    let app = Router::new().route("/{page}", any(handler())).route_layer(isr.layer(route()));
    for _ in 0..2 {
        let page = fetch(&app, "/a").await;
        assert_eq!(added(&page), "cache-control: s-maxage=60, stale-while-revalidate=30 | etag");
    }
    assert_eq!(added(&fetch(&app, "/streaming").await), "cache-control: private, no-store");
    assert_eq!(added(&fetch(&app, "/pass").await), "");
}

/// DESIGN 2.6: `Never` advertises a year, and nothing beyond it.
#[tokio::test]
async fn a_page_without_an_end_advertises_a_year() {
    for (profile, name, expected) in [
        (ResponseHeaders::shared(), "cache-control", "s-maxage=31536000"),
        (ResponseHeaders::cdn(), "cdn-cache-control", "max-age=31536000"),
    ] {
        let isr = Isr::builder().headers(profile).build().unwrap();
        let app = Router::new().route("/a", any(Handler::counting())).route_layer(isr.layer(RouteConfig::forever()));
        for _ in 0..2 {
            assert_eq!(header(&fetch(&app, "/a").await, name), expected);
        }
    }
}

/// DESIGN 2.6: declared inputs are named in one `Vary` line, merged with the handler's, whatever the answer is: a growing
/// body, a MISS, a HIT, a 304; undeclared ones are not.
#[tokio::test]
async fn declared_inputs_vary() {
    let route = || RouteConfig::revalidate(MINUTE);
    let hx = HeaderName::from_static("hx-request");
    for (route, own, expected) in [
        (route(), "", ""),
        (route().query(["page"]), "", ""),
        (route(), "accept-encoding", "accept-encoding"),
        (route().header(hx.clone(), ["true"]), "", "hx-request"),
        (route().cookie("theme", ["dark"]).cookie("lang", ["de"]), "", "cookie"),
        (
            route().header(hx, ["true"]).cookie("theme", ["dark"]),
            "Accept-Encoding, HX-Request",
            "accept-encoding, hx-request, cookie",
        ),
    ] {
        for streams in [false, true] {
            let isr = Isr::builder().build().unwrap();
            let gate = Gate::closed();
            let inner = gate.clone();
            let handler = Handler::new(move |_, _| {
                let (tap, body) = Tap::open();
                tap.send("page");
                let gate = inner.clone();
                tokio::spawn(async move {
                    gate.pass().await;
                    drop(tap);
                });
                if !streams {
                    inner.open();
                }
                async move {
                    tokio::task::yield_now().await;
                    let mut response = Response::new(body);
                    if !own.is_empty() {
                        response.headers_mut().insert("vary", HeaderValue::from_static(own));
                    }
                    response
                }
            });
            let app = Router::new().route("/a", any(handler)).route_layer(isr.layer(route.clone()));
            let miss = fetch(&app, "/a").await;
            assert_eq!(header(&miss, "cache-control") == "private, no-store", streams);
            assert_eq!(header(&miss, "vary"), expected);
            gate.open();
            assert_eq!(body(miss).await, "page");
            settled(&isr).await;
            let hit = fetch(&app, "/a").await;
            assert_eq!((header(&hit, "x-vinext-cache"), header(&hit, "vary")), ("HIT", expected));
            assert_eq!(hit.headers().get_all("vary").iter().count(), usize::from(!expected.is_empty()));
        }
    }
}

/// DESIGN 2.6: followers say that they are, also where the body still grows, and in debug mode.
#[tokio::test]
async fn followers_are_collapsed() {
    for (profile, complete) in [
        (ResponseHeaders::shared(), "axum-isr; fwd=miss; collapsed"),
        (ResponseHeaders::shared().debug(), "axum-isr;fwd=miss;stored;collapsed;ttl=60;detail=cold;key="),
    ] {
        let isr = Isr::builder().clock(ManualClock::new()).headers(profile).build().unwrap();
        let app =
            Router::new().route("/{page}", any(handler())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
        let streaming = complete.replace("stored;", "").replace("ttl=60;", "");
        for (path, expected) in [("/a", complete), ("/streaming", &*streaming)] {
            let starter = waiting(&app, request(path)).await;
            let follower = waiting(&app, request(path)).await;
            assert!(!header(&starter.await, "cache-status").contains("collapsed"), "{path}");
            let follower = follower.await;
            let status = header(&follower, "cache-status");
            assert!(status.starts_with(expected) && (expected.ends_with('=') || status == expected), "{status}");
        }
    }
}
