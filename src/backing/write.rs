//! Entries on their way to the store: in the background, the newest of each key, a few at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::attached::Backing;
use crate::entry::codec::{Frame, Kind, Made, PageRecord, ValueRecord};
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::ledger::{Covered, Place, Verdict};
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
    Remove(Veto),
    /// Nothing but what its lease says.
    Nothing(Note),
}

/// When it was found that a page is not shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Veto {
    /// `None`: nobody knew the ledger.
    pub(crate) place: Option<Place>,
    /// Microseconds since the Unix epoch.
    pub(crate) begun: u64,
}

impl Job {
    fn bytes(&self) -> usize {
        JOB_BYTES
            + match self {
                Self::Page { page, .. } => page.entry.weight(),
                Self::Value { value, .. } => value.body.len(),
                Self::Remove(_) | Self::Nothing(_) => 0,
            }
    }

    /// When what it says was begun; `None` if it says nothing.
    fn when(&self) -> Option<Veto> {
        match self {
            Self::Page { made, .. } | Self::Value { made, .. } => {
                Some(Veto { place: Some(made.place), begun: made.begun })
            }
            Self::Remove(veto) => Some(*veto),
            Self::Nothing(_) => None,
        }
    }

    fn over(&self) -> Option<Version> {
        match self {
            Self::Page { over, .. } | Self::Value { over, .. } => *over,
            Self::Remove(_) | Self::Nothing(_) => None,
        }
    }

    /// Whether this says more than another one.
    fn replaces(&self, other: &Self) -> bool {
        let (Some(this), Some(other)) = (self.when(), other.when()) else { return self.when().is_some() };
        match (this.version(), other.version()) {
            (Some(this), Some(other)) => !other.is_newer_than(this),
            _ => this.begun >= other.begun,
        }
    }
}

impl Veto {
    fn version(self) -> Option<Version> {
        self.place.map(|place| version(Made { place, begun: self.begun }))
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
    removals: HashMap<CacheKey, Veto>,
    /// Those that are being written. What comes for them meanwhile waits, so that the last word is the last.
    busy: HashSet<CacheKey>,
    bytes: usize,
    writers: HashMap<u64, Writing>,
    /// How many there have been.
    numbered: u64,
}

/// What a writer is doing.
struct Writing {
    since: Instant,
    key: Option<CacheKey>,
}

impl Queue {
    /// Its place is free, and what it was writing may be written by others.
    fn end(&mut self, writer: u64) -> bool {
        let gone = self.writers.remove(&writer);
        if let Some(key) = gone.as_ref().and_then(|gone| gone.key.as_ref()) {
            self.busy.remove(key);
        }
        gone.is_some()
    }
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

    /// The next one for a writer; `None`, and there is a writer less, if there is none. What is busy is left to who writes
    /// it.
    fn next(&self, writer: u64) -> Option<(CacheKey, Waiting)> {
        let mut queue = self.lock();
        let free = queue.order.iter().position(|key| !queue.busy.contains(key));
        if queue.writers.contains_key(&writer)
            && let Some(key) = free.and_then(|at| queue.order.remove(at))
            && let Some(waiting) = queue.waiting.remove(&key)
        {
            queue.bytes -= waiting.job.bytes();
            queue.busy.insert(key.clone());
            queue.writers.insert(writer, Writing { since: Instant::now(), key: Some(key.clone()) });
            return Some((key, waiting));
        }
        // Under the lock: what is pushed from here on finds the place free.
        queue.end(writer);
        if queue.order.is_empty() && queue.writers.is_empty() {
            // A flood leaves no room behind.
            let (removals, numbered) = (std::mem::take(&mut queue.removals), queue.numbered);
            *queue = Queue { removals, numbered, ..Queue::default() };
        }
        None
    }

    /// Is to be removed later; `false` if there is no room for it.
    fn remember(&self, key: &CacheKey, veto: Veto) -> bool {
        let mut queue = self.lock();
        let room = queue.removals.len() < MOST_REMOVALS || queue.removals.contains_key(key);
        if room {
            queue.removals.insert(key.clone(), veto);
        }
        room
    }

    /// Some of those that are to be removed.
    fn take_removals(&self, most: usize) -> Vec<(CacheKey, Veto)> {
        let mut queue = self.lock();
        let keys: Vec<CacheKey> = queue.removals.keys().take(most).cloned().collect();
        keys.into_iter().filter_map(|key| queue.removals.remove_entry(&key)).collect()
    }

    /// How many are to be removed, and could not be.
    pub(crate) fn removals(&self) -> usize {
        self.lock().removals.len()
    }

    fn written(&self, writer: u64) {
        let mut queue = self.lock();
        if let Some(key) = queue.writers.get_mut(&writer).and_then(|writing| writing.key.take()) {
            queue.busy.remove(&key);
        }
    }

    /// Takes a place among the writers, if there is one and something to do. The place of one that has been at something
    /// for longer than `patience` is free: its runtime may be at rest.
    fn begin(&self, patience: Duration) -> Option<u64> {
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            return None;
        }
        let now = Instant::now();
        let is_stuck = |writing: &Writing| now.duration_since(writing.since) >= patience;
        let stuck: Vec<u64> =
            queue.writers.iter().filter(|(_, writing)| is_stuck(writing)).map(|(writer, _)| *writer).collect();
        for writer in stuck {
            queue.end(writer);
        }
        if queue.writers.len() >= WRITERS || queue.waiting.len() < queue.writers.len() {
            return None;
        }
        queue.numbered += 1;
        let writer = queue.numbered;
        queue.writers.insert(writer, Writing { since: now, key: None });
        Some(writer)
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
        if self.backing.writes.lock().end(self.number) && self.says_something {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Nothing that is pushed after the writers have looked is left lying.
    #[test]
    fn a_writer_that_finds_nothing_has_given_up_its_place() {
        let (writes, key) = (Writes::new(1 << 20), CacheKey::new(b"k"));
        let push = || assert!(writes.push(&key, Job::Nothing(Note::Failed), false).0);
        let begin = || writes.begin(PATIENCE);
        push();
        let one = begin().unwrap();
        push();
        let two = begin().expect("a second one, while the first has not begun");
        assert!(writes.next(one).is_some());
        push();
        assert!(writes.next(two).is_none(), "what is being written is left alone");
        let two = begin().unwrap();
        writes.written(one);
        assert!(writes.next(two).is_some());
        writes.written(two);
        // Both find nothing; neither has ended.
        assert!(writes.next(one).is_none() && writes.next(two).is_none());
        push();
        let three = begin().unwrap();
        assert!(writes.next(three).is_some() && writes.next(three).is_none());
        assert!(writes.lock().writers.is_empty());
    }

    /// Those that do not go on keep neither their places nor what they were writing.
    #[test]
    fn a_writer_that_does_not_go_on_is_replaced() {
        let writes = Writes::new(1 << 20);
        let keys: Vec<CacheKey> = (0..=WRITERS).map(|n| CacheKey::new(n.to_string().as_bytes())).collect();
        let push = |key| assert!(writes.push(key, Job::Nothing(Note::Failed), false).0);
        let stuck: Vec<u64> = keys[..WRITERS]
            .iter()
            .map(|key| {
                push(key);
                let writer = writes.begin(PATIENCE).unwrap();
                assert!(writes.next(writer).is_some());
                writer
            })
            .collect();
        keys.iter().for_each(push);
        assert_eq!(writes.begin(PATIENCE), None);
        let new = writes.begin(Duration::ZERO).unwrap();
        for _ in &keys {
            assert!(writes.next(new).is_some());
            writes.written(new);
        }
        // Whoever goes on after all has lost its place.
        push(&keys[0]);
        for writer in stuck {
            writes.written(writer);
            assert!(writes.next(writer).is_none());
        }
        assert!(writes.next(new).is_some() && writes.next(new).is_none());
    }
}
