//! The way of a request.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::IntoResponse;
use http::HeaderValue;
use tower::ServiceExt;
use tower_service::Service;

use super::lookup::Found;
use super::visit::Visit;
use crate::future::ResponseFuture;
use crate::isr::Shared;
use crate::key::with_key;
use crate::layer::State;
use crate::policy::request::{Admitted, Bypass, examine};
use crate::policy::route::{Dynamic, RouteConfig};
use crate::render::Marker;
use crate::telemetry;

/// The service that [`IsrLayer`](crate::IsrLayer) makes. Clone is cheap, whatever the inner service is.
pub struct IsrService<S> {
    core: Arc<Core<S>>,
}

/// The layer's state and the inner service. axum clones a service for every request: that is one reference count here,
/// and a HIT never clones the inner service.
pub(super) struct Core<S> {
    pub(super) layer: Arc<State>,
    pub(super) service: S,
}

/// What an inner service has to be.
pub(super) trait Bounds:
    Service<Request, Response: IntoResponse, Error: Into<Infallible>, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Bounds for S where
    S: Service<Request, Response: IntoResponse, Error: Into<Infallible>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

impl<S> IsrService<S> {
    pub(crate) fn new(layer: Arc<State>, service: S) -> Self {
        Self { core: Arc::new(Core { layer, service }) }
    }
}

impl<S> Clone for IsrService<S> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<S> fmt::Debug for IsrService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsrService").finish_non_exhaustive()
    }
}

impl<S> Service<Request> for IsrService<S>
where
    S: Service<Request> + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Error: Into<Infallible>,
    S::Future: Send + 'static,
{
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = ResponseFuture<S>;

    /// Always ready: the inner service is asked when, and if, a request goes to it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture<S> {
        self.core.call(request)
    }
}

impl<S> Core<S> {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.layer.isr.shared
    }
}

impl<S: Bounds> Core<S> {
    fn call(self: &Arc<Self>, request: Request) -> ResponseFuture<S> {
        let Some(route) = self.layer.route(&request) else {
            return ResponseFuture::own(self.service.clone().oneshot(request), None);
        };
        let mode = route.settings().mode;
        match self.decide(&request, route) {
            Ok((Found::Answer(response), _)) => ResponseFuture::ready(response),
            Ok((Found::Own(reason), _)) => {
                telemetry::passed(self.shared(), &request, reason);
                self.own(request, mode, reason.as_str())
            }
            Ok((Found::Wait(waiter), admitted)) => {
                let route = route.clone();
                let visit = Visit { core: Arc::clone(self), request, route, admitted, waiter };
                ResponseFuture::flow(Box::pin(visit.run()))
            }
            Err(reason) => self.bypass(request, mode, reason),
        }
    }

    fn decide(self: &Arc<Self>, request: &Request, route: &RouteConfig) -> Result<(Found, Admitted), Bypass> {
        if request.extensions().get::<Marker>().is_some() {
            return Err(Bypass::Inner);
        }
        if self.shared().is_closing() {
            return Err(Bypass::Shutdown);
        }
        let admitted = examine(request, route)?;
        let found = with_key(request, route, |key| self.look_up(key, request, route, admitted))??;
        Ok((found, admitted))
    }

    fn bypass(&self, request: Request, mode: Dynamic, reason: Bypass) -> ResponseFuture<S> {
        if reason == Bypass::Inner {
            // The layer that decided has marked it, and noted it.
            return ResponseFuture::own(self.service.clone().oneshot(request), None);
        }
        telemetry::bypassed(self.shared(), &request, reason);
        self.own(request, mode, reason.as_str())
    }

    /// The visitor's own request.
    fn own(&self, mut request: Request, mode: Dynamic, reason: &'static str) -> ResponseFuture<S> {
        request.extensions_mut().insert(Marker::Visitor(mode));
        ResponseFuture::own(self.service.clone().oneshot(request), self.note(reason))
    }

    /// What `Cache-Status` says of a request that went on (RFC 9211 §2.2), in debug mode.
    pub(super) fn note(&self, reason: &'static str) -> Option<HeaderValue> {
        if !self.shared().headers.debug {
            return None;
        }
        HeaderValue::try_from(format!("axum-isr; fwd=bypass; detail={reason}")).ok()
    }
}
