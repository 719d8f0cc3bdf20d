//! The nodes, and what was said to them.

use std::time::Duration;

use axum::Router;

use super::Trouble;
use crate::Isr;
use crate::config::OnUnknown;
use crate::ledger::Place;
use crate::store::StoreErrorKind;
use crate::testing::model::export::{Export, read_manifest};
use crate::testing::model::visitor::Floors;
use crate::testing::model::world::{Floor, PAGES, STREAMED, World, app};
use crate::testing::{Fault, Faults, FaultyStore, ManualClock, MemoryStore, Operation};

pub(super) const COHERENCE: Duration = Duration::from_secs(1);
pub(super) const MAX_UNVERIFIED: Duration = Duration::from_secs(5);

/// So long after the last trouble the store is asked again: a probe, and a round.
const RECOVERY: Duration = Duration::from_secs(2);

/// Of an answer: more than a read may take, and less.
const LATE: Duration = Duration::from_millis(300);
const SLOW: Duration = Duration::from_millis(60);

/// A seed that is not read by then is not used.
const SEED_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Node {
    pub(super) isr: Isr,
    pub(super) app: Router,
    pub(super) clock: ManualClock,
    pub(super) faults: Faults,
    /// Tells the processes in a node's place from each other.
    pub(super) process: usize,
    troubled: bool,
    healed_at: Option<Duration>,
}

impl Node {
    pub(super) async fn start(
        process: usize,
        clock: ManualClock,
        store: &MemoryStore,
        world: &World,
        export: Option<&Export>,
        on: OnUnknown,
    ) -> Self {
        let (store, faults) = FaultyStore::new(store.clone());
        let builder = Isr::builder().memory_bytes(16 << 20).clock(clock.clone()).deployment_id("d").max_marks(4);
        // Renders stop for as long as the order wants.
        let builder = builder.render_timeout(Duration::from_secs(100_000));
        let builder = builder.coherence(COHERENCE).max_unverified(MAX_UNVERIFIED).on_unknown(on);
        let builder = builder.store(store);
        let isr = match export {
            Some(export) => builder.seeds(export.seeds(SEED_TIMEOUT)).build().unwrap(),
            None => builder.build().unwrap(),
        };
        if export.is_some() {
            read_manifest(&isr).await;
        }
        Self { app: app(world, &isr), isr, clock, faults, process, troubled: false, healed_at: None }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let late = |by| Fault::After(Box::new(Fault::Delay(by)));
        let unavailable = || Fault::Error(StoreErrorKind::Unavailable);
        match trouble {
            Trouble::Errors => self.faults.set_all(&unavailable()),
            Trouble::Hangs => self.faults.set_all(&Fault::Hang),
            Trouble::Late => self.faults.set_all(&Fault::Delay(LATE)),
            Trouble::LateAnswers => self.faults.set_all(&late(LATE)),
            Trouble::NoChanges => self.faults.set(Operation::Changes, Fault::Hang),
            Trouble::Slow => return self.faults.set_all(&late(SLOW)),
            Trouble::NoMarks => return self.faults.set(Operation::Invalidate, unavailable()),
            Trouble::NoAnswers => return self.faults.set(Operation::Invalidate, Fault::lost_answer()),
            Trouble::NoHints => return self.faults.set(Operation::Hint, Fault::Hang),
            Trouble::Corrupt => return self.faults.set(Operation::Get, Fault::Corrupt),
            Trouble::Swap => return self.faults.set(Operation::Get, Fault::Swap),
            Trouble::Forget => return self.faults.set(Operation::Put, Fault::Forget),
        }
        self.troubled = true;
    }

    pub(super) fn heal(&mut self, now: Duration) {
        self.faults.clear();
        if std::mem::take(&mut self.troubled) {
            self.healed_at = Some(now);
        }
    }

    /// Up to where it has read which ledger: it sees when that is another one.
    pub(super) fn place(&self) -> Option<Place> {
        self.isr.shared.ledger.view.since().place
    }

    /// Whether it may not know what is in the ledger.
    pub(super) fn is_cut_off(&self, now: Duration) -> bool {
        self.troubled || self.healed_at.is_some_and(|at| now <= at + RECOVERY)
    }
}

/// Who knows of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The process that was told, and no other so far.
    Here,
    /// The ledger, since then.
    Ledger(Duration),
    /// It went down with its process, or with the ledger.
    Lost,
}

/// An invalidation whose verb has returned.
pub(super) struct Said {
    pub(super) process: usize,
    pub(super) hits: Vec<(usize, usize)>,
    pub(super) source_versions: Floor,
    pub(super) expires: bool,
    pub(super) known: Known,
    /// The ledger that had it is lost, and these processes see that it is another one. To all others a seed is as good as
    /// with a ledger that is new.
    pub(super) lost_to: Option<Vec<usize>>,
}

impl Said {
    /// The ledger that had it is lost, which these processes will see.
    pub(super) fn lose(&mut self, on_unknown: OnUnknown, seen_by: &[usize]) {
        if on_unknown == OnUnknown::ServeStale {
            self.expires = false;
        }
        match &mut self.lost_to {
            Some(before) => before.retain(|process| seen_by.contains(process)),
            None => self.lost_to = Some(seen_by.to_vec()),
        }
    }

    /// Whether it hits seeds in a process that knows what is in the ledger.
    fn hits_seeds(&self, process: usize) -> bool {
        self.process == process || self.lost_to.as_ref().is_none_or(|seen_by| seen_by.contains(&process))
    }
}

/// What may be shown of a page by a node that is asked now: of what was rendered, and of what comes from a seed.
pub(super) fn floors(said: &[Said], node: &Node, page: usize, now: Duration) -> (Floors, Floors) {
    let of_seeds = said.iter().filter(|said| said.hits_seeds(node.process));
    (floors_of(said.iter(), node, page, now), floors_of(of_seeds, node, page, now))
}

fn floors_of<'s>(said: impl Iterator<Item = &'s Said>, node: &Node, page: usize, now: Duration) -> Floors {
    debug_assert!(page < PAGES.len());
    let mut floors = Floors::default();
    for said in said {
        let here = said.process == node.process;
        let since = match said.known {
            Known::Ledger(at) => Some(at),
            Known::Here | Known::Lost => None,
        };
        let cut_off = node.is_cut_off(now);
        let obeys = here || since.is_some_and(|at| !cut_off && now > at + COHERENCE);
        // Of a body that goes on after its head, what is shown as a MISS is nothing that others may keep.
        let is_long_ago = |at: Duration| now > at + COHERENCE + MAX_UNVERIFIED && !STREAMED.contains(&page);
        let not_as_new = obeys || since.is_some_and(is_long_ago);
        for &(_, source) in said.hits.iter().filter(|(hit, _)| *hit == page) {
            let version = said.source_versions[source];
            if not_as_new {
                floors.revalidated[source] = floors.revalidated[source].max(version);
            }
            if obeys && said.expires {
                floors.expired[source] = floors.expired[source].max(version);
            }
        }
    }
    floors
}
