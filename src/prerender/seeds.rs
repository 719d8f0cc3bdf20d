//! An export as the running site uses it: the manifest read once, each page when it is asked for first.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::dir::Dir;
use super::embedded::Embedded;
use super::manifest::{MAX_MANIFEST_BYTES, Manifest};
use super::source::{SeedError, SeedErrorKind, SeedSource};
use super::{CLOCKS_DIFFER, MANIFEST, PAGES, Record};
use crate::clock::{Time, WallTime, micros};

/// Default of [`Seeds::timeout`].
const TIMEOUT: Duration = Duration::from_secs(1);

/// So many times as long may the manifest take: it is larger, and read once.
const MANIFEST_TIMES: u32 = 10;

/// After this time a manifest that is not there is looked for once more.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// Larger bodies are hashed where a thread may be blocked.
const HASHED_HERE: usize = 128 << 10;

/// Pages that were rendered before, to be used for their first visitor: an export of [`Export`](super::Export), or one that
/// vinext has written.
///
/// Given to [`IsrBuilder::seeds`](crate::IsrBuilder::seeds). The manifest is read once, when the first page is missing;
/// each page when it is missing in memory and in the store. A seed is used by the rules of live pages: what was
/// invalidated since it was made, or what its route would not keep, is rendered; its age counts from the build; and
/// whatever goes wrong with seeds, the page is rendered too.
///
/// What was invalidated is known as long as somebody remembers: without a [store](crate::IsrBuilder::store), a process that
/// starts anew knows of no invalidation, and uses the seeds again. Their `revalidate` times bound for how long;
/// [forever](crate::RouteConfig::forever) needs a store, or a new export.
///
/// ```no_run
/// use axum_isr::{Isr, prerender::Seeds};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let isr = Isr::builder().seeds(Seeds::dir("dist")).build()?;
/// # drop(isr); Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Seeds {
    source: Arc<dyn SeedSource>,
    built_at: Option<SystemTime>,
    timeout: Duration,
}

impl Seeds {
    /// From a folder, as [`Export`](super::Export) writes it: that of the manifest. It is not read here.
    ///
    /// No symbolic link in it is followed; it may be one itself.
    pub fn dir(path: impl Into<PathBuf>) -> Self {
        Self::source(Dir::new(path))
    }

    /// From the executable: `find` tells the bytes of a file by its path in the export's folder, separated by `/`. What
    /// `include_dir` and the like have embedded can be asked for that.
    ///
    /// ```
    /// use axum_isr::prerender::Seeds;
    ///
    /// // With the crate `include_dir`: |path| DIST.get_file(path).map(|file| file.contents())
    /// let seeds = Seeds::embedded(|path| match path {
    ///     "vinext-prerender.json" => Some(br#"{ "buildId": "1", "builtAt": 1767225600, "routes": [] }"#),
    ///     _ => None,
    /// });
    /// # drop(seeds);
    /// ```
    pub fn embedded(find: impl Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static) -> Self {
        Self::source(Embedded::new(find))
    }

    /// From anywhere.
    pub fn source(source: impl SeedSource) -> Self {
        Self { source: Arc::new(source), built_at: None, timeout: TIMEOUT }
    }

    /// When the pages were rendered. Default: what the manifest says (`builtAt`), else when it was changed last.
    pub fn built_at(self, at: SystemTime) -> Self {
        Self { built_at: Some(at), ..self }
    }

    /// How long a visitor waits for the manifest, or a page, to be read before his page is rendered. The manifest may take
    /// ten times as long, for those who come later. Default: 1 s.
    pub fn timeout(self, limit: Duration) -> Self {
        Self { timeout: limit, ..self }
    }

    /// The manifest, checked, and when its pages were rendered.
    pub(crate) async fn manifest(&self, time: &Time) -> Result<Sown, Unusable> {
        let limit = self.timeout.saturating_mul(MANIFEST_TIMES);
        let read = async {
            let first = self.source.read(MANIFEST, MAX_MANIFEST_BYTES).await;
            if !matches!(first, Ok(None)) {
                return first;
            }
            // Another export may be taking its place just now.
            tokio::time::sleep(SECOND_LOOK).await;
            self.source.read(MANIFEST, MAX_MANIFEST_BYTES).await
        };
        let file = match tokio::time::timeout(limit, read).await {
            Err(_) => return Err(Unusable::Later(format!("no answer in {limit:?}"))),
            Ok(Err(problem)) => return Err(Unusable::of(&problem)),
            Ok(Ok(None)) => return Err(Unusable::Never(format!("expected a {MANIFEST}, there is none"))),
            Ok(Ok(Some(file))) => file,
        };
        let bytes = file.bytes;
        let manifest = tokio::task::spawn_blocking(move || Manifest::read(&bytes)).await;
        let manifest = manifest
            .map_err(|problem| Unusable::Later(problem.to_string()))?
            .map_err(|problem| Unusable::Never(problem.to_string()))?;
        let built_at = self.built_at.or(manifest.built_at()).or(file.modified).ok_or_else(|| {
            Unusable::Never(
                "expected to know when it was made, by `builtAt` in the manifest or `Seeds::built_at`".into(),
            )
        })?;
        let since = built_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (built_at, now) = (WallTime(micros(since)), time.wall());
        if now.until(built_at) > CLOCKS_DIFFER {
            // No mark would be newer.
            let ahead = now.until(built_at);
            return Err(Unusable::Never(format!("expected a build that is over, got one {ahead:.0?} from now")));
        }
        Ok(Sown { manifest, built_at: built_at.min(now) })
    }

    /// The body of a page; `None` if its file is not there.
    pub(crate) async fn body(&self, record: &Record, max: usize) -> Result<Option<Bytes>, Unusable> {
        if let Some(bytes) = record.bytes.filter(|bytes| *bytes > max as u64) {
            return Err(Unusable::Never(format!("expected at most {max} bytes, the manifest says {bytes}")));
        }
        let path = format!("{PAGES}/{}", record.file);
        let body = match tokio::time::timeout(self.timeout, self.source.read(&path, max)).await {
            Err(_) => return Err(Unusable::Later(format!("no answer in {:?}", self.timeout))),
            Ok(Err(problem)) => return Err(Unusable::of(&problem)),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(file))) => file.bytes,
        };
        if let Some(bytes) = record.bytes.filter(|bytes| *bytes != body.len() as u64) {
            return Err(Unusable::Never(format!("expected {bytes} bytes, got {}", body.len())));
        }
        let Some(expected) = record.digest else { return Ok(Some(body)) };
        let digest = if body.len() <= HASHED_HERE {
            Sha256::digest(&body)
        } else {
            let body = body.clone();
            let hashed = tokio::task::spawn_blocking(move || Sha256::digest(&body)).await;
            hashed.map_err(|problem| Unusable::Later(problem.to_string()))?
        };
        if digest[..] == expected {
            return Ok(Some(body));
        }
        // Of another build, that is being copied, or was copied over this one.
        Err(Unusable::Never("expected the body that the manifest has the SHA-256 of, got another one".into()))
    }

    /// How long a visitor waits.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        self.source.name()
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeds").field("source", &self.name()).field("built_at", &self.built_at).finish_non_exhaustive()
    }
}

/// Why a manifest or a page cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It may go well later.
    Later(String),
    Never(String),
}

impl Unusable {
    fn of(problem: &SeedError) -> Self {
        let said = match std::error::Error::source(problem) {
            Some(source) => format!("{problem}: {source}"),
            None => problem.to_string(),
        };
        match problem.kind() {
            SeedErrorKind::Unavailable => Self::Later(said),
            SeedErrorKind::Refused | SeedErrorKind::TooLarge => Self::Never(said),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Later(problem) | Self::Never(problem)) = self;
        f.write_str(problem)
    }
}

/// An export that cannot be used: what was expected, and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the export cannot be used: {problem}")]
pub struct UnusableExport {
    problem: String,
    transient: bool,
}

impl UnusableExport {
    pub(crate) fn of(problem: &Unusable) -> Self {
        Self { problem: problem.to_string(), transient: matches!(problem, Unusable::Later(_)) }
    }

    /// Whether another try, later, may go well: its source did not answer.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

/// A manifest that was read, and when its pages were rendered.
pub(crate) struct Sown {
    pub(crate) manifest: Manifest,
    pub(crate) built_at: WallTime,
}
