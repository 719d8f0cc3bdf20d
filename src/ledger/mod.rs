//! Invalidation (I5): marks, the ledger that orders them, and the view that judges entries.
//!
//! ```text
//!  Isr::expire_tag ──► Ledger::invalidate ──► a stamp ──► View::apply ──► mirror, then generation
//!         │ with a store: its ledger gives the stamp ──► Ledger::acknowledged ──┘
//!         │               … of other processes, polled ──► Ledger::learn ───────┘
//!  HIT ──► View::generation equals the entry's? ──► otherwise View::judge ──► mirror
//!  from a store ──► View::judge_foreign, by epoch and stamp ──► mirror
//! ```
//!
//! An invalidation touches no entry: it notes a mark, and entries are judged when somebody asks for them.
//!
//! - `path`: paths as invalidation compares them.
//! - `mark`: what an invalidation says, and about what.
//! - `covered`: what marks can hit of something that is kept, and up to where it is known to be good.
//! - `mirror`: the marks that this process knows, bounded by folding.
//! - `view`: what they say about an entry.
//! - `since`: where something began, for this process and for others.
//! - `local`: who applies marks: of this process, or of a ledger that processes share.

mod covered;
mod local;
mod mark;
mod mirror;
mod path;
mod since;
mod view;

/// What the view is made of, so that its interleavings can be tested.
mod sync {
    #[cfg(not(all(test, isr_shuttle)))]
    pub(super) use std::sync::{Mutex, RwLock, atomic::AtomicU64};

    #[cfg(all(test, isr_shuttle))]
    pub(super) use shuttle::sync::{Mutex, RwLock, atomic::AtomicU64};

    pub(super) use std::sync::atomic::Ordering;
}

pub(crate) use covered::Covered;
pub(crate) use local::{Ledger, MAX_MARKS};
pub(crate) use mark::Target;
pub use mark::{Mark, Verb};
pub(crate) use mirror::Name;
pub(crate) use path::CanonicalPath;
pub(crate) use since::{Place, Since};
pub(crate) use view::{Foreign, Generation, Verdict, View};
