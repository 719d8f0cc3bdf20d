//! Cloudflare KV, over its REST API or a gateway Worker that speaks a part of it (`examples/kv-gateway`).
//!
//! - `store`: the store, and what its operators should know.
//! - `options`: what can be set before it is made.
//! - `keys`: the names of things in KV.
//! - `entries`: single entries; `batch`: many at once.
//! - `ledger`: marks, in one log for each process that makes some; `log`: such a log; `seen`: what is known of the others.
//! - `service_time`: what time it is there.
//! - `api`: what is asked of the service; `answer`: what it says; `pace`: how often it may be asked; `error`: why not.

mod answer;
mod api;
mod batch;
mod entries;
mod error;
mod keys;
mod ledger;
mod log;
mod options;
mod pace;
mod seen;
mod service_time;
mod store;

pub use options::CloudflareKvOptions;
pub use store::CloudflareKv;
