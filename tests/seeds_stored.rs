//! Seeds with a store behind the memory tier: whose page is used, and whose stays.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/seeds.rs"]
mod seeds;

use std::time::Duration;

use axum_isr::IsrBuilder;
use axum_isr::config::OnUnknown;
use axum_isr::store::{Mark, Profile, Store, StoreErrorKind, Verb};
use axum_isr::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use common::seen;
use nodes::{Leaseless, Node, Source};
use seeds::{Folder, row_with};
use serde_json::json;

/// When the tests' clock starts.
const NOW: u64 = 1_767_225_600;
const MINUTE: Duration = Duration::from_secs(60);

struct Cluster {
    clock: ManualClock,
    store: MemoryStore,
    source: Source,
    folder: Folder,
}

impl Cluster {
    /// `/p/a`, built so many seconds before the clock starts.
    fn built(ago: u64) -> Self {
        let clock = ManualClock::new();
        let fields = json!({ "revalidate": 36_000, "expire": 86_400, "tags": ["p:a"] });
        let folder = Folder::built(NOW - ago, json!([row_with("/p/a", fields)]));
        folder.page("p/a.html", "a seed");
        Self { store: MemoryStore::new().clock(clock.clone()), source: Source::default(), clock, folder }
    }

    fn node(&self) -> Node {
        self.node_with(|builder| builder)
    }

    fn node_with(&self, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Node {
        let set = |builder: IsrBuilder| set(builder.deployment_id("one").seeds(self.folder.seeds()));
        Node::with(self.store.clone(), &self.clock, &self.source, set)
    }

    fn node_without_seeds(&self) -> Node {
        Node::new(self.store.clone(), &self.clock, &self.source)
    }

    /// Another process expires the page's tag, now.
    async fn expired_elsewhere(&self) {
        self.store.invalidate(&[Mark::from_text("etp:a")], 1).await.unwrap();
    }
}

/// The second step of a flight: what it brings is in the store for the next process.
#[tokio::test(start_paused = true)]
async fn a_seed_is_written_behind() {
    let cluster = Cluster::built(10);
    let first = cluster.node();
    assert_eq!(seen(&first.app, "/p/a").await, ("HIT", "a seed".into()));
    first.written().await;
    let stats = first.isr.stats();
    assert_eq!((stats.store_misses, stats.store_writes, stats.seeded), (1, 1, 1));
    let other = cluster.node_without_seeds();
    assert_eq!(seen(&other.app, "/p/a").await, ("HIT", "a seed".into()));
    assert_eq!((first.renders(), other.renders()), (0, 0));
    // With its tags.
    other.isr.expire_tag("p:a").await.unwrap();
    assert_eq!(seen(&other.app, "/p/a").await.0, "MISS");
}

/// R39: the store comes first, and what is newer there stays.
#[tokio::test(start_paused = true)]
async fn an_entry_that_exists_is_never_overwritten_by_a_seed() {
    let cluster = Cluster::built(10);
    let renders = cluster.node_without_seeds();
    assert_eq!(seen(&renders.app, "/p/a").await, ("MISS", "a version 0".into()));
    renders.written().await;
    let seeded = cluster.node();
    assert_eq!(seen(&seeded.app, "/p/a").await, ("HIT", "a version 0".into()));
    assert_eq!(cluster.folder.reads(), [""; 0]);
}

/// R39: the store did not say in time that it has the page. A seed is used then, but not kept in its place.
#[tokio::test(start_paused = true)]
async fn a_newer_entry_stays_when_a_seed_comes_to_be_written() {
    let cluster = Cluster::built(10);
    let renders = cluster.node_without_seeds();
    assert_eq!(seen(&renders.app, "/p/a").await.1, "a version 0");
    renders.written().await;
    let (store, faults) = FaultyStore::new(cluster.store.clone());
    // It pretends to have nothing.
    faults.set(axum_isr::testing::Operation::Get, Fault::Forget);
    let set = |builder: IsrBuilder| builder.deployment_id("one").seeds(cluster.folder.seeds());
    let blind = Node::with(store, &cluster.clock, &cluster.source, set);
    assert_eq!(seen(&blind.app, "/p/a").await, ("HIT", "a seed".into()));
    common::until(|| blind.isr.stats().waiting_writes == 0).await;
    assert_eq!(seen(&cluster.node_without_seeds().app, "/p/a").await, ("HIT", "a version 0".into()));
}

/// R39, CASES 150: a mark of any process, made after the build, also by a clock that is five minutes behind.
#[tokio::test(start_paused = true)]
async fn a_mark_of_another_process_hits_a_seed() {
    for (ago, hits) in [(10, true), (299, true), (301, false), (10_000, false)] {
        // The mark is older than the build by so many seconds, as the store counts.
        let cluster = Cluster::built(0);
        cluster.expired_elsewhere().await;
        cluster.clock.advance(Duration::from_secs(ago));
        let manifest = json!({ "buildId": "b", "builtAt": NOW + ago, "routes":
            [row_with("/p/a", json!({ "revalidate": 36_000, "expire": 86_400, "tags": ["p:a"] }))] });
        cluster.folder.manifest(manifest);
        let node = cluster.node();
        let expected = if hits { ("MISS", "a version 0") } else { ("HIT", "a seed") };
        assert_eq!(seen(&node.app, "/p/a").await, (expected.0, expected.1.into()), "{ago} s before the build");
    }
    let cluster = Cluster::built(3_600);
    cluster.expired_elsewhere().await;
    assert_eq!(seen(&cluster.node().app, "/p/a").await.0, "MISS", "an hour after the build");
}

/// A mark that the store has forgotten may have been on it.
#[tokio::test(start_paused = true)]
async fn a_seed_that_is_older_than_the_ledgers_memory_is_not_used() {
    for (remembers, expected) in [(Duration::from_secs(3_600), "MISS"), (Duration::from_secs(7_201), "HIT")] {
        let cluster = Cluster::built(3_600 + 3_300);
        let profile = Profile::new("forgetful").with_remembers(remembers);
        let set = |builder: IsrBuilder| builder.deployment_id("one").seeds(cluster.folder.seeds());
        let store = Leaseless(cluster.store.clone(), profile);
        let node = Node::with(store, &cluster.clock, &cluster.source, set);
        assert_eq!(seen(&node.app, "/p/a").await.0, expected, "{remembers:?}");
    }
}

/// A revalidation too: whoever comes first gets a new page, since there is none that others have seen.
#[tokio::test(start_paused = true)]
async fn a_seed_that_is_to_be_revalidated_is_rendered() {
    let cluster = Cluster::built(10);
    cluster.store.invalidate(&[Mark::everything(Verb::Revalidate)], 1).await.unwrap();
    assert_eq!(seen(&cluster.node().app, "/p/a").await, ("MISS", "a version 0".into()));
}

/// I5: the ledger of a store that is out of reach may have a mark on the page. R38: nobody waits for it.
#[tokio::test(start_paused = true)]
async fn without_the_ledger_a_seed_is_not_used() {
    for on_unknown in [OnUnknown::Render, OnUnknown::ServeStale] {
        let cluster = Cluster::built(10);
        let (store, faults) = FaultyStore::new(cluster.store.clone());
        faults.set_all(&Fault::Error(StoreErrorKind::Unavailable));
        let set =
            |builder: IsrBuilder| builder.deployment_id("one").seeds(cluster.folder.seeds()).on_unknown(on_unknown);
        let node = Node::with(store, &cluster.clock, &cluster.source, set);
        assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 0".into()), "{on_unknown:?}");
    }
}

/// A seed lives in the epoch that is current when it is used: a ledger that was lost and began anew knows nothing of it,
/// and has nothing against it but what this process knows.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_begins_anew_takes_seeds() {
    let cluster = Cluster::built(10);
    let node = cluster.node();
    assert_eq!(seen(&node.app, "/p/a").await.0, "HIT");
    node.written().await;
    let later = cluster.node();
    assert_eq!(seen(&later.app, "/p/a").await, ("HIT", "a seed".into()));
    later.isr.expire_path("/p/a").await.unwrap();
    cluster.clock.advance(MINUTE);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 0".into()));
    assert_eq!(seen(&cluster.node().app, "/p/a").await.1, "a version 0");
}
