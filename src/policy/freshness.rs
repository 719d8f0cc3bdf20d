//! Fresh, stale, expired: half-open intervals from the time the body ended.
//!
//! ```text
//! rendered_at          + revalidate                  + expire
//!      │─────── fresh ───────│────────── stale ──────────│──── expired ────►
//!      HIT                   STALE, one regeneration     MISS
//! ```
//!
//! An entry dated further in the future than [`SKEW`] is stale: a clock that was set back must not make it immortal
//! (RFC 9111 §4.2.3 has the same worry about apparent age). [`Revalidate::Never`] does not look at the clock at all.

use std::time::Duration;

use crate::clock::{WallTime, micros};

/// How far in the future an entry may be dated and still count as new: clocks are slewed by less.
const SKEW: Duration = Duration::from_secs(5);

/// Default of `RouteConfig::expire`: one year.
pub(crate) const DEFAULT_EXPIRE: Duration = Duration::from_secs(31_536_000);

/// How long a page is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revalidate {
    /// For this long after its body ended. Zero means that the route is not cached.
    After(Duration),
    /// Until it is invalidated.
    Never,
}

impl Revalidate {
    pub(crate) fn is_zero(self) -> bool {
        self == Self::After(Duration::ZERO)
    }

    /// The stricter of two.
    pub(crate) fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (Self::Never, other) | (other, Self::Never) => other,
        }
    }
}

impl From<Duration> for Revalidate {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

/// What an entry is at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freshness {
    Fresh,
    Stale,
    Expired,
}

/// The life of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    rendered_at: WallTime,
    /// `u64::MAX`: never stale by age.
    fresh_for: u64,
    /// At least `fresh_for`.
    kept_for: u64,
}

impl Window {
    pub(crate) fn new(rendered_at: WallTime, revalidate: Revalidate, expire: Duration) -> Self {
        let (fresh_for, kept_for) = match revalidate {
            Revalidate::Never => (u64::MAX, u64::MAX),
            // Both stay below the mark for "never": `Duration::MAX` is a long time, not another meaning.
            Revalidate::After(fresh) => {
                let fresh = micros(fresh).min(u64::MAX - 1);
                (fresh, micros(expire).clamp(fresh, u64::MAX - 1))
            }
        };
        Self { rendered_at, fresh_for, kept_for }
    }

    /// The same for somebody who wants it shorter.
    pub(crate) fn within(&self, fresh: Revalidate, expire: Duration) -> Self {
        let other = Self::new(self.rendered_at, fresh, expire);
        let (fresh_for, kept_for) = (self.fresh_for.min(other.fresh_for), self.kept_for.min(other.kept_for));
        Self { fresh_for, kept_for, ..*self }
    }

    /// As three numbers of microseconds: when it was rendered, how long it is fresh, how long it is kept.
    pub(crate) fn to_micros(self) -> [u64; 3] {
        [self.rendered_at.0, self.fresh_for, self.kept_for]
    }

    /// What [`to_micros`](Self::to_micros) wrote; `None` if it cannot have.
    pub(crate) fn from_micros([rendered_at, fresh_for, kept_for]: [u64; 3]) -> Option<Self> {
        let never = fresh_for == u64::MAX && kept_for == u64::MAX;
        let limited = fresh_for <= kept_for && kept_for < u64::MAX;
        (never || limited).then_some(Self { rendered_at: WallTime(rendered_at), fresh_for, kept_for })
    }

    /// From when on it may not be used.
    pub(crate) fn expires_at(&self) -> WallTime {
        WallTime(self.rendered_at.0.saturating_add(self.kept_for))
    }

    #[inline]
    pub(crate) fn at(&self, now: WallTime) -> Freshness {
        if self.fresh_for == u64::MAX {
            return Freshness::Fresh;
        }
        match now.0.checked_sub(self.rendered_at.0) {
            Some(age) if age < self.fresh_for => Freshness::Fresh,
            Some(age) if age < self.kept_for => Freshness::Stale,
            Some(_) => Freshness::Expired,
            None if self.rendered_at.0 - now.0 <= micros(SKEW) => Freshness::Fresh,
            None => Freshness::Stale,
        }
    }

    /// RFC 9111 §5.1: whole seconds since the response was made, never negative.
    #[inline]
    pub(crate) fn age_secs(&self, now: WallTime) -> u64 {
        now.0.saturating_sub(self.rendered_at.0) / 1_000_000
    }

    /// The same in milliseconds.
    #[inline]
    pub(crate) fn age_millis(&self, now: WallTime) -> u64 {
        now.0.saturating_sub(self.rendered_at.0) / 1_000
    }

    /// Seconds of freshness in all; `None` for `Revalidate::Never`.
    pub(crate) fn fresh_secs(&self) -> Option<u64> {
        (self.fresh_for != u64::MAX).then_some(self.fresh_for / 1_000_000)
    }

    /// Seconds from the end of freshness to the end of the entry.
    pub(crate) fn stale_secs(&self) -> u64 {
        (self.kept_for - self.fresh_for) / 1_000_000
    }

    /// Seconds until the entry turns stale, or since it did (RFC 9211 §2.4).
    pub(crate) fn ttl_secs(&self, now: WallTime) -> i64 {
        let age = now.0.saturating_sub(self.rendered_at.0);
        match self.fresh_for.checked_sub(age) {
            Some(left) => i64::try_from(left / 1_000_000).unwrap_or(i64::MAX),
            None => -i64::try_from((age - self.fresh_for) / 1_000_000).unwrap_or(i64::MAX),
        }
    }

    /// How long it is fresh; `None`: until it is invalidated.
    pub(crate) fn fresh_for(&self) -> Option<Duration> {
        (self.fresh_for != u64::MAX).then(|| Duration::from_micros(self.fresh_for))
    }

    /// How long it may be served at all; `None`: until it is invalidated.
    pub(crate) fn kept_for(&self) -> Option<Duration> {
        (self.kept_for != u64::MAX).then(|| Duration::from_micros(self.kept_for))
    }

    /// Seconds until the entry expires.
    pub(crate) fn rest_secs(&self, now: WallTime) -> u64 {
        let age = now.0.saturating_sub(self.rendered_at.0);
        self.kept_for.saturating_sub(age) / 1_000_000
    }
}

/// How long to wait after the `failures`-th failed regeneration in a row: 1 s, doubling to 60 s, and up to
/// a quarter more by `noise` (less, at 60 s), so that pages that failed together are not tried together.
pub(crate) fn back_off(failures: u32, noise: u64) -> Duration {
    const FIRST: u64 = 1_000_000;
    const LONGEST: u64 = 60_000_000;
    let base = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let spread = noise % (base / 4);
    Duration::from_micros(if base == LONGEST { base - spread } else { base + spread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn window(fresh: u64, expire: u64) -> Window {
        Window::new(
            WallTime(1_000 * SECOND),
            Revalidate::After(Duration::from_micros(fresh)),
            Duration::from_micros(expire),
        )
    }

    /// CASES 116: half-open intervals, one rule everywhere.
    #[test]
    fn intervals_are_half_open() {
        let w = window(10 * SECOND, 20 * SECOND);
        for (offset, expected) in [
            (0, Freshness::Fresh),
            (10 * SECOND - 1, Freshness::Fresh),
            (10 * SECOND, Freshness::Stale),
            (20 * SECOND - 1, Freshness::Stale),
            (20 * SECOND, Freshness::Expired),
        ] {
            assert_eq!(w.at(WallTime(1_000 * SECOND + offset)), expected, "{offset}");
        }
    }

    /// CASES 112: an entry from the future is stale beyond a small skew, its age never negative.
    #[test]
    fn an_entry_from_the_future_is_not_immortal() {
        let w = window(10 * SECOND, 20 * SECOND);
        assert_eq!(w.at(WallTime(995 * SECOND)), Freshness::Fresh);
        assert_eq!(w.at(WallTime(994 * SECOND)), Freshness::Stale);
        assert_eq!(w.at(WallTime(0)), Freshness::Stale);
        assert_eq!(w.age_secs(WallTime(0)), 0);
    }

    /// R10: `Never` does not look at the clock; CASES 114: absurd values saturate.
    #[test]
    fn never_and_the_longest_duration_are_not_the_same() {
        let never = Window::new(WallTime(5), Revalidate::Never, DEFAULT_EXPIRE);
        assert_eq!(never.at(WallTime(u64::MAX)), Freshness::Fresh);
        assert_eq!(never.at(WallTime(0)), Freshness::Fresh);
        assert_eq!(never.fresh_secs(), None);

        let long = Window::new(WallTime(5), Revalidate::After(Duration::MAX), Duration::MAX);
        assert!(long.fresh_secs().is_some());
        assert_eq!(long.stale_secs(), 0);
        assert_eq!(long.at(WallTime(u64::MAX - 1)), Freshness::Fresh);
    }

    #[test]
    fn back_off_doubles_to_a_minute_and_never_leaves_its_bounds() {
        let waits: Vec<_> = (1..9).map(|n| back_off(n, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        for failures in [0, 1, 7, u32::MAX] {
            for noise in [0, 1, u64::MAX] {
                let wait = back_off(failures, noise);
                assert!((1..=60).contains(&wait.as_secs()), "{failures} {noise} {wait:?}");
            }
        }
    }

    proptest! {
        /// Freshness is monotonic in `now`, and an age never exceeds what was advertised while the entry is fresh.
        #[test]
        fn freshness_only_ever_falls(
            fresh in any::<u64>(), expire in any::<u64>(), a in any::<u64>(), b in any::<u64>(), at in any::<u64>(),
        ) {
            let w = Window::new(
                WallTime(at),
                Revalidate::After(Duration::from_micros(fresh)),
                Duration::from_micros(expire),
            );
            let (early, late) = (a.min(b).max(at), a.max(b).max(at));
            prop_assert!(w.at(WallTime(early)) <= w.at(WallTime(late)));
            if w.at(WallTime(late)) == Freshness::Fresh {
                prop_assert!(Some(w.age_secs(WallTime(late))) <= w.fresh_secs());
            }
        }
    }
}
