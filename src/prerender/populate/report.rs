//! What came of it.

use std::fmt;
use std::time::Duration;

use crate::error::ConfigError;
use crate::prerender::UnusableExport;
use crate::store::{StoreError, StoreErrorKind};

/// What a store says is cut to so many characters.
const MOST_SAID: usize = 500;

/// Reasons that each say something else would be as long as the list.
const MOST_REASONS: usize = 20;

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PopulateError {
    /// A setting cannot be, or is missing: which one, what was expected, and what came.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// The export cannot be read.
    #[error(transparent)]
    Export(#[from] UnusableExport),
    /// The store cannot be asked for its ledger.
    #[error("the store's ledger cannot be read")]
    Store(#[from] StoreError),
}

/// A page that was not written, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct NotWritten {
    /// Its path.
    pub path: String,
    /// Why, for people: at most 500 characters.
    pub reason: String,
}

/// What came of populating a store. `Display` is a summary of a few lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Populated {
    /// Pages in the export.
    pub pages: usize,
    /// Pages that were written; with [`dry_run`](super::Populate::dry_run), that would have been.
    pub written: usize,
    /// Their bytes, as entries.
    pub bytes: u64,
    /// Pages that need not be written: they are there, or nobody could use them. Sorted by path.
    pub skipped: Vec<NotWritten>,
    /// Pages that could not be written. Sorted by path.
    pub failed: Vec<NotWritten>,
    /// The store does not let us write: the pages after those were not tried.
    pub denied: bool,
    /// Rows of the manifest that cannot be used, besides those of pages that were not rendered.
    pub ignored: usize,
    /// Nothing was really written.
    pub dry_run: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl Populated {
    pub(super) fn new(pages: usize, ignored: usize, dry_run: bool) -> Self {
        Self { pages, ignored, dry_run, ..Self::default() }
    }

    /// Whether every page of the export that is of use is in the store now.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && !self.denied
    }

    pub(super) fn skip(&mut self, path: String, reason: &str) {
        self.skipped.push(NotWritten { path, reason: reason.to_owned() });
    }

    pub(super) fn fail(&mut self, path: String, reason: String) {
        let reason =
            if reason.chars().nth(MOST_SAID).is_some() { reason.chars().take(MOST_SAID).collect() } else { reason };
        self.failed.push(NotWritten { path, reason });
    }

    pub(super) fn refused(&mut self, path: String, problem: &StoreError) {
        self.denied |= problem.kind() == StoreErrorKind::Denied;
        self.fail(path, problem.chain());
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.written += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn add(&mut self, other: Self) {
        self.written += other.written;
        self.bytes += other.bytes;
        self.skipped.extend(other.skipped);
        self.failed.extend(other.failed);
        self.denied |= other.denied;
    }

    pub(super) fn sort(&mut self) {
        for list in [&mut self.skipped, &mut self.failed] {
            list.sort_by(|a, b| a.path.cmp(&b.path));
        }
    }
}

impl fmt::Display for Populated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrote = if self.dry_run { "would write" } else { "wrote" };
        let Self { pages, written, bytes, skipped, failed, elapsed, .. } = self;
        let (skips, failures) = (skipped.len(), failed.len());
        write!(
            f,
            "{wrote} {written} of {pages} pages, {bytes} bytes, in {elapsed:.1?}; {skips} skipped, {failures} failed"
        )?;
        for (what, list) in [("skipped", skipped), ("failed", failed)] {
            for (reason, of) in by_reason(list) {
                let NotWritten { path, .. } = of[0];
                write!(f, "\n  {what}: {} ({path:?}{}): {reason}", of.len(), if of.len() > 1 { ", …" } else { "" })?;
            }
        }
        if self.ignored > 0 {
            write!(f, "\n  {} rows of the manifest cannot be used; `axum-isr inspect` shows which", self.ignored)?;
        }
        if self.denied {
            write!(f, "\n  the store does not let us write; the rest was not tried")?;
        }
        Ok(())
    }
}

fn by_reason(list: &[NotWritten]) -> Vec<(&str, Vec<&NotWritten>)> {
    let mut groups: Vec<(&str, Vec<&NotWritten>)> = Vec::new();
    for not in list {
        if let Some((_, of)) = groups.iter_mut().find(|(reason, _)| *reason == not.reason) {
            of.push(not);
        } else if groups.len() < MOST_REASONS {
            groups.push((&not.reason, vec![not]));
        }
    }
    groups
}
