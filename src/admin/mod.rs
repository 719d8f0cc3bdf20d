//! Steering the cache over HTTP. Off unless it is mounted.
//!
//! - `revalidation`: the endpoint that a CMS or a deployment calls when something has changed.

mod revalidation;

pub use revalidation::revalidation_router;
