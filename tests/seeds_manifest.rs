//! The manifest and the source of seeds: what is tried again, what is remembered, and who waits for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/seeded.rs"]
mod seeded;
#[path = "common/seeds.rs"]
mod seeds;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, IsrBuilder, RouteConfig};
use common::{Gate, Handler, Logs, seen};
use seeded::{NOW, Set, Site, two_pages};
use seeds::{Fault, Folder, MANIFEST, row};
use serde_json::json;

/// R37: the next request tries again, and then less and less often.
#[tokio::test]
async fn a_manifest_that_cannot_be_read_now_is_read_later() {
    let folder = two_pages();
    for _ in 0..3 {
        folder.fault(MANIFEST, Fault::Unavailable);
    }
    let site = Site::new(&folder);
    assert_eq!(seen(&site.app, "/a").await.0, "MISS");
    assert_eq!(seen(&site.app, "/b").await.0, "MISS");
    assert_eq!(folder.reads_of(MANIFEST), 2);
    // Twice in a row: it is left alone.
    assert_eq!(seen(&site.app, "/c").await.0, "MISS");
    assert_eq!(folder.reads_of(MANIFEST), 2);
    site.clock.advance(Duration::from_millis(250));
    assert_eq!(seen(&site.app, "/d").await.0, "MISS");
    assert_eq!(folder.reads_of(MANIFEST), 3);
    site.clock.advance(Duration::from_millis(499));
    assert_eq!(seen(&site.app, "/e").await.0, "MISS");
    assert_eq!(folder.reads_of(MANIFEST), 3);
    site.clock.advance(Duration::from_millis(1));
    assert_eq!(seen(&site.app, "/about").await, ("HIT", "<h1>About</h1>".into()));
    assert_eq!(seen(&site.app, "/").await.0, "HIT");
    assert_eq!(folder.reads_of(MANIFEST), 4);
    assert_eq!(site.isr.stats().seed_failures, 3);
}

/// R37, R38, CASES 150: it is asked for once, whatever comes later, and the log says why.
#[tokio::test]
async fn a_manifest_that_is_of_no_use_is_remembered() {
    let absent = two_pages();
    absent.remove(MANIFEST);
    let invalid = two_pages();
    invalid.file(MANIFEST, "{\"buildId\": \"b1\", \"routes\": [");
    let refused = two_pages();
    refused.fault(MANIFEST, Fault::Refused);
    let dateless = Folder::default();
    dateless.manifest(json!({ "buildId": "b1", "routes": [row("/about")] }));
    dateless.page("about.html", "x");
    let ahead = two_pages();
    ahead.manifest(json!({ "buildId": "b1", "builtAt": NOW + 301, "routes": [row("/about")] }));
    let elsewhere = Folder::default();
    elsewhere.manifest(json!({ "buildId": "b1", "scope": "blue", "builtAt": NOW - 10, "routes": [row("/about")] }));
    elsewhere.page("about.html", "x");
    let plain = |builder: IsrBuilder| builder;
    let other_build = |builder: IsrBuilder| builder.build_id("b2");
    let other_deployment = |builder: IsrBuilder| builder.deployment_id("green");
    for (folder, set, why) in [
        (absent, plain as Set, "there is none"),
        (invalid, plain, "EOF"),
        (refused, plain, "not a file"),
        (dateless, plain, "Seeds::built_at"),
        (ahead, plain, "expected a build that is over"),
        (two_pages(), other_build, "b2"),
        (elsewhere, other_deployment, "green"),
    ] {
        let logs = Logs::capture();
        let site = Site::with(&folder, set);
        for path in ["/about", "/a", "/b"] {
            assert_eq!(seen(&site.app, path).await.0, "MISS", "{why}");
        }
        // What is not there is looked for once more: another export may have been taking its place.
        let looks = if why == "there is none" { 2 } else { 1 };
        assert_eq!(folder.reads(), vec![MANIFEST; looks], "{why}");
        let told: Vec<_> = logs.lines().into_iter().filter(|line| line.contains("WARN")).collect();
        assert_eq!(told.len(), 1, "{why}: {told:?}");
        assert!(told[0].contains(why) && told[0].contains("seeds cannot be used"), "{why}: {told:?}");
    }
}

/// R38: a source that hangs costs a visitor the timeout, all who come meanwhile no more, and after two of them nothing for
/// a while.
#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_left_alone() {
    let limit = Duration::from_millis(300);
    let folder = two_pages();
    for _ in 0..2 {
        folder.fault(MANIFEST, Fault::Hangs);
    }
    let isr = Isr::builder().clock(ManualClock::new()).seeds(folder.seeds().timeout(limit)).build().unwrap();
    let app = Router::new()
        .route("/{slug}", get(Handler::counting()))
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
    let waited = async |path: &'static str| {
        let start = tokio::time::Instant::now();
        assert_eq!(seen(&app, path).await.0, "MISS", "{path}");
        start.elapsed()
    };
    let start = tokio::time::Instant::now();
    let visits: Vec<_> = ["/a", "/b", "/c", "/d"]
        .map(|path| {
            let app = app.clone();
            tokio::spawn(async move { seen(&app, path).await.0 })
        })
        .into();
    for visit in visits {
        assert_eq!(visit.await.unwrap(), "MISS");
    }
    assert_eq!((start.elapsed(), folder.reads_of(MANIFEST)), (limit, 1));
    // It is still being read.
    assert_eq!((waited("/e").await, folder.reads_of(MANIFEST)), (limit, 1));
    tokio::time::sleep(10 * limit).await;
    assert_eq!((waited("/f").await, folder.reads_of(MANIFEST)), (limit, 2));
    tokio::time::sleep(10 * limit).await;
    assert_eq!((waited("/g").await, folder.reads_of(MANIFEST)), (Duration::ZERO, 2));
}

/// A manifest that takes longer than a visitor waits is there for those who come later.
#[tokio::test(start_paused = true)]
async fn a_slow_manifest_is_read_for_those_who_come_later() {
    let (folder, gate) = (two_pages(), Gate::closed());
    folder.fault(MANIFEST, Fault::Waits(gate.clone()));
    let site = Site::new(&folder);
    assert_eq!(seen(&site.app, "/a").await.0, "MISS");
    gate.open();
    common::let_run().await;
    common::until(|| site.isr.stats().seed_pages == 2).await;
    assert_eq!(seen(&site.app, "/about").await.0, "HIT");
    assert_eq!(folder.reads_of(MANIFEST), 1);
}
