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
use crate::telemetry::{self, Events};

/// Whether a call is made although the breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    Ordinary,
    /// To see whether the store is back.
    Probe,
}

/// Whether somebody may ask the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Everybody.
    None,
    /// One, as a probe.
    Due,
    /// One, after that time.
    Later(Duration),
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
    events: Arc<Events>,
    /// Apart, because one may work without the others: a store whose reads hang is not asked for entries though its
    /// ledger answers.
    ledger: Breaker,
    marks: Breaker,
    reads: Breaker,
    writes: Breaker,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
enum About {
    Ledger(Urgency),
    Reading(Urgency),
    /// When it is time for a probe, the next call is that.
    Marking(Urgency),
    /// As of marks.
    Writing,
}

impl Guard {
    pub(crate) fn new(store: Arc<dyn Store>, deadlines: Deadlines, events: Arc<Events>) -> Self {
        Self {
            profile: store.profile(),
            store,
            deadlines,
            events,
            ledger: Breaker::new("ledger"),
            marks: Breaker::new("marks"),
            reads: Breaker::new("reads"),
            writes: Breaker::new("writes"),
        }
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether requests are not let through.
    pub(crate) fn is_open(&self) -> bool {
        self.ledger.is_open() || self.reads.is_open()
    }

    /// Whether what is written now is let through, as a probe or otherwise.
    pub(crate) fn takes_writes(&self) -> bool {
        !self.is_open() && self.writes.probe_at().is_none_or(|at| Instant::now() >= at)
    }

    /// Looks whether entries can be read again, if they could not and it is time to: so that no visitor has to.
    pub(crate) async fn probe_reads(&self) {
        if self.reads.is_open() && self.reads.takes_probe(Instant::now()) {
            let key = StoreKey::of("a probe");
            // What comes of it is noted.
            let _ = self
                .call("probe", self.deadlines.read, About::Reading(Urgency::Probe), async {
                    self.store.get(&key).await
                })
                .await;
        }
    }

    /// Whether the ledger is asked by probes alone.
    pub(crate) fn probe(&self) -> Probe {
        match self.ledger.probe_at().map(|at| at.saturating_duration_since(Instant::now())) {
            None => Probe::None,
            Some(Duration::ZERO) => Probe::Due,
            Some(time) => Probe::Later(time),
        }
    }

    /// One of the ledger begins: others wait for what comes of it.
    pub(crate) fn begin_probe(&self) {
        self.ledger.takes_probe(Instant::now());
    }

    /// A probe of the ledger has gone well.
    pub(crate) fn close(&self) {
        self.closed(&self.ledger);
    }

    fn closed(&self, breaker: &Breaker) {
        if breaker.close() {
            telemetry::store_turned(&self.events, self.profile.name, breaker.part(), None);
        }
    }

    /// The breaker of a call, and whether it is a probe.
    fn admit(&self, about: About) -> Result<(&Breaker, bool), StoreError> {
        let is_probe = |urgency| urgency == Urgency::Probe;
        let is_due = |breaker: &Breaker| breaker.is_open() && breaker.takes_probe(Instant::now());
        // Unless the ledger can be read nothing that is stored can be judged, and where nothing can be read nothing is
        // written.
        let (breaker, reachable) = match about {
            About::Ledger(_) => (&self.ledger, true),
            About::Marking(_) => (&self.marks, true),
            About::Reading(_) => (&self.reads, !self.ledger.is_open()),
            About::Writing => (&self.writes, !self.is_open()),
        };
        let probe = match about {
            About::Ledger(urgency) | About::Reading(urgency) => is_probe(urgency),
            About::Marking(urgency) => is_probe(urgency) || is_due(breaker),
            About::Writing => reachable && is_due(breaker),
        };
        if reachable && (probe || !breaker.is_open()) {
            return Ok((breaker, probe));
        }
        Err(StoreError::new(StoreErrorKind::CircuitOpen, "waiting for the next probe"))
    }

    async fn call<T>(
        &self,
        op: &'static str,
        limit: Duration,
        about: About,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let (breaker, probe) = self.admit(about)?;
        let began = Instant::now();
        let result = match tokio::time::timeout(limit, contained(call)).await {
            Err(_) => Err(StoreError::new(StoreErrorKind::TimedOut, format!("no answer within {limit:?}"))),
            Ok(Err(panic)) => {
                Err(StoreError::new(StoreErrorKind::Internal, format!("panicked with {:?}", panic.message())))
            }
            Ok(Ok(result)) => result,
        };
        telemetry::store_called(self.profile.name, op, began.elapsed(), result.as_ref().err());
        match &result {
            // The ledger's is closed when all of a round has gone well.
            Ok(_) if probe && !matches!(about, About::Ledger(_)) => self.closed(breaker),
            Ok(_) => breaker.succeeded(),
            // What it says of one entry is nothing about the rest.
            Err(problem) if matches!(problem.kind(), StoreErrorKind::Full | StoreErrorKind::TooLarge) => {}
            Err(problem) => self.failed(breaker, problem),
        }
        result
    }

    fn failed(&self, breaker: &Breaker, problem: &StoreError) {
        let (store, kind) = (self.profile.name, problem.kind().as_str());
        if breaker.failed(Instant::now()) {
            telemetry::store_turned(&self.events, store, breaker.part(), Some(problem));
        } else {
            tracing::debug!(target: "axum_isr", store, kind, problem = %problem.chain().escape_debug(), "the store failed");
        }
    }

    /// `limit`: at most as long as for a read.
    pub(crate) async fn get(&self, key: &StoreKey, limit: Duration) -> Result<Option<Bytes>, StoreError> {
        let limit = limit.min(self.deadlines.read);
        self.call("get", limit, About::Reading(Urgency::Ordinary), async { self.store.get(key).await }).await
    }

    pub(crate) async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.call("put", self.deadlines.write, About::Writing, async { self.store.put(item).await }).await
    }

    pub(crate) async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        self.call("remove", self.deadlines.write, About::Writing, async { self.store.remove(key, upto).await }).await
    }

    pub(crate) async fn invalidate(&self, marks: &[Mark], fresh: u64, urgency: Urgency) -> Result<Stamped, StoreError> {
        let invalidate = async { self.store.invalidate(marks, fresh).await };
        self.call("invalidate", self.deadlines.write, About::Marking(urgency), invalidate).await
    }

    pub(crate) async fn changes(
        &self,
        after: Option<&Cursor>,
        fresh: u64,
        urgency: Urgency,
    ) -> Result<Changes, StoreError> {
        let changes = async { self.store.changes(after, fresh).await };
        self.call("changes", self.deadlines.read, About::Ledger(urgency), changes).await
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
        self.call("lease", limit, About::Reading(Urgency::Ordinary), async { self.store.lease(claim).await }).await
    }

    pub(crate) async fn release(
        &self,
        key: &StoreKey,
        token: u64,
        note: Note,
        keep: Duration,
    ) -> Result<(), StoreError> {
        let release = async { self.store.release(key, token, note, keep).await };
        self.call("release", self.deadlines.write, About::Writing, release).await
    }
}
