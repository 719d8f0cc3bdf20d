//! What this process knows of the ledger, and what that says about an entry.
//!
//! Marks are noted and the generation is raised under one lock, and an entry takes the generation that was read *before*
//! its names were looked up: whoever reads a generation finds every mark up to it.

use std::sync::PoisonError;

use super::mark::{Mark, Target, Verb};
use super::mirror::{At, Marked, Mirror, Name, Namer};
use super::since::{Place, Since};
use super::sync::{AtomicU64, Ordering, RwLock};
use crate::testing::rules::{Rule, holds};

/// The marks that this process knows.
pub(crate) struct View {
    generation: AtomicU64,
    mirror: RwLock<Mirror>,
    namer: Namer,
}

/// A number of this process: how many times it has applied marks. What begins in a generation, no mark up to that one
/// hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(pub(crate) u64);

/// What the marks say about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// None hits it.
    Good,
    /// It may be served while it is rendered again. With the generation of the newest mark.
    Revalidate(Generation),
    /// It may not be served.
    Expire,
}

/// What the marks say about something that was made elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// The ledger that it was made by is not the one that is known. What becomes of it where it is used all the same: at
    /// best it is to be made again.
    Unknown(Verdict),
    /// It was made by a newer state of the ledger than is known here. As above.
    Ahead(Verdict),
    /// And up to which generation of this process it was judged.
    Known(Verdict, Generation),
}

impl View {
    pub(crate) fn new(most: usize) -> Self {
        Self { generation: AtomicU64::new(1), mirror: RwLock::new(Mirror::new(most)), namer: Namer::default() }
    }

    /// Where what begins now begins. Acquire: whoever sees a generation sees its marks.
    #[inline]
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Where what begins now begins, for this process and for others.
    pub(crate) fn since(&self) -> Since {
        // The place first: what is good up to the generation is good up to the place then.
        let place = self.mirror.read().unwrap_or_else(PoisonError::into_inner).place;
        Since { generation: self.generation(), place }
    }

    /// Where something began that was made when no stamp beyond `limit` was there; `None` while the ledger is not known.
    pub(crate) fn place_upto(&self, limit: u64) -> Option<Place> {
        let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
        let place = mirror.place?;
        Some(if place.stamp <= limit { place } else { Place { stamp: mirror.newest_upto(limit), ..place } })
    }

    /// Applies marks of one stamp. When it returns, nothing that they hit is good any more.
    pub(super) fn apply(&self, marks: &[Mark], stamp: u64) {
        self.change(|mirror, next| {
            for mark in marks {
                mirror.apply(self.name_of(mark), mark.verb, At { generation: next, stamp });
            }
            true
        });
    }

    /// Changes the mirror, in the generation that comes next if the change says that it marks something.
    pub(super) fn change(&self, change: impl FnOnce(&mut Mirror, u64) -> bool) {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        // Only here, under the lock: one change after the other, each with a generation of its own, and whoever looks
        // into the mirror sees the generation of what is in it.
        let next = self.generation.load(Ordering::Relaxed) + 1;
        if change(&mut mirror, next) {
            self.generation.store(next, Ordering::Release);
        }
    }

    /// What a mark is about; `None` for everything.
    pub(super) fn name_of(&self, mark: &Mark) -> Option<Name> {
        (mark.target != Target::Everything).then(|| self.namer.of(&mark.target))
    }

    /// Judges what others have made, or this process in an earlier life.
    pub(crate) fn judge_foreign(&self, made: Place, names: &[Name]) -> Foreign {
        let upto = self.generation();
        let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
        let Marked { revalidate, expire } = mirror.newest(names);
        let unsent = mirror.strongest_unsent(names).filter(|_| holds(Rule::UnsentHits));
        // What is known hits it whenever it was made, since that cannot be compared.
        let unknown = if expire.generation > 0 || unsent == Some(Verb::Expire) {
            Verdict::Expire
        } else {
            Verdict::Revalidate(upto)
        };
        let Some(place) = mirror.place.filter(|place| place.epoch == made.epoch && !mirror.is_overtaken()) else {
            return Foreign::Unknown(unknown);
        };
        if made.stamp > place.stamp && holds(Rule::AheadIsUnknown) {
            return Foreign::Ahead(unknown);
        }
        if expire.stamp > made.stamp || unsent == Some(Verb::Expire) {
            Foreign::Known(Verdict::Expire, upto)
        } else if revalidate.stamp > made.stamp || unsent == Some(Verb::Revalidate) {
            Foreign::Known(Verdict::Revalidate(upto), upto)
        } else {
            Foreign::Known(Verdict::Good, upto)
        }
    }

    /// Judges what was rendered here and is known to be good up to `known`; if it is good, it is so up to the generation
    /// that comes with the verdict.
    pub(super) fn judge(&self, known: Generation, names: &[Name]) -> (Verdict, Generation) {
        let before = self.generation();
        let Marked { revalidate, expire } = self.newest(names);
        let upto = if holds(Rule::GenerationFirst) { before } else { self.generation() };
        let verdict = if expire.generation > known.0 {
            Verdict::Expire
        } else if revalidate.generation > known.0 {
            Verdict::Revalidate(Generation(revalidate.generation))
        } else {
            Verdict::Good
        };
        (verdict, upto)
    }

    fn newest(&self, names: &[Name]) -> Marked {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner).newest(names)
    }

    /// When something was revalidated and expired last, by stamps of the ledger; zero for never, or not any more.
    pub(crate) fn stamps(&self, target: &Target) -> [u64; 2] {
        let name = (*target != Target::Everything).then(|| self.name(target));
        let on = self.mirror.read().unwrap_or_else(PoisonError::into_inner).on(name);
        [on.revalidate.stamp, on.expire.stamp]
    }

    /// What a target is called among the names of what it covers.
    pub(crate) fn name(&self, target: &Target) -> Name {
        self.namer.of(target)
    }

    /// What covers a page.
    pub(crate) fn names<'t>(&self, path: &str, pattern: &str, tags: impl Iterator<Item = &'t str>) -> Box<[Name]> {
        self.namer.page(path, pattern, tags)
    }

    /// What covers a value.
    pub(crate) fn names_of_tags<'t>(&self, tags: impl Iterator<Item = &'t str>) -> Box<[Name]> {
        self.namer.tags(tags)
    }

    /// Marks that are kept apart.
    pub(crate) fn len(&self) -> usize {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(all(test, isr_shuttle))]
#[path = "shuttle_tests.rs"]
mod shuttle_tests;
