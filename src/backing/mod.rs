//! A handle's store: guarded, its ledger followed, its entries read when a page is missing and written behind.
//!
//! ```text
//!            ┌── every half coherence, or on a hint ──► round: changes ─► ledger::View, and unsent marks are sent
//!  Backing ──┤── a flight begins ─────────────────────► seek: get ─► judged ─► lease
//!            └── a flight has landed ─────────────────► write: put, release (a few at once, newest first wins)
//! ```
//!
//! Without a store there is no `Backing`, and nothing of this costs anything.
//!
//! - `attached`: the parts, and their settings.
//! - `trust`: how far what is known of the ledger can be relied on.
//! - `unsent`: marks that the ledger does not have yet.
//! - `round`: one look at the ledger, which is the probe of a store that has failed.
//! - `turns`: what one does at a time, whoever it is.
//! - `follow`: who makes rounds.
//! - `marking`: an invalidation on its way to the ledger.
//! - `seek`: an entry that is looked for, and the lease on making it.
//! - `queue`: what waits to be written, and who writes.
//! - `write`: entries on their way to the store.

mod attached;
mod follow;
mod marking;
mod queue;
mod round;
mod seek;
mod trust;
mod turns;
mod unsent;
mod write;

pub use attached::OnUnknown;
pub(crate) use attached::{Backing, Options};
pub(crate) use marking::mark;
pub(crate) use queue::{Job, Veto};
pub(crate) use round::fresh_epoch;
pub(crate) use seek::{Budget, Claimed, Seek, Wait, prolong};
pub(crate) use trust::Trust;
pub(crate) use write::{catch_up, write};
