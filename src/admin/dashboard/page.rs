//! One page without data; what it shows it asks the API for.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// One module; the last part starts it.
const SCRIPT: &str = concat!(
    include_str!("base.js"),
    "\n",
    include_str!("traffic.js"),
    "\n",
    include_str!("entries.js"),
    "\n",
    include_str!("changes.js"),
    "\n",
    include_str!("reading.js"),
    "\n",
    include_str!("live.js"),
);

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The page, and what it may do.
#[derive(Clone)]
pub(in crate::admin) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(in crate::admin) fn new() -> Self {
        let (html, style) = filled(PAGE, "{{style}}", STYLE);
        let (html, script) = filled(&html, "{{script}}", SCRIPT);
        let policy = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        // A digest is always a value; without one the page is dead, not open.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { html: html.into(), policy }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, self.policy),
            (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")),
        ];
        (headers, self.html).into_response()
    }
}

/// A text with another in the place of the first `mark`, and the hash (CSP3 §2.3.1) of the element that it stands in: of all
/// between two tags.
fn filled(page: &str, mark: &str, text: &str) -> (String, String) {
    // A browser hashes what it has parsed, and that has no CR. A checkout may.
    let (page, text) = (page.replace("\r\n", "\n"), text.replace("\r\n", "\n"));
    let (before, after) = page.split_once(mark).unwrap_or((&page, ""));
    let start = before.rfind('>').map_or(0, |at| at + 1);
    let end = after.find('<').unwrap_or(after.len());
    let inside = [&before[start..], &text, &after[..end]].concat();
    let hash = format!("sha256-{}", STANDARD.encode(Sha256::digest(&inside)));
    ([before, &text, after].concat(), hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of CSP3 §2.3.1: `alert('Hello, world.');`.
    #[test]
    fn the_hash_is_of_all_between_the_tags() {
        for (page, expected) in [
            ("<p><script>{{script}}</script><p>", "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="),
            ("<script type=\"module\">{{script}}</script>", "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="),
        ] {
            let (html, hash) = filled(page, "{{script}}", "alert('Hello, world.');");
            assert_eq!((hash.as_str(), html.contains("world.');</script>")), (expected, true), "{html}");
        }
        let own = |inside: &str| format!("sha256-{}", STANDARD.encode(Sha256::digest(inside)));
        for (page, text, inside) in
            [("<style>\n{{s}}\n</style>", "a{}", "\na{}\n"), ("<style>\r\n{{s}}</style>", "a{\r\n}", "\na{\n}")]
        {
            assert_eq!(filled(page, "{{s}}", text).1, own(inside), "{page:?}");
        }
    }

    /// What would end an element too early, or be filled twice.
    #[test]
    fn the_parts_can_stand_in_the_page() {
        for mark in ["{{style}}", "{{script}}"] {
            assert_eq!(
                (PAGE.matches(mark).count(), STYLE.matches(mark).count() + SCRIPT.matches(mark).count()),
                (1, 0)
            );
        }
        assert!(PAGE.find("{{style}}") < PAGE.find("{{script}}"));
        let lower = |text: &str| text.to_ascii_lowercase();
        assert!(!lower(STYLE).contains("</style") && !lower(SCRIPT).contains("</script") && !SCRIPT.contains("<!--"));
    }
}
