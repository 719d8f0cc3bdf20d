//! Marks: what an invalidation says, and about what.

use std::fmt;

use super::path::{CanonicalPath, MAX_PREFIX_SEGMENTS};
use crate::error::ConfigError;
use crate::policy::tag::Tag;

/// What an invalidation does to the entries that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Visitors get the old page while a new one is rendered.
    Revalidate,
    /// The old page may not be served again.
    Expire,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Revalidate => "revalidate",
            Self::Expire => "expire",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a mark is about. Kinds never mix: no tag equals a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Everything,
    Tag(Tag),
    Path(CanonicalPath),
    Prefix(CanonicalPath),
    /// A route's pattern, as axum's `MatchedPath` has it.
    Route(String),
}

/// One invalidation of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) verb: Verb,
    pub(crate) target: Target,
}

impl Target {
    /// # Errors
    ///
    /// When it does not begin with `/`.
    pub(crate) fn path(path: &str) -> Result<Self, ConfigError> {
        absolute("path", path)?;
        Ok(Self::Path(CanonicalPath::new(path)))
    }

    /// # Errors
    ///
    /// When it does not begin with `/`, has a query, or is deeper than prefixes are compared.
    pub(crate) fn prefix(prefix: &str) -> Result<Self, ConfigError> {
        absolute("prefix", prefix)?;
        if prefix.contains('?') {
            return Err(ConfigError::new("prefix", "a path without a query", format_args!("{prefix:?}")));
        }
        let prefix = CanonicalPath::new(prefix);
        if prefix.segments() > MAX_PREFIX_SEGMENTS {
            let expected = format!("at most {MAX_PREFIX_SEGMENTS} segments");
            return Err(ConfigError::new("prefix", expected, prefix.segments()));
        }
        Ok(Self::Prefix(prefix))
    }

    /// # Errors
    ///
    /// When it does not begin with `/`.
    pub(crate) fn route(pattern: &str) -> Result<Self, ConfigError> {
        absolute("route", pattern)?;
        Ok(Self::Route(pattern.to_owned()))
    }

    /// The kind and the text; the name of an entry's part is the same pair.
    pub(super) fn parts(&self) -> (Kind, &str) {
        match self {
            Self::Everything => (Kind::Everything, ""),
            Self::Tag(tag) => (Kind::Tag, tag.as_str()),
            Self::Path(path) => (Kind::Path, path.as_str()),
            Self::Prefix(prefix) => (Kind::Prefix, prefix.as_str()),
            Self::Route(pattern) => (Kind::Route, pattern),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = self.parts();
        match kind {
            Kind::Everything => f.write_str("everything"),
            Kind::Tag => write!(f, "tag {text}"),
            Kind::Path => write!(f, "path {text}"),
            Kind::Prefix => write!(f, "prefix {text}"),
            Kind::Route => write!(f, "route {text}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Everything,
    Tag,
    Path,
    Prefix,
    Route,
}

fn absolute(what: &'static str, path: &str) -> Result<(), ConfigError> {
    if path.starts_with('/') {
        return Ok(());
    }
    // It may come from a webhook: a part of it says enough.
    let shown: String = path.chars().take(64).collect();
    Err(ConfigError::new(what, "a path that begins with /", format_args!("{shown:?}")))
}
