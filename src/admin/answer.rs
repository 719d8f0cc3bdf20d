//! What callers are told: JSON, and why not.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::{ConfigError, InvalidateError};

/// Why a call does nothing. The answer is `{"error": …}`.
#[derive(Debug)]
pub(super) enum Refusal {
    Method,
    /// Neither the token nor a session.
    Unauthorized,
    /// A session, but nothing that shows that the request is of our own page.
    CrossSite,
    /// What was asked for, and is not there.
    NotFound(&'static str),
    /// Of how many bytes at most a body is read.
    TooLarge(usize),
    Malformed(String),
    /// In effect in this process alone: whoever calls again does no harm.
    LocalOnly(String),
    NoRuntime(String),
    /// As many look at the events as may.
    TooMany,
}

impl From<InvalidateError> for Refusal {
    fn from(problem: InvalidateError) -> Self {
        let text = problem.to_string();
        match problem {
            InvalidateError::Invalid(_) => Self::Malformed(text),
            InvalidateError::NoRuntime => Self::NoRuntime(text),
            InvalidateError::LocalOnly { .. } => Self::LocalOnly(text),
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(problem: ConfigError) -> Self {
        Self::Malformed(problem.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method: expected one of Allow, got another".to_owned()),
            // The same for all that is wrong.
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "authorization: expected the token, got none or another".to_owned())
            }
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "headers: expected x-axum-isr: 1, and of a browser Sec-Fetch-Site: same-origin, got others".to_owned(),
            ),
            Self::NotFound(error) => (StatusCode::NOT_FOUND, error.to_owned()),
            Self::TooLarge(limit) => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("body: expected at most {limit} bytes, got more"))
            }
            Self::Malformed(error) => (StatusCode::BAD_REQUEST, error),
            Self::LocalOnly(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
            Self::NoRuntime(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
            Self::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "events: as many look at them as may".to_owned()),
        };
        let mut response = json(status, &serde_json::json!({ "error": error }));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
