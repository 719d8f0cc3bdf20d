//! What would happen, and why, without doing it.
//!
//! - `held`: what the memory tier has under a key.
//! - `request`: a request.
//! - `sites`: the routes of which requests have come.
//! - `sentence`: the same for people.
//! - `tag`: an invalidation.

mod held;
mod request;
mod sentence;
mod sites;
mod tag;

pub use held::{HeldEntry, Input};
pub use request::{Explanation, MarkState, TagState};
pub use tag::TagExplanation;

#[cfg(feature = "admin")]
pub(crate) use held::{describe, judge, state};

use std::time::Duration;

use serde::Serializer;

/// A duration as whole milliseconds.
#[expect(clippy::ref_option, reason = "serde passes what it has")]
fn millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_some(&u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        None => serializer.serialize_none(),
    }
}

/// The same with what is less than one.
#[expect(clippy::ref_option, reason = "serde passes what it has")]
fn fine_millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_some(&(time.as_secs_f64() * 1_000.0)),
        None => serializer.serialize_none(),
    }
}
