//! What stands between the cache and a store, so that a store that is down, slow or broken costs at most one bounded
//! wait: a deadline for each call, panics contained, and a circuit breaker.
//!
//! - `calls`: the store's methods, guarded.
//! - `breaker`: after some failures in a row nobody asks any more but one probe a second.

mod breaker;
mod calls;

pub(crate) use calls::{Deadlines, Guard, Probe, Urgency};
