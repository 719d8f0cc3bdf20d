//! An entry that is looked for, and the lease on making it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::attached::{Backing, OnUnknown};
use super::trust::Trust;
use crate::clock::micros;
use crate::entry::codec::{Damage, Frame, Kind};
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::ledger::{Covered, Foreign, Name, Place, Since, Verdict};
use crate::policy::reason::Miss;
use crate::render::{RenderContext, Work};
use crate::store::{Claim, Lease, Note, StoreKey, Version};
use crate::telemetry;
use crate::testing::rules::{Rule, holds};

/// A lease that is not prolonged ends after this time.
const LEASE_TTL: Duration = Duration::from_secs(10);

/// So many times as long may it take what nobody waits for.
const BEHIND: u32 = 10;

/// How long somebody waits for what another process makes.
const LEASE_WAIT: Duration = Duration::from_secs(5);

/// Between two looks at a lease: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// What a page may wait for the store, with all the values that it is made from.
#[derive(Default)]
pub(crate) struct Budget {
    /// Microseconds. Relaxed, here and below: a call more or less.
    spent: AtomicU64,
    /// A call failed: there is no other.
    gave_up: AtomicBool,
}

/// Looks for one entry. After a call of the store that failed there is no other for what is being made, and all of them
/// together take no longer than a flight may to begin.
pub(crate) struct Seek<'s> {
    shared: &'s Arc<Shared>,
    backing: &'s Arc<Backing>,
    key: &'s CacheKey,
    store_key: StoreKey,
    budget: Arc<Budget>,
    limit: Duration,
    /// There was something under the key, whatever it is worth.
    pub(crate) found: bool,
    /// Somebody else had the lease.
    pub(crate) waited: bool,
    there: Option<Version>,
    /// What was found and is of no use to anybody, by the version that stands in it.
    pub(crate) useless: Option<Version>,
    /// Why there is nothing that may be used, if that is not because there is nothing.
    pub(crate) why: Option<Miss>,
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// To be made here. `leased`: there are leases, and the store could be asked.
    Make { leased: bool },
    /// Another process has made it.
    Stored,
    /// Another process could not make it.
    Failed,
    /// Another process makes it.
    Held,
}

/// What to do while another process has the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Somebody waits, and has nothing else.
    ForIt,
    /// There is an old one.
    No,
}

impl<'s> Seek<'s> {
    /// `None` without a store.
    pub(crate) fn new(shared: &'s Arc<Shared>, key: &'s CacheKey) -> Option<Self> {
        let backing = shared.backing.as_ref()?;
        // Nobody waits for what is made again.
        let patience = if RenderContext::work() == Some(Work::Again) { BEHIND } else { 1 };
        Some(Self {
            shared,
            backing,
            key,
            store_key: shared.store_key(key),
            budget: RenderContext::budget(),
            limit: backing.guard.deadlines.begin.saturating_mul(patience),
            found: false,
            waited: false,
            there: None,
            useless: None,
            why: None,
        })
    }

    /// The store could not be asked.
    pub(crate) fn gave_up(&self) -> bool {
        self.budget.gave_up.load(Ordering::Relaxed)
    }

    fn give_up<T>(&mut self) -> Option<T> {
        self.why = Some(Miss::StoreFailed);
        self.budget.gave_up.store(true, Ordering::Relaxed);
        None
    }

    /// A call of the store, within what is left of the time for all of them.
    async fn call<T>(&self, call: impl AsyncFnOnce(Duration) -> T) -> T {
        let spent = Duration::from_micros(self.budget.spent.load(Ordering::Relaxed));
        let start = Instant::now();
        let answer = call(self.limit.saturating_sub(spent)).await;
        self.budget.spent.fetch_add(micros(start.elapsed()), Ordering::Relaxed);
        answer
    }

    /// Whether what is known of the ledger can be trusted; else there is no other call.
    pub(crate) async fn verified(&mut self) -> Option<()> {
        if self.gave_up() {
            self.why = Some(Miss::StoreFailed);
            return None;
        }
        if self.call(async |_| Backing::verify(self.shared).await).await != Trust::Verified {
            return self.give_up();
        }
        Some(())
    }

    /// What is there, undamaged.
    pub(crate) async fn get(&mut self, kind: Kind) -> Option<Frame> {
        // What cannot be judged is of no use.
        self.verified().await?;
        let bytes = match self.call(async |left| self.backing.guard.get(&self.store_key, left).await).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                telemetry::store_missed(self.shared);
                return None;
            }
            Err(problem) => {
                telemetry::store_failed(self.shared, problem.kind());
                return self.give_up();
            }
        };
        self.found = true;
        self.there = Version::read(&bytes);
        match Frame::open(&bytes, &self.shared.scope, self.key.as_bytes(), &self.backing.keys) {
            Ok(frame) if frame.kind == kind => Some(frame),
            Ok(_) => self.damaged(Damage::Record),
            Err(damage) => self.damaged(damage),
        }
    }

    /// It is of no use.
    pub(crate) fn damaged<T>(&mut self, damage: Damage) -> Option<T> {
        telemetry::store_damaged(self.shared, &self.store_key, damage);
        self.why = Some(Miss::Damaged);
        // What another version has written may be of use to that.
        self.useless = self.there.filter(|_| damage != Damage::Format);
        None
    }

    /// What the marks say about what was made elsewhere; `None` if it may not be used.
    pub(crate) async fn judge(&mut self, made: Place, names: Box<[Name]>) -> Option<Covered> {
        let view = &self.shared.ledger.view;
        let upto = view.generation();
        let mut judged = view.judge_foreign(made, &names);
        if let Foreign::Ahead(_) = judged {
            // By somebody who knows more of the ledger: one look at it.
            let enough = || !matches!(view.judge_foreign(made, &names), Foreign::Ahead(_));
            self.call(async |left| Backing::look(self.shared, left, enough).await).await;
            judged = view.judge_foreign(made, &names);
        }
        let since = |generation| Since { generation, place: Some(made) };
        match judged {
            Foreign::Known(Verdict::Good, upto) => Some(Covered::new(names, since(upto))),
            Foreign::Known(Verdict::Revalidate(_), upto) => Some(Covered::marked(names, since(upto))),
            Foreign::Known(Verdict::Expire, _) => {
                self.why = Some(Miss::Invalidated);
                None
            }
            Foreign::Unknown(verdict) | Foreign::Ahead(verdict) => match self.backing.on_unknown {
                OnUnknown::ServeStale if verdict == Verdict::Expire => {
                    self.why = Some(Miss::Invalidated);
                    None
                }
                OnUnknown::ServeStale => Some(Covered::marked(names, since(upto))),
                OnUnknown::Render if holds(Rule::UnknownIsMissing) => {
                    self.why = Some(Miss::Unknown);
                    None
                }
                OnUnknown::Render => Some(Covered::new(names, since(upto))),
            },
        }
    }

    /// Whether it is to be made here.
    pub(crate) async fn claim(&mut self, wait: Wait) -> Claimed {
        if self.gave_up() || !self.backing.guard.profile().leases {
            return Claimed::Make { leased: false };
        }
        let (key, token) = (self.store_key.clone(), self.backing.token);
        let mut claim = Claim { key, token, ttl: LEASE_TTL, waited: false };
        let end = Instant::now() + LEASE_WAIT;
        let mut pause = FIRST_LOOK;
        loop {
            let lease = async |left: Duration| {
                // The wait for somebody else's render is not for the store.
                let limit = if claim.waited { self.backing.guard.deadlines.read } else { left };
                self.backing.guard.lease(&claim, limit).await
            };
            let said = if claim.waited { lease(Duration::ZERO).await } else { self.call(lease).await };
            match said {
                Ok(Lease::Mine) => return Claimed::Make { leased: true },
                Ok(Lease::Noted(Note::Stored)) => return Claimed::Stored,
                // The render of one's own says why.
                Ok(Lease::Noted(Note::Pass)) => return Claimed::Make { leased: false },
                Ok(Lease::Noted(Note::Failed)) => return Claimed::Failed,
                Ok(Lease::Held) if wait == Wait::No => return Claimed::Held,
                Ok(Lease::Held) => {}
                Err(problem) => {
                    telemetry::store_failed(self.shared, problem.kind());
                    self.give_up::<()>();
                    return Claimed::Make { leased: false };
                }
            }
            if Instant::now() >= end {
                return Claimed::Make { leased: false };
            }
            (claim.waited, self.waited) = (true, true);
            tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 3 / 2).min(LAST_LOOK);
            // What was not there while somebody else had the lease may be looked for again.
            self.budget.spent.store(0, Ordering::Relaxed);
        }
    }
}

/// Prolongs a lease for as long as it is polled.
pub(crate) async fn prolong(shared: &Shared, key: &CacheKey) {
    let Some(backing) = &shared.backing else { return };
    let claim = Claim { key: shared.store_key(key), token: backing.token, ttl: LEASE_TTL, waited: false };
    loop {
        tokio::time::sleep(LEASE_TTL / 3).await;
        if let Err(problem) = backing.guard.lease(&claim, backing.guard.deadlines.read).await {
            // Two renders at worst.
            telemetry::store_failed(shared, problem.kind());
        }
    }
}
