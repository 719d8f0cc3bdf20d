//! Why something happened: one vocabulary for headers, events, metrics and explanations.

use std::fmt;

use serde::{Serialize, Serializer};

use super::request::Bypass;
use super::response::Pass;

/// What became of a request or of a regeneration, and why.
///
/// As text it is its [`state`](Self::state) and its [`reason`](Self::reason), which are the same words in `Cache-Status`
/// (with [`ResponseHeaders::debug`](crate::config::ResponseHeaders::debug)), in the events of `tracing`, in the labels of
/// metrics and in what [`Isr::explain`](crate::Isr::explain) says.
///
/// | state | reasons |
/// |---|---|
/// | `hit` | `fresh` |
/// | `stale` | `age`, `invalidated`, `unverified`: see [`Stale`] |
/// | `miss` | `cold`, `expired`, `invalidated`, `unknown`, …: see [`Miss`] |
/// | `bypass` | `no-config`, `method`, `dynamic`, …: see [`Bypass`] |
/// | `pass` | `set-cookie`, `cache-control`, `status`, …: see [`Pass`] |
/// | `failed` | `status`, `timed-out`, `panicked`, `broken`: see [`Failed`] |
/// | `regeneration` | `ok`, `unchanged`, `found`, …: see [`Regenerated`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Answered from a fresh page.
    Hit,
    /// Answered from a stale page.
    Stale(Stale),
    /// Rendered while the visitor waited.
    Miss(Miss),
    /// Not looked up: the visitor's own request went to the handler.
    Bypass(Bypass),
    /// Looked up, but the page is not shared: the visitor's own request went to the handler.
    Pass(Pass),
    /// The page could not be made, and the visitor got what came of it.
    Failed(Failed),
    /// A page was to be rendered again in the background.
    Regenerated(Regenerated),
}

/// Why a page was stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stale {
    /// It is older than its time to revalidate.
    Age,
    /// It was revalidated on demand: by a tag, a path, a prefix, a route, or everything.
    Invalidated,
    /// The store's ledger could not be asked for longer than
    /// [`max_unverified`](crate::IsrBuilder::max_unverified): nobody knows whether it was invalidated elsewhere.
    Unverified,
}

/// Why a visitor had to wait for a render.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Miss {
    /// There was no page.
    Cold,
    /// There was one, older than its time to expire.
    Expired,
    /// There was one, expired on demand; or it was known not to be shared, and that was invalidated.
    Invalidated,
    /// The store had one, and its ledger does not know what was invalidated since.
    Unknown,
    /// The store had one that is damaged, of another version, or not signed by one of our keys.
    Damaged,
    /// The store could not be asked.
    StoreFailed,
    /// Development mode: every request is rendered.
    Development,
}

/// How the making of a page failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failed {
    /// The handler answered with this status: 5xx, 429 or 408.
    Status(u16),
    /// It took longer than the render timeout.
    TimedOut,
    /// The handler panicked.
    Panicked,
    /// The body ended with an error, or was not as long as it said.
    Broken,
    /// A regeneration brought what cannot take the old page's place.
    Refused(Pass),
}

/// What came of a regeneration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Regenerated {
    /// There is a new page.
    Ok,
    /// The new page is the same as the old one.
    Unchanged,
    /// Another process had rendered it: it came from the store.
    Found,
    /// Another process renders it.
    Elsewhere,
    /// The page may not be shared any more: it was removed.
    NotShared(Pass),
    /// It failed: the old page stays, and it is tried again later.
    Failed(Failed),
    /// It was given up: shutdown, or nobody waited and there was no room.
    Abandoned,
}

impl Reason {
    /// The word for what became of it.
    #[must_use]
    pub const fn state(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale(_) => "stale",
            Self::Miss(_) => "miss",
            Self::Bypass(_) => "bypass",
            Self::Pass(_) => "pass",
            Self::Failed(_) => "failed",
            Self::Regenerated(_) => "regeneration",
        }
    }

    /// The word for why.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Hit => "fresh",
            Self::Stale(why) => why.as_str(),
            Self::Miss(why) => why.as_str(),
            Self::Bypass(why) => why.as_str(),
            Self::Pass(why) => why.as_str(),
            Self::Failed(why) => why.as_str(),
            Self::Regenerated(what) => what.as_str(),
        }
    }
}

impl Stale {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Invalidated => "invalidated",
            Self::Unverified => "unverified",
        }
    }
}

impl Miss {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Unknown => "unknown",
            Self::Damaged => "damaged",
            Self::StoreFailed => "store-failed",
            Self::Development => "development",
        }
    }
}

impl Failed {
    /// The word for its class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::TimedOut => "timed-out",
            Self::Panicked => "panicked",
            Self::Broken => "broken",
            Self::Refused(pass) => pass.as_str(),
        }
    }
}

impl Failed {
    /// As a number that is not zero, for an atomic.
    pub(crate) fn to_bits(self) -> u32 {
        let (class, rest) = match self {
            Self::Status(status) => (1, status),
            Self::TimedOut => (2, 0),
            Self::Panicked => (3, 0),
            Self::Broken => (4, 0),
            Self::Refused(pass) => (5, pass as u16),
        };
        class << 16 | u32::from(rest)
    }

    /// What [`to_bits`](Self::to_bits) wrote; `None` for zero.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        let rest = u16::try_from(bits & 0xFFFF).ok()?;
        Some(match bits >> 16 {
            1 => Self::Status(rest),
            2 => Self::TimedOut,
            3 => Self::Panicked,
            4 => Self::Broken,
            5 => Self::Refused(*Pass::ALL.get(usize::from(rest))?),
            _ => return None,
        })
    }
}

impl Regenerated {
    /// The word for it; of a failure, that of its class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchanged => "unchanged",
            Self::Found => "found",
            Self::Elsewhere => "elsewhere",
            Self::NotShared(pass) => pass.as_str(),
            Self::Failed(failed) => failed.as_str(),
            Self::Abandoned => "abandoned",
        }
    }

    /// What came of it, without why: as [`as_str`](Self::as_str), but `not-shared` and `failed`.
    #[must_use]
    pub const fn result(self) -> &'static str {
        match self {
            Self::NotShared(_) => "not-shared",
            Self::Failed(_) => "failed",
            _ => self.as_str(),
        }
    }
}

impl fmt::Display for Failed {
    /// `status 503`, `timed-out`, …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Refused(pass) => write!(f, "not shareable: {}", pass.as_str()),
            _ => f.write_str(self.as_str()),
        }
    }
}

impl fmt::Display for Reason {
    /// `miss (cold)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.state(), self.reason())
    }
}

/// As an object of `state` and `reason`.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Words {
            state: &'static str,
            reason: &'static str,
        }
        Words { state: self.state(), reason: self.reason() }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_as_it_was_written() {
        let refused = Pass::ALL.into_iter().map(Failed::Refused);
        let others = [Failed::Status(503), Failed::Status(429), Failed::TimedOut, Failed::Panicked, Failed::Broken];
        for failed in refused.chain(others) {
            assert_eq!(Failed::from_bits(failed.to_bits()), Some(failed));
        }
        assert_eq!(Failed::from_bits(0), None);
    }
}
