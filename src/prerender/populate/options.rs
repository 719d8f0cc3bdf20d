//! What is configured, and the call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Plan;
use super::report::{PopulateError, Populated};
use super::run::Run;
use crate::clock::Time;
use crate::entry::codec::SigningKeys;
use crate::error::ConfigError;
use crate::key::check_id;
use crate::prerender::manifest::Manifest;
use crate::prerender::{Seeds, UnusableExport};
use crate::store::Store;

/// As [`IsrBuilder::retention`](crate::IsrBuilder::retention).
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Fills a store with the pages of an export, so that the first visitor of a new version finds them there: as
/// [`Populate::new`] with its defaults.
///
/// ```no_run
/// use axum_isr::{prerender::{Seeds, populate}, store::DiskStore};
///
/// # async fn deploy() -> Result<(), Box<dyn std::error::Error>> {
/// let report = populate(&Seeds::dir("dist"), &DiskStore::open("cache")?).await?;
/// println!("{report}");
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// When nothing can be written: the export cannot be read, its deployment is not known, or the store cannot be asked for
/// its ledger. A page that cannot be written is not an error, but part of what is returned.
pub async fn populate(seeds: &Seeds, store: &impl Store) -> Result<Populated, PopulateError> {
    Populate::new(seeds).into_store(store).await
}

/// Fills a store with the pages of an export.
///
/// What is written is what the running layer reads: same keys, same bytes, the version of the build. What is there and
/// not older stays, so a call that was broken off can be repeated.
#[derive(Clone)]
#[must_use]
pub struct Populate {
    pub(super) seeds: Seeds,
    deployment_id: Option<String>,
    pub(super) retention: Duration,
    signing_keys: Vec<Vec<u8>>,
    patterns: Vec<(String, String)>,
    pub(super) batches: usize,
    pub(super) retries: u32,
    pub(super) dry_run: bool,
    pub(super) progress: Option<Arc<Progress>>,
}

pub(super) type Progress = dyn Fn(usize, usize) + Send + Sync;

impl Populate {
    /// With the defaults of each setting.
    pub fn new(seeds: &Seeds) -> Self {
        Self {
            seeds: seeds.clone(),
            deployment_id: None,
            retention: RETENTION,
            signing_keys: Vec::new(),
            patterns: Vec::new(),
            batches: 4,
            retries: 5,
            dry_run: false,
            progress: None,
        }
    }

    /// The deployment whose pages these will be: the one that the new version has, `[A-Za-z0-9_-]+`, or empty for none.
    /// Default: what the manifest says, its scope, or the `buildId` of another tool. It has to be one of them: the
    /// fingerprint that a version without an id uses is that of its own executable.
    pub fn deployment_id(self, id: impl Into<String>) -> Self {
        Self { deployment_id: Some(id.into()), ..self }
    }

    /// How long the store keeps a page, as [`IsrBuilder::retention`](crate::IsrBuilder::retention). Default: 30 days; at
    /// least what the store asks for.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// As [`IsrBuilder::signing_keys`](crate::IsrBuilder::signing_keys), of which the first signs. Default: none.
    pub fn signing_keys<K: Into<Vec<u8>>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.signing_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// What the running router calls a pattern that the export of another tool has: `("/posts/:slug", "/posts/{id}")`.
    /// Default: `:name` is `{name}`, `:name*` and `:name+` are `{*name}`. A page is only found under the pattern that it
    /// is asked for by.
    pub fn pattern(mut self, theirs: impl Into<String>, ours: impl Into<String>) -> Self {
        self.patterns.push((theirs.into(), ours.into()));
        self
    }

    /// How many batches are written at once. Default: 4; at least 1.
    pub fn batches(self, n: usize) -> Self {
        Self { batches: n.max(1), ..self }
    }

    /// How many times what the store could not take is tried again, after 200 ms, 400 ms, and so on up to 30 s.
    /// Default: 5.
    pub fn retries(self, n: u32) -> Self {
        Self { retries: n, ..self }
    }

    /// Reads and checks everything and writes no page. (A store that was never used gets its ledger all the same: without
    /// one it cannot say what was invalidated.) Default: no.
    pub fn dry_run(self, dry: bool) -> Self {
        Self { dry_run: dry, ..self }
    }

    /// Is told how many pages of how many are done.
    pub fn on_progress(self, tell: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        Self { progress: Some(Arc::new(tell)), ..self }
    }

    /// Fills the store.
    ///
    /// # Errors
    ///
    /// As [`populate`].
    ///
    /// # Cancel safety
    ///
    /// What was written stays; a repetition does the rest.
    pub async fn into_store(self, store: &impl Store) -> Result<Populated, PopulateError> {
        let keys = SigningKeys::new(&self.signing_keys)?;
        let sown = self.seeds.manifest(&Time::system()).await.map_err(|problem| UnusableExport::of(&problem))?;
        let scope = match &self.deployment_id {
            Some(id) => check_id("deployment_id", id.clone())?,
            None => scope_of(&sown.manifest)?,
        };
        let plan = Plan::new(scope, keys, sown, self.patterns.clone(), store.profile().remembers);
        Run::new(self, plan, store).run().await
    }
}

/// Another tool's manifest has no scope: what it has is what the application calls its build.
fn scope_of(manifest: &Manifest) -> Result<String, ConfigError> {
    let of_another_tool = manifest.built_at().is_none();
    match (manifest.scope(), manifest.build_id()) {
        (Some(scope), _) => check_id("scope", scope.to_owned()),
        (None, Some(build)) if of_another_tool && !build.is_empty() => check_id("buildId", build.to_owned()),
        _ => Err(ConfigError::new("deployment_id", "an id, since the manifest has no scope", "none")),
    }
}

/// Without keys.
impl fmt::Debug for Populate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, deployment_id, dry_run, .. } = self;
        let mut debug = f.debug_struct("Populate");
        debug
            .field("seeds", seeds)
            .field("deployment_id", deployment_id)
            .field("dry_run", dry_run)
            .finish_non_exhaustive()
    }
}
