//! Filling a store with an export, before the version that reads it starts.
//!
//! - `options`: what is configured, and the call.
//! - `plan`: what a record becomes in the store.
//! - `run`: batches, retries.
//! - `report`: what came of it.

mod options;
mod plan;
mod report;
mod run;

pub use options::{Populate, populate};
pub use report::{NotWritten, PopulateError, Populated};
