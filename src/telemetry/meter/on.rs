//! Metrics by the facade `metrics`, for whichever exporter the application has installed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::super::memory::Holding;
use crate::ledger::{Mark, Verb};
use crate::policy::reason::{Reason, Regenerated};
use crate::store::StoreErrorKind;

const REQUESTS: &str = "isr_requests_total";
const RENDER_SECONDS: &str = "isr_render_seconds";
const IN_FLIGHT: &str = "isr_renders_in_flight";
const REGENERATIONS: &str = "isr_regenerations_total";
const AGE: &str = "isr_age_at_serve_seconds";
const SAVED: &str = "isr_render_seconds_saved_total";
const MEMORY_BYTES: &str = "isr_memory_bytes";
const MEMORY_ENTRIES: &str = "isr_memory_entries";
const MEMORY_LIMIT: &str = "isr_memory_limit_bytes";
const STORE_SECONDS: &str = "isr_store_seconds";
const STORE_ERRORS: &str = "isr_store_errors_total";
const BREAKER: &str = "isr_breaker_open";
const INVALIDATIONS: &str = "isr_invalidations_total";

/// The metrics of one route. What they are called with is looked up once.
pub(crate) struct RouteMeter {
    route: Arc<str>,
    hot: OnceLock<Hot>,
    /// Requests by reason: few, and as many as there are reasons.
    requests: RwLock<Vec<([&'static str; 2], Counter)>>,
}

/// What a HIT counts.
struct Hot {
    hits: Counter,
    ages: Histogram,
    saved: Counter,
    /// Microseconds: the counter has whole seconds.
    saved_micros: AtomicU64,
}

impl RouteMeter {
    pub(crate) fn new(route: &Arc<str>) -> Self {
        Self { route: Arc::clone(route), hot: OnceLock::new(), requests: RwLock::default() }
    }

    /// Whoever counts first finds the exporter; one that is installed later is not seen by this route.
    #[inline]
    fn hot(&self) -> &Hot {
        self.hot.get_or_init(|| {
            describe();
            let route = || Arc::clone(&self.route);
            Hot {
                hits: counter!(REQUESTS, "route" => route(), "state" => "hit", "reason" => "fresh"),
                ages: histogram!(AGE, "route" => route()),
                saved: counter!(SAVED, "route" => route()),
                saved_micros: AtomicU64::new(0),
            }
        })
    }

    /// `age`: of the page, in milliseconds. `saved`: what its render took, in microseconds.
    #[inline]
    pub(crate) fn hit(&self, age: u64, saved: u64) {
        const SECOND: u64 = 1_000_000;
        let hot = self.hot();
        hot.hits.increment(1);
        hot.ages.record(seconds(Duration::from_millis(age)));
        if saved > 0 {
            let before = hot.saved_micros.fetch_add(saved, Ordering::Relaxed);
            let seconds = before.wrapping_add(saved) / SECOND - before / SECOND;
            if seconds > 0 {
                hot.saved.increment(seconds);
            }
        }
    }

    pub(crate) fn stale(&self, reason: Reason, age: u64) {
        self.request(reason);
        self.hot().ages.record(seconds(Duration::from_millis(age)));
    }

    pub(crate) fn request(&self, reason: Reason) {
        let words = [reason.state(), reason.reason()];
        let known = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(known, _)| *known == words) {
            return counter.increment(1);
        }
        drop(known);
        describe();
        let [state, why] = words;
        let counter = counter!(REQUESTS, "route" => Arc::clone(&self.route), "state" => state, "reason" => why);
        counter.increment(1);
        let mut known = self.requests.write().unwrap_or_else(PoisonError::into_inner);
        if known.iter().all(|(known, _)| *known != words) {
            known.push((words, counter));
        }
    }

    /// `took`: microseconds.
    pub(crate) fn rendered(&self, took: u64) {
        describe();
        histogram!(RENDER_SECONDS, "route" => Arc::clone(&self.route)).record(seconds(Duration::from_micros(took)));
    }

    pub(crate) fn regenerated(&self, what: Regenerated) {
        describe();
        let route = Arc::clone(&self.route);
        counter!(REGENERATIONS, "route" => route, "result" => what.result(), "reason" => what.as_str()).increment(1);
    }
}

/// What a handle holds. Told as differences, so that several handles add up, and one that goes takes its own along.
#[derive(Default)]
pub(crate) struct Held(Mutex<Holding>);

impl Held {
    /// Looks and tells under one lock: of two that come together the later one has seen what both have put.
    pub(in super::super) fn holds(&self, now: impl FnOnce() -> Holding) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        describe();
        tell(&gauge!(MEMORY_BYTES), last.bytes, now.bytes);
        tell(&gauge!(MEMORY_ENTRIES), last.entries, now.entries);
        tell(&gauge!(MEMORY_LIMIT), last.limit, now.limit);
        *last = now;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What never held anything says nothing.
        if self.0.get_mut().unwrap_or_else(PoisonError::into_inner).limit > 0 {
            self.holds(Holding::default);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn tell(gauge: &Gauge, before: u64, now: u64) {
    if now >= before {
        gauge.increment((now - before) as f64);
    } else {
        gauge.decrement((before - now) as f64);
    }
}

/// A render that runs. It ends where it began, also if another exporter was installed meanwhile.
pub(crate) struct InFlight(Gauge);

impl InFlight {
    pub(crate) fn begin() -> Self {
        describe();
        let gauge = gauge!(IN_FLIGHT);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

pub(crate) fn store_called(store: &'static str, op: &'static str, took: Duration, problem: Option<StoreErrorKind>) {
    describe();
    histogram!(STORE_SECONDS, "store" => store, "op" => op).record(seconds(took));
    if let Some(kind) = problem {
        counter!(STORE_ERRORS, "store" => store, "op" => op, "kind" => kind.as_str()).increment(1);
    }
}

pub(crate) fn breaker(store: &'static str, part: &'static str, open: bool) {
    describe();
    gauge!(BREAKER, "store" => store, "part" => part).set(if open { 1.0 } else { 0.0 });
}

pub(crate) fn invalidated(verb: Verb, marks: &[Mark]) {
    describe();
    for mark in marks {
        counter!(INVALIDATIONS, "verb" => verb.as_str(), "by" => mark.target.kind()).increment(1);
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Once, when there is something to tell: an exporter that the application installs after building the handle still
/// learns what the numbers are.
fn describe() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        describe_counter!(REQUESTS, Unit::Count, "Requests by what became of them, and why.");
        describe_histogram!(RENDER_SECONDS, Unit::Seconds, "Time from asking the handler to the end of its body.");
        describe_gauge!(IN_FLIGHT, Unit::Count, "Renders that run.");
        describe_counter!(
            REGENERATIONS,
            Unit::Count,
            "Renders of stale pages in the background, by what came of them."
        );
        describe_histogram!(AGE, Unit::Seconds, "Age of the pages that were answered as HIT or STALE.");
        describe_counter!(SAVED, Unit::Seconds, "Time that it would have taken to render what HITs answered.");
        describe_gauge!(MEMORY_BYTES, Unit::Bytes, "What pages, remembered passes and data weigh in memory.");
        describe_gauge!(MEMORY_ENTRIES, Unit::Count, "How many of them there are.");
        describe_gauge!(MEMORY_LIMIT, Unit::Bytes, "What they may weigh.");
        describe_histogram!(STORE_SECONDS, Unit::Seconds, "Time of calls of the store.");
        describe_counter!(STORE_ERRORS, Unit::Count, "Calls of the store that failed, by kind.");
        describe_gauge!(
            BREAKER,
            Unit::Count,
            "1 while a part of the store is not asked because it failed several times in a row."
        );
        describe_counter!(INVALIDATIONS, Unit::Count, "What was marked, by verb and by what it names.");
    });
}
