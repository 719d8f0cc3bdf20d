//! What can be seen of the cache: events and spans of `tracing` (target `axum_isr`), counters, metrics, and what has happened
//! lately.
//!
//! The events are listed in the crate's module `stats`.
//!
//! - `requests`, `renders`, `invalidations`, `data`, `memory`, `seeds`, `store`: what is said of each.
//! - `routes`: the numbers of a route; `stats`: those of a handle.
//! - `meter`: the same as metrics.
//! - `events`: what has happened lately.
//! - `shown`: text from outside, as it may stand in a log.

mod counter;
mod data;
mod events;
mod invalidations;
mod memory;
mod meter;
mod renders;
mod requests;
mod routes;
mod seeds;
mod shown;
mod stats;
mod store;

pub(crate) use counter::Counter;
pub(crate) use data::{computation_failed, computed, found_data, too_large};
pub(crate) use events::Events;
pub(crate) use invalidations::invalidated;
pub(crate) use memory::holds;
pub(crate) use meter::{Held, InFlight};
pub(crate) use renders::{failed, found, landed, regenerated, regeneration_failed, span, stored};
pub(crate) use requests::{bypassed, not_made, passed, route, served, streamed};
pub use routes::RouteStats;
pub(crate) use routes::{Route, Routes, Site};
pub(crate) use seeds::{not_seeded, seed_failed, seeded, seeds_failed};
pub(crate) use stats::Counters;
pub use stats::Stats;
pub(crate) use store::{
    not_removed, store_called, store_damaged, store_failed, store_missed, store_turned, unwritten, written,
};
