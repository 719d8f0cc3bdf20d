//! The declared cookies of a request.

use http::{HeaderMap, header};

use crate::policy::request::Bypass;
use crate::policy::route::Declared;

/// The declared value that a cookie has, if any.
///
/// The first pair of the name counts, over all `Cookie` lines (HTTP/2 may split them, RFC 9113 §8.2.3), which are read
/// as bytes: what others keep in their cookies is no reason to fail. Quotes around a value are not part of it.
pub(super) fn find<'d>(headers: &HeaderMap, declared: &'d Declared<String>) -> Result<Option<&'d str>, Bypass> {
    for line in headers.get_all(header::COOKIE) {
        for pair in line.as_bytes().split(|b| *b == b';') {
            let Some(equals) = pair.iter().position(|b| *b == b'=') else {
                continue;
            };
            if pair[..equals].trim_ascii() != declared.name.as_bytes() {
                continue;
            }
            let value = pair[equals + 1..].trim_ascii();
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            if !value.iter().all(|b| *b == b' ' || b.is_ascii_graphic()) {
                return Err(Bypass::HeaderValue);
            }
            return Ok(declared.values.iter().find(|v| v.as_bytes() == value).map(String::as_str));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn value(lines: &[&[u8]]) -> Result<Option<String>, Bypass> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).expect("valid"));
        }
        let declared = Declared { name: "theme".to_owned(), values: vec!["dark".to_owned(), "light".to_owned()] };
        find(&headers, &declared).map(|v| v.map(str::to_owned))
    }

    /// CASES 135: order, duplicates, quotes, prefixes, lines split by HTTP/2.
    #[test]
    fn the_canonical_subset_of_cookies() {
        for (lines, expected) in [
            (&[b"theme=dark".as_slice()][..], Some("dark")),
            (&[b"sid=1; theme=dark; a=b"], Some("dark")),
            (&[b"sid=1", b"theme=light"], Some("light")),
            (&[b"theme=\"dark\""], Some("dark")),
            (&[b"theme=dark; theme=light"], Some("dark")),
            (&[b"theme=other; theme=light"], None),
            (&[b"__Host-theme=dark"], None),
            (&[b"Theme=dark"], None),
            (&[b"theme"], None),
            (&[b";;;=;theme =dark"], Some("dark")),
            (&[b"other=\xff\xfe; theme=dark"], Some("dark")),
        ] {
            assert_eq!(value(lines), Ok(expected.map(str::to_owned)), "{lines:?}");
        }
        assert_eq!(value(&[b"theme=\xff"]), Err(Bypass::HeaderValue));
    }
}
