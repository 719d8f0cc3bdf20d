//! From an entry to a response.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::age;
use super::draft::{self, Entry};
use crate::clock::WallTime;
use crate::policy::cache_control::{self, Directive, UNDECIDED};
use crate::policy::conditional;
use crate::policy::profile::{CDN_CACHE_CONTROL, Lifetime, ResponseHeaders};
use crate::policy::reason::{Miss, Reason, Stale};
use crate::policy::request::Admitted;
use crate::policy::route::Settings;
use crate::policy::status::CacheStatus;

pub(super) const HIT: HeaderValue = HeaderValue::from_static(CacheStatus::Hit.as_str());
const STALE: HeaderValue = HeaderValue::from_static(CacheStatus::Stale.as_str());
const MISS: HeaderValue = HeaderValue::from_static(CacheStatus::Miss.as_str());

pub(super) const STATUS_HIT: HeaderValue = HeaderValue::from_static("axum-isr; hit");
const STATUS_STALE: HeaderValue = HeaderValue::from_static("axum-isr; hit; detail=stale");
const STATUS_MISS: HeaderValue = HeaderValue::from_static("axum-isr; fwd=miss");
const STATUS_COLLAPSED: HeaderValue = HeaderValue::from_static("axum-isr; fwd=miss; collapsed");

/// What the cache did for a request that it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    Hit,
    Stale(Stale),
    /// `collapsed`: somebody else's request started the render.
    Miss {
        why: Miss,
        collapsed: bool,
    },
}

impl Served {
    pub(crate) fn is_collapsed(self) -> bool {
        matches!(self, Self::Miss { collapsed: true, .. })
    }
}

impl From<Served> for Reason {
    fn from(served: Served) -> Self {
        match served {
            Served::Hit => Self::Hit,
            Served::Stale(why) => Self::Stale(why),
            Served::Miss { why, .. } => Self::Miss(why),
        }
    }
}

/// What the visitor's request asks of an entry.
pub(crate) struct Wanted<'r> {
    pub(crate) admitted: Admitted,
    pub(crate) headers: &'r HeaderMap,
}

/// Answers from an entry. Allocates a copy of the header map and the body's box.
#[inline]
pub(crate) fn answer(
    entry: &Entry,
    served: Served,
    now: WallTime,
    wanted: &Wanted<'_>,
    profile: &ResponseHeaders,
) -> Response {
    let mut headers = entry.headers.clone();
    match served {
        Served::Hit | Served::Stale(_) => {
            // The placeholder is the first: see `Draft::seal`.
            if let Some(first) = headers.values_mut().next() {
                *first = age::value(entry.window().age_secs(now));
            }
        }
        Served::Miss { .. } => {
            headers.remove(header::AGE);
        }
    }
    if served != Served::Hit {
        mark(&mut headers, served, profile);
    }
    if let Served::Stale(_) = served {
        let rest = entry.window().rest_secs(now);
        match profile.lifetime {
            Lifetime::Shared => {
                let value = cache_control::stale(Directive::SharedMaxAge, rest);
                headers.insert(header::CACHE_CONTROL, value);
            }
            Lifetime::Cdn => {
                headers.insert(CDN_CACHE_CONTROL, cache_control::stale(Directive::MaxAge, rest));
            }
            Lifetime::None => {}
        }
    }
    if wanted.admitted.if_none_match && not_modified(entry, wanted.headers) {
        // RFC 9110 §15.4.5: nothing that describes a body; a length may stay (§8.6), and keeps axum from adding one.
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
            headers.remove(name);
        }
        return response(StatusCode::NOT_MODIFIED, headers, Body::empty());
    }
    let body = if wanted.admitted.head { Body::empty() } else { Body::from(entry.body.clone()) };
    response(entry.status, headers, body)
}

/// The headers of a MISS whose body is still on its way: it may yet turn out not to be shareable.
pub(crate) fn undecided(headers: &mut HeaderMap, served: Served, route: &Settings, profile: &ResponseHeaders) {
    if let Some(vary) = draft::vary(headers, route) {
        headers.insert(header::VARY, vary);
    }
    mark(headers, served, profile);
    if profile.lifetime != Lifetime::None {
        headers.insert(header::CACHE_CONTROL, UNDECIDED);
    }
}

#[inline]
fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// RFC 9110 §13.2.1: a precondition is looked at only where the answer without it would be a 2xx.
fn not_modified(entry: &Entry, headers: &HeaderMap) -> bool {
    entry.status.is_success()
        && entry.headers.get(header::ETAG).is_some_and(|etag| conditional::not_modified(headers, etag))
}

fn mark(headers: &mut HeaderMap, served: Served, profile: &ResponseHeaders) {
    let (state, status) = match served {
        Served::Hit => (HIT, STATUS_HIT),
        Served::Stale(_) => (STALE, STATUS_STALE),
        Served::Miss { collapsed: false, .. } => (MISS, STATUS_MISS),
        Served::Miss { collapsed: true, .. } => (MISS, STATUS_COLLAPSED),
    };
    if let Some(name) = &profile.state {
        headers.insert(name, state);
    }
    if profile.cache_status {
        headers.insert(header::CACHE_STATUS, status);
    }
}
