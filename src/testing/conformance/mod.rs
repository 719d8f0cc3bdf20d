//! A test of each promise of a [`Store`](crate::store::Store), for those who write one.
//!
//! [`store_conformance!`](super::store_conformance) makes a module with one test for each promise. Run it against the
//! real engine, never against an imitation of it.
//!
//! ```
//! use std::sync::Arc;
//! use axum_isr::testing::conformance::Fixture;
//! use axum_isr::testing::{MemoryStore, store_conformance};
//!
//! async fn memory(max_marks: usize) -> Fixture {
//!     let store = MemoryStore::new().max_marks(max_marks);
//!     Fixture::new(vec![Arc::new(store.clone()), Arc::new(store)])
//! }
//!
//! store_conformance!(memory_store, memory);
//! # fn main() {}
//! ```
//!
//! The tests go by real time, and each has an end: 60 seconds, and what a [late](crate::store::Profile::late) store
//! takes. What is promised only of exact ledgers (`late` is zero), of atomic puts or of real leases is asked only of
//! stores whose profile claims it.
//!
//! Left to a store's own tests: what survives a restart, a crash or a failover, bytes without a version, which only the
//! engine's own client can plant, and that no call blocks the thread.
//!
//! - `suite`: the promises by name, and the macro.
//! - `fixture`: the store under test.
//! - `nodes`, `reader`: what the checks share.
//! - `bytes`, `versions`, `marks`, `polls`, `folding`, `dropped`, `leases`: the checks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "it is test code, and a broken promise is a panic")]

mod bytes;
mod dropped;
mod fixture;
mod folding;
mod leases;
mod marks;
mod nodes;
mod polls;
mod reader;
mod suite;
mod versions;

pub use fixture::Fixture;
pub use suite::{check, promises};
