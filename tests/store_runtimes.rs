//! A store and more runtimes than one, or none, and how long it is kept.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use axum_isr::Isr;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, MemoryStore, Operation};
use common::{let_run, seen};
use nodes::Node;
use tokio::runtime::{Builder, Runtime};
use trouble::{Cluster, SECOND, written};

/// Whose time passes when nothing else is to be done.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Runs a future without a runtime.
fn run<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// R27: the runtime of the first call has ended; those on the next one are told of what others expire all the same.
#[test]
fn the_ledger_is_followed_on_the_next_runtime() {
    let cluster = Cluster::new();
    let (node, other) = (cluster.healthy(), cluster.healthy());
    let first = runtime();
    first.block_on(async {
        node.isr.revalidate_tag("at the start").await.unwrap();
        seen(&node.app, "/p/before").await;
    });
    drop(first);
    runtime().block_on(async {
        for path in ["/p/before", "/p/a"] {
            seen(&node.app, path).await;
            assert_eq!(seen(&node.app, path).await.0, "HIT");
        }
        for version in 1..4 {
            cluster.source.publish();
            other.isr.expire_tags(["p:before", "p:a"]).await.unwrap();
            cluster.pass(SECOND).await;
            assert_eq!(seen(&node.app, "/p/before").await.1, format!("before version {version}"));
            assert_eq!(seen(&node.app, "/p/a").await.1, format!("a version {version}"));
        }
    });
}

/// R26: whoever made a mark may wait for it to be everywhere wherever he likes.
#[test]
fn waiting_for_everywhere_needs_no_runtime_with_timers() {
    const COHERENCE: Duration = Duration::from_millis(50);
    let with = Builder::new_current_thread().enable_all().build().unwrap();
    let without = Builder::new_current_thread().build().unwrap();
    let isr = Isr::builder().deployment_id("one").store(MemoryStore::new()).coherence(COHERENCE).build().unwrap();
    let waits: [&dyn Fn(&axum_isr::Invalidated); 3] =
        [&|report| with.block_on(report.everywhere()), &|report| run(report.everywhere()), &|report| {
            without.block_on(report.everywhere());
        }];
    for (n, wait) in waits.into_iter().enumerate() {
        let began = Instant::now();
        let report = with.block_on(isr.expire_all()).unwrap();
        wait(&report);
        assert!(began.elapsed() >= COHERENCE, "{n}: {:?}", began.elapsed());
        // It is everywhere now.
        wait(&report);
    }
}

/// I5: the task that follows is on a runtime that is at rest, and one look fails: those who get what is in memory see to
/// the next.
#[test]
fn hits_alone_find_that_the_store_is_back() {
    let cluster = Cluster::new();
    let (node, other) = (cluster.troubled(), cluster.healthy());
    cluster.faults.set(Operation::Hint, Fault::Hang);
    let idle = runtime();
    idle.block_on(node.isr.revalidate_tag("warm")).unwrap();
    runtime().block_on(async {
        seen(&node.app, "/p/a").await;
        for faults in [1, 10] {
            seen(&node.app, "/p/a").await;
            for _ in 0..faults {
                cluster.faults.set(Operation::Changes, Fault::Error(StoreErrorKind::Unavailable));
                cluster.pass(SECOND).await;
                assert_eq!(seen(&node.app, "/p/a").await.0, "HIT");
            }
            cluster.faults.clear();
            let version = cluster.source.publish();
            other.isr.expire_tag("p:a").await.unwrap();
            // A probe, and a look after it.
            for _ in 0..4 {
                cluster.pass(SECOND).await;
                seen(&node.app, "/p/a").await;
            }
            assert_eq!(seen(&node.app, "/p/a").await, ("HIT", format!("a version {version}")));
            assert!(!node.isr.stats().store_circuit_open);
        }
    });
    drop(idle);
}

/// R27: a runtime comes to rest while it sends what is unsent, and another one serves.
#[test]
fn marks_are_sent_though_whoever_began_to_is_at_rest() {
    for rests_in_the_middle in [false, true] {
        let cluster = Cluster::new();
        let node = cluster.troubled();
        let first = runtime();
        first.block_on(async {
            seen(&node.app, "/p/a").await;
            cluster.faults.set(Operation::Invalidate, Fault::Hang);
            node.isr.expire_tag("far").await.unwrap_err();
            while rests_in_the_middle && cluster.faults.calls(Operation::Invalidate) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        cluster.faults.clear();
        runtime().block_on(async {
            for _ in 0..10 {
                cluster.pass(SECOND).await;
                seen(&node.app, "/p/a").await;
            }
        });
        assert_eq!(node.isr.stats().unsent_marks, 0, "in the middle: {rests_in_the_middle}");
        drop(first);
    }
}

/// R23: or while it writes pages.
#[test]
fn pages_are_written_though_whoever_began_to_is_at_rest() {
    let cluster = Cluster::new();
    let node = cluster.troubled();
    let first = runtime();
    first.block_on(async {
        seen(&node.app, "/p/a").await;
        written(&node).await;
        cluster.faults.set(Operation::Put, Fault::Hang);
        for n in 0..12 {
            seen(&node.app, &format!("/p/{n}")).await;
        }
        let_run().await;
    });
    cluster.faults.clear();
    runtime().block_on(async {
        for n in 0..10 {
            cluster.pass(SECOND).await;
            seen(&node.app, &format!("/p/later-{n}")).await;
        }
        cluster.pass(SECOND).await;
    });
    // All but those that were being written.
    assert_eq!((node.isr.stats().waiting_writes, cluster.memory.entries()), (0, 1 + 12 + 10 - 4));
    drop(first);
}

/// The task that follows the ledger does not keep the store: its connections go with the last handle.
#[tokio::test(start_paused = true)]
async fn the_store_goes_with_the_last_handle() {
    let cluster = Cluster::new();
    let store = Arc::new(cluster.memory.clone());
    let held = Arc::downgrade(&store);
    let node = Node::with(store, &cluster.clock, &cluster.source, |builder| {
        builder.deployment_id("one").coherence(Duration::from_secs(3_600))
    });
    seen(&node.app, "/p/a").await;
    written(&node).await;
    let isr = node.isr.clone();
    drop(node);
    tokio::time::sleep(SECOND).await;
    assert!(held.upgrade().is_some(), "there is a handle");
    drop(isr);
    let_run().await;
    assert!(held.upgrade().is_none());
}
