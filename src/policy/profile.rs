//! Which headers the cache adds to its answers.

use http::{HeaderName, header};

use crate::error::ConfigError;

/// The default name of the header that says `MISS`, `HIT` or `STALE`.
pub(crate) const STATE_HEADER: HeaderName = HeaderName::from_static("x-vinext-cache");

/// The headers that the cache adds to its answers.
///
/// | | [`shared`](Self::shared) (default) | [`cdn`](Self::cdn) | [`none`](Self::none) |
/// |---|---|---|---|
/// | state | `x-vinext-cache` | `x-vinext-cache` | |
/// | lifetime | `Cache-Control: s-maxage=…` | `CDN-Cache-Control: max-age=…`, and `Cache-Control: public, max-age=0, must-revalidate` | |
/// | `Cache-Status` | yes | yes | |
/// | `Age`, `ETag` | yes | yes | yes |
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ResponseHeaders {
    pub(crate) lifetime: Lifetime,
    pub(crate) state: Option<HeaderName>,
    pub(crate) cache_status: bool,
    pub(crate) debug: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Shared,
    Cdn,
    None,
}

impl Default for ResponseHeaders {
    fn default() -> Self {
        Self::shared()
    }
}

impl ResponseHeaders {
    /// `Cache-Control: s-maxage=…, stale-while-revalidate=…` for the caches in front (the default).
    pub fn shared() -> Self {
        Self { lifetime: Lifetime::Shared, state: Some(STATE_HEADER), cache_status: true, debug: false }
    }

    /// `CDN-Cache-Control` (RFC 9213) for the caches in front, while browsers ask each time.
    pub fn cdn() -> Self {
        Self { lifetime: Lifetime::Cdn, ..Self::shared() }
    }

    /// Nothing but `Age` and `ETag`.
    pub fn none() -> Self {
        Self { lifetime: Lifetime::None, state: None, cache_status: false, debug: false }
    }

    /// Another name for the state header: one that HTTP does not use, for example `x-cache`. Default: `x-vinext-cache`.
    pub fn state_header(self, name: HeaderName) -> Self {
        Self { state: Some(name), ..self }
    }

    /// Adds what helps to find out why a page is cached or not: `ttl`, `detail` (a reason, see [`Reason`](crate::stats::Reason)) and
    /// `key` in `Cache-Status` (RFC 9211), which is then also sent with answers that were passed or bypassed.
    ///
    /// Off by default: it tells strangers how the site works, what is cached, and what makes its variants.
    pub fn debug(self) -> Self {
        Self { cache_status: true, debug: true, ..self }
    }

    /// A state header under the name of one that means something to clients or caches would break them.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match &self.state {
            Some(name) if is_taken(name) => {
                Err(ConfigError::new("state_header", "a name of your own, for example x-cache", name))
            }
            _ => Ok(()),
        }
    }

    /// Whether a header of this name is ours, so that one of the handler's is not kept.
    pub(crate) fn owns(&self, name: &HeaderName) -> bool {
        self.state.as_ref() == Some(name)
            || (self.lifetime == Lifetime::Cdn && *name == CDN_CACHE_CONTROL)
            || *name == header::AGE
    }
}

/// Fields that RFC 9110, 9111, 9112, 9211 and 9213, cookies or CORS give a meaning.
fn is_taken(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 4] = ["access-control-", "content-", "if-", "sec-"];
    const NAMES: [&str; 38] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "age",
        "allow",
        "alt-svc",
        "authorization",
        "cache-control",
        "cache-status",
        "cdn-cache-control",
        "connection",
        "cookie",
        "date",
        "etag",
        "expires",
        "forwarded",
        "host",
        "keep-alive",
        "last-modified",
        "link",
        "location",
        "pragma",
        "range",
        "refresh",
        "retry-after",
        "server",
        "server-timing",
        "set-cookie",
        "strict-transport-security",
        "surrogate-control",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "www-authenticate",
    ];
    let name = name.as_str();
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// RFC 9213 §3.1.
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_header_has_a_name_of_its_own() {
        for name in ["age", "vary", "etag", "set-cookie", "content-type", "if-none-match", "accept", "te", "location"] {
            let problem = ResponseHeaders::shared().state_header(HeaderName::from_static(name)).check().unwrap_err();
            let expected = format!("state_header: expected a name of your own, for example x-cache, got {name}");
            assert_eq!(problem.to_string(), expected);
        }
        for name in ["x-cache", "x-vinext-cache", "x-nextjs-cache"] {
            assert_eq!(ResponseHeaders::shared().state_header(HeaderName::from_static(name)).check(), Ok(()));
        }
        assert_eq!(ResponseHeaders::none().check(), Ok(()));
    }
}
