//! Data behind the memory tier: computed by one node, used by the others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use axum_isr::config::Clock;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, ManualClock, Operation};
use axum_isr::{CacheLife, Isr, RouteConfig};
use common::data::{Source, quiet};
use common::{seen, settled, until};
use trouble::{Cluster, FIRST_WAIT, GRAIN, SECOND, timed};

const MINUTE: Duration = Duration::from_secs(60);

fn node(cluster: &Cluster) -> Isr {
    let builder = Isr::builder().clock(cluster.clock.clone()).store(cluster.memory.clone());
    builder.deployment_id("one").build().unwrap()
}

fn troubled(cluster: &Cluster) -> Isr {
    let builder = Isr::builder().clock(cluster.clock.clone()).store(cluster.faulty.clone());
    builder.deployment_id("one").build().unwrap()
}

/// Until the store has what was computed, or will not have it.
async fn stored(isr: &Isr, values: u64) {
    quiet(isr).await;
    until(|| isr.stats().store_writes + isr.stats().store_unwritten >= values).await;
}

/// R23, R28: computed once.
#[tokio::test(start_paused = true)]
async fn a_value_is_computed_by_one_node_for_all() {
    let (cluster, source) = (Cluster::new(), Source::default());
    let one = node(&cluster);
    assert_eq!(source.get(&one, "posts").await, 1);
    stored(&one, 1).await;
    for _ in 0..3 {
        let cold = node(&cluster);
        for _ in 0..2 {
            assert_eq!(source.get(&cold, "posts").await, 1);
        }
        let stats = cold.stats();
        assert_eq!((stats.store_hits, stats.data_hits), (1, 1));
    }
    assert_eq!(source.calls(), 1);
    assert_eq!(source.get(&one, "others").await, 2);
}

/// R27: by tag, across nodes, whether it was computed there or came from the store.
#[tokio::test(start_paused = true)]
async fn a_value_is_invalidated_everywhere() {
    let (cluster, source) = (Cluster::new(), Source::default());
    let (one, other) = (node(&cluster), node(&cluster));
    assert_eq!(source.get(&one, "posts").await, 1);
    stored(&one, 1).await;
    assert_eq!(source.get(&other, "posts").await, 1);
    one.expire_tag("t").await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(source.get(&other, "posts").await, 2);
    stored(&other, 1).await;
    assert_eq!(source.get(&one, "posts").await, 2);
    other.revalidate_tag("t").await.unwrap();
    cluster.clock.advance(SECOND);
    // The old one, while there is a new one.
    assert_eq!(source.get(&one, "posts").await, 2);
    quiet(&one).await;
    assert_eq!(source.get(&one, "posts").await, 3);
    // And nothing old is used by who has none.
    let cold = node(&cluster);
    stored(&one, 2).await;
    assert_eq!(source.get(&cold, "posts").await, 3);
}

/// Another type, or another set of tags, is another value.
#[tokio::test(start_paused = true)]
async fn a_value_of_another_type_is_computed_anew() {
    let cluster = Cluster::new();
    let one = node(&cluster);
    let number: u32 = one.data("it").get_or_init(|| async { 7_u32 }).await.unwrap();
    stored(&one, 1).await;
    let cold = node(&cluster);
    let text: String = cold.data("it").get_or_init(|| async { "seven".to_owned() }).await.unwrap();
    assert_eq!((number, &*text), (7, "seven"));
    let cold = node(&cluster);
    let tagged: u32 = cold.data("it").tag("new").get_or_init(|| async { 8_u32 }).await.unwrap();
    assert_eq!(tagged, 8, "without its tag it would outlive its invalidation");
}

/// A stale value is no use to who would have to compute it anyway.
#[tokio::test(start_paused = true)]
async fn a_stale_value_is_computed_anew() {
    let (cluster, source) = (Cluster::new(), Source::default());
    let one = node(&cluster);
    assert_eq!(source.get(&one, "posts").await, 1);
    stored(&one, 1).await;
    cluster.clock.advance(MINUTE);
    let cold = node(&cluster);
    assert_eq!(source.get(&cold, "posts").await, 2);
    stored(&cold, 1).await;
    // Whose old one is stale takes the new one from the store.
    assert_eq!(source.get(&one, "posts").await, 1);
    quiet(&one).await;
    assert_eq!((source.get(&one, "posts").await, source.calls()), (2, 2));
    // Half of its life is over when it comes.
    cluster.clock.advance(MINUTE / 2);
    let late = node(&cluster);
    assert_eq!(source.get(&late, "posts").await, 2);
    cluster.clock.advance(MINUTE / 2);
    source.get(&late, "posts").await;
    quiet(&late).await;
    assert_eq!(source.calls(), 3);
}

/// R28: a page that is made from a value of the store has its tags and its life, like one whose value was computed here.
#[tokio::test(start_paused = true)]
async fn a_page_has_the_tags_of_values_from_the_store() {
    let (cluster, source) = (Cluster::new(), Source::default());
    let first = node(&cluster);
    assert_eq!(source.get(&first, "posts").await, 1);
    stored(&first, 1).await;
    cluster.clock.advance(MINUTE / 2);
    let app = |isr: &Isr| {
        let (inner, source) = (isr.clone(), source.clone());
        let page = move || {
            let (inner, source) = (inner.clone(), source.clone());
            async move { format!("page of {}", source.get(&inner, "posts").await) }
        };
        let config = RouteConfig::revalidate(60 * MINUTE);
        Router::new().route("/page", get(page)).route_layer(isr.layer(config))
    };
    let (one, other) = (node(&cluster), node(&cluster));
    let (app_one, app_other) = (app(&one), app(&other));
    assert_eq!(seen(&app_one, "/page").await, ("MISS", "page of 1".into()));
    assert_eq!(source.calls(), 1);
    settled(&one).await;
    until(|| one.stats().store_writes == 1).await;
    assert_eq!(seen(&app_other, "/page").await, ("HIT", "page of 1".into()));
    // By the value's tag.
    first.expire_tag("t").await.unwrap();
    cluster.clock.advance(SECOND);
    for app in [&app_one, &app_other] {
        assert_eq!(seen(app, "/page").await.1, "page of 2");
        until(|| one.stats().flights + one.stats().computations + one.stats().waiting_writes == 0).await;
        common::let_run().await;
    }
    // Fresh for as long as the value is.
    cluster.clock.advance(MINUTE);
    assert_eq!(seen(&app_other, "/page").await.0, "STALE");
    settled(&other).await;
    quiet(&other).await;
    until(|| other.stats().waiting_writes == 0).await;
    assert_eq!(seen(&app_other, "/page").await, ("HIT", "page of 3".into()));
}

/// Also those that nobody but the computation knew of.
#[tokio::test(start_paused = true)]
async fn a_page_has_the_tags_of_what_a_value_was_made_of() {
    let (cluster, source) = (Cluster::new(), Source::default());
    let outer = async |isr: &Isr, source: &Source| {
        let (inner, source) = (isr.clone(), source.clone());
        let make = move || async move {
            let next = move || async move { source.next() };
            inner.data("inner").tag("deep").get_or_init(next).await.unwrap()
        };
        isr.data("outer").get_or_init(make).await.unwrap()
    };
    let first = node(&cluster);
    assert_eq!(outer(&first, &source).await, 1);
    stored(&first, 2).await;
    let one = node(&cluster);
    let page = {
        let (one, source) = (one.clone(), source.clone());
        move || async move { outer(&one, &source).await.to_string() }
    };
    let app = Router::new().route("/page", get(page)).route_layer(one.layer(RouteConfig::forever()));
    assert_eq!(seen(&app, "/page").await, ("MISS", "1".into()));
    assert_eq!(source.calls(), 1);
    first.expire_tag("deep").await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&app, "/page").await.1, "2");
}

/// CASES 122, 117: a store in trouble costs a value one bounded wait as it does a page.
#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_does_not_keep_values_from_being_computed() {
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Hang,
        Fault::Delay(SECOND),
        Fault::Panic,
        Fault::Corrupt,
        Fault::Swap,
        Fault::Forget,
    ] {
        let (cluster, source) = (Cluster::new(), Source::default());
        let one = troubled(&cluster);
        source.get(&one, "posts").await;
        source.get(&one, "others").await;
        stored(&one, 2).await;
        let other = troubled(&cluster);
        cluster.faults.set(Operation::Get, fault.clone());
        cluster.faults.set(Operation::Put, fault.clone());
        for name in ["posts", "others"] {
            let began = tokio::time::Instant::now();
            let own = source.calls() + 1;
            assert_eq!(source.get(&other, name).await, own, "{fault:?} {name}");
            assert!(began.elapsed() <= FIRST_WAIT + GRAIN, "{fault:?}: {:?}", began.elapsed());
            assert_eq!(source.get(&other, name).await, own, "{fault:?} {name}");
        }
    }
}

/// CASES 122, I6: all that a page is made from waits for the store together, once.
#[tokio::test(start_paused = true)]
async fn a_page_of_several_values_waits_for_the_store_once() {
    for fault in [Fault::Hang, Fault::Delay(Duration::from_millis(90)), Fault::Delay(SECOND / 20)] {
        let cluster = Cluster::new();
        let isr = troubled(&cluster);
        let inner = isr.clone();
        let page = move || {
            let inner = inner.clone();
            async move {
                let mut sum = 0;
                for n in 0..6_u32 {
                    sum += inner.data("n").arg(&n).get_or_init(move || async move { n }).await.unwrap();
                }
                sum.to_string()
            }
        };
        let app = Router::new().route("/page", get(page)).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
        cluster.faults.set(Operation::Get, fault.clone());
        let (state, text, took) = timed(&app, "/page").await;
        assert_eq!((state, &*text), ("MISS", "15"));
        assert!(took > Duration::ZERO && took <= FIRST_WAIT + GRAIN, "{fault:?}: {took:?}");
    }
}

/// The clock is the application's, and may ask us something, also while what is kept cannot be verified.
#[test]
fn a_clock_that_asks_for_numbers_while_the_store_is_down() {
    let (done, ended) = std::sync::mpsc::channel();
    // A deadlock would hold this one for ever.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new();
            let clock = Curious { inner: cluster.clock.clone(), isr: Arc::default() };
            let builder = Isr::builder().clock(clock.clone()).store(cluster.faulty.clone());
            let isr = builder.deployment_id("one").build().unwrap();
            let inner = isr.clone();
            let page = move || {
                let inner = inner.clone();
                async move {
                    let value = inner.data("n").life(CacheLife::MAX).get_or_init(|| async { 7_u8 });
                    value.await.unwrap().to_string()
                }
            };
            let config = RouteConfig::revalidate(MINUTE);
            let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(config));
            seen(&app, "/p/a").await;
            cluster.pass(SECOND).await;
            cluster.faults.set_all(&Fault::Error(StoreErrorKind::Unavailable));
            cluster.pass(40 * SECOND).await;
            assert!(clock.isr.set(isr.clone()).is_ok());
            for slug in ["a", "b", "a"] {
                assert_eq!(seen(&app, &format!("/p/{slug}")).await.1, "7");
                settled(&isr).await;
            }
        });
        done.send(()).unwrap();
    });
    ended.recv_timeout(MINUTE).unwrap();
}

#[derive(Clone)]
struct Curious {
    inner: ManualClock,
    isr: Arc<OnceLock<Isr>>,
}

impl Clock for Curious {
    fn wall(&self) -> SystemTime {
        self.isr.get().map(Isr::stats);
        self.inner.wall()
    }

    fn monotonic(&self) -> Duration {
        self.isr.get().map(Isr::stats);
        self.inner.monotonic()
    }
}

/// Cut off from the store a value is stale after a while, and computed again; what is invalidated here is gone at once.
#[tokio::test(start_paused = true)]
async fn cut_off_a_value_is_good_for_a_while() {
    let (cluster, source) = (Cluster::new(), Source::default());
    let one = troubled(&cluster);
    let get = async || {
        let source = source.clone();
        one.data("long").tag("t").get_or_init(move || async move { source.next() }).await.unwrap()
    };
    assert_eq!(get().await, 1);
    cluster.pass(SECOND).await;
    cluster.faults.set_all(&Fault::Error(StoreErrorKind::Unavailable));
    cluster.pass(28 * SECOND).await;
    assert_eq!((get().await, source.calls()), (1, 1));
    cluster.pass(3 * SECOND).await;
    assert_eq!(get().await, 1);
    quiet(&one).await;
    assert_eq!((get().await, source.calls()), (2, 2));
    one.expire_tag("t").await.unwrap_err();
    assert_eq!(get().await, 3);
}

/// What was begun long before, while nobody can say what was marked elsewhere, does not make a page new.
#[tokio::test(start_paused = true)]
async fn a_value_that_takes_long_makes_no_new_page_while_the_store_is_away() {
    let cluster = Cluster::new();
    let builder = Isr::builder().clock(cluster.clock.clone()).store(cluster.faulty.clone());
    let isr = builder.deployment_id("one").max_unverified(2 * SECOND).build().unwrap();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let handler = {
        let (isr, gate) = (isr.clone(), std::sync::Arc::clone(&gate));
        move || async move {
            let compute = || async move {
                let _open = gate.acquire().await;
                "slow".to_owned()
            };
            isr.data("slow").get_or_init(compute).await.unwrap_or_default()
        }
    };
    let config = RouteConfig::revalidate(MINUTE);
    let app =
        Router::new().route("/one", get(handler.clone())).route("/other", get(handler)).route_layer(isr.layer(config));
    let ask = |path: &'static str| {
        let app = app.clone();
        tokio::spawn(async move { seen(&app, path).await })
    };
    let one = ask("/one");
    until(|| isr.stats().data_misses == 1).await;
    cluster.faults.set_all(&Fault::Error(StoreErrorKind::Unavailable));
    // Longer than what cannot be verified counts, and shorter than a render may take.
    cluster.pass(Duration::from_secs(4)).await;
    let other = ask("/other");
    until(|| isr.stats().data_misses == 2).await;
    gate.add_permits(10);
    for asked in [one, other] {
        assert_eq!(asked.await.unwrap(), ("STALE", "slow".to_owned()));
    }
}
