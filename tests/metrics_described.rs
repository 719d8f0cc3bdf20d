//! What is documented of the metrics is what an exporter is told: one for the whole process, as an application has it.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "metrics/table.rs"]
mod table;
#[path = "common/trouble.rs"]
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::RouteConfig;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, ManualClock, Operation};
use common::{Handler, fetch, settled};
use metrics_util::debugging::{DebuggingRecorder, Snapshotter};
use table::{Metric, documented};
use trouble::{Cluster, SECOND, written};

/// Metrics as they were told, each once with the labels that it has.
fn told(snapshotter: &Snapshotter) -> BTreeMap<String, Metric> {
    let mut all = BTreeMap::new();
    for (key, unit, description, _) in snapshotter.snapshot().into_vec() {
        let name = key.key().name().to_owned();
        let kind = format!("{:?}", key.kind()).to_lowercase();
        let mut labels: Vec<_> = key.key().labels().map(|label| label.key().to_owned()).collect();
        labels.sort();
        assert!(description.is_some_and(|text| text.len() > 10 && text.ends_with('.')), "{name} is described");
        let unit = unit.unwrap_or_else(|| panic!("{name} has no unit")).as_str().to_owned();
        let metric = Metric { name: name.clone(), kind, labels, unit };
        let known = all.entry(name).or_insert_with(|| metric.clone());
        assert_eq!(*known, metric, "every series has the same labels");
    }
    all
}

/// Whatever is told first: descriptions come before it.
#[tokio::test(start_paused = true)]
async fn everything_that_is_told_is_described_as_it_is_documented() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();

    let cluster = Cluster::new();
    let node = cluster.troubled();
    node.isr.expire_tag("a").await.unwrap();
    let first = told(&snapshotter);
    assert!(first.contains_key("isr_invalidations_total") && first.contains_key("isr_store_seconds"), "{first:?}");
    assert!(!first.contains_key("isr_requests_total"), "{first:?}");

    for path in ["/p/a", "/p/a"] {
        fetch(&node.app, path).await;
        written(&node).await;
    }
    cluster.faults.set(Operation::Get, Fault::Error(StoreErrorKind::Unavailable));
    for n in 0..5 {
        fetch(&node.app, &format!("/p/{n}")).await;
        written(&node).await;
    }
    cluster.pass(61 * SECOND).await;
    fetch(&node.app, "/p/a").await;
    trouble::rested(&node).await;
    // A render that took some seconds by the clock, so that something is saved.
    let clock = ManualClock::new();
    let isr = axum_isr::Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(move |_, _| {
        clock.advance(2 * SECOND);
        async { "page" }
    });
    let config = RouteConfig::revalidate(Duration::from_secs(60));
    let app = Router::new().route("/slow", get(handler)).route_layer(isr.layer(config));
    for _ in 0..2 {
        fetch(&app, "/slow").await;
        settled(&isr).await;
    }
    assert_eq!(told(&snapshotter).into_values().collect::<Vec<_>>(), documented());
}
