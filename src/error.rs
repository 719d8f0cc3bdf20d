//! What can be wrong with a configuration.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

/// Why nothing was invalidated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidateError {
    /// What it names cannot be: which argument, what was expected and what came.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// Pages can only be rendered where a tokio runtime with timers is.
    #[error("there is no tokio runtime with timers here, which it takes to render pages")]
    NoRuntime,
}

/// Why there is no data.
///
/// Those who waited for one computation get one error; what failed in it is kept as its source.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Name, tag or life cannot be: which, what was expected and what came.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// An argument does not serialize.
    #[error("data {data:?}: argument {argument}, a {type_name}, does not serialize: {problem}")]
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
    #[error("data {data:?} could not be computed")]
    Computation {
        /// The name of the data.
        data: String,
        /// What it returned.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The computation panicked.
    #[error("data {data:?} could not be computed: panicked with {message:?}")]
    Panicked {
        /// The name of the data.
        data: String,
        /// The panic's message.
        message: String,
    },
    /// The computation, or the wait for it, took longer than
    /// [`IsrBuilder::render_timeout`](crate::IsrBuilder::render_timeout).
    #[error("data {data:?} could not be computed within {limit:?}")]
    TimedOut {
        /// The name of the data.
        data: String,
        /// The limit.
        limit: Duration,
    },
    /// The computation asks, itself or through others, for what it computes.
    #[error("data {data:?} is needed to compute itself")]
    Cycle {
        /// The name of the data.
        data: String,
    },
    /// The value cannot be written as MessagePack, or not be read back.
    #[error("data {data:?} cannot be kept: {problem}")]
    Encoding {
        /// The name of the data.
        data: String,
        /// What the encoder or decoder said.
        problem: String,
    },
    /// The computation was given up: shutdown, or its runtime is gone.
    #[error("data {data:?}: the computation was given up")]
    Abandoned {
        /// The name of the data.
        data: String,
    },
}
