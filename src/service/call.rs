//! The way of a request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::IntoResponse;
use http::Extensions;
use tower_service::Service;

use super::lookup::{Asked, Found};
use super::renderer::Rerouted;
use super::visit::{self, Visit};
use crate::flight::Prerendering;
use crate::future::ResponseFuture;
use crate::isr::Shared;
use crate::key::{self, KeyBuffer};
use crate::layer::State;
use crate::policy::reason::Reason;
use crate::policy::request::{Bypass, examine};
use crate::policy::route::{Dynamic, RouteConfig};
use crate::render::Marker;
use crate::telemetry::{self, Route};

/// The service that [`IsrLayer`](crate::IsrLayer) makes. Clone is cheap, whatever the inner service is.
pub struct IsrService<S> {
    core: Arc<Core<S>>,
}

/// The layer's state and the inner service. axum clones a service for every request: that is one reference count here,
/// and a HIT never clones the inner service.
pub(super) struct Core<S> {
    pub(super) layer: Arc<State>,
    /// Boxed, because pages keep the rest of this, weakly.
    pub(super) service: Box<S>,
    pub(super) rerouted: Mutex<Option<Rerouted>>,
    /// The application-wide extensions of the latest request that a render was made from, by kind of page.
    pub(super) shares: Mutex<HashMap<Box<[u8]>, Arc<Extensions>>>,
    /// What is counted of the first route whose request was not looked up. As a rule there is one.
    bypassed: OnceLock<Arc<Route>>,
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
        Self {
            core: Arc::new(Core {
                layer,
                service: Box::new(service),
                rerouted: Mutex::default(),
                shares: Mutex::default(),
                bypassed: OnceLock::new(),
            }),
        }
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
        let given = request.extensions().get::<RouteConfig>();
        if let Some(found) = given
            && let Some(prerendering) = request.extensions().get::<Prerendering>().cloned()
        {
            let found = found.clone();
            return self.prerender(request, prerendering, &found);
        }
        let Some(route) = given.or(self.layer.route()) else {
            return self.unconfigured(request);
        };
        match self.decide(&request, route, given.is_some() || self.layer.refused, Asked::No) {
            Found::Answer(response) => ResponseFuture::ready(response),
            Found::Own(reason) => {
                telemetry::passed(self.shared(), &request, reason);
                let route = route.clone();
                let mode = route.settings().mode;
                self.own(request, route, mode, Reason::Pass(reason))
            }
            Found::Wait(waiter, admitted, why) => {
                let route = route.clone();
                let visit = Visit { core: Arc::clone(self), request, route, admitted, waiter, why };
                ResponseFuture::flow(Box::pin(visit.run()))
            }
            Found::Unverified => {
                let route = route.clone();
                ResponseFuture::flow(Box::pin(visit::verified(Arc::clone(self), request, route)))
            }
            // The layer that decided has marked it, and noted it.
            Found::Bypass(Bypass::Inner) => ResponseFuture::own(S::clone(&self.service), request, None),
            Found::Bypass(reason) => {
                self.note_bypass(&request, Some(route), given.is_some(), reason);
                let route = route.clone();
                // What a page may ask for says nothing about other methods.
                let mode = if reason == Bypass::Method { Dynamic::Auto } else { route.settings().mode };
                self.own(request, route, mode, Reason::Bypass(reason))
            }
        }
    }

    /// `unchecked`: the configuration came with the request (only then can there be a marker), or it was refused.
    #[inline]
    pub(super) fn decide(
        self: &Arc<Self>,
        request: &Request,
        route: &RouteConfig,
        unchecked: bool,
        asked: Asked,
    ) -> Found {
        if unchecked && let Err(reason) = self.check(request, route) {
            return Found::Bypass(reason);
        }
        if self.shared().is_closing() {
            return Found::Bypass(Bypass::Shutdown);
        }
        let admitted = match examine(request, route) {
            Ok(admitted) => admitted,
            Err(reason) => return Found::Bypass(reason),
        };
        let mut buffer = KeyBuffer::new();
        match key::build(&mut buffer, request, route) {
            Ok(key) => self.look_up(key, request, route, admitted, asked),
            Err(reason) => Found::Bypass(reason),
        }
    }

    /// A configuration that a middleware has made, or one that was refused.
    #[cold]
    pub(super) fn check(&self, request: &Request, route: &RouteConfig) -> Result<(), Bypass> {
        if request.extensions().get::<Marker>().is_some() {
            return Err(Bypass::Inner);
        }
        if self.layer.refuses(route) {
            return Err(Bypass::InvalidConfig);
        }
        let Err(problem) = route.check() else {
            return Ok(());
        };
        if self.shared().beliefs.first_warning(&problem.to_string(), "invalid-config") {
            tracing::error!(target: "axum_isr", %problem, "requests with this configuration are not cached");
        }
        Err(Bypass::InvalidConfig)
    }

    /// Nobody has said how to cache this.
    #[cold]
    fn unconfigured(&self, request: Request) -> ResponseFuture<S> {
        self.note_bypass(&request, None, false, Bypass::NoConfig);
        let note = self.note(Reason::Bypass(Bypass::NoConfig), None);
        ResponseFuture::own(S::clone(&self.service), request, note)
    }

    /// `given`: the configuration came with the request, and may be another one each time.
    pub(super) fn note_bypass(&self, request: &Request, config: Option<&RouteConfig>, given: bool, reason: Bypass) {
        let pattern = telemetry::route(request);
        let known = self.bypassed.get().filter(|route| **route.pattern() == *pattern);
        let route = known.map_or_else(|| self.shared().routes.of(pattern), Arc::clone);
        if known.is_none() || given {
            route.visited(self.layer.id.number(), request, config);
            // Set once.
            let _ = self.bypassed.set(Arc::clone(&route));
        }
        telemetry::bypassed(self.shared(), request, &route, reason);
    }

    /// The visitor's own request.
    fn own(&self, mut request: Request, route: RouteConfig, mode: Dynamic, reason: Reason) -> ResponseFuture<S> {
        let note = self.note_of(reason, &request, &route);
        Marker::Visitor(mode).put(request.extensions_mut(), route);
        ResponseFuture::own(S::clone(&self.service), request, note)
    }
}
