//! The memory tier: pages and remembered passes by key, weighed in bytes.
//!
//! A look-up takes the key as borrowed bytes, locks one shard for reading while it compares and clones an `Arc`, and
//! depends neither on the number of entries nor on their size. Identity is the whole key: the hash (keyed at random
//! for each cache, against crafted collisions) only says where to look.

use std::hash::BuildHasher;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::slot::{Page, Slot};
use crate::error::ConfigError;
use crate::key::CacheKey;
use crate::ledger::Name;
use crate::policy::route::DEFAULT_MAX_BODY_BYTES;

/// Default of `IsrBuilder::memory_bytes`: 128 MiB.
pub(crate) const DEFAULT_MEMORY_BYTES: usize = 128 << 20;

/// A shard holds at least this many bodies of the default limit, so that one large page does not empty it.
const BODIES_PER_SHARD: usize = 8;

#[derive(Clone)]
struct Weigh;

impl Weighter<CacheKey, Slot> for Weigh {
    fn weight(&self, key: &CacheKey, slot: &Slot) -> u64 {
        slot.weight(key)
    }
}

/// Pages and passes by key.
pub(crate) struct Memory<B = DefaultHashBuilder> {
    cache: Cache<CacheKey, Slot, Weigh, B>,
    largest: u64,
}

impl<B: BuildHasher + Clone + Default> Memory<B> {
    pub(crate) fn new(bytes: usize) -> Result<Self, ConfigError> {
        let shard = BODIES_PER_SHARD * DEFAULT_MAX_BODY_BYTES;
        if bytes < shard {
            return Err(ConfigError::new(
                "memory_bytes",
                format!("at least {shard} ({BODIES_PER_SHARD} bodies of {DEFAULT_MAX_BODY_BYTES} bytes)"),
                bytes,
            ));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = (bytes / shard).min(4 * cores);
        // A power of two that is not larger.
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .weight_capacity(bytes as u64)
            .estimated_items_capacity((bytes / (16 << 10)).max(32 * shards))
            .shards(shards)
            .build()
            .map_err(|problem| ConfigError::new("memory_bytes", problem.to_string(), bytes))?;
        let cache = Cache::with_options(options, Weigh, B::default(), DefaultLifecycle::default());
        // The cache keeps 97 of 100 bytes of a shard for what proved to be used; more than that never fits.
        let largest = cache.shard_capacity() / 100 * 97;
        Ok(Self { cache, largest })
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Slot> {
        self.cache.get(key)
    }

    /// What is there, which does not count as use.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<Slot> {
        self.cache.peek(key)
    }

    pub(crate) fn page(&self, key: &[u8]) -> Option<Arc<Page>> {
        match self.peek(key)? {
            Slot::Page(page) => Some(page),
            Slot::Pass(_) | Slot::Value(_) => None,
        }
    }

    /// Whether something of this size could be kept at all. Asked before it is put, because the cache would drop what
    /// is there together with one that is too large.
    pub(crate) fn admits(&self, key: &CacheKey, slot: &Slot) -> bool {
        slot.weight(key) <= self.largest
    }

    /// Puts a page or a pass in, unless what is there comes from a render that began later. The caller holds the
    /// table's lock of the key, so that nothing comes between.
    pub(crate) fn put(&self, key: CacheKey, slot: Slot) -> bool {
        let newest = self.cache.peek(&key).is_none_or(|there| there.begun() <= slot.begun());
        if newest {
            self.cache.insert(key, slot);
        }
        newest
    }

    /// The keys of the pages that a name covers. Looks at everything that is held.
    pub(crate) fn keys_of(&self, name: Name) -> Vec<CacheKey> {
        let covers = |slot: &Slot| matches!(slot, Slot::Page(page) if page.covered.has(name));
        self.cache.iter().filter(|(_, slot)| covers(slot)).map(|(key, _)| key).collect()
    }

    /// Everything that is held now. Locks a shard, for reading, for one item at a time.
    pub(crate) fn all(&self) -> impl Iterator<Item = (CacheKey, Slot)> {
        self.cache.iter()
    }

    pub(crate) fn clear(&self) {
        self.cache.clear();
    }

    pub(crate) fn items(&self) -> usize {
        self.cache.len()
    }

    /// What they may weigh at most.
    pub(crate) fn limit(&self) -> u64 {
        self.cache.capacity()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.cache.weight()
    }

    /// The largest body that can be kept, leaving room for headers and tags.
    pub(crate) fn largest_body(&self) -> usize {
        usize::try_from(self.largest).unwrap_or(usize::MAX).saturating_sub(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MonoTime;
    use crate::ledger::{Covered, Generation, Since};
    use crate::memory::PassNote;
    use crate::policy::response::Pass;
    use std::hash::{BuildHasherDefault, Hasher};

    /// A hash of one bit: everything collides.
    #[derive(Default)]
    struct OneBit(u64);

    impl Hasher for OneBit {
        fn finish(&self) -> u64 {
            self.0 & 1
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0 += bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
        }
    }

    /// CASES 6, 51: keys that collide never serve each other, because identity is the whole key.
    #[test]
    fn colliding_keys_stay_apart() {
        let memory = Memory::<BuildHasherDefault<OneBit>>::new(16 << 20).expect("large enough");
        let key = |n: u16| CacheKey::new(&n.to_be_bytes());
        for n in 0..500 {
            let covered = Covered::new(Box::default(), Since { generation: Generation(1), place: None });
            let note = PassNote { reason: Pass::Vary, until: MonoTime(u64::from(n)), begun: 0, covered };
            memory.put(key(n), Slot::Pass(Arc::new(note)));
        }
        for n in 0..500 {
            match memory.get(key(n).as_bytes()) {
                Some(Slot::Pass(note)) => assert_eq!(note.until, MonoTime(u64::from(n))),
                _ => panic!("{n} is gone"),
            }
        }
        assert!(memory.get(b"no key").is_none());
    }

    #[test]
    fn too_small_a_budget_is_refused() {
        let problem = Memory::<DefaultHashBuilder>::new((16 << 20) - 1).err().expect("refused");
        assert_eq!(
            problem.to_string(),
            "memory_bytes: expected at least 16777216 (8 bodies of 2097152 bytes), got 16777215"
        );
    }
}
