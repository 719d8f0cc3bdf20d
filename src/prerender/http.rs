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
        let modified = headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok()).and_then(date);
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
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push('%');
                for half in [byte >> 4, byte & 15] {
                    escaped.push(char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
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

/// RFC 9110 §5.6.7, in the form that is in use: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.strip_suffix(" GMT")?.split([' ', ':']);
    let number = |parts: &mut std::str::Split<'_, _>| parts.next()?.parse::<u64>().ok();
    let day = number(&mut parts)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year = number(&mut parts)?;
    let (hour, minute, second) = (number(&mut parts)?, number(&mut parts)?, number(&mut parts)?);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // From March of the year 0 to the Unix epoch.
    let days = days.checked_sub(719_468)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

/// Without a default the TLS library panics. An application that has chosen one keeps it.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Who comes first wins; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_seconds() {
        let seconds =
            |text: &str| date(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

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
