//! What is kept under a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::value::Value;
use crate::clock::MonoTime;
use crate::entry::Entry;
use crate::key::CacheKey;
use crate::ledger::{Covered, Generation};
use crate::policy::freshness::back_off;
use crate::policy::reason::Failed;
use crate::policy::response::Pass;
use crate::policy::tag::Tag;
use crate::render::Maker;
use crate::telemetry::Counter;
use crate::testing::rules::{Rule, holds};

/// What one item costs besides the structs and bytes that are weighed: four reference counts (page, key, and the buffers
/// of body and headers), and the cache's own slot and index (measured in `tests/memory.rs`).
const ITEM_BYTES: usize = 176;

/// As above, for what has no buffers.
const NOTE_BYTES: usize = 112;

/// An entry in memory, with what this process knows about it.
pub(crate) struct Page {
    pub(crate) key: CacheKey,
    pub(crate) entry: Entry,
    /// The place of its render among those of this process.
    pub(crate) begun: u64,
    /// When that was; for what came from a store, the origin of the clock.
    pub(crate) began_at: MonoTime,
    pub(crate) maker: Maker,
    pub(crate) covered: Covered,
    pub(crate) back_off: BackOff,
    /// Its route's and its render's.
    pub(crate) tags: Box<[Tag]>,
    /// How long its render took, in microseconds; zero for what was not rendered here.
    pub(crate) render_micros: u64,
    /// How often it was served as HIT or STALE.
    pub(crate) hits: Counter,
}

/// How long to wait after failures.
#[derive(Default)]
pub(crate) struct BackOff {
    failures: AtomicU32,
    /// What the last one was, if that is known here.
    last: AtomicU32,
    /// `MonoTime`; not again before it, unless something was marked since.
    retry_at: AtomicU64,
    /// The generation in which the last failure began.
    began: AtomicU64,
}

impl BackOff {
    /// Whether the wait is over, or something was marked since the failure began. Relaxed: an attempt more or less is
    /// decided by the flights.
    pub(crate) fn may_retry(&self, now: MonoTime, marked: Option<Generation>) -> bool {
        now.0 >= self.retry_at.load(Ordering::Relaxed)
            || (marked.is_some_and(|marked| marked.0 > self.began.load(Ordering::Relaxed)) && holds(Rule::ClearBackOff))
    }

    /// Whether something failed and the wait is not over.
    pub(crate) fn tired(&self, now: MonoTime, marked: Option<Generation>) -> bool {
        self.failures.load(Ordering::Relaxed) > 0 && !self.may_retry(now, marked)
    }

    /// Nothing failed, but it is too early.
    pub(crate) fn wait(&self, now: MonoTime, pause: Duration, began: Generation) {
        self.retry_at.fetch_max(now.after(pause).0, Ordering::Relaxed);
        self.began.fetch_max(began.0, Ordering::Relaxed);
    }

    /// How many there were in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How long it is until the next try, marks aside.
    pub(crate) fn wait_from(&self, now: MonoTime) -> Duration {
        Duration::from_micros(self.retry_at.load(Ordering::Relaxed).saturating_sub(now.0))
    }

    /// What the last failure was.
    pub(crate) fn note(&self, what: Failed) {
        self.last.store(what.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Option<Failed> {
        Failed::from_bits(self.last.load(Ordering::Relaxed))
    }

    /// Counts a failure of what began in a generation. Returns how many there were in a row.
    pub(crate) fn failed(&self, now: MonoTime, noise: u64, began: Generation) -> u32 {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.retry_at.store(now.after(back_off(failures, noise)).0, Ordering::Relaxed);
        self.began.fetch_max(began.0, Ordering::Relaxed);
        failures
    }
}

/// A key whose page is not shared, until it is looked at again.
pub(crate) struct PassNote {
    pub(crate) reason: Pass,
    pub(crate) until: MonoTime,
    pub(crate) begun: u64,
    /// A mark on it ends it.
    pub(crate) covered: Covered,
}

#[derive(Clone)]
pub(crate) enum Slot {
    Page(Arc<Page>),
    Pass(Arc<PassNote>),
    Value(Arc<Value>),
}

impl Slot {
    /// The place of the render that made it among those of this process.
    pub(super) fn begun(&self) -> u64 {
        match self {
            Self::Page(page) => page.begun,
            Self::Pass(note) => note.begun,
            Self::Value(value) => value.begun,
        }
    }

    /// What marks can hit of it.
    pub(crate) fn covered(&self) -> &Covered {
        match self {
            Self::Page(page) => &page.covered,
            Self::Pass(note) => &note.covered,
            Self::Value(value) => &value.covered,
        }
    }

    /// Bytes of memory that it keeps, its key included.
    pub(crate) fn weight(&self, key: &CacheKey) -> u64 {
        let weight = match self {
            Self::Page(page) => {
                let tags = Tag::heap_bytes(&page.tags);
                let heap = page.entry.weight() + page.covered.heap_bytes() + page.maker.heap_bytes() + tags;
                size_of::<Page>() - size_of::<Entry>() + heap + ITEM_BYTES
            }
            Self::Pass(note) => size_of::<PassNote>() + note.covered.heap_bytes() + NOTE_BYTES,
            Self::Value(value) => value.weight() + ITEM_BYTES,
        };
        (key.as_bytes().len() + weight) as u64
    }
}
