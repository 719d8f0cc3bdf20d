//! What marks can hit of something that is kept.

use std::num::NonZeroU64;

use super::mirror::Name;
use super::since::{Place, Since};
use super::sync::{AtomicU64, Ordering};
use super::view::{Generation, Verdict, View};

/// The names of a page, a value or a remembered pass, and up to where it is known to be good.
#[derive(Debug)]
pub(crate) struct Covered {
    /// Everything is not among them.
    names: Box<[Name]>,
    /// Of what is marked already, never: so it is judged each time.
    good: AtomicU64,
    /// It came with a mark on it, to be served until there is a new one, and no mark up to this one expires it.
    marked: Option<NonZeroU64>,
    place: Option<Place>,
}

impl Covered {
    /// `since`: where its making began, or the first of what it was made from.
    pub(crate) fn new(names: Box<[Name]>, since: Since) -> Self {
        Self { names, good: AtomicU64::new(since.generation.0), marked: None, place: since.place }
    }

    /// Of what was made elsewhere and has been found to be marked for revalidation, as of `since`.
    pub(crate) fn marked(names: Box<[Name]>, since: Since) -> Self {
        // The first generation is one.
        let marked = NonZeroU64::new(since.generation.0).or(Some(NonZeroU64::MIN));
        Self { names, good: AtomicU64::new(0), marked, place: since.place }
    }

    /// What the marks say. Relaxed: every value that this has had says the same, since the names do not change.
    #[inline]
    pub(crate) fn verdict(&self, view: &View) -> Verdict {
        let good = self.good();
        if view.generation() <= good { Verdict::Good } else { self.judge(good, view) }
    }

    #[cold]
    fn judge(&self, good: Generation, view: &View) -> Verdict {
        if let Some(known) = self.marked {
            let known = Generation(known.get());
            let (verdict, _) = view.judge(known, &self.names);
            return verdict.max(Verdict::Revalidate(known));
        }
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

    /// Where its making began, for others; `None` if it is nobody else's.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place
    }

    pub(crate) fn has(&self, name: Name) -> bool {
        self.names.contains(&name)
    }

    /// Bytes that it keeps besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.names)
    }
}
