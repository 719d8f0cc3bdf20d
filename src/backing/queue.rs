//! What waits to be written, and who writes: the newest of each key, and one writer of a key at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::codec::Made;
use crate::key::CacheKey;
use crate::ledger::Place;
use crate::memory::{Page, Value};
use crate::policy::tag::Tag;
use crate::store::{Note, Version};

/// So many are written at once.
const WRITERS: usize = 4;

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
    pub(super) fn when(&self) -> Option<Veto> {
        match self {
            Self::Page { made, .. } | Self::Value { made, .. } => {
                Some(Veto { place: Some(made.place), begun: made.begun })
            }
            Self::Remove(veto) => Some(*veto),
            Self::Nothing(_) => None,
        }
    }

    pub(super) fn over(&self) -> Option<Version> {
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
    pub(super) fn version(self) -> Option<Version> {
        self.place.map(|place| version(Made { place, begun: self.begun }))
    }
}

pub(super) fn version(made: Made) -> Version {
    Version { epoch: made.place.epoch, stamp: made.place.stamp, begun: made.begun }
}

pub(super) struct Waiting {
    pub(super) job: Job,
    /// The lease on it is given back when it is done.
    pub(super) leased: bool,
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
    pub(super) fn push(&self, key: &CacheKey, job: Job, leased: bool) -> (bool, Option<Job>) {
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
    pub(super) fn next(&self, writer: u64) -> Option<(CacheKey, Waiting)> {
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
    pub(super) fn remember(&self, key: &CacheKey, veto: Veto) -> bool {
        let mut queue = self.lock();
        let room = queue.removals.len() < MOST_REMOVALS || queue.removals.contains_key(key);
        if room {
            queue.removals.insert(key.clone(), veto);
        }
        room
    }

    /// Some of those that are to be removed.
    pub(super) fn take_removals(&self, most: usize) -> Vec<(CacheKey, Veto)> {
        self.lock().removals.extract_if(|_, _| true).take(most).collect()
    }

    /// How many are to be removed, and could not be.
    pub(crate) fn removals(&self) -> usize {
        self.lock().removals.len()
    }

    /// A writer has ended, or was given up. Returns whether it had its place.
    pub(super) fn end(&self, writer: u64) -> bool {
        self.lock().end(writer)
    }

    pub(super) fn written(&self, writer: u64) {
        let mut queue = self.lock();
        if let Some(key) = queue.writers.get_mut(&writer).and_then(|writing| writing.key.take()) {
            queue.busy.remove(&key);
        }
    }

    /// Takes a place among the writers, if there is one and something to do. The place of one that has been at something
    /// for longer than `patience` is free: its runtime may be at rest.
    pub(super) fn begin(&self, patience: Duration) -> Option<u64> {
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
        keys[..WRITERS].iter().for_each(push);
        let stuck: Vec<u64> = (0..WRITERS).map(|_| writes.begin(PATIENCE).unwrap()).collect();
        for number in &stuck {
            assert!(writes.next(*number).is_some());
        }
        keys.iter().for_each(push);
        assert_eq!(writes.begin(PATIENCE), None);
        let new = writes.begin(Duration::ZERO).unwrap();
        for _ in &keys {
            assert!(writes.next(new).is_some());
            writes.written(new);
        }
        // Whoever goes on after all has lost its place.
        push(&keys[0]);
        for number in stuck {
            writes.written(number);
            assert!(writes.next(number).is_none());
        }
        assert!(writes.next(new).is_some() && writes.next(new).is_none());
    }
}
