//! A store behind the memory tier: what one process has rendered serves the next one, and the others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;

use std::time::Duration;

use axum_isr::testing::{ManualClock, MemoryStore};
use common::{body, fetch, header, let_run, seen, settled, state, until};
use nodes::{Node, Source};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

struct Cluster {
    clock: ManualClock,
    store: MemoryStore,
    source: Source,
}

impl Cluster {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self { store: MemoryStore::new().clock(clock.clone()), source: Source::default(), clock }
    }

    fn node(&self) -> Node {
        Node::new(self.store.clone(), &self.clock, &self.source)
    }
}

/// R23, R45: a cold process answers its first request from the store, as the one that rendered it would.
#[tokio::test(start_paused = true)]
async fn a_cold_process_answers_from_the_store() {
    let cluster = Cluster::new();
    let first = cluster.node();
    let rendered = fetch(&first.app, "/p/a").await;
    assert_eq!(state(&rendered), "MISS");
    first.written().await;
    let hit = fetch(&first.app, "/p/a").await;

    cluster.clock.advance(Duration::from_secs(7));
    let cold = cluster.node();
    let found = fetch(&cold.app, "/p/a").await;
    assert_eq!((state(&found), header(&found, "age")), ("HIT", "7"));
    for name in ["etag", "content-type", "x-mine", "content-length", "cache-control"] {
        assert_eq!(header(&found, name), header(&hit, name), "{name}");
    }
    assert_eq!(body(found).await, "a version 0");
    assert_eq!((cold.renders(), cold.isr.stats().store_hits), (0, 1));
    // From memory now.
    assert_eq!(seen(&cold.app, "/p/a").await.0, "HIT");
    assert_eq!(cold.isr.stats().store_hits, 1);
}

/// Its tags came along.
#[tokio::test(start_paused = true)]
async fn what_came_from_the_store_is_invalidated_as_what_was_rendered_here() {
    let cluster = Cluster::new();
    let first = cluster.node();
    fetch(&first.app, "/p/a").await;
    first.written().await;
    let cold = cluster.node();
    assert_eq!(seen(&cold.app, "/p/a").await.0, "HIT");
    cluster.source.publish();
    cold.isr.expire_tag("p:a").await.unwrap();
    assert_eq!(seen(&cold.app, "/p/a").await, ("MISS", "a version 1".into()));
}

/// I5, R27: in the process that invalidates at once, in the others after `coherence`.
#[tokio::test(start_paused = true)]
async fn an_invalidation_is_seen_by_the_others() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node(), cluster.node());
    fetch(&one.app, "/p/a").await;
    one.written().await;
    assert_eq!(seen(&other.app, "/p/a").await.0, "HIT");
    cluster.source.publish();
    one.isr.expire_tag("p:a").await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&other.app, "/p/a").await, ("MISS", "a version 1".into()));
    other.written().await;
    // And what it rendered serves the first.
    assert_eq!(seen(&one.app, "/p/a").await, ("HIT", "a version 1".into()));
    assert_eq!((one.renders(), other.renders()), (1, 1));

    cluster.source.publish();
    other.isr.revalidate_path("/p/a").await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&one.app, "/p/a").await, ("STALE", "a version 1".into()));
    settled(&one.isr).await;
    assert_eq!(seen(&one.app, "/p/a").await, ("HIT", "a version 2".into()));
}

/// A page that has gone stale by age is rendered by one of them.
#[tokio::test(start_paused = true)]
async fn one_regeneration_serves_all() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node(), cluster.node());
    fetch(&one.app, "/p/a").await;
    one.written().await;
    assert_eq!(seen(&other.app, "/p/a").await.0, "HIT");
    cluster.clock.advance(MINUTE);
    cluster.source.publish();
    assert_eq!(seen(&one.app, "/p/a").await, ("STALE", "a version 0".into()));
    one.written().await;
    assert_eq!(seen(&other.app, "/p/a").await, ("STALE", "a version 0".into()));
    settled(&other.isr).await;
    assert_eq!(seen(&other.app, "/p/a").await, ("HIT", "a version 1".into()));
    assert_eq!((one.renders(), other.renders()), (2, 0));
}

/// I3: two cold processes are asked at the same time, and one renders.
#[tokio::test(start_paused = true)]
async fn one_first_render_serves_all() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node(), cluster.node());
    let answers = futures_util::future::join(seen(&one.app, "/p/a"), seen(&other.app, "/p/a")).await;
    let mut states = [answers.0.0, answers.1.0];
    states.sort_unstable();
    assert_eq!(states, ["HIT", "MISS"]);
    assert_eq!(one.renders() + other.renders(), 1);
}

/// R21, CASES 130: how long a store keeps an entry is not its freshness, and each write renews it.
#[tokio::test(start_paused = true)]
async fn entries_have_a_physical_life() {
    let cluster = Cluster::new();
    let node = Node::with(cluster.store.clone(), &cluster.clock, &cluster.source, |builder| {
        builder.deployment_id("one").retention(Duration::from_secs(600))
    });
    fetch(&node.app, "/p/a").await;
    node.written().await;
    for _ in 0..3 {
        cluster.clock.advance(Duration::from_secs(500));
        assert_eq!(seen(&node.app, "/p/a").await.0, "STALE");
        node.written().await;
        assert_eq!(cluster.store.entries(), 1);
    }
    cluster.clock.advance(Duration::from_secs(600));
    assert_eq!(cluster.store.entries(), 0);
}

/// The near tier does not prolong a life: age counts from the render, wherever it was.
#[tokio::test(start_paused = true)]
async fn age_counts_from_the_render() {
    let cluster = Cluster::new();
    let first = cluster.node();
    fetch(&first.app, "/p/a").await;
    first.written().await;
    cluster.clock.advance(Duration::from_secs(59));
    let cold = cluster.node();
    assert_eq!(seen(&cold.app, "/p/a").await.0, "HIT");
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&cold.app, "/p/a").await.0, "STALE");
    let_run().await;
    cluster.clock.advance(Duration::from_secs(3_600));
    until(|| cold.isr.stats().flights == 0).await;
    let later = cluster.node();
    assert_eq!(seen(&later.app, "/p/a").await.0, "MISS");
}
