//! Invalidation on demand, over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ALLOW, CACHE_CONTROL};
use http::{HeaderValue, Method};

use super::answer::Refusal;
use super::invalidation::invalidate;
use super::token::{Presented, Token};
use crate::error::ConfigError;
use crate::isr::Isr;

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
/// {"tags": ["post:42"], "paths": ["/"], "prefixes": ["/posts"], "routes": ["/tags/{tag}"], "all": false, "verb": "revalidate"}
/// ```
///
/// `verb` is `"revalidate"` (the default: visitors get the old pages while new ones are rendered) or `"expire"`; `all` is
/// everything, pages and data. It is one step: all that is named, or nothing.
///
/// | status | when |
/// |---|---|
/// | 200 | `{"verb": …, "marks": …, "stamp": …}`; the same whether there are such pages or not |
/// | 400 | the body is not what it should be |
/// | 401 | not exactly one `Authorization`, or another token |
/// | 405 | another method than `POST` |
/// | 413 | a body of more than 64 KiB |
/// | 503 | the store cannot be reached: in effect in this process, and sent to the others when it is back ([`InvalidateError::LocalOnly`](crate::InvalidateError::LocalOnly)) |
///
/// All of them with `Cache-Control: no-store`, and all but 200 with `{"error": …}`, which says what was expected. The
/// token is compared by digest, in a time that does not depend on where it differs; it is looked at before the body is
/// read, and never taken from the query string. A limit of the rate is a layer around this router.
///
/// # Errors
///
/// When `token` is empty, or has other characters than visible ASCII without blanks, which no header could carry.
pub fn revalidation_router<S>(token: impl AsRef<str>) -> Result<Router<S>, ConfigError>
where
    S: Clone + Send + Sync + 'static,
    Isr: FromRef<S>,
{
    let token = Arc::new(Token::new(token.as_ref(), 1)?);
    let handler = move |State(isr): State<Isr>, request: Request| async move {
        let mut response = answer(&isr, request, &token).await.unwrap_or_else(Refusal::into_response);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    };
    Ok(Router::new().route("/", any(handler)))
}

async fn answer(isr: &Isr, request: Request, token: &Token) -> Result<Response, Refusal> {
    if request.method() != Method::POST {
        return Ok(([(ALLOW, "POST")], Refusal::Method).into_response());
    }
    if token.presented(request.headers()) != Presented::Token {
        return Err(Refusal::Unauthorized);
    }
    invalidate(isr, None, request.into_body()).await
}
