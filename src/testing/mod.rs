//! For tests: of applications, of stores, and of this crate.
//!
//! - [`ManualClock`]: time that moves only when it is told to.
//! - [`MemoryStore`]: a [`Store`](crate::store::Store) in this process, which several nodes can share.
//! - [`FaultyStore`]: any store, with faults that are switched on and off while it runs.
//! - [`store_conformance!`](store_conformance) and [`conformance`]: a test of each promise of a store.

#[cfg(all(test, not(isr_shuttle)))]
mod cluster_model;
pub mod conformance;
mod faults;
mod faulty_store;
mod manual_clock;
mod memory_ledger;
mod memory_store;
#[cfg(all(test, not(isr_shuttle)))]
mod model;
pub(crate) mod rules;

#[doc(inline)]
pub use crate::__store_conformance as store_conformance;
pub use faults::{Fault, Faults, Operation};
pub use faulty_store::FaultyStore;
pub use manual_clock::ManualClock;
pub use memory_ledger::LedgerSnapshot;
pub use memory_store::MemoryStore;
