//! What can be seen of the cache: events and spans of `tracing` (target `axum_isr`), counters, metrics, and what has happened
//! lately.
//!
//! | event | level | fields besides `route` and `path` |
//! |---|---|---|
//! | `HIT` | trace | `age` (milliseconds), `reason` |
//! | `bypass` | trace | `reason` |
//! | `STALE` | debug | `age`, `reason` |
//! | `MISS` | debug | `collapsed`, `reason` |
//! | `pass` | debug | `reason` |
//! | `failure` | debug | `reason`: a visitor got what came of a render that failed |
//! | `stored` | debug | `key` (the digest of that in the store), `bytes` |
//! | `landed` | debug | `outcome`, `purpose`, `took` (microseconds) |
//! | `regenerated` | debug | `result`, `reason` |
//! | `failed` | debug | `what` |
//! | `regeneration failed` | warn | `what`, `failures` |
//! | `computed` | debug | `data`, `bytes` |
//! | `computation failed` | debug, in the background warn | `data`, `problem`, `failures` |
//! | `found` | debug | of data `data` |
//! | `written` | debug | `key`, `bytes` |
//! | `not written` | debug | `reason` |
//! | `not removed` | the first warn, then debug | of a page that is not shared any more, when there are too many |
//! | `an entry of the store is of no use` | debug, for signatures warn | `key`, `damage` |
//! | `the store failed` | debug | `store`, `kind`, `problem` |
//! | `the store is not asked for a while`, `the store is back` | warn, info | `store` |
//! | `the ledger is another one` | warn | `store`; what was rendered before counts as invalidated |
//! | `invalidated` | info | `verb`, `marks`, `target` (the first, escaped and cut) |
//!
//! `route` is the pattern and may be used as a label. `path` is escaped and cut, and may not. It is all that is logged of what a
//! visitor has sent.
//!
//! A render is a span `render`, one in the background a span `regenerate` (level info), both with `route` and `path`: roots, that
//! follow from the span of the request that caused them. What a handler logs is inside of it.
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
