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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Everything,
    Tag(Tag),
    Path(CanonicalPath),
    Prefix(CanonicalPath),
    /// A route's pattern, as axum's `MatchedPath` has it.
    Route(String),
}

/// One invalidation of one thing: a verb on a tag, a path, a prefix, a route, or everything. What a store's ledger keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    pub(crate) verb: Verb,
    pub(crate) target: Target,
}

impl Mark {
    /// On everything: what marks are folded into.
    #[must_use]
    pub fn everything(verb: Verb) -> Self {
        Self { verb, target: Target::Everything }
    }

    /// What it does to what it names.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Whether it is on everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.target == Target::Everything
    }

    /// As text, for a store's ledger: a letter for the verb (`r`, `e`), one for the kind (`t` tag, `p` path, `x` prefix,
    /// `u` route, `*` everything), and the rest. Marks are equal when their texts are.
    #[must_use]
    pub fn to_text(&self) -> String {
        let verb = match self.verb {
            Verb::Revalidate => 'r',
            Verb::Expire => 'e',
        };
        let (kind, rest) = self.target.parts();
        let mut text = String::with_capacity(2 + rest.len());
        text.extend([verb, kind.letter()]);
        text.push_str(rest);
        text
    }

    /// What [`to_text`](Self::to_text) wrote. A text that it has not written, or another version has, is read as
    /// everything, to be expired: what cannot be understood must not be missed.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self::parse(text).unwrap_or(Self::everything(Verb::Expire))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut letters = text.chars();
        let verb = match letters.next()? {
            'r' => Verb::Revalidate,
            'e' => Verb::Expire,
            _ => return None,
        };
        let kind = letters.next()?;
        let rest = letters.as_str();
        let target = match kind {
            't' => Target::Tag(Tag::new(rest).ok()?),
            'p' => Target::path(rest).ok()?,
            'x' => Target::prefix(rest).ok()?,
            'u' => Target::route(rest).ok()?,
            '*' if rest.is_empty() => Target::Everything,
            _ => return None,
        };
        Some(Self { verb, target })
    }
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

    /// What it names, in a word.
    #[cfg(feature = "metrics")]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Tag(_) => "tag",
            Self::Path(_) => "path",
            Self::Prefix(_) => "prefix",
            Self::Route(_) => "route",
        }
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

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Everything => '*',
            Self::Tag => 't',
            Self::Path => 'p',
            Self::Prefix => 'x',
            Self::Route => 'u',
        }
    }
}

fn absolute(what: &'static str, path: &str) -> Result<(), ConfigError> {
    if path.starts_with('/') {
        return Ok(());
    }
    // It may come from a webhook: a part of it says enough.
    let shown: String = path.chars().take(64).collect();
    Err(ConfigError::new(what, "a path that begins with /", format_args!("{shown:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_from_its_text() {
        let targets = [
            Target::Everything,
            Target::Tag(Tag::new("post:é 1").expect("a tag")),
            Target::path("/a%20b/").expect("a path"),
            Target::prefix("/").expect("a prefix"),
            Target::route("/posts/{slug}").expect("a route"),
        ];
        for target in targets {
            for verb in [Verb::Revalidate, Verb::Expire] {
                let mark = Mark { verb, target: target.clone() };
                assert_eq!(Mark::from_text(&mark.to_text()), mark, "{}", mark.to_text());
            }
        }
        assert_eq!(Mark::everything(Verb::Revalidate).to_text(), "r*");
    }

    /// What another version wrote is not missed.
    #[test]
    fn an_unknown_text_expires_everything() {
        for text in ["", "r", "e", "zt1", "rz/a", "et", "ep", "epa", "ex/?", "e*x", "é"] {
            assert_eq!(Mark::from_text(text), Mark::everything(Verb::Expire), "{text:?}");
        }
    }
}
