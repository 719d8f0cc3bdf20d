//! Settings of a store at their longest: whatever can be said works, or is refused when the handle is built.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum_isr::IsrBuilder;
use axum_isr::store::Profile;
use axum_isr::testing::{Fault, Operation};
use common::seen;
use nodes::{Leaseless, Node};
use trouble::{Cluster, SECOND, timed, written};

const LONG: [Duration; 3] =
    [Duration::MAX, Duration::from_secs(u64::MAX / 1_000_000), Duration::from_secs(100 * 365 * 24 * 3_600)];

/// All that a node does with its store, and what it left there serves a cold one.
async fn works(cluster: &Cluster, node: &Node, set: impl Fn(IsrBuilder) -> IsrBuilder, what: &str) {
    assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 0".into()), "{what}");
    assert_eq!(seen(&node.app, "/p/a").await.0, "HIT", "{what}");
    written(node).await;
    assert_eq!(cluster.memory.entries(), 1, "{what}");
    let cold = cluster.healthy_with(&set);
    assert_eq!(seen(&cold.app, "/p/a").await.0, "HIT", "{what}");
    cluster.pass(5 * SECOND).await;
    assert_eq!(seen(&node.app, "/p/a").await.0, "HIT", "{what}");
    cluster.source.publish();
    node.isr.expire_tag("p:a").await.unwrap();
    assert_eq!(node.isr.stats().unsent_marks, 0, "{what}");
    assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 1".into()), "{what}");
    written(node).await;
    cluster.clock.advance(60 * SECOND);
    assert_eq!(seen(&node.app, "/p/a").await.0, "STALE", "{what}");
    written(node).await;
    assert_eq!(seen(&cluster.healthy_with(&set).app, "/p/a").await, ("HIT", "a version 1".into()), "{what}");
    let report = node.isr.shutdown(SECOND).await;
    assert_eq!((report.unwritten, report.unsent_marks), (0, 0), "{what}");
}

/// R10: "no deadline", as one would write it.
#[tokio::test(start_paused = true)]
async fn the_longest_deadlines_work() {
    for long in LONG {
        let short = SECOND / 10;
        for (read, begin, write) in
            [(long, long, long), (long, short, short), (short, long, short), (short, short, long)]
        {
            let what = &*format!("{read:?} {begin:?} {write:?}");
            let cluster = Cluster::new();
            let set = |builder: IsrBuilder| builder.store_deadlines(read, begin, write);
            let node = cluster.troubled_with(set);
            works(&cluster, &node, set, what).await;
        }
    }
}

/// R10: and mean what they say: a visitor waits for as long as the store takes.
#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_slow_store_is_waited_for() {
    let cluster = Cluster::new();
    let other = cluster.healthy();
    seen(&other.app, "/p/a").await;
    written(&other).await;
    let node = cluster.troubled_with(|builder| builder.store_deadlines(Duration::MAX, Duration::MAX, Duration::MAX));
    cluster.faults.set(Operation::Get, Fault::Delay(30 * SECOND));
    let (state, text, took) = timed(&node.app, "/p/a").await;
    assert_eq!((state, &*text), ("HIT", "a version 0"));
    assert!(took >= 30 * SECOND, "{took:?}");
}

/// R10: what is known of the ledger is good for ever, and entries are kept for ever.
#[tokio::test(start_paused = true)]
async fn the_longest_times_work() {
    for long in LONG {
        let sets: [fn(IsrBuilder, Duration) -> IsrBuilder; 4] = [
            |builder, long| builder.coherence(long),
            |builder, long| builder.max_unverified(long),
            |builder, long| builder.retention(long),
            |builder, long| builder.coherence(long).max_unverified(long).retention(long),
        ];
        for (n, set) in sets.into_iter().enumerate() {
            let cluster = Cluster::new();
            let set = |builder: IsrBuilder| set(builder, long);
            let node = cluster.troubled_with(set);
            works(&cluster, &node, set, &format!("{long:?} {n}")).await;
        }
    }
}

/// R10: with what the store needs besides.
#[tokio::test(start_paused = true)]
async fn the_longest_coherence_works_with_a_store_that_is_late() {
    for long in LONG {
        let cluster = Cluster::new();
        let set = |builder: IsrBuilder| builder.deployment_id("one").coherence(long);
        let profile = Profile::new("late").with_late(SECOND / 20).with_newest_wins();
        let node = Node::with(Leaseless(cluster.memory.clone(), profile), &cluster.clock, &cluster.source, set);
        seen(&node.app, "/p/a").await;
        cluster.source.publish();
        node.isr.expire_tag("p:a").await.unwrap();
        assert_eq!(seen(&node.app, "/p/a").await.1, "a version 1", "{long:?}");
    }
}
