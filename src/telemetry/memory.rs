//! What the memory tier holds.

use crate::isr::Shared;

/// What there is of it for metrics.
#[derive(Default)]
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nobody asks"))]
pub(super) struct Holding {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    /// The most bytes.
    pub(super) limit: u64,
}

/// Something was put in, which may have driven others out, or it was emptied.
pub(crate) fn holds(shared: &Shared) {
    let memory = &shared.memory;
    shared.held.holds(|| Holding { bytes: memory.weight(), entries: memory.items() as u64, limit: memory.limit() });
}
