//! What can be wrong with a configuration.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// A configuration that cannot work: which setting, what was expected, and what came.
///
/// Returned by [`IsrBuilder::build`](crate::IsrBuilder::build) and [`Isr::try_layer`](crate::Isr::try_layer). The text
/// is for people and may change between versions; the setting's name ([`setting`](Self::setting)) does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: expected {expected}, got {got}")]
pub struct ConfigError {
    setting: &'static str,
    expected: String,
    got: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self { setting, expected: expected.into(), got: got.to_string() }
    }

    /// The same problem in the words of another setter.
    pub(crate) fn of(self, setting: &'static str) -> Self {
        Self { setting, ..self }
    }

    /// The setter that took the value, for example `memory_bytes` or `query`.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

/// Why nothing was invalidated, or not everywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidateError {
    /// What it names cannot be: which argument, what was expected and what came.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// Pages can only be rendered where a tokio runtime with timers is.
    #[error("there is no tokio runtime with timers here, which it takes to render pages")]
    NoRuntime,
    /// The store cannot be reached: it is in effect in this process, and will be sent when the store is back. If the
    /// process ends before that, it is lost; a repetition does no harm.
    #[error("invalidated in this process only, because {problem}")]
    LocalOnly {
        /// What the store said.
        problem: String,
    },
}

/// Why there is no data.
///
/// Those who waited for one computation get one error; what failed in it is kept as its source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DataError {
    /// Name, tag or life cannot be: which, what was expected and what came.
    Invalid(ConfigError),
    /// An argument does not serialize.
    Argument {
        /// The name of the data.
        data: String,
        /// Which, counted from 1.
        argument: usize,
        /// Of the argument's Rust type.
        type_name: &'static str,
        /// What its `Serialize` said.
        problem: String,
    },
    /// The computation returned an error.
    Computation {
        /// The name of the data.
        data: String,
        /// What it returned.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The computation panicked.
    Panicked {
        /// The name of the data.
        data: String,
        /// The panic's message.
        message: String,
    },
    /// The computation, or the wait for it, took longer than
    /// [`IsrBuilder::render_timeout`](crate::IsrBuilder::render_timeout).
    TimedOut {
        /// The name of the data.
        data: String,
        /// The limit.
        limit: Duration,
    },
    /// The computation asks, itself or through others, for what it computes.
    Cycle {
        /// The name of the data.
        data: String,
    },
    /// The value cannot be written as MessagePack, or not be read back.
    Encoding {
        /// The name of the data.
        data: String,
        /// What the encoder or decoder said.
        problem: String,
    },
    /// The computation was given up: shutdown, or its runtime is gone.
    Abandoned {
        /// The name of the data.
        data: String,
    },
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problem) => problem.fmt(f),
            Self::Argument { data, argument, type_name, problem } => {
                write!(f, "data {data:?}: argument {argument}, a {type_name}, does not serialize: {problem}")
            }
            Self::Computation { data, .. } => write!(f, "data {data:?} could not be computed"),
            Self::Panicked { data, message } => {
                write!(f, "data {data:?} could not be computed: panicked with {message:?}")
            }
            Self::TimedOut { data, limit } => write!(f, "data {data:?} could not be computed within {limit:?}"),
            Self::Cycle { data } => write!(f, "data {data:?} is needed to compute itself"),
            Self::Encoding { data, problem } => write!(f, "data {data:?} cannot be kept: {problem}"),
            Self::Abandoned { data } => write!(f, "data {data:?}: the computation was given up"),
        }
    }
}

impl Error for DataError {
    /// What the computation returned, as it was: it can be downcast.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Computation { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl From<ConfigError> for DataError {
    fn from(problem: ConfigError) -> Self {
        Self::Invalid(problem)
    }
}

impl DataError {
    /// With everything that led to it, for logs.
    pub(crate) fn chain(&self) -> String {
        match self {
            Self::Computation { .. } => format!("{self}: {}", self.cause()),
            _ => self.to_string(),
        }
    }

    /// What the computation returned and what led to that, or what else went wrong.
    pub(crate) fn cause(&self) -> String {
        let mut next = self.source();
        let mut texts = Vec::new();
        // A chain has an end; whoever wrote it may have thought otherwise.
        while let Some(source) = next.filter(|_| texts.len() < 16) {
            texts.push(source.to_string());
            next = source.source();
        }
        if texts.is_empty() { self.to_string() } else { texts.join(": ") }
    }
}

/// A handler may return it: 500, without a word about why. Whoever wants to say more maps it.
impl IntoResponse for DataError {
    fn into_response(self) -> Response {
        tracing::error!(target: "axum_isr", problem = %self.chain().escape_debug(), "a handler without its data");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// A handler may return it: 400 where what it names cannot be, 503 where the store cannot be reached, else 500; without a
/// word about why.
impl IntoResponse for InvalidateError {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST.into_response(),
            Self::NoRuntime => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Self::LocalOnly { .. } => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
}
