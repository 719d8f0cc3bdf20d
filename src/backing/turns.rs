//! What one does at a time, whoever it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Turns at something.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    number: u64,
    begun: Option<Instant>,
    ended: Option<Instant>,
}

/// A turn, until it is dropped. It can be lost to somebody else when it takes too long: its runtime may be at rest.
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if somebody has it, for no longer than `patience`.
    pub(super) fn take(self: &Arc<Self>, patience: Duration) -> Option<Turn> {
        let now = Instant::now();
        let mut state = self.lock();
        if state.begun.is_some_and(|at| now.duration_since(at) < patience) {
            return None;
        }
        state.number = state.number.wrapping_add(1);
        state.begun = Some(now);
        Some(Turn { turns: Arc::clone(self), number: state.number })
    }

    /// Whether the last one ended that long ago, or there was none.
    pub(super) fn rested(&self, by: Duration) -> bool {
        let now = Instant::now();
        self.lock().ended.is_none_or(|at| now.duration_since(at) >= by)
    }
}

impl Turn {
    pub(super) fn is_lost(&self) -> bool {
        self.turns.lock().number != self.number
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if state.number == self.number {
            (state.begun, state.ended) = (None, Some(Instant::now()));
        }
    }
}
