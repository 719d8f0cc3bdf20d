//! What is where.

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};

use super::invalidate::{expire, revalidate};
use super::read::{entries, events, explain, one, stats};
use super::regenerate::regenerate;
use crate::isr::Isr;

/// With whole paths: a nest would hide where the router itself is nested.
pub(in crate::admin) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Isr: FromRef<S>,
{
    Router::new()
        .route("/api/stats", get(stats))
        .route("/api/entries", get(entries))
        .route("/api/entry", get(one))
        .route("/api/explain", get(explain))
        .route("/api/events", get(events))
        .route("/api/revalidate", post(revalidate))
        .route("/api/expire", post(expire))
        .route("/api/regenerate", post(regenerate))
}
