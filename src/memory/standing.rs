//! What something that is kept is good for, now.

use crate::clock::WallTime;
use crate::ledger::{Covered, Generation, Verdict, View};
use crate::policy::freshness::{Freshness, Window};
use crate::policy::reason::{Miss, Stale};

/// By age and by marks, whichever is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Fresh,
    /// By age, or by a mark of this generation.
    Stale(Option<Generation>),
    /// It may not be used any more.
    Gone,
}

impl Standing {
    #[inline]
    pub(crate) fn of(window: &Window, covered: &Covered, now: WallTime, view: &View) -> Self {
        match (window.at(now), covered.verdict(view)) {
            (Freshness::Expired, _) | (_, Verdict::Expire) => Self::Gone,
            (_, Verdict::Revalidate(marked)) => Self::Stale(Some(marked)),
            (Freshness::Stale, Verdict::Good) => Self::Stale(None),
            (Freshness::Fresh, Verdict::Good) => Self::Fresh,
        }
    }
}

/// Why something is stale; `marked`: as its standing says.
#[cold]
pub(crate) fn stale_because(window: &Window, marked: Option<Generation>, now: WallTime) -> Stale {
    match marked {
        Some(_) => Stale::Invalidated,
        None if window.at(now) == Freshness::Fresh => Stale::Unverified,
        None => Stale::Age,
    }
}

/// Why something may not be used any more.
#[cold]
pub(crate) fn gone_because(window: &Window, now: WallTime) -> Miss {
    if window.at(now) == Freshness::Expired { Miss::Expired } else { Miss::Invalidated }
}
