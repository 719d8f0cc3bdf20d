//! Requests, the age of what they got, and what was saved.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;

use crate::common::{Gate, Handler, fetch, head, request, request_with, send, settled, state, waiting};
use crate::watch::{Watch, counted};

const MINUTE: Duration = Duration::from_secs(60);

fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE).expire(60 * MINUTE)
}

/// Under the reasons of `Reason`, and nothing is counted twice.
#[tokio::test(start_paused = true)]
async fn every_request_is_counted_once_by_what_became_of_it_and_why() {
    let (watch, clock, gate) = (Watch::new(), ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let at = gate.clone();
    let handler = Handler::new(move |_, request: Request| {
        let gate = at.clone();
        async move {
            match request.uri().path() {
                "/p/own" => ([("set-cookie", "a=1")], "own").into_response(),
                "/p/down" => StatusCode::BAD_GATEWAY.into_response(),
                "/p/panics" => panic!("on purpose"),
                "/p/hangs" => std::future::pending().await,
                "/p/gated" => {
                    gate.pass().await;
                    "gated".into_response()
                }
                _ => "page".into_response(),
            }
        }
    });
    let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route()));
    let app = app
        .merge(Router::new().route("/own", get(handler)).route_layer(isr.layer(RouteConfig::dynamic())))
        .layer(CatchPanicLayer::new());
    let ask = async |path: &str| {
        let response = fetch(&app, path).await;
        settled(&isr).await;
        state(&response)
    };
    assert_eq!([ask("/p/a").await, ask("/p/a").await], ["MISS", "HIT"]);
    assert_eq!(state(&send(&app, head("/p/a")).await), "HIT");
    // Two who wait for one render have both missed.
    let (one, two) = (waiting(&app, request("/p/gated")).await, waiting(&app, request("/p/gated")).await);
    gate.open();
    drop((one.await, two.await));
    clock.advance(MINUTE);
    assert_eq!([ask("/p/a").await, ask("/p/a").await], ["STALE", "HIT"]);
    isr.revalidate_path("/p/a").await.unwrap();
    assert_eq!(ask("/p/a").await, "STALE");
    isr.expire_path("/p/a").await.unwrap();
    assert_eq!(ask("/p/a").await, "MISS");
    clock.advance(60 * MINUTE);
    assert_eq!(ask("/p/a").await, "MISS");
    for path in ["/p/own", "/p/own", "/p/down", "/p/panics", "/p/hangs", "/own"] {
        assert_eq!(ask(path).await, "", "{path}");
    }
    send(&app, request_with("/p/a", &[("range", "bytes=0-0")])).await;
    send(&app, http::Request::post("/p/a").body(axum::body::Body::empty()).unwrap()).await;
    isr.shutdown(MINUTE).await;
    assert_eq!(ask("/p/a").await, "");
    let expected = counted(&[
        ("route=/p/{slug},state=miss,reason=cold", 3),
        ("route=/p/{slug},state=hit,reason=fresh", 3),
        ("route=/p/{slug},state=stale,reason=age", 1),
        ("route=/p/{slug},state=stale,reason=invalidated", 1),
        ("route=/p/{slug},state=miss,reason=invalidated", 1),
        ("route=/p/{slug},state=miss,reason=expired", 1),
        ("route=/p/{slug},state=pass,reason=set-cookie", 2),
        ("route=/p/{slug},state=failed,reason=status", 1),
        ("route=/p/{slug},state=failed,reason=panicked", 1),
        ("route=/p/{slug},state=failed,reason=timed-out", 1),
        ("route=/p/{slug},state=bypass,reason=range", 1),
        ("route=/p/{slug},state=bypass,reason=method", 1),
        ("route=/p/{slug},state=bypass,reason=shutdown", 1),
        ("route=/own,state=bypass,reason=dynamic", 1),
    ]);
    assert_eq!(watch.counts("isr_requests_total"), expected);
}

/// The age is in seconds, with fractions, of HIT and STALE alike; a MISS has none.
#[tokio::test]
async fn the_age_of_what_was_served_is_told_in_seconds() {
    let (watch, clock) = (Watch::new(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let app = Router::new().route("/p/{slug}", get(Handler::counting())).route_layer(isr.layer(route()));
    fetch(&app, "/p/a").await;
    for step in [0, 1_500, 58_500, 0] {
        clock.advance(Duration::from_millis(step));
        fetch(&app, "/p/a").await;
        settled(&isr).await;
    }
    // Stale at a minute, and new after it.
    assert_eq!(watch.samples("isr_age_at_serve_seconds{route=/p/{slug}}"), [0.0, 0.0, 1.5, 60.0]);
    assert_eq!(watch.samples("isr_age_at_serve_seconds{route=/p/{slug}}").len() as u64, {
        let stats = isr.stats();
        stats.hits + stats.stale
    });
}

/// Fractions add up and are told when they are whole seconds: 2.5 s a render.
#[tokio::test]
async fn what_hits_have_saved_is_told_in_whole_seconds() {
    let (watch, clock) = (Watch::new(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(move |n, _| {
        clock.advance(Duration::from_millis(2_500));
        async move { format!("render {n}") }
    });
    let app = Router::new().route("/p/{slug}", get(handler)).route_layer(isr.layer(route()));
    let saved = || watch.count("isr_render_seconds_saved_total{route=/p/{slug}}");
    fetch(&app, "/p/a").await;
    let mut all = vec![saved()];
    for _ in 0..4 {
        fetch(&app, "/p/a").await;
        all.push(saved());
    }
    assert_eq!(all, [0, 2, 5, 7, 10]);
    assert_eq!(watch.samples("isr_render_seconds{route=/p/{slug}}"), [2.5]);
    assert_eq!(isr.stats().routes[0].saved_micros, 10_000_000);
}

/// Whoever counts first finds the exporter: a route that was asked for before there was one is not told of. But nothing
/// panics, and a render that began before is not taken from those that began since.
#[tokio::test]
async fn requests_before_there_is_an_exporter_are_answered_and_not_told() {
    let gate = Gate::closed();
    let isr = Isr::builder().build().unwrap();
    let early = Router::new().route("/early/{slug}", get(Handler::counting())).route_layer(isr.layer(route()));
    let gated = Router::new().route("/gated", get(Handler::gated_again(&gate))).route_layer(isr.layer(route()));
    let late = Router::new().route("/late/{slug}", get(Handler::counting())).route_layer(isr.layer(route()));
    for expected in ["MISS", "HIT"] {
        assert_eq!(state(&fetch(&early, "/early/a").await), expected);
    }
    fetch(&gated, "/gated").await;
    isr.expire_path("/gated").await.unwrap();
    let waits = waiting(&gated, request("/gated")).await;
    let watch = Watch::new();
    gate.open();
    drop(waits.await);
    fetch(&early, "/early/a").await;
    for expected in ["MISS", "HIT"] {
        assert_eq!(state(&fetch(&late, "/late/a").await), expected);
    }
    assert_eq!(watch.in_flight(), Some(0.0));
    let counts = watch.counts("isr_requests_total");
    assert!(counts.contains(&("route=/late/{slug},state=hit,reason=fresh".to_owned(), 1)), "{counts:?}");
    assert!(counts.iter().all(|(labels, _)| !labels.contains("/early")), "{counts:?}");
    assert_eq!(isr.stats().hits, 3);
}
