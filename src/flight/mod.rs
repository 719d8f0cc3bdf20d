//! One running render per key (I3), in a task of its own, whoever asked for it.
//!
//! ```text
//!  visitor ──► Table::enter ──► Follow(Waiter) ───────────────┐ waits for a step, then reads along
//!                    │                                        ▼
//!                    └───────► Lead(Waiter, Flight) ──► spawned Lead ──► Flight: phase, chunks, watchers
//! ```
//!
//! - `table`: the flights that are in the air, by key.
//! - `running`: the state that leader and waiters share; the only lock between them.
//! - `body`: the chunks of a growing body, how far each watcher has read, and where the leader has to wait.
//! - `waiter`: a visitor's place in a flight, and the body that reads along.
//! - `lead`: the leader's task: render, judge.
//! - `fetch`: what the store has, and the lease on rendering.
//! - `seed`: what was rendered before the process started.
//! - `land`: what the memory tier and the waiters learn from it.
//! - `capture`: the body of a render on its way into an entry.
//! - `source`: that body with everything that can go wrong contained.
//! - `prerender`: a page that is written to an export.
//! - `outcome`: every way a flight can end.
//! - `beliefs`: patterns that have rendered well, and warnings that were given.

mod beliefs;
mod body;
mod capture;
mod fetch;
mod land;
mod lead;
mod outcome;
mod prerender;
mod running;
mod seed;
mod source;
mod table;
mod waiter;

/// The lock of the table and of each flight, so that their interleavings can be tested.
mod sync {
    #[cfg(not(all(test, isr_shuttle)))]
    pub(super) use std::sync::{Mutex, MutexGuard};

    #[cfg(all(test, isr_shuttle))]
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
}

pub(crate) use beliefs::{Beliefs, Warnings};
pub(crate) use capture::CaptureBudget;
pub(crate) use lead::{BACKGROUND_RENDERS, Lead, Purpose, abandon};
pub(crate) use outcome::{Failure, Head, Outcome};
pub(crate) use prerender::{Exporting, Prerendered, PrerenderedPage, Prerendering, Told, by_status};
pub(crate) use running::{Flight, Verdict};
pub(crate) use table::{Entered, Table, forget};
pub(crate) use waiter::{Step, Waiter, lone_flight};
