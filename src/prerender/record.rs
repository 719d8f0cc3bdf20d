//! One page of a manifest.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::policy::freshness::Revalidate;
use crate::policy::tag::Tag;

/// What a manifest says of a page that was rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The pattern of its route, as the tool that rendered it writes patterns.
    pub(crate) route: String,
    /// Its path, as a request for it has it.
    pub(crate) path: String,
    /// What else is in its key; `None` in the manifests of other tools, which know only paths.
    pub(crate) inputs: Option<Inputs>,
    /// Its body's file, below [`PAGES`](super::PAGES): checked, so that it cannot be elsewhere.
    pub(crate) file: String,
    pub(crate) status: StatusCode,
    /// With its content type, if it has one.
    pub(crate) headers: HeaderMap,
    pub(crate) revalidate: Revalidate,
    pub(crate) expire: Option<Duration>,
    pub(crate) tags: Vec<Tag>,
    /// Of the body.
    pub(crate) bytes: Option<u64>,
    /// SHA-256 of the body.
    pub(crate) digest: Option<[u8; 32]>,
}

/// What is in the key of a page besides its pattern and path; as [`Parts`](crate::key::Parts) has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    pub(crate) namespace: String,
    pub(crate) nest: String,
    /// The same as the path, unless a nest or a rewrite made it another one.
    pub(crate) inner: String,
    pub(crate) query: String,
    pub(crate) host: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) cookies: Vec<(String, String)>,
}
