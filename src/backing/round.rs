//! One look at the ledger: what is new is asked, and what is unsent is sent, which hits whatever comes from the store
//! meanwhile. While the circuit breaker is open, rounds are its probes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::attached::Backing;
use super::turns::Turn;
use super::write::catch_up;
use crate::isr::Shared;
use crate::ledger::Place;
use crate::store::{Probe, StoreError, StoreErrorKind, Urgency};

/// Of a ledger that does not come to an end: what is left comes with the next round.
const MOST_ANSWERS: usize = 1_000;

/// So many that could not be removed are tried again after a round.
const REMOVALS: usize = 64;

/// So many rounds in a row may each find another ledger before there is a pause between them.
const MOST_LOST: u32 = 3;

/// Random, for a ledger that begins.
pub(crate) fn fresh_epoch() -> u64 {
    // Keyed by the operating system's randomness. Not zero, and small enough for every number of every engine.
    (RandomState::new().build_hasher().finish() >> 11) | 1
}

impl Backing {
    /// After that long a turn is lost.
    fn patience(&self) -> Duration {
        self.guard.deadlines.write.saturating_add(self.guard.deadlines.read)
    }

    /// The turn to make a round; `None` if somebody has it.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.following.turns.take(self.patience())
    }

    /// Whether it is time to ask a store that has failed.
    pub(super) fn is_due(&self) -> bool {
        match self.guard.probe() {
            Probe::None => self.following.turns.rested(self.verified.coherence / 2),
            Probe::Due => true,
            Probe::Later(_) => false,
        }
    }

    /// One round, now, unless somebody makes one.
    pub(crate) async fn round(&self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        match self.turn() {
            Some(turn) => self.round_of(turn, shared).await,
            None => Ok(()),
        }
    }

    pub(super) async fn round_of(&self, turn: Turn, shared: &Arc<Shared>) -> Result<(), StoreError> {
        let result = self.try_round(shared, &turn).await;
        if result.is_err() {
            self.verified.cut_off();
        }
        drop(turn);
        self.following.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
        // Nobody waits for this: a store that takes no marks, or tells nothing of entries, can still tell marks of others,
        // and one that tells nothing may take marks.
        self.send_unsent(shared).await;
        if result.is_ok() {
            self.guard.probe_reads().await;
            catch_up(shared, REMOVALS);
        }
        result
    }

    async fn try_round(&self, shared: &Shared, turn: &Turn) -> Result<(), StoreError> {
        let urgency = match self.guard.probe() {
            Probe::None => Urgency::Ordinary,
            Probe::Due => Urgency::Probe,
            Probe::Later(_) => return Err(StoreError::new(StoreErrorKind::CircuitOpen, "waiting for the next probe")),
        };
        if urgency == Urgency::Probe {
            self.guard.begin_probe();
        }
        self.poll(shared, urgency, turn).await?;
        if urgency == Urgency::Probe {
            self.guard.close();
        }
        Ok(())
    }

    /// Sends what is unsent, if that goes within the limit; there are no more rounds then.
    pub(crate) async fn end(&self, shared: &Shared, limit: Duration) {
        self.following.end.cancel();
        // What failed has been noted by the guard, and what is left is counted.
        let _ = tokio::time::timeout(limit, self.flush(shared, Urgency::Probe, || false)).await;
    }

    async fn send_unsent(&self, shared: &Shared) {
        if self.unsent.len() > 0
            && let Some(turn) = self.following.sending.take(self.patience())
            && self.flush(shared, Urgency::Ordinary, || turn.is_lost()).await.is_ok()
            && self.following.lost.load(Ordering::Relaxed) < MOST_LOST
        {
            // What is rendered from now on is to carry their stamps.
            self.nudge();
        }
    }

    /// Sends what is unsent, in order.
    async fn flush(&self, shared: &Shared, urgency: Urgency, is_over: impl Fn() -> bool) -> Result<(), StoreError> {
        while let Some(marks) = self.unsent.first() {
            match self.guard.invalidate(&marks, fresh_epoch(), urgency).await {
                Ok(stamped) => self.unsent.sent(&marks, stamped.into(), &shared.ledger),
                // They would be in the way of those that come after them.
                Err(problem) if problem.kind() == StoreErrorKind::TooLarge && marks.len() > 1 => {
                    self.unsent.fold(&shared.ledger);
                }
                Err(problem) => return Err(problem),
            }
            if is_over() {
                return Err(StoreError::new(StoreErrorKind::TimedOut, "somebody else sends the rest"));
            }
        }
        Ok(())
    }

    async fn poll(&self, shared: &Shared, urgency: Urgency, turn: &Turn) -> Result<(), StoreError> {
        let mut lost = false;
        for _ in 0..MOST_ANSWERS {
            let asked = shared.time.monotonic();
            let after = self.following.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let changes = self.guard.changes(after.as_ref(), fresh_epoch(), urgency).await?;
            if turn.is_lost() {
                // Somebody else knows more by now.
                return Err(StoreError::new(StoreErrorKind::TimedOut, "the round took too long"));
            }
            let place = Place { epoch: changes.epoch, stamp: changes.stamp };
            if self.unsent.learn(place, &changes.marks, self.on_unknown.verb(), &shared.ledger) {
                lost = true;
                tracing::warn!(
                    target: "axum_isr",
                    store = self.guard.profile().name,
                    "the ledger is another one: what was rendered before counts as invalidated"
                );
            }
            *self.following.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes.cursor);
            if !changes.more {
                let before = self.following.lost.load(Ordering::Relaxed);
                self.following.lost.store(if lost { before.saturating_add(1) } else { 0 }, Ordering::Relaxed);
                self.verified.verified(asked);
                return Ok(());
            }
        }
        Err(StoreError::new(StoreErrorKind::Corrupt, "the ledger does not come to an end"))
    }
}
