//! The rules that keep invalidation true, each of which a test can switch off to see that it is needed.
//!
//! Outside of this crate's own tests all of them hold, and asking is nothing.

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Who judges keeps the generation that was read before the names were looked up.
    GenerationFirst,
    /// What was marked while it was made is hit: it is good up to the generation of its begin.
    SinceBegin,
    /// Who arrives after a mark is not streamed to by a render that began before it.
    LateWaits,
    /// What a visitor has waited for is judged as if it had been found.
    JudgeAtEnd,
    /// What is older than the marks that are kept apart is covered by everything.
    Fold,
    /// A mark on a page that was not shareable ends that.
    ClearPass,
    /// A mark ends the wait after failures that began before it.
    ClearBackOff,
    /// What is made from values is good up to where all of them are.
    SinceData,
    /// What is made from values has their tags.
    DataTags,
    /// What is kept is not made from values that are stale or marked.
    FreshData,
    /// A computation that somebody else has started is judged when it ends.
    JudgeJoined,
    /// What was made by a newer state of the ledger than is known here cannot be judged.
    AheadIsUnknown,
    /// What was made by another ledger than the one that is known may have been invalidated.
    UnknownIsMissing,
    /// Marks that the shared ledger does not have yet hit whatever comes from a store.
    UnsentHits,
    /// A mark that was noted in another ledger than the one that is known cannot be compared with what that has seen.
    ElsewhereIsUnknown,
    /// When the shared ledger has begun anew, marks are lost that might have hit what is here.
    LostHits,
    /// What was marked after its build hits a seed.
    SeedPlace,
    /// Also by a clock that is behind that of the build.
    SeedClocks,
    /// Without a ledger that is shared, every mark is one that was made after the build.
    SeedBeforeAll,
    /// A seed has its tags.
    SeedTags,
}

#[cfg(not(test))]
#[inline]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(test)]
pub(crate) use switch::{holds, without};

#[cfg(test)]
mod switch {
    use super::Rule;
    use std::cell::Cell;

    thread_local! {
        static OFF: Cell<&'static [Rule]> = const { Cell::new(&[]) };
    }

    pub(crate) fn holds(rule: Rule) -> bool {
        !OFF.get().contains(&rule)
    }

    /// Switches rules off on this thread while something runs.
    pub(crate) fn without<R>(rules: &'static [Rule], run: impl FnOnce() -> R) -> R {
        struct On;
        impl Drop for On {
            fn drop(&mut self) {
                OFF.set(&[]);
            }
        }
        let _on = On;
        OFF.set(rules);
        run()
    }
}
