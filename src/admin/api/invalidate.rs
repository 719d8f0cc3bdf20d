//! `POST api/revalidate` and `POST api/expire`: the verbs.

use axum::body::Body;
use axum::response::Response;

use crate::admin::access::Authorized;
use crate::admin::answer::Refusal;
use crate::admin::invalidation::invalidate;
use crate::ledger::Verb;

pub(super) async fn revalidate(Authorized(isr): Authorized, body: Body) -> Result<Response, Refusal> {
    invalidate(&isr, Some(Verb::Revalidate), body).await
}

pub(super) async fn expire(Authorized(isr): Authorized, body: Body) -> Result<Response, Refusal> {
    invalidate(&isr, Some(Verb::Expire), body).await
}
