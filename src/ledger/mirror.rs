//! What this process knows of the ledger's marks.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::mark::{Kind, Target, Verb};
use super::path::CanonicalPath;
use super::since::Place;
use crate::testing::rules::{Rule, holds};

/// The name of a part of an entry: a keyed hash of its kind and text. Two parts with one name are invalidated together,
/// which is one page too many and never one too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(u64);

/// Makes names. Keyed at random for each process, against crafted collisions that would empty a cache.
#[derive(Default)]
pub(super) struct Namer(RandomState);

impl Namer {
    fn name(&self, kind: Kind, text: &str) -> Name {
        Name(self.0.hash_one((kind, text)))
    }

    pub(super) fn of(&self, target: &Target) -> Name {
        let (kind, text) = target.parts();
        self.name(kind, text)
    }

    /// What covers a page: its path, the prefixes of that, its route, its tags. Everything goes without saying.
    pub(super) fn page<'t>(&self, path: &str, pattern: &str, tags: impl Iterator<Item = &'t str>) -> Box<[Name]> {
        let path = CanonicalPath::new(path);
        let mut names = vec![self.name(Kind::Path, path.as_str())];
        names.extend(path.prefixes().map(|prefix| self.name(Kind::Prefix, prefix)));
        if !pattern.is_empty() {
            names.push(self.name(Kind::Route, pattern));
        }
        names.extend(self.tags(tags));
        names.into()
    }

    /// What covers a value.
    pub(super) fn tags<'t>(&self, tags: impl Iterator<Item = &'t str>) -> Box<[Name]> {
        tags.map(|tag| self.name(Kind::Tag, tag)).collect()
    }
}

/// The name is a hash already.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }
}

/// When a mark was made: the generation in which this process applied it, which judges what was rendered here, and the
/// ledger's stamp, which judges what came from elsewhere. Zero is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) generation: u64,
    pub(crate) stamp: u64,
}

impl At {
    /// The two need not agree about what is later: a process applies its own marks before those of others that are
    /// older.
    fn raise(&mut self, to: Self) {
        self.generation = self.generation.max(to.generation);
        self.stamp = self.stamp.max(to.stamp);
    }
}

/// The newest marks on something, by verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) revalidate: At,
    pub(crate) expire: At,
}

impl Marked {
    fn of(&mut self, verb: Verb) -> &mut At {
        match verb {
            Verb::Revalidate => &mut self.revalidate,
            Verb::Expire => &mut self.expire,
        }
    }

    fn raise(&mut self, to: Self) {
        self.revalidate.raise(to.revalidate);
        self.expire.raise(to.expire);
    }
}

/// What is marked here and nowhere else yet, by verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unsent {
    revalidate: u32,
    expire: u32,
}

impl Unsent {
    fn of(&mut self, verb: Verb) -> &mut u32 {
        match verb {
            Verb::Revalidate => &mut self.revalidate,
            Verb::Expire => &mut self.expire,
        }
    }
}

/// Marks by name, bounded: beyond the most that are kept, the oldest are folded into "everything" of their verb, which
/// can only invalidate too much.
pub(super) struct Mirror {
    /// Up to where all marks of the shared ledger are known.
    pub(super) place: Option<Place>,
    /// Epochs of other ledgers than the one that is known, in which marks of this process were noted; two are as good as
    /// more. Until the ledger has been read again, what is known of it is worth nothing.
    elsewhere: Vec<u64>,
    /// Marks that the shared ledger does not have yet; they hit everything that comes from it. By name, without one
    /// everything.
    unsent: HashMap<Option<Name>, Unsent>,
    everything: Marked,
    marks: HashMap<Name, Marked, BuildHasherDefault<Unhashed>>,
    /// In the order in which they were applied, oldest first; some have been raised since.
    order: VecDeque<(u64, Name, Verb)>,
    /// One for each verb of each name.
    held: usize,
    most: usize,
}

impl Mirror {
    pub(super) fn new(most: usize) -> Self {
        Self {
            place: None,
            elsewhere: Vec::new(),
            unsent: HashMap::new(),
            everything: Marked::default(),
            marks: HashMap::default(),
            order: VecDeque::new(),
            held: 0,
            most,
        }
    }

    /// Whether a mark of the ledger says nothing new: one of its verb that is at least as new is known. Whatever began
    /// after that one was applied here began after this one was made.
    pub(super) fn knows(&self, name: Option<Name>, verb: Verb, stamp: u64) -> bool {
        let known = |mut marked: Marked| marked.of(verb).stamp >= stamp;
        known(self.everything) || name.and_then(|name| self.marks.get(&name)).is_some_and(|marked| known(*marked))
    }

    /// The stamp of a mark of this process, if it can be compared with those that are known; else none: one of a ledger
    /// that was lost, or of one that is not known yet, would hide marks of the other.
    pub(super) fn stamp_of_own(&mut self, at: Place) -> u64 {
        if self.place.is_some_and(|known| known.epoch == at.epoch) {
            return at.stamp;
        }
        if holds(Rule::ElsewhereIsUnknown) && self.elsewhere.len() < 2 && !self.elsewhere.contains(&at.epoch) {
            self.elsewhere.push(at.epoch);
        }
        0
    }

    /// Whether there are marks of this process in a ledger that is not the one that is known.
    pub(super) fn is_overtaken(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    /// The ledger was read. Returns whether that is another one than was known: then marks are lost that nobody here has
    /// seen, or that only this process has.
    pub(super) fn read(&mut self, place: Place) -> bool {
        let known = self.place.filter(|known| known.epoch == place.epoch);
        let lost =
            (self.place.is_some() && known.is_none()) || self.elsewhere.iter().any(|epoch| *epoch != place.epoch);
        if known.is_none() {
            self.forget_stamps();
        }
        self.elsewhere.clear();
        self.place = Some(Place { stamp: place.stamp.max(known.map_or(0, |known| known.stamp)), ..place });
        lost
    }

    /// Those of one ledger cannot be compared with those of another.
    fn forget_stamps(&mut self) {
        for marked in self.marks.values_mut().chain([&mut self.everything]) {
            marked.revalidate.stamp = 0;
            marked.expire.stamp = 0;
        }
    }

    pub(super) fn unsent(&mut self, name: Option<Name>, verb: Verb) {
        let count = self.unsent.entry(name).or_default().of(verb);
        *count = count.saturating_add(1);
    }

    pub(super) fn sent(&mut self, name: Option<Name>, verb: Verb) {
        if let Some(unsent) = self.unsent.get_mut(&name) {
            let count = unsent.of(verb);
            *count = count.saturating_sub(1);
            if *unsent == Unsent::default() {
                self.unsent.remove(&name);
            }
        }
    }

    /// The strongest verb among those marks that the ledger does not have.
    pub(super) fn strongest_unsent(&self, names: &[Name]) -> Option<Verb> {
        if self.unsent.is_empty() {
            return None;
        }
        let of = |name: Option<Name>| {
            let unsent = self.unsent.get(&name)?;
            Some(if unsent.expire > 0 { Verb::Expire } else { Verb::Revalidate })
        };
        names.iter().map(|name| of(Some(*name))).chain([of(None)]).flatten().max()
    }

    /// Notes a mark; without a name it is about everything.
    pub(super) fn apply(&mut self, name: Option<Name>, verb: Verb, at: At) {
        let Some(name) = name else {
            self.everything.of(verb).raise(at);
            return;
        };
        let known = self.marks.entry(name).or_default().of(verb);
        if known.generation == 0 {
            self.held += 1;
        }
        let before = known.generation;
        known.raise(at);
        // Once in a generation, however often it is named: there are never more places than marks and what was raised
        // since they were last tidied up.
        if known.generation != before {
            self.order.push_back((known.generation, name, verb));
        }
        while self.held > self.most {
            self.fold();
        }
        // The same marks again and again leave nothing but their last places.
        if self.order.len() > 2 * self.most.max(64) {
            let marks = &mut self.marks;
            self.order.retain(|(at, name, verb)| marks.get_mut(name).is_some_and(|m| m.of(*verb).generation == *at));
        }
    }

    fn fold(&mut self) {
        let Some((generation, name, verb)) = self.order.pop_front() else {
            return;
        };
        let Some(marked) = self.marks.get_mut(&name) else {
            return;
        };
        if marked.of(verb).generation != generation {
            return;
        }
        let folded = std::mem::take(marked.of(verb));
        if holds(Rule::Fold) {
            self.everything.of(verb).raise(folded);
        }
        self.held -= 1;
        if *marked == Marked::default() {
            self.marks.remove(&name);
        }
    }

    /// The newest of the marks that are not newer than `limit`; zero if there is none. Of marks on one thing only the newest
    /// of each verb is known: the answer may be too small, which hits more.
    pub(super) fn newest_upto(&self, limit: u64) -> u64 {
        let stamps =
            self.marks.values().chain([&self.everything]).flat_map(|at| [at.revalidate.stamp, at.expire.stamp]);
        stamps.filter(|stamp| *stamp <= limit).max().unwrap_or(0)
    }

    /// The newest marks on one thing; on everything, if it has no name.
    pub(super) fn on(&self, name: Option<Name>) -> Marked {
        name.map_or(self.everything, |name| self.marks.get(&name).copied().unwrap_or_default())
    }

    /// The newest marks that hit something of these names.
    pub(super) fn newest(&self, names: &[Name]) -> Marked {
        let mut newest = self.everything;
        for name in names {
            if let Some(marked) = self.marks.get(name) {
                newest.raise(*marked);
            }
        }
        newest
    }

    pub(super) fn len(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often something is named in one call, it takes one place.
    #[test]
    fn the_queue_is_bounded() {
        let mut mirror = Mirror::new(10);
        for generation in 1..100 {
            for n in 0..1_000_u64 {
                mirror.apply(Some(Name(n % 3)), Verb::Expire, At { generation, stamp: generation });
            }
            assert!(mirror.order.len() <= 2 * 64, "{}", mirror.order.len());
        }
        assert_eq!((mirror.len(), mirror.everything), (3, Marked::default()));
        for n in 0..1_000 {
            mirror.apply(Some(Name(n)), Verb::Revalidate, At { generation: 100 + n, stamp: n });
            assert!(mirror.len() <= 10 && mirror.order.len() <= 2 * 64);
        }
        // The oldest were folded, those of the other verb with them.
        assert_eq!(mirror.everything.expire.generation, 99);
        assert_eq!(mirror.everything.revalidate.generation, 100 + 1_000 - 10 - 1);
        assert_eq!(mirror.newest(&[Name(999)]).revalidate.generation, 1_099);
    }
}
