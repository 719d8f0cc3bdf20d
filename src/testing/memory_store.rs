//! A store in this process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::memory_ledger::{LedgerSnapshot, MemoryLedger};
use crate::clock::{Clock, MonoTime, Time};
use crate::ledger::MAX_MARKS;
use crate::store::{
    Changes, Claim, Cursor, Item, Lease, Mark, Note, Profile, Put, Stamped, Store, StoreError, StoreErrorKind,
    StoreKey, Version,
};

/// A [`Store`] in this process, for tests. Clones are one namespace: give one to each node of a cluster.
///
/// Its ledger is exact, the newest entry wins, leases are real, and [`hint`](Store::hint) is woken by invalidations. It
/// has no bound but that on marks. What can happen to a store can happen to this one: see
/// [`lose_ledger`](Self::lose_ledger) and its neighbours, and [`FaultyStore`](super::FaultyStore).
///
/// ```
/// use axum_isr::store::{Mark, Store, Verb};
/// use axum_isr::testing::{ManualClock, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), axum_isr::store::StoreError> {
/// let store = MemoryStore::new().clock(ManualClock::new());
/// let other_node = store.clone();
/// let noted = store.invalidate(&[Mark::everything(Verb::Expire)], 7).await?;
/// let news = other_node.changes(None, 8).await?;
/// assert_eq!((news.epoch, news.stamp), (noted.epoch, noted.stamp));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    max_bytes: usize,
}

struct Shared {
    state: Mutex<State>,
    /// The ledger may have changed.
    changed: Notify,
}

struct State {
    time: Time,
    max_marks: usize,
    /// By the text of their keys.
    entries: BTreeMap<String, Entry>,
    ledger: MemoryLedger,
    leases: HashMap<StoreKey, Held>,
    notes: HashMap<StoreKey, (Note, MonoTime)>,
}

struct Entry {
    bytes: Bytes,
    until: MonoTime,
}

struct Held {
    token: u64,
    until: MonoTime,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty one, that goes by the system's clock.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            time: Time::system(),
            max_marks: MAX_MARKS,
            entries: BTreeMap::new(),
            ledger: MemoryLedger::default(),
            leases: HashMap::new(),
            notes: HashMap::new(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }), max_bytes: usize::MAX }
    }

    /// The time that stamps, entries, leases and notes go by, for all clones. Stamps follow the time of day, the others
    /// the monotonic clock. To be set before anything is stored.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.state().time = Time::Custom(Arc::new(clock));
        self
    }

    /// How many marks are kept apart, for all clones: 65,536 by default. The oldest beyond are folded into everything.
    #[must_use]
    pub fn max_marks(self, most: usize) -> Self {
        self.state().max_marks = most;
        self
    }

    /// The most bytes of an entry, for this handle and those cloned from it. No limit by default.
    #[must_use]
    pub fn max_bytes(self, most: usize) -> Self {
        Self { max_bytes: most, ..self }
    }

    /// The ledger is gone, as if a server had restarted without it: entries stay, and the next call on the ledger begins
    /// another epoch.
    pub fn lose_ledger(&self) {
        self.state().ledger = MemoryLedger::default();
    }

    /// The ledger as it is now.
    #[must_use]
    pub fn ledger_snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot(self.state().ledger.clone())
    }

    /// The ledger is what it was then, as if a server had been restored from an old dump.
    pub fn restore_ledger(&self, snapshot: &LedgerSnapshot) {
        self.state().ledger = snapshot.0.clone();
    }

    /// All entries are gone.
    pub fn clear_entries(&self) {
        self.state().entries.clear();
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.state().living().count()
    }

    /// The texts of the entries' keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.state().living().map(|(key, _)| key.clone()).collect()
    }

    /// The bytes under a key, by its text.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<Bytes> {
        self.state().entry(key).cloned()
    }

    /// Shows every entry to `edit`, with the text of its key. What that returns is there instead, unchecked, and for as
    /// long as the entry would have been; `None` leaves the entry as it is.
    pub fn edit(&self, mut edit: impl FnMut(&str, &Bytes) -> Option<Bytes>) {
        // Outside of the lock: `edit` may ask the store.
        let found: Vec<_> = self.state().living().map(|(key, entry)| (key.clone(), entry.bytes.clone())).collect();
        for (key, bytes) in found {
            if let Some(edited) = edit(&key, &bytes)
                && let Some(entry) = self.state().entries.get_mut(&key)
            {
                entry.bytes = edited;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> MonoTime {
        self.time.monotonic()
    }

    fn living(&self) -> impl Iterator<Item = (&String, &Entry)> {
        let now = self.now();
        self.entries.iter().filter(move |(_, entry)| entry.until > now)
    }

    fn entry(&self, key: &str) -> Option<&Bytes> {
        let now = self.now();
        self.entries.get(key).filter(|entry| entry.until > now).map(|entry| &entry.bytes)
    }

    /// Whether what is there is newer.
    fn is_newer(&self, key: &StoreKey, than: Version) -> bool {
        self.entry(key.as_str()).and_then(|bytes| Version::read(bytes)).is_some_and(|there| there.is_newer_than(than))
    }

    fn put(&mut self, item: &Item) -> Put {
        if self.is_newer(&item.key, item.version) {
            return Put::KeptNewer;
        }
        let entry = Entry { bytes: item.bytes.clone(), until: self.now().after(item.keep) };
        self.entries.insert(item.key.as_str().to_owned(), entry);
        Put::Stored
    }

    fn lease(&mut self, claim: &Claim) -> Lease {
        let now = self.now();
        let held = self.leases.get(&claim.key).filter(|held| held.until > now).map(|held| held.token);
        match held {
            Some(token) if token != claim.token => return Lease::Held,
            Some(_) => {}
            None => match self.notes.get(&claim.key) {
                Some((note, until)) if claim.waited && *until > now => return Lease::Noted(*note),
                _ => {}
            },
        }
        self.notes.remove(&claim.key);
        self.leases.insert(claim.key.clone(), Held { token: claim.token, until: now.after(claim.ttl) });
        Lease::Mine
    }

    fn release(&mut self, key: &StoreKey, token: u64, note: Note, keep: Duration) {
        let now = self.now();
        if self.leases.get(key).is_some_and(|held| held.token == token && held.until > now) {
            self.leases.remove(key);
            self.notes.insert(key.clone(), (note, now.after(keep)));
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn profile(&self) -> Profile {
        Profile::new("memory").with_newest_wins().with_leases().with_max_bytes(self.max_bytes)
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().entry(key.as_str()).cloned())
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        if item.bytes.len() > self.max_bytes {
            let problem = format!("{} bytes, expected at most {}", item.bytes.len(), self.max_bytes);
            return Err(StoreError::new(StoreErrorKind::TooLarge, problem));
        }
        Ok(self.state().put(item))
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        let mut state = self.state();
        if !state.is_newer(key, upto) {
            state.entries.remove(key.as_str());
        }
        Ok(())
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        let stamped = {
            let mut state = self.state();
            let (now, most) = (state.time.wall(), state.max_marks);
            state.ledger.invalidate(marks, fresh, now, most)
        };
        self.shared.changed.notify_waiters();
        Ok(stamped)
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        Ok(self.state().ledger.changes(after, fresh))
    }

    async fn hint(&self) {
        self.shared.changed.notified().await;
    }

    async fn lease(&self, claim: &Claim) -> Result<Lease, StoreError> {
        Ok(self.state().lease(claim))
    }

    async fn release(&self, key: &StoreKey, token: u64, note: Note, keep: Duration) -> Result<(), StoreError> {
        self.state().release(key, token, note, keep);
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("entries", &self.entries()).finish_non_exhaustive()
    }
}
