//! A store that fails, hangs, is slow, panics or lies, in each of its methods: visitors get the right page in time, and
//! when the store is well again so is everything.
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
use common::seen;
use futures_util::future::join_all;
use nodes::Node;
use tokio::time::Instant;
use trouble::{Cluster, FIRST_WAIT, GRAIN, SECOND, rested, timed, written};

const MINUTE: Duration = Duration::from_secs(60);

/// Longer than a lease.
const LEASES_END: Duration = Duration::from_secs(11);

fn faults() -> Vec<Fault> {
    use StoreErrorKind as Kind;
    let kinds = [
        Kind::Unavailable,
        Kind::TimedOut,
        Kind::CircuitOpen,
        Kind::Full,
        Kind::TooLarge,
        Kind::Denied,
        Kind::Corrupt,
        Kind::Internal,
    ];
    let mut faults: Vec<Fault> = kinds.into_iter().map(Fault::Error).collect();
    faults.extend([Fault::Hang, Fault::Delay(5 * SECOND), Fault::Panic, Fault::Corrupt, Fault::Swap, Fault::Forget]);
    faults.extend([Fault::lost_answer(), Fault::After(Box::new(Fault::Hang))]);
    faults
}

/// A page that was asked for, within the time that a store may cost.
async fn page(node: &Node, slug: &str, version: usize, what: &str) -> &'static str {
    let (state, text, took) = timed(&node.app, &format!("/p/{slug}")).await;
    assert_eq!(text, format!("{slug} version {version}"), "{what}: {slug} was a {state}");
    assert!(took <= FIRST_WAIT + GRAIN, "{what}: {slug}, a {state}, took {took:?}");
    state
}

/// An invalidation, in effect here whatever the store does.
async fn expire(node: &Node, tag: &str, what: &str) {
    let began = Instant::now();
    match node.isr.expire_tag(tag).await {
        Ok(_) | Err(InvalidateError::LocalOnly { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
    }
    // A look at the ledger, and the mark.
    assert!(began.elapsed() <= SECOND / 10 + SECOND + GRAIN, "{what}: {:?}", began.elapsed());
}

/// All that a node does, while one method of its store has a fault.
async fn ordeal(operation: Operation, fault: Fault) {
    let what = &*format!("{operation:?} with {fault:?}");
    let cluster = Cluster::new();
    let (other, node) = (cluster.healthy(), cluster.troubled());
    for slug in ["known", "other", "warm"] {
        page(&other, slug, 0, what).await;
    }
    written(&other).await;
    page(&node, "warm", 0, what).await;
    cluster.faults.set(operation, fault.clone());

    // First requests, for what the store has and what it does not have, and a HIT.
    for slug in ["known", "cold", "other"] {
        page(&node, slug, 0, what).await;
    }
    let (state, text, took) = timed(&node.app, "/p/warm").await;
    assert_eq!((state, &*text, took), ("HIT", "warm version 0", Duration::ZERO), "{what}");

    // A stale page is regenerated.
    cluster.clock.advance(MINUTE);
    cluster.source.publish();
    assert_eq!(page(&node, "warm", 0, what).await, "STALE", "{what}");
    rested(&node).await;
    assert_eq!(page(&node, "warm", 1, what).await, "HIT", "{what}");

    // What is expired here is not served any more, from wherever it came.
    cluster.clock.advance(LEASES_END);
    cluster.source.publish();
    for tag in ["p:warm", "p:known", "p:never"] {
        expire(&node, tag, what).await;
    }
    for slug in ["warm", "known", "never"] {
        page(&node, slug, 2, what).await;
    }
    rested(&node).await;

    // The store is well again: it learns what it has missed, and tells the others.
    cluster.faults.clear();
    cluster.recover(&node).await;
    cluster.pass(SECOND).await;
    if (operation, &fault) != (Operation::Invalidate, &Fault::Forget) {
        // They have a minute-old page of version 0, stale by age if it were not expired.
        page(&other, "warm", 2, what).await;
    }
    cluster.clock.advance(LEASES_END);
    cluster.pass(SECOND).await;
    let version = cluster.source.publish();
    other.isr.expire_tag("p:warm").await.unwrap().everywhere().await;
    cluster.clock.advance(SECOND);
    page(&node, "warm", version, what).await;
    written(&node).await;
    let cold = cluster.healthy();
    assert_eq!(page(&cold, "warm", version, what).await, "HIT", "{what}");

    // Shutting down in trouble takes no longer than it may.
    cluster.faults.set(operation, fault);
    page(&node, "last", version, what).await;
    expire(&node, "p:last", what).await;
    let began = Instant::now();
    node.isr.shutdown(SECOND).await;
    assert!(began.elapsed() <= Duration::from_millis(1_200) + GRAIN, "{what}: {:?}", began.elapsed());
    let (state, text) = seen(&node.app, "/p/warm").await;
    assert_eq!((state, text), ("", format!("warm version {version}")), "{what}");
}

/// CASES 122, 123, 125, I6: every fault in every method.
#[tokio::test(start_paused = true)]
async fn whatever_fails_visitors_get_the_right_page_in_time() {
    for operation in Operation::ALL {
        for fault in faults() {
            ordeal(operation, fault).await;
        }
    }
}

/// CASES 122: everything at once.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_in_everything_costs_one_bounded_wait() {
    for fault in faults() {
        let what = &*format!("{fault:?}");
        let cluster = Cluster::new();
        let (other, node) = (cluster.healthy(), cluster.troubled());
        page(&other, "known", 0, what).await;
        written(&other).await;
        cluster.faults.set_all(&fault);
        for slug in ["known", "a", "b", "c", "d"] {
            page(&node, slug, 0, what).await;
        }
        rested(&node).await;
        cluster.source.publish();
        expire(&node, "p:a", what).await;
        page(&node, "a", 1, what).await;
        cluster.faults.clear();
        cluster.clock.advance(LEASES_END);
        cluster.recover(&node).await;
        page(&node, "new", 1, what).await;
        cluster.pass(SECOND).await;
        let cold = cluster.healthy();
        assert_eq!(page(&cold, "new", 1, what).await, "HIT", "{what}");
    }
}

/// CASES 122: a store that has hung since this process began costs its visitors nothing after the first.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_from_the_start_is_waited_for_once() {
    let cluster = Cluster::new();
    cluster.faults.set_all(&Fault::Hang);
    let node = cluster.troubled();
    let first = timed(&node.app, "/p/first").await;
    assert_eq!((first.0, &*first.1), ("MISS", "first version 0"));
    assert!(first.2 <= Duration::from_millis(100) + GRAIN, "{:?}", first.2);
    for n in 0..100 {
        let next = timed(&node.app, &format!("/p/{n}")).await;
        assert_eq!((next.0, next.2), ("MISS", Duration::ZERO), "{n}");
    }
    // What was rendered before the ledger was read is nobody else's.
    cluster.faults.clear();
    cluster.recover(&node).await;
    assert_eq!(cluster.memory.entries(), 0);
    assert_eq!(seen(&node.app, "/p/first").await.0, "HIT");
}

/// CASES 122, I6: ten thousand requests while the store hangs.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_make_queues_grow() {
    let cluster = Cluster::new();
    let node = cluster.troubled();
    seen(&node.app, "/p/first").await;
    written(&node).await;
    cluster.faults.set_all(&Fault::Hang);
    let began = Instant::now();
    for batch in 0..100 {
        let paths: Vec<String> = (0..100).map(|n| format!("/p/{batch}-{n}")).collect();
        let answers = join_all(paths.iter().map(|path| timed(&node.app, path))).await;
        for (path, (state, text, took)) in paths.iter().zip(answers) {
            assert_eq!((state, format!("/p/{}", text.replace(" version 0", ""))), ("MISS", path.clone()));
            assert!(took <= FIRST_WAIT + GRAIN, "{path} took {took:?}");
        }
        let stats = node.isr.stats();
        assert!(stats.flights == 0 && stats.waiting_writes <= 200 && stats.unsent_marks == 0, "{stats:?}");
        assert!(cluster.faults.in_flight() <= 8, "{}", cluster.faults.in_flight());
    }
    assert!(node.isr.stats().store_circuit_open);
    assert!(began.elapsed() <= 2 * SECOND, "{:?}", began.elapsed());
    let hot = join_all((0..10_000).map(|_| timed(&node.app, "/p/hot"))).await;
    assert!(hot.iter().all(|(_, text, took)| text == "hot version 0" && took.is_zero()));
    assert_eq!(node.renders(), 10_002);
    tokio::time::sleep(3 * SECOND).await;
    let stats = node.isr.stats();
    assert_eq!((stats.waiting_writes, stats.flights, stats.stored), (0, 0, 10_002));
    assert_eq!(stats.store_writes + stats.store_unwritten, 10_002);
    // A round, at most.
    assert!(cluster.faults.in_flight() <= 1, "{}", cluster.faults.in_flight());
}

/// CASES 142: ten thousand invalidations while the store hangs become one mark on everything, which reaches the others.
#[tokio::test(start_paused = true)]
async fn ten_thousand_invalidations_while_the_store_hangs_are_one_in_the_end() {
    let cluster = Cluster::new();
    let (other, node) = (cluster.healthy(), cluster.troubled());
    for node in [&other, &node] {
        seen(&node.app, "/p/a").await;
        written(node).await;
    }
    cluster.faults.set_all(&Fault::Hang);
    for batch in 0..100 {
        join_all((0..100).map(|n| node.isr.expire_tag(format!("p:{batch}-{n}"))))
            .await
            .into_iter()
            .for_each(|said| assert!(matches!(said, Err(InvalidateError::LocalOnly { .. })), "{said:?}"));
        let stats = node.isr.stats();
        assert!(stats.unsent_marks <= 1_024 && cluster.faults.in_flight() <= 8, "{stats:?}");
    }
    cluster.pass(2 * SECOND).await;
    assert!(node.isr.stats().store_circuit_open && node.isr.stats().marks <= 10_000);
    cluster.source.publish();
    // Marked with everything.
    assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 1".into()));
    assert_eq!(seen(&other.app, "/p/a").await, ("HIT", "a version 0".into()));
    cluster.faults.clear();
    cluster.recover(&node).await;
    cluster.pass(SECOND).await;
    assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
    assert_eq!(seen(&node.app, "/p/a").await, ("HIT", "a version 1".into()));
}
