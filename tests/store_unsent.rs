//! Invalidations that the store's ledger cannot be told of: they act here at once, and elsewhere when it is back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum_isr::InvalidateError;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, Operation};
use common::{let_run, seen};
use nodes::Node;
use tokio::time::Instant;
use trouble::{Cluster, SECOND, rested, written};

const DOWN: Fault = Fault::Error(StoreErrorKind::Unavailable);
/// One that does not open the circuit breaker: pages come from the store all the while.
const FULL: Fault = Fault::Error(StoreErrorKind::Full);
const SHORT: Duration = Duration::from_millis(50);

/// Two nodes that have a page each in memory, and one in the store that only the first has.
async fn pair(cluster: &Cluster) -> (Node, Node) {
    let (other, node) = (cluster.healthy(), cluster.troubled());
    for path in ["/p/a", "/p/b", "/p/far"] {
        seen(&other.app, path).await;
    }
    written(&other).await;
    for path in ["/p/a", "/p/b"] {
        assert_eq!(seen(&node.app, path).await.0, "HIT");
    }
    let_run().await;
    (other, node)
}

/// The ledger alone cannot be written to: pages come from the store all the while.
#[tokio::test(start_paused = true)]
async fn a_mark_that_cannot_be_sent_acts_here_at_once() {
    let cluster = Cluster::new();
    let (other, node) = pair(&cluster).await;
    cluster.faults.set(Operation::Invalidate, FULL);
    cluster.source.publish();
    let said = node.isr.expire_tags(["p:a", "p:far"]).await;
    assert!(matches!(said, Err(InvalidateError::LocalOnly { .. })), "{said:?}");
    let said = node.isr.revalidate_tag("p:b").await;
    assert!(matches!(said, Err(InvalidateError::LocalOnly { .. })), "{said:?}");
    assert_eq!(node.isr.stats().unsent_marks, 3);
    // In memory, and in the store.
    assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 1".into()));
    assert_eq!(seen(&node.app, "/p/far").await, ("MISS", "far version 1".into()));
    assert_eq!(seen(&node.app, "/p/b").await, ("STALE", "b version 0".into()));
    rested(&node).await;
    assert_eq!(seen(&node.app, "/p/b").await, ("HIT", "b version 1".into()));
    assert_eq!(seen(&other.app, "/p/a").await, ("HIT", "a version 0".into()));

    cluster.faults.clear();
    cluster.recover(&node).await;
    cluster.pass(SECOND).await;
    assert_eq!(node.isr.stats().unsent_marks, 0);
    assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
    assert_eq!(seen(&other.app, "/p/b").await.0, "STALE");
    for slug in ["a", "b", "far"] {
        assert_eq!(seen(&node.app, &format!("/p/{slug}")).await.1, format!("{slug} version 1"));
    }
}

/// An entry of the store is hit for as long as the mark is not in the ledger, whoever rendered it; nobody else may have
/// seen what it is about.
#[tokio::test(start_paused = true)]
async fn what_others_render_meanwhile_is_not_used_here() {
    let cluster = Cluster::new();
    let (other, node) = pair(&cluster).await;
    cluster.faults.set(Operation::Invalidate, FULL);
    node.isr.expire_tag("p:new").await.unwrap_err();
    for path in ["/p/new", "/p/free"] {
        seen(&other.app, path).await;
    }
    written(&other).await;
    cluster.source.publish();
    assert_eq!(seen(&node.app, "/p/free").await, ("HIT", "free version 0".into()));
    assert_eq!(seen(&node.app, "/p/new").await, ("MISS", "new version 1".into()));
}

/// I5, I6: whoever cannot tell the others is still told by them, and in time.
#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_marks_still_tells_those_of_others() {
    let slow = Fault::Delay(Duration::from_millis(900));
    for fault in [FULL, DOWN, Fault::Error(StoreErrorKind::Denied), Fault::Hang, Fault::Panic, slow] {
        let cluster = Cluster::new();
        // Nobody is told before he asks.
        cluster.faults.set(Operation::Hint, Fault::Hang);
        let (other, node) = pair(&cluster).await;
        cluster.faults.set(Operation::Invalidate, FULL);
        for n in 0..5 {
            node.isr.expire_tag(n.to_string()).await.unwrap_err();
        }
        cluster.faults.set(Operation::Invalidate, fault.clone());
        cluster.pass(SHORT).await;
        for version in 1..=3 {
            cluster.source.publish();
            other.isr.expire_tag("p:a").await.unwrap();
            cluster.pass(SECOND).await;
            assert_eq!(seen(&node.app, "/p/a").await.1, format!("a version {version}"), "{fault:?}");
            rested(&node).await;
        }
        // What others have rendered is used all the while.
        seen(&other.app, "/p/new").await;
        written(&other).await;
        assert_eq!(seen(&node.app, "/p/new").await.0, "HIT", "{fault:?}");
    }
}

/// The order of calls is kept, and one that was lost on its way back is sent again.
#[tokio::test(start_paused = true)]
async fn a_mark_whose_answer_was_lost_is_sent_again() {
    let cluster = Cluster::new();
    let (other, node) = pair(&cluster).await;
    cluster.faults.once(Operation::Invalidate, Fault::lost_answer());
    cluster.source.publish();
    node.isr.expire_tag("p:a").await.unwrap_err();
    assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 1".into()));
    cluster.pass(2 * SECOND).await;
    assert_eq!(node.isr.stats().unsent_marks, 0);
    assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
    written(&node).await;
    let cold = cluster.healthy();
    seen(&cold.app, "/p/a").await;
}

/// # Cancel safety of the verbs.
#[tokio::test(start_paused = true)]
async fn a_verb_that_nobody_waits_for_takes_effect() {
    for fault in [None, Some(DOWN), Some(Fault::Hang), Some(Fault::Panic), Some(Fault::lost_answer())] {
        let cluster = Cluster::new();
        let (other, node) = pair(&cluster).await;
        if let Some(fault) = &fault {
            cluster.faults.set(Operation::Invalidate, fault.clone());
        }
        cluster.source.publish();
        let mut verb = Box::pin(node.isr.expire_tag("p:a"));
        assert!(futures_util::poll!(verb.as_mut()).is_pending());
        drop(verb);
        // As long as a write may take.
        tokio::time::sleep(SECOND + SHORT).await;
        assert_eq!(seen(&node.app, "/p/a").await.1, "a version 1", "{fault:?}");
        cluster.faults.clear();
        cluster.recover(&node).await;
        cluster.pass(SECOND).await;
        assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1", "{fault:?}");
    }
}

/// Nor is it lost with the runtime of whoever called it.
#[test]
fn a_verb_whose_runtime_ends_takes_effect_here() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let cluster = Cluster::new();
    let first = runtime();
    let (_other, node) = first.block_on(async {
        let pair = pair(&cluster).await;
        cluster.faults.set(Operation::Invalidate, Fault::Hang);
        cluster.source.publish();
        let mut verb = Box::pin(pair.1.isr.expire_tag("p:a"));
        assert!(futures_util::poll!(verb.as_mut()).is_pending());
        drop(verb);
        pair
    });
    drop(first);
    runtime().block_on(async {
        assert_eq!(node.isr.stats().unsent_marks, 1);
        assert_eq!(seen(&node.app, "/p/a").await.1, "a version 1");
    });
}

/// R22: what could not be sent is sent once more at the end.
#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_what_is_unsent() {
    let cluster = Cluster::new();
    let (other, node) = pair(&cluster).await;
    cluster.faults.set_all(&DOWN);
    for tag in ["p:a", "p:b", "p:far"] {
        node.isr.expire_tag(tag).await.unwrap_err();
    }
    assert!(node.isr.stats().store_circuit_open);
    cluster.faults.clear();
    cluster.source.publish();
    let report = node.isr.shutdown(SECOND).await;
    assert_eq!((report.unsent_marks, report.unwritten, report.abandoned), (0, 0, 0));
    cluster.pass(SECOND).await;
    for slug in ["a", "b", "far"] {
        assert_eq!(seen(&other.app, &format!("/p/{slug}")).await, ("MISS", format!("{slug} version 1")));
    }
}

/// R22: and what cannot be sent is reported.
#[tokio::test(start_paused = true)]
async fn a_shutdown_reports_what_the_store_was_not_told() {
    for fault in [DOWN, Fault::Hang, Fault::Panic] {
        let cluster = Cluster::new();
        let (_other, node) = pair(&cluster).await;
        cluster.faults.set_all(&fault);
        node.isr.expire_tags(["p:a", "p:b"]).await.unwrap_err();
        let report = node.isr.shutdown(SECOND).await;
        assert_eq!(report.unsent_marks, 2, "{fault:?}");
    }
}

/// R22: a mark that is still on its way when the time is over is one that the ledger may not have.
#[tokio::test(start_paused = true)]
async fn a_shutdown_reports_marks_that_are_on_their_way() {
    let cluster = Cluster::new();
    let (_other, node) = pair(&cluster).await;
    cluster.faults.set(Operation::Invalidate, Fault::Hang);
    let isr = node.isr.clone();
    let verb = tokio::spawn(async move { isr.expire_tag("p:a").await });
    let_run().await;
    let report = node.isr.shutdown(SHORT).await;
    assert_eq!(report.unsent_marks, 1);
    assert!(verb.await.unwrap().is_err());
}

/// R22: so are pages that the store was being given.
#[tokio::test(start_paused = true)]
async fn a_shutdown_reports_pages_that_were_not_written() {
    for fault in [Fault::Hang, DOWN] {
        for pages in [1, 7] {
            let cluster = Cluster::new();
            let (_other, node) = pair(&cluster).await;
            cluster.faults.set(Operation::Put, Fault::Hang);
            for n in 0..pages {
                seen(&node.app, &format!("/p/{n}")).await;
            }
            let_run().await;
            let began = Instant::now();
            let end = node.isr.clone();
            let end = tokio::spawn(async move { end.shutdown(SHORT).await });
            let_run().await;
            cluster.faults.set(Operation::Put, fault.clone());
            let report = end.await.unwrap();
            assert_eq!(report.unwritten, pages, "{fault:?}");
            assert!(began.elapsed() <= 6 * SHORT, "{:?}", began.elapsed());
        }
    }
}

/// R22: a store that works gets everything.
#[tokio::test(start_paused = true)]
async fn a_shutdown_writes_what_waits() {
    let cluster = Cluster::new();
    let (_other, node) = pair(&cluster).await;
    cluster.faults.set(Operation::Put, Fault::Delay(Duration::from_millis(20)));
    let before = cluster.memory.entries();
    for n in 0..20 {
        seen(&node.app, &format!("/p/{n}")).await;
    }
    assert!(node.isr.stats().waiting_writes > 0);
    let report = node.isr.shutdown(SECOND).await;
    assert_eq!((report.unwritten, report.abandoned), (0, 0));
    assert_eq!(cluster.memory.entries(), before + 20);
}

/// A store that takes no marks is not cut off: it tells those of others, and its entries are used.
#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_marks_is_relied_on_for_the_rest() {
    for fault in [Fault::Error(StoreErrorKind::Unavailable), Fault::Hang] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.troubled(), cluster.healthy());
        seen(&one.app, "/p/a").await;
        cluster.faults.set(Operation::Invalidate, fault.clone());
        let (began, mut waited) = (Instant::now(), 0);
        for n in 0..40 {
            let asked = Instant::now();
            one.isr.expire_tag(n.to_string()).await.unwrap_err();
            waited += u64::from(!asked.elapsed().is_zero());
            cluster.pass(Duration::from_millis(100)).await;
            assert!(!one.isr.stats().store_circuit_open, "{fault:?}");
        }
        // Three times it is tried, and then once a second.
        assert!(waited <= 3 + began.elapsed().as_secs(), "{fault:?}: {waited} of 40 in {:?}", began.elapsed());
        cluster.source.publish();
        other.isr.expire_tag("p:a").await.unwrap();
        seen(&other.app, "/p/b").await;
        written(&other).await;
        cluster.pass(SECOND).await;
        assert_eq!(seen(&one.app, "/p/a").await.1, "a version 1", "{fault:?}");
        assert_eq!(seen(&one.app, "/p/b").await.0, "HIT", "{fault:?}");
        cluster.faults.clear();
        cluster.pass(2 * SECOND).await;
        assert_eq!(one.isr.stats().unsent_marks, 0, "{fault:?}");
        one.isr.expire_tag("last").await.unwrap();
    }
}
