//! One render per cluster: leases that are kept, lost, given back with a note, or never given back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::store::{Store, StoreErrorKind};
use axum_isr::testing::{Fault, FaultyStore, MemoryStore, Operation};
use axum_isr::{Isr, RouteConfig};
use common::{Handler, let_run, seen, until};
use futures_util::future::{join, join_all};
use http::StatusCode;
use tokio::time::Instant;
use trouble::{Cluster, GRAIN, SECOND, timed};

const MILLI: Duration = Duration::from_millis(1);
const LEASE_WAIT: Duration = Duration::from_secs(5);
/// At a lease that somebody else has.
const FIRST_LOOK: Duration = Duration::from_millis(5);

type Make = Arc<dyn Fn(usize) -> Response + Send + Sync>;

/// Nodes whose page takes its time; renders are counted for all of them together.
struct Slow {
    cluster: Cluster,
    page: Handler,
}

struct Member {
    isr: Isr,
    app: Router,
}

impl Slow {
    fn new(takes: Duration) -> Self {
        Self::making(takes, Arc::new(|n| format!("render {n}").into_response()))
    }

    fn making(takes: Duration, make: Make) -> Self {
        let page = Handler::new(move |n, _| {
            let make = Arc::clone(&make);
            async move {
                tokio::time::sleep(takes).await;
                make(n)
            }
        });
        Self { cluster: Cluster::new(), page }
    }

    fn member(&self) -> Member {
        self.with(self.cluster.memory.clone())
    }

    fn troubled(&self) -> Member {
        self.with(self.cluster.faulty.clone())
    }

    fn with(&self, store: impl Store) -> Member {
        let isr = Isr::builder().clock(self.cluster.clock.clone()).store(store).deployment_id("one").build().unwrap();
        let config = RouteConfig::revalidate(60 * SECOND).expire(3_600 * SECOND);
        let app = Router::new().route("/p", get(self.page.clone())).route_layer(isr.layer(config));
        Member { isr, app }
    }

    fn renders(&self) -> usize {
        self.page.calls()
    }
}

async fn asked(member: &Member) -> (&'static str, String, Duration) {
    let began = Instant::now();
    let (state, text) = seen(&member.app, "/p").await;
    (state, text, began.elapsed())
}

/// I3: cold nodes are asked at the same time, and one renders, however long it takes within the lease wait.
#[tokio::test(start_paused = true)]
async fn one_render_for_all_cold_nodes() {
    for takes in [Duration::ZERO, 50 * MILLI, 3 * SECOND] {
        let slow = Slow::new(takes);
        let members: Vec<Member> = (0..6).map(|_| slow.member()).collect();
        let answers = join_all(members.iter().flat_map(|member| (0..5).map(move |_| asked(member)))).await;
        assert_eq!(slow.renders(), 1, "{takes:?}");
        for (state, text, took) in answers {
            assert_eq!(text, "render 1");
            // Who waits for another node's looks for it every 100 ms at most.
            assert!(took >= takes && took <= takes + 110 * MILLI, "{state} took {took:?} of {takes:?}");
        }
        let states: u64 = members.iter().map(|member| member.isr.stats().store_hits).sum();
        assert_eq!(states, 5, "{takes:?}");
    }
}

/// A holder that dies: the others render after 5 s, without waiting once more.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_dead_holder_renders_in_the_end() {
    let slow = Slow::new(100 * MILLI);
    let (dead, other) = (slow.troubled(), slow.member());
    // It gets the lease, and nobody hears of it again.
    slow.cluster.faults.set(Operation::Lease, Fault::lost_answer());
    slow.cluster.faults.set(Operation::Put, Fault::Hang);
    slow.cluster.faults.set(Operation::Release, Fault::Hang);
    let (_, _, took) = asked(&dead).await;
    assert!(took <= 250 * MILLI, "{took:?}");
    let answers = join_all((0..5).map(|_| asked(&other))).await;
    for (state, text, took) in answers {
        assert_eq!((state, &*text), ("MISS", "render 2"));
        assert!((LEASE_WAIT..=LEASE_WAIT + 100 * MILLI + GRAIN).contains(&took), "{took:?}");
    }
    assert_eq!(slow.renders(), 2);
}

/// A holder whose runtime ends: its lease runs out.
#[test]
fn a_holder_whose_runtime_ends_is_not_waited_for_long() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let slow = Slow::new(60 * SECOND);
    let (dies, other) = (slow.member(), slow.member());
    let first = runtime();
    first.block_on(async {
        let wait = common::waiting(&dies.app, common::request("/p")).await;
        until(|| slow.renders() == 1).await;
        drop(wait);
    });
    drop(first);
    runtime().block_on(async {
        let answer = tokio::time::timeout(LEASE_WAIT + GRAIN, seen(&other.app, "/p")).await;
        assert!(answer.is_err(), "a render takes a minute");
        assert_eq!(slow.renders(), 2);
    });
}

/// A page that is not shared: each node's visitors go to their own handler.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_not_shared_is_made_by_everybody() {
    let slow =
        Slow::making(500 * MILLI, Arc::new(|n| ([("set-cookie", "a=b")], format!("render {n}")).into_response()));
    let (one, other) = (slow.member(), slow.member());
    let (first, second) = join(asked(&one), asked(&other)).await;
    assert_eq!((first.0, second.0), ("", ""));
    assert_ne!(first.1, second.1);
    // Its own, after the note.
    assert!([first.2, second.2].iter().all(|took| *took <= 2_200 * MILLI), "{first:?} {second:?}");
    assert_eq!(slow.cluster.memory.entries(), 0);
}

/// A page that could not be made: each tries for itself, and no one waits for the lease again.
#[tokio::test(start_paused = true)]
async fn a_page_that_could_not_be_made_is_tried_by_everybody() {
    let slow = Slow::making(
        500 * MILLI,
        Arc::new(|n| (StatusCode::SERVICE_UNAVAILABLE, format!("failure {n}")).into_response()),
    );
    let (one, other) = (slow.member(), slow.member());
    let (first, second) = join(asked(&one), asked(&other)).await;
    assert!(first.1.starts_with("failure") && second.1.starts_with("failure"), "{first:?} {second:?}");
    assert!([first.2, second.2].iter().all(|took| *took <= 2_200 * MILLI), "{first:?} {second:?}");
    assert_eq!(slow.cluster.memory.entries(), 0);
}

/// There is an old page: it is served while another node renders, and there is no second render.
#[tokio::test(start_paused = true)]
async fn a_stale_page_is_left_to_who_renders_it() {
    let slow = Slow::new(SECOND);
    let (one, other) = (slow.member(), slow.member());
    asked(&one).await;
    until(|| one.isr.stats().store_writes == 1).await;
    assert_eq!(asked(&other).await.0, "HIT");
    slow.cluster.clock.advance(60 * SECOND);
    assert_eq!(asked(&one).await.0, "STALE");
    until(|| slow.renders() == 2).await;
    let began = Instant::now();
    let mut looks = 0;
    let fresh = loop {
        let (state, text, took) = asked(&other).await;
        assert!(took.is_zero(), "{took:?}");
        if state == "HIT" {
            assert_eq!(text, "render 2");
            break began.elapsed();
        }
        assert_eq!((state, &*text), ("STALE", "render 1"));
        let before = other.isr.stats().store_misses + other.isr.stats().store_hits;
        slow.cluster.pass(10 * MILLI).await;
        looks += 1;
        assert!(looks < 1_000, "{before}");
    };
    // When it was rendered, and then at the next look.
    assert!((SECOND..=SECOND + 330 * MILLI).contains(&fresh), "{fresh:?}");
    assert_eq!(slow.renders(), 2);
}

/// It looks every 200 to 300 ms, not at every request.
#[tokio::test(start_paused = true)]
async fn who_leaves_a_page_to_others_looks_now_and_then() {
    let slow = Slow::new(10 * SECOND);
    let (one, other) = (slow.member(), slow.troubled());
    asked(&one).await;
    until(|| one.isr.stats().store_writes == 1).await;
    assert_eq!(asked(&other).await.0, "HIT");
    slow.cluster.clock.advance(60 * SECOND);
    assert_eq!(asked(&one).await.0, "STALE");
    until(|| slow.renders() == 2).await;
    let before = slow.cluster.faults.calls(Operation::Lease);
    for _ in 0..300 {
        assert_eq!(asked(&other).await.0, "STALE");
        slow.cluster.pass(10 * MILLI).await;
    }
    let looks = slow.cluster.faults.calls(Operation::Lease) - before;
    assert!((9..=16).contains(&looks), "{looks}");
    assert_eq!(slow.renders(), 2);
}

/// A lease lasts 10 s; a render that takes 25 s prolongs it.
#[tokio::test(start_paused = true)]
async fn a_lease_is_prolonged_while_the_render_runs() {
    let slow = Slow::new(25 * SECOND);
    let (one, other) = (slow.troubled(), slow.member());
    let app = one.app.clone();
    let first = tokio::spawn(async move { seen(&app, "/p").await });
    until(|| slow.renders() == 1).await;
    slow.cluster.pass(21 * SECOND).await;
    let leases = slow.cluster.faults.calls(Operation::Lease);
    assert!((6..=8).contains(&leases), "{leases}");
    // Who comes now waits for it: it is nearly there.
    let app = other.app.clone();
    let second = tokio::spawn(async move { seen(&app, "/p").await });
    slow.cluster.pass(4_500 * MILLI).await;
    assert_eq!(first.await.unwrap(), ("MISS", "render 1".into()));
    assert_eq!(second.await.unwrap(), ("HIT", "render 1".into()));
    assert_eq!(slow.renders(), 1);
    // And it was given back.
    let before = slow.cluster.faults.calls(Operation::Lease);
    slow.cluster.pass(10 * SECOND).await;
    assert_eq!(slow.cluster.faults.calls(Operation::Lease), before);
}

/// CASES 122: the store fails while somebody waits for another node's render.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_during_the_wait_ends_it() {
    for fault in [Fault::Error(StoreErrorKind::Unavailable), Fault::Hang, Fault::Panic] {
        let slow = Slow::new(2 * SECOND);
        let (one, other) = (slow.member(), slow.troubled());
        let app = one.app.clone();
        let first = tokio::spawn(async move { seen(&app, "/p").await });
        until(|| slow.renders() == 1).await;
        let app = other.app.clone();
        let began = Instant::now();
        let second = tokio::spawn(async move { seen(&app, "/p").await });
        tokio::time::sleep(500 * MILLI).await;
        assert_eq!(slow.renders(), 1);
        slow.cluster.faults.set_all(&fault);
        assert_eq!(second.await.unwrap(), ("MISS", "render 2".into()), "{fault:?}");
        assert!(began.elapsed() <= 2_710 * MILLI, "{fault:?}: {:?}", began.elapsed());
        assert_eq!(first.await.unwrap(), ("MISS", "render 1".into()));
    }
}

/// A holder that has stored the page and cannot say so: who has waited for it looks for the page before it renders.
#[tokio::test(start_paused = true)]
async fn who_has_waited_looks_for_the_page_once_more() {
    for lease_ends in [false, true] {
        let slow = Slow::new(50 * MILLI);
        let (one, other) = (slow.troubled(), slow.member());
        slow.cluster.faults.set(Operation::Release, Fault::Error(StoreErrorKind::Unavailable));
        let app = one.app.clone();
        let first = tokio::spawn(async move { seen(&app, "/p").await });
        until(|| slow.renders() == 1).await;
        let app = other.app.clone();
        let second = tokio::spawn(async move { seen(&app, "/p").await });
        tokio::time::sleep(SECOND).await;
        if lease_ends {
            slow.cluster.clock.advance(10 * SECOND);
        }
        assert_eq!(first.await.unwrap(), ("MISS", "render 1".into()));
        assert_eq!(second.await.unwrap(), ("HIT", "render 1".into()), "{lease_ends}");
        assert_eq!(slow.renders(), 1);
        if lease_ends {
            // It had got the lease, and has given it back.
            let_run().await;
            slow.cluster.memory.clear_entries();
            let (state, _, took) = asked(&slow.member()).await;
            assert!(state == "MISS" && took <= 50 * MILLI + GRAIN, "{state} {took:?}");
        }
    }
}

/// I6: a page is still on its way to the store when it is expired. Its process does not wait for its own lease, and the
/// newer one is what the store has in the end.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_lease_of_its_own_process() {
    let cluster = Cluster::new();
    let node = cluster.troubled();
    cluster.faults.set(Operation::Put, Fault::Delay(900 * MILLI));
    for n in 0..60 {
        seen(&node.app, &format!("/p/{n}")).await;
    }
    cluster.source.publish();
    // Being written, and waiting for that.
    for n in [0, 50] {
        assert_eq!(cluster.memory.entries(), 0);
        node.isr.expire_tag(format!("p:{n}")).await.unwrap();
        let (state, text, took) = timed(&node.app, &format!("/p/{n}")).await;
        assert_eq!((state, text), ("MISS", format!("{n} version 1")));
        assert!(took <= GRAIN, "{n}: {took:?}");
    }
    cluster.pass(20 * SECOND).await;
    assert_eq!((node.isr.stats().waiting_writes, cluster.memory.entries()), (0, 60));
    for n in [0, 50] {
        let (state, text) = seen(&cluster.healthy().app, &format!("/p/{n}")).await;
        assert_eq!((state, text), ("HIT", format!("{n} version 1")));
    }
}

/// I6: nor is a regeneration left to others because of it.
#[tokio::test(start_paused = true)]
async fn a_regeneration_is_not_refused_because_of_a_lease_of_its_own_process() {
    let cluster = Cluster::new();
    let node = cluster.troubled();
    cluster.faults.set(Operation::Put, Fault::Delay(300 * MILLI));
    assert_eq!(seen(&node.app, "/p/a").await.0, "MISS");
    cluster.source.publish();
    let progress = node.isr.regenerate_path("/p/a").await.unwrap().finished().await;
    assert_eq!(cluster.memory.entries(), 0, "the first one is not written yet");
    assert_eq!((progress.total, progress.done, progress.failed), (1, 1, 0));
    assert_eq!(seen(&node.app, "/p/a").await, ("HIT", "a version 1".into()));
}

/// I6: what cannot be written for want of room has a lease all the same, which is given back.
#[tokio::test(start_paused = true)]
async fn a_page_that_there_is_no_room_to_write_leaves_no_lease() {
    let cluster = Cluster::new();
    let member = |store: FaultyStore<MemoryStore>| {
        let builder = Isr::builder().clock(cluster.clock.clone()).store(store).deployment_id("one");
        let isr = builder.memory_bytes(16 << 20).build().unwrap();
        let config = RouteConfig::revalidate(60 * SECOND);
        let app = Router::new().route("/p/{n}", get(|| async { "x".repeat(500_000) })).route_layer(isr.layer(config));
        Member { isr, app }
    };
    let one = member(cluster.faulty.clone());
    cluster.faults.set(Operation::Put, Fault::Hang);
    let mut last = 0;
    while one.isr.stats().store_unwritten == 0 {
        last += 1;
        assert!(last < 30, "it takes everything: {:?}", one.isr.stats());
        assert_eq!(seen(&one.app, &format!("/p/{last}")).await.0, "MISS");
        let_run().await;
    }
    let other = member(FaultyStore::new(cluster.memory.clone()).0);
    let (state, _, took) = timed(&other.app, &format!("/p/{last}")).await;
    assert_eq!(state, "MISS");
    assert!(took <= 2 * FIRST_LOOK + GRAIN, "{took:?}");
    // One that is being written still has its lease.
    let (_, _, took) = timed(&other.app, "/p/1").await;
    assert!(took > SECOND / 2, "{took:?}");
}

/// Two processes are told to regenerate a page, one after the other, or one whose holder has died: none of them fails
/// for the other's lease, and each has a page that was begun after it was told.
#[tokio::test(start_paused = true)]
async fn a_regeneration_waits_for_a_lease_of_another_process() {
    // Longer than somebody waits for a lease, too.
    for (takes, dies) in [(SECOND, false), (7 * SECOND, false), (SECOND, true)] {
        let slow = Slow::new(takes);
        let (one, other) = (slow.troubled(), slow.member());
        asked(&one).await;
        until(|| one.isr.stats().store_writes == 1).await;
        assert_eq!(asked(&other).await.0, "HIT");
        if dies {
            slow.cluster.faults.set(Operation::Put, Fault::Hang);
            slow.cluster.faults.set(Operation::Release, Fault::Hang);
        }
        let first = one.isr.regenerate_path("/p").await.unwrap();
        slow.cluster.pass(100 * MILLI).await;
        assert_eq!(slow.renders(), 2);
        let second = other.isr.regenerate_path("/p").await.unwrap();
        let (first, second) = join(first.finished(), second.finished()).await;
        assert_eq!((first.done, first.failed), (1, 0), "{takes:?} {dies}");
        assert_eq!((second.done, second.failed), (1, 0), "{takes:?} {dies}");
        assert_eq!(asked(&other).await, ("HIT", "render 3".into(), Duration::ZERO), "{takes:?} {dies}");
    }
}
