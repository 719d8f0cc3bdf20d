//! What is asked of the service: a part of its REST API, which a gateway speaks too.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};

use super::answer::{Answer, Metadata, Page};
use super::error::{Token, corrupt, setting};
use super::pace::{Counting, Pace, Wait, retry_after};
use super::service_time::ServiceTime;
use crate::store::error::{StoreError, StoreErrorKind};
use crate::web::{escape, provide_cryptography, seconds};

/// The largest value.
pub(super) const MAX_BYTES: usize = 25 * 1024 * 1024;

/// Longer is no answer: of a list, a thousand keys with their metadata; of a bulk write, the names of ten thousand.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;
/// Of an error this much is read.
const LONGEST_ERROR: usize = 16 * 1024;

/// What is written at once may take so many times as long.
const BULK_PATIENCE: u32 = 12;

/// The most that is written at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bulk {
    pub(super) pairs: usize,
    pub(super) bytes: usize,
}

/// Which service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rest,
    Gateway,
}

impl Kind {
    fn bulk(self) -> Bulk {
        match self {
            Self::Rest => Bulk { pairs: 10_000, bytes: 95_000_000 },
            // A Worker has 128 MB of memory, and may ask for a thousand things.
            Self::Gateway => Bulk { pairs: 500, bytes: 16_000_000 },
        }
    }

    fn counting(self) -> Counting {
        match self {
            Self::Rest => Counting::Calls,
            Self::Gateway => Counting::None,
        }
    }
}

pub(super) struct Api {
    client: Client,
    /// Without a slash at its end.
    pub(super) base: String,
    token: Token,
    response_timeout: Duration,
    pub(super) bulk: Bulk,
    pub(super) pace: Pace,
    pub(super) time: ServiceTime,
}

impl Api {
    pub(super) fn new(
        kind: Kind,
        base: String,
        token: Token,
        connect: Duration,
        response: Duration,
    ) -> Result<Self, StoreError> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.0))
            .map_err(|_| setting("token: expected visible ASCII characters, got others"))?;
        bearer.set_sensitive(true);
        provide_cryptography();
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            // A redirect would take values and the token to who knows where.
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(connect)
            .user_agent(concat!("axum-isr/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| token.unanswered(error))?;
        Ok(Self {
            client,
            base,
            token,
            response_timeout: response,
            bulk: kind.bulk(),
            pace: Pace::new(kind.counting()),
            time: ServiceTime::new(),
        })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let request = self.request(Method::GET, &format!("values/{}", escaped(key)));
        self.ask(request, MAX_BYTES).await?.value(&self.token)
    }

    pub(super) async fn metadata(&self, key: &str) -> Result<Option<Metadata>, StoreError> {
        let request = self.request(Method::GET, &format!("metadata/{}", escaped(key)));
        self.ask(request, LONGEST_ANSWER).await?.metadata(&self.token)
    }

    /// `ttl`: seconds, 60 at least; without it, it stays. `metadata`: JSON.
    pub(super) async fn put(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<u64>,
        metadata: &str,
    ) -> Result<(), StoreError> {
        let ttl = ttl.map(|ttl| format!("?expiration_ttl={ttl}")).unwrap_or_default();
        let path = format!("values/{}{ttl}", escaped(key));
        let (boundary, body) = form(value, metadata);
        let request = self
            .request(Method::PUT, &path)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .body(body);
        self.ask(request, LONGEST_ANSWER).await?.done(&self.token)
    }

    pub(super) async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let request = self.request(Method::DELETE, &format!("values/{}", escaped(key)));
        self.ask(request, LONGEST_ANSWER).await?.removed(&self.token)
    }

    pub(super) async fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        let mut path = format!("keys?prefix={}", escaped(prefix));
        if let Some(cursor) = cursor {
            path.push_str("&cursor=");
            path.push_str(&escaped(cursor));
        }
        self.ask(self.request(Method::GET, &path), LONGEST_ANSWER).await?.page(&self.token)
    }

    /// Writes pairs, as a list in JSON; returns the keys that were not written.
    pub(super) async fn put_pairs(&self, pairs: bytes::Bytes) -> Result<Vec<String>, StoreError> {
        let request = self
            .request(Method::PUT, "bulk")
            .timeout(self.response_timeout.saturating_mul(BULK_PATIENCE))
            .header(CONTENT_TYPE, "application/json")
            .body(pairs);
        self.ask(request, LONGEST_ANSWER).await?.not_written(&self.token)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/{path}", self.base)).timeout(self.response_timeout)
    }

    async fn ask(&self, request: RequestBuilder, most: usize) -> Result<Answer, StoreError> {
        self.pace.take(tokio::time::Instant::now()).map_err(|Wait { time, why }| {
            StoreError::new(StoreErrorKind::Unavailable, format!("not asked for another {time:.1?}: {why}"))
        })?;
        let sent = Instant::now();
        let response = request.send().await.map_err(|error| self.token.unanswered(error))?;
        self.note(&response, sent);
        self.read(response, most).await
    }

    /// What the head of an answer says about the service.
    fn note(&self, response: &Response, sent: Instant) {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(date) = text(DATE).and_then(seconds) {
            self.time.learn(date, sent, Instant::now());
        }
        let asks_for_a_pause = matches!(response.status().as_u16(), 429 | 503);
        if asks_for_a_pause && let Some(pause) = text(RETRY_AFTER).and_then(retry_after) {
            self.pace.pause(pause, tokio::time::Instant::now());
        }
    }

    /// Never more than is wanted, whatever it says of its length.
    async fn read(&self, mut response: Response, most: usize) -> Result<Answer, StoreError> {
        let status = response.status();
        let most = if status.is_success() { most } else { LONGEST_ERROR };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if chunk.len() <= most - body.len() => body.extend_from_slice(&chunk),
                Ok(Some(chunk)) if !status.is_success() => {
                    body.extend_from_slice(&chunk[..most - body.len()]);
                    break;
                }
                Ok(Some(_)) => return Err(corrupt(format!("expected at most {most} bytes, got more"))),
                Ok(None) => break,
                // What has failed has failed, however much of it is told.
                Err(_) if !status.is_success() => break,
                Err(error) => return Err(self.token.unanswered(error)),
            }
        }
        Ok(Answer { status: status.as_u16(), body })
    }
}

/// As a part of a path or a query. A dot too: two of them lead elsewhere.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    escape(text, b"-_~", &mut escaped);
    escaped
}

/// A form with a value and its metadata, RFC 7578, and the boundary of its parts.
fn form(value: &[u8], metadata: &str) -> (String, Vec<u8>) {
    let mut boundary = "isr-boundary".to_owned();
    while value.windows(boundary.len()).any(|part| part == boundary.as_bytes()) {
        boundary = format!("isr-{:016x}", super::ledger::random());
    }
    let head = |name: &str| {
        let kind = "application/octet-stream";
        format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n"
        )
    };
    let mut body = Vec::with_capacity(value.len() + metadata.len() + 512);
    body.extend_from_slice(head("value").as_bytes());
    body.extend_from_slice(value);
    let plain = format!("\r\n--{boundary}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}");
    body.extend_from_slice(plain.as_bytes());
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (boundary, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_part_of_a_path() {
        assert_eq!(escaped("isr:k:/a%20b/../é?c=d#;"), "isr%3Ak%3A%2Fa%2520b%2F%2E%2E%2F%C3%A9%3Fc%3Dd%23%3B");
    }

    #[test]
    fn a_value_does_not_end_its_part_of_a_form() {
        let (boundary, body) = form(b"a\r\n--isr-boundary--\r\n", "{}");
        assert_ne!(boundary, "isr-boundary");
        let text = String::from_utf8(body).expect("text");
        assert_eq!(text.matches(&boundary).count(), 3);
    }
}
