//! A request that asks for a page to be rendered for an export.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::call::{Bounds, Core};
use crate::flight::{BACKGROUND_RENDERS, Outcome, Prerendered, Prerendering, Purpose, Step, Waiter, lone_flight};
use crate::future::ResponseFuture;
use crate::key;
use crate::memory::Page;
use crate::policy::profile::ResponseHeaders;
use crate::policy::request::{Bypass, examine};
use crate::policy::route::{Dynamic, RouteConfig};

impl<S: Bounds> Core<S> {
    /// Renders the page, whatever there is of it, and keeps nothing. `found`: the configuration in the request.
    #[cold]
    pub(super) fn prerender(
        self: &Arc<Self>,
        request: Request,
        prerendering: Prerendering,
        found: &RouteConfig,
    ) -> ResponseFuture<S> {
        let Some(route) = prerendering.given(found).or(self.layer.route()).cloned() else {
            // A layer further in may have a configuration.
            return ResponseFuture::own(S::clone(&self.service), request, None);
        };
        match self.prepare(&request, &route, &prerendering) {
            Ok(None) => {
                prerendering.tell(Prerendered::Again);
                ResponseFuture::ready(told())
            }
            Ok(Some(waiter)) => {
                let limit = self.shared().render_timeout.saturating_mul(BACKGROUND_RENDERS);
                let this = Arc::clone(self);
                ResponseFuture::flow(Box::pin(async move {
                    match tokio::time::timeout(limit, waiter.step(true)).await {
                        Ok(Step::Ended(Outcome::Page(page, _) | Outcome::Found(page))) => {
                            whole(&page, &this.shared().headers)
                        }
                        Ok(_) => told(),
                        Err(_) => {
                            prerendering.tell(Prerendered::Failed("timed-out", None));
                            told()
                        }
                    }
                }))
            }
            Err(reason) => {
                prerendering.tell(match route.settings().mode {
                    Dynamic::ForceDynamic => Prerendered::Skipped("dynamic"),
                    _ => Prerendered::Skipped(reason.as_str()),
                });
                ResponseFuture::ready(told())
            }
        }
    }

    /// `None`: another request has asked for the same page.
    fn prepare(
        self: &Arc<Self>,
        request: &Request,
        route: &RouteConfig,
        prerendering: &Prerendering,
    ) -> Result<Option<Waiter>, Bypass> {
        self.check(request, route)?;
        if self.shared().is_closing() {
            return Err(Bypass::Shutdown);
        }
        examine(request, route)?;
        let key = key::owned(request, route)?;
        if !prerendering.claim(&key) {
            return Ok(None);
        }
        let runtime = self.may_render(key.as_bytes())?;
        let (flight, waiter) = lone_flight(key.clone(), self.view().since()).ok_or(Bypass::NoRuntime)?;
        let purpose = Purpose::Prerender(prerendering.clone());
        self.lead(flight, key, request, route, purpose)?.spawn(&runtime, None);
        Ok(Some(waiter))
    }
}

/// What layers outside see of a page: they decide by its status and headers whether somebody gets it. What is written goes
/// another way.
fn whole(page: &Page, profile: &ResponseHeaders) -> Response {
    let mut response = Response::new(Body::from(page.entry.body().clone()));
    *response.status_mut() = page.entry.status();
    *response.headers_mut() = page.entry.own_headers(profile);
    response
}

/// What layers outside see where there is no page.
fn told() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
