//! The parts, and their settings.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::follow::Following;
use super::queue::Writes;
use super::round::fresh_epoch;
use super::trust::{Trust, Verified};
use super::unsent::Unsent;
use crate::clock::MonoTime;
use crate::entry::codec::SigningKeys;
use crate::ledger::Verb;
use crate::store::{Deadlines, Guard, Store};
use crate::telemetry::Events;

/// What happens to entries of which it cannot be known whether they were invalidated, because the store's ledger was
/// lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnknown {
    /// They are not served: who asks waits for a render (the default).
    #[default]
    Render,
    /// They are served, as stale, while they are rendered again: an invalidation that was lost with the ledger does not
    /// keep an expired page from being served once more.
    ServeStale,
}

impl OnUnknown {
    pub(super) fn verb(self) -> Verb {
        match self {
            Self::Render => Verb::Expire,
            Self::ServeStale => Verb::Revalidate,
        }
    }
}

/// What is configured about a store.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) deadlines: Deadlines,
    pub(crate) coherence: Duration,
    pub(crate) max_unverified: Duration,
    pub(crate) retention: Duration,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) keys: SigningKeys,
}

/// A handle's store.
pub(crate) struct Backing {
    pub(crate) guard: Guard,
    pub(super) verified: Verified,
    pub(super) unsent: Unsent,
    pub(super) following: Following,
    pub(crate) writes: Writes,
    pub(super) retention: Duration,
    pub(super) on_unknown: OnUnknown,
    pub(crate) keys: SigningKeys,
    /// Of all leases of this handle, which does not wait for itself: a page that is still being written may have to be
    /// rendered again.
    pub(super) token: u64,
}

impl Backing {
    /// `max_waiting_bytes`: of entries that wait to be written.
    pub(crate) fn new(store: Arc<dyn Store>, options: Options, max_waiting_bytes: usize, events: Arc<Events>) -> Self {
        Self {
            guard: Guard::new(store, options.deadlines, events),
            verified: Verified::new(options.coherence, options.max_unverified),
            unsent: Unsent::default(),
            following: Following {
                nudge: Notify::new(),
                rounds: watch::Sender::new(0),
                running: false.into(),
                cursor: Mutex::default(),
                end: CancellationToken::new(),
                turns: Arc::default(),
                sending: Arc::default(),
                lost: 0.into(),
            },
            writes: Writes::new(max_waiting_bytes),
            retention: options.retention,
            on_unknown: options.on_unknown,
            keys: options.keys,
            token: fresh_epoch(),
        }
    }

    #[inline]
    pub(crate) fn trust(&self, now: MonoTime) -> Trust {
        self.verified.at(now)
    }

    /// How long entries are kept.
    pub(crate) fn keep(&self) -> Duration {
        self.retention.max(self.guard.profile().min_keep)
    }

    /// Until an invalidation is in effect in every process.
    pub(crate) fn everywhere(&self) -> Duration {
        self.verified.coherence.saturating_add(self.guard.profile().late)
    }

    pub(crate) fn unsent_marks(&self) -> usize {
        self.unsent.len()
    }
}
