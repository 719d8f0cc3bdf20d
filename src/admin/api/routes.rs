//! What is where.

use axum::Router;
use axum::extract::FromRef;
use axum::routing::post;

use super::invalidate::{expire, revalidate};
use super::regenerate::regenerate;
use crate::isr::Isr;

/// With whole paths: a nest would hide where the router itself is nested.
pub(in crate::admin) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Isr: FromRef<S>,
{
    Router::new()
        .route("/api/revalidate", post(revalidate))
        .route("/api/expire", post(expire))
        .route("/api/regenerate", post(regenerate))
}
