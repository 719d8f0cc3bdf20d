//! The render request's way through the pattern.
//!
//! Path parameters are private to axum, and copying them would trust what a layer outside made of the visitor's URI.
//! So a throw-away router with the one pattern is built for each render (2 to 6 µs), and axum's own routing gives
//! `Uri`, parameters and `OriginalUri`.
//!
//! | `NestedPath` | `MatchedPath` | router |
//! |---|---|---|
//! | n | m = n + rest | `nest_service(n, route_service(rest))`; `nest(n, route_service("/"))` without a rest |
//! | | m | `route_service(m)` |
//! | n | | `nest_service(n)` |
//! | | | `fallback_service` |
//!
//! `any_service` would add the headers of a top-level response.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::Response;
use tower_service::Service;

use super::recipe::Recipe;

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Where the throw-away router leads: a function that takes the routed request.
#[derive(Clone)]
pub(crate) struct Endpoint(pub(crate) Arc<dyn Fn(Request) -> Answer + Send + Sync>);

impl Service<Request> for Endpoint {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answer {
        (self.0)(request)
    }
}

/// A router with one pattern.
pub(crate) fn reroute(recipe: &Recipe, endpoint: Endpoint) -> Router {
    let router = Router::new().without_v07_checks();
    let nest = recipe.nested.as_ref().map(NestedPath::as_str).filter(|n| n.len() > 1);
    let matched = recipe.matched.as_ref().map(MatchedPath::as_str);
    match (nest, matched) {
        (Some(nest), Some(matched)) => match rest_of(nest, matched) {
            Some("") => {
                let inner = Router::new().without_v07_checks().route_service("/", endpoint);
                router.nest(nest, inner)
            }
            Some(rest) => {
                let inner = Router::new().without_v07_checks().route_service(rest, endpoint);
                router.nest_service(nest, inner)
            }
            // Not nested below what it says: axum does not do that. What was matched decides.
            None => router.route_service(matched, endpoint),
        },
        (None, Some(matched)) => router.route_service(matched, endpoint),
        (Some(nest), None) => router.nest_service(nest, endpoint),
        (None, None) => router.fallback_service(endpoint),
    }
}

/// What is left of the pattern below the nest, with its `/`; a nest may end with one.
fn rest_of<'m>(nest: &str, matched: &'m str) -> Option<&'m str> {
    let rest = matched.strip_prefix(nest.strip_suffix('/').unwrap_or(nest))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}
