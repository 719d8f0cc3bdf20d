//! What has happened lately, for whoever looks (feature `admin`).
//!
//! What happens rarely, invalidations and what the store does, is always kept, and apart, so that nothing else pushes it out.
//! Of failures, and of renders, some are kept in each second. What every visitor causes (HIT, STALE, pass, bypass) is kept
//! while somebody looks, and then some of it too, so that looking costs next to nothing.

use std::sync::Arc;

use super::shown::Shown;
use crate::clock::WallTime;
use crate::isr::Shared;
use crate::ledger::Verb;
use crate::policy::reason::Reason;
#[cfg(feature = "admin")]
use crate::policy::reason::Regenerated;

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
        let class = match reason {
            Reason::Failed(_) | Reason::Regenerated(Regenerated::Failed(_) | Regenerated::NotShared(_)) => {
                Class::Failure
            }
            Reason::Miss(_) | Reason::Regenerated(_) => Class::Render,
            _ => Class::Visit,
        };
        if !shared.events.admits(class) {
            return;
        }
        let at = now.unwrap_or_else(|| shared.time.wall());
        shared.events.push(
            class,
            Event {
                seq: 0,
                at_ms: at.0 / 1_000,
                state: reason.state(),
                reason: reason.reason(),
                route: Arc::clone(route),
                path: format!("{path:?}"),
                age_ms: age,
                detail: detail.to_owned(),
            },
        );
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
pub(crate) use kept::Events;
#[cfg(feature = "admin")]
use kept::{Class, Event};

#[cfg(feature = "admin")]
mod kept {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::time::Instant;

    use serde::{Serialize, Serializer};

    use super::Shown;
    use crate::clock::{Time, WallTime};

    /// So many are kept of each class.
    const KEPT: usize = 400;

    /// So many a second of each class but the rare.
    const A_SECOND: u64 = 20;

    /// How often something happens.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Class {
        /// Invalidations, and what the store does.
        Rare,
        Failure,
        Render,
        /// What every visitor causes.
        Visit,
    }

    const CLASSES: usize = 4;

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
    pub(crate) struct Events {
        kept: Mutex<Kept>,
        watchers: AtomicUsize,
        /// By class: the second in the upper bits, and how many there were in it.
        admitted: [AtomicU64; CLASSES],
        /// The application's clock may stand still.
        origin: Instant,
    }

    impl Default for Events {
        fn default() -> Self {
            Self {
                kept: Mutex::default(),
                watchers: AtomicUsize::new(0),
                admitted: std::array::from_fn(|_| AtomicU64::new(0)),
                origin: Instant::now(),
            }
        }
    }

    #[derive(Default)]
    struct Kept {
        events: [VecDeque<Arc<Event>>; CLASSES],
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

        /// Whether one more of this class is kept.
        pub(super) fn admits(&self, class: Class) -> bool {
            self.admits_in(class, self.origin.elapsed().as_secs())
        }

        /// Relaxed: at the border of two seconds there may be some more.
        fn admits_in(&self, class: Class, second: u64) -> bool {
            let next = |state: u64| {
                let count = if state >> 8 == second { state & 0xff } else { 0 };
                (count < A_SECOND).then_some(second << 8 | (count + 1))
            };
            self.admitted[class as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
        }

        /// What is about no page.
        pub(super) fn push_apart(&self, at: WallTime, words: [&'static str; 2], what: Shown<'_>, detail: Shown<'_>) {
            let [state, reason] = words;
            self.push(
                Class::Rare,
                Event {
                    seq: 0,
                    at_ms: at.0 / 1_000,
                    state,
                    reason,
                    route: Arc::default(),
                    path: format!("{what:?}"),
                    age_ms: None,
                    detail: format!("{detail:?}"),
                },
            );
        }

        /// A part of the store is not asked any more, or is back. Stores have the system's time.
        pub(in crate::telemetry) fn tell_of_store(&self, reason: &'static str, what: Shown<'_>, problem: Shown<'_>) {
            self.push_apart(Time::system().wall(), ["store", reason], what, problem);
        }

        pub(super) fn push(&self, class: Class, event: Event) {
            let mut kept = self.lock();
            kept.last += 1;
            let event = Arc::new(Event { seq: kept.last, ..event });
            let events = &mut kept.events[class as usize];
            let old = if events.len() == KEPT { events.pop_front() } else { None };
            events.push_back(event);
            drop(kept);
            drop(old);
        }

        /// Those after a number, at most so many of the newest; the rare ones are among them as long as they are kept.
        pub(crate) fn after(&self, seq: u64, most: usize) -> Vec<Arc<Event>> {
            let kept = self.lock();
            // A number of another process, which has had more.
            let seq = if seq > kept.last { 0 } else { seq };
            let new = |events: &VecDeque<Arc<Event>>| {
                let first = events.partition_point(|event| event.seq <= seq);
                events.iter().skip(first).map(Arc::clone).collect::<Vec<_>>()
            };
            let [rare, others @ ..] = &kept.events;
            let (mut found, mut others) = (new(rare), others.iter().flat_map(new).collect::<Vec<_>>());
            drop(kept);
            found.drain(..found.len().saturating_sub(most));
            others.sort_unstable_by_key(|event| event.seq);
            others.drain(..others.len().saturating_sub(most - found.len()));
            found.extend(others);
            found.sort_unstable_by_key(|event| event.seq);
            found
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
                events.push(Class::Render, event());
            }
            let seqs = |after, most| events.after(after, most).iter().map(|event| event.seq).collect::<Vec<_>>();
            assert_eq!(seqs(403, 10), [404, 405]);
            assert_eq!(seqs(405, 10), [0; 0]);
            assert_eq!(seqs(0, 2), [404, 405]);
            assert_eq!((seqs(0, 5_000).len(), seqs(0, 5_000)[0]), (KEPT, 6));
            // Of another process.
            assert_eq!(seqs(9_999, 1), [405]);
        }

        #[test]
        fn what_is_rare_is_not_pushed_out() {
            let events = Events::default();
            events.push(Class::Rare, event());
            events.push(Class::Failure, event());
            for _ in 0..10 * KEPT {
                events.push(Class::Render, event());
                events.push(Class::Visit, event());
            }
            let seqs: Vec<_> = events.after(0, 3).iter().map(|event| event.seq).collect();
            assert_eq!(seqs, [1, 8_001, 8_002]);
            assert_eq!(events.after(0, 5_000).len(), 2 + 2 * KEPT);
        }

        #[test]
        fn of_many_some_are_kept_in_each_second() {
            let events = Events::default();
            let admitted = |class, second| (0..1_000).filter(|_| events.admits_in(class, second)).count() as u64;
            assert_eq!(admitted(Class::Visit, 5), A_SECOND);
            assert_eq!(admitted(Class::Visit, 5), 0);
            assert_eq!(admitted(Class::Render, 5), A_SECOND);
            assert_eq!(admitted(Class::Visit, 6), A_SECOND);
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
