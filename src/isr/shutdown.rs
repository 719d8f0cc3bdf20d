//! The end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::handle::Isr;
use crate::backing;
use crate::telemetry;

/// How long a task that was told to stop gets to do so.
const GRACE: Duration = Duration::from_millis(100);

/// What a shutdown waited for, and what it did not wait for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks (renders, computations of data, regenerations on demand) that were running when it began and ended in time.
    pub finished: usize,
    /// Tasks that were given up when the limit was reached.
    pub abandoned: usize,
    /// Entries that the store did not get, or that could not be removed from it.
    pub unwritten: usize,
    /// Marks that the store's ledger did not get: other processes do not know of them.
    pub unsent_marks: usize,
}

impl Isr {
    /// Ends the background work: from now on requests bypass the cache; renders that run are waited for, up to `limit`,
    /// and then given up. Visitors who wait for one of those go to the handler with their own request.
    ///
    /// What waits for the store is written to it, and the marks that could not be sent to its ledger are sent once more.
    ///
    /// Call it after the server has stopped taking requests. The memory tier is emptied: nothing is served from it any
    /// more, and data is computed for whoever asks. The services that were held for regenerations on demand are let go:
    /// without a shutdown that of a layer that stands inside of itself is kept as long as the handle. May be called again.
    pub async fn shutdown(&self, limit: Duration) -> ShutdownReport {
        let shared = &self.shared;
        shared.closing.store(true, Ordering::Relaxed);
        let lost = || usize::try_from(shared.counters.store_unwritten.get()).unwrap_or(usize::MAX);
        let lost_before = lost();
        backing::catch_up(shared, usize::MAX);
        shared.tracker.close();
        let running = shared.tracker.len();
        let began = tokio::time::Instant::now();
        let in_time = tokio::time::timeout(limit, shared.tracker.wait()).await.is_ok();
        let abandoned = if in_time { 0 } else { shared.tracker.len() };
        if !in_time {
            shared.stop.cancel();
            // A handler that blocks its thread is not waited for.
            let _ = tokio::time::timeout(GRACE, shared.tracker.wait()).await;
        }
        let (unwritten, unsent_marks) = match &shared.backing {
            Some(backing) => {
                backing.end(shared, limit.saturating_sub(began.elapsed()).max(GRACE)).await;
                let waiting = backing.writes.len() + backing.writes.removals();
                (waiting + lost().saturating_sub(lost_before), backing.unsent_marks())
            }
            None => (0, 0),
        };
        shared.memory.clear();
        telemetry::holds(shared);
        shared.renderers.clear();
        let finished = running.saturating_sub(abandoned);
        tracing::info!(target: "axum_isr", finished, abandoned, unwritten, unsent_marks, "shut down");
        if unsent_marks > 0 {
            tracing::error!(target: "axum_isr", unsent_marks, "the store was not told of invalidations");
        }
        ShutdownReport { finished, abandoned, unwritten, unsent_marks }
    }
}
