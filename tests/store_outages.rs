//! A store that cannot be reached for a while: the circuit breaker and its probes, and what pages are worth meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, Operation};
use common::{let_run, seen, until};
use futures_util::future::join_all;
use tokio::time::Instant;
use trouble::{Cluster, GRAIN, SECOND, rested, timed, written};

const DOWN: Fault = Fault::Error(StoreErrorKind::Unavailable);
const READ: Duration = Duration::from_millis(100);

/// CASES 122: three failures in a row open it, and then nothing is asked.
#[tokio::test(start_paused = true)]
async fn three_failures_in_a_row_open_the_breaker() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    cluster.faults.set(Operation::Get, DOWN);
    // No success in between.
    cluster.faults.set(Operation::Put, Fault::Hang);
    let before = cluster.faults.calls(Operation::Get);
    for (n, open) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        assert_eq!(seen(&node.app, &format!("/p/{n}")).await.0, "MISS");
        assert_eq!(node.isr.stats().store_circuit_open, open, "{n}");
    }
    assert_eq!(cluster.faults.calls(Operation::Get) - before, 3);
    assert_eq!(node.isr.stats().store_errors, 3);
}

/// CASES 122, I6: reads alone hang. Neither what is written nor the ledger, which can be read, says that reads are well.
#[tokio::test(start_paused = true)]
async fn reads_that_hang_open_the_breaker_though_writes_go_well() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    cluster.faults.set(Operation::Get, Fault::Hang);
    for n in 0..50 {
        let (state, _, took) = timed(&node.app, &format!("/p/{n}")).await;
        let waits = if n < 3 { READ..=READ + GRAIN } else { Duration::ZERO..=Duration::ZERO };
        assert!(state == "MISS" && waits.contains(&took), "{n}: {state} {took:?}");
        written(&node).await;
        assert_eq!(node.isr.stats().store_circuit_open, n >= 2, "{n}");
        // Rounds that go well do not close it.
        cluster.pass(READ).await;
    }
    // And those before were written.
    assert_eq!(node.isr.stats().store_writes, 3);
    cluster.faults.clear();
    cluster.recover(&node).await;
    let other = cluster.healthy();
    seen(&other.app, "/p/new").await;
    written(&other).await;
    assert_eq!(seen(&node.app, "/p/new").await.0, "HIT");
}

/// CASES 122: one probe a second, up to a quarter of a second later, of the ledger and of what is unsent; then everything.
#[tokio::test(start_paused = true)]
async fn while_the_ledger_cannot_be_read_nothing_but_it_is_asked_and_marks_are_sent() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    let calls = |operation| cluster.faults.calls(operation);
    cluster.faults.set_all(&DOWN);
    for n in 0..3 {
        node.isr.expire_tag(n.to_string()).await.unwrap_err();
    }
    let_run().await;
    assert!(node.isr.stats().store_circuit_open);
    let before = Operation::ALL.map(calls);
    for _ in 0..100 {
        cluster.pass(SECOND / 10).await;
        // Whoever comes meanwhile does not make it more.
        node.isr.expire_tag("0").await.unwrap_err();
        seen(&node.app, "/p/warm").await;
    }
    let more = |operation: Operation| calls(operation) - before[operation as usize];
    for probed in [Operation::Changes, Operation::Invalidate] {
        assert!((8..=10).contains(&more(probed)), "{probed:?}: {}", more(probed));
    }
    for operation in [Operation::Get, Operation::Put, Operation::Lease, Operation::Hint] {
        assert_eq!(more(operation), 0, "{operation:?}");
    }

    // The marks get through, the ledger cannot be read: not closed, not asked for pages.
    cluster.faults.clear();
    cluster.faults.set(Operation::Changes, DOWN);
    let polled = more(Operation::Changes);
    cluster.pass(5 * SECOND).await;
    let stats = node.isr.stats();
    assert_eq!((stats.unsent_marks, stats.store_circuit_open), (0, true));
    let polled = more(Operation::Changes) - polled;
    // And once right after the marks.
    assert!((3..=6).contains(&polled), "{polled}");
    assert_eq!(seen(&node.app, "/p/new").await.0, "MISS");
    assert_eq!(more(Operation::Get), 0);

    cluster.faults.clear();
    cluster.pass(2 * SECOND).await;
    assert!(!node.isr.stats().store_circuit_open);
    seen(&node.app, "/p/newer").await;
    assert_eq!(more(Operation::Get), 1);
}

/// The probes of many processes come apart.
#[tokio::test(start_paused = true)]
async fn probes_are_spread() {
    let mut firsts = Vec::new();
    for _ in 0..8 {
        let cluster = Cluster::new();
        let node = cluster.warmed().await;
        cluster.faults.set_all(&DOWN);
        while !node.isr.stats().store_circuit_open {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (opened, before) = (Instant::now(), cluster.faults.calls(Operation::Changes));
        while cluster.faults.calls(Operation::Changes) == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        firsts.push(opened.elapsed());
    }
    assert!(firsts.iter().all(|first| (SECOND..SECOND * 5 / 4 + 2 * GRAIN).contains(first)), "{firsts:?}");
    firsts.sort_unstable();
    firsts.dedup();
    assert!(firsts.len() > 2, "{firsts:?}");
}

/// What is here counts for `max_unverified` (30 s) after it was last verified, or after it was rendered.
#[tokio::test(start_paused = true)]
async fn cut_off_a_page_is_fresh_for_a_while() {
    let cluster = Cluster::new();
    let node = cluster.troubled();
    let state = async |slug: &str| seen(&node.app, &format!("/p/{slug}")).await;
    let fresh = |slug: &str, version: usize| ("HIT", format!("{slug} version {version}"));
    state("a").await;
    cluster.pass(10 * SECOND).await;
    for slug in ["b", "back"] {
        state(slug).await;
    }
    written(&node).await;
    cluster.faults.set_all(&DOWN);
    cluster.pass(5 * SECOND).await;
    assert_eq!(state("c").await.0, "MISS");
    cluster.source.publish();

    // At 39 s: verified at nearly 10 s last.
    cluster.pass(24 * SECOND).await;
    for slug in ["a", "b", "c"] {
        assert_eq!(state(slug).await, fresh(slug, 0));
    }
    cluster.pass(2 * SECOND).await;
    for slug in ["a", "b"] {
        assert_eq!(state(slug).await, ("STALE", format!("{slug} version 0")));
    }
    assert_eq!(state("c").await, fresh("c", 0));
    rested(&node).await;
    for slug in ["a", "b"] {
        assert_eq!(state(slug).await, fresh(slug, 1), "rendered meanwhile");
    }
    // At 46 s: rendered at 15 s.
    cluster.pass(5 * SECOND).await;
    assert_eq!(state("c").await.0, "STALE");
    assert_eq!(state("a").await, fresh("a", 1));

    // Back: what nobody has asked for meanwhile is known to be good.
    cluster.faults.clear();
    cluster.recover(&node).await;
    assert_eq!(state("back").await, fresh("back", 0));
    assert_eq!(state("a").await, fresh("a", 1));
}

/// And what was rendered meanwhile is good for as long, not longer.
#[tokio::test(start_paused = true)]
async fn cut_off_for_long_pages_are_rendered_every_so_often() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    cluster.faults.set_all(&Fault::Hang);
    let before = node.renders();
    for _ in 0..10 * 60 {
        cluster.pass(SECOND).await;
        let (state, _, took) = timed(&node.app, "/p/warm").await;
        assert!(matches!(state, "HIT" | "STALE") && took <= READ + GRAIN, "{state} {took:?}");
    }
    rested(&node).await;
    let renders = node.renders() - before;
    assert!((18..=21).contains(&renders), "{renders}");
}

/// One look at the ledger for all who come while what is known of it is old.
#[tokio::test(start_paused = true)]
async fn visitors_share_a_look_at_the_ledger() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    let polls = || cluster.faults.calls(Operation::Changes);
    for round in 0..5 {
        cluster.clock.advance(2 * SECOND);
        let before = polls();
        let answers = join_all((0..100).map(|_| timed(&node.app, "/p/warm"))).await;
        assert!(answers.iter().all(|(state, _, took)| *state == "HIT" && took.is_zero()), "{round}");
        let_run().await;
        assert!((1..=2).contains(&(polls() - before)), "{round}: {}", polls() - before);
    }
}

/// A ledger that does not answer: who is there waits for as long as a read may take, and nobody after that.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_hangs_is_waited_for_once() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    cluster.faults.set(Operation::Changes, Fault::Hang);
    cluster.clock.advance(2 * SECOND);
    let answers = join_all((0..100).map(|_| timed(&node.app, "/p/warm"))).await;
    assert!(answers.iter().all(|(state, _, took)| *state == "HIT" && (READ..=READ + GRAIN).contains(took)));
    for _ in 0..5 {
        let answers = join_all((0..100).map(|_| timed(&node.app, "/p/warm"))).await;
        assert!(answers.iter().all(|(state, _, took)| *state == "HIT" && took.is_zero()));
        cluster.pass(SECOND).await;
    }
    cluster.faults.clear();
    cluster.recover(&node).await;
    assert_eq!(timed(&node.app, "/p/warm").await, ("HIT", "warm version 0".into(), Duration::ZERO));
}

/// Nor is a round that takes long because marks are sent.
#[tokio::test(start_paused = true)]
async fn marks_that_cannot_be_sent_are_not_waited_for() {
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    cluster.faults.once(Operation::Invalidate, DOWN);
    cluster.faults.set(Operation::Invalidate, Fault::Hang);
    node.isr.expire_tag("other").await.unwrap_err();
    let_run().await;
    cluster.clock.advance(2 * SECOND);
    let (state, _, took) = timed(&node.app, "/p/warm").await;
    assert!(state == "HIT" && took.is_zero(), "{state} {took:?}");
    for _ in 0..5 {
        assert_eq!(timed(&node.app, "/p/warm").await, ("HIT", "warm version 0".into(), Duration::ZERO));
        assert_eq!(timed(&node.app, "/p/cold").await.2, Duration::ZERO);
    }
}

/// The runtime that asked the store first is gone while the store is down: those on another one find it back.
#[test]
fn the_ledger_is_followed_again_after_its_runtime_has_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let cluster = Cluster::new();
    let node = cluster.troubled();
    cluster.faults.set_all(&DOWN);
    let first = runtime();
    first.block_on(async {
        seen(&node.app, "/p/a").await;
        cluster.pass(5 * SECOND).await;
        assert!(node.isr.stats().store_circuit_open);
    });
    drop(first);
    cluster.faults.clear();
    runtime().block_on(async {
        for n in 0..20 {
            seen(&node.app, &format!("/p/{n}")).await;
            cluster.pass(SECOND).await;
        }
        assert!(!node.isr.stats().store_circuit_open);
        assert_eq!(seen(&node.app, "/p/new").await.0, "MISS");
        until(|| cluster.memory.keys().iter().any(|key| key.contains(":/p/new:"))).await;
    });
}

/// The runtime that asked the store first is kept and not driven, as that of a `main` which warms up before it serves:
/// visitors on another one are none the worse.
#[test]
fn a_runtime_that_is_idle_is_not_relied_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let cluster = Cluster::new();
    cluster.faults.set(Operation::Hint, Fault::Hang);
    let (node, other) = (cluster.troubled(), cluster.healthy());
    let idle = runtime();
    idle.block_on(node.isr.revalidate_tag("warm")).unwrap();
    runtime().block_on(async {
        assert_eq!(seen(&node.app, "/p/a").await, ("MISS", "a version 0".into()));
        for version in 1..=40 {
            cluster.source.publish();
            other.isr.expire_tag("p:a").await.unwrap();
            cluster.pass(SECOND).await;
            assert_eq!(seen(&node.app, "/p/a").await, ("MISS", format!("a version {version}")));
            rested(&node).await;
        }
        // It reads entries, too.
        seen(&other.app, "/p/b").await;
        written(&other).await;
        assert_eq!(seen(&node.app, "/p/b").await, ("HIT", "b version 40".into()));
        // And when the store fails it finds that it is back.
        cluster.faults.set_all(&DOWN);
        for n in 0..5 {
            cluster.pass(SECOND).await;
            seen(&node.app, &format!("/p/down-{n}")).await;
        }
        assert!(node.isr.stats().store_circuit_open);
        cluster.faults.clear();
        for n in 0..5 {
            cluster.pass(SECOND).await;
            seen(&node.app, &format!("/p/{n}")).await;
        }
        assert!(!node.isr.stats().store_circuit_open);
    });
    drop(idle);
}
