//! What pages cost in memory, and that the bound is one. Measured, not estimated.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_precision_loss)]

#[path = "../benches/cases/mod.rs"]
mod cases;
mod common;

use std::time::Duration;

use axum::Router;
use axum_isr::{Isr, RouteConfig};
use common::{fetch, state};
use http_body_util::BodyExt;

const PAGE: usize = 10 << 10;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn visit(app: &Router, n: usize) {
    let response = fetch(app, &format!("/{n}")).await;
    assert_eq!(state(&response), "MISS");
    response.into_body().collect().await.unwrap();
}

/// An entry's overhead beyond its key, headers and body is at most 500 bytes, with what is known about it: its tags, how
/// often it was served, how long it took.
#[test]
fn an_entry_costs_little_more_than_its_bytes() {
    const PAGES: usize = 2_000;
    let isr = Isr::builder().build().unwrap();
    let app = cases::many(&isr, PAGE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // What grows once: tables, thread-locals, the runtime's own.
    runtime.block_on(async {
        for n in 0..PAGES {
            visit(&app, 1_000_000 + n).await;
        }
    });
    let headers = runtime.block_on(async { fetch(&app, "/1000000").await }).into_parts().0.headers;
    let copied = allocation_counter::measure(|| drop(std::hint::black_box(headers.clone()))).bytes_total;
    let texts: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let key = "/{n}".len() + "/0000".len() + 16;

    let before = isr.stats();
    let live = allocation_counter::measure(|| {
        runtime.block_on(async {
            for n in 0..PAGES {
                visit(&app, 2_000_000 + n).await;
            }
        });
    });
    let grown = usize::try_from(live.bytes_current).unwrap() / PAGES;
    let wanted = PAGE + key + texts + usize::try_from(copied).unwrap();
    assert!(grown <= wanted + 500, "{grown} bytes a page, {wanted} of them its own");

    // And what the tier believes it holds is what it holds, within a tenth.
    let weighed = usize::try_from(isr.stats().memory_bytes - before.memory_bytes).unwrap() / PAGES;
    println!("{grown} {wanted} {weighed}");
    assert!(weighed.abs_diff(grown) * 10 <= grown, "weighed {weighed}, allocated {grown}");
}

/// CASES 53: keys that are not kept leave nothing behind either.
#[test]
fn a_flood_of_pages_that_are_not_shared_is_bounded() {
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let handler = || async { ([("set-cookie", "a=1")], "own") };
    let app = Router::new()
        .route("/{n}", axum::routing::get(handler))
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
    block_on(async {
        for n in 0..20_000 {
            fetch(&app, &format!("/{n}")).await;
        }
    });
    let stats = isr.stats();
    assert!(stats.memory_bytes <= 16 << 20, "{stats:?}");
    assert_eq!((stats.flights, stats.captured_bytes, stats.stored), (0, 0, 0));
}
