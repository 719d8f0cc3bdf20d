//! What has happened lately, for whoever looks (feature `admin`).
//!
//! What happens rarely is always kept. What every visitor causes (HIT, STALE, pass, bypass) is kept while somebody looks,
//! and then only some of it in each second, so that looking costs next to nothing.

use std::sync::Arc;

use super::shown::Shown;
use crate::clock::WallTime;
use crate::isr::Shared;
use crate::ledger::Verb;
use crate::policy::reason::Reason;

/// Notes what became of a request or a render. `now`: where it is known already; then it is one of many.
pub(super) fn tell(
    shared: &Shared,
    now: Option<WallTime>,
    reason: Reason,
    route: &Arc<str>,
    path: Shown<'_>,
    age: Option<u64>,
    detail: &str,
) {
    #[cfg(feature = "admin")]
    {
        let many = matches!(reason, Reason::Hit | Reason::Stale(_) | Reason::Pass(_) | Reason::Bypass(_));
        let at = now.unwrap_or_else(|| shared.time.wall());
        if many && !shared.events.admits(at) {
            return;
        }
        shared.events.push(Event {
            seq: 0,
            at_ms: at.0 / 1_000,
            state: reason.state(),
            reason: reason.reason(),
            route: Arc::clone(route),
            path: format!("{path:?}"),
            age_ms: age,
            detail: detail.to_owned(),
        });
    }
    #[cfg(not(feature = "admin"))]
    let _ = (shared, now, reason, route, path, age, detail);
}

/// Notes that something was invalidated.
pub(super) fn tell_of_marks(shared: &Shared, verb: Verb, what: Shown<'_>, more: &str) {
    #[cfg(feature = "admin")]
    shared.events.push_apart(shared.time.wall(), ["invalidation", verb.as_str()], what, Shown(more));
    #[cfg(not(feature = "admin"))]
    let _ = (shared, verb, what, more);
}

#[cfg(not(feature = "admin"))]
#[derive(Default)]
pub(crate) struct Events;

#[cfg(not(feature = "admin"))]
impl Events {
    #[inline]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn is_watched(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn tell_of_store(&self, _: &'static str, _: Shown<'_>, _: Shown<'_>) {}
}

#[cfg(feature = "admin")]
pub(crate) use kept::{Event, Events};

#[cfg(feature = "admin")]
mod kept {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use serde::{Serialize, Serializer};

    use super::Shown;
    use crate::clock::{Time, WallTime};

    /// So many are kept.
    const KEPT: usize = 1_000;

    /// So many a second of those that every visitor causes.
    const A_SECOND: u64 = 20;

    /// One thing that has happened.
    #[derive(Clone, Debug, Serialize)]
    pub(crate) struct Event {
        /// Its number, from 1.
        pub(crate) seq: u64,
        /// Unix milliseconds.
        pub(crate) at_ms: u64,
        pub(crate) state: &'static str,
        pub(crate) reason: &'static str,
        #[serde(serialize_with = "text")]
        pub(crate) route: Arc<str>,
        /// Escaped and cut.
        pub(crate) path: String,
        pub(crate) age_ms: Option<u64>,
        pub(crate) detail: String,
    }

    fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    /// What has happened lately.
    #[derive(Default)]
    pub(crate) struct Events {
        kept: Mutex<Kept>,
        watchers: AtomicUsize,
        /// The second in the upper bits, and how many there were in it.
        admitted: AtomicU64,
    }

    #[derive(Default)]
    struct Kept {
        events: VecDeque<Arc<Event>>,
        last: u64,
    }

    impl Events {
        /// Whether somebody looks. Relaxed: an event more or less.
        #[inline]
        pub(crate) fn is_watched(&self) -> bool {
            self.watchers.load(Ordering::Relaxed) > 0
        }

        /// Somebody looks, until it is dropped; `None` if as many as may look already.
        pub(crate) fn watch(&self, most: usize) -> bool {
            let more = |now: usize| (now < most).then_some(now + 1);
            self.watchers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        }

        /// Whoever `watch` has let in looks no more.
        pub(crate) fn unwatch(&self) {
            self.watchers.fetch_sub(1, Ordering::Relaxed);
        }

        /// Whether one more of many is kept.
        pub(super) fn admits(&self, now: WallTime) -> bool {
            let second = now.0 / 1_000_000;
            let next = |state: u64| {
                let count = if state >> 8 == second { state & 0xff } else { 0 };
                (count < A_SECOND).then_some(second << 8 | (count + 1))
            };
            self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
        }

        /// What is about no page.
        pub(super) fn push_apart(&self, at: WallTime, words: [&'static str; 2], what: Shown<'_>, detail: Shown<'_>) {
            let [state, reason] = words;
            self.push(Event {
                seq: 0,
                at_ms: at.0 / 1_000,
                state,
                reason,
                route: Arc::default(),
                path: format!("{what:?}"),
                age_ms: None,
                detail: format!("{detail:?}"),
            });
        }

        /// A part of the store is not asked any more, or is back. Stores have the system's time.
        pub(in crate::telemetry) fn tell_of_store(&self, reason: &'static str, what: Shown<'_>, problem: Shown<'_>) {
            self.push_apart(Time::system().wall(), ["store", reason], what, problem);
        }

        pub(super) fn push(&self, event: Event) {
            let mut kept = self.lock();
            kept.last += 1;
            let event = Arc::new(Event { seq: kept.last, ..event });
            let old = if kept.events.len() == KEPT { kept.events.pop_front() } else { None };
            kept.events.push_back(event);
            drop(kept);
            drop(old);
        }

        /// Those after a number, at most so many of the newest.
        pub(crate) fn after(&self, seq: u64, most: usize) -> Vec<Arc<Event>> {
            let kept = self.lock();
            // A number of another process, which has had more.
            let seq = if seq > kept.last { 0 } else { seq };
            let new = usize::try_from(kept.last - seq).unwrap_or(usize::MAX);
            let skip = kept.events.len().saturating_sub(new.min(most));
            kept.events.iter().skip(skip).map(Arc::clone).collect()
        }

        fn lock(&self) -> MutexGuard<'_, Kept> {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn event() -> Event {
            let (route, path, detail) = (Arc::default(), String::new(), String::new());
            Event { seq: 0, at_ms: 0, state: "hit", reason: "fresh", route, path, age_ms: None, detail }
        }

        #[test]
        fn the_newest_are_kept_and_numbered() {
            let events = Events::default();
            for _ in 0..KEPT + 5 {
                events.push(event());
            }
            let seqs = |after, most| events.after(after, most).iter().map(|event| event.seq).collect::<Vec<_>>();
            assert_eq!(seqs(1_003, 10), [1_004, 1_005]);
            assert_eq!(seqs(1_005, 10), [0; 0]);
            assert_eq!(seqs(0, 2), [1_004, 1_005]);
            assert_eq!((seqs(0, 5_000).len(), seqs(0, 5_000)[0]), (KEPT, 6));
            // Of another process.
            assert_eq!(seqs(9_999, 1), [1_005]);
        }

        #[test]
        fn of_many_some_are_kept_in_each_second() {
            let events = Events::default();
            let admitted = |at: u64| (0..1_000).filter(|_| events.admits(WallTime(at))).count() as u64;
            assert_eq!(admitted(5_000_000), A_SECOND);
            assert_eq!(admitted(5_999_999), 0);
            assert_eq!(admitted(6_000_000), A_SECOND);
        }

        #[test]
        fn so_many_may_look() {
            let events = Events::default();
            assert!(!events.is_watched() && events.watch(2) && events.watch(2) && !events.watch(2));
            events.unwatch();
            assert!(events.is_watched() && events.watch(2));
        }
    }
}
