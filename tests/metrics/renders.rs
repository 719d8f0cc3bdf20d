//! Renders that run, how long they took, and what came of those in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use bytes::Bytes;
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;

use crate::common::{Gate, Handler, fetch, let_run, request, settled, state, until, waiting};
use crate::trouble::{Cluster, SECOND, written};
use crate::watch::{Watch, counted};

const MINUTE: Duration = Duration::from_secs(60);

fn app(isr: &Isr, handler: &Handler) -> Router {
    let config = RouteConfig::revalidate(MINUTE);
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(config)).layer(CatchPanicLayer::new())
}

fn broken() -> Response {
    Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("disk"))])).into_response()
}

/// However a render ends, it does not count as one that runs any more.
#[tokio::test(start_paused = true)]
async fn renders_in_flight_are_those_that_run() {
    let (watch, gate) = (Watch::new(), Gate::closed());
    let isr = Isr::builder().max_regenerations(2).build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |_, request: Request| {
        let gate = inner.clone();
        async move {
            gate.pass().await;
            match request.uri().path() {
                "/p/down" => StatusCode::BAD_GATEWAY.into_response(),
                "/p/panics" => panic!("on purpose"),
                "/p/breaks" => broken(),
                "/p/own" => ([("set-cookie", "a=1")], "own").into_response(),
                "/p/large" => vec![b'x'; 3 << 20].into_response(),
                "/p/hangs" => std::future::pending().await,
                _ => "page".into_response(),
            }
        }
    });
    let app = app(&isr, &handler);
    assert_eq!(watch.in_flight(), None);
    for path in ["/p/a", "/p/down", "/p/panics", "/p/breaks", "/p/own", "/p/large", "/p/hangs"] {
        let (one, two) = (waiting(&app, request(path)).await, waiting(&app, request(path)).await);
        assert_eq!(watch.in_flight(), Some(1.0), "{path}: one render for both");
        gate.admit(4);
        for visitor in [one, two] {
            let _ = crate::common::rest(&mut visitor.await.into_body()).await;
        }
        settled(&isr).await;
        assert_eq!(watch.in_flight(), Some(0.0), "{path}");
    }
    // The visitors have left: one render may go on without them, the other is given up.
    let gate = Gate::closed();
    let handler = Handler::gated_again(&gate);
    let app = self::app(&isr, &handler);
    fetch(&app, "/p/first").await;
    let visitors = [waiting(&app, request("/p/b")).await, waiting(&app, request("/p/c")).await];
    until(|| handler.calls() == 3).await;
    assert_eq!(watch.in_flight(), Some(2.0));
    drop(visitors);
    let_run().await;
    assert_eq!(watch.in_flight(), Some(1.0));
    // Shutdown gives up that one too.
    isr.shutdown(SECOND).await;
    assert_eq!(watch.in_flight(), Some(0.0));
}

/// Neither do those whose runtime is gone. One that was to replace an old page counts as given up.
#[test]
fn renders_of_a_dropped_runtime_are_not_in_flight() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (watch, clock, gate) = (Watch::new(), ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let app = app(&isr, &Handler::gated_again(&gate));
    let theirs = runtime();
    theirs.block_on(async {
        fetch(&app, "/p/a").await;
        clock.advance(MINUTE);
        assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
        drop(waiting(&app, request("/p/b")).await);
        let_run().await;
    });
    assert_eq!(watch.in_flight(), Some(2.0));
    drop(theirs);
    assert_eq!(watch.in_flight(), Some(0.0));
    let expected = counted(&[("route=/p/{slug},result=abandoned,reason=abandoned", 1)]);
    assert_eq!(watch.counts("isr_regenerations_total"), expected);
    assert_eq!((isr.stats().flights, isr.stats().routes[0].regenerations), (0, 1));
}

/// By route and in seconds, from the handler's call to the end of the body, well or not; who waits for another's render
/// and who is answered from memory adds nothing.
#[tokio::test]
async fn the_time_of_each_render_is_told_once() {
    let (watch, clock) = (Watch::new(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let inner = clock.clone();
    let handler = Handler::new(move |n, _| {
        inner.advance(Duration::from_millis([250, 1_500, 10][n - 1]));
        async move { if n == 3 { StatusCode::BAD_GATEWAY.into_response() } else { "page".into_response() } }
    });
    let app = app(&isr, &handler);
    let (one, two) = (waiting(&app, request("/p/a")).await, waiting(&app, request("/p/a")).await);
    drop((one.await, two.await));
    for state_of in ["HIT", "STALE"] {
        assert_eq!(state(&fetch(&app, "/p/a").await), state_of);
        clock.advance(MINUTE);
    }
    settled(&isr).await;
    fetch(&app, "/p/b").await;
    settled(&isr).await;
    assert_eq!(handler.calls(), 3);
    assert_eq!(watch.samples("isr_render_seconds{route=/p/{slug}}"), [0.01, 0.25, 1.5]);
}

/// What came of renders of stale pages: one of each.
#[tokio::test(start_paused = true)]
async fn every_regeneration_is_counted_by_what_came_of_it() {
    let (watch, clock) = (Watch::new(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let fresh = Arc::<AtomicUsize>::default();
    let asked = Arc::clone(&fresh);
    let handler = Handler::new(move |n, request: Request| {
        let first = asked.load(Ordering::SeqCst) == 0;
        async move {
            match request.uri().path() {
                _ if first => format!("render {n}").into_response(),
                "/p/same" => "render 2".into_response(),
                "/p/own" => ([("set-cookie", "a=1")], "own").into_response(),
                "/p/down" => StatusCode::BAD_GATEWAY.into_response(),
                "/p/panics" => panic!("on purpose"),
                "/p/breaks" => broken(),
                "/p/refused" => StatusCode::BAD_REQUEST.into_response(),
                "/p/hangs" | "/p/late" => std::future::pending().await,
                _ => format!("render {n}").into_response(),
            }
        }
    });
    let app = app(&isr, &handler);
    let paths = ["/p/new", "/p/same", "/p/own", "/p/down", "/p/panics", "/p/breaks", "/p/refused", "/p/hangs"];
    for path in paths {
        fetch(&app, path).await;
    }
    fetch(&app, "/p/late").await;
    fresh.store(1, Ordering::SeqCst);
    clock.advance(MINUTE);
    for path in paths {
        assert_eq!(state(&fetch(&app, path).await), "STALE", "{path}");
        settled_in_time(&isr).await;
    }
    assert_eq!(state(&fetch(&app, "/p/late").await), "STALE");
    isr.shutdown(SECOND).await;
    let expected = counted(&[
        ("route=/p/{slug},result=ok,reason=ok", 1),
        ("route=/p/{slug},result=unchanged,reason=unchanged", 1),
        ("route=/p/{slug},result=not-shared,reason=set-cookie", 1),
        ("route=/p/{slug},result=failed,reason=status", 2),
        ("route=/p/{slug},result=failed,reason=panicked", 1),
        ("route=/p/{slug},result=failed,reason=broken", 1),
        ("route=/p/{slug},result=failed,reason=timed-out", 1),
        ("route=/p/{slug},result=abandoned,reason=abandoned", 1),
    ]);
    assert_eq!(watch.counts("isr_regenerations_total"), expected);
    let stats = isr.stats();
    assert_eq!((stats.routes[0].regenerations, stats.routes[0].regenerations_failed), (9, 5));
}

/// Waits until no render is in the air, while tokio's time passes.
async fn settled_in_time(isr: &Isr) {
    while isr.stats().flights > 0 {
        tokio::time::sleep(SECOND).await;
    }
}

/// A page that another process has rendered again is found in the store.
#[tokio::test(start_paused = true)]
async fn a_page_that_another_process_has_rendered_counts_as_found() {
    let watch = Watch::new();
    let cluster = Cluster::new();
    let (left, right) = (cluster.healthy(), cluster.healthy());
    for node in [&left, &right] {
        fetch(&node.app, "/p/a").await;
        written(node).await;
    }
    cluster.pass(MINUTE + SECOND).await;
    assert_eq!(state(&fetch(&left.app, "/p/a").await), "STALE");
    written(&left).await;
    assert_eq!(state(&fetch(&right.app, "/p/a").await), "STALE");
    crate::trouble::rested(&right).await;
    // The source has not changed meanwhile.
    let expected = counted(&[
        ("route=/p/{slug},result=unchanged,reason=unchanged", 1),
        ("route=/p/{slug},result=found,reason=found", 1),
    ]);
    assert_eq!(watch.counts("isr_regenerations_total"), expected);
    assert_eq!((left.renders(), right.renders()), (2, 0));
}
