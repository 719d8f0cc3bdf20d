//! The rows of a manifest that are not used, and why.

use std::collections::BTreeMap;

/// The most rows of which more is kept than the reason.
const MAX_NAMED: usize = 1_000;

/// The longest text that is kept of one, in bytes.
const MAX_TEXT: usize = 200;

/// Why a row is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It is not a row: another type, or one of its fields has another type.
    Shape,
    /// It says that it was not rendered.
    NotRendered,
    /// Another kind of router rendered it.
    Router,
    /// A pattern with parameters, of which no path is given.
    NoPath,
    /// What is shown until the page is there.
    Fallback,
    /// Its content belongs to another path.
    Rewrite,
    /// A redirect that would be served as a page.
    Redirect,
    Path,
    File,
    Status,
    Revalidate,
    Expire,
    Tags,
    Headers,
    Inputs,
    /// Not a SHA-256 in hexadecimal.
    Digest,
    /// The first row of this page is used.
    Duplicate,
}

impl Reason {
    /// One word or two, for logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::NotRendered => "not-rendered",
            Self::Router => "router",
            Self::NoPath => "no-path",
            Self::Fallback => "fallback",
            Self::Rewrite => "rewrite",
            Self::Redirect => "redirect",
            Self::Path => "path",
            Self::File => "file",
            Self::Status => "status",
            Self::Revalidate => "revalidate",
            Self::Expire => "expire",
            Self::Tags => "tags",
            Self::Headers => "headers",
            Self::Inputs => "inputs",
            Self::Digest => "digest",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A row that is not used. Its texts are escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IgnoredRow {
    /// Its path, or its route if it has none.
    pub(crate) page: String,
    pub(crate) reason: Reason,
    /// What was expected and what came, or what the manifest says.
    pub(crate) detail: String,
}

/// All rows that are not used: how many for which reason, and more of the first 1,000.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignored {
    counts: BTreeMap<Reason, usize>,
    first: Vec<IgnoredRow>,
}

impl Ignored {
    pub(super) fn add(&mut self, reason: Reason, page: &str, detail: &str) {
        *self.counts.entry(reason).or_default() += 1;
        if self.has_room() {
            self.first.push(IgnoredRow { page: short(page), reason, detail: short(detail) });
        }
    }

    /// Whether more than the reason of the next one is kept.
    /// Those that say that their page was rendered.
    pub(crate) fn unusable(&self) -> usize {
        self.counts().filter(|(reason, _)| *reason != Reason::NotRendered).map(|(_, count)| count).sum()
    }

    pub(super) fn has_room(&self) -> bool {
        self.first.len() < MAX_NAMED
    }

    pub(crate) fn len(&self) -> usize {
        self.counts.values().sum()
    }

    #[cfg(test)]
    pub(crate) fn count(&self, reason: Reason) -> usize {
        self.counts.get(&reason).copied().unwrap_or_default()
    }

    /// How many for which reason.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Reason, usize)> {
        self.counts.iter().map(|(reason, count)| (*reason, *count))
    }

    /// The first 1,000.
    pub(crate) fn first(&self) -> &[IgnoredRow] {
        &self.first
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let texts = self.first.iter().map(|row| row.page.capacity() + row.detail.capacity()).sum::<usize>();
        texts + self.first.capacity() * size_of::<IgnoredRow>() + self.counts.len() * size_of::<(Reason, usize)>()
    }
}

/// For people: escaped, so that it cannot write into a log what it likes, and cut.
pub(super) fn short(text: &str) -> String {
    let mut short = String::new();
    for character in text.chars() {
        if short.len() >= MAX_TEXT {
            short.push('…');
            break;
        }
        match character {
            '"' | '\'' => short.push(character),
            _ => short.extend(character.escape_debug()),
        }
    }
    short
}
