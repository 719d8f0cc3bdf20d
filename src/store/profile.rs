//! Limits, and which optional promises hold.

use std::time::Duration;

/// What can be expected of a store besides what every one promises.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// For logs and metrics, for example `redis`.
    pub name: &'static str,
    /// How long it takes until what one process has written can be read by another. Zero: at once, and the ledger is
    /// *exact*: one order of all marks.
    pub late: Duration,
    /// A [`put`](super::Store::put) compares and writes in one atomic step.
    pub newest_wins: bool,
    /// Leases are real: of several claims one is granted.
    pub leases: bool,
    /// The shortest time for which an entry can be kept.
    pub min_keep: Duration,
    /// The most bytes of an entry.
    pub max_bytes: usize,
    /// For how long the ledger has a mark. A page that is older than that and was not in the store meanwhile, a seed for
    /// example, may have been marked, and nobody knows. By default for ever.
    pub remembers: Duration,
}

impl Profile {
    /// An exact ledger, no optional promise, no limits.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            late: Duration::ZERO,
            newest_wins: false,
            leases: false,
            min_keep: Duration::ZERO,
            max_bytes: usize::MAX,
            remembers: Duration::MAX,
        }
    }

    /// Sets [`late`](Self::late).
    #[must_use]
    pub const fn with_late(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    /// Sets [`newest_wins`](Self::newest_wins).
    #[must_use]
    pub const fn with_newest_wins(self) -> Self {
        Self { newest_wins: true, ..self }
    }

    /// Sets [`leases`](Self::leases).
    #[must_use]
    pub const fn with_leases(self) -> Self {
        Self { leases: true, ..self }
    }

    /// Sets [`min_keep`](Self::min_keep).
    #[must_use]
    pub const fn with_min_keep(self, min_keep: Duration) -> Self {
        Self { min_keep, ..self }
    }

    /// Sets [`remembers`](Self::remembers).
    #[must_use]
    pub const fn with_remembers(self, remembers: Duration) -> Self {
        Self { remembers, ..self }
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub const fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }
}
