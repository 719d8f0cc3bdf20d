//! What the gauges say that memory holds.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::testing::{ManualClock, MemoryStore};
use axum_isr::{Isr, RouteConfig};

use crate::common::{Handler, Taps, fetch, let_run, piece, settled, state};
use crate::watch::Watch;

const MINUTE: Duration = Duration::from_secs(60);

fn pages() -> Handler {
    Handler::new(|n, request: Request| async move {
        match request.uri().path() {
            "/p/own" => ([("set-cookie", "a=1")], "own").into_response(),
            path if path.starts_with("/p/large") => vec![b'x'; 1 << 20].into_response(),
            _ => format!("render {n}").into_response(),
        }
    })
}

fn app(isr: &Isr, handler: &Handler) -> Router {
    let config = RouteConfig::revalidate(MINUTE).expire(60 * MINUTE);
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(config))
}

/// After everything that changes what is held, the gauges are as the numbers of the handle.
#[tokio::test]
async fn the_gauges_follow_what_memory_holds() {
    let (watch, clock) = (Watch::new(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).memory_bytes(16 << 20).build().unwrap();
    let app = app(&isr, &pages());
    let mut before = 0.0;
    let mut same = |what: &str, entries: Option<f64>| {
        let (gauges, stats) = watch.held(&[&isr]);
        assert_eq!(gauges, stats, "{what}");
        assert_ne!(gauges[0], before, "{what} is seen");
        assert!(entries.is_none_or(|entries| entries == gauges[1]), "{what}: {gauges:?}");
        before = gauges[0];
    };
    fetch(&app, "/p/a").await;
    same("a page", Some(1.0));
    fetch(&app, "/p/own").await;
    settled(&isr).await;
    same("a remembered pass", Some(2.0));
    isr.data("posts").get_or_init(|| async { vec![1; 100] }).await.unwrap();
    same("a value", Some(3.0));
    isr.data("more posts").get_or_init(|| async { vec![1; 500] }).await.unwrap();
    same("another value", Some(4.0));
    for n in 0..40 {
        fetch(&app, &format!("/p/large{n}")).await;
    }
    settled(&isr).await;
    assert!(isr.stats().memory_items < 40, "some were driven out");
    same("eviction", None);
    assert_eq!(watch.gauge("isr_memory_limit_bytes"), Some(f64::from(16 << 20)));
    isr.shutdown(MINUTE).await;
    same("shutdown", Some(0.0));
    assert_eq!(before, 0.0);
    isr.data("posts").get_or_init(|| async { vec![1; 100] }).await.unwrap();
    assert_eq!(watch.held(&[&isr]), ([0.0; 2], [0.0; 2]), "nothing is kept any more");
    drop((app, isr));
    assert_eq!(watch.gauge("isr_memory_limit_bytes"), Some(0.0), "the handle is gone");
}

/// An invalidated page stays until another one takes its place, and then only that one counts.
#[tokio::test]
async fn the_gauges_follow_invalidation_and_regeneration() {
    let (watch, clock) = (Watch::new(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(|n, _| async move { "x".repeat(n * 1_000) });
    let app = app(&isr, &handler);
    fetch(&app, "/p/a").await;
    let mut bytes = vec![watch.held(&[&isr]).0[0]];
    for (how, expected) in [("age", "STALE"), ("revalidate", "STALE"), ("expire", "MISS")] {
        match how {
            "age" => clock.advance(MINUTE),
            "revalidate" => drop(isr.revalidate_path("/p/a").await.unwrap()),
            _ => drop(isr.expire_path("/p/a").await.unwrap()),
        }
        assert_eq!(state(&fetch(&app, "/p/a").await), expected);
        settled(&isr).await;
        let (gauges, stats) = watch.held(&[&isr]);
        assert_eq!((gauges, gauges[1]), (stats, 1.0), "{how}");
        bytes.push(gauges[0]);
    }
    let steps: Vec<_> = bytes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps, [1_000.0; 3], "each render has a thousand bytes more");
}

/// A page that is too large is remembered as such while its body goes on, and told of at once.
#[tokio::test]
async fn the_gauges_do_not_wait_for_the_end_of_a_body_that_is_not_kept() {
    let (watch, taps) = (Watch::new(), Taps::default());
    let isr = Isr::builder().build().unwrap();
    let config = RouteConfig::revalidate(MINUTE).max_body_bytes(100);
    let app = Router::new().route("/p/{slug}", get(taps.handler(&[]))).route_layer(isr.layer(config));
    let visitor = crate::common::waiting(&app, crate::common::request("/p/a")).await;
    let tap = taps.next().await;
    tap.send("start");
    let mut body = visitor.await.into_body();
    assert_eq!(piece(&mut body).await, "start");
    tap.send("x".repeat(200));
    let_run().await;
    let (gauges, stats) = watch.held(&[&isr]);
    assert_eq!((gauges, stats[1], watch.in_flight()), (stats, 1.0, Some(1.0)));
}

/// What came from the store, with its data, is held too.
#[tokio::test]
async fn the_gauges_follow_what_is_found_in_a_store() {
    let store = MemoryStore::new();
    let build = || Isr::builder().store(store.clone()).deployment_id("one").build().unwrap();
    let first = build();
    fetch(&app(&first, &pages()), "/p/a").await;
    first.data("posts").get_or_init(|| async { 1 }).await.unwrap();
    first.shutdown(MINUTE).await;
    let (watch, second) = (Watch::new(), build());
    assert_eq!(state(&fetch(&app(&second, &pages()), "/p/a").await), "HIT");
    settled(&second).await;
    let (gauges, stats) = watch.held(&[&second]);
    assert_eq!((gauges, stats[1]), (stats, 1.0));
    second.data("posts").get_or_init(|| async { 2 }).await.unwrap();
    let (gauges, stats) = watch.held(&[&second]);
    assert_eq!((gauges, stats[1], second.stats().store_hits), (stats, 2.0, 2));
}

/// Handles add up, and one that goes takes its own along.
#[tokio::test]
async fn two_handles_add_up() {
    let watch = Watch::new();
    let [one, two] = [16, 32].map(|mib| Isr::builder().memory_bytes(mib << 20).build().unwrap());
    let apps = [app(&one, &pages()), app(&two, &pages())];
    for n in 0..20 {
        for app in &apps[usize::from(n < 10)..] {
            fetch(app, &format!("/p/{n}")).await;
        }
        let (gauges, stats) = watch.held(&[&one, &two]);
        assert_eq!(gauges, stats);
    }
    assert_eq!(watch.held(&[&one, &two]).0[1], 30.0);
    assert_eq!(watch.gauge("isr_memory_limit_bytes"), Some(f64::from(48 << 20)));
    one.shutdown(MINUTE).await;
    assert_eq!(watch.held(&[&two]).0[1], 20.0);
    drop((apps, one));
    assert_eq!(watch.held(&[&two]), (watch.held(&[&two]).1, watch.held(&[&two]).1));
    assert_eq!(watch.gauge("isr_memory_limit_bytes"), Some(f64::from(32 << 20)));
    // Without a shutdown.
    drop(two);
    assert_eq!(watch.held(&[]), ([0.0; 2], [0.0; 2]));
}
