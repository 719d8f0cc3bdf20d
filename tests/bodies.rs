//! What may go wrong with a body: nothing incomplete is ever kept, and everybody gets what there is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Handler, Tap, Taps, body, fetch, header, let_run, piece, request, rest, settled, state, until, waiting};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route()))
}

/// A body that ends well, breaks or panics, at once or after it was waited for.
fn ending(how: &'static str) -> Body {
    let mut step = 0;
    Body::from_stream(futures_util::stream::poll_fn(move |cx| {
        step += 1;
        let last = if how.starts_with("late") { 5 } else { 4 };
        std::task::Poll::Ready(match step {
            4 if last == 5 => {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            n if n < 4 => Some(Ok(Bytes::from("part."))),
            n if n > last => None,
            _ if how.ends_with("error") => Some(Err(std::io::Error::other("broken"))),
            _ if how.ends_with("panic") => panic!("in the body"),
            _ => None,
        })
    }))
}

/// CASES 85: a body that breaks after three pieces, at once or later: the visitor gets the pieces and then the error,
/// with or without a declared length; nothing is kept or remembered, and the next request makes the page anew.
#[tokio::test]
async fn a_body_that_breaks_is_passed_on_and_not_kept() {
    for how in ["error", "late error"] {
        for length in ["", "15", "20"] {
            let isr = Isr::builder().build().unwrap();
            let handler = Handler::new(move |n, _| async move {
                let mut response = Response::new(ending(if n < 3 { how } else { "well" }));
                if !length.is_empty() && n < 3 {
                    response.headers_mut().insert("content-length", length.parse().unwrap());
                }
                response
            });
            let app = app(&isr, &handler);
            for n in [1, 2] {
                let response = fetch(&app, "/p/a").await;
                assert_eq!((response.status(), state(&response)), (StatusCode::OK, "MISS"), "{how}");
                assert_eq!(header(&response, "cache-control"), "private, no-store", "{how}");
                let got = rest(&mut response.into_body()).await;
                assert_eq!(got, Err("part.part.part. | broken".to_owned()), "{how}");
                settled(&isr).await;
                assert_eq!((handler.calls(), isr.stats().stored, isr.stats().memory_items), (n, 0, 0), "{how}");
            }
            let good = fetch(&app, "/p/a").await;
            assert_eq!(body(good).await, "part.part.part.");
            settled(&isr).await;
            assert_eq!(state(&fetch(&app, "/p/a").await), "HIT");
        }
    }
}

/// CASES 86: a body that ends cleanly, but is not as long as its `Content-Length` said, is broken; where the declaration
/// itself makes no sense the handler answers each visitor. One that keeps its word is kept.
#[tokio::test]
async fn a_body_is_as_long_as_it_says() {
    for (lengths, kept) in [
        (&["15"][..], true),
        (&["15", "15"], true),
        (&["14"], false),
        (&["16"], false),
        (&["0"], false),
        (&["15", "16"], false),
        (&["15, 15"], false),
        (&["-15"], false),
        (&["x"], false),
        (&["99999999999999999999"], false),
    ] {
        for how in ["well", "late well"] {
            let isr = Isr::builder().build().unwrap();
            let lengths: Vec<http::HeaderValue> = lengths.iter().map(|length| length.parse().unwrap()).collect();
            let said = lengths.clone();
            let handler = Handler::new(move |_, _| {
                let mut response = Response::new(ending(how));
                for length in &said {
                    response.headers_mut().append("content-length", length.clone());
                }
                std::future::ready(response)
            });
            let app = app(&isr, &handler);
            let response = fetch(&app, "/p/a").await;
            let makes_sense =
                matches!(lengths[0].to_str().unwrap(), "14" | "15" | "16" | "0") && (kept || lengths.len() == 1);
            assert_eq!(state(&response), if makes_sense { "MISS" } else { "" }, "{lengths:?} {how}");
            let got = rest(&mut response.into_body()).await;
            assert_eq!(got.is_ok(), kept || !makes_sense, "{lengths:?} {how}: {got:?}");
            settled(&isr).await;
            assert_eq!(isr.stats().stored, u64::from(kept), "{lengths:?} {how}");
        }
    }
}

/// CASES 91: bodies that are conversations go to each visitor as the handler makes them; so does what was opted in.
#[tokio::test]
async fn a_conversation_is_each_visitors_own() {
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8", "multipart/x-mixed-replace;boundary=x"] {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |n, _| async move {
            let (tap, body) = Tap::open();
            tap.send(format!("event for {n}"));
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(tap);
            });
            ([("content-type", kind)], body)
        });
        let app = app(&isr, &handler);
        for n in [2, 3, 4] {
            let response = fetch(&app, "/p/a").await;
            assert_eq!((state(&response), header(&response, "cache-control")), ("", ""), "{kind}");
            assert_eq!(piece(&mut response.into_body()).await, format!("event for {n}"));
        }
        assert_eq!((isr.stats().stored, isr.stats().captured_bytes), (0, 0));
    }
}

fn pieces(sizes: &'static [usize]) -> Body {
    let chunks = sizes.iter().map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; *size])));
    Body::from_stream(futures_util::stream::iter(chunks))
}

/// CASES 92: up to the limit a page is kept; with one byte more it goes through whole, and is not; whether it comes in
/// one piece or many, with a length or without. Who comes next goes to the handler himself.
#[tokio::test]
async fn the_limit_of_a_body_is_exact() {
    const LIMIT: usize = 100_000;
    for (sizes, kept) in [
        (&[LIMIT][..], true),
        (&[LIMIT + 1], false),
        (&[LIMIT - 1, 1], true),
        (&[LIMIT, 0], true),
        (&[LIMIT, 1], false),
        (&[60_000, 40_000], true),
        (&[60_000, 40_000, 1], false),
        (&[0, LIMIT + 1], false),
    ] {
        for whole in [true, false] {
            let isr = Isr::builder().build().unwrap();
            let total: usize = sizes.iter().sum();
            let handler = Handler::new(move |_, _| async move {
                if whole { "x".repeat(total).into_response() } else { pieces(sizes).into_response() }
            });
            let route = route().max_body_bytes(LIMIT);
            let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route));
            let miss = fetch(&app, "/p/a").await;
            assert_eq!(body(miss).await.len(), total, "{sizes:?}");
            settled(&isr).await;
            for _ in 0..2 {
                let next = fetch(&app, "/p/a").await;
                assert_eq!(state(&next), if kept { "HIT" } else { "" }, "{sizes:?}");
                assert_eq!(body(next).await.len(), total, "{sizes:?}");
            }
            assert_eq!(handler.calls() == 1, kept, "{sizes:?}");
            assert_eq!((isr.stats().stored, isr.stats().captured_bytes), (u64::from(kept), 0));
        }
    }
}

/// CASES 94: a handler that panics: the panic goes on in the visitor's task, the key is free at once, nothing is kept.
#[tokio::test]
async fn a_panic_frees_the_key() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|n, _| async move {
        assert!(n > 2, "in the handler");
        format!("render {n}")
    });
    let app = app(&isr, &handler);
    let panic = std::panic::AssertUnwindSafe(fetch(&app, "/p/a")).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the handler"));
    settled(&isr).await;
    assert_eq!((isr.stats().stored, isr.stats().memory_items), (0, 0));
    let next = fetch(&app, "/p/a").await;
    assert_eq!((state(&next), body(next).await.as_str()), ("MISS", "render 3"));
}

/// CASES 95: a body that panics. After the head is out it is a broken transfer for the visitor; before that it is as
/// without the cache: the visitor's own body panics where it is polled. Nothing is kept and nothing hangs; with a pattern
/// that is believed, the panic goes on unwinding in everybody who waits. The key function and the policy are the
/// crate's own: there is no code of the application in them.
#[tokio::test]
async fn a_panic_in_a_body_is_contained() {
    for (how, believed) in [("panic", false), ("late panic", false), ("panic", true), ("late panic", true)] {
        let isr = Isr::builder().build().unwrap();
        let broken = Arc::new(AtomicBool::new(true));
        let ends = Arc::clone(&broken);
        let handler = Handler::new(move |_, request: Request| {
            let well = request.uri().path() == "/p/good" || !ends.load(Ordering::SeqCst);
            std::future::ready(Response::new(ending(if well { "well" } else { how })))
        });
        let app = app(&isr, &handler);
        if believed {
            fetch(&app, "/p/good").await;
        }
        let visit = async {
            let response = fetch(&app, "/p/a").await;
            rest(&mut response.into_body()).await
        };
        let got = std::panic::AssertUnwindSafe(visit).catch_unwind().await;
        match how {
            "late panic" => assert_eq!(got.unwrap(), Err("part.part.part. | in the body".to_owned())),
            _ => assert_eq!(got.unwrap_err().downcast_ref::<&str>(), Some(&"in the body")),
        }
        settled(&isr).await;
        assert_eq!(isr.stats().stored, u64::from(believed), "{how}");
        broken.store(false, Ordering::SeqCst);
        assert_eq!(body(fetch(&app, "/p/a").await).await, "part.part.part.", "{how}");
    }
}

/// CASES 85, 86, 92, 95, 96, R13: a regeneration whose body is no good keeps the old page; of five requests in the time of
/// its back-off exactly one has tried; then the next one does.
#[tokio::test]
async fn a_regeneration_with_a_bad_body_keeps_the_page() {
    for how in ["error", "late error", "panic", "late panic", "short", "large"] {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let handler = Handler::new(move |n, _| async move {
            match (n, how) {
                (1, _) => "the old page".into_response(),
                (2, "short") => ([("content-length", "20")], ending("well")).into_response(),
                (2, "large") => pieces(&[600, 600]).into_response(),
                (2, _) => Response::new(ending(how)),
                _ => "the new page".into_response(),
            }
        });
        let route = route().max_body_bytes(1_000);
        let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route));
        fetch(&app, "/p/a").await;
        clock.advance(MINUTE);
        for _ in 0..5 {
            let stale = fetch(&app, "/p/a").await;
            assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "the old page"), "{how}");
            settled(&isr).await;
        }
        assert_eq!((handler.calls(), isr.stats().failures, isr.stats().captured_bytes), (2, 1, 0), "{how}");
        clock.advance(2 * SECOND);
        assert_eq!(state(&fetch(&app, "/p/a").await), "STALE", "{how}");
        settled(&isr).await;
        let hit = fetch(&app, "/p/a").await;
        assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "the new page"), "{how}");
    }
}

/// CASES 97: a regeneration whose handler never answers, or whose body stops, is given up after the render's time limit;
/// meanwhile and afterwards the old page is served, until it expires; the place for background work is free again.
#[tokio::test(start_paused = true)]
async fn a_regeneration_that_never_ends_is_given_up() {
    for stuck in ["handler", "body"] {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).max_regenerations(1).build().unwrap();
        let handler = Handler::new(move |n, _| async move {
            match (n, stuck) {
                (1, _) => "the old page".into_response(),
                (_, "body") => {
                    Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()).into_response()
                }
                _ => std::future::pending().await,
            }
        });
        let route = route().expire(2 * MINUTE);
        let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route));
        fetch(&app, "/p/a").await;
        clock.advance(MINUTE);
        for attempt in 1..=2 {
            assert_eq!(state(&fetch(&app, "/p/a").await), "STALE", "{stuck}");
            tokio::time::sleep(29 * SECOND).await;
            assert_eq!((isr.stats().flights, state(&fetch(&app, "/p/a").await)), (1, "STALE"), "{stuck}");
            tokio::time::sleep(2 * SECOND).await;
            assert_eq!((isr.stats().flights, handler.calls()), (0, 1 + attempt), "{stuck}");
            let stale = fetch(&app, "/p/a").await;
            assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "the old page"), "{stuck}");
            clock.advance(3 * SECOND);
        }
        clock.advance(MINUTE);
        let mut expired = waiting(&app, request("/p/a")).await;
        let_run().await;
        if stuck == "handler" {
            assert!(futures_util::poll!(expired.as_mut()).is_pending(), "not served beyond its end");
            assert_eq!(expired.await.status(), StatusCode::GATEWAY_TIMEOUT);
        } else {
            assert_eq!(state(&expired.await), "MISS");
        }
    }
}

/// CASES 90: a body that drips is kept when it ends, however long it takes in all; one that stops for longer than the
/// render's time limit is broken for its readers and not kept.
#[tokio::test(start_paused = true)]
async fn a_dripping_body_may_take_its_time_but_not_stop() {
    for stops in [false, true] {
        let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
        let app = app(&isr, &taps.handler(&[]));
        let visitor = waiting(&app, request("/p/a")).await;
        let tap = taps.next().await;
        let mut stream = visitor.await.into_body();
        for _ in 0..40 {
            tokio::time::sleep(29 * SECOND).await;
            tap.send("drop.");
            assert_eq!(piece(&mut stream).await, "drop.");
        }
        if stops {
            let begun = tokio::time::Instant::now();
            let end = rest(&mut stream).await;
            assert!(end.unwrap_err().contains("stalled"));
            assert_eq!(begun.elapsed().as_secs(), 30);
            until(|| !tap.is_read()).await;
            assert_eq!((isr.stats().flights, isr.stats().stored, isr.stats().captured_bytes), (0, 0, 0));
        } else {
            drop(tap);
            assert_eq!(rest(&mut stream).await, Ok(String::new()));
            settled(&isr).await;
            let hit = fetch(&app, "/p/a").await;
            assert_eq!((state(&hit), body(hit).await), ("HIT", "drop.".repeat(40)));
        }
    }
}

/// I3, DESIGN 2.7: the time of a render that nobody waits for counts from the begin of the render, not from when the last
/// reader has left.
#[tokio::test(start_paused = true)]
async fn a_body_that_drips_goes_on_without_readers_only_while_it_is_young() {
    for (drops, goes_on) in [(3, 1), (5, 0)] {
        let isr = Isr::builder().render_timeout(10 * SECOND).build().unwrap();
        let taps = Taps::default();
        let app = app(&isr, &taps.handler(&[]));
        let visitor = waiting(&app, request("/p/a")).await;
        let tap = taps.next().await;
        let mut stream = visitor.await.into_body();
        for _ in 0..drops {
            tokio::time::sleep(9 * SECOND).await;
            tap.send("drop.");
            assert_eq!(piece(&mut stream).await, "drop.");
        }
        drop(stream);
        let_run().await;
        assert_eq!(isr.stats().flights, goes_on, "after {drops} drops");
        drop(tap);
        settled(&isr).await;
    }
}

/// I6, DESIGN 2.7: a body that is always ready uses up the budget of its task, without which its timers do not fire; and
/// yet a render that nobody waits for ends after four render timeouts, and gives its place back.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_always_ready_ends_too() {
    let text = |n: usize| if n.is_multiple_of(5_000) { "x" } else { "" };
    let trailers = || HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_static("b"))]);
    for kind in ["data after trailers", "mostly empty", "empty after the limit"] {
        let isr = Isr::builder().max_regenerations(1).render_timeout(SECOND).build().unwrap();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let handler = Handler::new(move |_, _| {
            let (polls, mut n) = (Arc::clone(&counted), 0);
            let frames = futures_util::stream::poll_fn(move |_| {
                n += 1;
                polls.fetch_add(1, Ordering::SeqCst);
                std::task::Poll::Ready(Some(Ok::<_, std::io::Error>(match (kind, n) {
                    (_, 0..40) => Frame::data(Bytes::from(vec![0; 4_096])),
                    ("data after trailers", 40) => Frame::trailers(trailers()),
                    ("data after trailers", _) => Frame::data(Bytes::from_static(b"x")),
                    ("mostly empty", n) => Frame::data(Bytes::from_static(text(n).as_bytes())),
                    _ => Frame::data(Bytes::new()),
                })))
            });
            std::future::ready(Body::new(http_body_util::StreamBody::new(frames)))
        });
        let limit = if kind == "empty after the limit" { 100_000 } else { 1_000_000 };
        let app = Router::new().route("/p/{slug}", get(handler)).route_layer(isr.layer(route().max_body_bytes(limit)));
        let mut reader = fetch(&app, "/p/a").await.into_body();
        for _ in 0..10 {
            piece(&mut reader).await;
        }
        drop(reader);
        for _ in 0..6 {
            let_run().await;
            tokio::time::advance(SECOND).await;
        }
        let_run().await;
        let before = polls.load(Ordering::SeqCst);
        let_run().await;
        assert_eq!((polls.load(Ordering::SeqCst) - before, isr.stats().flights), (0, 0), "{kind}");
        assert_eq!(isr.shutdown(SECOND).await.abandoned, 0, "{kind}");
    }
}
