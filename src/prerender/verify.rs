//! The files of an export, compared with what its manifest says of them.

use std::fmt;

use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use super::manifest::MAX_MANIFEST_BYTES;
use super::seeds::{Seeds, Unusable, UnusableExport};
use crate::clock::Time;

/// So many files are read at once.
const READS: usize = 8;

/// A file that says nothing of its size is read up to here; no store takes as much.
const MAX_BYTES: usize = MAX_MANIFEST_BYTES;

/// What came of comparing. `Display` is one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Verification {
    /// Pages of the export.
    pub pages: usize,
    /// Files that are what the manifest says.
    pub good: usize,
    /// Files that are there, of which the manifest has no SHA-256: that of another tool.
    pub unknown: usize,
    /// Bytes that were read of those.
    pub bytes: u64,
    /// Files that are missing, cannot be read, or are other ones. In the order of the manifest.
    pub bad: Vec<BadFile>,
    /// Rows of the manifest that are not used; [`inspect`](super::inspect) says why.
    pub ignored: usize,
}

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BadFile {
    /// The path of its page.
    pub path: String,
    /// Its name, below `prerendered-routes`.
    pub file: String,
    /// What was expected and what came.
    pub reason: String,
    /// Whether it may be another one later: its source did not answer.
    pub transient: bool,
}

impl Verification {
    /// Whether no file is bad.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.bad.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, good, unknown, bytes, bad, ignored } = self;
        let bad = bad.len();
        write!(f, "{good} of {pages} pages are what the manifest says, {unknown} without a digest, {bad} bad; ")?;
        write!(f, "{bytes} bytes read, {ignored} rows ignored")
    }
}

/// Reads every file of an export and compares its length and its SHA-256 with the manifest's, eight at once. Renders
/// nothing.
///
/// # Errors
///
/// When the manifest cannot be read, or is none. A file that is not what it should be is not an error, but part of what is
/// returned.
///
/// # Cancel safety
///
/// Nothing is changed.
pub async fn verify(seeds: &Seeds) -> Result<Verification, UnusableExport> {
    let sown = seeds.manifest(&Time::system()).await.map_err(|problem| UnusableExport::of(&problem))?;
    let mut report =
        Verification { pages: sown.manifest.len(), ignored: sown.manifest.ignored().len(), ..Verification::default() };
    let read = stream::iter(sown.manifest.records())
        .map(|record| async {
            let body = seeds.body(&record, MAX_BYTES).await;
            (record, body)
        })
        .buffered(READS);
    let mut read = std::pin::pin!(read);
    while let Some((record, body)) = read.next().await {
        let (reason, transient) = match body {
            Ok(Some(body)) => {
                report.bytes += body.len() as u64;
                *if record.digest.is_some() { &mut report.good } else { &mut report.unknown } += 1;
                continue;
            }
            Ok(None) => ("expected a file, there is none".to_owned(), false),
            Err(Unusable::Later(problem)) => (problem, true),
            Err(Unusable::Never(problem)) => (problem, false),
        };
        report.bad.push(BadFile { path: record.path, file: record.file, reason, transient });
    }
    Ok(report)
}
