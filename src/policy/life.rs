//! Named lives, and the shorter of two.

use std::time::Duration;

use super::freshness::Revalidate;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long something may be used: a name for three durations, for example [`CacheLife::HOURS`].
///
/// | | stale | revalidate | expire |
/// |---|---|---|---|
/// | `SECONDS` | 30 s | 1 s | 1 min |
/// | `MINUTES` | 5 min | 1 min | 1 h |
/// | `HOURS` | 5 min | 1 h | 1 day |
/// | `DAYS` | 5 min | 1 day | 1 week |
/// | `WEEKS` | 5 min | 1 week | 30 days |
/// | `MAX` | 5 min | 30 days | 1 year |
/// | default | 5 min | 15 min | 1 year |
///
/// Names and numbers are those of Next.js, `cacheLife`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLife {
    stale: Duration,
    revalidate: Duration,
    expire: Duration,
}

impl CacheLife {
    /// 30 s, 1 s, 1 min.
    pub const SECONDS: Self = Self::secs(30, 1, MINUTE);
    /// 5 min, 1 min, 1 h.
    pub const MINUTES: Self = Self::secs(5 * MINUTE, MINUTE, HOUR);
    /// 5 min, 1 h, 1 day.
    pub const HOURS: Self = Self::secs(5 * MINUTE, HOUR, DAY);
    /// 5 min, 1 day, 1 week.
    pub const DAYS: Self = Self::secs(5 * MINUTE, DAY, 7 * DAY);
    /// 5 min, 1 week, 30 days.
    pub const WEEKS: Self = Self::secs(5 * MINUTE, 7 * DAY, 30 * DAY);
    /// 5 min, 30 days, 1 year.
    pub const MAX: Self = Self::secs(5 * MINUTE, 30 * DAY, 365 * DAY);

    const fn secs(stale: u64, revalidate: u64, expire: u64) -> Self {
        Self {
            stale: Duration::from_secs(stale),
            revalidate: Duration::from_secs(revalidate),
            expire: Duration::from_secs(expire),
        }
    }

    /// A life of one's own; `stale` is 5 min.
    #[must_use]
    pub const fn new(revalidate: Duration, expire: Duration) -> Self {
        Self { stale: Self::HOURS.stale, revalidate, expire }
    }

    /// The same with another time for clients.
    #[must_use]
    pub const fn with_stale(self, stale: Duration) -> Self {
        Self { stale, ..self }
    }

    /// How long a client may use what it got without asking. For applications that have such clients: the cache itself
    /// does nothing with it.
    #[must_use]
    pub const fn stale(self) -> Duration {
        self.stale
    }

    /// How long it is fresh; then it is made again while the old one is used.
    #[must_use]
    pub const fn revalidate(self) -> Duration {
        self.revalidate
    }

    /// How long it may be used at all.
    #[must_use]
    pub const fn expire(self) -> Duration {
        self.expire
    }
}

impl Default for CacheLife {
    fn default() -> Self {
        Self::secs(5 * MINUTE, 15 * MINUTE, 365 * DAY)
    }
}

/// The life of a value, or the shortest of those of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) revalidate: Revalidate,
    pub(crate) expire: Duration,
}

impl Life {
    /// Shortens nothing that has a limit.
    pub(crate) const LONGEST: Self = Self { revalidate: Revalidate::Never, expire: Duration::MAX };

    pub(crate) fn is_zero(self) -> bool {
        self.revalidate.is_zero() || self.expire.is_zero()
    }

    /// How long it is fresh: not for longer than it is kept.
    pub(crate) fn fresh(self) -> Revalidate {
        if self.expire == Self::LONGEST.expire { self.revalidate } else { self.revalidate.min(self.expire.into()) }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        Self { revalidate: self.revalidate.min(other.revalidate), expire: self.expire.min(other.expire) }
    }
}

impl From<CacheLife> for Life {
    fn from(life: CacheLife) -> Self {
        Self { revalidate: Revalidate::After(life.revalidate), expire: life.expire }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R29.
    #[test]
    fn lives_are_those_of_the_reference() {
        for (life, stale, revalidate, expire) in [
            (CacheLife::SECONDS, 30, 1, 60),
            (CacheLife::MINUTES, 300, 60, 3_600),
            (CacheLife::HOURS, 300, 3_600, 86_400),
            (CacheLife::DAYS, 300, 86_400, 604_800),
            (CacheLife::WEEKS, 300, 604_800, 2_592_000),
            (CacheLife::MAX, 300, 2_592_000, 31_536_000),
            (CacheLife::default(), 300, 900, 31_536_000),
            (CacheLife::new(Duration::from_secs(2), Duration::from_secs(3)), 300, 2, 3),
            (CacheLife::DAYS.with_stale(Duration::ZERO), 0, 86_400, 604_800),
        ] {
            let got = [life.stale(), life.revalidate(), life.expire()].map(|d| d.as_secs());
            assert_eq!(got, [stale, revalidate, expire]);
        }
    }

    #[test]
    fn the_shorter_of_two_in_each_respect() {
        let one = Life { revalidate: Revalidate::Never, expire: Duration::from_secs(5) };
        let other = Life::from(CacheLife::HOURS);
        let shorter = Life { revalidate: other.revalidate, expire: one.expire };
        assert_eq!((one.min(other), other.min(one)), (shorter, shorter));
        assert_eq!(other.min(Life::LONGEST), other);
    }
}
