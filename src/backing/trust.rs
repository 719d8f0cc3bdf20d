//! How far what is known of the ledger can be relied on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::MonoTime;
use crate::memory::Standing;

/// How far what is known of the ledger can be relied on, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// There is no other ledger, or it was asked not longer ago than `coherence`.
    Verified,
    /// It has to be asked.
    Old,
    /// It was asked in vain: what is here counts until then, or that long after it was begun.
    /// `now`: when that was looked at.
    CutOff { since: MonoTime, unverified_for: Duration, now: MonoTime },
}

impl Trust {
    /// What something that began at some time is good for, if nobody can say what was marked elsewhere: what is fresh by
    /// all that is known is stale after a while.
    #[inline]
    pub(crate) fn temper(self, standing: Standing, began: MonoTime) -> Standing {
        match (standing, self) {
            (Standing::Fresh, Self::CutOff { since, unverified_for, now })
                if now >= since.max(began).after(unverified_for) =>
            {
                Standing::Stale(None)
            }
            _ => standing,
        }
    }
}

/// Between two of those who are served and see whether it is time to ask the store again.
const LOOK: Duration = Duration::from_millis(250);

/// When the ledger was asked last.
pub(super) struct Verified {
    /// Monotonic microseconds, one more, when the last round that went well was sent; zero: never.
    as_of: AtomicU64,
    /// The last round failed.
    cut_off: AtomicBool,
    /// Monotonic microseconds: when somebody who is served looks whether the store is back.
    look_at: AtomicU64,
    pub(super) coherence: Duration,
    pub(super) max_unverified: Duration,
}

impl Verified {
    pub(super) fn new(coherence: Duration, max_unverified: Duration) -> Self {
        let (as_of, cut_off, look_at) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        Self { as_of, cut_off, look_at, coherence, max_unverified }
    }

    /// Acquire: whoever sees that the ledger was asked sees what it said.
    #[inline]
    pub(super) fn at(&self, now: MonoTime) -> Trust {
        let as_of = self.as_of.load(Ordering::Acquire);
        if as_of != 0 && now < MonoTime(as_of - 1).after(self.coherence) {
            return Trust::Verified;
        }
        if self.cut_off.load(Ordering::Relaxed) {
            let since = MonoTime(as_of.saturating_sub(1));
            return Trust::CutOff { since, unverified_for: self.max_unverified, now };
        }
        Trust::Old
    }

    /// A round that was sent at a time has gone well, and what it said is in the view.
    pub(super) fn verified(&self, as_of: MonoTime) {
        self.as_of.fetch_max(as_of.0.saturating_add(1), Ordering::Release);
        self.cut_off.store(false, Ordering::Relaxed);
    }

    pub(super) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
    }

    /// Whether whoever asks is the one who looks whether it is time to ask the store: one in half of `coherence`, or in
    /// [`LOOK`].
    #[inline]
    pub(super) fn takes_look(&self, now: MonoTime) -> bool {
        let at = self.look_at.load(Ordering::Relaxed);
        let next = now.after(LOOK.min(self.coherence / 2)).0;
        now.0 >= at && self.look_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn what_is_known_is_relied_on_for_as_long_as_was_said() {
        let verified = Verified::new(Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(verified.at(MonoTime(0)), Trust::Old);
        verified.verified(MonoTime(0));
        assert_eq!(verified.at(MonoTime(SECOND - 1)), Trust::Verified);
        assert_eq!(verified.at(MonoTime(SECOND)), Trust::Old);
        verified.cut_off();
        assert_eq!(verified.at(MonoTime(SECOND - 1)), Trust::Verified);
        let (since, now, unverified_for) = (MonoTime(0), MonoTime(SECOND), Duration::from_secs(30));
        assert_eq!(verified.at(now), Trust::CutOff { since, unverified_for, now });
        // One that comes late says nothing new.
        verified.verified(MonoTime(5 * SECOND));
        verified.verified(MonoTime(2 * SECOND));
        assert_eq!(verified.at(MonoTime(5 * SECOND)), Trust::Verified);
    }

    #[test]
    fn one_looks_whether_the_store_is_back() {
        let verified = Verified::new(Duration::from_secs(1), Duration::from_secs(30));
        let looks = |now| verified.takes_look(MonoTime(now));
        assert!(looks(0) && !looks(0) && !looks(SECOND / 4 - 1) && looks(SECOND / 4) && !looks(SECOND / 4));
    }

    #[test]
    fn what_cannot_be_verified_is_stale_after_a_while() {
        let at = |now| {
            let (since, now, unverified_for) = (MonoTime(5), MonoTime(now), Duration::from_micros(10));
            Trust::CutOff { since, unverified_for, now }
        };
        let standing = |trust: Trust, standing, began| trust.temper(standing, MonoTime(began));
        assert_eq!(standing(at(14), Standing::Fresh, 0), Standing::Fresh);
        assert_eq!(standing(at(15), Standing::Fresh, 0), Standing::Stale(None));
        assert_eq!(standing(at(17), Standing::Fresh, 8), Standing::Fresh);
        assert_eq!(standing(at(18), Standing::Fresh, 8), Standing::Stale(None));
        assert_eq!(standing(at(0), Standing::Gone, 0), Standing::Gone);
        assert_eq!(standing(Trust::Verified, Standing::Fresh, 0), Standing::Fresh);
    }
}
