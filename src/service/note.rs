//! What `Cache-Status` says in debug mode.

use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::CACHE_STATUS;

use super::call::{Bounds, Core};
use crate::clock::WallTime;
use crate::entry::{Served, Told};
use crate::key::{self, CacheKey};
use crate::memory::Page;
use crate::policy::reason::{Miss, Reason, Stale};
use crate::policy::route::RouteConfig;

impl<S: Bounds> Core<S> {
    /// Of a request that went on.
    #[inline]
    pub(super) fn note_of(&self, reason: Reason, request: &Request, route: &RouteConfig) -> Option<Box<HeaderValue>> {
        if self.shared().headers.debug { self.note(reason, key::owned(request, route).ok()) } else { None }
    }

    /// The same, where its key is known, or cannot be.
    #[cold]
    pub(super) fn note(&self, reason: Reason, key: Option<CacheKey>) -> Option<Box<HeaderValue>> {
        if !self.shared().headers.debug {
            return None;
        }
        let key = key.map(|key| key.storage_key(&self.shared().scope));
        Told { reason, collapsed: false, ttl: None, key: key.as_deref() }.value().map(Box::new)
    }

    /// Of an answer from a page.
    #[cold]
    pub(super) fn tell_of_page(&self, response: &mut Response, page: &Page, served: Served, now: WallTime) {
        let window = page.entry.window();
        // What was invalidated, or may have been, has been fresh until now.
        let ttl = match served {
            Served::Stale(Stale::Invalidated | Stale::Unverified) => Some(window.ttl_secs(now).min(0)),
            // Nothing is kept.
            Served::Miss { why: Miss::Development, .. } => None,
            _ => Some(window.ttl_secs(now)),
        };
        self.tell(response, served, ttl, &page.key);
    }

    /// Of an answer whose body is on its way.
    pub(super) fn tell_of_stream(&self, response: &mut Response, served: Served, key: &CacheKey) {
        if self.shared().headers.debug {
            self.tell(response, served, None, key);
        }
    }

    #[cold]
    fn tell(&self, response: &mut Response, served: Served, ttl: Option<i64>, key: &CacheKey) {
        let key = key.storage_key(&self.shared().scope);
        let told = Told { reason: served.into(), collapsed: served.is_collapsed(), ttl, key: Some(&key) };
        if let Some(value) = told.value() {
            response.headers_mut().insert(CACHE_STATUS, value);
        }
    }
}
