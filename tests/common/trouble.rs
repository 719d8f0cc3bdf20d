//! A cluster whose store can be made to misbehave, and time that passes for everybody.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::time::Duration;

use axum::Router;
use axum_isr::IsrBuilder;
use axum_isr::testing::{Faults, FaultyStore, ManualClock, MemoryStore};
use tokio::time::Instant;

use crate::common::{let_run, seen};
use crate::nodes::{Node, Source};

pub const SECOND: Duration = Duration::from_secs(1);

/// The most that a request waits for a store before its page is rendered.
pub const FIRST_WAIT: Duration = Duration::from_millis(150);

/// Tokio's timers have milliseconds and fire after them.
pub const GRAIN: Duration = Duration::from_millis(3);

/// A store that all nodes share; some of them through faults.
pub struct Cluster {
    pub clock: ManualClock,
    pub memory: MemoryStore,
    pub faulty: FaultyStore<MemoryStore>,
    pub faults: Faults,
    pub source: Source,
}

impl Cluster {
    pub fn new() -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::new().clock(clock.clone());
        let (store, faults) = FaultyStore::new(memory.clone());
        Self { clock, memory, faulty: store, faults, source: Source::default() }
    }

    /// One whose way to the store is as it should be.
    pub fn healthy(&self) -> Node {
        self.healthy_with(|builder| builder)
    }

    pub fn healthy_with(&self, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Node {
        Node::with(self.memory.clone(), &self.clock, &self.source, |builder| set(builder.deployment_id("one")))
    }

    /// One that has faults.
    pub fn troubled(&self) -> Node {
        self.troubled_with(|builder| builder)
    }

    pub fn troubled_with(&self, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Node {
        Node::with(self.faulty.clone(), &self.clock, &self.source, |builder| set(builder.deployment_id("one")))
    }

    /// One that has faults, and knows the ledger: it has `/p/warm`, and so has the store.
    pub async fn warmed(&self) -> Node {
        let node = self.troubled();
        seen(&node.app, "/p/warm").await;
        written(&node).await;
        let_run().await;
        node
    }

    /// Time passes, by the clock of the nodes and of their store, and by tokio's.
    pub async fn pass(&self, by: Duration) {
        let end = Instant::now() + by;
        while Instant::now() < end {
            let step = Duration::from_millis(50).min(end - Instant::now());
            self.clock.advance(step);
            tokio::time::sleep(step).await;
        }
    }

    /// Until the store is relied on again.
    pub async fn recover(&self, node: &Node) {
        for _ in 0..80 {
            self.pass(Duration::from_millis(50)).await;
            let stats = node.isr.stats();
            if !stats.store_circuit_open && stats.unsent_marks == 0 {
                // And a round that began since.
                return self.pass(SECOND).await;
            }
        }
        panic!("the store was not found to be back: {:?}", node.isr.stats());
    }
}

/// The state, the body, and how long it took by tokio's clock.
pub async fn timed(app: &Router, path: &str) -> (&'static str, String, Duration) {
    let began = Instant::now();
    let (state, text) = seen(app, path).await;
    (state, text, began.elapsed())
}

/// Waits until no render is in the air, while tokio's time passes.
pub async fn rested(node: &Node) {
    for _ in 0..2_000 {
        if node.isr.stats().flights == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a render did not end: {:?}", node.isr.stats());
}

/// Waits until the store has everything, or will not have it, while tokio's time passes.
pub async fn written(node: &Node) {
    rested(node).await;
    for _ in 0..2_000 {
        let stats = node.isr.stats();
        if stats.waiting_writes == 0 && stats.store_writes + stats.store_unwritten >= stats.stored {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a page was not written: {:?}", node.isr.stats());
}
