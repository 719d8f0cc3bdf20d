//! The task that follows the ledger, and probes a store that has failed.
//!
//! One round after the other: send what is unsent, ask what is new, and only then rely on the store again. Rounds run every
//! half of `coherence`, earlier on a hint or when a visitor needs one, and while the circuit breaker is open as its probes.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attached::{Backing, Place};
use super::trust::Trust;
use crate::isr::Shared;
use crate::ledger;
use crate::store::{StoreError, StoreErrorKind, Urgency};

/// Of a ledger that does not come to an end: what is left comes with the next round.
const MOST_ANSWERS: usize = 1_000;

/// How long after a round hints are listened to, so that a store which gives one after the other is not asked all the
/// time.
const LISTEN_AFTER: Duration = Duration::from_millis(10);

/// What the task and those who wait for it share.
pub(super) struct Following {
    /// Somebody needs a round.
    pub(super) nudge: Notify,
    /// How many have ended, well or not.
    pub(super) rounds: watch::Sender<u64>,
    pub(super) running: AtomicBool,
    pub(super) cursor: Place,
    /// There will be no more.
    pub(super) end: CancellationToken,
}

/// Random, for a ledger that begins.
pub(super) fn fresh_epoch() -> u64 {
    // Keyed by the operating system's randomness. Not zero, and small enough for every number of every engine.
    (RandomState::new().build_hasher().finish() >> 11) | 1
}

impl Backing {
    /// Sees to it that the ledger is followed.
    pub(crate) fn follow(shared: &Arc<Shared>, runtime: &Handle) {
        let Some(backing) = &shared.backing else { return };
        let following = &backing.following;
        if following.end.is_cancelled() || following.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, shared) = (Running(Arc::clone(backing)), Arc::downgrade(shared));
        runtime.spawn(async move { run(&running, shared).await });
    }

    /// Waits for a round if what is known of the ledger is old, for no longer than a read may take; not at all if the
    /// last one failed.
    pub(crate) async fn verify(shared: &Arc<Shared>) -> Trust {
        let Some(backing) = &shared.backing else { return Trust::Verified };
        let trust = || backing.trust(shared.time.monotonic());
        let runtime = Handle::try_current().ok().filter(|runtime| shared.has_timers(runtime));
        if let (Trust::Old | Trust::CutOff { .. }, Some(runtime)) = (trust(), &runtime) {
            // The task may have gone with its runtime: it has to look whether the store is back.
            Self::follow(shared, runtime);
        }
        if trust() == Trust::Old && runtime.is_some() {
            let mut rounds = backing.following.rounds.subscribe();
            backing.following.nudge.notify_one();
            let better = async { while trust() == Trust::Old && rounds.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(backing.guard.deadlines.read, better).await;
        }
        if trust() == Trust::Old {
            // The next one does not wait as well, until a round goes well.
            backing.verified.cut_off();
        }
        trust()
    }

    /// Waits for a round that begins from now on, or until `enough`.
    pub(super) async fn look(shared: &Arc<Shared>, enough: impl Fn() -> bool) {
        let Some(backing) = &shared.backing else { return };
        let mut rounds = backing.following.rounds.subscribe();
        if let Ok(runtime) = Handle::try_current() {
            Self::follow(shared, &runtime);
        }
        backing.following.nudge.notify_one();
        // The first that ends may have begun before.
        for _ in 0..2 {
            if enough() || rounds.changed().await.is_err() {
                return;
            }
        }
    }

    /// Somebody knows that there is something new.
    pub(crate) fn nudge(&self) {
        self.following.nudge.notify_one();
    }

    /// Sends what is unsent, if that goes within the limit; there are no more rounds then.
    pub(crate) async fn end(&self, shared: &Shared, limit: Duration) {
        self.following.end.cancel();
        // What failed has been noted by the guard, and what is left is counted.
        let _ = tokio::time::timeout(limit, self.flush(shared, Urgency::Probe)).await;
    }

    /// One round, now. For the task that follows, which does one after the other.
    pub(crate) async fn round(&self, shared: &Shared) -> Result<(), StoreError> {
        let result = self.try_round(shared).await;
        if result.is_err() {
            self.verified.cut_off();
        }
        self.following.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
        result
    }

    async fn try_round(&self, shared: &Shared) -> Result<(), StoreError> {
        let urgency = match self.guard.probe_at() {
            None => Urgency::Ordinary,
            Some(at) if Instant::now() >= at => Urgency::Probe,
            Some(_) => return Err(StoreError::new(StoreErrorKind::CircuitOpen, "waiting for the next probe")),
        };
        self.flush(shared, urgency).await?;
        self.poll(shared, urgency).await?;
        self.guard.close();
        Ok(())
    }

    /// Sends what is unsent, in order.
    pub(super) async fn flush(&self, shared: &Shared, urgency: Urgency) -> Result<(), StoreError> {
        while let Some(marks) = self.unsent.first() {
            let stamped = self.guard.invalidate(&marks, fresh_epoch(), urgency).await?;
            self.unsent.sent(&marks, stamped.stamp, &shared.ledger);
        }
        Ok(())
    }

    async fn poll(&self, shared: &Shared, urgency: Urgency) -> Result<(), StoreError> {
        for _ in 0..MOST_ANSWERS {
            let asked = shared.time.monotonic();
            let after = self.following.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let changes = self.guard.changes(after.as_ref(), fresh_epoch(), urgency).await?;
            let place = ledger::Place { epoch: changes.epoch, stamp: changes.stamp };
            if shared.ledger.learn(place, &changes.marks, self.on_unknown.verb()) {
                tracing::warn!(
                    target: "axum_isr",
                    store = self.guard.profile().name,
                    "the store's ledger of invalidations has begun anew: what was rendered before counts as invalidated"
                );
            }
            *self.following.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes.cursor);
            if !changes.more {
                self.verified.verified(asked);
                return Ok(());
            }
        }
        Err(StoreError::new(StoreErrorKind::Corrupt, "the ledger does not come to an end"))
    }

    /// Until the next round, if nobody needs one before.
    fn rest(&self) -> Duration {
        match self.guard.probe_at() {
            Some(at) => at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
            None => self.verified.coherence / 2,
        }
    }
}

/// The task that follows. When it ends, another may begin. It does not keep the handle.
struct Running(Arc<Backing>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.following.running.store(false, Ordering::Release);
    }
}

async fn run(Running(backing): &Running, shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        // What failed has been noted by the guard.
        let _ = backing.round(&shared).await;
        drop(shared);
        if wait(backing).await {
            return;
        }
    }
}

/// Waits until it is time for a round; `true` if there are no more.
async fn wait(backing: &Backing) -> bool {
    let mut enough = pin!(tokio::time::sleep(LISTEN_AFTER));
    let mut sleep = pin!(tokio::time::sleep(backing.rest()));
    let mut ended = pin!(backing.following.end.cancelled());
    let mut hint = pin!(backing.guard.hint());
    let mut nudge = pin!(backing.following.nudge.notified());
    let mut listens = false;
    poll_fn(|cx| {
        if ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        listens = listens || (!backing.guard.is_open() && enough.as_mut().poll(cx).is_ready());
        let hinted = listens && hint.as_mut().poll(cx).is_ready();
        if hinted || nudge.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}
