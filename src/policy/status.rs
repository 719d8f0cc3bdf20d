//! The state of an answer.

use std::fmt;

use http::HeaderMap;

use super::profile::STATE_HEADER;

/// What the cache did for a request that it answered: the value of `x-vinext-cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheStatus {
    /// Rendered for this request, or while it waited.
    Miss,
    /// Answered from a fresh page.
    Hit,
    /// Answered from a stale page, which is rendered again in the background.
    Stale,
}

impl CacheStatus {
    /// `MISS`, `HIT` or `STALE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Hit => "HIT",
            Self::Stale => "STALE",
        }
    }

    /// Reads the state from a response's `x-vinext-cache`; `None` if the cache did not answer.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(STATE_HEADER)?.as_bytes() {
            b"MISS" => Some(Self::Miss),
            b"HIT" => Some(Self::Hit),
            b"STALE" => Some(Self::Stale),
            _ => None,
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
