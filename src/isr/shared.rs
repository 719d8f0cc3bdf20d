//! What layers, flights and the handle share.

use std::hash::{BuildHasher, RandomState};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::builder::Mode;
use crate::backing::{Backing, Trust};
use crate::clock::{MonoTime, Time};
use crate::data::Computations;
use crate::flight::{Beliefs, CaptureBudget, Table, Warnings};
use crate::key::{CacheKey, Chosen};
use crate::ledger::Ledger;
use crate::memory::{Memory, Standing};
use crate::policy::profile::ResponseHeaders;
use crate::prerender::SeedBed;
use crate::render::{LayerId, Registry};
use crate::store::StoreKey;
use crate::telemetry::{Counters, Events, Held, Routes};

/// The state behind a handle.
pub(crate) struct Shared {
    /// Tells handles of a process from each other.
    pub(crate) id: u64,
    pub(crate) mode: Mode,
    pub(crate) headers: ResponseHeaders,
    pub(crate) public_host: Option<HeaderValue>,
    pub(crate) scope: String,
    pub(crate) chosen: Chosen,
    pub(crate) time: Time,
    pub(crate) render_timeout: Duration,
    pub(crate) memory: Memory,
    pub(crate) ledger: Ledger,
    pub(crate) backing: Option<Arc<Backing>>,
    pub(crate) seeds: Option<Arc<SeedBed>>,
    pub(crate) flights: Table,
    pub(crate) computations: Computations,
    pub(crate) beliefs: Beliefs,
    /// Warnings about data, whose names may come from visitors.
    pub(crate) data_warnings: Warnings,
    pub(crate) renderers: Registry,
    pub(crate) capture: CaptureBudget,
    pub(crate) regenerations: Arc<Semaphore>,
    /// First renders whose visitors have left: of them only half as many, and places of their own, so that visitors who
    /// come and go do not keep pages from being regenerated.
    pub(crate) orphans: Arc<Semaphore>,
    /// Pages that are rendered again because somebody said so, and not because one of their visitors came: only half as
    /// many at once.
    pub(crate) sweeps: Arc<Semaphore>,
    /// A flight has landed.
    pub(crate) landed: Notify,
    pub(crate) counters: Counters,
    pub(crate) routes: Routes,
    pub(crate) events: Arc<Events>,
    /// What the metrics know of the memory tier.
    pub(crate) held: Held,
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the patience of a shutdown ends.
    pub(crate) stop: CancellationToken,
    pub(super) closing: AtomicBool,
    noise: (RandomState, AtomicU64),
    renders: AtomicU64,
    layers: AtomicU64,
    timers: Mutex<Vec<(tokio::runtime::Id, bool)>>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        // Relaxed: numbers that differ.
        static HANDLES: AtomicU64 = AtomicU64::new(0);
        Self {
            id: HANDLES.fetch_add(1, Ordering::Relaxed),
            mode: settings.mode,
            headers: settings.headers,
            public_host: settings.public_host,
            scope: settings.scope,
            chosen: settings.chosen,
            time: settings.time,
            render_timeout: settings.render_timeout,
            capture: CaptureBudget::new(settings.memory_bytes / 4),
            memory: settings.memory,
            ledger: Ledger::new(settings.max_marks),
            backing: settings.backing,
            seeds: settings.seeds,
            flights: Table::new(MAX_WAITERS),
            computations: Computations::default(),
            beliefs: Beliefs::default(),
            data_warnings: Warnings::default(),
            renderers: Registry::default(),
            regenerations: Arc::new(Semaphore::new(settings.max_regenerations)),
            orphans: Arc::new(Semaphore::new(settings.max_regenerations.div_ceil(2))),
            sweeps: Arc::new(Semaphore::new(settings.max_regenerations.div_ceil(2))),
            landed: Notify::new(),
            layers: AtomicU64::new(0),
            timers: Mutex::default(),
            counters: Counters::default(),
            routes: Routes::default(),
            events: settings.events,
            held: Held::default(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            closing: AtomicBool::new(false),
            noise: (RandomState::new(), AtomicU64::new(0)),
            renders: AtomicU64::new(0),
        }
    }

    /// Whether `shutdown` has begun. Relaxed: a request that sees it late is served as one that came before.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Numbers renders in the order of their begin. Relaxed: the same atomic orders its own values.
    pub(crate) fn next_render(&self) -> u64 {
        self.renders.fetch_add(1, Ordering::Relaxed)
    }

    /// Numbers layers. Relaxed: numbers that differ.
    pub(crate) fn next_layer(&self) -> LayerId {
        LayerId::new(self.layers.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the current runtime has timers, without which no render has a limit. Asked once of each: there is no other
    /// way than to try, and a failed try is a panic.
    pub(crate) fn has_timers(&self, runtime: &Handle) -> bool {
        let timers = || self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = timers().iter().find(|(id, _)| *id == runtime.id()).map(|(_, there)| *there);
        known.unwrap_or_else(|| {
            let there = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok();
            if !there {
                tracing::error!(target: "axum_isr", "nothing is cached: the runtime has no timers (`enable_time`)");
            }
            let mut timers = timers();
            if timers.iter().all(|(id, _)| *id != runtime.id()) {
                if timers.len() == MAX_RUNTIMES {
                    timers.remove(0);
                }
                timers.push((runtime.id(), there));
            }
            there
        })
    }

    /// What something that is kept is good for, as far as can be known now. Asks nobody.
    pub(crate) fn temper(&self, standing: Standing, began: MonoTime) -> Standing {
        let trust = self.backing.as_ref().map_or(Trust::Verified, |backing| backing.trust(self.time.monotonic()));
        trust.temper(standing, began)
    }

    /// Under which name the store has something.
    pub(crate) fn store_key(&self, key: &CacheKey) -> StoreKey {
        StoreKey::of(&key.storage_key(&self.scope))
    }

    /// Jitter; not for secrets.
    pub(crate) fn noise(&self) -> u64 {
        self.noise.0.hash_one(self.noise.1.fetch_add(1, Ordering::Relaxed))
    }
}

/// Nothing is asked for a handle that has gone.
impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(backing) = &self.backing {
            backing.stop_following();
        }
    }
}

/// The most runtimes of which it is known whether they have timers.
const MAX_RUNTIMES: usize = 256;

/// The most visitors that wait for one page.
const MAX_WAITERS: usize = 10_000;

/// What the builder found to be good.
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) headers: ResponseHeaders,
    pub(super) public_host: Option<HeaderValue>,
    pub(super) scope: String,
    pub(super) chosen: Chosen,
    pub(super) time: Time,
    pub(super) render_timeout: Duration,
    pub(super) max_regenerations: usize,
    pub(super) max_marks: usize,
    pub(super) memory_bytes: usize,
    pub(super) memory: Memory,
    pub(super) backing: Option<Arc<Backing>>,
    pub(super) seeds: Option<Arc<SeedBed>>,
    pub(super) events: Arc<Events>,
}
