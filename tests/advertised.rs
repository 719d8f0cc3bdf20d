//! What answers tell other caches: lifetimes that we keep to, ages, and nothing on what is not ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::config::ResponseHeaders;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Render, RouteConfig};
use common::{Gate, Handler, body, fetch, header, request, send, settled, state, waiting};
use http::{HeaderValue, StatusCode};
use tower_http::cors::{Any, CorsLayer};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A directive with a number, in whichever header the profile uses.
fn directive(response: &Response, name: &str) -> Option<u64> {
    let line = match header(response, "cdn-cache-control") {
        "" => header(response, "cache-control"),
        cdn => cdn,
    };
    line.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// Seconds that another cache may take the answer for fresh, and then use it while it asks again (RFC 9111 §4.2,
/// RFC 5861 §3).
fn promised(response: &Response) -> (u64, u64) {
    let fresh = directive(response, "s-maxage").or_else(|| directive(response, "max-age")).expect("a lifetime");
    let age = header(response, "age").parse().unwrap_or(0);
    (fresh.saturating_sub(age), directive(response, "stale-while-revalidate").unwrap_or(0))
}

/// CASES 158: at any moment, what an answer promises is what we keep to ourselves, for routes, for handlers that change
/// their page's life, and in each profile; `stale-while-revalidate` never stands alone.
#[tokio::test]
async fn what_is_advertised_is_what_is_enforced() {
    for profile in [ResponseHeaders::shared(), ResponseHeaders::cdn()] {
        for (fresh, keep, said) in
            [(60, 90, None), (60, 60, None), (1, 3_600, None), (60, 90, Some((5, 7))), (60, 90, Some((600, 601)))]
        {
            let clock = ManualClock::new();
            let isr = Isr::builder().clock(clock.clone()).headers(profile.clone()).build().unwrap();
            let handler = Handler::new(move |n, request: Request| async move {
                let (mut parts, _) = request.into_parts();
                let render = Render::from_request_parts(&mut parts, &()).await.unwrap();
                if let Some((fresh, keep)) = said {
                    render.revalidate(fresh * SECOND);
                    render.expire(keep * SECOND);
                }
                // A failing regeneration keeps the old page, so that its whole life can be watched.
                if n == 1 { "page".into_response() } else { StatusCode::BAD_GATEWAY.into_response() }
            });
            let route = RouteConfig::revalidate(fresh * SECOND).expire(keep * SECOND);
            let app = Router::new().route("/a", get(handler)).route_layer(isr.layer(route));
            let (fresh, keep) = said.map_or((u64::from(fresh), u64::from(keep)), |(f, k)| (u64::from(f), u64::from(k)));
            let case = format!("{fresh} {keep} {profile:?}");
            assert_eq!(promised(&fetch(&app, "/a").await), (fresh, keep - fresh), "{case}");
            let mut now = 0;
            for at in [0, 1, fresh / 2, fresh - 1, fresh, fresh + 1, u64::midpoint(fresh, keep), keep - 1, keep] {
                if at < now {
                    continue;
                }
                clock.advance(Duration::from_secs(at - now));
                now = at;
                let response = fetch(&app, "/a").await;
                settled(&isr).await;
                if at < fresh {
                    assert_eq!(
                        (state(&response), promised(&response)),
                        ("HIT", (fresh - at, keep - fresh)),
                        "{case} at {at}"
                    );
                } else if at < keep {
                    assert_eq!((state(&response), promised(&response)), ("STALE", (0, keep - at)), "{case} at {at}");
                } else {
                    assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{case}: expired");
                }
            }
        }
    }
}

/// CASES 158: no lifetime of ours on an answer that is not kept: passes, bypasses, failures; a body that is still on its
/// way may yet be refused, and says so.
#[tokio::test]
async fn nothing_is_advertised_for_what_is_not_kept() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let inner = gate.clone();
    let handler = Handler::new(move |_, request: Request| {
        let gate = inner.clone();
        async move {
            match request.uri().path() {
                "/p/status" => StatusCode::BAD_REQUEST.into_response(),
                "/p/failure" => StatusCode::BAD_GATEWAY.into_response(),
                "/p/cookie" => ([("set-cookie", "a=1")], "x").into_response(),
                "/p/control" => ([("cache-control", "max-age=5")], "x").into_response(),
                "/p/streaming" => {
                    let rest = async move {
                        gate.pass().await;
                        Ok::<_, std::io::Error>(Bytes::from("x"))
                    };
                    Body::from_stream(futures_util::stream::once(rest)).into_response()
                }
                _ => "x".into_response(),
            }
        }
    });
    let app = Router::new()
        .route("/p/{slug}", get(handler.clone()).post(handler))
        .route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    for path in ["/p/status", "/p/failure", "/p/cookie", "/p/control"] {
        for _ in 0..2 {
            let response = fetch(&app, path).await;
            let expected = if path == "/p/control" { "max-age=5" } else { "" };
            assert_eq!((header(&response, "cache-control"), state(&response)), (expected, ""), "{path}");
        }
    }
    let post = Request::builder().method("POST").uri("/p/a").body(Body::empty()).unwrap();
    assert_eq!(header(&send(&app, post).await, "cache-control"), "");
    let streaming = waiting(&app, request("/p/streaming"));
    let streaming = async {
        let response = streaming.await.await;
        assert_eq!((state(&response), header(&response, "cache-control")), ("MISS", "private, no-store"));
        gate.open();
        body(response).await
    };
    assert_eq!(streaming.await, "x");
    settled(&isr).await;
    let hit = fetch(&app, "/p/streaming").await;
    assert_eq!((state(&hit), header(&hit, "cache-control")), ("HIT", "s-maxage=60, stale-while-revalidate=31535940"));
}

/// CASES 158: a page that the memory tier cannot hold is not kept, and no answer says that it is.
#[tokio::test]
async fn nothing_is_advertised_for_a_page_that_does_not_fit() {
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let handler = Handler::new(|_, _| async move {
        let value = HeaderValue::from_bytes(&vec![b'x'; 17 << 20]).unwrap();
        ([("x-much", value)], "x")
    });
    let app = Router::new().route("/a", get(handler)).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    for _ in 0..2 {
        let response = fetch(&app, "/a").await;
        assert_eq!((header(&response, "cache-control"), state(&response)), ("", ""));
        assert_eq!(isr.stats().stored, 0);
    }
}

/// CASES 159: a HIT says how old it is, counted from the end of its render, so that a cache in front does not begin
/// anew; a date or an age that the handler wrote is not replayed as if it were this answer's.
#[tokio::test]
async fn an_answer_from_memory_says_how_old_it_is() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(|n, _| async move {
        ([("date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("age", "12345")], format!("render {n}"))
    });
    let app = Router::new().route("/a", get(handler)).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    let miss = fetch(&app, "/a").await;
    assert!(!miss.headers().contains_key("age"), "just made");
    for (at, expected, age) in
        [(0, "HIT", "0"), (1, "HIT", "1"), (58, "HIT", "59"), (1, "STALE", "60"), (0, "HIT", "0")]
    {
        clock.advance(Duration::from_secs(at));
        let response = fetch(&app, "/a").await;
        assert_eq!((state(&response), header(&response, "age")), (expected, age));
        assert!(!response.headers().contains_key("date"), "the server writes it");
        settled(&isr).await;
    }
    clock.advance(Duration::from_micros(999_999));
    assert_eq!(header(&fetch(&app, "/a").await, "age"), "0", "whole seconds");
}

/// R5, CASES 157: `OPTIONS`, preflights among them, goes through as without the layer, and nothing of it is kept.
#[tokio::test]
async fn preflights_pass_through() {
    let cors = || CorsLayer::new().allow_origin(Any).allow_methods(Any);
    let preflight = || {
        let request = Request::builder().method("OPTIONS").uri("/a").header("origin", "https://else.example");
        request.header("access-control-request-method", "GET").body(Body::empty()).unwrap()
    };
    for place in ["none", "inside", "outside"] {
        let isr = Isr::builder().build().unwrap();
        let (handler, bare) = (Handler::counting(), Handler::counting());
        let routes = |handler: &Handler| Router::<()>::new().route("/a", get(handler.clone()));
        let layer = isr.layer(RouteConfig::revalidate(MINUTE));
        let (app, bare) = match place {
            "inside" => (routes(&handler).layer(cors()).layer(layer), routes(&bare).layer(cors())),
            "outside" => (routes(&handler).layer(layer).layer(cors()), routes(&bare).layer(cors())),
            _ => (routes(&handler).layer(layer), routes(&bare)),
        };
        for _ in 0..2 {
            let (got, expected) = (send(&app, preflight()).await, send(&bare, preflight()).await);
            assert_eq!((got.status(), got.headers()), (expected.status(), expected.headers()), "{place}");
            assert_eq!(body(got).await, body(expected).await, "{place}");
        }
        assert_eq!((isr.stats().memory_items, isr.stats().renders, handler.calls()), (0, 0, 0), "{place}");
        if place == "outside" {
            assert_eq!(state(&fetch(&app, "/a").await), "MISS");
            assert_eq!(send(&app, preflight()).await.status(), StatusCode::OK, "also where there is a page");
        }
    }
}
