//! A connection that is made again when it is lost. Nobody waits for that.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::error::{self, ends_connection};
use crate::store::error::{StoreError, StoreErrorKind};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After so many calls in a row without an answer another connection is tried: a network that was cut says nothing.
const SILENCES: u32 = 3;

/// How a connection is made.
pub(super) trait Dial: Send + Sync + 'static {
    type Connection: Clone + Send + 'static;

    /// A connection of this kind replaces what it has lost on its own.
    const HEALS: bool;

    /// `lost` may be told when the connection has ended; a call that fails tells it too.
    fn dial(&self, lost: Lost) -> impl Future<Output = RedisResult<Self::Connection>> + Send;

    /// For logs: host and port.
    fn address(&self) -> &str;
}

/// Says that a connection has ended.
pub(super) struct Lost(Box<dyn Fn() + Send + Sync>);

impl Lost {
    pub(super) fn tell(&self) {
        (self.0)();
    }
}

/// The connection of now, with its number: another one than last time means that what was sent may be lost.
pub(super) struct Held<C> {
    pub(super) connection: C,
    pub(super) generation: u64,
}

pub(super) struct Link<D: Dial> {
    shared: Arc<Shared<D>>,
    _task: StopOnDrop,
}

struct Shared<D: Dial> {
    dial: D,
    state: Mutex<State<D::Connection>>,
    wanted: Notify,
}

struct State<C> {
    connection: Option<C>,
    generation: u64,
    /// Why there is none.
    why: StoreError,
    silences: u32,
}

struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<D: Dial> Link<D> {
    /// Tries once to connect, and goes on in the background if that fails.
    pub(super) async fn start(dial: D, runtime: &Handle) -> Self {
        let why = StoreError::new(StoreErrorKind::Unavailable, "it has not been connected yet");
        let state = Mutex::new(State { connection: None, generation: 0, why, silences: 0 });
        let shared = Arc::new(Shared { dial, state, wanted: Notify::new() });
        if !shared.connect().await {
            shared.wanted.notify_one();
        }
        let task = runtime.spawn(Arc::clone(&shared).maintain());
        Self { shared, _task: StopOnDrop(task.abort_handle()) }
    }

    /// # Errors
    ///
    /// At once, if there is no connection: why not.
    pub(super) fn held(&self) -> Result<Held<D::Connection>, StoreError> {
        let state = self.shared.lock();
        match &state.connection {
            Some(connection) => Ok(Held { connection: connection.clone(), generation: state.generation }),
            None => Err(state.why.clone()),
        }
    }

    /// What a call on a connection has brought; and what that says about the connection.
    pub(super) fn judge<T>(&self, generation: u64, result: RedisResult<T>) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                self.shared.answered(generation);
                Ok(value)
            }
            Err(problem) => {
                self.shared.failed(generation, &problem);
                Err(error::of(problem))
            }
        }
    }

    pub(super) fn dial(&self) -> &D {
        &self.shared.dial
    }
}

impl<D: Dial> Shared<D> {
    fn lock(&self) -> MutexGuard<'_, State<D::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn maintain(self: Arc<Self>) {
        loop {
            self.wanted.notified().await;
            let mut pause = FIRST_PAUSE;
            while self.is_wanting() && !self.connect().await {
                tokio::time::sleep(jittered(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn is_wanting(&self) -> bool {
        let state = self.lock();
        state.connection.is_none() || state.silences >= SILENCES
    }

    /// Only one of these runs at a time.
    async fn connect(self: &Arc<Self>) -> bool {
        let generation = self.lock().generation + 1;
        let dialled = self.dial.dial(self.lost(generation)).await;
        let address = self.dial.address();
        let mut state = self.lock();
        match dialled {
            Ok(connection) => {
                let before = state.connection.replace(connection);
                (state.generation, state.silences) = (generation, 0);
                drop(state);
                drop(before);
                tracing::info!(target: "axum_isr", address, generation, "redis: connected");
                true
            }
            Err(problem) => {
                let problem = error::of(problem);
                // Every try of a long outage need not be told.
                let is_news = state.why.kind() != problem.kind() || state.generation == 0;
                if state.connection.is_none() {
                    state.why = problem.clone();
                }
                drop(state);
                if is_news {
                    tracing::warn!(target: "axum_isr", address, problem = problem.chain(), "redis: not connected");
                }
                false
            }
        }
    }

    fn lost(self: &Arc<Self>, generation: u64) -> Lost {
        let shared: Weak<Self> = Arc::downgrade(self);
        Lost(Box::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.lose(generation, StoreError::new(StoreErrorKind::Unavailable, "the connection has ended"));
            }
        }))
    }

    fn answered(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation == generation {
            state.silences = 0;
        }
    }

    fn failed(&self, generation: u64, problem: &RedisError) {
        if D::HEALS {
            return;
        }
        if problem.is_timeout() {
            let mut state = self.lock();
            if state.generation == generation {
                state.silences = state.silences.saturating_add(1);
                if state.silences == SILENCES {
                    self.wanted.notify_one();
                }
            }
        } else if ends_connection(problem) {
            self.lose(generation, error::of(problem.clone()));
        } else {
            self.answered(generation);
        }
    }

    fn lose(&self, generation: u64, why: StoreError) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let Some(connection) = state.connection.take() else {
            return;
        };
        let problem = why.chain();
        state.why = why;
        drop(state);
        drop(connection);
        self.wanted.notify_one();
        tracing::warn!(target: "axum_isr", address = self.dial.address(), problem, "redis: the connection is lost");
    }
}

/// Between a half and the whole of it, so that the processes of a site do not all come at once.
fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(random() % 1_000).unwrap_or_default();
    pause / 2 + pause / 2 * part / 1_000
}

/// Different each time, in each process. Not for secrets.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
