//! How often the service may be asked: a bucket of calls, and the pauses that it asks for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Of the REST API: 1,200 calls in five minutes for one token, else nothing for five minutes. So many at once, and then
/// one in a third of a second, are never more.
const BURST: u32 = 300;
const EVERY: Duration = Duration::from_nanos(1_000_000_000 / 3);

/// A service that asks for more is asked again after this time all the same.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Whether calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// As the REST API does.
    Calls,
    None,
}

/// Why there is no call now, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) time: Duration,
    pub(super) why: &'static str,
}

/// Shared by all calls of one store.
pub(super) struct Pace {
    counting: Counting,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the bucket is full again.
    full_at: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(counting: Counting) -> Self {
        Self { counting, state: Mutex::default() }
    }

    /// Takes a call, or says how long to wait for one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Wait> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Err(Wait { time: until - now, why: "the service asked for a pause" });
        }
        if self.counting == Counting::None {
            return Ok(());
        }
        let full_at = state.full_at.map_or(now, |at| at.max(now)) + EVERY;
        let over = full_at.saturating_duration_since(now).saturating_sub(EVERY * BURST);
        if !over.is_zero() {
            return Err(Wait { time: over, why: "the API takes 1,200 calls in five minutes" });
        }
        state.full_at = Some(full_at);
        Ok(())
    }

    /// How long to wait for a call, which is not taken; `None` if there is one.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = state.paused_until.map(|until| until.saturating_duration_since(now));
        let empty = state.full_at.map(|at| (at + EVERY).saturating_duration_since(now).saturating_sub(EVERY * BURST));
        paused.max(empty).filter(|time| !time.is_zero())
    }

    /// The service has asked for a pause, of all calls.
    pub(super) fn pause(&self, time: Duration, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now + time.min(LONGEST_PAUSE);
        state.paused_until = state.paused_until.max(Some(until));
    }
}

/// What a `retry-after` in seconds says.
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes what it gets in five minutes, whenever they begin.
    #[test]
    fn there_are_never_more_than_1200_calls_in_five_minutes() {
        let (pace, start) = (Pace::new(Counting::Calls), Instant::now());
        let mut taken = Vec::new();
        for tenth in 0..9_000 {
            let now = start + SECOND / 10 * tenth;
            while pace.take(now).is_ok() {
                taken.push(now);
            }
        }
        let most = taken
            .iter()
            .enumerate()
            .map(|(n, at)| taken[n..].iter().take_while(|later| **later < *at + 300 * SECOND).count());
        let most = most.max().expect("there are calls");
        assert!((1_100..=1_200).contains(&most), "{most}");
        let wait = pace.take(start + 900 * SECOND - SECOND / 10).expect_err("it is empty");
        assert!(wait.time <= SECOND, "{wait:?}");
    }

    #[test]
    fn a_pause_is_for_all_calls_and_ends() {
        let (pace, start) = (Pace::new(Counting::None), Instant::now());
        pace.pause(10 * SECOND, start);
        pace.pause(2 * SECOND, start);
        assert_eq!(pace.take(start + 4 * SECOND).map_err(|wait| wait.time), Err(6 * SECOND));
        assert_eq!(pace.take(start + 10 * SECOND), Ok(()));
        // Whatever it says, it is asked again.
        pace.pause(Duration::from_secs(u64::MAX), start);
        assert_eq!(pace.take(start + LONGEST_PAUSE), Ok(()));
        assert_eq!(retry_after(" 7 "), Some(7 * SECOND));
        assert_eq!(retry_after("soon"), None);
    }
}
