//! One render per cluster.

use std::time::Duration;

use super::item::StoreKey;

/// Who wants the lease on making something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The entry that is to be made.
    pub key: StoreKey,
    /// Random: tells claims apart. The holder prolongs its lease by claiming it again.
    pub token: u64,
    /// For how long.
    pub ttl: Duration,
    /// It was [`Held`](Lease::Held) when this was asked before: what its holder has left is wanted rather than the lease.
    pub waited: bool,
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is granted.
    Mine,
    /// Somebody else has it.
    Held,
    /// Somebody else had it, and has left this.
    Noted(Note),
}

/// What a holder leaves for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The entry is there.
    Stored,
    /// It is not shared.
    Pass,
    /// It could not be made.
    Failed,
}
