//! A node that follows the ledger, and checks what each answer has to keep.

use std::sync::Arc;

use super::nodes::{Nodes, Works};
use crate::store::{Changes, Cursor, Mark, Stamped, Store};

/// Follows the ledger through one handle.
pub(super) struct Reader {
    store: Arc<dyn Store>,
    pub(super) cursor: Option<Cursor>,
    pub(super) epoch: u64,
    exact: bool,
    /// Up to where it has been told everything.
    upto: u64,
}

impl Reader {
    /// Has seen nothing.
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        Self::at(store, None)
    }

    /// Stands somewhere.
    pub(super) fn at(store: &Arc<dyn Store>, cursor: Option<Cursor>) -> Self {
        let exact = store.profile().late.is_zero();
        Self { store: Arc::clone(store), cursor, epoch: 0, exact, upto: 0 }
    }

    /// Knows what there is.
    pub(super) async fn at_end(store: &Arc<dyn Store>, fresh: u64) -> Self {
        let mut reader = Self::new(store);
        reader.news(fresh).await;
        reader
    }

    /// All that is new, through as many answers as it takes.
    pub(super) async fn news(&mut self, fresh: u64) -> Vec<(Mark, u64)> {
        let mut news = Vec::new();
        loop {
            let changes = self.store.changes(self.cursor.as_ref(), fresh).await.works("changes");
            self.examine(&changes);
            let more = changes.more;
            assert!(!more || self.cursor.as_ref() != Some(&changes.cursor), "`more`, but the cursor stands still");
            self.cursor = Some(changes.cursor);
            news.extend(changes.marks);
            if !more {
                return news;
            }
        }
    }

    fn examine(&mut self, changes: &Changes) {
        if changes.epoch != self.epoch {
            (self.epoch, self.upto) = (changes.epoch, 0);
        }
        if !self.exact {
            return;
        }
        let stamps: Vec<_> = changes.marks.iter().map(|(_, stamp)| *stamp).collect();
        assert!(stamps.is_sorted(), "marks were not told oldest first: {stamps:?}");
        if let (Some(first), Some(last)) = (stamps.first(), stamps.last()) {
            assert!(
                *first > self.upto,
                "a mark of stamp {first} was told after an answer that said `stamp` {}: what was rendered in between \
                 counts as newer than the mark",
                self.upto
            );
            assert!(*last <= changes.stamp, "`stamp` is {}, a mark in the answer has {last}", changes.stamp);
        }
        assert!(changes.stamp >= self.upto, "`stamp` went back from {} to {}", self.upto, changes.stamp);
        self.upto = changes.stamp;
    }

    /// Is told these marks and nothing else; by a late store, sooner or later.
    pub(super) async fn is_told(&mut self, nodes: &Nodes, expected: &[(Mark, u64)], why: &str) {
        let mut told = self.news(NOT_EMPTY).await;
        if !self.exact {
            told = nodes
                .until(why, async || {
                    told.extend(self.news(NOT_EMPTY).await);
                    (told.len() >= expected.len()).then(|| told.clone())
                })
                .await;
        }
        let (told, expected) = (self.texts(&told), self.texts(expected));
        assert!(told == expected, "{why}: expected {}, got {}", shown(&expected), shown(&told));
    }

    /// By stamp and text: marks of one stamp have no order. Stamps of a late ledger are not everybody's.
    fn texts(&self, marks: &[(Mark, u64)]) -> Vec<(u64, String)> {
        let stamp = |stamp: u64| if self.exact { stamp } else { 0 };
        let mut texts: Vec<_> = marks.iter().map(|(mark, at)| (stamp(*at), mark.to_text())).collect();
        texts.sort();
        texts
    }
}

/// An epoch for ledgers that have one already: it must not turn up.
pub(super) const NOT_EMPTY: u64 = 0xDEAD;

/// Some of them say enough.
fn shown(marks: &[(u64, String)]) -> String {
    format!("{} marks {:?}", marks.len(), &marks[..marks.len().min(12)])
}

/// Marks as a reader is told them.
pub(super) fn stamped(marks: &[Mark], stamped: Stamped) -> Vec<(Mark, u64)> {
    marks.iter().map(|mark| (mark.clone(), stamped.stamp)).collect()
}
