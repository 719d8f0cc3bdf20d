//! What it costs to look: calls of the admin API over a full memory tier, and HITs while the dashboard, metrics and
//! `tracing` are on, against HITs without.
//!
//! `cargo bench --features admin,metrics --bench admin`. Times hold for this machine and moment: compare rows of one run.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]

mod cases;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::get;
use axum_isr::admin::{self, AdminConfig};
use axum_isr::{Isr, Render, RouteConfig};
use http_body_util::BodyExt;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::registry::{AtomicStorage, Registry};
use tower::ServiceExt;

const TOKEN: &str = "the-token-of-the-benches";
const ENTRIES: usize = 100_000;
const ROUNDS: usize = 40;
const HITS: usize = 5_000;

fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(calls());
    hits(&runtime);
}

/// `/0/0` to `/9/9999`, each with a tag of its own and one of ten.
async fn full() -> (Isr, Router) {
    let isr = Isr::builder().memory_bytes(1 << 30).build().expect("good");
    let page = |Path((shelf, number)): Path<(String, String)>, render: Render| async move {
        render.tag(format!("shelf:{shelf}"));
        render.tag(format!("page:{number}"));
        "x".repeat(1 << 10)
    };
    let app = Router::new()
        .route("/{shelf}/{number}", get(page))
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600))))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).expect("good"))
        .with_state(isr.clone());
    for n in 0..ENTRIES {
        ask(&app, &format!("/{}/{n}", n % 10)).await;
    }
    assert_eq!(isr.stats().memory_items, ENTRIES);
    (isr, app)
}

async fn ask(app: &Router, path: &str) -> Response {
    let request = Request::builder().uri(path).header("authorization", format!("Bearer {TOKEN}"));
    let Ok(response) = app.clone().oneshot(request.body(Body::empty()).expect("valid")).await;
    response
}

async fn calls() {
    let (_isr, app) = full().await;
    let mut table = Duration::ZERO;
    println!("the admin API among {ENTRIES} entries, {ROUNDS} calls each");
    println!("{:<44} {:>10} {:>10} {:>10}", "", "median", "max", "bytes");
    for call in [
        "stats",
        "entries",
        "entries?page=1000",
        "entries?sort=age",
        "entries?sort=size&page=2000",
        "entries?sort=hits&state=fresh",
        "entries?tag=shelf:3&sort=render",
        "entries?prefix=999",
        "explain?path=/3/33",
        "explain?tag=shelf:3",
    ] {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let response = ask(&app, &format!("/_isr/api/{call}")).await;
            assert!(response.status().is_success(), "{call}");
            bytes = response.into_body().collect().await.expect("a body").to_bytes().len();
            times.push(start.elapsed());
        }
        times.sort_unstable();
        if call == "entries" {
            table = times[ROUNDS / 2];
        }
        println!("{call:<44} {:>10.2?} {:>10.2?} {bytes:>10}", times[ROUNDS / 2], times[ROUNDS - 1]);
    }
    // As the page does: at most each second, and not again for 200 times as long as the look took, up to 5 s.
    let pause = (table * 200).clamp(Duration::from_secs(1), Duration::from_secs(5));
    let share = table.as_secs_f64() / pause.as_secs_f64() * 100.0;
    println!("the table of an open dashboard, while there is always something new: {share:.2} % of a core");
}

/// A recorder as exporters are made: a registry of atomics.
struct Recording(Registry<Key, AtomicStorage>);

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.get_or_create_counter(key, |counter| Counter::from_arc(Arc::clone(counter)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.get_or_create_gauge(key, |gauge| Gauge::from_arc(Arc::clone(gauge)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.get_or_create_histogram(key, |histogram| Histogram::from_arc(Arc::clone(histogram)))
    }
}

/// One HIT of a 10 KiB page: without anything, with metrics, with `tracing` at info besides, and while somebody looks.
fn hits(runtime: &tokio::runtime::Runtime) {
    let recording = Recording(Registry::new(AtomicStorage));
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(std::io::sink).finish();
    let subscriber = tracing::Dispatch::new(subscriber);
    let (off, on) = (cases::Case::new("hit_10k"), metrics::with_local_recorder(&recording, counted));
    let watched = one_page();
    let _events = runtime.block_on(ask(&watched, "/_isr/api/events")).into_body();
    let unwatched = one_page();
    let rows = ["off", "metrics", "metrics and tracing at info", "not looked at", "looked at"];
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        times[0].push(round(|| drop(black_box(off.run()))));
        times[1].push(round(|| drop(black_box(on.run()))));
        times[2].push(tracing::dispatcher::with_default(&subscriber, || round(|| drop(black_box(on.run())))));
        times[3].push(runtime.block_on(round_async(&unwatched)));
        times[4].push(runtime.block_on(round_async(&watched)));
        // As an exporter that is asked now and then.
        recording.0.visit_histograms(|_, histogram| histogram.clear());
    }
    println!("\na HIT, {ROUNDS} times {HITS}, one after the other");
    println!("{:<44} {:>10} {:>10}", "", "least", "median");
    for (row, times) in rows.iter().zip(&mut times) {
        times.sort_unstable();
        let each = |time: Duration| time / u32::try_from(HITS).expect("few");
        println!("{row:<44} {:>7} ns {:>7} ns", each(times[0]).as_nanos(), each(times[ROUNDS / 2]).as_nanos());
    }
    let least = |row: usize| times[row][0] / u32::try_from(HITS).expect("few");
    println!("metrics and tracing at info: {:.0?} more a HIT", least(2).saturating_sub(least(0)));

    // What the stream itself costs.
    let hit = least(4).saturating_sub(least(3));
    let tick = runtime.block_on(tick(&watched));
    let second = hit * 10_000 + tick * 4;
    println!(
        "an open dashboard at 10,000 HITs a second: {hit:.0?} a HIT and {tick:.1?} four times a second, {:.2} % of a core",
        second.as_secs_f64() * 100.0
    );
}

/// With a HIT, which is when metrics are looked up.
fn counted() -> cases::Case {
    let case = cases::Case::new("hit_10k");
    drop(case.run());
    case
}

/// What the numbers of one moment cost: the dearest part of a look.
async fn tick(app: &Router) -> Duration {
    let start = Instant::now();
    for _ in 0..100 {
        drop(black_box(ask(app, "/_isr/api/stats").await));
    }
    start.elapsed() / 100
}

fn one_page() -> Router {
    let isr = Isr::builder().build().expect("good");
    Router::new()
        .route("/page", get(async || "x".repeat(10 << 10)))
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600))))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).expect("good"))
        .with_state(isr)
}

fn round(run: impl Fn()) -> Duration {
    let start = Instant::now();
    (0..HITS).for_each(|_| run());
    start.elapsed()
}

async fn round_async(app: &Router) -> Duration {
    let start = Instant::now();
    for _ in 0..HITS {
        let request = Request::builder().uri("/page").body(Body::empty()).expect("valid");
        let Ok(response) = app.clone().oneshot(request).await;
        black_box(response.into_body().collect().await.expect("a page"));
    }
    start.elapsed()
}
