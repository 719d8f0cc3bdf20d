//! Whether a request may use the cache (I2): everything but the key, in one pass over the headers.

use axum::extract::Request;
use http::{HeaderMap, Method};
use http_body::Body as _;

use super::route::{Dynamic, RouteConfig};

/// Why a request went to its handler without a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bypass {
    /// Neither the layer nor the request has a [`RouteConfig`]. Counts besides what a layer further in says of the request.
    NoConfig,
    /// The configuration cannot work, which was logged as an error.
    InvalidConfig,
    /// Another method than `GET` and `HEAD`.
    Method,
    /// The request has a body.
    Body,
    /// It has `Range`.
    Range,
    /// It has `If-Match` or `If-Unmodified-Since`.
    Precondition,
    /// It has `Upgrade`.
    Upgrade,
    /// The route is never cached: [`Dynamic::ForceDynamic`], or a time to revalidate of zero.
    Dynamic,
    /// More than 1,024 bytes of the request would be in its key.
    KeyTooLong,
    /// More than 32 key inputs.
    TooManyInputs,
    /// A declared header or cookie is no text.
    HeaderValue,
    /// The host is declared, and there are several, or none that could be one.
    HostValue,
    /// The path does not begin with `/`.
    Path,
    /// Path parameters without a pattern: the layer stands outside of a nest that has some.
    NestParameters,
    /// An extension panicked when it was cloned.
    Share,
    /// No tokio runtime, or one without timers.
    NoRuntime,
    /// [`Isr::shutdown`](crate::Isr::shutdown) has begun.
    Shutdown,
    /// A layer further out, or the render that this request belongs to, has decided already.
    Inner,
    /// Asked for inside the render of its own key.
    Recursion,
}

impl Bypass {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoConfig => "no-config",
            Self::InvalidConfig => "invalid-config",
            Self::Method => "method",
            Self::Body => "body",
            Self::Range => "range",
            Self::Precondition => "precondition",
            Self::Upgrade => "upgrade",
            Self::Dynamic => "dynamic",
            Self::KeyTooLong => "key-too-long",
            Self::TooManyInputs => "too-many-inputs",
            Self::HeaderValue => "header-value",
            Self::HostValue => "host-value",
            Self::Path => "path",
            Self::NestParameters => "nest-parameters",
            Self::Share => "share",
            Self::NoRuntime => "no-runtime",
            Self::Shutdown => "shutdown",
            Self::Inner => "inner",
            Self::Recursion => "recursion",
        }
    }
}

/// What the look-up needs to know of a request besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) head: bool,
    pub(crate) if_none_match: bool,
}

/// The one predicate for requests.
#[inline]
pub(crate) fn examine(request: &Request, route: &RouteConfig) -> Result<Admitted, Bypass> {
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => return Err(Bypass::Method),
    };
    let settings = route.settings();
    if settings.mode == Dynamic::ForceDynamic || settings.revalidate.is_zero() {
        return Err(Bypass::Dynamic);
    }
    if !request.body().is_end_stream() {
        return Err(Bypass::Body);
    }
    let if_none_match = examine_headers(request.headers())?;
    Ok(Admitted { head, if_none_match })
}

/// Names are told apart by their length first: most headers of a request cost one comparison of integers.
#[inline]
fn examine_headers(headers: &HeaderMap) -> Result<bool, Bypass> {
    let mut if_none_match = false;
    for (name, value) in headers {
        let name = name.as_str();
        match name.len() {
            5 if name == "range" => return Err(Bypass::Range),
            7 if name == "upgrade" => return Err(Bypass::Upgrade),
            8 if name == "if-match" => return Err(Bypass::Precondition),
            13 if name == "if-none-match" => if_none_match = true,
            14 if name == "content-length" && value.as_bytes() != b"0" => return Err(Bypass::Body),
            17 if name == "transfer-encoding" => return Err(Bypass::Body),
            19 if name == "if-unmodified-since" => return Err(Bypass::Precondition),
            _ => {}
        }
    }
    Ok(if_none_match)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use std::time::Duration;

    fn verdict(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Result<Admitted, Bypass> {
        let request = build(Request::builder().uri("/")).body(Body::empty()).expect("valid");
        examine(&request, &RouteConfig::revalidate(Duration::from_secs(1)))
    }

    /// R5, CASES 66, 157: what bypasses, and why.
    #[test]
    fn each_refusal_has_its_reason() {
        for (name, value, reason) in [
            ("range", "bytes=0-0", Bypass::Range),
            ("upgrade", "websocket", Bypass::Upgrade),
            ("if-match", "\"a\"", Bypass::Precondition),
            ("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT", Bypass::Precondition),
            ("content-length", "1", Bypass::Body),
            ("content-length", "", Bypass::Body),
            ("transfer-encoding", "chunked", Bypass::Body),
        ] {
            assert_eq!(verdict(|b| b.header(name, value)), Err(reason), "{name}: {value}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "get"] {
            assert_eq!(verdict(|b| b.method(method)), Err(Bypass::Method), "{method}");
        }
    }

    #[test]
    fn what_is_not_keyed_is_no_reason_to_bypass() {
        let admitted = verdict(|b| {
            b.header("authorization", "Bearer x")
                .header("cookie", "sid=1")
                .header("cache-control", "no-cache")
                .header("pragma", "no-cache")
                .header("expect", "100-continue")
                .header("te", "trailers")
                .header("if-range", "\"a\"")
                .header("content-length", "0")
                .header("if-none-match", "*")
        });
        assert_eq!(admitted, Ok(Admitted { head: false, if_none_match: true }));
        assert_eq!(verdict(|b| b.method("HEAD")), Ok(Admitted { head: true, if_none_match: false }));
    }
}
