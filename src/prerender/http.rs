//! An export on a server.

use std::error::Error as _;
use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, LAST_MODIFIED};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::manifest::{MAX_MANIFEST_BYTES, checked_segment};
use super::{SeedError, SeedErrorKind, SeedFile, SeedSource, Seeds};
use crate::error::ConfigError;
use crate::web::{escape, provide_cryptography, seconds};

/// How long a try to connect may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a server may say nothing. [`Seeds::timeout`] is for all of an answer.
const SILENCE: Duration = Duration::from_secs(10);

/// What is taken of an answer's word for its own length before it is read.
const MAX_RESERVED: usize = 1 << 20;

/// So deep may an error be told.
const MOST_SOURCES: usize = 8;

impl Seeds {
    /// The files below a URL: `https://builds.example/42` has the manifest at
    /// `https://builds.example/42/vinext-prerender.json`. Needs the feature `http`.
    ///
    /// Nothing is asked for yet. Redirects are not followed, so nothing is read from anywhere else; an answer that says
    /// that it is not there (404, 410) is none, one that may be another one later (408, 429, 5xx, no answer) is tried again, and
    /// any other is an error. `Last-Modified` counts as the time of the build if the manifest does not say it.
    ///
    /// [`timeout`](Self::timeout) is how long a visitor waits for it: a server further away may need more than the second
    /// that is its default. Whoever may write there, or answers in its name, writes what visitors get: without `https` that
    /// is everybody on the way.
    ///
    /// # Errors
    ///
    /// When it is not an absolute `https` or `http` URL, or has a user, a password, a query or a fragment.
    pub fn http(base_url: impl AsRef<str>) -> Result<Self, ConfigError> {
        Http::new(base_url.as_ref(), None).map(Self::source)
    }

    /// As [`http`](Self::http), with `Authorization: Bearer <token>` in every request. The token is in no error, no log and
    /// no `Debug`.
    ///
    /// # Errors
    ///
    /// As [`http`](Self::http); and when the token is empty or has other characters than visible ASCII without blanks, or
    /// when the URL is an `http` one of another machine, where everybody on the way could read it.
    pub fn http_with_token(base_url: impl AsRef<str>, token: impl AsRef<str>) -> Result<Self, ConfigError> {
        Http::new(base_url.as_ref(), Some(token.as_ref())).map(Self::source)
    }
}

/// Files below a URL.
struct Http {
    client: Client,
    /// Without a slash at its end.
    base: String,
}

impl Http {
    fn new(base: &str, token: Option<&str>) -> Result<Self, ConfigError> {
        let (base, is_here) = checked(base, token.is_some())?;
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, bearer(token)?);
        }
        provide_cryptography();
        // What is on this machine is not asked of a proxy of the environment.
        let client = if is_here { Client::builder().no_proxy() } else { Client::builder() };
        let client = client
            .default_headers(headers)
            // CASES 148: a redirect could lead into a network that only this machine can reach.
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(concat!("axum-isr/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|problem| ConfigError::new("http", "a client for HTTP", told(problem)))?;
        Ok(Self { client, base })
    }
}

#[async_trait]
impl SeedSource for Http {
    async fn read(&self, path: &str, max: usize) -> Result<Option<SeedFile>, SeedError> {
        // Nobody has more of it in memory at once, whatever is allowed.
        let max = max.min(MAX_MANIFEST_BYTES);
        let url = format!("{}/{}", self.base, escaped(path)?);
        let answer = self.client.get(url).send().await.map_err(unavailable)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                return Err(status_error(SeedErrorKind::Unavailable, status));
            }
            status if status.is_server_error() => return Err(status_error(SeedErrorKind::Unavailable, status)),
            status => return Err(status_error(SeedErrorKind::Refused, status)),
        }
        let headers = answer.headers();
        if let Some(coding) = headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity") {
            let why = format!("expected a body as it is, got one with content-encoding {coding:?}");
            return Err(SeedError::new(SeedErrorKind::Refused, why));
        }
        let modified = headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok()).and_then(seconds);
        let modified = modified.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        Ok(Some(SeedFile { bytes: body(answer, max).await?, modified }))
    }

    fn name(&self) -> String {
        self.base.clone()
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Never more than is wanted, whatever the answer says of its length.
async fn body(mut answer: reqwest::Response, max: usize) -> Result<Bytes, SeedError> {
    let too_large = || SeedError::new(SeedErrorKind::TooLarge, format!("expected at most {max} bytes, got more"));
    let said = answer.content_length().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if said > max {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(said.min(MAX_RESERVED));
    while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
        if chunk.len() > max - body.len() {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Checked, without a slash at its end; and whether it is of this machine. Nothing of what is refused is repeated: a password may be in it.
fn checked(base: &str, with_token: bool) -> Result<(String, bool), ConfigError> {
    let refused = |expected: &str, got: &str| Err(ConfigError::new("http", expected, got));
    let Ok(url) = Url::parse(base) else {
        return refused("an absolute URL, https://…", "another text");
    };
    if !matches!(url.scheme(), "https" | "http") {
        return refused("an https or http URL", "one of another scheme");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("a URL without credentials (`Seeds::http_with_token` takes a token)", "one with them");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refused("a URL without query and fragment", "one with them");
    }
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if with_token && url.scheme() == "http" && !is_here {
        return refused("an https URL, since a token goes there (http for this machine alone)", "an http one");
    }
    Ok((url.as_str().trim_end_matches('/').to_owned(), is_here))
}

fn bearer(token: &str) -> Result<HeaderValue, ConfigError> {
    let problem = || ConfigError::new("token", "visible ASCII without blanks, at least 1 character", "something else");
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(problem());
    }
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| problem())?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// As a part of a URL: a `%` of a file's name is one there too.
fn escaped(path: &str) -> Result<String, SeedError> {
    let mut escaped = String::with_capacity(path.len() + 16);
    for segment in path.split('/') {
        checked_segment(segment).map_err(|why| SeedError::new(SeedErrorKind::Refused, why))?;
        if !escaped.is_empty() {
            escaped.push('/');
        }
        escape(segment, b"-._~", &mut escaped);
    }
    Ok(escaped)
}

fn status_error(kind: SeedErrorKind, status: StatusCode) -> SeedError {
    let more = if status.is_redirection() { ", and redirects are not followed" } else { "" };
    SeedError::new(kind, format!("the server said {}{more}", status.as_u16()))
}

fn unavailable(problem: reqwest::Error) -> SeedError {
    SeedError::new(SeedErrorKind::Unavailable, told(problem))
}

/// With everything that led to it; without the URL, which the name of the source has.
fn told(problem: reqwest::Error) -> String {
    let problem = problem.without_url();
    let mut text = problem.to_string();
    let mut next = problem.source();
    for _ in 0..MOST_SOURCES {
        let Some(source) = next else { break };
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_once() {
        assert_eq!(
            escaped("prerendered-routes/sticks%20.html").ok().as_deref(),
            Some("prerendered-routes/sticks%2520.html")
        );
        assert_eq!(escaped("é/a b?#&.html").ok().as_deref(), Some("%C3%A9/a%20b%3F%23%26.html"));
        for path in ["", "/a", "a//b", "../a", "a/..", "a\\b", "http://a"] {
            assert_eq!(escaped(path).err().map(|problem| problem.kind()), Some(SeedErrorKind::Refused), "{path}");
        }
    }
}
