//! What the store does.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::events::Events;
use super::meter;
use super::shown::Shown;
use crate::entry::codec::Damage;
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::store::{StoreError, StoreErrorKind, StoreKey};

pub(crate) fn store_missed(shared: &Shared) {
    shared.counters.store_misses.add();
}

pub(crate) fn store_failed(shared: &Shared, kind: StoreErrorKind) {
    // What was not asked did not fail.
    if kind != StoreErrorKind::CircuitOpen {
        shared.counters.store_errors.add();
    }
}

pub(crate) fn store_damaged(shared: &Shared, key: &StoreKey, damage: Damage) {
    shared.counters.store_damaged.add();
    let (what, key) = (damage.as_str(), key.digest_hex());
    if damage == Damage::Signature && shared.beliefs.first_warning("", what) {
        warn!(target: "axum_isr", %key, damage = what, "an entry of the store is of no use: not signed by one of our keys");
    } else {
        debug!(target: "axum_isr", %key, damage = what, "an entry of the store is of no use");
    }
}

pub(crate) fn written(shared: &Shared, key: &StoreKey, bytes: usize) {
    shared.counters.store_writes.add();
    debug!(target: "axum_isr", key = %key.digest_hex(), bytes, "written");
}

/// The store does not learn of something.
pub(crate) fn unwritten(shared: &Shared, reason: &'static str) {
    shared.counters.store_unwritten.add();
    debug!(target: "axum_isr", reason, "not written");
}

/// It stays in the store until it expires there.
pub(crate) fn not_removed(shared: &Shared, key: &CacheKey) {
    let path = Shown(key.parts().path);
    if shared.beliefs.first_warning("", "not removed") {
        warn!(target: "axum_isr", ?path, "not removed: too many pages that are not shared any more");
    } else {
        debug!(target: "axum_isr", ?path, "not removed");
    }
}

/// A call has ended, well or not.
pub(crate) fn store_called(store: &'static str, op: &'static str, took: Duration, problem: Option<&StoreError>) {
    meter::store_called(store, op, took, problem.map(StoreError::kind));
}

/// A part of the store is not asked any more, because of the problem; or it is back.
pub(crate) fn store_turned(events: &Events, store: &'static str, part: &'static str, problem: Option<&StoreError>) {
    meter::breaker(store, part, problem.is_some());
    let text = problem.map(StoreError::chain).unwrap_or_default();
    let shown = Shown(&text);
    if let Some(problem) = problem {
        let kind = problem.kind().as_str();
        warn!(target: "axum_isr", store, part, kind, problem = ?shown, "the store is not asked for a while");
    } else {
        info!(target: "axum_isr", store, part, "the store is back");
    }
    let reason = if problem.is_some() { "not-asked" } else { "back" };
    events.tell_of_store(reason, Shown(&format!("{store}: {part}")), shown);
}
