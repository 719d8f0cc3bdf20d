//! An exact ledger in memory.

use std::collections::{BTreeSet, HashMap};

use crate::clock::WallTime;
use crate::store::{Changes, Cursor, Mark, Stamped, Verb};

/// Marks of one answer. It goes on to the end of a stamp: who has seen a stamp has seen all of its marks.
const PAGE: usize = 4_096;

/// What a [`MemoryStore`](super::MemoryStore)'s ledger was at some time.
#[derive(Clone, Debug)]
pub struct LedgerSnapshot(pub(super) MemoryLedger);

/// Marks, as their texts, by the newest stamp of each.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryLedger {
    epoch: Option<u64>,
    newest: u64,
    stamps: HashMap<String, u64>,
    order: BTreeSet<(u64, String)>,
}

impl MemoryLedger {
    pub(super) fn invalidate(&mut self, marks: &[Mark], fresh: u64, now: WallTime, most: usize) -> Stamped {
        let epoch = *self.epoch.get_or_insert(fresh);
        let stamp = self.newest.saturating_add(1).max(now.0);
        self.newest = stamp;
        for mark in marks {
            self.raise(mark.to_text(), stamp);
        }
        while self.kept_apart() > most && self.fold() {}
        Stamped { epoch, stamp }
    }

    pub(super) fn changes(&mut self, after: Option<&Cursor>, fresh: u64) -> Changes {
        let epoch = *self.epoch.get_or_insert(fresh);
        let seen = after.and_then(Cursor::place).filter(|place| place.0 == epoch).map_or(0, |place| place.1);
        if seen > self.newest {
            // The reader has seen what this ledger has never had, or has no more.
            *self = Self::default();
            return self.changes(None, fresh);
        }
        let mut marks: Vec<(Mark, u64)> = Vec::new();
        let mut more = false;
        for (stamp, text) in self.order.range((seen.saturating_add(1), String::new())..) {
            if marks.len() >= PAGE && marks.last().is_some_and(|last| last.1 != *stamp) {
                more = true;
                break;
            }
            marks.push((Mark::from_text(text), *stamp));
        }
        let stamp = marks.last().filter(|_| more).map_or(self.newest, |last| last.1);
        Changes { epoch, stamp, marks, cursor: Cursor::at(epoch, stamp), more }
    }

    /// What is a mark on everything is not folded, and does not count.
    fn kept_apart(&self) -> usize {
        let verbs = [Verb::Revalidate, Verb::Expire];
        let everything = verbs.iter().filter(|verb| self.stamps.contains_key(&Mark::everything(**verb).to_text()));
        self.stamps.len() - everything.count()
    }

    fn fold(&mut self) -> bool {
        let oldest = self.order.iter().find(|(_, text)| !Mark::from_text(text).is_everything()).cloned();
        let Some((stamp, text)) = oldest else {
            return false;
        };
        self.raise(Mark::everything(Mark::from_text(&text).verb()).to_text(), stamp);
        self.stamps.remove(&text);
        self.order.remove(&(stamp, text));
        true
    }

    fn raise(&mut self, text: String, stamp: u64) {
        match self.stamps.insert(text.clone(), stamp) {
            Some(before) if before > stamp => {
                self.stamps.insert(text, before);
                return;
            }
            Some(before) => {
                self.order.remove(&(before, text.clone()));
            }
            None => {}
        }
        self.order.insert((stamp, text));
    }
}
