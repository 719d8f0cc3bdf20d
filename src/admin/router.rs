//! Where everything is, and what all answers have in common.

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{any, get, post};
use http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};

use super::answer::Refusal;
use super::api;
use super::config::AdminConfig;
use super::dashboard::Page;
use super::login::{login, logout};
use crate::error::ConfigError;
use crate::isr::Isr;

const NOT_HERE: &str = "path: expected one of the admin API, got another";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A router with a dashboard and the API that it uses. Nest it where it suits, for example at `/_isr`.
///
/// ```
/// use axum::Router;
/// use axum_isr::{Isr, admin, admin::AdminConfig};
///
/// # fn main() -> Result<(), axum_isr::ConfigError> {
/// # let token = "0123456789abcdef0123456789abcdef";
/// let isr = Isr::builder().build()?;
/// let app: Router = Router::new()
///     .nest("/_isr", admin::router(AdminConfig::new(token))?)
///     .with_state(isr);
/// # drop(app); Ok(())
/// # }
/// ```
///
/// The page is then at `/_isr`. axum's `nest` has no `/_isr/`; `nest_service` has both, and takes a router with its state:
/// `.nest_service("/_isr", admin::router(config)?.with_state(isr))`. That can also be served by itself, on a port that only
/// an internal network reaches; the page is then at `/`. Do not merge it into another router: it answers whatever is below it,
/// what is not there with 404.
///
/// | call | does |
/// |---|---|
/// | `GET /` | the dashboard: one page, without data, that asks for the token |
/// | `POST /login` | begins a session: `{"token": "…"}`; 204 with a cookie, or 401 |
/// | `POST /logout` | ends it in this browser; 204 |
/// | `GET /api/stats` | the numbers of the moment, by route too; counts since the handle was built |
/// | `GET /api/entries` | what the memory tier holds, 50 a page: `page`, `sort` (`path`, `age`, `size`, `hits`, `render`, `failures`), `order` (`asc`, `desc`), and of them those with `state` (`fresh`, `stale`, `expired`, `pass`), `tag`, `prefix` of the path (without a slash in front: a part of it) |
/// | `GET /api/entry?id=…` | one of them ([`HeldEntry`](crate::stats::HeldEntry)), or 404 |
/// | `GET /api/explain?path=…` | [`Isr::explain`], with any number of `header=Name: value`; with `tag=…` instead, [`Isr::explain_tag`] |
/// | `GET /api/events` | server-sent events: `stats` each second, and `event` for what has happened: of HIT, STALE, pass and bypass at most 20 a second. A stream ends after 10 s and is asked for again, so that a server that shuts down gracefully does not wait longer; at most 32 at once |
/// | `POST /api/revalidate`, `POST /api/expire` | what [`revalidation_router`](super::revalidation_router) does, with the same body (without `verb`) and the same answers |
/// | `POST /api/regenerate` | `{"path": "/a"}` or `{"tag": "t"}`: as [`Isr::regenerate_path`] and [`Isr::regenerate_tag`]; after 10 s at the latest 200 and `{"total": 2, "done": 2, "failed": 0, "finished": true, "local_only": false}`; `local_only`: the other processes could not be told yet. It goes on then, and whatever happens to the request |
///
/// Whoever is refused gets `{"error": …}`: 400 what was sent is not what was expected, 401 neither token nor session, 403 not
/// of our page, 404, 405, 413 a body of more than 64 KiB (a login: 4 KiB), 503 as there.
///
/// # Who may
///
/// Below `/api` a caller has `Authorization: Bearer <token>`, or the cookie of a session. The token is compared by digest, in
/// a time that does not depend on where it differs, and is in no answer, log or `Debug`. An `Authorization` of another scheme
/// counts as none, so that a proxy in front may ask for a password of its own; two of them are refused.
///
/// The cookie is `HttpOnly`, `SameSite=Strict`, for the path where the router is nested, and `Secure` unless browser and
/// server are on one machine. It holds its expiry and an HMAC-SHA-256 of it, with a key made from the token: nothing is kept
/// here, and processes that have one token share their logins. A `POST` without the token in a header needs
/// `x-axum-isr: 1`, which no form and no other site can send, and `same-origin` where the browser sends `Sec-Fetch-Site`.
///
/// # Before you mount it
///
/// - Make the token at random (`openssl rand -hex 32`). There is no limit of the rate; put one around it as a layer.
/// - Use TLS: without it token and cookie can be read on the way.
/// - If you can, let only your own network reach it: a port of its own, or a proxy that asks for more.
/// - Who has the token, or a session, sees paths, tags, key inputs and errors of what is kept, and can have everything
///   rendered again: not a visitor's data, which is never kept, but not for the public either.
/// - A proxy that takes a part of the path off has to put it back into the cookie's `Path`.
/// - Do not allow other origins with credentials by a CORS layer around it.
///
/// Add it after the layers: one around it keeps none of its answers, which all have `Cache-Control: no-store`, but counts each
/// of its requests as a pass. The page has a `Content-Security-Policy` that allows its own style and script, by hash, and
/// nothing else.
///
/// # Errors
///
/// When the token has fewer than 16 or more than 1,024 characters, or others than visible ASCII without blanks; or the life of
/// a session cannot be.
pub fn router<S>(config: AdminConfig) -> Result<Router<S>, ConfigError>
where
    S: Clone + Send + Sync + 'static,
    Isr: FromRef<S>,
{
    let access = config.into_access()?;
    let page = Page::new();
    Ok(Router::new()
        .route("/", get(async move || page.clone()))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .merge(api::routes())
        // axum says which.
        .method_not_allowed_fallback(async || Refusal::Method)
        // Not a fallback, which a nest in a nest loses.
        .route("/{*unknown}", any(async || Refusal::NotFound(NOT_HERE)))
        .layer(access.layer())
        .layer(map_response(guarded)))
}

/// Of nobody else's page, kept by nobody, and nothing but what it says it is.
async fn guarded(mut response: Response) -> Response {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
