//! Marks that the ledger does not have yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::{Ledger, Mark, Place, Verb};

/// So many marks are kept apart; beyond that they become one on everything.
const MOST: usize = 1_024;

/// Marks that act here, in the order in which they were made, until the ledger can be reached.
#[derive(Default)]
pub(super) struct Unsent(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    calls: VecDeque<Arc<[Mark]>>,
    marks: usize,
}

impl Queue {
    fn add(&mut self, marks: Arc<[Mark]>) {
        self.marks += marks.len();
        self.calls.push_back(marks);
    }

    fn fold(&mut self, ledger: &Ledger) {
        let strongest = self.calls.iter().flat_map(|marks| marks.iter()).map(Mark::verb).max();
        let everything: Arc<[Mark]> = [Mark::everything(strongest.unwrap_or(Verb::Expire))].into();
        ledger.unsent(&everything);
        self.marks = 1;
        let folded = std::mem::replace(&mut self.calls, VecDeque::from([everything]));
        for marks in folded {
            ledger.sent(&marks, None);
        }
    }
}

impl Unsent {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on they act here.
    pub(super) fn push(&self, marks: Arc<[Mark]>, ledger: &Ledger) {
        let mut queue = self.lock();
        ledger.unsent(&marks);
        queue.add(marks);
        if queue.marks > MOST {
            queue.fold(ledger);
        }
    }

    /// What the ledger said. Where marks were lost with the one that was known, everything is marked in their place: for
    /// whoever knows only what the ledger says now, if that is an older one that has come back. Returns whether it is so.
    pub(super) fn learn(&self, place: Place, marks: &[(Mark, u64)], lost: Verb, ledger: &Ledger) -> bool {
        let mut queue = self.lock();
        let anew = ledger.learn(place, marks, lost);
        if anew {
            queue.add([Mark::everything(lost)].into());
        }
        anew
    }

    /// All of them become one on everything.
    pub(super) fn fold(&self, ledger: &Ledger) {
        self.lock().fold(ledger);
    }

    /// What is to be sent next.
    pub(super) fn first(&self) -> Option<Arc<[Mark]>> {
        self.lock().calls.front().cloned()
    }

    /// The ledger has them, at this place.
    pub(super) fn sent(&self, marks: &Arc<[Mark]>, at: Place, ledger: &Ledger) {
        let mut queue = self.lock();
        // Under the lock: whoever asks whether there are unsent ones does not find them gone from here and not there.
        if queue.calls.front().is_some_and(|first| Arc::ptr_eq(first, marks)) {
            queue.calls.pop_front();
            queue.marks -= marks.len();
            ledger.sent(marks, Some(at));
        } else {
            // They have become one on everything meanwhile.
            ledger.acknowledged(marks, at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Foreign, Target, Verdict};
    use crate::policy::tag::Tag;

    fn mark(verb: Verb, tag: &str) -> Arc<[Mark]> {
        [Mark { verb, target: Target::Tag(Tag::new(tag).expect("a tag")) }].into()
    }

    /// What a page from a store, made at the newest stamp, is taken for.
    fn judged(ledger: &Ledger, tag: &str) -> Verdict {
        let names = ledger.view.names_of_tags([tag].into_iter());
        match ledger.view.judge_foreign(Place { epoch: 1, stamp: 100 }, &names) {
            Foreign::Known(verdict, _) => verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn marks_hit_whatever_comes_from_the_store_until_they_are_sent() {
        let (ledger, unsent) = (Ledger::new(100), Unsent::default());
        ledger.learn(Place { epoch: 1, stamp: 100 }, &[], Verb::Expire);
        unsent.push(mark(Verb::Expire, "a"), &ledger);
        unsent.push(mark(Verb::Expire, "a"), &ledger);
        assert_eq!((judged(&ledger, "a"), judged(&ledger, "b")), (Verdict::Expire, Verdict::Good));
        for stamp in [98, 99] {
            assert_eq!(judged(&ledger, "a"), Verdict::Expire);
            let first = unsent.first().expect("there is one");
            unsent.sent(&first, Place { epoch: 1, stamp }, &ledger);
        }
        // Older than the page now.
        assert_eq!(judged(&ledger, "a"), Verdict::Good);
        assert_eq!((unsent.first(), unsent.len()), (None, 0));
    }

    #[test]
    fn too_many_marks_become_one_on_everything() {
        let (ledger, unsent) = (Ledger::new(10_000), Unsent::default());
        ledger.learn(Place { epoch: 1, stamp: 100 }, &[], Verb::Expire);
        unsent.push(mark(Verb::Expire, "first"), &ledger);
        let first = unsent.first().expect("there is one");
        for n in 1..=MOST {
            unsent.push(mark(Verb::Revalidate, &n.to_string()), &ledger);
        }
        assert_eq!(unsent.len(), 1);
        assert_eq!(judged(&ledger, "any"), Verdict::Expire);
        // One that was on its way.
        unsent.sent(&first, Place { epoch: 1, stamp: 7 }, &ledger);
        assert_eq!((judged(&ledger, "any"), unsent.len()), (Verdict::Expire, 1));
        let everything = unsent.first().expect("there is one");
        assert_eq!(&*everything, [Mark::everything(Verb::Expire)]);
        unsent.sent(&everything, Place { epoch: 1, stamp: 99 }, &ledger);
        assert_eq!(judged(&ledger, "any"), Verdict::Good);
        unsent.push(mark(Verb::Revalidate, "b"), &ledger);
        assert!(matches!(judged(&ledger, "b"), Verdict::Revalidate(_)));
    }
}
