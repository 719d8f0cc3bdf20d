//! The flights that are in the air, by key.
//!
//! Two rules make "one render per key" true without a gap: whoever would lead looks into the memory tier once more
//! under the table's lock, and a flight puts its page into the memory tier before it leaves the table. So a visitor who
//! finds no flight finds the page that the last one brought.
//!
//! Lock order: the table's shard, then the flight. A leader never holds its flight's lock when it takes a shard's.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

use super::running::Flight;
use super::sync::{Mutex, MutexGuard};
use super::waiter::Waiter;
use crate::key::CacheKey;
use crate::ledger::Since;

/// Shards of the table; each is locked for the time of a look-up.
const SHARDS: usize = 16;

type Shard = HashMap<CacheKey, Arc<Flight>>;

/// The flights that are in the air.
pub(crate) struct Table {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    max_waiters: usize,
}

/// What a visitor found in the table.
pub(crate) enum Entered<F> {
    /// The page came meanwhile.
    Found(F),
    Follow(Waiter),
    /// The caller has to spawn the leader.
    Lead(Waiter, Arc<Flight>),
    /// As many wait as may.
    Full,
}

/// As many visitors wait as may.
pub(crate) struct Full;

/// Takes something out of what is under way, unless another one of the same key has its place.
pub(crate) fn forget<T>(running: &mut HashMap<CacheKey, Arc<T>>, key: &CacheKey, this: &Arc<T>) {
    if running.get(key).is_some_and(|there| Arc::ptr_eq(there, this)) {
        running.remove(key);
    }
    // A flood of keys leaves no room behind that its table would keep for ever.
    if running.is_empty() && running.capacity() > 1_024 {
        *running = HashMap::new();
    }
}

impl Table {
    pub(crate) fn new(max_waiters: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new(), max_waiters }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight of a key, or takes its lead unless `find` has an answer by now. `now`: when the request came.
    pub(crate) fn enter<F>(&self, key: &[u8], now: Since, find: impl FnOnce() -> Option<F>) -> Entered<F> {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            return Waiter::join(flight, self.max_waiters, false, now).map_or(Entered::Full, Entered::Follow);
        }
        if let Some(found) = find() {
            return Entered::Found(found);
        }
        let key = CacheKey::new(key);
        let flight = Flight::new(key.clone(), now);
        match Waiter::join(&flight, self.max_waiters, true, now) {
            Some(waiter) => {
                shard.insert(key, Arc::clone(&flight));
                Entered::Lead(waiter, flight)
            }
            None => Entered::Full,
        }
    }

    /// Joins the flight of a key if there is one.
    pub(crate) fn follow(&self, key: &[u8], now: Since) -> Option<Result<Waiter, Full>> {
        let shard = self.shard(key);
        Some(Waiter::join(shard.get(key)?, self.max_waiters, false, now).ok_or(Full))
    }

    /// Does something while nobody can enter or leave the flights of a key.
    pub(crate) fn hold<R>(&self, key: &CacheKey, act: impl FnOnce() -> R) -> R {
        let _held = self.shard(key.as_bytes());
        act()
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.shard(key).contains_key(key)
    }

    /// Starts a flight that nobody waits for; `None` if the key has one, or if it is not `due` any more.
    pub(crate) fn start(&self, key: &CacheKey, now: Since, due: impl FnOnce() -> bool) -> Option<Arc<Flight>> {
        let mut shard = self.shard(key.as_bytes());
        if shard.contains_key(key) || !due() {
            return None;
        }
        let flight = Flight::new(key.clone(), now);
        shard.insert(key.clone(), Arc::clone(&flight));
        Some(flight)
    }

    /// Takes a flight out, unless another one of the same key has its place.
    pub(crate) fn leave(&self, flight: &Arc<Flight>) {
        forget(&mut self.shard(flight.key().as_bytes()), flight.key(), flight);
    }

    /// Takes a flight out if nobody waits for it, which nobody can begin to under the table's lock.
    pub(crate) fn leave_unwatched(&self, flight: &Arc<Flight>) -> bool {
        let mut shard = self.shard(flight.key().as_bytes());
        if flight.is_watched() {
            return false;
        }
        forget(&mut shard, flight.key(), flight);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

#[cfg(all(test, isr_shuttle))]
#[path = "shuttle_tests.rs"]
mod shuttle_tests;
