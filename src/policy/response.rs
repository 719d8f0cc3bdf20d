//! Whether a response may be kept (I2, I4). One table for first renders and regenerations.

use http::{HeaderMap, StatusCode, header};

use super::route::Settings;

/// Why a page is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pass {
    /// The handler asked for the visitor's own request.
    Dynamic,
    /// `Render::no_store`, or a lifetime of zero.
    NoStore,
    /// `Render::tag` with something that is no tag, or too many.
    Tags,
    /// It has `Set-Cookie`.
    SetCookie,
    /// Its handler says itself how it may be kept: `Cache-Control`, `Expires`, `Pragma`, or the like for CDNs.
    CacheControl,
    /// It has `Clear-Site-Data`.
    ClearSiteData,
    /// It has `Vary` on something that is not in the key.
    Vary,
    /// Its Content-Security-Policy has a nonce.
    Nonce,
    /// It is a part of something.
    ContentRange,
    /// It is a conversation: events, gRPC.
    ContentType,
    /// Its body has trailers.
    Trailers,
    /// A status that is not kept.
    Status,
    /// Its body is larger than `max_body_bytes`, or than what the memory tier can hold.
    TooLarge,
    /// Too many bytes are being captured at the same time.
    Capture,
    /// The body broke, or was not as long as it said.
    Broken,
    /// The handler works with the visitor's request and fails without it.
    NeedsVisitor,
    /// A layer outside changed the path.
    Rewritten,
    /// A `HEAD` handler of its own.
    Head,
    /// Too many visitors wait for this page.
    Waiters,
    /// The render was given up: shutdown, or its runtime is gone.
    Abandoned,
    /// Page after page was marked while it was made.
    Overtaken,
}

impl Pass {
    /// All of them.
    pub(crate) const ALL: [Self; 21] = [
        Self::Dynamic,
        Self::NoStore,
        Self::Tags,
        Self::SetCookie,
        Self::CacheControl,
        Self::ClearSiteData,
        Self::Vary,
        Self::Nonce,
        Self::ContentRange,
        Self::ContentType,
        Self::Trailers,
        Self::Status,
        Self::TooLarge,
        Self::Capture,
        Self::Broken,
        Self::NeedsVisitor,
        Self::Rewritten,
        Self::Head,
        Self::Waiters,
        Self::Abandoned,
        Self::Overtaken,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dynamic => "dynamic",
            Self::NoStore => "no-store",
            Self::Tags => "tags",
            Self::SetCookie => "set-cookie",
            Self::CacheControl => "cache-control",
            Self::ClearSiteData => "clear-site-data",
            Self::Vary => "vary",
            Self::Nonce => "nonce",
            Self::ContentRange => "content-range",
            Self::ContentType => "content-type",
            Self::Trailers => "trailers",
            Self::Status => "status",
            Self::TooLarge => "too-large",
            Self::Capture => "capture",
            Self::Broken => "broken",
            Self::NeedsVisitor => "needs-visitor",
            Self::Rewritten => "rewritten",
            Self::Head => "head",
            Self::Waiters => "waiters",
            Self::Abandoned => "abandoned",
            Self::Overtaken => "overtaken",
        }
    }
}

/// What the head of a response says about the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// May be kept, if the body ends well.
    Keep,
    /// 5xx, 429, 408: the page could not be made.
    Failure,
    /// Not shareable. `veto`: a regeneration with it removes the entry; otherwise the old one stays.
    Pass { reason: Pass, veto: bool },
}

/// The one predicate for responses. `matched`: a pattern of the router matched the path.
///
/// Reads the response as the inner service made it, before hop-by-hop fields are removed.
pub(crate) fn judge(status: StatusCode, headers: &HeaderMap, route: &Settings, matched: bool) -> Verdict {
    let failed = matches!(status.as_u16(), 408 | 429 | 500..=599);
    if let Some(reason) = veto(headers, route) {
        return match reason {
            // Whatever it says of itself, a worse answer does not take the old page with it.
            Pass::SetCookie | Pass::ContentType if failed => Verdict::Pass { reason, veto: false },
            _ if failed => Verdict::Failure,
            _ => Verdict::Pass { reason, veto: true },
        };
    }
    if failed {
        return Verdict::Failure;
    }
    if route.statuses.contains(&status) {
        return Verdict::Keep;
    }
    let pass = |veto| Verdict::Pass { reason: Pass::Status, veto };
    match status.as_u16() {
        200 | 203 | 301 | 308 => Verdict::Keep,
        404 | 410 if matched => Verdict::Keep,
        304 => pass(false),
        401 | 403 | 407 | 451 | 300..=399 => pass(true),
        _ => pass(false),
    }
}

/// Fields by which a handler says how its response may be kept: RFC 9111 §5.2 to §5.4, RFC 9213 for CDNs, and what
/// there was for them before. Whoever sets one has taken control.
fn says_how_to_cache(name: &str) -> bool {
    matches!(name, "cache-control" | "expires" | "pragma" | "surrogate-control")
        || name.strip_suffix("cdn-cache-control").is_some_and(|of| of.is_empty() || of.ends_with('-'))
}

fn veto(headers: &HeaderMap, route: &Settings) -> Option<Pass> {
    for (name, value) in headers {
        let reason = match name.as_str() {
            "set-cookie" | "set-cookie2" => Pass::SetCookie,
            name if says_how_to_cache(name) => Pass::CacheControl,
            "clear-site-data" => Pass::ClearSiteData,
            "content-range" => Pass::ContentRange,
            "vary" if !varies_on_key(value.as_bytes(), route) => Pass::Vary,
            "content-security-policy" | "content-security-policy-report-only" if contains_nonce(value.as_bytes()) => {
                Pass::Nonce
            }
            "content-type" if never_ends(value.as_bytes()) => Pass::ContentType,
            _ => continue,
        };
        return Some(reason);
    }
    None
}

/// Whether every field that a `Vary` line names is covered by the key. The render carries no `Accept-Encoding`, so a
/// response that would vary on it is the identity coding for everybody.
fn varies_on_key(line: &[u8], route: &Settings) -> bool {
    line.split(|b| *b == b',').map(<[u8]>::trim_ascii).all(|name| {
        name.is_empty()
            || name.eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str().as_bytes())
            || (route.host && name.eq_ignore_ascii_case(b"host"))
            || (!route.cookies.is_empty() && name.eq_ignore_ascii_case(b"cookie"))
            || route.headers.iter().any(|d| name.eq_ignore_ascii_case(d.name.as_str().as_bytes()))
    })
}

/// CSP 3 §2.3.1: a nonce source is `'nonce-…'`, in any case. It must be new in every response.
fn contains_nonce(policy: &[u8]) -> bool {
    policy.windows(7).any(|w| w.eq_ignore_ascii_case(b"'nonce-"))
}

/// Types whose bodies are conversations.
fn never_ends(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let starts = |prefix: &[u8]| essence.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    essence.eq_ignore_ascii_case(b"text/event-stream")
        || essence.eq_ignore_ascii_case(b"multipart/x-mixed-replace")
        || starts(b"application/grpc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::route::RouteConfig;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;
    use std::time::Duration;

    fn route() -> RouteConfig {
        RouteConfig::revalidate(Duration::from_secs(1))
            .header(HeaderName::from_static("hx-request"), ["true"])
            .cookie("theme", ["dark"])
    }

    fn status(status: u16, matched: bool, route: &RouteConfig) -> Verdict {
        let status = StatusCode::from_u16(status).expect("valid");
        judge(status, &HeaderMap::new(), route.settings(), matched)
    }

    fn header(name: &'static str, value: &[u8]) -> Verdict {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).expect("valid"));
        judge(StatusCode::OK, &headers, route().settings(), true)
    }

    /// CASES 2, 67, 68: each status, with and without a pattern.
    #[test]
    fn the_table_of_statuses() {
        let kept = [200, 203, 301, 308, 404, 410];
        let removed = [401, 403, 407, 451];
        for code in 100..=599 {
            let expected = match code {
                _ if kept.contains(&code) => Verdict::Keep,
                408 | 429 | 500.. => Verdict::Failure,
                _ => Verdict::Pass {
                    reason: Pass::Status,
                    veto: removed.contains(&code) || ((300..400).contains(&code) && code != 304),
                },
            };
            assert_eq!(status(code, true, &route()), expected, "{code}");
        }
        assert_ne!(status(404, false, &route()), Verdict::Keep);
        assert_ne!(status(410, false, &route()), Verdict::Keep);
        let listed = route().statuses([StatusCode::FOUND, StatusCode::NOT_FOUND]);
        assert_eq!(status(302, true, &listed), Verdict::Keep);
        assert_eq!(status(404, false, &listed), Verdict::Keep);
    }

    /// I4: a failure never takes the old page with it, whatever its headers say, and a cookie is never shared.
    #[test]
    fn a_failure_stays_a_failure() {
        let failed = |name: &'static str, value| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            judge(StatusCode::SERVICE_UNAVAILABLE, &headers, route().settings(), true)
        };
        assert_eq!(failed("cache-control", "no-store"), Verdict::Failure);
        assert_eq!(failed("vary", "*"), Verdict::Failure);
        assert_eq!(failed("set-cookie", "a=1"), Verdict::Pass { reason: Pass::SetCookie, veto: false });
    }

    /// CASES 8, 21, 22, 29, 69, 77, 91: a veto beats the route's opt-in, in any spelling.
    #[test]
    fn the_table_of_vetoes() {
        for (name, value, reason) in [
            ("set-cookie", &b"a=1"[..], Some(Pass::SetCookie)),
            ("set-cookie2", b"a=1", Some(Pass::SetCookie)),
            ("cache-control", b"public, max-age=60", Some(Pass::CacheControl)),
            ("cache-control", b"\xff", Some(Pass::CacheControl)),
            ("clear-site-data", b"\"cache\"", Some(Pass::ClearSiteData)),
            ("content-range", b"bytes 0-0/9", Some(Pass::ContentRange)),
            ("vary", b"*", Some(Pass::Vary)),
            ("vary", b"accept-encoding, COOKIE2", Some(Pass::Vary)),
            ("vary", b"Authorization,", Some(Pass::Vary)),
            ("vary", b"\xff", Some(Pass::Vary)),
            ("vary", b"host", Some(Pass::Vary)),
            ("vary", b"accept-encoding, COOKIE,, HX-Request ", None),
            ("vary", b"", None),
            ("content-security-policy", b"script-src 'NONCE-abc'", Some(Pass::Nonce)),
            ("content-security-policy-report-only", b"script-src 'nonce-abc'", Some(Pass::Nonce)),
            ("content-security-policy", b"script-src 'self'", None),
            ("content-type", b"text/event-stream; charset=utf-8", Some(Pass::ContentType)),
            ("content-type", b"Multipart/X-Mixed-Replace;boundary=x", Some(Pass::ContentType)),
            ("content-type", b"application/grpc+proto", Some(Pass::ContentType)),
            ("content-type", b"text/html", None),
            ("alt-svc", b"h3=\":443\"", None),
        ] {
            let expected = match reason {
                Some(reason) => Verdict::Pass { reason, veto: true },
                None => Verdict::Keep,
            };
            assert_eq!(header(name, value), expected, "{name}: {}", value.escape_ascii());
        }
    }

    proptest! {
        /// CASES 25: whatever stands in a `Cache-Control`, the handler took control. CASES 33: no text is too odd.
        #[test]
        fn no_cache_control_is_storable(text in "(private|no-store|no-cache|max-age|=|\"|,|;| |[a-z0-9]){0,60}") {
            let expected = Verdict::Pass { reason: Pass::CacheControl, veto: true };
            prop_assert_eq!(header("cache-control", text.as_bytes()), expected);
        }

        #[test]
        fn vary_with_any_unkeyed_name_is_refused(
            before in "[, ]{0,3}", name in "[a-z]{1,9}x-", after in "[, ]{0,3}",
        ) {
            let line = format!("{before}{name}{after}");
            let expected = Verdict::Pass { reason: Pass::Vary, veto: true };
            prop_assert_eq!(header("vary", line.as_bytes()), expected);
        }
    }
}
