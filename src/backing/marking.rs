//! An invalidation on its way to the ledger.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::attached::Backing;
use super::follow::fresh_epoch;
use crate::isr::Shared;
use crate::ledger::Mark;
use crate::store::{StoreError, StoreErrorKind, Urgency};

/// Notes marks in the store's ledger; when it returns they act here. It goes on when nobody waits for it any more: what
/// was published meanwhile must not be shown as old because a webhook's client went away.
///
/// # Errors
///
/// Why the ledger does not have them: then they act here alone, and are sent when it can be reached.
pub(crate) async fn mark(shared: &Arc<Shared>, backing: &Arc<Backing>, marks: Arc<[Mark]>) -> Result<u64, StoreError> {
    let runtime = Handle::try_current().ok().filter(|runtime| shared.has_timers(runtime));
    let Some(runtime) = runtime else {
        backing.unsent.push(marks, &shared.ledger);
        return Err(StoreError::new(StoreErrorKind::Unavailable, "there is no tokio runtime with timers here"));
    };
    Backing::follow(shared, &runtime);
    let work = {
        let (shared, backing) = (Arc::clone(shared), Arc::clone(backing));
        async move { send(&shared, &backing, marks).await }
    };
    let sent = shared.tracker.spawn_on(work, &runtime).await;
    sent.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Internal, "the runtime ends")))
}

async fn send(shared: &Shared, backing: &Backing, marks: Arc<[Mark]>) -> Result<u64, StoreError> {
    let sent = backing.guard.invalidate(&marks, fresh_epoch(), Urgency::Ordinary).await;
    let result = match sent {
        Ok(stamped) => {
            shared.ledger.acknowledged(&marks, stamped.stamp);
            Ok(stamped.stamp)
        }
        Err(problem) => {
            backing.unsent.push(marks, &shared.ledger);
            Err(problem)
        }
    };
    // What is rendered from now on is to carry the new stamp; or the marks are to be sent again.
    backing.nudge();
    result
}
