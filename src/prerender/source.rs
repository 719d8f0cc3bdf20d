//! Where an export is read from.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

/// Where a manifest and the files beside it are read from: a folder, the executable, a server.
///
/// [`Seeds::dir`](super::Seeds::dir) and [`Seeds::embedded`](super::Seeds::embedded) bring their own.
#[async_trait]
pub trait SeedSource: Send + Sync + 'static {
    /// The file at `path`, `None` if there is none. Of a file with more than `max` bytes no more is read than it takes to
    /// see that: [`SeedErrorKind::TooLarge`].
    ///
    /// `path` is relative, its segments are separated by `/`, and none of them is empty, `.`, `..`, or has a backslash, a
    /// colon or a control character in it. What lies outside (through a symbolic link, a redirect) is not read.
    ///
    /// # Errors
    ///
    /// The kind says whether it is worth trying again.
    ///
    /// # Cancel safety
    ///
    /// A future may be dropped at any await: nothing is lost but its answer.
    async fn read(&self, path: &str, max: usize) -> Result<Option<SeedFile>, SeedError>;

    /// For people: what is read from. No secrets.
    fn name(&self) -> String;
}

/// A file of an export.
#[derive(Clone, Debug)]
pub struct SeedFile {
    /// All of it.
    pub bytes: Bytes,
    /// When it was changed, if that is known.
    pub modified: Option<SystemTime>,
}

/// Why a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedErrorKind {
    /// It may go well later: the source does not answer, or says that it cannot now.
    Unavailable,
    /// It will not go well: it is not a file, may not be read, or is not what it should be.
    Refused,
    /// It has more bytes than were allowed.
    TooLarge,
}

impl SeedErrorKind {
    /// One word, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::TooLarge => "too-large",
        }
    }
}

/// Why a file could not be read: a kind, and what the source said.
#[derive(Clone, Debug)]
pub struct SeedError {
    kind: SeedErrorKind,
    source: Arc<dyn Error + Send + Sync>,
}

impl SeedError {
    /// Of a kind, because of `source`: an error, or a text that says what was expected and what came. Without secrets.
    pub fn new(kind: SeedErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Arc::from(source.into()) }
    }

    /// Whether it is worth trying again.
    #[must_use]
    pub fn kind(&self) -> SeedErrorKind {
        self.kind
    }
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SeedErrorKind::Unavailable => "it cannot be read now",
            SeedErrorKind::Refused => "it cannot be used",
            SeedErrorKind::TooLarge => "it is too large",
        })
    }
}

impl Error for SeedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
