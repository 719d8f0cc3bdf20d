//! What becomes of data.

use tracing::{debug, warn};

use super::shown::Shown;
use crate::isr::Shared;
use crate::memory::Value;

pub(crate) fn computed(shared: &Shared, name: &str, value: &Value) {
    if let Some(reason) = value.refused
        && shared.data_warnings.first(name, reason.as_str())
    {
        warn!(target: "axum_isr", data = ?Shown(name), reason = reason.as_str(), "data is not kept, and pages that use it neither");
    }
    debug!(target: "axum_isr", data = ?Shown(name), bytes = value.body.len(), "computed");
}

/// It does not fit into the memory tier.
pub(crate) fn too_large(shared: &Shared, name: &str, value: &Value) {
    if shared.data_warnings.first(name, "too-large") {
        let bytes = value.body.len();
        warn!(target: "axum_isr", data = ?Shown(name), bytes, "data is not kept: it is too large for `memory_bytes`");
    }
}

/// `behind`: nobody waited, so nobody else hears of it.
pub(crate) fn computation_failed(shared: &Shared, name: &str, problem: &str, behind: bool, failures: u32) {
    shared.counters.data_failures.add();
    if behind {
        warn!(
            target: "axum_isr",
            data = ?Shown(name),
            problem = ?Shown(problem),
            failures,
            "computation failed: the old value is used until it expires"
        );
    } else {
        debug!(target: "axum_isr", data = ?Shown(name), problem = ?Shown(problem), failures, "computation failed");
    }
}

/// The store had it.
pub(crate) fn found_data(shared: &Shared, name: &str) {
    shared.counters.store_hits.add();
    debug!(target: "axum_isr", data = ?Shown(name), "found");
}
