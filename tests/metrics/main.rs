//! What an exporter for the facade `metrics` is told in the life of a site: every metric, its labels and its numbers; and
//! what is written about them.
//!
//! Each test has an exporter of its own thread, and a runtime of that thread.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp, unreachable_pub, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/nodes.rs"]
mod nodes;
#[path = "../common/trouble.rs"]
mod trouble;

mod memory;
mod renders;
mod requests;
mod routes;
mod store;
mod table;
mod watch;
mod written;
