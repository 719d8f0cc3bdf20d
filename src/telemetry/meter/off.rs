//! Nobody asked for metrics.
#![allow(clippy::unused_self, clippy::missing_const_for_fn, reason = "as with the feature")]

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::{Mark, Verb};
use crate::policy::reason::{Reason, Regenerated};
use crate::store::StoreErrorKind;

pub(crate) struct RouteMeter;

impl RouteMeter {
    pub(crate) fn new(_: &Arc<str>) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn hit(&self, _: u64, _: u64) {}

    pub(crate) fn stale(&self, _: Reason, _: u64) {}

    pub(crate) fn request(&self, _: Reason) {}

    pub(crate) fn rendered(&self, _: u64) {}

    pub(crate) fn regenerated(&self, _: Regenerated) {}
}

#[derive(Default)]
pub(crate) struct Held;

impl Held {
    pub(crate) fn holds(&self, _: impl FnOnce() -> (u64, usize)) {}
}

pub(crate) fn in_flight(_: bool) {}

pub(crate) fn store_called(_: &'static str, _: &'static str, _: Duration, _: Option<StoreErrorKind>) {}

pub(crate) fn breaker(_: &'static str, _: &'static str, _: bool) {}

pub(crate) fn invalidated(_: Verb, _: &[Mark]) {}
