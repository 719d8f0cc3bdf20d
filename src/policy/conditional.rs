//! `If-None-Match` (RFC 9110 §13.1.2).

use http::{HeaderMap, HeaderValue, header};

/// Whether the client already has the representation that `etag` names.
///
/// `*` matches any; otherwise the tags are compared weakly (RFC 9110 §8.8.3.2). One pass without a copy, over all
/// lines; text that is not a list of entity tags matches nothing from there on, which costs a full answer.
pub(crate) fn not_modified(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = weak(etag.as_bytes());
    headers.get_all(header::IF_NONE_MATCH).iter().any(|line| {
        let line = line.as_bytes().trim_ascii();
        line == b"*" || Tags(line).any(|tag| tag == opaque)
    })
}

/// Without the prefix of a weak tag; quotes included.
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The quoted parts of a list of entity tags; ends at the first thing that is none.
struct Tags<'h>(&'h [u8]);

impl<'h> Iterator for Tags<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let rest = weak(&self.0[start..]);
        let end = rest.strip_prefix(b"\"")?.iter().position(|b| *b == b'"')? + 2;
        let (tag, rest) = rest.split_at(end);
        self.0 = match rest.trim_ascii_start() {
            [] | [b',', ..] => rest,
            _ => &[],
        };
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(lines: &[&str], etag: &str) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_NONE_MATCH, line.parse().expect("valid"));
        }
        not_modified(&headers, &etag.parse().expect("valid"))
    }

    /// CASES 83, 79: weak comparison, lists, `*`, and sloppy tags that do not match.
    #[test]
    fn which_validators_match() {
        for (lines, expected) in [
            (&["W/\"a\""][..], true),
            (&["\"a\""], true),
            (&["\"b\", W/\"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&[" , ,\"a\" , "], true),
            (&["*"], true),
            (&[" * "], true),
            (&["a"], false),
            (&["\"a"], false),
            (&["\"A\""], false),
            (&["w/\"a\""], false),
            (&["\"b\" \"a\""], false),
            (&["b, \"a\""], false),
            (&["*, \"b\""], false),
            (&[""], false),
            (&["\"\""], false),
        ] {
            assert_eq!(matches(lines, "W/\"a\""), expected, "{lines:?}");
            assert_eq!(matches(lines, "\"a\""), expected, "{lines:?}");
        }
        let many = "\"b\",".repeat(10_000) + "\"a\"";
        assert!(matches(&[&many], "\"a\""));
    }
}
