//! The inner service as the maker of pages.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use super::call::{Bounds, Core};
use crate::render::{Endpoint, Marker, Recipe, RenderContext, Rendered, Renderer, reroute};

impl<S: Bounds> Renderer for Core<S> {
    fn render(
        self: Arc<Self>,
        request: Request,
        inner_path: &str,
        recipe: &Arc<Recipe>,
        context: &Arc<RenderContext>,
    ) -> Pin<Box<dyn Future<Output = Rendered> + Send>> {
        let reached = Arc::new(AtomicBool::new(false));
        let endpoint = {
            let (reached, recipe, context) = (Arc::clone(&reached), Arc::clone(recipe), Arc::clone(context));
            let inner_path: Box<str> = inner_path.into();
            Endpoint(Arc::new(move |mut request: Request| {
                if request.uri().path() != &*inner_path {
                    return Box::pin(ready(Ok(Response::default())));
                }
                reached.store(true, Ordering::Relaxed);
                restore(&mut request, &recipe, &context);
                let response = self.service.clone().oneshot(request);
                Box::pin(async move { response.await.map(S::Response::into_response).map_err(Into::into) })
            }))
        };
        let response = reroute(recipe, endpoint).oneshot(request);
        Box::pin(async move {
            let Ok(response) = response.await;
            if reached.load(Ordering::Relaxed) { Rendered::Response(response) } else { Rendered::Rewritten }
        })
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
    extensions.extend(recipe.shared.clone());
    Marker::Render(Arc::clone(context)).put(extensions, recipe.route.clone());
}
