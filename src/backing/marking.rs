//! An invalidation on its way to the ledger.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::attached::Backing;
use super::round::fresh_epoch;
use crate::isr::Shared;
use crate::ledger::{Mark, Place};
use crate::store::{StoreError, StoreErrorKind, Urgency};

/// Notes marks in the store's ledger; when it returns they act here. It goes on when nobody waits for it any more: what
/// was published meanwhile must not be shown as old because a webhook's client went away.
///
/// # Errors
///
/// Why the ledger does not have them: then they act here alone, and are sent when it can be reached.
pub(crate) async fn mark(
    shared: &Arc<Shared>,
    backing: &Arc<Backing>,
    marks: Arc<[Mark]>,
) -> Result<Place, StoreError> {
    let runtime = Handle::try_current().ok().filter(|runtime| shared.has_timers(runtime));
    let Some(runtime) = runtime else {
        backing.unsent.push(marks, &shared.ledger);
        return Err(StoreError::new(StoreErrorKind::Unavailable, "there is no tokio runtime with timers here"));
    };
    Backing::follow(shared, &runtime);
    let underway = Underway { shared: Arc::clone(shared), backing: Arc::clone(backing), marks };
    let sent = shared.tracker.spawn_on(underway.send(), &runtime).await;
    sent.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Internal, "the runtime ends")))
}

/// Marks on their way. Dropped before the ledger has said that it has them (it failed, time is over, the runtime ends),
/// they act here and are to be sent again.
struct Underway {
    shared: Arc<Shared>,
    backing: Arc<Backing>,
    /// Empty when the ledger has them.
    marks: Arc<[Mark]>,
}

impl Underway {
    async fn send(mut self) -> Result<Place, StoreError> {
        let (shared, backing) = (Arc::clone(&self.shared), Arc::clone(&self.backing));
        let result = self.try_send().await;
        drop(self);
        match &result {
            // What is rendered from now on carries the new stamp: else it would seem to be older than the marks, and
            // nobody else could use it.
            Ok(at) => {
                let known = || shared.ledger.view.since().place.is_some_and(|known| known.is_at_least(*at));
                Backing::look(&shared, backing.guard.deadlines.read, known).await;
            }
            // They are to be sent again.
            Err(_) => backing.nudge(),
        }
        result
    }

    async fn try_send(&mut self) -> Result<Place, StoreError> {
        let (stop, limit) = (&self.shared.stop, self.backing.guard.deadlines.read);
        let call = async {
            // A ledger that has lost its end is seen to have done so before a new mark hides it.
            Backing::look(&self.shared, limit, || false).await;
            self.backing.guard.invalidate(&self.marks, fresh_epoch(), Urgency::Ordinary).await
        };
        // After a shutdown whoever calls has time.
        let answer = if stop.is_cancelled() { Some(call.await) } else { stop.run_until_cancelled(call).await };
        let gave_up = || Err(StoreError::new(StoreErrorKind::TimedOut, "no answer before the shutdown's limit"));
        let stamped = answer.unwrap_or_else(gave_up)?;
        let at = Place::from(stamped);
        self.shared.ledger.acknowledged(&self.marks, at);
        self.marks = Arc::default();
        Ok(at)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.marks.is_empty() {
            self.backing.unsent.push(std::mem::take(&mut self.marks), &self.shared.ledger);
        }
    }
}
