//! What marks can hit of something that is kept.

use super::mirror::Name;
use super::sync::{AtomicU64, Ordering};
use super::view::{Generation, Verdict, View};

/// The names of a page, a value or a remembered pass, and up to where it is known to be good.
#[derive(Debug)]
pub(crate) struct Covered {
    /// Everything is not among them.
    names: Box<[Name]>,
    good: AtomicU64,
}

impl Covered {
    /// `since`: the generation in which its making began, or the smallest of what it was made from.
    pub(crate) fn new(names: Box<[Name]>, since: Generation) -> Self {
        Self { names, good: AtomicU64::new(since.0) }
    }

    /// What the marks say. Relaxed: every value that this has had says the same, since the names do not change.
    #[inline]
    pub(crate) fn verdict(&self, view: &View) -> Verdict {
        let good = self.good();
        if view.generation() <= good { Verdict::Good } else { self.judge(good, view) }
    }

    #[cold]
    fn judge(&self, good: Generation, view: &View) -> Verdict {
        let (verdict, upto) = view.judge(good, &self.names);
        if verdict == Verdict::Good {
            // Whoever judged later knows more.
            self.good.fetch_max(upto.0, Ordering::Relaxed);
        }
        verdict
    }

    /// Whoever uses it is good up to here at most.
    pub(crate) fn good(&self) -> Generation {
        Generation(self.good.load(Ordering::Relaxed))
    }

    pub(crate) fn has(&self, name: Name) -> bool {
        self.names.contains(&name)
    }

    /// Bytes that it keeps besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.names)
    }
}
