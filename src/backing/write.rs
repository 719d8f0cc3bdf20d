//! Entries on their way to the store: in the background, the newest of each key, a few at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::attached::Backing;
use crate::entry::codec::{Frame, Kind, Made, PageRecord, ValueRecord};
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::ledger::{Covered, Verdict};
use crate::memory::{Page, Value};
use crate::policy::tag::Tag;
use crate::store::{Item, Note, Put, StoreError, StoreErrorKind, StoreKey, Version};
use crate::telemetry;

/// So many are written at once.
const WRITERS: usize = 4;

/// How long those who wait for a lease find what its holder has left: longer than they wait.
const NOTE_FOR: Duration = Duration::from_secs(10);

/// So many pages that could not be removed are remembered.
const MOST_REMOVALS: usize = 1_024;

/// What a job costs besides what it holds.
const JOB_BYTES: usize = 256;

/// What the store is to learn about a key.
pub(crate) enum Job {
    Page {
        page: Arc<Page>,
        tags: Vec<Tag>,
        made: Made,
        /// What is there is of no use, though it may look newer.
        over: Option<Version>,
    },
    Value {
        value: Arc<Value>,
        made: Made,
        over: Option<Version>,
    },
    /// It is not shared any more.
    Remove {
        made: Made,
    },
    /// Nothing but what its lease says.
    Nothing(Note),
}

impl Job {
    fn bytes(&self) -> usize {
        JOB_BYTES
            + match self {
                Self::Page { page, .. } => page.entry.weight(),
                Self::Value { value, .. } => value.body.len(),
                Self::Remove { .. } | Self::Nothing(_) => 0,
            }
    }

    fn made(&self) -> Option<Made> {
        match self {
            Self::Page { made, .. } | Self::Value { made, .. } | Self::Remove { made } => Some(*made),
            Self::Nothing(_) => None,
        }
    }

    fn over(&self) -> Option<Version> {
        match self {
            Self::Page { over, .. } | Self::Value { over, .. } => *over,
            Self::Remove { .. } | Self::Nothing(_) => None,
        }
    }

    /// Whether this says more than another one.
    fn replaces(&self, other: &Self) -> bool {
        match (self.made(), other.made()) {
            (Some(this), Some(other)) => !version(other).is_newer_than(version(this)),
            (this, _) => this.is_some(),
        }
    }
}

fn version(made: Made) -> Version {
    Version { epoch: made.place.epoch, stamp: made.place.stamp, begun: made.begun }
}

struct Waiting {
    job: Job,
    /// The lease on it is given back when it is done.
    leased: bool,
}

/// Entries on their way to the store.
pub(crate) struct Writes {
    queue: Mutex<Queue>,
    max_bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: HashMap<CacheKey, Waiting>,
    order: VecDeque<CacheKey>,
    /// What could not be removed, to be tried again: it must not be served any more.
    removals: HashMap<CacheKey, Made>,
    /// Those that are being written. What comes for them meanwhile waits, so that the last word is the last.
    busy: HashSet<CacheKey>,
    bytes: usize,
    writers: usize,
}

impl Writes {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Notes what is to be done; `false` if there is no room. What was dropped is returned, to be dropped elsewhere.
    fn push(&self, key: &CacheKey, job: Job, leased: bool) -> (bool, Option<Job>) {
        let mut queue = self.lock();
        if let Some(mut there) = queue.waiting.remove(key) {
            there.leased |= leased;
            queue.bytes -= there.job.bytes();
            let gone = if job.replaces(&there.job) { std::mem::replace(&mut there.job, job) } else { job };
            queue.bytes += there.job.bytes();
            queue.waiting.insert(key.clone(), there);
            return (true, Some(gone));
        }
        if queue.bytes + job.bytes() > self.max_bytes {
            return (false, Some(job));
        }
        queue.bytes += job.bytes();
        queue.waiting.insert(key.clone(), Waiting { job, leased });
        queue.order.push_back(key.clone());
        (true, None)
    }

    /// The next one; `None`, and there is a writer less, if there is none. What is busy is left to who writes it.
    fn next(&self) -> Option<(CacheKey, Waiting)> {
        let mut queue = self.lock();
        let free = queue.order.iter().position(|key| !queue.busy.contains(key));
        if let Some(key) = free.and_then(|at| queue.order.remove(at))
            && let Some(waiting) = queue.waiting.remove(&key)
        {
            queue.bytes -= waiting.job.bytes();
            queue.busy.insert(key.clone());
            return Some((key, waiting));
        }
        // Under the lock: what is pushed from here on finds the place free.
        queue.writers -= 1;
        if queue.order.is_empty() && queue.writers == 0 {
            // A flood leaves no room behind.
            *queue = Queue { removals: std::mem::take(&mut queue.removals), ..Queue::default() };
        }
        None
    }

    /// `false` if there is no room for it.
    fn not_removed(&self, key: &CacheKey, made: Made) -> bool {
        let mut queue = self.lock();
        let room = queue.removals.len() < MOST_REMOVALS || queue.removals.contains_key(key);
        if room {
            queue.removals.insert(key.clone(), made);
        }
        room
    }

    fn written(&self, key: &CacheKey) {
        self.lock().busy.remove(key);
    }

    /// Takes a place among the writers, if there is one and something to do.
    fn begin(&self) -> bool {
        let mut queue = self.lock();
        let begins = queue.writers < WRITERS && queue.waiting.len() >= queue.writers && !queue.waiting.is_empty();
        queue.writers += usize::from(begins);
        begins
    }
}

/// Tells the store about a key, in the background. `leased`: the lease on it is given back then.
pub(crate) fn write(shared: &Arc<Shared>, key: &CacheKey, job: Job, leased: bool, runtime: &Handle) {
    let Some(backing) = &shared.backing else { return };
    let (taken, gone) = backing.writes.push(key, job, leased);
    if !taken {
        let mut note = Note::Failed;
        match gone {
            Some(Job::Nothing(says)) => note = says,
            Some(Job::Remove { made }) => not_removed(shared, backing, key, made, "full"),
            _ => telemetry::unwritten(shared, "full"),
        }
        if leased {
            let (backing, key) = (Arc::clone(backing), shared.store_key(key));
            runtime.spawn(async move { backing.release(&key, note).await });
        }
        return;
    }
    if backing.writes.begin() {
        let doing = Doing::Nothing;
        let writer = Writer { shared: Arc::clone(shared), backing: Arc::clone(backing), doing };
        shared.tracker.spawn_on(writer.run(), runtime);
    }
}

/// It is still there, and must not be served any more.
fn not_removed(shared: &Shared, backing: &Backing, key: &CacheKey, made: Made, reason: &'static str) {
    telemetry::unwritten(shared, reason);
    if !backing.writes.not_removed(key, made) {
        telemetry::not_removed(key);
    }
}

/// The store can be reached: what could not be removed is tried again.
pub(super) fn remove_again(shared: &Arc<Shared>) {
    let (Some(backing), Ok(runtime)) = (&shared.backing, Handle::try_current()) else { return };
    if !backing.guard.takes_writes() {
        return;
    }
    let removals = std::mem::take(&mut backing.writes.lock().removals);
    for (key, made) in removals {
        write(shared, &key, Job::Remove { made }, false, &runtime);
    }
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
    doing: Doing,
}

#[derive(PartialEq, Eq)]
enum Doing {
    Nothing,
    /// `says_something`: and not only that a lease is given back.
    Writing {
        key: CacheKey,
        says_something: bool,
    },
    /// Its place is free.
    Done,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Doing::Writing { key, says_something } = &self.doing {
            self.backing.writes.written(key);
            if *says_something {
                telemetry::unwritten(&self.shared, "given-up");
            }
        }
        if self.doing != Doing::Done {
            self.backing.writes.lock().writers -= 1;
        }
    }
}

impl Writer {
    async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let _ = stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) {
        while let Some((key, waiting)) = self.backing.writes.next() {
            let says_something = waiting.job.made().is_some();
            self.doing = Doing::Writing { key: key.clone(), says_something };
            self.write(&key, waiting).await;
            self.doing = Doing::Nothing;
            self.backing.writes.written(&key);
        }
        self.doing = Doing::Done;
    }

    async fn write(&self, key: &CacheKey, Waiting { job, leased }: Waiting) {
        let (shared, backing) = (&self.shared, &self.backing);
        let store_key = shared.store_key(key);
        let note = match &job {
            Job::Nothing(note) => *note,
            Job::Remove { made } => {
                if let Err(problem) = backing.guard.remove(&store_key, version(*made)).await {
                    not_removed(shared, backing, key, *made, problem.kind().as_str());
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
        Job::Remove { .. } | Job::Nothing(_) => None,
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
        Job::Remove { .. } | Job::Nothing(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing that is pushed after the writers have looked is left lying.
    #[test]
    fn a_writer_that_finds_nothing_has_given_up_its_place() {
        let (writes, key) = (Writes::new(1 << 20), CacheKey::new(b"k"));
        let push = || writes.push(&key, Job::Nothing(Note::Failed), false).0;
        assert!(push() && writes.begin());
        assert!(push() && writes.begin(), "a second one, while the first has not begun");
        assert!(writes.next().is_some());
        assert!(push() && writes.next().is_none() && writes.begin(), "what is being written is left alone");
        writes.written(&key);
        assert!(writes.next().is_some());
        writes.written(&key);
        // Both find nothing; neither has ended.
        assert!(writes.next().is_none() && writes.next().is_none());
        assert!(push() && writes.begin());
        assert!(writes.next().is_some() && writes.next().is_none());
        assert_eq!(writes.lock().writers, 0);
    }
}
