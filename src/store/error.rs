//! Why a store did not do something.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a store did not do something: a kind, and what it said itself.
///
/// The text is for people and may change between versions. It never reaches a visitor.
#[derive(Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Arc<dyn Error + Send + Sync>,
}

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached.
    Unavailable,
    /// It did not answer in time.
    TimedOut,
    /// It was not asked, because it has failed again and again.
    CircuitOpen,
    /// It has no room.
    Full,
    /// The entry is larger than it takes.
    TooLarge,
    /// It does not let us: credentials, permissions, configuration.
    Denied,
    /// What it has is damaged, or it said something that it should not.
    Corrupt,
    /// It panicked, or something else that is a bug.
    Internal,
}

impl StoreErrorKind {
    /// One word, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed-out",
            Self::CircuitOpen => "circuit-open",
            Self::Full => "full",
            Self::TooLarge => "too-large",
            Self::Denied => "denied",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }
}

impl StoreError {
    /// Of a kind, because of `source`: an error, or a text that says what happened. Without secrets.
    pub fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Arc::from(source.into()) }
    }

    /// What kind of problem it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether another try, later, may go well without anybody's help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use StoreErrorKind as Kind;
        matches!(self.kind, Kind::Unavailable | Kind::TimedOut | Kind::CircuitOpen | Kind::Full)
    }

    /// With everything that led to it, for logs.
    #[must_use]
    pub(crate) fn chain(&self) -> String {
        let mut text = format!("{self}: {}", self.source);
        let mut next = self.source.source();
        // A chain has an end; whoever wrote it may have thought otherwise.
        for _ in 0..16 {
            let Some(source) = next else { break };
            let said = format!(": {source}");
            // Some say themselves what their source says.
            if !text.ends_with(&said) {
                text.push_str(&said);
            }
            next = source.source();
        }
        text
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached",
            StoreErrorKind::TimedOut => "the store did not answer in time",
            StoreErrorKind::CircuitOpen => "the store was not asked, it has failed several times in a row",
            StoreErrorKind::Full => "the store has no room",
            StoreErrorKind::TooLarge => "the entry is larger than the store takes",
            StoreErrorKind::Denied => "the store refused",
            StoreErrorKind::Corrupt => "the store is damaged",
            StoreErrorKind::Internal => "the store has a bug",
        })
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Because(&'static str, Option<Box<Because>>);

    impl fmt::Display for Because {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Because {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|because| because as _)
        }
    }

    #[test]
    fn what_led_to_it_is_said_once() {
        let refused = Because("refused", None);
        let repeats = Because("no way there: refused", Some(Box::new(refused)));
        let problem = StoreError::new(StoreErrorKind::Unavailable, Because("no entry", Some(Box::new(repeats))));
        assert_eq!(problem.chain(), "the store cannot be reached: no entry: no way there: refused");
        // A part of a word is another.
        let node = Because("no way to node-11", Some(Box::new(Because("1", None))));
        assert!(StoreError::new(StoreErrorKind::Unavailable, node).chain().ends_with("node-11: 1"));
    }
}
