//! After some failures in a row nobody asks any more but one probe a second.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 3;

/// Between two probes, besides up to a quarter more, so that processes do not probe together.
const PROBE: Duration = Duration::from_secs(1);

/// A circuit breaker: closed, or open until a probe has gone well.
pub(super) struct Breaker {
    /// What it is about.
    part: &'static str,
    open: AtomicBool,
    state: Mutex<State>,
    noise: RandomState,
}

#[derive(Default)]
struct State {
    failures: u32,
    probe_at: Option<Instant>,
    probes: u64,
}

impl Breaker {
    pub(super) fn new(part: &'static str) -> Self {
        Self { part, open: AtomicBool::new(false), state: Mutex::default(), noise: RandomState::new() }
    }

    pub(super) fn part(&self) -> &'static str {
        self.part
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Relaxed: a call more or less.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a failure; `true` if it is the one that opens it.
    pub(super) fn failed(&self, now: Instant) -> bool {
        self.change(|state| {
            state.failures = state.failures.saturating_add(1);
            if state.failures < FAILURES {
                return false;
            }
            state.probes = state.probes.wrapping_add(1);
            let spread = self.noise.hash_one(state.probes) % 250;
            state.probe_at = now.checked_add(PROBE + Duration::from_millis(spread));
            !self.open.swap(true, Ordering::Relaxed)
        })
    }

    /// A call went well; that says nothing about the rest if it was open.
    pub(super) fn succeeded(&self) {
        if !self.is_open() {
            self.change(|state| state.failures = 0);
        }
    }

    /// When somebody may look whether it is better; `None` while it is closed.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        if self.is_open() { self.change(|state| state.probe_at) } else { None }
    }

    /// Takes the next probe, if it is time for one.
    pub(super) fn takes_probe(&self, now: Instant) -> bool {
        self.change(|state| {
            let due = state.probe_at.is_some_and(|at| now >= at);
            if due {
                // Others wait for what comes of it.
                state.probe_at = now.checked_add(PROBE);
            }
            due
        })
    }

    /// A probe has gone well; `true` if it was open.
    pub(super) fn close(&self) -> bool {
        self.change(|state| {
            *state = State { probes: state.probes, ..State::default() };
            self.open.swap(false, Ordering::Relaxed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_when_told() {
        let (breaker, now) = (Breaker::new("reads"), Instant::now());
        assert!(!breaker.failed(now) && !breaker.failed(now));
        breaker.succeeded();
        assert!(!breaker.failed(now) && !breaker.failed(now) && !breaker.is_open());
        assert!(breaker.failed(now) && breaker.is_open());
        // Those that were on their way.
        assert!(!breaker.failed(now));
        breaker.succeeded();
        assert!(breaker.is_open());
        let wait = breaker.probe_at().map(|at| at.duration_since(now));
        assert!(wait.is_some_and(|wait| wait >= PROBE && wait < PROBE * 5 / 4), "{wait:?}");
        assert!(breaker.close() && !breaker.close() && !breaker.is_open());
        assert_eq!(breaker.probe_at(), None);
    }
}
