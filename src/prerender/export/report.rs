//! What came of an export.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// What an export has rendered, left out and not managed. Each list is sorted by path.
///
/// `Display` shows it for people: a line of numbers, and one for each page that is not there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Pages that are in the folder.
    pub rendered: Vec<Rendered>,
    /// Pages that are made for each visitor, or not cached.
    pub skipped: Vec<Skipped>,
    /// Pages that could not be made, and paths that cannot be.
    pub failed: Vec<Failed>,
    /// Of all bodies.
    pub bytes: u64,
    /// From the first to the last.
    pub elapsed: Duration,
    /// There were more paths than [`Export::max_pages`](super::Export::max_pages), or more links than
    /// [`Export::follow_links`](super::Export::follow_links) allow.
    pub truncated: bool,
    /// The `buildId` of the manifest.
    pub build_id: String,
}

/// A page of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rendered {
    /// With its query, as its key has it.
    pub path: String,
    /// The extension of its variant ([`Export::variant`](super::Export::variant)).
    pub variant: Option<String>,
    /// Below `prerendered-routes`.
    pub file: String,
    /// For example 200, 308 or 404.
    pub status: StatusCode,
    /// Of its body.
    pub bytes: u64,
}

/// A page that is not for everybody, and not exported therefore.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// With its query.
    pub path: String,
    /// The extension of its variant.
    pub variant: Option<String>,
    /// In a word, for example `dynamic`, `set-cookie`, `not-cached`.
    pub reason: &'static str,
}

/// A page that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// With its query; what was given, if that is no path.
    pub path: String,
    /// The extension of its variant.
    pub variant: Option<String>,
    /// In a word, for example `status`, `panicked`, `timed-out`; `path`, `source` and `sitemap` for what was given.
    pub reason: &'static str,
    /// If there was an answer.
    pub status: Option<StatusCode>,
    /// More about it, for people.
    pub problem: Option<String>,
}

impl Report {
    /// Whether nothing has failed and nothing was cut off. Pages that are skipped are skipped on purpose.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && !self.truncated
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rendered, skipped, failed, bytes, elapsed, truncated, .. } = self;
        let (rendered, left, lost) = (rendered.len(), skipped.len(), failed.len());
        write!(
            f,
            "{rendered} rendered, {left} skipped, {lost} failed; {bytes} bytes in {:.2} s",
            elapsed.as_secs_f64()
        )?;
        if *truncated {
            write!(f, "; there are more pages than were wanted")?;
        }
        let skipped = skipped.iter().map(|row| ("skipped", &row.path, &row.variant, row.reason, None, None));
        let failed = failed
            .iter()
            .map(|row| ("failed", &row.path, &row.variant, row.reason, row.status, row.problem.as_deref()));
        for (what, path, variant, reason, status, problem) in failed.chain(skipped) {
            // A terminal obeys what is in a path.
            write!(f, "\n{what:8} {:24} {}", reason_with(reason, status), path.escape_debug())?;
            if let Some(variant) = variant {
                write!(f, " [{}]", variant.escape_debug())?;
            }
            if let Some(problem) = problem {
                write!(f, ": {}", problem.escape_debug())?;
            }
        }
        Ok(())
    }
}

fn reason_with(reason: &str, status: Option<StatusCode>) -> String {
    status.map_or_else(|| reason.to_owned(), |status| format!("{reason} {}", status.as_u16()))
}

/// How far an export is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportProgress {
    /// Paths that are through, whatever came of them.
    pub done: usize,
    /// Paths that are known so far, those that are through included.
    pub known: usize,
    /// Pages that are rendered, variants included.
    pub rendered: usize,
    /// Pages that were skipped.
    pub skipped: usize,
    /// Pages that have failed.
    pub failed: usize,
    /// Of the bodies so far.
    pub bytes: u64,
    /// The latest.
    pub path: String,
}
