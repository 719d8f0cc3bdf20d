//! What is configured once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::sync::Semaphore;

use super::handle::Isr;
use super::shared::{Settings, Shared};
use crate::backing::{Backing, OnUnknown, Options};
use crate::clock::{Clock, Time};
use crate::entry::codec::SigningKeys;
use crate::error::ConfigError;
use crate::key::Ids;
use crate::ledger::MAX_MARKS;
use crate::memory::{DEFAULT_MEMORY_BYTES, Memory};
use crate::policy::profile::ResponseHeaders;
use crate::prerender::{SeedBed, Seeds};
use crate::store::{Deadlines, Store};
use crate::telemetry::Events;

/// Default of [`IsrBuilder::render_timeout`].
const RENDER_TIMEOUT: Duration = Duration::from_secs(30);

/// Defaults of the settings for a store.
const COHERENCE: Duration = Duration::from_secs(1);
const MAX_UNVERIFIED: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
const DEADLINES: Deadlines =
    Deadlines { read: Duration::from_millis(100), begin: Duration::from_millis(150), write: Duration::from_secs(1) };

/// Whether pages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Pages are rendered once and served from memory (the default).
    #[default]
    Production,
    /// Every request is rendered anew, through the same render request and the same rules as in production, so that
    /// what production will do can be seen; nothing is shared or stored, no state header is sent.
    Development,
}

/// Configures an [`Isr`]. Every setting has a default; setters never fail, [`build`](Self::build) does.
#[derive(Debug)]
#[must_use]
pub struct IsrBuilder {
    memory_bytes: usize,
    mode: Mode,
    headers: ResponseHeaders,
    public_origin: Option<Uri>,
    ids: Ids,
    time: Time,
    render_timeout: Duration,
    max_regenerations: usize,
    max_marks: usize,
    store: Option<AnyStore>,
    seeds: Option<Seeds>,
    coherence: Duration,
    max_unverified: Duration,
    retention: Duration,
    on_unknown: OnUnknown,
    store_deadlines: Deadlines,
    signing_keys: SecretKeys,
}

/// A store, whatever it is.
struct AnyStore(Arc<dyn Store>);

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.profile().name)
    }
}

/// Nobody sees them in a log.
#[derive(Default)]
struct SecretKeys(Vec<Vec<u8>>);

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl IsrBuilder {
    pub(super) fn new() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
            mode: Mode::default(),
            headers: ResponseHeaders::default(),
            public_origin: None,
            ids: Ids::default(),
            time: Time::system(),
            render_timeout: RENDER_TIMEOUT,
            max_marks: MAX_MARKS,
            store: None,
            seeds: None,
            coherence: COHERENCE,
            max_unverified: MAX_UNVERIFIED,
            retention: RETENTION,
            on_unknown: OnUnknown::default(),
            store_deadlines: DEADLINES,
            signing_keys: SecretKeys::default(),
            max_regenerations: 2 * std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The bound of the memory tier in bytes, pages weighed with key, headers, tags and overhead. Default: 128 MiB;
    /// at least 16 MiB.
    ///
    /// A quarter of it is, on top, the bound for bodies that are being captured.
    pub fn memory_bytes(self, bytes: usize) -> Self {
        Self { memory_bytes: bytes, ..self }
    }

    /// Whether pages are kept. Default: [`Mode::Production`].
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Which headers answers get. Default: [`ResponseHeaders::shared`].
    pub fn headers(self, headers: ResponseHeaders) -> Self {
        Self { headers, ..self }
    }

    /// The origin under which the site is known, for example `https://example.com`: renders of routes that do not
    /// declare the host see its authority as `Host`. Default: renders see no `Host`.
    pub fn public_origin(self, origin: Uri) -> Self {
        Self { public_origin: Some(origin), ..self }
    }

    /// Keeps the entries of deployments apart that share a store: `[A-Za-z0-9_-]+`, for example a date or a commit.
    /// Empty means no scope on purpose, whatever the environment says. Default: that of the environment
    /// (`ISR_DEPLOYMENT_ID`), else [`build_id`](Self::build_id).
    ///
    /// Read once, by [`build`](Self::build); [`Stats::scope`](crate::stats::Stats::scope) shows it. The memory tier ends
    /// with the process and needs none. Invalidation reaches all deployments.
    pub fn deployment_id(mut self, id: impl Into<String>) -> Self {
        self.ids.deployment = Some(id.into());
        self
    }

    /// What to use where there is no deployment id: `[A-Za-z0-9_-]+`, or empty for none. Default: that of the
    /// environment (`ISR_BUILD_ID`).
    pub fn build_id(mut self, id: impl Into<String>) -> Self {
        self.ids.build = Some(id.into());
        self
    }

    /// Another source of time, for tests. Default: the system's.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { time: Time::Custom(Arc::new(clock)), ..self }
    }

    /// How long a render may take to the head of its response, and again between two frames of its body. Default:
    /// 30 s.
    pub fn render_timeout(self, limit: Duration) -> Self {
        Self { render_timeout: limit, ..self }
    }

    /// How many regenerations may run at once, and besides them half as many first renders whose visitors have left.
    /// Default: twice the number of cores.
    pub fn max_regenerations(self, n: usize) -> Self {
        Self { max_regenerations: n, ..self }
    }

    /// How many marks of invalidations are kept apart, for things that were marked: tags, paths, … Beyond that the
    /// oldest count as marks on everything, so that what was rendered before them is rendered once more. Default: 65,536,
    /// of which each takes about 100 bytes.
    pub fn max_marks(self, n: usize) -> Self {
        Self { max_marks: n, ..self }
    }

    /// What keeps entries beyond the process, and its ledger of invalidations. Default: none, memory only.
    ///
    /// Pages and cached data are read from it when memory does not have them, and written to it in the background.
    /// Processes that share a store share its invalidations, whatever their deployment. A store that is down, slow or
    /// damaged costs a request a quarter of a second at most ([`store_deadlines`](Self::store_deadlines)), and after
    /// some failures in a row it is not asked by requests at all until it is back.
    ///
    /// ```no_run
    /// use axum_isr::{Isr, store::DiskStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let isr = Isr::builder().store(DiskStore::open("cache")?).build()?;
    /// # drop(isr); Ok(())
    /// # }
    /// ```
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(AnyStore(Arc::new(store)));
        self
    }

    /// Pages that were rendered before, at build time, for their first visitors. Default: none.
    ///
    /// Of an export of another build (if [`build_id`](Self::build_id) is set), or of another deployment (if both have an
    /// id), nothing is used.
    pub fn seeds(mut self, seeds: Seeds) -> Self {
        self.seeds = Some(seeds);
        self
    }

    /// How long after an invalidation has returned the others who share the store may serve what they know, besides
    /// what the store itself needs. Each asks the store's ledger twice in this time. Default: 1 s; the same in all processes.
    pub fn coherence(self, coherence: Duration) -> Self {
        Self { coherence, ..self }
    }

    /// For how long pages count as fresh when the store's ledger cannot be asked, since it was asked last or since they
    /// were rendered; then they are served stale, and rendered again. Default: 30 s.
    pub fn max_unverified(self, limit: Duration) -> Self {
        Self { max_unverified: limit, ..self }
    }

    /// How long the store keeps an entry since it was written: its physical life, not how long it is fresh. Pages that
    /// are fresh for ever may be forgotten too. Default: 30 days; at least 1 s.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// What happens to entries of which it cannot be known whether they were invalidated, because the store's ledger was
    /// lost. Default: [`OnUnknown::Render`].
    pub fn on_unknown(self, on_unknown: OnUnknown) -> Self {
        Self { on_unknown, ..self }
    }

    /// How long the store may take: for one read, for all that a request waits for before it is rendered, and for one
    /// write. Default: 100 ms, 150 ms and 1 s.
    pub fn store_deadlines(self, read: Duration, begin: Duration, write: Duration) -> Self {
        Self { store_deadlines: Deadlines { read, begin, write }, ..self }
    }

    /// Signs the entries of the store (HMAC-SHA-256), so that who can write to it but does not know a key cannot make
    /// pages. The first key signs, each of them is accepted: to change keys, put the new one in front and drop the old
    /// one later. At least 16 bytes each. Default: none.
    ///
    /// It does not keep anybody from deleting entries, or from putting old ones back.
    pub fn signing_keys<K: Into<Vec<u8>>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.signing_keys = SecretKeys(keys.into_iter().map(Into::into).collect());
        self
    }

    /// The store and its settings; `None` where nothing is kept.
    fn backing(&mut self, events: &Arc<Events>) -> Result<Option<Arc<Backing>>, ConfigError> {
        let Deadlines { read, begin, write } = self.store_deadlines;
        for (setting, duration, least) in [
            ("coherence", self.coherence, Duration::from_millis(10)),
            ("retention", self.retention, Duration::from_secs(1)),
            ("store_deadlines", read.min(begin).min(write), Duration::from_millis(1)),
        ] {
            if duration < least {
                return Err(ConfigError::new(setting, format!("at least {least:?}"), format_args!("{duration:?}")));
            }
        }
        let options = Options {
            deadlines: self.store_deadlines,
            coherence: self.coherence,
            max_unverified: self.max_unverified,
            retention: self.retention,
            on_unknown: self.on_unknown,
            keys: SigningKeys::new(&self.signing_keys.0)?,
        };
        let store = self.store.take().filter(|_| self.mode == Mode::Production);
        let waiting = self.memory_bytes / 4;
        Ok(store.map(|AnyStore(store)| Arc::new(Backing::new(store, options, waiting, Arc::clone(events)))))
    }

    /// Makes the handle. Starts nothing: tasks are spawned on the runtime of the request that causes them, which needs
    /// tokio's time driver.
    ///
    /// # Errors
    ///
    /// When a setting cannot work; the error says which, what was expected and what came.
    pub fn build(mut self) -> Result<Isr, ConfigError> {
        let memory = Memory::new(self.memory_bytes)?;
        if self.render_timeout.is_zero() {
            return Err(ConfigError::new("render_timeout", "more than zero", "0s"));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&self.max_regenerations) {
            return Err(ConfigError::new(
                "max_regenerations",
                format!("1 to {}", Semaphore::MAX_PERMITS),
                self.max_regenerations,
            ));
        }
        if self.max_marks == 0 {
            return Err(ConfigError::new("max_marks", "at least 1", 0));
        }
        let events = Arc::default();
        let backing = self.backing(&events)?;
        // Where no store is shared there is nothing to keep apart without an id.
        let env = |name: &str| std::env::var_os(name);
        let chosen = self.ids.chosen(env)?;
        let seeds = self
            .seeds
            .filter(|_| self.mode == Mode::Production)
            .map(|seeds| Arc::new(SeedBed::new(seeds, chosen.clone())));
        let scope = self.ids.scope(backing.is_some(), env)?;
        let public_host = self.public_origin.map(|origin| public_host(&origin)).transpose()?;
        self.headers.check()?;
        let mut headers = self.headers;
        if self.mode == Mode::Development {
            headers.state = None;
            headers.cache_status = headers.debug;
        }
        Ok(Isr::from_shared(Shared::new(Settings {
            mode: self.mode,
            headers,
            public_host,
            scope,
            chosen,
            time: self.time,
            render_timeout: self.render_timeout,
            max_regenerations: self.max_regenerations,
            max_marks: self.max_marks,
            memory_bytes: self.memory_bytes,
            memory,
            backing,
            seeds,
            events,
        })))
    }
}

fn public_host(origin: &Uri) -> Result<HeaderValue, ConfigError> {
    let refused = || ConfigError::new("public_origin", "a URI with scheme and host only", origin);
    let bare = origin.scheme().is_some() && matches!(origin.path(), "" | "/") && origin.query().is_none();
    let authority = origin.authority().filter(|a| bare && !a.as_str().contains('@')).ok_or_else(refused)?;
    HeaderValue::from_str(authority.as_str()).map_err(|_| refused())
}
