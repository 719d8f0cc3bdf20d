//! Invalidation on demand, over HTTP.

use std::error::Error;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRef, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{ConfigError, InvalidateError};
use crate::isr::Isr;
use crate::ledger::{Target, Verb};
use crate::policy::tag::Tag;

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The most things that one call may name.
const MAX_TARGETS: usize = 1_000;

/// A router whose `/` invalidates what a `POST` names. Mount it where it suits, for example below `/hooks/revalidate`.
///
/// ```
/// use axum::Router;
/// use axum_isr::{Isr, admin};
///
/// # fn main() -> Result<(), axum_isr::ConfigError> {
/// let isr = Isr::builder().build()?;
/// let app: Router = Router::new()
///     .nest("/hooks/revalidate", admin::revalidation_router("a-long-random-token")?)
///     .with_state(isr);
/// # drop(app); Ok(())
/// # }
/// ```
///
/// The request has `Authorization: Bearer <token>` (RFC 6750 §2.1) and a JSON body, of which every part may be left out
/// but not all of them:
///
/// ```json
/// {"tags": ["post:42"], "paths": ["/"], "prefixes": ["/posts"], "verb": "revalidate"}
/// ```
///
/// `verb` is `"revalidate"` (the default: visitors get the old pages while new ones are rendered) or `"expire"`. It is
/// one step: all that is named, or nothing.
///
/// | status | when |
/// |---|---|
/// | 200 | `{"verb": …, "marks": …, "stamp": …}`; the same whether there are such pages or not |
/// | 400 | the body is not what it should be; `{"error": …}` says what was expected |
/// | 401 | not exactly one `Authorization`, or another token |
/// | 405 | another method than `POST` |
/// | 413 | a body of more than 64 KiB |
/// | 503 | the store cannot be reached: in effect in this process, and sent to the others when it is back ([`InvalidateError::LocalOnly`]); `{"error": …}` |
///
/// All of them with `Cache-Control: no-store`. The token is compared by digest, in a time that does not depend on where
/// it differs; it is looked at before the body is read, and never taken from the query string. A limit of the rate is a
/// layer around this router.
///
/// # Errors
///
/// When `token` is empty, or has other characters than visible ASCII without blanks, which no header could carry.
pub fn revalidation_router<S>(token: impl AsRef<str>) -> Result<Router<S>, ConfigError>
where
    S: Clone + Send + Sync + 'static,
    Isr: FromRef<S>,
{
    let token = token.as_ref();
    // What it is, is nobody's business.
    if token.is_empty() {
        return Err(ConfigError::new("token", "at least 1 character", "none"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::new("token", "visible ASCII without blanks", "something else"));
    }
    let expected = Sha256::digest(token).into();
    let handler = move |State(isr): State<Isr>, request: Request| async move {
        let mut response = answer(&isr, request, &expected).await.unwrap_or_else(Refusal::into_response);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    };
    Ok(Router::new().route("/", any(handler)))
}

/// What a call names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    verb: Said,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    #[default]
    Revalidate,
    Expire,
}

#[derive(Serialize)]
struct Report {
    verb: &'static str,
    marks: usize,
    stamp: u64,
}

enum Refusal {
    Method,
    Token,
    TooLarge,
    Malformed(String),
    LocalOnly(String),
}

impl From<InvalidateError> for Refusal {
    fn from(problem: InvalidateError) -> Self {
        match problem {
            InvalidateError::LocalOnly { .. } => Self::LocalOnly(problem.to_string()),
            _ => Self::Malformed(problem.to_string()),
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(problem: ConfigError) -> Self {
        Self::Malformed(problem.to_string())
    }
}

impl Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")]).into_response(),
            Self::Token => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::Malformed(error) => json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": error })),
            // Whoever calls again does no harm.
            Self::LocalOnly(error) => json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "error": error })),
        }
    }
}

async fn answer(isr: &Isr, request: Request, expected: &[u8; 32]) -> Result<Response, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    if !is_bearer(request.headers(), expected) {
        return Err(Refusal::Token);
    }
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|problem| {
        let too_large = problem.source().is_some_and(<dyn Error>::is::<LengthLimitError>);
        if too_large { Refusal::TooLarge } else { Refusal::Malformed(problem.to_string()) }
    })?;
    let call: Call = serde_json::from_slice(&body).map_err(|problem| Refusal::Malformed(problem.to_string()))?;
    let count = call.tags.len() + call.paths.len() + call.prefixes.len();
    if !(1..=MAX_TARGETS).contains(&count) {
        let expected = format!("1 to {MAX_TARGETS} tags, paths and prefixes");
        return Err(ConfigError::new("body", expected, count).into());
    }
    let mut targets = Vec::with_capacity(count);
    for tag in call.tags {
        targets.push(Target::Tag(Tag::new(tag)?));
    }
    for path in call.paths {
        targets.push(Target::path(&path)?);
    }
    for prefix in call.prefixes {
        targets.push(Target::prefix(&prefix)?);
    }
    let verb = match call.verb {
        Said::Revalidate => Verb::Revalidate,
        Said::Expire => Verb::Expire,
    };
    let done = isr.mark(verb, targets).await?;
    Ok(json(StatusCode::OK, &Report { verb: verb.as_str(), marks: done.marks, stamp: done.stamp }))
}

/// Whether there is one `Authorization`, and it has the token.
fn is_bearer(headers: &HeaderMap, expected: &[u8; 32]) -> bool {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let Some((scheme, token)) = line.as_bytes().split_at_checked(7) else {
        return false;
    };
    let digest: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
    // As long for every token: digests have one length, and no byte ends it.
    let differs = digest.iter().zip(expected).fold(0, |differs, (a, b)| differs | (a ^ b));
    scheme.eq_ignore_ascii_case(b"bearer ") && std::hint::black_box(differs) == 0
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
