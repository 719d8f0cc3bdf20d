//! The store's methods, guarded.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::breaker::Breaker;
use crate::contained::contained;
use crate::ledger::Mark;
use crate::store::{
    Changes, Claim, Cursor, Item, Lease, Note, Profile, Put, Stamped, Store, StoreError, StoreErrorKind, StoreKey,
    Version,
};

/// Whether a call is made although the breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    Ordinary,
    /// To see whether the store is back.
    Probe,
}

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) read: Duration,
    pub(crate) begin: Duration,
    pub(crate) write: Duration,
}

/// A store with deadlines and a circuit breaker. Every method needs a runtime with timers.
pub(crate) struct Guard {
    store: Arc<dyn Store>,
    profile: Profile,
    pub(crate) deadlines: Deadlines,
    breaker: Breaker,
}

impl Guard {
    pub(crate) fn new(store: Arc<dyn Store>, deadlines: Deadlines) -> Self {
        Self { profile: store.profile(), store, deadlines, breaker: Breaker::default() }
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    pub(crate) fn probe_at(&self) -> Option<Instant> {
        self.breaker.probe_at()
    }

    /// A probe has gone well.
    pub(crate) fn close(&self) {
        if self.breaker.close() {
            tracing::info!(target: "axum_isr", store = self.profile.name, "the store is back");
        }
    }

    async fn call<T>(
        &self,
        limit: Duration,
        urgency: Urgency,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.is_open() && urgency == Urgency::Ordinary {
            return Err(StoreError::new(StoreErrorKind::CircuitOpen, "waiting for the next probe"));
        }
        let result = match tokio::time::timeout(limit, contained(call)).await {
            Err(_) => Err(StoreError::new(StoreErrorKind::TimedOut, format!("no answer within {limit:?}"))),
            Ok(Err(panic)) => {
                Err(StoreError::new(StoreErrorKind::Internal, format!("panicked with {:?}", panic.message())))
            }
            Ok(Ok(result)) => result,
        };
        match &result {
            Ok(_) => self.breaker.succeeded(),
            // What it says of one entry is nothing about the rest.
            Err(problem) if matches!(problem.kind(), StoreErrorKind::Full | StoreErrorKind::TooLarge) => {}
            Err(problem) => self.failed(problem),
        }
        result
    }

    fn failed(&self, problem: &StoreError) {
        let (store, kind) = (self.profile.name, problem.kind().as_str());
        if self.breaker.failed(Instant::now()) {
            let problem = problem.chain();
            tracing::warn!(target: "axum_isr", store, kind, problem = %problem.escape_debug(), "the store is not asked for a while");
        } else {
            tracing::debug!(target: "axum_isr", store, kind, problem = %problem.chain().escape_debug(), "the store failed");
        }
    }

    /// `limit`: at most as long as for a read.
    pub(crate) async fn get(&self, key: &StoreKey, limit: Duration) -> Result<Option<Bytes>, StoreError> {
        let limit = limit.min(self.deadlines.read);
        self.call(limit, Urgency::Ordinary, async { self.store.get(key).await }).await
    }

    pub(crate) async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.call(self.deadlines.write, Urgency::Ordinary, async { self.store.put(item).await }).await
    }

    pub(crate) async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        self.call(self.deadlines.write, Urgency::Ordinary, async { self.store.remove(key, upto).await }).await
    }

    pub(crate) async fn invalidate(&self, marks: &[Mark], fresh: u64, urgency: Urgency) -> Result<Stamped, StoreError> {
        self.call(self.deadlines.write, urgency, async { self.store.invalidate(marks, fresh).await }).await
    }

    pub(crate) async fn changes(
        &self,
        after: Option<&Cursor>,
        fresh: u64,
        urgency: Urgency,
    ) -> Result<Changes, StoreError> {
        self.call(self.deadlines.read, urgency, async { self.store.changes(after, fresh).await }).await
    }

    /// Only a hint: when it panics there is none.
    pub(crate) async fn hint(&self) {
        if contained(async { self.store.hint().await }).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// `limit`: at most as long as for a read.
    pub(crate) async fn lease(&self, claim: &Claim, limit: Duration) -> Result<Lease, StoreError> {
        let limit = limit.min(self.deadlines.read);
        self.call(limit, Urgency::Ordinary, async { self.store.lease(claim).await }).await
    }

    pub(crate) async fn release(
        &self,
        key: &StoreKey,
        token: u64,
        note: Note,
        keep: Duration,
    ) -> Result<(), StoreError> {
        let release = async { self.store.release(key, token, note, keep).await };
        self.call(self.deadlines.write, Urgency::Ordinary, release).await
    }
}
