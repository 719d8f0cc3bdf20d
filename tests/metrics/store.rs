//! Calls of the store, its breakers, and invalidations.

use std::time::Duration;

use axum_isr::Isr;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, Operation};

use crate::common::fetch;
use crate::trouble::{Cluster, SECOND, written};
use crate::watch::{Watch, counted};

const GRAIN: f64 = 0.003;

/// Each call once, by method, with its time.
#[tokio::test(start_paused = true)]
async fn calls_of_the_store_are_timed_by_method() {
    let watch = Watch::new();
    let cluster = Cluster::new();
    cluster.faults.set(Operation::Get, Fault::Delay(Duration::from_millis(50)));
    cluster.faults.set(Operation::Put, Fault::Delay(Duration::from_millis(200)));
    let node = cluster.troubled();
    for path in ["/p/a", "/p/b"] {
        fetch(&node.app, path).await;
        written(&node).await;
    }
    node.isr.expire_tag("p:a").await.unwrap();
    cluster.pass(SECOND).await;
    let calls = [
        ("get", Operation::Get, 0.05),
        ("put", Operation::Put, 0.2),
        ("lease", Operation::Lease, 0.0),
        ("release", Operation::Release, 0.0),
        ("changes", Operation::Changes, 0.0),
        ("invalidate", Operation::Invalidate, 0.0),
    ];
    for (op, operation, seconds) in calls {
        let times = watch.samples(&format!("isr_store_seconds{{store=memory,op={op}}}"));
        assert!(!times.is_empty() && times.len() as u64 == cluster.faults.calls(operation), "{op}: {times:?}");
        assert!(times.iter().all(|time| (seconds..=seconds + GRAIN).contains(time)), "{op}: {times:?}");
    }
    assert_eq!(watch.counts("isr_store_errors_total"), []);
}

/// Each failure once, by what it was; one that was never asked is none.
#[tokio::test(start_paused = true)]
async fn failures_of_the_store_are_counted_by_kind() {
    let watch = Watch::new();
    let cluster = Cluster::new();
    let node = cluster.troubled();
    fetch(&node.app, "/p/warm").await;
    written(&node).await;
    cluster.faults.once(Operation::Get, Fault::Error(StoreErrorKind::Denied));
    fetch(&node.app, "/p/a").await;
    written(&node).await;
    cluster.faults.once(Operation::Get, Fault::Hang);
    fetch(&node.app, "/p/b").await;
    written(&node).await;
    cluster.faults.once(Operation::Put, Fault::Panic);
    fetch(&node.app, "/p/c").await;
    written(&node).await;
    let expected = counted(&[
        ("store=memory,op=get,kind=denied", 1),
        ("store=memory,op=get,kind=timed-out", 1),
        ("store=memory,op=put,kind=internal", 1),
    ]);
    assert_eq!(watch.counts("isr_store_errors_total"), expected);
    // A failed call is timed like any other.
    let gets = watch.samples("isr_store_seconds{store=memory,op=get}");
    assert_eq!(gets.len() as u64, cluster.faults.calls(Operation::Get));
}

/// The reads of a store fail until nobody asks for entries any more.
async fn outage(cluster: &Cluster) -> crate::nodes::Node {
    let node = cluster.warmed().await;
    cluster.faults.set(Operation::Get, Fault::Error(StoreErrorKind::Unavailable));
    for n in 0..5 {
        fetch(&node.app, &format!("/p/{n}")).await;
        written(&node).await;
    }
    assert!(node.isr.stats().store_circuit_open);
    node
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_is_one() {
    let watch = Watch::new();
    let cluster = Cluster::new();
    let _node = outage(&cluster).await;
    assert_eq!(watch.gauge("isr_breaker_open{store=memory,part=reads}"), Some(1.0));
    // Calls that are not made are neither timed nor failures.
    let failures = watch.count("isr_store_errors_total{store=memory,op=get,kind=unavailable}");
    assert_eq!((failures, watch.count("isr_store_errors_total{store=memory,op=get,kind=circuit-open}")), (3, 0));
    // Of the other parts nobody has said anything.
    assert_eq!(watch.gauge("isr_breaker_open{store=memory,part=ledger}"), None);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_closes_is_zero() {
    let watch = Watch::new();
    let cluster = Cluster::new();
    let node = outage(&cluster).await;
    cluster.faults.clear();
    cluster.recover(&node).await;
    // One look: had it not been set to zero it would still be one.
    assert_eq!(watch.gauge("isr_breaker_open{store=memory,part=reads}"), Some(0.0));
    assert_eq!(watch.samples("isr_store_seconds{store=memory,op=probe}").len(), 1);
}

/// All of the store fails: every part has a breaker of its own.
#[tokio::test(start_paused = true)]
async fn every_part_has_its_breaker() {
    let watch = Watch::new();
    let cluster = Cluster::new();
    let node = cluster.warmed().await;
    for operation in [Operation::Put, Operation::Release] {
        cluster.faults.set(operation, Fault::Error(StoreErrorKind::Unavailable));
    }
    for n in 0..5 {
        fetch(&node.app, &format!("/p/{n}")).await;
        written(&node).await;
    }
    cluster.faults.set(Operation::Invalidate, Fault::Error(StoreErrorKind::Unavailable));
    for _ in 0..5 {
        node.isr.expire_tag("p:a").await.unwrap_err();
    }
    cluster.faults.set_all(&Fault::Error(StoreErrorKind::Unavailable));
    cluster.pass(5 * SECOND).await;
    for part in ["writes", "marks", "ledger"] {
        assert_eq!(watch.gauge(&format!("isr_breaker_open{{store=memory,part={part}}}")), Some(1.0), "{part}");
    }
}

/// Each mark once, by its verb and by what it names, not by name.
#[tokio::test]
async fn invalidations_are_counted_by_verb_and_target() {
    let watch = Watch::new();
    let isr = Isr::builder().build().unwrap();
    isr.revalidate_tag("a").await.unwrap();
    isr.expire_tag("a").await.unwrap();
    isr.revalidate_tags(["a", "b"]).await.unwrap();
    isr.expire_tags(["a", "b", "c"]).await.unwrap();
    isr.revalidate_path("/a").await.unwrap();
    isr.expire_path("/a").await.unwrap();
    isr.revalidate_prefix("/a").await.unwrap();
    isr.expire_prefix("/a").await.unwrap();
    isr.revalidate_route("/{a}").await.unwrap();
    isr.expire_route("/{a}").await.unwrap();
    isr.revalidate_all().await.unwrap();
    isr.expire_all().await.unwrap();
    let expected = counted(&[
        ("verb=revalidate,by=tag", 3),
        ("verb=expire,by=tag", 4),
        ("verb=revalidate,by=path", 1),
        ("verb=expire,by=path", 1),
        ("verb=revalidate,by=prefix", 1),
        ("verb=expire,by=prefix", 1),
        ("verb=revalidate,by=route", 1),
        ("verb=expire,by=route", 1),
        ("verb=revalidate,by=everything", 1),
        ("verb=expire,by=everything", 1),
    ]);
    assert_eq!(watch.counts("isr_invalidations_total"), expected);
    // What is refused has marked nothing.
    isr.expire_tag("").await.unwrap_err();
    assert_eq!(watch.counts("isr_invalidations_total"), expected);
}
