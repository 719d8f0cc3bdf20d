//! The inner service as the maker of pages.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::{IntoResponse, Response};
use http::Extensions;
use tower::ServiceExt;
use tower_service::Service;

use super::call::{Bounds, Core};
use crate::render::{Marker, Recipe, RenderContext, Rendered, Renderer, reroute};

/// What a render request carries to the endpoint of its router.
struct Ticket {
    /// The path that the visitor's request had here.
    inner_path: Box<str>,
    recipe: Arc<Recipe>,
    context: Arc<RenderContext>,
    reached: AtomicBool,
}

impl<S: Bounds> Renderer for Core<S> {
    fn render(
        self: Arc<Self>,
        mut request: Request,
        inner_path: &str,
        recipe: &Arc<Recipe>,
        context: &Arc<RenderContext>,
    ) -> Pin<Box<dyn Future<Output = Rendered> + Send>> {
        let ticket = Arc::new(Ticket {
            inner_path: inner_path.into(),
            recipe: Arc::clone(recipe),
            context: Arc::clone(context),
            reached: AtomicBool::new(false),
        });
        request.extensions_mut().insert(Arc::clone(&ticket));
        let response = self.router(recipe).oneshot(request);
        Box::pin(async move {
            let Ok(response) = response.await;
            // Relaxed: set in this task, if at all.
            if ticket.reached.load(Ordering::Relaxed) { Rendered::Response(response) } else { Rendered::Rewritten }
        })
    }

    fn shared(&self, kind: &[u8]) -> Option<Arc<Extensions>> {
        if !self.layer.shares_any() {
            return Some(Arc::default());
        }
        self.shares.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned()
    }
}

/// The router that renders of one pattern go through. Kept, because a service has one pattern as a rule, and to build
/// it costs as much as the rest of a small render.
pub(super) struct Rerouted {
    matched: Option<MatchedPath>,
    nested: Option<NestedPath>,
    router: Router,
}

impl<S: Bounds> Core<S> {
    fn router(self: &Arc<Self>, recipe: &Recipe) -> Router {
        let mut kept = self.rerouted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref()
            && recipe.is_routed(kept.matched.as_ref(), kept.nested.as_ref())
        {
            return kept.router.clone();
        }
        let (matched, nested) = (recipe.matched.clone(), recipe.nested.clone());
        let router = reroute(matched.as_ref(), nested.as_ref(), Endpoint(Arc::downgrade(self)));
        *kept = Some(Rerouted { matched, nested, router: router.clone() });
        router
    }
}

/// Where that router leads. Weak, since the core keeps the router; whoever renders holds the core.
struct Endpoint<S>(Weak<Core<S>>);

impl<S> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<S: Bounds> Service<Request> for Endpoint<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let ticket = request.extensions_mut().remove::<Arc<Ticket>>();
        let (Some(core), Some(ticket)) = (self.0.upgrade(), ticket) else {
            return Box::pin(ready(Ok(Response::default())));
        };
        if request.uri().path() != &*ticket.inner_path {
            return Box::pin(ready(Ok(Response::default())));
        }
        ticket.reached.store(true, Ordering::Relaxed);
        restore(&mut request, &ticket.recipe, &ticket.context);
        let response = S::clone(&core.service).oneshot(request);
        Box::pin(async move { response.await.map(S::Response::into_response).map_err(Into::into) })
    }
}

/// What the inner service finds in its request's extensions: where axum's routing stood, what the application shares,
/// and the render's context.
fn restore(request: &mut Request, recipe: &Recipe, context: &Arc<RenderContext>) {
    let extensions = request.extensions_mut();
    match &recipe.matched {
        Some(matched) => drop(extensions.insert(matched.clone())),
        None => drop(extensions.remove::<MatchedPath>()),
    }
    match &recipe.nested {
        Some(nested) => drop(extensions.insert(nested.clone())),
        None => drop(extensions.remove::<NestedPath>()),
    }
    extensions.extend(Extensions::clone(&recipe.shared));
    Marker::Render(Arc::clone(context)).put(extensions, recipe.route.clone());
}
