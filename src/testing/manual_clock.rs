//! A clock that moves only when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

/// A clock that moves only when it is told to. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use axum_isr::{Isr, testing::ManualClock};
///
/// # fn main() -> Result<(), axum_isr::ConfigError> {
/// let clock = ManualClock::new();
/// let isr = Isr::builder().clock(clock.clone()).build()?;
/// clock.advance(Duration::from_secs(61));   // pages that are fresh for a minute are stale now
/// # drop(isr); Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Times>>);

/// The year 30,000: what every system can hold as a time of day.
const LATEST: Duration = Duration::from_secs(884_541_168_000);

#[derive(Debug)]
struct Times {
    wall: SystemTime,
    monotonic: Duration,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// A clock that stands at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Times {
            wall: UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            monotonic: Duration::ZERO,
        })))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time passes: the time of day and the monotonic clock go forward. Saturates.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times();
        times.wall = times.wall.checked_add(by).unwrap_or(UNIX_EPOCH + LATEST);
        times.monotonic = times.monotonic.saturating_add(by);
    }

    /// The time of day is set back; the monotonic clock is not. Saturates.
    pub fn rewind(&self, by: Duration) {
        let mut times = self.times();
        times.wall = times.wall.checked_sub(by).unwrap_or(UNIX_EPOCH);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        self.times().wall
    }

    fn monotonic(&self) -> Duration {
        self.times().monotonic
    }
}
