//! Beginning and ending a session.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use serde::Deserialize;

use super::access::Access;
use super::answer::Refusal;
use super::{body, cookie};
use crate::isr::Isr;

/// The largest body of a login.
const MAX_BODY_BYTES: usize = 4 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

pub(super) async fn login(
    State(isr): State<Isr>,
    Extension(access): Extension<Arc<Access>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    access.admit(&parts.headers)?;
    let body = body::read(body, MAX_BODY_BYTES).await?;
    // What the parser would say may repeat a part of the token.
    let said: Login = body::object(&body)
        .map_err(|_| Refusal::Malformed("body: expected {\"token\": \"…\"}, got something else".to_owned()))?;
    // As it is pasted.
    if !access.token.is(said.token.trim_ascii().as_bytes()) {
        return Err(Refusal::Unauthorized);
    }
    let session = access.sessions.begin(isr.shared.time.wall());
    Ok(with_cookie(&session, access.sessions.life(), &parts))
}

pub(super) async fn logout(Extension(access): Extension<Arc<Access>>, request: Request) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    access.admit(&parts.headers)?;
    Ok(with_cookie("", Duration::ZERO, &parts))
}

fn with_cookie(session: &str, life: Duration, parts: &Parts) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = cookie::set(session, life, parts) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
