//! Every way a flight can end.

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, StatusCode};

use crate::contained::Panic;
use crate::memory::Page;
use crate::policy::response::Pass;

/// The head of a render's response, without the headers that may not be shared.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// They travel with live answers; an entry has none.
    pub(crate) extensions: Extensions,
    /// The length that the handler declared: for answers whose body is still on its way.
    pub(crate) length: Option<u64>,
}

/// An answer that says that the page could not be made: the same for everybody who waited, stored nowhere.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
pub(crate) enum Outcome {
    Page(Arc<Page>, Arc<Head>),
    /// The store had it: it is served as if it had been found in memory.
    Found(Arc<Page>),
    Failure(Arc<Failure>),
    /// Not shareable: each visitor's own request goes to the handler.
    Pass(Pass),
    /// The body broke: what there was of it, and then the error.
    Broken(Arc<Head>),
    TimedOut,
    /// The handler panicked.
    Panicked(Panic),
    /// Shutdown began, or the runtime of the leader is gone.
    Abandoned,
}

impl Outcome {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Page(..) => "page",
            Self::Found(_) => "found",
            Self::Failure(_) => "failure",
            Self::Pass(reason) => reason.as_str(),
            Self::Broken(_) => "broken",
            Self::TimedOut => "timed-out",
            Self::Panicked(_) => "panicked",
            Self::Abandoned => "abandoned",
        }
    }
}
