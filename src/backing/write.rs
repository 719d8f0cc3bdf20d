//! Entries on their way to the store: in the background, the newest of each key, a few at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::attached::Backing;
use super::queue::{Job, Veto, Waiting, version};
use crate::entry::codec::{Frame, Kind, PageRecord, ValueRecord};
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::ledger::{Covered, Verdict};
use crate::store::{Item, Note, Put, StoreError, StoreErrorKind, StoreKey};
use crate::telemetry;

/// How long those who wait for a lease find what its holder has left: longer than they wait.
const NOTE_FOR: Duration = Duration::from_secs(10);

/// Tells the store about a key, in the background. `leased`: the lease on it is given back then.
pub(crate) fn write(shared: &Arc<Shared>, key: &CacheKey, job: Job, leased: bool, runtime: &Handle) {
    let Some(backing) = &shared.backing else { return };
    let (taken, gone) = backing.writes.push(key, job, leased);
    if !taken {
        let mut note = Note::Failed;
        match gone {
            Some(Job::Nothing(says)) => note = says,
            Some(Job::Remove(veto)) => could_not_remove(shared, backing, key, veto),
            _ => telemetry::unwritten(shared, "full"),
        }
        if leased {
            let (backing, key) = (Arc::clone(backing), shared.store_key(key));
            runtime.spawn(async move { backing.release(&key, note).await });
        }
        return;
    }
    start_writer(shared, backing, runtime);
}

fn start_writer(shared: &Arc<Shared>, backing: &Arc<Backing>, runtime: &Handle) {
    // A put, a removal, another put, and the lease.
    let patience = backing.guard.deadlines.write.saturating_mul(5);
    if let Some(number) = backing.writes.begin(patience) {
        let writer = Writer { shared: Arc::clone(shared), backing: Arc::clone(backing), number, says_something: false };
        shared.tracker.spawn_on(writer.run(), runtime);
    }
}

/// It may still be there, and must not be served any more.
fn could_not_remove(shared: &Shared, backing: &Backing, key: &CacheKey, veto: Veto) {
    if !backing.writes.remember(key, veto) {
        telemetry::unwritten(shared, "too-many-removals");
        telemetry::not_removed(shared, key);
    }
}

/// What was left undone, now that the store can be reached: so many that could not be removed are to be removed again, and
/// what waits for a writer that does not go on gets another one.
pub(crate) fn catch_up(shared: &Arc<Shared>, most: usize) {
    let (Some(backing), Ok(runtime)) = (&shared.backing, Handle::try_current()) else { return };
    if !backing.guard.takes_writes() {
        return;
    }
    for (key, veto) in backing.writes.take_removals(most) {
        write(shared, &key, Job::Remove(veto), false, &runtime);
    }
    start_writer(shared, backing, &runtime);
}

impl Backing {
    async fn release(&self, key: &StoreKey, note: Note) {
        // One that is not given back runs out.
        let _ = self.guard.release(key, self.token, note, NOTE_FOR).await;
    }
}

/// Writes until there is nothing to write, or its runtime ends.
struct Writer {
    shared: Arc<Shared>,
    backing: Arc<Backing>,
    number: u64,
    /// What it writes is more than a lease that is given back.
    says_something: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.backing.writes.end(self.number) && self.says_something {
            telemetry::unwritten(&self.shared, "given-up");
        }
    }
}

impl Writer {
    async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let _ = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) {
        while let Some((key, waiting)) = self.backing.writes.next(self.number) {
            self.says_something = waiting.job.when().is_some();
            self.write(&key, waiting).await;
            self.says_something = false;
            self.backing.writes.written(self.number);
        }
    }

    async fn write(&self, key: &CacheKey, Waiting { job, leased }: Waiting) {
        let (shared, backing) = (&self.shared, &self.backing);
        let store_key = shared.store_key(key);
        let note = match &job {
            Job::Nothing(note) => *note,
            Job::Remove(veto) => {
                // What is of a ledger that was not known then is judged by the one that is known now.
                let place = veto.place.or(shared.ledger.view.since().place);
                let removed = match (Veto { place, ..*veto }).version() {
                    Some(upto) => backing.guard.remove(&store_key, upto).await.is_ok(),
                    None => false,
                };
                if !removed {
                    could_not_remove(shared, backing, key, *veto);
                }
                Note::Pass
            }
            Job::Page { .. } | Job::Value { .. } => match self.put(key, &store_key, &job).await {
                Ok(true) => Note::Stored,
                Ok(false) => Note::Failed,
                Err(problem) => {
                    telemetry::unwritten(shared, problem.kind().as_str());
                    Note::Failed
                }
            },
        };
        drop(job);
        if leased {
            backing.release(&store_key, note).await;
        }
    }

    /// `false` if it is not worth it.
    async fn put(&self, key: &CacheKey, store_key: &StoreKey, job: &Job) -> Result<bool, StoreError> {
        let (shared, backing) = (&self.shared, &self.backing);
        if covered(job).is_none_or(|covered| covered.verdict(&shared.ledger.view) != Verdict::Good) {
            return Ok(false);
        }
        let frame = frame(shared, key, job);
        let sealed =
            frame.and_then(|frame| Some((frame.seal(&shared.scope, key.as_bytes(), &backing.keys)?, frame.made)));
        let Some((bytes, made)) = sealed else {
            return Ok(false);
        };
        let most = backing.guard.profile().max_bytes;
        if bytes.len() > most {
            let problem = format!("{} bytes, it takes {most}", bytes.len());
            return Err(StoreError::new(StoreErrorKind::TooLarge, problem));
        }
        let item = Item { key: store_key.clone(), version: version(made), bytes, keep: backing.keep() };
        let mut put = backing.guard.put(&item).await?;
        if let (Put::KeptNewer, Some(useless)) = (put, job.over()) {
            // Else it would be there for as long as entries are kept, and nobody could share this page.
            backing.guard.remove(&item.key, useless).await?;
            put = backing.guard.put(&item).await?;
        }
        if put == Put::Stored {
            telemetry::written(shared, &item.key, item.bytes.len());
        }
        Ok(true)
    }
}

fn covered(job: &Job) -> Option<&Covered> {
    match job {
        Job::Page { page, .. } => Some(&page.covered),
        Job::Value { value, .. } => Some(&value.covered),
        Job::Remove(_) | Job::Nothing(_) => None,
    }
}

fn frame(shared: &Shared, key: &CacheKey, job: &Job) -> Option<Frame> {
    Some(match job {
        Job::Page { page, tags, made, .. } => {
            let record = PageRecord {
                window: *page.entry.window(),
                tags: tags.clone(),
                status: page.entry.status(),
                headers: page.entry.own_headers(&shared.headers),
                for_head: page.maker.is_for_head(),
            };
            let body = page.entry.body().clone();
            Frame { kind: Kind::Page, made: *made, record: record.write(&shared.scope, key.as_bytes())?, body }
        }
        Job::Value { value, made, .. } => {
            let record = ValueRecord {
                window: value.window,
                tags: value.tags.to_vec(),
                type_name: value.made_of.name().to_owned(),
                life: value.life,
            };
            let body = value.body.clone();
            Frame { kind: Kind::Value, made: *made, record: record.write(&shared.scope, key.as_bytes())?, body }
        }
        Job::Remove(_) | Job::Nothing(_) => return None,
    })
}
