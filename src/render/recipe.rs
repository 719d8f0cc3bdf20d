//! Everything that it takes to render a page without a visitor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::Response;
use http::Extensions;

use super::context::RenderContext;
use super::registry::LayerId;
use crate::policy::route::RouteConfig;
use crate::telemetry::Route;

/// What came of rendering.
pub(crate) enum Rendered {
    Response(Response),
    /// The router did not lead to the endpoint, or led there with another path than the visitor's request had:
    /// something outside rewrote the URI.
    Rewritten,
}

/// An inner service, without its type.
pub(crate) trait Renderer: Send + Sync {
    /// Sends the render request through the recipe's pattern into the inner service.
    fn render(
        self: Arc<Self>,
        request: Request,
        inner_path: &str,
        recipe: &Arc<Recipe>,
        context: &Arc<RenderContext>,
    ) -> Pin<Box<dyn Future<Output = Rendered> + Send>>;

    /// The application-wide extensions of the latest request for a kind of pages; `None` if there was none.
    fn shared(&self, kind: &[u8]) -> Option<Arc<Extensions>>;
}

/// The inner service, where axum's routing stood, the route's configuration, and the application-wide extensions.
///
/// Holds nothing of the visitor's request but routing data, which belongs to the router, and the types that the
/// application declared as shared.
pub(crate) struct Recipe {
    pub(crate) renderer: Arc<dyn Renderer>,
    pub(crate) layer: LayerId,
    pub(crate) route: RouteConfig,
    /// The configuration came with the request.
    pub(crate) given: bool,
    pub(crate) matched: Option<MatchedPath>,
    pub(crate) nested: Option<NestedPath>,
    pub(crate) shared: Arc<Extensions>,
    /// What is counted of its route.
    pub(crate) numbers: Arc<Route>,
}

impl Recipe {
    /// Whether axum's routing stood at the same place.
    pub(crate) fn is_routed(&self, matched: Option<&MatchedPath>, nested: Option<&NestedPath>) -> bool {
        self.matched.as_ref().map(MatchedPath::as_str) == matched.map(MatchedPath::as_str)
            && self.nested.as_ref().map(NestedPath::as_str) == nested.map(NestedPath::as_str)
    }

    /// The route's pattern for people: logs and warnings.
    pub(crate) fn pattern(&self) -> &str {
        pattern(self.matched.as_ref(), self.nested.as_ref())
    }
}

/// A route's pattern for people, by where axum's routing stood.
pub(crate) fn pattern<'p>(matched: Option<&'p MatchedPath>, nested: Option<&'p NestedPath>) -> &'p str {
    matched.map(MatchedPath::as_str).or_else(|| nested.map(NestedPath::as_str)).unwrap_or_default()
}
