//! Regenerations that fail, and development mode, which has nothing to fall back on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Mode, Render, RouteConfig};
use common::{Handler, Logs, body, fetch, head, header, let_run, request_with, send, settled, state};
use http::StatusCode;

const MINUTE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_micros(1);

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)))
}

/// Renders well while `works`, and fails in its way otherwise.
fn failing(works: &Arc<AtomicBool>, how: &'static str) -> Handler {
    let works = Arc::clone(works);
    Handler::new(move |n, _| {
        let works = works.load(Ordering::SeqCst);
        async move {
            let text = format!("render {n}");
            if works {
                return text.into_response();
            }
            match how {
                "500" => (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
                "429" => (StatusCode::TOO_MANY_REQUESTS, text).into_response(),
                "204" => StatusCode::NO_CONTENT.into_response(),
                "400" => (StatusCode::BAD_REQUEST, text).into_response(),
                "panic" => panic!("{text}"),
                "hang" => std::future::pending().await,
                "body error" => broken_body(Err(std::io::Error::other("disk"))),
                "body stall" => {
                    let stream = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
                    Body::from_stream(stream).into_response()
                }
                "short" => {
                    ([("content-length", "99")], Body::from_stream(once(Ok::<_, std::io::Error>(Bytes::from(text)))))
                        .into_response()
                }
                "large" => vec![b'x'; 3 << 20].into_response(),
                _ => unreachable!("{how}"),
            }
        }
    })
}

fn once<T>(item: T) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::once(std::future::ready(item))
}

fn broken_body(end: Result<Bytes, std::io::Error>) -> Response {
    let start = once(Ok(Bytes::from_static(b"start ")));
    Body::from_stream(futures_util::StreamExt::chain(start, once(end))).into_response()
}

/// Lets a render time out, if it has to.
async fn ended(isr: &Isr) {
    if isr.stats().flights > 0 {
        let_run().await;
        tokio::time::sleep(Duration::from_secs(61)).await;
    }
    settled(isr).await;
}

/// R13, CASES 2, 96, 97: however a regeneration fails, the old page stays, the failure is logged and counted, and the
/// next attempt waits for the back-off: many requests in that window are one attempt. A success ends it.
#[tokio::test(start_paused = true)]
async fn a_regeneration_that_fails_keeps_the_page_and_backs_off() {
    for (how, what) in [
        ("500", "status"),
        ("429", "status"),
        ("204", "status"),
        ("400", "status"),
        ("panic", "panicked"),
        ("hang", "timed-out"),
        ("body error", "broken"),
        ("body stall", "broken"),
        ("short", "broken"),
        ("large", "too-large"),
    ] {
        let logs = Logs::capture();
        let (clock, works) = (ManualClock::new(), Arc::new(AtomicBool::new(true)));
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let handler = failing(&works, how);
        let app = app(&isr, &handler);
        fetch(&app, "/p/a").await;
        works.store(false, Ordering::SeqCst);
        clock.advance(MINUTE);
        for (failures, wait) in [(1_u64, 1), (2, 2), (3, 4)] {
            for _ in 0..5 {
                let stale = fetch(&app, "/p/a").await;
                assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "render 1"), "{how}");
                ended(&isr).await;
            }
            let calls = usize::try_from(failures).unwrap() + 1;
            assert_eq!((handler.calls(), isr.stats().failures), (calls, failures), "{how}: one attempt");
            let line = ["WARN", "regeneration failed", "route=/p/{slug}", "path=/p/a", &format!("what=\"{what}\"")];
            assert_eq!(logs.count(&line), calls - 1, "{how}: {:?}", logs.lines());
            assert_eq!(logs.count(&[line[1], &format!("failures={failures}")]), 1, "{how}");
            // Not a moment before the back-off is over; after it and a quarter, it certainly is.
            clock.advance(Duration::from_secs(wait).saturating_sub(TICK));
            fetch(&app, "/p/a").await;
            ended(&isr).await;
            assert_eq!(handler.calls(), calls, "{how}: too early");
            clock.advance(Duration::from_secs(wait) / 4 + TICK);
        }
        works.store(true, Ordering::SeqCst);
        fetch(&app, "/p/a").await;
        ended(&isr).await;
        let hit = fetch(&app, "/p/a").await;
        assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 5"), "{how}");
        // It begins at one second again.
        works.store(false, Ordering::SeqCst);
        clock.advance(MINUTE);
        fetch(&app, "/p/a").await;
        ended(&isr).await;
        clock.advance(Duration::from_millis(1_250));
        fetch(&app, "/p/a").await;
        ended(&isr).await;
        assert_eq!(handler.calls(), 7, "{how}");
    }
}

/// R13: the back-off never grows beyond a minute, and pages that failed together are not tried together.
#[tokio::test]
async fn the_back_off_is_at_most_a_minute_and_spread() {
    let (clock, works) = (ManualClock::new(), Arc::new(AtomicBool::new(true)));
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(1_000).build().unwrap();
    let handler = failing(&works, "500");
    let app = app(&isr, &handler);
    let paths: Vec<_> = (0..100).map(|n| format!("/p/{n}")).collect();
    let ask = async || {
        let before = handler.calls();
        for path in &paths {
            assert_eq!(state(&fetch(&app, path).await), "STALE");
        }
        settled(&isr).await;
        handler.calls() - before
    };
    for path in &paths {
        fetch(&app, path).await;
    }
    works.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    for round in 0..10 {
        assert_eq!(ask().await, 100, "round {round}");
        assert_eq!(ask().await, 0, "round {round}");
        clock.advance(Duration::from_secs(60));
    }
    works.store(true, Ordering::SeqCst);
    ask().await;
    works.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    assert_eq!(ask().await, 100);
    clock.advance(Duration::from_millis(1_125));
    let half = ask().await;
    assert!((10..90).contains(&half), "{half} of 100 after the middle of the jitter");
}

/// R13: a page that has expired while its regenerations failed is not served any more.
#[tokio::test]
async fn a_failing_page_is_served_until_it_expires() {
    let (clock, works) = (ManualClock::new(), Arc::new(AtomicBool::new(true)));
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = failing(&works, "500");
    let app = Router::new()
        .route("/p/{slug}", get(handler.clone()))
        .route_layer(isr.layer(RouteConfig::revalidate(MINUTE).expire(2 * MINUTE)));
    fetch(&app, "/p/a").await;
    works.store(false, Ordering::SeqCst);
    clock.advance((2 * MINUTE).saturating_sub(TICK));
    assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
    settled(&isr).await;
    clock.advance(TICK);
    let failure = fetch(&app, "/p/a").await;
    assert_eq!((state(&failure), failure.status().as_u16()), ("", 500), "also within the back-off");
    works.store(true, Ordering::SeqCst);
    assert_eq!(state(&fetch(&app, "/p/a").await), "MISS");
}

async fn with_lifetime(n: usize, request: Request) -> String {
    let (mut parts, _) = request.into_parts();
    let render = <Render as axum::extract::FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap();
    render.revalidate(Duration::from_secs(7));
    format!("render {n}, cookie {:?}, {:?}", parts.headers.get("cookie"), parts.uri.query())
}

/// R14: development mode renders every request anew, reads and stores nothing, sends no state header, and sends the
/// `Cache-Control` that production would send; the handler sees what it would see there.
#[tokio::test]
async fn development_mode_keeps_nothing_and_shows_what_production_would_send() {
    let clock = ManualClock::new();
    let shows = |mode| {
        let isr = Isr::builder().mode(mode).clock(clock.clone()).build().unwrap();
        let handler = Handler::new(with_lifetime);
        (app(&isr, &handler), isr, handler)
    };
    let (production, ..) = shows(Mode::Production);
    let (development, isr, handler) = shows(Mode::Development);
    let visit = || request_with("/p/a?secret=1", &[("cookie", "sid=1")]);
    let expected = send(&production, visit()).await;
    for n in 1..4 {
        let answer = send(&development, visit()).await;
        assert_eq!(header(&answer, "cache-control"), header(&expected, "cache-control"));
        assert_eq!(header(&answer, "cache-control"), "s-maxage=7, stale-while-revalidate=31535993");
        for name in ["x-vinext-cache", "cache-status", "age"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        assert_eq!(body(answer).await, format!("render {n}, cookie None, None"));
    }
    let answer = send(&development, head("/p/a")).await;
    assert_eq!(header(&answer, "content-length"), "27");
    assert_eq!(body(answer).await, "");
    assert_eq!((handler.calls(), isr.stats().memory_items, isr.stats().stored), (4, 0, 0));
}

/// R14: in development mode, too, a page that is not shareable is the visitor's own, a failure a failure, and two at a
/// time are two renders.
#[tokio::test]
async fn development_mode_shares_nothing() {
    let isr = Isr::builder().mode(Mode::Development).build().unwrap();
    let handler = Handler::new(|n, request: Request| async move {
        let own = request.headers().contains_key("x-user");
        match request.uri().path() {
            "/p/cookie" => ([("set-cookie", "a=1"), ("cache-control", "private")], format!("{own}")).into_response(),
            "/p/bad" => StatusCode::BAD_GATEWAY.into_response(),
            _ => format!("render {n}").into_response(),
        }
    });
    let app = app(&isr, &handler);
    let ask = |path: &str| send(&app, request_with(path, &[("x-user", "1")]));
    let (a, b) = futures_util::future::join(ask("/p/a"), ask("/p/a")).await;
    assert_ne!(body(a).await, body(b).await);
    for _ in 0..2 {
        let calls = handler.calls();
        let own = ask("/p/cookie").await;
        assert_eq!((header(&own, "cache-control"), header(&own, "set-cookie")), ("private", "a=1"));
        assert_eq!((body(own).await.as_str(), handler.calls() - calls), ("true", 2), "a look and the own request");
        assert_eq!(ask("/p/bad").await.status(), StatusCode::BAD_GATEWAY);
    }
    assert_eq!((isr.stats().memory_items, isr.stats().flights), (0, 0));
}
