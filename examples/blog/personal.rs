//! Pages that are different for each visitor, and how the cache keeps its hands off them.

use std::sync::atomic::{AtomicU64, Ordering};

use askama::Template;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};

use crate::error::AppError;
use crate::page::Page;

const COOKIE: &str = "visitor";

/// For the caches beyond ours, the browser's among them.
const PRIVATE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "private, no-store")];

#[derive(Template)]
#[template(path = "account.html", config = "examples/blog/askama.toml")]
struct AccountTemplate<'a> {
    page: &'a Page,
    name: Option<&'a str>,
    agent: &'a str,
}

/// `/account`: not under the layer, so the handler sees the visitor's request as it came.
pub(crate) async fn account(page: Page, headers: HeaderMap) -> Result<Response, AppError> {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    let html = page.html(&AccountTemplate { page: &page, name: name(&headers), agent })?;
    Ok((PRIVATE, html).into_response())
}

#[derive(Template)]
#[template(path = "welcome.html", config = "examples/blog/askama.toml")]
struct WelcomeTemplate<'a> {
    page: &'a Page,
    name: &'a str,
    returning: bool,
}

/// `/welcome`: under the layer, and still never kept. A cookie belongs to one visitor, so `Set-Cookie` is a veto: the
/// layer sends each visitor's own request here.
///
/// A render for everybody carries no cookies, so it always takes the branch that sets one.
pub(crate) async fn welcome(page: Page, headers: HeaderMap) -> Result<Response, AppError> {
    static VISITORS: AtomicU64 = AtomicU64::new(1);
    if let Some(name) = name(&headers) {
        let html = page.html(&WelcomeTemplate { page: &page, name, returning: true })?;
        return Ok((PRIVATE, html).into_response());
    }
    let name = format!("guest-{}", VISITORS.fetch_add(1, Ordering::Relaxed));
    let html = page.html(&WelcomeTemplate { page: &page, name: &name, returning: false })?;
    let cookie = format!("{COOKIE}={name}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax");
    Ok(([(header::SET_COOKIE, cookie)], html).into_response())
}

/// The name in the visitor's cookie. It is the visitor's word: templates escape it.
fn name(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE && !value.is_empty()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_name_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        assert_eq!(name(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; visitors=no; visitor="));
        assert_eq!(name(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("c=d;visitor=guest-1"));
        assert_eq!(name(&headers), Some("guest-1"));
    }
}
