//! The render request's way through the pattern.
//!
//! Path parameters are private to axum, and copying them would trust what a layer outside made of the visitor's URI.
//! So renders go through a router of their own with the one pattern, and axum's own routing gives `Uri`, parameters and
//! `OriginalUri`.
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

use axum::Router;
use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::IntoResponse;
use tower_service::Service;

/// A router with one pattern.
pub(crate) fn reroute<T>(matched: Option<&MatchedPath>, nested: Option<&NestedPath>, endpoint: T) -> Router
where
    T: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
    T::Response: IntoResponse,
    T::Future: Send + 'static,
{
    let router = Router::new().without_v07_checks();
    let nest = nested.map(NestedPath::as_str).filter(|n| n.len() > 1);
    let matched = matched.map(MatchedPath::as_str);
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
