//! The seeds of a handle: what has been read of them, and when to leave their source alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::Record;
use super::manifest::Manifest;
use super::seeds::{Seeds, Sown, Unusable};
use crate::clock::{MonoTime, Time, WallTime};
use crate::key::{Chosen, Parts};

/// How long a source that has failed twice in a row is left alone: this, then twice as long, up to the limit.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The seeds of a handle.
pub(crate) struct SeedBed {
    seeds: Seeds,
    /// The handle's: an export of others is not for it.
    ids: Chosen,
    state: Mutex<State>,
    /// Held while the manifest is read, by one for all.
    reads: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    manifest: Read,
    /// So many times in a row has the source failed; it is left alone until then.
    failures: u32,
    until: Option<MonoTime>,
}

#[derive(Clone, Default)]
enum Read {
    #[default]
    NotYet,
    Good(Arc<Sown>),
    /// It never will be.
    Useless,
}

/// A page that was found.
pub(crate) struct Seed {
    pub(crate) record: Record,
    pub(crate) body: Bytes,
    pub(crate) built_at: WallTime,
}

/// Why there is no seed.
pub(crate) enum NoSeed {
    /// Nothing to speak of: there is none for this page, or the source is left alone.
    Silent,
    Manifest(Unusable),
    Page(Unusable),
}

impl SeedBed {
    pub(crate) fn new(seeds: Seeds, ids: Chosen) -> Self {
        Self { seeds, ids, state: Mutex::default(), reads: Arc::default() }
    }

    /// Pages of the manifest that was read, and the bytes that it keeps.
    pub(crate) fn held(&self) -> (usize, usize) {
        match &self.state().manifest {
            Read::Good(sown) => (sown.manifest.len(), sown.manifest.heap_bytes()),
            Read::NotYet | Read::Useless => (0, 0),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.seeds.name()
    }

    /// The seed of a page, of at most `max` bytes.
    pub(crate) async fn find(self: &Arc<Self>, parts: &Parts<'_>, max: usize, time: &Time) -> Result<Seed, NoSeed> {
        let sown = self.sown(time).await?;
        let record = sown.manifest.find(parts).ok_or(NoSeed::Silent)?;
        if self.state().is_left_alone(time) {
            return Err(NoSeed::Silent);
        }
        let body = self.seeds.body(&record, max).await;
        self.note(body.as_ref().err(), time);
        match body {
            Ok(Some(body)) => Ok(Seed { record, body, built_at: sown.built_at }),
            Ok(None) => Err(NoSeed::Page(Unusable::Never("the manifest has it, but its file is not there".into()))),
            Err(problem) => Err(NoSeed::Page(problem)),
        }
    }

    /// The manifest, read if it has not been: by a task, so that who waits for it waits no longer than for a page.
    async fn sown(self: &Arc<Self>, time: &Time) -> Result<Arc<Sown>, NoSeed> {
        if let Some(known) = self.state().known(time) {
            return known;
        }
        let limit = self.seeds.patience();
        if let Ok(turn) = Arc::clone(&self.reads).try_lock_owned() {
            // Somebody else may have read it meanwhile.
            if let Some(known) = self.state().known(time) {
                return known;
            }
            let (bed, time) = (Arc::clone(self), time.clone());
            let read = tokio::spawn(async move {
                let _turn = turn;
                bed.read(&time).await
            });
            return match tokio::time::timeout(limit, read).await {
                Ok(Ok(read)) => read,
                // It goes on, or its runtime has ended.
                Ok(Err(_)) | Err(_) => Err(NoSeed::Silent),
            };
        }
        // What came of it holds for all who have waited.
        let _ = tokio::time::timeout(limit, self.reads.lock()).await;
        match &self.state().manifest {
            Read::Good(sown) => Ok(Arc::clone(sown)),
            Read::NotYet | Read::Useless => Err(NoSeed::Silent),
        }
    }

    async fn read(&self, time: &Time) -> Result<Arc<Sown>, NoSeed> {
        let read = match self.seeds.manifest(time).await {
            Ok(sown) => check(&self.ids, &sown.manifest).map(|()| Arc::new(sown)),
            Err(problem) => Err(problem),
        };
        self.note(read.as_ref().err(), time);
        let mut state = self.state();
        match &read {
            Ok(sown) => state.manifest = Read::Good(Arc::clone(sown)),
            Err(Unusable::Never(_)) => state.manifest = Read::Useless,
            Err(Unusable::Later(_)) => {}
        }
        read.map_err(NoSeed::Manifest)
    }

    fn note(&self, problem: Option<&Unusable>, time: &Time) {
        let mut state = self.state();
        if let Some(Unusable::Later(_)) = problem {
            state.until = Some(time.monotonic().after(pause(state.failures)));
            state.failures = state.failures.saturating_add(1);
        } else {
            (state.until, state.failures) = (None, 0);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&self, time: &Time) -> Option<Result<Arc<Sown>, NoSeed>> {
        match &self.manifest {
            Read::Good(sown) => Some(Ok(Arc::clone(sown))),
            Read::Useless => Some(Err(NoSeed::Silent)),
            Read::NotYet => self.is_left_alone(time).then_some(Err(NoSeed::Silent)),
        }
    }

    fn is_left_alone(&self, time: &Time) -> bool {
        self.until.is_some_and(|until| time.monotonic() < until)
    }
}

/// The first failure may be a mishap: the next request tries again.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 1).min(16)).min(LONGEST_PAUSE),
    }
}

/// Only what both of them say is compared.
fn check(ours: &Chosen, theirs: &Manifest) -> Result<(), Unusable> {
    for (what, ours, theirs) in [("build", &ours.build, theirs.build_id()), ("deployment", &ours.scope, theirs.scope())]
    {
        if let Some(theirs) = theirs.filter(|theirs| !theirs.is_empty() && !ours.is_empty() && theirs != ours) {
            return Err(Unusable::Never(format!("expected an export of {what} {ours:?}, got one of {theirs:?}")));
        }
    }
    Ok(())
}
