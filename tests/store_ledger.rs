//! The promise of invalidation across processes, and ledgers that are lost, restored, or never read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::config::OnUnknown;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, FaultyStore, ManualClock, MemoryStore, Operation};
use axum_isr::{Render, RouteConfig};
use common::{Gate, let_run, seen, until};
use nodes::{Node, Source};
use tokio::time::Instant;
use trouble::{Cluster, SECOND, rested, written};

const DOWN: Fault = Fault::Error(StoreErrorKind::Unavailable);
/// One that does not open the circuit breaker.
const FULL: Fault = Fault::Error(StoreErrorKind::Full);
const MILLI: Duration = Duration::from_millis(1);

/// Two nodes that have `/p/a` in memory.
async fn pair(cluster: &Cluster) -> (Node, Node) {
    let (one, other) = (cluster.healthy(), cluster.troubled());
    for node in [&one, &other] {
        seen(&node.app, "/p/a").await;
        written(node).await;
    }
    let_run().await;
    (one, other)
}

fn page(state: &'static str, slug: &str, version: usize) -> (&'static str, String) {
    (state, format!("{slug} version {version}"))
}

/// CASES 131: hints are lost, and `coherence` is the bound.
#[tokio::test(start_paused = true)]
async fn without_hints_others_obey_after_coherence() {
    for hints in [Fault::Hang, Fault::Forget, Fault::Panic, Fault::lost_answer()] {
        let cluster = Cluster::new();
        cluster.faults.set(Operation::Hint, hints.clone());
        let (one, other) = pair(&cluster).await;
        cluster.source.publish();
        one.isr.expire_tag("p:a").await.unwrap();
        let_run().await;
        // No time has passed: nobody has told it.
        assert_eq!(seen(&other.app, "/p/a").await, page("HIT", "a", 0), "{hints:?}");
        cluster.clock.advance(999 * MILLI);
        assert_eq!(seen(&other.app, "/p/a").await, page("HIT", "a", 0), "{hints:?}");
        cluster.clock.advance(MILLI);
        assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1", "{hints:?}");
    }
}

/// And with hints they mostly obey at once.
#[tokio::test(start_paused = true)]
async fn with_hints_others_obey_soon() {
    let cluster = Cluster::new();
    let (one, other) = pair(&cluster).await;
    tokio::time::sleep(20 * MILLI).await;
    cluster.source.publish();
    one.isr.expire_tag("p:a").await.unwrap();
    tokio::time::sleep(20 * MILLI).await;
    assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
}

/// CASES 131: background polls alone keep a node up to date, with nobody asking.
#[tokio::test(start_paused = true)]
async fn the_ledger_is_read_twice_in_each_coherence() {
    let cluster = Cluster::new();
    cluster.faults.set(Operation::Hint, Fault::Hang);
    let (_one, _other) = pair(&cluster).await;
    let before = cluster.faults.calls(Operation::Changes);
    cluster.pass(10 * SECOND).await;
    let polls = cluster.faults.calls(Operation::Changes) - before;
    assert!((18..=21).contains(&polls), "{polls}");
}

/// Read your own writes, through any node.
#[tokio::test(start_paused = true)]
async fn a_report_is_waited_for_until_everybody_obeys() {
    for coherence in [SECOND, 3 * SECOND] {
        let cluster = Cluster::new();
        cluster.faults.set(Operation::Hint, Fault::Hang);
        let one = cluster.healthy_with(|builder| builder.coherence(coherence));
        let other = cluster.troubled_with(|builder| builder.coherence(coherence));
        for node in [&one, &other] {
            seen(&node.app, "/p/a").await;
        }
        cluster.pass(Duration::from_millis(300)).await;
        cluster.source.publish();
        let report = one.isr.expire_tag("p:a").await.unwrap();
        let began = Instant::now();
        report.everywhere().await;
        assert_eq!(began.elapsed().as_millis(), coherence.as_millis());
        // The nodes' clock has gone on as tokio's.
        cluster.clock.advance(began.elapsed());
        assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
        // Later it is over.
        let began = Instant::now();
        report.everywhere().await;
        assert!(began.elapsed().is_zero());
    }
}

/// I5: who comes to a render that has begun before an invalidation, and later than `coherence` after that, learns of it
/// first.
#[tokio::test(start_paused = true)]
async fn who_joins_a_render_gets_nothing_that_was_expired_long_before() {
    for late in [false, true] {
        let cluster = Cluster::new();
        cluster.faults.set(Operation::Hint, Fault::Hang);
        let (other, node) = (cluster.healthy(), cluster.troubled());
        let gate = Gate::closed();
        let (inner, source) = (gate.clone(), cluster.source.clone());
        let handler = move |render: Render| {
            let (gate, source) = (inner.clone(), source.clone());
            async move {
                render.tag("p:a");
                let text = format!("version {}", source.version());
                gate.pass().await;
                text
            }
        };
        let config = RouteConfig::revalidate(60 * SECOND);
        let app = Router::new().route("/gated", get(handler)).route_layer(node.isr.layer(config));
        let visit = || {
            let app = app.clone();
            tokio::spawn(async move { seen(&app, "/gated").await })
        };
        let first = visit();
        let_run().await;
        cluster.source.publish();
        other.isr.expire_tag("p:a").await.unwrap();
        if late {
            cluster.clock.advance(SECOND);
        }
        let second = visit();
        let_run().await;
        gate.open();
        assert_eq!(second.await.unwrap(), ("MISS", format!("version {}", u8::from(late))));
        first.await.unwrap();
    }
}

/// A ledger that is lost: what was rendered before may have been invalidated by marks that are lost with it.
#[tokio::test(start_paused = true)]
async fn a_lost_ledger_makes_everything_unknown() {
    let cluster = Cluster::new();
    let (one, other) = pair(&cluster).await;
    seen(&one.app, "/p/far").await;
    written(&one).await;
    cluster.source.publish();
    one.isr.expire_tag("p:a").await.unwrap();
    cluster.memory.lose_ledger();
    cluster.clock.advance(SECOND);
    // The mark is lost, and nobody serves what it was about.
    assert_eq!(seen(&other.app, "/p/a").await, page("MISS", "a", 1));
    // Each process that has known it says so.
    assert_eq!(seen(&one.app, "/p/a").await, page("MISS", "a", 1));
    until(|| one.isr.stats().unsent_marks + other.isr.stats().unsent_marks == 0).await;
    cluster.clock.advance(SECOND);
    for path in ["/p/far", "/p/a"] {
        assert_eq!(
            seen(&other.app, path).await,
            page("MISS", &path[3..], 1),
            "made by the lost ledger, or before it was said"
        );
    }
    written(&other).await;
    // And the new ones go around.
    assert_eq!(seen(&one.app, "/p/far").await, page("HIT", "far", 1));
    let cold = cluster.healthy();
    assert_eq!(seen(&cold.app, "/p/a").await, page("HIT", "a", 1));
    cluster.source.publish();
    cold.isr.expire_tag("p:a").await.unwrap();
    cluster.clock.advance(SECOND);
    for node in [&one, &other] {
        assert_eq!(seen(&node.app, "/p/a").await.1, "a version 2");
    }
}

/// Option: what is unknown is served as stale.
#[tokio::test(start_paused = true)]
async fn what_is_unknown_is_served_stale_if_so_configured() {
    let cluster = Cluster::new();
    let stale = || cluster.healthy_with(|builder| builder.on_unknown(OnUnknown::ServeStale));
    let one = stale();
    for path in ["/p/a", "/p/far"] {
        seen(&one.app, path).await;
    }
    written(&one).await;
    cluster.source.publish();
    cluster.memory.lose_ledger();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&one.app, "/p/a").await, page("STALE", "a", 0));
    rested(&one).await;
    assert_eq!(seen(&one.app, "/p/a").await, page("HIT", "a", 1));
    let cold = stale();
    assert_eq!(seen(&cold.app, "/p/far").await, page("STALE", "far", 0));
    rested(&cold).await;
    assert_eq!(seen(&cold.app, "/p/far").await, page("HIT", "far", 1));
}

/// I5: that is about marks that were lost, and not about those that the new ledger has, or is to have.
#[tokio::test(start_paused = true)]
async fn what_is_unknown_is_not_served_when_a_mark_that_is_known_expires_it() {
    for fault in [None, Some(FULL)] {
        let cluster = Cluster::new();
        let one = cluster.healthy();
        for path in ["/p/far", "/p/free"] {
            seen(&one.app, path).await;
        }
        written(&one).await;
        // Nobody is left who knows that there was another ledger.
        drop(one);
        cluster.memory.lose_ledger();
        cluster.clock.advance(SECOND);
        let cold = cluster.troubled_with(|builder| builder.on_unknown(OnUnknown::ServeStale));
        seen(&cold.app, "/p/other").await;
        written(&cold).await;
        cluster.source.publish();
        if let Some(fault) = &fault {
            cluster.faults.set(Operation::Invalidate, fault.clone());
        }
        assert_eq!(cold.isr.expire_tag("p:far").await.is_err(), fault.is_some());
        assert_eq!(cold.isr.stats().unsent_marks, usize::from(fault.is_some()));
        assert_eq!(seen(&cold.app, "/p/far").await, page("MISS", "far", 1), "{fault:?}");
        assert_eq!(seen(&cold.app, "/p/free").await, page("STALE", "free", 0), "{fault:?}");
    }
}

/// I5: an answer of a ledger that is lost comes when the new one is known already, whose stamps are lower: the server
/// that took over has a clock that is behind.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_lost_ledger_hides_no_mark_of_the_new_one() {
    let (clock, server) = (ManualClock::new(), ManualClock::new());
    let memory = MemoryStore::new().clock(server.clone());
    let (store, faults) = FaultyStore::new(memory.clone());
    let source = Source::default();
    let (node, other) = (Node::new(store, &clock, &source), Node::new(memory.clone(), &clock, &source));
    let pass = async |steps: u32| {
        for _ in 0..steps {
            for clock in [&clock, &server] {
                clock.advance(50 * MILLI);
            }
            tokio::time::sleep(50 * MILLI).await;
        }
    };
    seen(&node.app, "/p/a").await;
    seen(&other.app, "/p/b").await;
    written(&node).await;
    faults.once(Operation::Invalidate, Fault::After(Box::new(Fault::Delay(500 * MILLI))));
    let isr = node.isr.clone();
    let verb = tokio::spawn(async move { isr.expire_tag("p:a").await });
    let_run().await;
    memory.lose_ledger();
    server.rewind(5 * SECOND);
    pass(6).await;
    clock.advance(SECOND);
    server.advance(SECOND);
    // Since it asks the ledger, it knows the new one.
    seen(&node.app, "/p/x").await;
    assert!(!verb.is_finished());
    tokio::time::sleep(500 * MILLI).await;
    verb.await.unwrap().unwrap();
    source.publish();
    assert_eq!(seen(&node.app, "/p/a").await.1, "a version 1");
    written(&node).await;
    source.publish();
    other.isr.expire_tag("p:a").await.unwrap();
    pass(20).await;
    assert_eq!(seen(&node.app, "/p/a").await.1, "a version 2");
}

/// An old dump is restored: readers have seen what it does not have.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_was_restored_is_renewed() {
    let cluster = Cluster::new();
    let (one, other) = pair(&cluster).await;
    let dump = cluster.memory.ledger_snapshot();
    cluster.source.publish();
    one.isr.expire_tag("p:a").await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&other.app, "/p/a").await, page("MISS", "a", 1));
    written(&other).await;
    // An entry from before the mark comes back with the dump.
    cluster.memory.restore_ledger(&dump);
    cluster.clock.advance(SECOND);
    cluster.source.publish();
    for node in [&one, &other] {
        let (_, text) = seen(&node.app, "/p/a").await;
        assert_eq!(text, "a version 2");
    }
    let cold = cluster.healthy();
    assert_eq!(seen(&cold.app, "/p/a").await.1, "a version 2");
}

/// I5: a page that was expired does not come back with an old dump of the entries either.
#[tokio::test(start_paused = true)]
async fn an_old_entry_is_hit_by_the_marks_since() {
    let cluster = Cluster::new();
    let (one, _other) = pair(&cluster).await;
    let key = cluster.memory.keys().pop().unwrap();
    let old = cluster.memory.entry(&key).unwrap();
    cluster.source.publish();
    one.isr.expire_tag("p:a").await.unwrap();
    assert_eq!(seen(&one.app, "/p/a").await, page("MISS", "a", 1));
    written(&one).await;
    cluster.memory.edit(|_, _| Some(old.clone()));
    let cold = cluster.healthy();
    assert_eq!(seen(&cold.app, "/p/a").await, page("MISS", "a", 1));
}

/// What was rendered before the ledger was ever read stays here: nobody can say what hits it.
#[tokio::test(start_paused = true)]
async fn what_was_rendered_before_the_ledger_was_read_is_not_shared() {
    for fault in [DOWN, Fault::Hang] {
        let cluster = Cluster::new();
        cluster.faults.set(Operation::Changes, fault);
        let node = cluster.troubled();
        assert_eq!(seen(&node.app, "/p/a").await.0, "MISS");
        rested(&node).await;
        cluster.faults.clear();
        cluster.recover(&node).await;
        assert_eq!(cluster.memory.entries(), 0);
        assert_eq!(seen(&node.app, "/p/a").await.0, "HIT");
        seen(&node.app, "/p/b").await;
        until(|| cluster.memory.entries() == 1).await;
    }
}

/// Marks that could not be sent outlive the ledger they were meant for.
#[tokio::test(start_paused = true)]
async fn unsent_marks_survive_a_lost_ledger() {
    let cluster = Cluster::new();
    let (one, other) = pair(&cluster).await;
    cluster.faults.set_all(&DOWN);
    cluster.source.publish();
    other.isr.expire_tag("p:a").await.unwrap_err();
    other.isr.expire_tag("p:late").await.unwrap_err();
    cluster.memory.lose_ledger();
    // Another node begins the new ledger, and has a page that the mark is about.
    cluster.pass(2 * SECOND).await;
    seen(&one.app, "/p/late").await;
    written(&one).await;
    cluster.source.publish();
    assert_eq!(seen(&other.app, "/p/a").await, page("MISS", "a", 2));
    cluster.faults.clear();
    cluster.recover(&other).await;
    cluster.pass(SECOND).await;
    assert_eq!(other.isr.stats().unsent_marks, 0);
    for node in [&one, &other] {
        assert_eq!(seen(&node.app, "/p/late").await.1, "late version 2");
        assert_eq!(seen(&node.app, "/p/a").await.1, "a version 2");
    }
}

/// Nodes whose clocks are wrong, and a store whose clock is another one: stamps are made by the store alone.
#[tokio::test(start_paused = true)]
async fn the_promise_holds_whatever_the_clocks_say() {
    const WRONG: Duration = Duration::from_secs(30);
    let moved = |by: i32| {
        let clock = ManualClock::new();
        match by {
            1 => clock.advance(WRONG),
            -1 => clock.rewind(WRONG),
            _ => {}
        }
        clock
    };
    for (one_by, other_by, store_by) in
        [(1, -1, 0), (-1, 1, 0), (0, 0, 1), (0, 0, -1), (1, 1, -1), (-1, -1, 1), (1, 0, -1), (0, -1, 1)]
    {
        let what = format!("{one_by} {other_by} {store_by}");
        let (clocks, store_clock) = ([moved(one_by), moved(other_by)], moved(store_by));
        let memory = MemoryStore::new().clock(store_clock.clone());
        let source = Source::default();
        let nodes = clocks.each_ref().map(|clock| Node::new(memory.clone(), clock, &source));
        let pass = |by| clocks.iter().chain([&store_clock]).for_each(|clock| clock.advance(by));
        let mut version = 0;
        for round in 0..6 {
            let (issuer, reader) = (&nodes[round % 2], &nodes[(round + 1) % 2]);
            for node in &nodes {
                assert_eq!(seen(&node.app, "/p/a").await.1, format!("a version {version}"), "{what} {round}");
                // An entry of whose clock is ahead may be kept instead.
                rested(node).await;
                let_run().await;
            }
            version = source.publish();
            if round < 3 {
                issuer.isr.expire_tag("p:a").await.unwrap();
                assert_eq!(seen(&issuer.app, "/p/a").await.1, format!("a version {version}"), "{what} {round}");
                pass(SECOND);
                assert_eq!(seen(&reader.app, "/p/a").await.1, format!("a version {version}"), "{what} {round}");
            } else {
                issuer.isr.revalidate_path("/p/a").await.unwrap();
                pass(SECOND);
                let (state, text) = seen(&reader.app, "/p/a").await;
                assert!(state == "STALE" || text == format!("a version {version}"), "{what} {round}: {state} {text}");
                rested(reader).await;
                let (state, text) = seen(&issuer.app, "/p/a").await;
                assert!(state == "STALE" || text == format!("a version {version}"), "{what} {round}: {state} {text}");
                rested(issuer).await;
                pass(SECOND);
            }
        }
    }
}

/// R32: a mark reaches every deployment, and a rollback revives nothing.
#[tokio::test(start_paused = true)]
async fn an_invalidation_reaches_every_deployment() {
    let cluster = Cluster::new();
    let node = |id: &'static str| {
        Node::with(cluster.memory.clone(), &cluster.clock, &cluster.source, |builder| builder.deployment_id(id))
    };
    let (old, new) = (node("old"), node("new"));
    for node in [&old, &new] {
        assert_eq!(seen(&node.app, "/p/a").await.0, "MISS");
        written(node).await;
    }
    drop(old);
    cluster.source.publish();
    new.isr.expire_tag("p:a").await.unwrap();
    let back = node("old");
    assert_eq!(seen(&back.app, "/p/a").await, page("MISS", "a", 1));
}
