//! Ledgers that take the place of others: begun anew by a mark, or old ones that come back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum_isr::config::OnUnknown;
use axum_isr::store::{Mark, Store, Verb};
use axum_isr::testing::{Fault, Operation};
use common::{seen, until};
use nodes::Node;
use trouble::{Cluster, SECOND, written};

fn page(state: &'static str, slug: &str, version: usize) -> (&'static str, String) {
    (state, format!("{slug} version {version}"))
}

/// Nobody has it in memory.
async fn stored(cluster: &Cluster, path: &str) {
    let gone = cluster.healthy();
    seen(&gone.app, path).await;
    written(&gone).await;
}

/// How often everything was marked, as far as the ledger knows: once or not at all.
async fn everything(cluster: &Cluster, verb: Verb) -> Option<u64> {
    let told = cluster.memory.changes(None, 1).await.unwrap();
    told.marks.iter().find(|(mark, _)| *mark == Mark::everything(verb)).map(|(_, stamp)| *stamp)
}

/// CASES 131: a backup is restored after the ledger had begun anew: its epoch is one that everybody knew once.
#[tokio::test(start_paused = true)]
async fn an_old_ledger_that_comes_back_after_another_is_noticed() {
    for on_unknown in [OnUnknown::Render, OnUnknown::ServeStale] {
        let cluster = Cluster::new();
        stored(&cluster, "/p/far").await;
        let one = cluster.healthy_with(|builder| builder.on_unknown(on_unknown));
        seen(&one.app, "/p/a").await;
        let backup = cluster.memory.ledger_snapshot();
        cluster.source.publish();
        one.isr.expire_tags(["p:a", "p:far"]).await.unwrap();
        cluster.memory.lose_ledger();
        cluster.clock.advance(SECOND);
        seen(&one.app, "/p/a").await;
        written(&one).await;
        cluster.memory.restore_ledger(&backup);
        cluster.clock.advance(SECOND);
        assert_eq!(seen(&one.app, "/p/a").await.1, "a version 1", "{on_unknown:?}");
        until(|| one.isr.stats().unsent_marks == 0).await;
        // Who has not seen anything of that learns it from the ledger.
        let cold = cluster.healthy();
        let expected = match on_unknown {
            OnUnknown::ServeStale => page("STALE", "far", 0),
            _ => page("MISS", "far", 1),
        };
        assert_eq!(seen(&cold.app, "/p/far").await, expected);
        written(&cold).await;
        assert_eq!(seen(&cold.app, "/p/far").await, page("HIT", "far", 1));
    }
}

/// One process says it for all.
#[tokio::test(start_paused = true)]
async fn everything_is_marked_once_when_a_ledger_is_lost() {
    let cluster = Cluster::new();
    cluster.faults.set(Operation::Hint, Fault::Hang);
    let nodes: Vec<Node> = (0..4).map(|_| cluster.troubled()).collect();
    for node in &nodes {
        seen(&node.app, "/p/a").await;
        written(node).await;
    }
    // A mark on everything that was made before says nothing about what is lost.
    nodes[0].isr.expire_all().await.unwrap();
    cluster.pass(SECOND).await;
    let backup = cluster.memory.ledger_snapshot();
    let before = everything(&cluster, Verb::Expire).await.unwrap();
    nodes[0].isr.expire_tag("p:a").await.unwrap();
    cluster.pass(SECOND).await;
    for lose in [true, false] {
        if lose {
            cluster.memory.lose_ledger();
        } else {
            cluster.memory.restore_ledger(&backup);
        }
        let marked = cluster.faults.calls(Operation::Invalidate);
        for node in &nodes {
            cluster.clock.advance(SECOND);
            seen(&node.app, "/p/a").await;
            until(|| node.isr.stats().unsent_marks == 0).await;
        }
        assert_eq!(cluster.faults.calls(Operation::Invalidate) - marked, 1, "lost: {lose}");
        assert!(everything(&cluster, Verb::Expire).await > Some(before));
        // And then all is well.
        for node in &nodes {
            seen(&node.app, "/p/a").await;
            written(node).await;
            assert_eq!(seen(&node.app, "/p/a").await.0, "HIT");
        }
    }
}

/// R27: the mark that begins a new ledger hits what the old one judged, though its stamps may be smaller.
#[tokio::test(start_paused = true)]
async fn a_mark_that_begins_a_ledger_acts_when_its_verb_returns() {
    for answers in [true, false] {
        let cluster = Cluster::new();
        stored(&cluster, "/p/far").await;
        let one = cluster.troubled();
        seen(&one.app, "/p/a").await;
        for _ in 0..3 {
            // The clock stands still, and stamps go on.
            one.isr.expire_tag("p:other").await.unwrap();
        }
        cluster.memory.lose_ledger();
        if !answers {
            // It is not told what it has begun.
            cluster.faults.set(Operation::Changes, Fault::Hang);
        }
        cluster.source.publish();
        one.isr.expire_tag("p:far").await.unwrap();
        assert_eq!(seen(&one.app, "/p/far").await, page("MISS", "far", 1), "answers: {answers}");
    }
}

/// A mark that another ledger took than the one that is there, seen from a process that never left that one.
#[tokio::test(start_paused = true)]
async fn a_mark_that_went_down_with_another_ledger_counts() {
    let cluster = Cluster::new();
    stored(&cluster, "/p/far").await;
    let one = cluster.troubled();
    seen(&one.app, "/p/a").await;
    let ledger = cluster.memory.ledger_snapshot();
    cluster.memory.lose_ledger();
    cluster.faults.set(Operation::Changes, Fault::Hang);
    cluster.source.publish();
    one.isr.expire_tag("p:far").await.unwrap();
    cluster.memory.restore_ledger(&ledger);
    cluster.faults.clear();
    cluster.recover(&one).await;
    until(|| one.isr.stats().unsent_marks == 0).await;
    let cold = cluster.healthy();
    for node in [&one, &cold] {
        assert_eq!(seen(&node.app, "/p/far").await.1, "far version 1");
    }
}

/// While everything is to be marked, and the ledger takes no marks, nothing of what it says is relied on.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_takes_no_marks_after_another_is_not_relied_on() {
    let cluster = Cluster::new();
    stored(&cluster, "/p/far").await;
    let one = cluster.troubled();
    seen(&one.app, "/p/a").await;
    let backup = cluster.memory.ledger_snapshot();
    cluster.source.publish();
    cluster.healthy().isr.expire_tag("p:far").await.unwrap();
    cluster.memory.lose_ledger();
    cluster.pass(SECOND).await;
    cluster.memory.restore_ledger(&backup);
    cluster.faults.set(Operation::Invalidate, Fault::Error(axum_isr::store::StoreErrorKind::Full));
    cluster.pass(2 * SECOND).await;
    assert_eq!(seen(&one.app, "/p/far").await, page("MISS", "far", 1));
    assert!(one.isr.stats().unsent_marks > 0);
    cluster.faults.clear();
    cluster.pass(Duration::from_secs(3)).await;
    assert_eq!(one.isr.stats().unsent_marks, 0);
}
