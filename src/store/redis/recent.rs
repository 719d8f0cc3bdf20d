//! The marks that this process has made lately.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ledger::{Mark, Verb};

/// A server that took over may have lost this much.
const KEPT: Duration = Duration::from_secs(60);
const MOST: usize = 4_096;

/// The marks of the last minute, to be repeated when the connection was lost: a failover may have lost them though they
/// were acknowledged. Beyond the most that are kept, they are one mark on everything.
#[derive(Default)]
pub(super) struct Recent {
    marks: HashMap<Mark, Instant>,
    everything: Option<(Verb, Instant)>,
}

impl Recent {
    pub(super) fn note(&mut self, marks: &[Mark], now: Instant) {
        self.forget(now);
        for mark in marks {
            self.marks.insert(mark.clone(), now);
            if self.marks.len() > MOST {
                self.fold(now);
            }
        }
    }

    /// What is to be repeated.
    pub(super) fn marks(&mut self, now: Instant) -> Vec<Mark> {
        self.forget(now);
        let everything = self.everything.map(|(verb, _)| Mark::everything(verb));
        self.marks.keys().cloned().chain(everything).collect()
    }

    fn fold(&mut self, now: Instant) {
        let verbs = self.marks.drain().map(|(mark, _)| mark.verb());
        let strongest = verbs.chain(self.everything.map(|(verb, _)| verb)).max();
        self.everything = strongest.map(|verb| (verb, now));
    }

    fn forget(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < KEPT;
        self.marks.retain(|_, at| is_recent(*at));
        self.everything = self.everything.filter(|(_, at)| is_recent(*at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(verb: char, n: usize) -> Mark {
        Mark::from_text(&format!("{verb}t{n}"))
    }

    #[test]
    fn marks_are_kept_for_a_minute() {
        let start = Instant::now();
        let mut recent = Recent::default();
        recent.note(&[tag('r', 1)], start);
        recent.note(&[tag('r', 2)], start + Duration::from_secs(30));
        assert_eq!(recent.marks(start + Duration::from_secs(59)).len(), 2);
        assert_eq!(recent.marks(start + Duration::from_secs(61)), [tag('r', 2)]);
        assert!(recent.marks(start + Duration::from_secs(91)).is_empty());
    }

    #[test]
    fn too_many_are_one_on_everything_of_the_strongest_verb() {
        let start = Instant::now();
        let mut recent = Recent::default();
        let marks: Vec<_> = (0..MOST).map(|n| tag(if n == 7 { 'e' } else { 'r' }, n)).collect();
        recent.note(&marks, start);
        assert_eq!(recent.marks(start).len(), MOST);
        recent.note(&[tag('r', MOST)], start);
        assert_eq!(recent.marks(start), [Mark::everything(Verb::Expire)]);
        // What comes later does not weaken it, and is kept beside it.
        recent.note(&[tag('r', 1)], start);
        assert_eq!(recent.marks(start), [tag('r', 1), Mark::everything(Verb::Expire)]);
        recent.note(&marks[8..], start);
        recent.note(&(0..=MOST).map(|n| tag('r', n)).collect::<Vec<_>>(), start);
        assert!(recent.marks(start).contains(&Mark::everything(Verb::Expire)));
        assert!(recent.marks(start + KEPT).is_empty());
    }
}
