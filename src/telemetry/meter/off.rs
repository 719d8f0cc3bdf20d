//! Nobody asked for metrics.
#![allow(clippy::unused_self, clippy::missing_const_for_fn, reason = "as with the feature")]

use std::sync::Arc;
use std::time::Duration;

use super::super::memory::Holding;
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
pub(crate) struct Held(());

impl Held {
    pub(in super::super) fn holds(&self, _: impl FnOnce() -> Holding) {}
}

pub(crate) struct InFlight;

impl InFlight {
    pub(crate) fn begin() -> Self {
        Self
    }
}

pub(crate) fn store_called(_: &'static str, _: &'static str, _: Duration, _: Option<StoreErrorKind>) {}

pub(crate) fn breaker(_: &'static str, _: &'static str, _: bool) {}

pub(crate) fn invalidated(_: Verb, _: &[Mark]) {}
