//! Bodies on their way into the cache share a budget; a page that finds no room in it is made for those who asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, Tap, Taps, body, fetch, header, let_run, request, rest, state, until, waiting};

/// The limit of the pages here that go beyond it.
const LIMIT: usize = 64 << 10;
/// How far a body that is not kept may be ahead of its slowest reader.
const AHEAD: usize = 256 << 10;
/// What a chunk is counted as besides its bytes.
const CHUNK: usize = 128;

fn app(isr: &Isr, handler: &Handler, route: RouteConfig) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route))
}

fn route() -> RouteConfig {
    RouteConfig::revalidate(Duration::from_secs(60))
}

/// A handle whose whole budget is held, by two pages that are still on their way.
async fn without_room() -> (Isr, Vec<(Tap, Body)>) {
    let (isr, taps) = (Isr::builder().memory_bytes(16 << 20).build().unwrap(), Taps::default());
    let big = app(&isr, &taps.handler(&[]), route());
    let mut held = Vec::new();
    for path in ["/p/a", "/p/b"] {
        let visitor = waiting(&big, request(path)).await;
        let tap = taps.next().await;
        tap.send(vec![b'x'; (2 << 20) - CHUNK]);
        held.push((tap, visitor.await.into_body()));
        let_run().await;
    }
    assert_eq!(isr.stats().captured_bytes, 4 << 20, "a quarter, and not one byte more");
    (isr, held)
}

/// DESIGN 2.7: bodies that are being captured share a quarter of the memory. Beyond it a page is not captured: who started
/// it gets it as it comes, others make their own requests, and nothing is remembered; when there is room again, pages are
/// kept again.
#[tokio::test]
async fn bodies_on_their_way_share_a_budget() {
    let (isr, mut held) = without_room().await;
    let gate = Gate::closed();
    let inner = gate.clone();
    let small = Handler::new(move |n, _| {
        let (gate, (tap, body)) = (inner.clone(), Tap::open());
        tap.send(format!("call {n}"));
        tokio::spawn(async move {
            gate.pass().await;
            drop(tap);
        });
        std::future::ready(body)
    });
    let app = app(&isr, &small, route());
    for calls in [2, 4] {
        let (starter, follower) = (waiting(&app, request("/p/c")).await, waiting(&app, request("/p/c")).await);
        let (starter, follower) = (starter.await, follower.await);
        assert_eq!((state(&starter), header(&starter, "cache-control")), ("MISS", "private, no-store"));
        assert_eq!((state(&follower), header(&follower, "cache-control")), ("", ""));
        gate.admit(2);
        assert_eq!(body(starter).await, format!("call {}", calls - 1));
        assert_eq!(body(follower).await, format!("call {calls}"));
        until(|| isr.stats().flights == 2).await;
    }
    assert_eq!((isr.stats().captured_bytes, isr.stats().stored), (4 << 20, 0));
    let (tap, mut stream) = held.remove(0);
    drop(tap);
    assert_eq!(rest(&mut stream).await.unwrap().len(), (2 << 20) - CHUNK);
    until(|| isr.stats().captured_bytes == 2 << 20).await;
    gate.open();
    assert_eq!(body(fetch(&app, "/p/c").await).await, "call 5");
    until(|| isr.stats().flights == 1).await;
    assert_eq!(state(&fetch(&app, "/p/c").await), "HIT");
    drop(held);
}

/// DESIGN 2.7: that there was no room says nothing about a page, also if its visitor did not wait for it.
#[tokio::test]
async fn a_page_that_found_no_room_is_not_remembered() {
    let ((isr, held), gate) = (without_room().await, Gate::closed());
    let gated = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = gated.clone();
        async move {
            gate.pass().await;
            format!("render {n}")
        }
    });
    let app = app(&isr, &handler, route());
    let visitor = waiting(&app, request("/p/c")).await;
    let_run().await;
    drop(visitor);
    gate.open();
    until(|| isr.stats().flights == 2).await;
    drop(held);
    until(|| isr.stats().captured_bytes == 0).await;
    let miss = fetch(&app, "/p/c").await;
    assert_eq!((state(&miss), body(miss).await.as_str(), isr.stats().passes), ("MISS", "render 2", 0));
}

/// CASES 92, I3, DESIGN 2.7: what is too large, or finds no room, is made once for the one who asked, also if all of it was
/// there before he looked.
#[tokio::test]
async fn a_page_that_is_not_captured_is_made_once() {
    for (size, limit) in [(5_000, 4_999), (LIMIT + 1, LIMIT), (AHEAD - 1, 10_000), (2 * AHEAD, LIMIT)] {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |_, _| async move { "x".repeat(size) });
        let app = app(&isr, &handler, route().max_body_bytes(limit));
        let miss = fetch(&app, "/p/a").await;
        assert_eq!((state(&miss), header(&miss, "cache-control")), ("MISS", "private, no-store"), "{size} {limit}");
        assert_eq!((body(miss).await.len(), handler.calls()), (size, 1), "{size} {limit}");
    }
    let ((isr, _held), handler) = (without_room().await, Handler::counting());
    let app = app(&isr, &handler, route());
    let miss = fetch(&app, "/p/c").await;
    assert_eq!((state(&miss), body(miss).await.as_str(), handler.calls()), ("MISS", "render 1", 1));
}

/// DESIGN 2.7: a page that already streams when the budget runs out goes on for all who read it, and is not kept.
#[tokio::test]
async fn a_page_that_outgrows_the_budget_goes_on() {
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let taps = Taps::default();
    let app = app(&isr, &taps.handler(&[]), route());
    let mut held = Vec::new();
    for path in ["/p/a", "/p/b", "/p/c"] {
        let (starter, follower) = (waiting(&app, request(path)).await, waiting(&app, request(path)).await);
        let tap = taps.next().await;
        tap.send("begun ");
        held.push((tap, starter.await.into_body(), follower.await.into_body()));
    }
    for (tap, ..) in &held[..2] {
        tap.send(vec![b'x'; (2 << 20) - 3 * CHUNK]);
    }
    let_run().await;
    let (tap, mut starter, mut follower) = held.pop().unwrap();
    tap.send("and goes on");
    drop(tap);
    for reader in [&mut starter, &mut follower] {
        assert_eq!(rest(reader).await.as_deref(), Ok("begun and goes on"));
    }
    until(|| isr.stats().flights == 2).await;
    assert_eq!(isr.stats().stored, 0);
    drop(held);
}

/// DESIGN 2.7: a body that comes byte by byte is counted with what its pieces cost, before and after it outgrows the
/// budget.
#[tokio::test]
async fn a_body_in_small_pieces_is_counted_as_what_it_costs() {
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let taps = Taps::default();
    let app = app(&isr, &taps.handler(&[]), route());
    let visitor = waiting(&app, request("/p/a")).await;
    let tap = taps.next().await;
    for _ in 0..1_000 {
        tap.send("x");
    }
    let mut body = visitor.await.into_body();
    until(|| isr.stats().captured_bytes == 1_000 * (1 + CHUNK)).await;
    let all = (4 << 20) / (1 + CHUNK) + 2 * AHEAD / (1 + CHUNK);
    for _ in 1_000..all {
        tap.send("x");
    }
    until(|| isr.stats().captured_bytes == 0).await;
    let_run().await;
    drop(tap);
    assert_eq!(rest(&mut body).await.unwrap().len(), all);
    until(|| isr.stats().flights == 0).await;
    assert_eq!(isr.stats().stored, 0);
}
