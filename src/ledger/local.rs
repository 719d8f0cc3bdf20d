//! The ledger of a process that shares no store: it orders marks, and ends with the process.

use std::sync::PoisonError;

use super::mark::Mark;
use super::sync::Mutex;
use super::view::View;
use crate::clock::WallTime;
use crate::testing::rules::{Rule, holds};

/// Marks that are kept apart by default; older ones are folded.
pub(crate) const MAX_MARKS: usize = 65_536;

/// Orders marks by stamps, and shows them to this process.
pub(crate) struct Ledger {
    pub(crate) view: View,
    /// The newest stamp: microseconds since the Unix epoch, or one more than the one before if the clock did not move on.
    stamp: Mutex<u64>,
}

impl Ledger {
    pub(crate) fn new(most: usize) -> Self {
        Self { view: View::new(most), stamp: Mutex::default() }
    }

    /// Gives marks their stamp and applies them. When it returns, nothing that they hit is good any more.
    pub(crate) fn invalidate(&self, marks: &[Mark], now: WallTime) -> u64 {
        let mut newest = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = newest.saturating_add(1).max(now.0);
        *newest = stamp;
        let held = Some(newest).filter(|_| holds(Rule::OneAtATime));
        self.view.apply(marks, stamp);
        drop(held);
        stamp
    }
}
