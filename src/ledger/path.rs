//! Paths as invalidation compares them: one spelling for all of a path's.

use std::fmt::Write as _;

/// Segments of a prefix that are compared.
pub(crate) const MAX_PREFIX_SEGMENTS: usize = 32;

/// A path in canonical form: escapes of characters that a segment may hold as they are (RFC 3986 §3.3) decoded, all
/// others upper case, whatever else may not stand in a path escaped, no slash at the end but `/`.
///
/// RFC 3986 §6.2.2 makes equal only what is unreserved. Sub-delimiters are the same to a handler too, which gets its
/// parameters decoded; and to take two paths for one invalidates one page too many, never one too few.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CanonicalPath(String);

impl CanonicalPath {
    /// Of a request's path, or of what an application wrote: what follows a `?` is not read.
    pub(crate) fn new(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches('/');
        let mut canonical = String::with_capacity(path.len());
        let mut bytes = path.as_bytes().iter();
        while let Some(&byte) = bytes.next() {
            let escaped = if byte == b'%' { escape(bytes.as_slice()) } else { None };
            match escaped {
                Some(decoded) => {
                    bytes.nth(1);
                    put(&mut canonical, decoded, is_segment(decoded));
                }
                None => put(&mut canonical, byte, byte == b'/' || is_segment(byte)),
            }
        }
        if canonical.is_empty() {
            canonical.push('/');
        }
        Self(canonical)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefixes that cover this path, the root first, itself last if it is not too deep.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let below = (self.0.len() > 1).then_some(&self.0[1..]);
        let ends = below.into_iter().flat_map(|below| {
            below.match_indices('/').map(|(at, _)| at + 1).chain([below.len() + 1]).take(MAX_PREFIX_SEGMENTS)
        });
        std::iter::once("/").chain(ends.map(|end| &self.0[..end]))
    }

    pub(crate) fn segments(&self) -> usize {
        if self.0.len() == 1 { 0 } else { self.0.matches('/').count() }
    }
}

/// The byte that two hexadecimal digits stand for.
fn escape(digits: &[u8]) -> Option<u8> {
    let &[high, low, ..] = digits else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// `pchar` without escapes (RFC 3986 §3.3).
fn is_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn put(path: &mut String, byte: u8, plain: bool) {
    if plain {
        path.push(char::from(byte));
    } else {
        // Writing to a `String` does not fail.
        let _ = write!(path, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str) -> String {
        CanonicalPath::new(path).0
    }

    #[test]
    fn spellings_of_one_path_are_equal() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("//", "/"),
            ("/a/", "/a"),
            ("/a//", "/a"),
            ("/a?b=/c", "/a"),
            ("/%61/%7e", "/a/~"),
            ("/a%2cb", "/a,b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%3fb%23%25", "/a%3Fb%23%25"),
            ("/é", "/%C3%A9"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a b", "/a%20b"),
            ("/%zz%4", "/%25zz%254"),
            ("/A", "/A"),
        ] {
            assert_eq!(canonical(path), expected, "{path}");
            assert_eq!(canonical(&canonical(path)), expected, "{path}: not stable");
        }
    }

    #[test]
    fn prefixes_end_at_segments() {
        let prefixes = |path: &str| CanonicalPath::new(path).prefixes().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(prefixes("/"), ["/"]);
        assert_eq!(prefixes("/a"), ["/", "/a"]);
        assert_eq!(prefixes("/ab/c//d/"), ["/", "/ab", "/ab/c", "/ab/c/", "/ab/c//d"]);
        let deep = "/x".repeat(40);
        assert_eq!(prefixes(&deep).len(), 1 + MAX_PREFIX_SEGMENTS);
        assert_eq!(CanonicalPath::new(&deep).segments(), 40);
        assert_eq!([CanonicalPath::new("/").segments(), CanonicalPath::new("/a").segments()], [0, 1]);
    }
}
