//! The bound of the memory tier, as the operating system sees it. A binary of its own: other tests would be counted too.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "../benches/cases/mod.rs"]
mod cases;
mod common;

use axum_isr::Isr;
use common::{fetch, state};
use http_body_util::BodyExt;

const PAGE: usize = 10 << 10;

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// CASES 10, 53: a flood of distinct pages stays within the bound, and leaves nothing behind beside it.
#[test]
fn a_flood_of_pages_stays_within_the_bound() {
    const BOUND: usize = 64 << 20;
    // Sixteen times what fits.
    const PAGES: usize = 100_000;
    let empty = resident();
    let isr = Isr::builder().memory_bytes(BOUND).build().unwrap();
    let app = cases::many(&isr, PAGE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for n in 0..PAGES {
            let response = fetch(&app, &format!("/{n}")).await;
            assert_eq!(state(&response), "MISS");
            response.into_body().collect().await.unwrap();
        }
    });
    let stats = isr.stats();
    assert!(stats.memory_bytes <= BOUND as u64, "{stats:?}");
    assert_eq!((stats.flights, stats.captured_bytes), (0, 0));
    let grown = resident().saturating_sub(empty);
    assert!(grown < BOUND + BOUND / 2, "{} MiB resident for {} MiB", grown >> 20, BOUND >> 20);
}
