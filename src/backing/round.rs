//! One look at the ledger: what is new is asked, and what is unsent is sent, which hits whatever comes from the store
//! meanwhile. While the circuit breaker is open, rounds are its probes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::attached::Backing;
use super::follow::Following;
use super::write::remove_again;
use crate::isr::Shared;
use crate::ledger::{Mark, Place, Verb};
use crate::store::{StoreError, StoreErrorKind, Urgency};
use crate::testing::rules::{Rule, holds};

/// Of a ledger that does not come to an end: what is left comes with the next round.
const MOST_ANSWERS: usize = 1_000;

/// One round at a time, whoever makes it.
#[derive(Default)]
pub(super) struct Turns {
    number: u64,
    begun: Option<Instant>,
    ended: Option<Instant>,
}

impl Following {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make a round. It can be lost to somebody else when it takes too long: its runtime may have stopped.
pub(super) struct Turn {
    backing: Arc<Backing>,
    number: u64,
}

impl Turn {
    fn is_lost(&self) -> bool {
        self.backing.following.turns().number != self.number
    }

    pub(super) async fn round(self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        let backing = Arc::clone(&self.backing);
        let result = backing.try_round(shared, &self).await;
        if result.is_err() {
            backing.verified.cut_off();
        }
        drop(self);
        backing.following.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
        // Nobody waits for this: a store that takes no marks, or tells nothing of entries, can still tell marks of others,
        // and one that tells nothing may take marks.
        backing.send_unsent(shared).await;
        if result.is_ok() {
            backing.guard.probe_reads().await;
            remove_again(shared);
        }
        result
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.backing.following.turns();
        if turns.number == self.number {
            (turns.begun, turns.ended) = (None, Some(Instant::now()));
        }
    }
}

/// Marks were lost with a ledger.
struct Lost {
    /// On everything: in place of what was lost, for whoever knows only what the ledger says now.
    marks: Arc<[Mark]>,
    verb: Verb,
    /// Up to where the lost one was known.
    known: Place,
    /// Somebody else has marked everything since.
    is_told: bool,
}

impl Lost {
    fn hear(&mut self, marks: &[(Mark, u64)]) {
        // An older one came back with the ledger.
        let is_told =
            |(mark, stamp): &(Mark, u64)| mark.is_everything() && mark.verb() >= self.verb && *stamp > self.known.stamp;
        self.is_told = self.is_told || marks.iter().any(is_told);
    }
}

/// Random, for a ledger that begins.
pub(super) fn fresh_epoch() -> u64 {
    // Keyed by the operating system's randomness. Not zero, and small enough for every number of every engine.
    (RandomState::new().build_hasher().finish() >> 11) | 1
}

impl Backing {
    /// The turn to make a round; `None` if somebody has it.
    pub(super) fn turn(self: &Arc<Self>) -> Option<Turn> {
        let now = Instant::now();
        let patience = self.guard.deadlines.write.saturating_add(self.guard.deadlines.read);
        let mut turns = self.following.turns();
        if turns.begun.is_some_and(|at| now.duration_since(at) < patience) {
            return None;
        }
        turns.number = turns.number.wrapping_add(1);
        turns.begun = Some(now);
        Some(Turn { backing: Arc::clone(self), number: turns.number })
    }

    /// Whether it is time to ask a store that has failed.
    pub(super) fn is_due(&self) -> bool {
        let now = Instant::now();
        let rested =
            || self.following.turns().ended.is_none_or(|at| now.duration_since(at) >= self.verified.coherence / 2);
        self.guard.probe_at().map_or_else(rested, |at| now >= at)
    }

    /// One round, now, unless somebody makes one.
    pub(crate) async fn round(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), StoreError> {
        match self.turn() {
            Some(turn) => turn.round(shared).await,
            None => Ok(()),
        }
    }

    async fn try_round(&self, shared: &Shared, turn: &Turn) -> Result<(), StoreError> {
        let urgency = match self.guard.probe_at() {
            None => Urgency::Ordinary,
            Some(at) if Instant::now() >= at => Urgency::Probe,
            Some(_) => return Err(StoreError::new(StoreErrorKind::CircuitOpen, "waiting for the next probe")),
        };
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
        let _ = tokio::time::timeout(limit, self.flush(shared, Urgency::Probe)).await;
    }

    async fn send_unsent(&self, shared: &Shared) {
        if self.unsent.len() > 0
            && let Ok(_one_at_a_time) = self.following.sending.try_acquire()
            && self.flush(shared, Urgency::Ordinary).await.is_ok()
        {
            // What is rendered from now on is to carry their stamps.
            self.nudge();
        }
    }

    /// Sends what is unsent, in order.
    pub(super) async fn flush(&self, shared: &Shared, urgency: Urgency) -> Result<(), StoreError> {
        while let Some(marks) = self.unsent.first() {
            let stamped = self.guard.invalidate(&marks, fresh_epoch(), urgency).await?;
            self.unsent.sent(&marks, stamped.into(), &shared.ledger);
        }
        Ok(())
    }

    async fn poll(&self, shared: &Shared, urgency: Urgency, turn: &Turn) -> Result<(), StoreError> {
        let mut lost: Option<Lost> = None;
        for _ in 0..MOST_ANSWERS {
            let asked = shared.time.monotonic();
            let after = self.following.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let changes = self.guard.changes(after.as_ref(), fresh_epoch(), urgency).await?;
            if turn.is_lost() {
                // Somebody else knows more by now.
                return Err(StoreError::new(StoreErrorKind::TimedOut, "the round took too long"));
            }
            let place = Place { epoch: changes.epoch, stamp: changes.stamp };
            if lost.is_none() {
                lost = shared.ledger.lost_for(place).map(|known| self.lose(shared, known));
            }
            shared.ledger.learn(place, &changes.marks);
            if let Some(lost) = &mut lost {
                lost.hear(&changes.marks);
            }
            *self.following.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes.cursor);
            if !changes.more {
                if let Some(lost) = lost.filter(|lost| lost.is_told) {
                    self.unsent.withdraw(&lost.marks, &shared.ledger);
                }
                self.verified.verified(asked);
                return Ok(());
            }
        }
        Err(StoreError::new(StoreErrorKind::Corrupt, "the ledger does not come to an end"))
    }

    /// Another ledger has taken the place of the one that was known: marks are lost that might hit whatever is here, and
    /// whatever is in the store, if the ledger that is there now is an older one that has come back.
    fn lose(&self, shared: &Shared, known: Place) -> Lost {
        tracing::warn!(
            target: "axum_isr",
            store = self.guard.profile().name,
            "the ledger is another one: what was rendered before counts as invalidated"
        );
        let verb = self.on_unknown.verb();
        let marks: Arc<[Mark]> = [Mark::everything(verb)].into();
        if holds(Rule::LostHits) {
            self.unsent.push(Arc::clone(&marks), &shared.ledger);
        }
        Lost { marks, verb, known, is_told: false }
    }
}
