//! What time it is at the service: from the `Date` of its answers, in which there are no fractions of a second.
//!
//! An answer that says `d`, of a question sent at `a` and answered at `b` by this process's clock, was made when the
//! service's clock stood between `d` and `d + 1 s`: so the two clocks differ by no less than `d - b`, and by less than
//! `d + 1 s - a`. What several answers say together is more exact: soon about as long as one answer takes.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::clock::micros;

/// Clocks of the service may differ among each other by twice this.
const SKEW: i64 = 500_000;

const SECOND: i64 = 1_000_000;

/// This process's clock may run faster or slower by one part in so many.
const DRIFT: i64 = 5_000;

/// All in microseconds, since the Unix epoch there, since `start` here.
pub(super) struct ServiceTime {
    start: Instant,
    bounds: Mutex<Option<Bounds>>,
}

/// By how much the service's clock is ahead, at least and at most, as known at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: i64,
    most: i64,
    at: i64,
}

impl Bounds {
    fn at(self, now: i64) -> Self {
        let drift = (now - self.at).max(0) / DRIFT;
        Self { least: self.least - drift, most: self.most + drift, at: now.max(self.at) }
    }

    fn learn(self, other: Self) -> Self {
        let known = self.at(other.at);
        let both = Self { least: known.least.max(other.least), most: known.most.min(other.most), at: known.at };
        if both.least <= both.most {
            return both;
        }
        // They contradict each other, and either may be wrong: it is between the two, until the next one decides.
        Self { least: known.least.min(other.least), most: known.most.max(other.most), at: known.at }
    }
}

impl ServiceTime {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), bounds: Mutex::default() }
    }

    fn here(&self, at: Instant) -> i64 {
        i64::try_from(micros(at.saturating_duration_since(self.start))).unwrap_or(i64::MAX)
    }

    /// An answer's `Date`, in seconds.
    pub(super) fn learn(&self, date: u64, sent: Instant, answered: Instant) {
        let Ok(date) = i64::try_from(date) else { return };
        let (date, sent, answered) = (date.saturating_mul(SECOND), self.here(sent), self.here(answered));
        let said = Bounds {
            least: date.saturating_sub(answered),
            most: date.saturating_add(SECOND).saturating_sub(sent),
            at: answered,
        };
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        *bounds = Some(bounds.map_or(said, |known| known.learn(said)));
    }

    /// It was not earlier there than this; `None` if no answer has had a date.
    pub(super) fn earliest(&self, at: Instant) -> Option<u64> {
        self.there(at, |bounds| bounds.least - SKEW)
    }

    /// It was not later there than this.
    pub(super) fn latest(&self, at: Instant) -> Option<u64> {
        self.there(at, |bounds| bounds.most + SKEW)
    }

    fn there(&self, at: Instant, bound: impl Fn(Bounds) -> i64) -> Option<u64> {
        let bounds = (*self.bounds.lock().unwrap_or_else(PoisonError::into_inner))?;
        let here = self.here(at);
        u64::try_from(here.saturating_add(bound(bounds.at(here)))).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How far apart a mark and a page may be that were made at the same time.
    fn width(time: &ServiceTime, at: Instant) -> Duration {
        Duration::from_micros(time.latest(at).expect("known") - time.earliest(at).expect("known"))
    }

    #[test]
    fn the_service_is_between_the_bounds_and_they_close_in() {
        let (time, start) = (ServiceTime::new(), Instant::now());
        assert_eq!(time.earliest(start), None);
        let trip = Duration::from_millis(20);
        // It is 1,000.3 s there.
        let there = |at: Instant| Duration::from_millis(1_000_300) + (at - start);
        for n in 0..40 {
            let sent = start + Duration::from_millis(170) * n;
            let made = sent + trip / 2;
            time.learn(there(made).as_secs(), sent, sent + trip);
            let now = sent + trip;
            let true_time = micros(there(now));
            assert!(time.earliest(now).expect("known") <= true_time && true_time <= time.latest(now).expect("known"));
        }
        let now = start + Duration::from_secs(7);
        assert!(width(&time, now) < Duration::from_millis(1_100), "{:?}", width(&time, now));
        // What is known gets less exact with time.
        assert!(width(&time, now + Duration::from_secs(3_600)) > Duration::from_secs(2));
    }

    #[test]
    fn one_wrong_date_does_no_lasting_harm() {
        let (time, start) = (ServiceTime::new(), Instant::now());
        time.learn(1_000, start, start);
        time.learn(2_000, start, start);
        assert!(time.earliest(start) < Some(1_001_000_000) && time.latest(start) > Some(2_000_000_000));
        time.learn(1_000, start, start);
        assert!(time.latest(start) < Some(1_003_000_000));
    }
}
