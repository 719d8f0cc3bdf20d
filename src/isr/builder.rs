//! What is configured once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::sync::Semaphore;

use super::handle::Isr;
use super::shared::{Settings, Shared};
use crate::clock::{Clock, Time};
use crate::error::ConfigError;
use crate::key::Ids;
use crate::ledger::MAX_MARKS;
use crate::memory::{DEFAULT_MEMORY_BYTES, Memory};
use crate::policy::profile::ResponseHeaders;

/// Default of [`IsrBuilder::render_timeout`].
const RENDER_TIMEOUT: Duration = Duration::from_secs(30);

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

    /// Makes the handle. Starts nothing: tasks are spawned on the runtime of the request that causes them, which needs
    /// tokio's time driver.
    ///
    /// # Errors
    ///
    /// When a setting cannot work; the error says which, what was expected and what came.
    pub fn build(self) -> Result<Isr, ConfigError> {
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
        // No store is shared: without an id there is nothing to keep apart.
        let scope = self.ids.scope(false, |name| std::env::var_os(name))?;
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
            time: self.time,
            render_timeout: self.render_timeout,
            max_regenerations: self.max_regenerations,
            max_marks: self.max_marks,
            memory_bytes: self.memory_bytes,
            memory,
        })))
    }
}

fn public_host(origin: &Uri) -> Result<HeaderValue, ConfigError> {
    let refused = || ConfigError::new("public_origin", "a URI with scheme and host only", origin);
    let bare = origin.scheme().is_some() && matches!(origin.path(), "" | "/") && origin.query().is_none();
    let authority = origin.authority().filter(|a| bare && !a.as_str().contains('@')).ok_or_else(refused)?;
    HeaderValue::from_str(authority.as_str()).map_err(|_| refused())
}
