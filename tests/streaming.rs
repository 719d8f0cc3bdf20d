//! A body reaches its visitors while it grows: the first byte does not wait for the last, everybody reads along, and what
//! is on the way is bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, Tap, Taps, body, fetch, header, let_run, piece, request, rest, settled, state, waiting};
use http_body_util::BodyExt;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const CHUNK: usize = 16 << 10;
/// How far a body that is not kept may be ahead of its slowest reader.
const AHEAD: usize = 256 << 10;
/// The limit of the pages here that go beyond it.
const LIMIT: usize = 64 << 10;

fn app(isr: &Isr, handler: &Handler, route: RouteConfig) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route))
}

fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// R15: each piece reaches the visitor before the next one is there; the head before the first. Until the page is known to
/// be shareable, other caches are told not to keep it. What was streamed is then a HIT.
#[tokio::test]
async fn the_first_byte_does_not_wait_for_the_last() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = app(&isr, &taps.handler(&[("content-type", "text/html")]), route());
    let visitor = waiting(&app, request("/p/a")).await;
    let tap = taps.next().await;
    let response = visitor.await;
    assert_eq!((state(&response), header(&response, "content-type")), ("MISS", "text/html"));
    assert_eq!(header(&response, "cache-control"), "private, no-store");
    assert_eq!(
        (header(&response, "etag"), header(&response, "content-length"), header(&response, "age")),
        ("", "", "")
    );
    let mut stream = response.into_body();
    for text in ["<html>", "a", "", "b", "</html>"] {
        assert!(futures_util::poll!(stream.frame()).is_pending());
        tap.send(text);
        if !text.is_empty() {
            assert_eq!(piece(&mut stream).await, text);
        }
    }
    assert_eq!(isr.stats().stored, 0);
    drop(tap);
    assert_eq!(piece(&mut stream).await, "");
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!(header(&hit, "cache-control"), "s-maxage=60, stale-while-revalidate=31535940");
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "<html>ab</html>"));
}

/// R15: a page that does not make its visitor wait is complete when its head goes out, and has its final headers: up to
/// 64 KiB in pieces, in one piece up to any size. One that has more, or has to be waited for, streams.
#[tokio::test]
async fn an_ordinary_page_is_complete_with_its_head() {
    for (pieces, waits, streams) in [
        (vec![10, 10], false, false),
        (vec![LIMIT - 1], false, false),
        (vec![1 << 20], false, false),
        (vec![LIMIT / 2, LIMIT / 2 - 1], false, false),
        (vec![10], true, true),
        (vec![LIMIT, LIMIT], true, true),
    ] {
        let isr = Isr::builder().build().unwrap();
        let gate = Gate::closed();
        let (sizes, inner) = (pieces.clone(), gate.clone());
        let handler = Handler::new(move |_, _| {
            let gate = inner.clone();
            let page = match sizes.as_slice() {
                [size] if !waits => Body::from(vec![b'x'; *size]),
                sizes => {
                    let (tap, body) = Tap::open();
                    for size in sizes {
                        tap.send(vec![b'x'; *size]);
                    }
                    if waits {
                        tokio::spawn(async move {
                            gate.pass().await;
                            drop(tap);
                        });
                    }
                    body
                }
            };
            std::future::ready(page)
        });
        let app = app(&isr, &handler, route());
        let miss = fetch(&app, "/p/a").await;
        assert_eq!(header(&miss, "cache-control") == "private, no-store", streams, "{pieces:?}");
        assert_eq!(header(&miss, "etag").is_empty(), streams, "{pieces:?}");
        gate.open();
        assert_eq!(body(miss).await.len(), pieces.iter().sum::<usize>());
        settled(&isr).await;
        assert_eq!((state(&fetch(&app, "/p/a").await), handler.calls()), ("HIT", 1), "{pieces:?}");
    }
}

/// R15, CASES 88: who joins while the body grows reads all of it from its beginning; the starter's leaving, in the middle,
/// changes nothing for the others; it was one render.
#[tokio::test]
async fn followers_read_along() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let handler = taps.handler(&[]);
    let app = app(&isr, &handler, route());
    let visitor = waiting(&app, request("/p/a")).await;
    let tap = taps.next().await;
    let mut starter = visitor.await.into_body();
    let mut followers: Vec<Body> = Vec::new();
    for (n, text) in ["a", "b", "c", "d"].into_iter().enumerate() {
        tap.send(text);
        if n < 2 {
            assert_eq!(piece(&mut starter).await, text);
        } else {
            drop(std::mem::replace(&mut starter, Body::empty()));
        }
        for follower in &mut followers {
            assert_eq!(piece(follower).await, text, "as soon as it is there");
        }
        let response = fetch(&app, "/p/a").await;
        assert_eq!((state(&response), header(&response, "cache-control")), ("MISS", "private, no-store"));
        assert_eq!(header(&response, "cache-status"), "axum-isr; fwd=miss; collapsed");
        let mut late = response.into_body();
        for earlier in &["a", "b", "c", "d"][..=n] {
            assert_eq!(piece(&mut late).await, *earlier);
        }
        followers.push(late);
    }
    drop(tap);
    for mut follower in followers {
        assert_eq!(piece(&mut follower).await, "");
    }
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), body(hit).await.as_str(), handler.calls()), ("HIT", "abcd", 1));
}

/// A page that pauses before its head and before each piece.
fn pausing() -> Handler {
    Handler::new(|_, _| async {
        let pieces = futures_util::stream::unfold(0, |n| async move {
            tokio::task::yield_now().await;
            (n < 4).then(|| (Ok::<_, std::io::Error>(Bytes::from("part.")), n + 1))
        });
        tokio::task::yield_now().await;
        Body::from_stream(pieces).into_response()
    })
}

/// CASES 87, 88: the visitor who started is dropped after any number of polls; ten others who wait get the page, whole,
/// and it is kept; no one hangs.
#[tokio::test]
async fn a_starter_dropped_at_any_point_harms_nobody() {
    for polls in 0..12 {
        let isr = Isr::builder().build().unwrap();
        let handler = pausing();
        let app = app(&isr, &handler, route());
        let mut starter: Pin<Box<dyn Future<Output = Result<String, String>> + Send>> = {
            let app = app.clone();
            Box::pin(async move { rest(&mut fetch(&app, "/p/a").await.into_body()).await })
        };
        assert!(futures_util::poll!(starter.as_mut()).is_pending());
        let mut others = Vec::new();
        for _ in 0..10 {
            others.push(waiting(&app, request("/p/a")).await);
        }
        for _ in 0..polls {
            tokio::task::yield_now().await;
            if futures_util::poll!(starter.as_mut()).is_ready() {
                break;
            }
        }
        drop(starter);
        for other in others {
            let response = other.await;
            assert_eq!((state(&response), body(response).await.as_str()), ("MISS", "part.part.part.part."), "{polls}");
        }
        settled(&isr).await;
        assert_eq!((handler.calls(), state(&fetch(&app, "/p/a").await)), (1, "HIT"), "{polls}");
    }
}

/// CASES 87: nobody but the one who is dropped: the page is kept whole, or not at all.
#[tokio::test]
async fn a_page_whose_only_visitor_left_is_whole_or_not_there() {
    for polls in 0..12 {
        let isr = Isr::builder().build().unwrap();
        let handler = pausing();
        let app = app(&isr, &handler, route());
        let mut only = Box::pin(async { rest(&mut fetch(&app, "/p/a").await.into_body()).await });
        for _ in 0..=polls {
            if futures_util::poll!(only.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(only);
        settled(&isr).await;
        let next = fetch(&app, "/p/a").await;
        let (said, page) = (state(&next), body(next).await);
        assert_eq!((said, page.as_str(), handler.calls()), ("HIT", "part.part.part.part.", 1), "{polls}");
    }
}

/// A body of chunks that are always ready, and how many were made.
fn endless_or(most: Option<usize>, made: &Arc<AtomicUsize>) -> Handler {
    let made = Arc::clone(made);
    Handler::new(move |_, _| {
        let made = Arc::clone(&made);
        let mut n = 0;
        let chunks = futures_util::stream::poll_fn(move |_| {
            n += 1;
            std::task::Poll::Ready(most.is_none_or(|most| n <= most).then(|| {
                made.fetch_add(1, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; CHUNK]))
            }))
        });
        std::future::ready(Body::from_stream(chunks))
    })
}

/// The next chunk of a reader.
async fn chunk(body: &mut Body) -> Result<usize, String> {
    match body.frame().await {
        Some(Ok(frame)) => Ok(frame.into_data().unwrap().len()),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(0),
    }
}

/// CASES 91: a body without an end that is always ready neither keeps the thread nor fills the memory: its head and first
/// chunk arrive, others run, the maker is at most 256 KiB ahead of the reader, and stops when the reader leaves.
#[tokio::test]
async fn an_endless_body_runs_at_its_readers_pace() {
    let (isr, made) = (Isr::builder().build().unwrap(), Arc::default());
    let app = app(&isr, &endless_or(None, &made), route().max_body_bytes(LIMIT));
    let ticks = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&ticks);
    let clockwork = tokio::spawn(async move {
        loop {
            counting.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let response = fetch(&app, "/p/a").await;
    assert_eq!((state(&response), header(&response, "cache-control")), ("MISS", "private, no-store"));
    let mut stream = response.into_body();
    for read in 0..100 {
        let_run().await;
        assert_eq!(made.load(Ordering::SeqCst) - read, AHEAD / CHUNK, "as far ahead as it may be, and no further");
        assert_eq!((isr.stats().captured_bytes, isr.stats().flights), (0, 0));
        assert_eq!(chunk(&mut stream).await, Ok(CHUNK));
    }
    assert!(ticks.load(Ordering::SeqCst) > 1_000, "others ran meanwhile");
    drop(stream);
    let_run().await;
    let made_until_now = made.load(Ordering::SeqCst);
    let_run().await;
    assert_eq!(made.load(Ordering::SeqCst), made_until_now, "nobody reads, nobody makes");
    clockwork.abort();
    assert_eq!(isr.stats().stored, 0);
}

/// CASES 91: with no reader waiting at all, a task beside an endless body still gets its turn, on the only thread.
#[tokio::test]
async fn an_always_ready_body_does_not_starve_the_runtime() {
    let isr = Isr::builder().build().unwrap();
    let made: Arc<AtomicUsize> = Arc::default();
    // All of it is within the limit: the maker never has to wait for a reader.
    let app = app(&isr, &endless_or(Some(500), &made), route().max_body_bytes(500 * CHUNK));
    let _visitor = waiting(&app, request("/p/a")).await;
    let mut turns = 0;
    while made.load(Ordering::SeqCst) < 500 {
        turns += 1;
        assert!(turns < 100_000);
        tokio::task::yield_now().await;
    }
    assert!(turns >= 3, "five hundred chunks in {turns} turns");
}

/// CASES 92, DESIGN 2.2: beyond the limit the slowest reader holds the others up, for at most five seconds; then he is
/// cut, with an error, and the others go on.
#[tokio::test(start_paused = true)]
async fn a_stalled_reader_is_cut_and_the_others_go_on() {
    let (isr, made) = (Isr::builder().build().unwrap(), Arc::default());
    let app = app(&isr, &endless_or(None, &made), route().max_body_bytes(LIMIT));
    let (slow, fast) = (waiting(&app, request("/p/a")).await, waiting(&app, request("/p/a")).await);
    let (mut slow, mut fast) = (slow.await.into_body(), fast.await.into_body());
    let begun = tokio::time::Instant::now();
    for _ in 0..AHEAD / CHUNK {
        assert_eq!(chunk(&mut fast).await, Ok(CHUNK));
    }
    assert!(begun.elapsed() < SECOND, "what is there is there at once");
    assert_eq!(made.load(Ordering::SeqCst), AHEAD / CHUNK);
    assert_eq!(chunk(&mut fast).await, Ok(CHUNK));
    let waited = begun.elapsed();
    assert!((5 * SECOND..6 * SECOND).contains(&waited), "{waited:?}");
    for _ in 0..1_000 {
        assert_eq!(chunk(&mut fast).await, Ok(CHUNK));
    }
    assert_eq!(begun.elapsed(), waited, "nobody holds it up any more");
    assert!(chunk(&mut slow).await.unwrap_err().contains("too slow"));
}

/// DESIGN 2.2: a slow reader who does read is not cut, however slow he is in all.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_stalled_one() {
    let (isr, made) = (Isr::builder().build().unwrap(), Arc::default());
    let app = app(&isr, &endless_or(Some(200), &made), route().max_body_bytes(LIMIT));
    let mut slow = fetch(&app, "/p/a").await.into_body();
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        assert_eq!(chunk(&mut slow).await, Ok(CHUNK));
    }
    assert_eq!(chunk(&mut slow).await, Ok(0));
}

/// CASES 92: who keeps nobody waiting is never cut: alone, or with others who are as slow.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_a_large_page_reads_it_to_its_end() {
    for readers in 1..=2 {
        let (isr, made) = (Isr::builder().build().unwrap(), Arc::default());
        let app = app(&isr, &endless_or(Some(50), &made), route().max_body_bytes(LIMIT));
        let mut waits = Vec::new();
        for _ in 0..readers {
            waits.push(waiting(&app, request("/p/a")).await);
        }
        let mut bodies = Vec::new();
        for visitor in waits {
            bodies.push(visitor.await.into_body());
        }
        for piece in 0..50 {
            tokio::time::sleep(100 * SECOND).await;
            for body in &mut bodies {
                assert_eq!(chunk(body).await, Ok(CHUNK), "{piece} of {readers}");
            }
        }
        for body in &mut bodies {
            assert_eq!(chunk(body).await, Ok(0));
        }
    }
}

/// DESIGN 2.2: below the limit a reader who stalls, for however long, slows neither the fill nor others, and is not cut.
#[tokio::test(start_paused = true)]
async fn a_stalled_reader_does_not_slow_the_fill() {
    let (isr, made) = (Isr::builder().build().unwrap(), Arc::default());
    let app = app(&isr, &endless_or(Some(100), &made), route());
    let mut stalled = fetch(&app, "/p/a").await.into_body();
    settled(&isr).await;
    assert_eq!((made.load(Ordering::SeqCst), state(&fetch(&app, "/p/a").await)), (100, "HIT"));
    tokio::time::sleep(1_000 * SECOND).await;
    assert_eq!(rest(&mut stalled).await.unwrap().len(), 100 * CHUNK);
}
