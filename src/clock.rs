//! The two clocks of a cache.
//!
//! The *wall* clock dates entries: it may jump in either direction, so it is only ever compared through
//! [`policy::freshness`](crate::policy), which bounds what a jump can do. The *monotonic* clock measures waits inside
//! this process: back-off after a failed regeneration, how long a pass is remembered. The two types keep them apart.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time, for tests that must not sleep ([`testing::ManualClock`](crate::testing::ManualClock)).
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may be adjusted, also backwards.
    fn wall(&self) -> SystemTime;

    /// Time since an arbitrary origin. It never goes backwards.
    fn monotonic(&self) -> Duration;
}

/// Microseconds since the Unix epoch, saturating (the year 586,000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WallTime(pub(crate) u64);

/// Microseconds since the origin of the process's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MonoTime(pub(crate) u64);

impl WallTime {
    /// How long it is until then; nothing if it is past.
    pub(crate) fn until(self, then: Self) -> Duration {
        Duration::from_micros(then.0.saturating_sub(self.0))
    }
}

impl MonoTime {
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(micros(wait)))
    }
}

/// A duration in whole microseconds, saturating.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What the crate asks for the time. The system's clock is not behind a `dyn`: a HIT reads it.
#[derive(Clone)]
pub(crate) enum Time {
    System(Instant),
    Custom(Arc<dyn Clock>),
}

impl Time {
    pub(crate) fn system() -> Self {
        Self::System(Instant::now())
    }

    #[inline]
    pub(crate) fn wall(&self) -> WallTime {
        let now = match self {
            Self::System(_) => SystemTime::now(),
            Self::Custom(clock) => clock.wall(),
        };
        // A clock before 1970 reads as 1970: entries dated later count as dated in the future, which is stale.
        WallTime(now.duration_since(UNIX_EPOCH).map_or(0, |since| {
            since.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(since.subsec_micros()))
        }))
    }

    pub(crate) fn monotonic(&self) -> MonoTime {
        MonoTime(micros(match self {
            Self::System(origin) => origin.elapsed(),
            Self::Custom(clock) => clock.monotonic(),
        }))
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System(_) => "Time::System",
            Self::Custom(_) => "Time::Custom",
        })
    }
}
