//! Ledgers that take the place of others: begun anew by a mark, or old ones that come back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum_isr::config::OnUnknown;
use axum_isr::store::{
    Changes, Cursor, Item, Mark, Profile, Put, Stamped, Store, StoreError, StoreErrorKind, StoreKey, Verb, Version,
};
use axum_isr::testing::{Fault, ManualClock, MemoryStore, Operation};
use bytes::Bytes;
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

/// When everything was marked last, as far as the ledger knows.
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

/// Each process that has known it says so once, and then all is well.
#[tokio::test(start_paused = true)]
async fn everything_is_marked_once_by_each_process_when_a_ledger_is_lost() {
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
        assert_eq!(cluster.faults.calls(Operation::Invalidate) - marked, nodes.len() as u64, "lost: {lose}");
        assert!(everything(&cluster, Verb::Expire).await > Some(before));
        cluster.clock.advance(SECOND);
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

/// CASES 131: the server that took over has a clock that is behind: an old mark on everything is not taken for a new one.
#[tokio::test(start_paused = true)]
async fn no_clock_says_which_of_two_ledgers_is_the_older_one() {
    for behind in [false, true] {
        let cluster = Cluster::new();
        let server = ManualClock::new();
        server.advance(60 * SECOND);
        let memory = MemoryStore::new().clock(server.clone());
        let node = || Node::new(memory.clone(), &cluster.clock, &cluster.source);
        let pass = async || {
            server.advance(SECOND);
            cluster.pass(SECOND).await;
        };
        let one = node();
        seen(&one.app, "/p/a").await;
        one.isr.expire_all().await.unwrap();
        let gone = node();
        seen(&gone.app, "/p/far").await;
        written(&gone).await;
        drop(gone);
        let first = memory.ledger_snapshot();
        memory.lose_ledger();
        if behind {
            server.rewind(20 * SECOND);
        }
        pass().await;
        cluster.source.publish();
        one.isr.expire_tag("p:far").await.unwrap();
        pass().await;
        memory.restore_ledger(&first);
        pass().await;
        pass().await;
        for node in [&one, &node()] {
            assert_eq!(seen(&node.app, "/p/far").await.1, "far version 1", "behind: {behind}");
        }
    }
}

/// Two marks of a process that has not read any ledger yet go to two of them, of which one is lost.
#[tokio::test(start_paused = true)]
async fn a_mark_in_a_lost_ledger_counts_though_another_was_noted_since() {
    for two in [false, true] {
        let cluster = Cluster::new();
        let gone = cluster.healthy();
        gone.isr.expire_tag("p:other").await.unwrap();
        seen(&gone.app, "/p/far").await;
        written(&gone).await;
        drop(gone);
        let ledger = cluster.memory.ledger_snapshot();
        cluster.memory.lose_ledger();
        cluster.faults.set(Operation::Changes, Fault::Hang);
        let one = cluster.troubled();
        cluster.source.publish();
        one.isr.expire_tag("p:far").await.unwrap();
        cluster.memory.restore_ledger(&ledger);
        if two {
            one.isr.expire_tag("p:other").await.unwrap();
        }
        cluster.faults.clear();
        cluster.recover(&one).await;
        assert_eq!(seen(&one.app, "/p/far").await.1, "far version 1", "two: {two}");
    }
}

/// CASES 131: what comes first after an old ledger is back is a verb, whose mark would hide that it lacks some.
#[tokio::test(start_paused = true)]
async fn a_new_mark_does_not_hide_that_an_old_ledger_is_back() {
    let cluster = Cluster::new();
    cluster.faults.set(Operation::Hint, Fault::Hang);
    stored(&cluster, "/p/far").await;
    let one = cluster.troubled();
    one.isr.expire_tag("p:other").await.unwrap();
    let backup = cluster.memory.ledger_snapshot();
    cluster.source.publish();
    one.isr.expire_tag("p:far").await.unwrap();
    cluster.memory.restore_ledger(&backup);
    one.isr.expire_tag("p:other").await.unwrap();
    cluster.pass(SECOND).await;
    assert_eq!(seen(&cluster.healthy().app, "/p/far").await, page("MISS", "far", 1));
}

/// Its marks are in another ledger than the one that it tells.
struct Split(MemoryStore, Arc<AtomicUsize>);

#[async_trait]
impl Store for Split {
    fn profile(&self) -> Profile {
        self.0.profile()
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key).await
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.0.put(item).await
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        self.0.remove(key, upto).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let stamped = self.0.invalidate(marks, fresh).await?;
        Ok(Stamped { epoch: stamped.epoch + 1, ..stamped })
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        self.0.changes(after, fresh).await
    }
}

/// CASES 131: the end of a ledger is lost and nobody is left who knew it; what was made then is newer than the ledger, and
/// marks of now have stamps that are older.
#[tokio::test(start_paused = true)]
async fn what_was_made_by_a_lost_end_of_a_ledger_is_not_judged_by_the_rest() {
    let cluster = Cluster::new();
    let gone = cluster.healthy();
    gone.isr.expire_tag("p:other").await.unwrap();
    let backup = cluster.memory.ledger_snapshot();
    for _ in 0..3 {
        // The clock stands still, and stamps go on.
        gone.isr.expire_tag("p:other").await.unwrap();
    }
    seen(&gone.app, "/p/far").await;
    written(&gone).await;
    drop(gone);
    cluster.memory.restore_ledger(&backup);
    cluster.source.publish();
    cluster.healthy().isr.expire_tag("p:far").await.unwrap();
    assert_eq!(seen(&cluster.healthy().app, "/p/far").await, page("MISS", "far", 1));
}

/// I6: each look finds another ledger than the one before, and everything is marked; not without a pause.
#[tokio::test(start_paused = true)]
async fn two_ledgers_in_one_do_not_make_rounds_without_end() {
    let cluster = Cluster::new();
    let marks = Arc::new(AtomicUsize::new(0));
    let one = Node::new(Split(cluster.memory.clone(), Arc::clone(&marks)), &cluster.clock, &cluster.source);
    seen(&one.app, "/p/a").await;
    one.isr.expire_tag("p:a").await.unwrap();
    // No time passes.
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
    let marks = marks.load(Ordering::SeqCst);
    assert!((2..=5).contains(&marks), "marked {marks} times");
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
    cluster.faults.set(Operation::Invalidate, Fault::Error(StoreErrorKind::Full));
    cluster.pass(2 * SECOND).await;
    assert_eq!(seen(&one.app, "/p/far").await, page("MISS", "far", 1));
    assert!(one.isr.stats().unsent_marks > 0);
    cluster.faults.clear();
    cluster.pass(Duration::from_secs(3)).await;
    assert_eq!(one.isr.stats().unsent_marks, 0);
}
