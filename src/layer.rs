//! The layer.

use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use http::Extensions;
use tower_layer::Layer;

use crate::isr::Isr;
use crate::policy::route::RouteConfig;
use crate::render::LayerId;
use crate::service::IsrService;

/// Caches the pages of the routes it is added to.
///
/// Made by [`Isr::layer`] with a configuration of its own, or by [`IsrLayer::new`] without one: then it acts where a
/// middleware outside has put a [`RouteConfig`] into the request's extensions. Of nested layers the outermost with a
/// configuration acts.
///
/// `.route_layer(…)` is the usual form; `.layer(…)` also wraps the router's 404 fallback. Adding it is cheap and
/// registers nothing: axum may do it for each connection.
#[derive(Clone)]
pub struct IsrLayer(Arc<Origin>);

/// The layer itself, from which services are made; they keep its state, but not this.
struct Origin(Arc<State>);

impl Drop for Origin {
    fn drop(&mut self) {
        self.0.isr.shared.renderers.release(&self.0.id);
    }
}

type Share = fn(&Extensions, &mut Extensions);

#[derive(Clone)]
pub(crate) struct State {
    pub(crate) isr: Isr,
    route: Option<RouteConfig>,
    /// The layer's own configuration cannot work.
    pub(crate) refused: bool,
    shares: Vec<Share>,
    /// Tells this layer from others of its handle.
    pub(crate) id: LayerId,
}

impl IsrLayer {
    /// A layer that acts only for requests that carry a [`RouteConfig`] in their extensions.
    #[must_use]
    pub fn new(isr: Isr) -> Self {
        Self::of(State::new(isr, None, false))
    }

    /// A layer whose configuration cannot work: what it wraps is not cached, by no layer further in either.
    pub(crate) fn refusing(isr: Isr, route: RouteConfig) -> Self {
        Self::of(State::new(isr, Some(route), true))
    }

    pub(crate) fn with_config(isr: Isr, route: RouteConfig) -> Self {
        Self::of(State::new(isr, Some(route), false))
    }

    fn of(state: State) -> Self {
        Self(Arc::new(Origin(Arc::new(state))))
    }

    /// Carries a request extension over into renders, which otherwise start without any.
    ///
    /// For what belongs to the application and is the same for everybody, for example a connection pool that a layer
    /// outside adds with `Extension(pool)`. Never for what belongs to a visitor: pages are shared.
    #[must_use]
    pub fn share<T: Clone + Send + Sync + 'static>(self) -> Self {
        let mut state = State::clone(&self.0.0);
        state.id = state.isr.shared.next_layer();
        state.shares.push(|from, to| {
            if let Some(value) = from.get::<T>() {
                to.insert(value.clone());
            }
        });
        Self::of(state)
    }
}

impl State {
    fn new(isr: Isr, route: Option<RouteConfig>, refused: bool) -> Self {
        let id = isr.shared.next_layer();
        Self { isr, route, refused, shares: Vec::new(), id }
    }

    /// The layer's own configuration, which was checked when the layer was made.
    pub(crate) fn route(&self) -> Option<&RouteConfig> {
        self.route.as_ref()
    }

    /// Whether this is the layer's own configuration, and cannot work.
    pub(crate) fn refuses(&self, route: &RouteConfig) -> bool {
        self.refused && self.route.as_ref().is_some_and(|own| own.is(route))
    }

    pub(crate) fn shares_any(&self) -> bool {
        !self.shares.is_empty()
    }

    /// The application-wide extensions of a request; `None` if nothing is shared.
    pub(crate) fn shared_extensions(&self, request: &Request) -> Option<Extensions> {
        if !self.shares_any() {
            return None;
        }
        let mut shared = Extensions::new();
        for share in &self.shares {
            share(request.extensions(), &mut shared);
        }
        Some(shared)
    }
}

impl fmt::Debug for IsrLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsrLayer").field("route", &self.0.0.route).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IsrLayer {
    type Service = IsrService<S>;

    fn layer(&self, inner: S) -> IsrService<S> {
        IsrService::new(Arc::clone(&self.0.0), inner)
    }
}
