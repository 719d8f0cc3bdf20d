//! What the export of a page costs over the handler's own time: rendering, hashing, writing, the manifest.
//!
//! `cargo bench --bench export`
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run has nothing to say")]

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Html;
use axum::routing::get;
use axum_isr::prerender::Export;
use axum_isr::{Isr, RouteConfig};
use http_body_util::BodyExt;
use tower::ServiceExt;

const PAGES: u32 = 10_000;
const ROUNDS: usize = 5;

fn main() {
    println!("{PAGES} pages of 2 KiB, one thread that renders; best of {ROUNDS}");
    let own = best(|| rounds(async || handlers_alone().await));
    println!("{:32} {:>8.1} µs a page", "router and handler alone", micros(own));
    for (name, links) in [("exported", false), ("exported, links followed", true)] {
        let export = best(|| rounds(async move || exported(links).await));
        let over = export.saturating_sub(own);
        let rate = f64::from(PAGES) / over.as_secs_f64();
        println!("{name:32} {:>8.1} µs a page, {rate:>8.0} pages/s over the handler's own time", micros(export));
        assert!(rate >= 5_000.0, "expected 5,000 pages/s at least");
    }
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap()
}

/// One core for what renders; the threads that write wait for the disk.
fn rounds<F: Future<Output = ()>>(what: impl FnOnce() -> F) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    runtime.block_on(what());
    begun.elapsed()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(PAGES)
}

fn pages() -> Router {
    let text = "<p>A page of a blog, as they are.</p>\n".repeat(55);
    let page = move |Path(n): Path<u32>| {
        let next = (n + 1) % PAGES;
        let html = format!("<!doctype html><title>{n}</title><a href=\"/{next}\">next</a>{text}");
        async move { Html(html) }
    };
    Router::new().route("/{n}", get(page))
}

async fn handlers_alone() {
    let app = pages().with_state(());
    for n in 0..PAGES {
        let request = Request::builder().uri(format!("/{n}")).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
}

async fn exported(links: bool) {
    let isr = Isr::builder().build().unwrap();
    let app = pages().layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60)))).with_state(());
    let folder = tempfile::tempdir().unwrap();
    let export = Export::new(app).paths((0..PAGES).map(|n| format!("/{n}")));
    let export = if links { export.follow_links(1) } else { export };
    let report = export.to(folder.path().join("site")).await.unwrap();
    assert!(report.is_complete() && report.rendered.len() == 10_000, "{report}");
    // What it takes to remove them is nobody's.
    std::mem::forget(folder);
}
