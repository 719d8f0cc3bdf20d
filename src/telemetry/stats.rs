//! Counters, and what the cache holds.

use serde::Serialize;

use super::counter::Counter;
use super::routes::{RouteStats, Routes};

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) renders: Counter,
    pub(crate) stored: Counter,
    pub(crate) failures: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) seeded: Counter,
    pub(crate) seed_failures: Counter,
    pub(crate) data_hits: Counter,
    pub(crate) data_stale: Counter,
    pub(crate) data_misses: Counter,
    pub(crate) data_failures: Counter,
    pub(crate) store_hits: Counter,
    pub(crate) store_misses: Counter,
    pub(crate) store_errors: Counter,
    pub(crate) store_damaged: Counter,
    pub(crate) store_writes: Counter,
    pub(crate) store_unwritten: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self, routes: &Routes) -> Stats {
        let routes = routes.stats();
        let sum = |count: fn(&RouteStats) -> u64| routes.iter().map(count).sum();
        Stats {
            hits: sum(|route| route.hits),
            stale: sum(|route| route.stale),
            misses: sum(|route| route.misses),
            passes: sum(|route| route.passes),
            bypasses: sum(|route| route.bypasses),
            failed: sum(|route| route.failed),
            renders: self.renders.get(),
            stored: self.stored.get(),
            failures: self.failures.get(),
            invalidations: self.invalidations.get(),
            seeded: self.seeded.get(),
            seed_failures: self.seed_failures.get(),
            data_hits: self.data_hits.get(),
            data_stale: self.data_stale.get(),
            data_misses: self.data_misses.get(),
            data_failures: self.data_failures.get(),
            store_hits: self.store_hits.get(),
            store_misses: self.store_misses.get(),
            store_errors: self.store_errors.get(),
            store_damaged: self.store_damaged.get(),
            store_writes: self.store_writes.get(),
            store_unwritten: self.store_unwritten.get(),
            routes,
            ..Stats::default()
        }
    }
}

/// What a handle has done since it was built, and what it holds now. Counts are of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered from a fresh page.
    pub hits: u64,
    /// Requests answered from a stale page.
    pub stale: u64,
    /// Requests that waited for a render.
    pub misses: u64,
    /// Visitors' own requests that went to a handler because the page is not shared.
    pub passes: u64,
    /// Requests that went on from a layer without a look-up. Of layers around each other, one without a configuration counts
    /// here what the next one decides.
    pub bypasses: u64,
    /// Requests that got what came of a render that failed: its 5xx, a 504, a panic, a body that broke at once. Whose body broke
    /// later counts as a MISS: its head was out.
    pub failed: u64,
    /// Renders that have ended, well or not.
    pub renders: u64,
    /// Pages put into the memory tier.
    pub stored: u64,
    /// Renders that failed: 5xx, 429, 408, panics, timeouts, broken bodies, refused regenerations.
    pub failures: u64,
    /// Calls that invalidated something.
    pub invalidations: u64,
    /// Marks that are kept apart; older ones count as marks on everything.
    pub marks: usize,
    /// Pages that were taken from seeds instead of being rendered.
    pub seeded: u64,
    /// Seeds, or their manifest, that could not be read.
    pub seed_failures: u64,
    /// Pages that the manifest of the seeds has, once it was read.
    pub seed_pages: usize,
    /// Bytes that are kept of it.
    pub seed_bytes: usize,
    /// Requests for data that found a fresh value.
    pub data_hits: u64,
    /// Those that got a stale value.
    pub data_stale: u64,
    /// Those that waited for a computation.
    pub data_misses: u64,
    /// Computations that failed, panicked or took too long.
    pub data_failures: u64,
    /// Pages and values that the store had.
    pub store_hits: u64,
    /// Those that it did not have.
    pub store_misses: u64,
    /// Reads and leases that failed while somebody waited.
    pub store_errors: u64,
    /// Entries that could not be used: damaged, of another version, not signed.
    pub store_damaged: u64,
    /// Entries that were written to the store.
    pub store_writes: u64,
    /// Those that were not, because of an error, or because too many waited.
    pub store_unwritten: u64,
    /// Entries that wait to be written to the store.
    pub waiting_writes: usize,
    /// Marks that act here and that the store's ledger does not have yet.
    pub unsent_marks: usize,
    /// The store has failed several times in a row and is not asked for a while.
    pub store_circuit_open: bool,
    /// Pages, remembered passes and values in the memory tier.
    pub memory_items: usize,
    /// Bytes that they weigh.
    pub memory_bytes: u64,
    /// Renders in the air.
    pub flights: usize,
    /// Computations of data that run.
    pub computations: usize,
    /// Bytes of bodies that are being captured.
    pub captured_bytes: usize,
    /// The deployment scope; empty if there is none.
    pub scope: String,
    /// The same by route.
    pub routes: Vec<RouteStats>,
}
