//! The one list of headers that no entry may have.

use http::{HeaderMap, HeaderName, header};

use crate::policy::profile::{ResponseHeaders, STATE_HEADER};

/// Hop-by-hop fields (RFC 9110 §7.6.1) besides those that `Connection` names; fields that say something about one
/// exchange and not about the page; and those that the cache writes itself.
const REMOVED: [HeaderName; 26] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CACHE_CONTROL,
    HeaderName::from_static("cache-status"),
    header::AGE,
    header::DATE,
    header::CONTENT_LENGTH,
    header::SET_COOKIE,
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("traceresponse"),
    HeaderName::from_static("b3"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-trace-id"),
    HeaderName::from_static("x-amzn-trace-id"),
    HeaderName::from_static("x-cloud-trace-context"),
];

/// Removes what may not be stored or shared.
pub(crate) fn clean(headers: &mut HeaderMap, profile: &ResponseHeaders) {
    if headers.is_empty() {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| REMOVED.contains(name) || **name == STATE_HEADER || profile.owns(name))
        .cloned()
        .collect();
    for name in named.iter().chain(&ours) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// R11, CASES 72: one list, and the names that any `Connection` line adds to it.
    #[test]
    fn nothing_of_the_exchange_is_left() {
        let mut headers = HeaderMap::new();
        for name in &REMOVED {
            headers.append(name, HeaderValue::from_static("x"));
            headers.append(name, HeaderValue::from_static("y"));
        }
        for line in ["close, X-Hop", " x-other ,,\"", "keep-alive"] {
            headers.append(header::CONNECTION, HeaderValue::from_static(line));
        }
        for name in ["x-hop", "x-other", "x-vinext-cache", "x-mine", "cdn-cache-control"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        headers.insert("alt-svc", HeaderValue::from_static("clear"));
        let profile = ResponseHeaders::cdn().state_header(HeaderName::from_static("x-mine"));
        clean(&mut headers, &profile);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["alt-svc", "content-type"]);
    }
}
