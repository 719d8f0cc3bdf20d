//! Who applies marks: the ledger of a process that shares none, and what a process knows of one that it shares.

use std::sync::PoisonError;

use super::mark::{Mark, Verb};
use super::mirror::At;
use super::since::Place;
use super::sync::Mutex;
use super::view::View;
use crate::clock::WallTime;
use crate::testing::rules::{Rule, holds};

/// Marks that are kept apart by default; older ones are folded.
pub(crate) const MAX_MARKS: usize = 65_536;

/// Shows marks to this process, one change after the other.
pub(crate) struct Ledger {
    pub(crate) view: View,
    /// The newest stamp that was made here: microseconds since the Unix epoch, or one more than the one before if the
    /// clock did not move on.
    stamp: Mutex<u64>,
}

impl Ledger {
    pub(crate) fn new(most: usize) -> Self {
        Self { view: View::new(most), stamp: Mutex::default() }
    }

    /// Without a store: gives marks their stamp and applies them. When it returns, nothing that they hit is good any
    /// more.
    pub(crate) fn invalidate(&self, marks: &[Mark], now: WallTime) -> u64 {
        let mut newest = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = newest.saturating_add(1).max(now.0);
        *newest = stamp;
        self.view.apply(marks, stamp);
        stamp
    }

    /// The shared ledger has taken marks of this process. `at`: their place in it.
    pub(crate) fn acknowledged(&self, marks: &[Mark], at: Place) {
        self.view.change(|mirror, next| {
            let stamp = mirror.stamp_of_own(at);
            for mark in marks {
                mirror.apply(self.view.name_of(mark), mark.verb, At { generation: next, stamp });
            }
            true
        });
    }

    /// The shared ledger could not be reached: marks act here, and hit whatever comes from a store, until they are
    /// [sent](Self::sent).
    pub(crate) fn unsent(&self, marks: &[Mark]) {
        self.view.change(|mirror, next| {
            for mark in marks {
                let name = self.view.name_of(mark);
                mirror.apply(name, mark.verb, At { generation: next, stamp: 0 });
                mirror.unsent(name, mark.verb);
            }
            true
        });
    }

    /// The shared ledger has them now, at a place; `None`: it has others instead.
    pub(crate) fn sent(&self, marks: &[Mark], at: Option<Place>) {
        self.view.change(|mirror, next| {
            let stamp = at.map(|at| mirror.stamp_of_own(at));
            for mark in marks {
                let name = self.view.name_of(mark);
                if let Some(stamp) = stamp {
                    mirror.apply(name, mark.verb, At { generation: next, stamp });
                }
                mirror.sent(name, mark.verb);
            }
            stamp.is_some()
        });
    }

    /// What the shared ledger said when it was asked. Returns whether it is another one than was known: then marks were
    /// lost, and a mark of that verb on everything acts in their place, as one that is [unsent](Self::unsent).
    pub(crate) fn learn(&self, place: Place, marks: &[(Mark, u64)], lost: Verb) -> bool {
        let mut anew = false;
        self.view.change(|mirror, next| {
            anew = mirror.read(place) && holds(Rule::LostHits);
            let mut marked = anew;
            if anew {
                mirror.apply(None, lost, At { generation: next, stamp: 0 });
                mirror.unsent(None, lost);
            }
            for (mark, stamp) in marks {
                let name = self.view.name_of(mark);
                // One's own comes back.
                if !mirror.knows(name, mark.verb, *stamp) {
                    mirror.apply(name, mark.verb, At { generation: next, stamp: *stamp });
                    marked = true;
                }
            }
            marked
        });
        anew
    }
}
