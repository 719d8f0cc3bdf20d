//! What lies behind the memory tier: entries that outlive the process, and one ledger of invalidations for everybody who
//! shares them.
//!
//! [`Store`] is what an engine has to do. It is about bytes: what they mean is the crate's business, and everything that
//! comes back is checked before it is believed. Correctness rests on the ledger alone: entries may vanish, be old, be
//! swapped or corrupt, and leases may be lost or granted twice.
//!
//! - `contract`: the trait.
//! - `item`: entries as a store sees them: key, version, bytes.
//! - `changes`: what a ledger says.
//! - `lease`: one render per cluster.
//! - `profile`: limits, and which optional promises hold.
//! - `error`: why a store did not do something.
//! - `guard`: deadlines and a circuit breaker around every call.
//! - `disk`: a store in a folder.
//! - `redis`: Redis and Valkey (feature `redis`).
//! - `cloudflare_kv`: Cloudflare KV (feature `cloudflare-kv`).

mod changes;
#[cfg(feature = "cloudflare-kv")]
mod cloudflare_kv;
mod contract;
mod disk;
mod error;
mod guard;
mod item;
mod lease;
mod profile;
#[cfg(feature = "redis")]
mod redis;

pub use changes::{Changes, Cursor, Stamped};
#[cfg(feature = "cloudflare-kv")]
pub use cloudflare_kv::{CloudflareKv, CloudflareKvOptions};
pub use contract::Store;
pub use disk::DiskStore;
pub use error::{StoreError, StoreErrorKind};
pub(crate) use guard::{Deadlines, Guard, Probe, Urgency};
pub use item::{Item, Put, StoreKey, Version};
pub use lease::{Claim, Lease, Note};
pub use profile::Profile;
#[cfg(feature = "redis")]
pub use redis::{RedisOptions, RedisStore};

pub use crate::ledger::{Mark, Verb};
