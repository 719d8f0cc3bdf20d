//! Redis and Valkey, one server or a cluster.
//!
//! - `store`: the store, and what its operators should know.
//! - `options`: what can be set before it is connected.
//! - `entries`: entries and leases.
//! - `ledger`: marks; `recent`: those that this process repeats after a connection was lost.
//! - `script`: what has to happen in one step.
//! - `keys`: the names of things in the server.
//! - `link`: a connection that is made again when it is lost; `dial`: how it is made; `address`: where to.
//! - `hint`: that the ledger may have changed.
//! - `error`: what the client's errors mean.

mod address;
mod dial;
mod entries;
mod error;
mod hint;
mod keys;
mod ledger;
mod link;
mod options;
mod recent;
mod script;
mod store;

pub use options::RedisOptions;
pub use store::RedisStore;
