//! What can be wrong with a configuration.

use std::fmt;

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
