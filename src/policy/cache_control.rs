//! The header values that tell caches further out what we enforce.

use http::HeaderValue;

/// RFC 9111 §1.2.2: a delta above 2^31 is 2^31.
const MAX_DELTA: u64 = 1 << 31;

/// What `Revalidate::Never` sends: one year.
const FOREVER: u64 = 31_536_000;

/// Sent while a page may still turn out not to be shareable.
pub(crate) const UNDECIDED: HeaderValue = HeaderValue::from_static("private, no-store");

/// Browsers ask each time; caches that know `CDN-Cache-Control` obey that (RFC 9213).
pub(crate) const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// Which directive carries the lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    /// `Cache-Control: s-maxage` (RFC 9111 §5.2.2.10).
    SharedMaxAge,
    /// `CDN-Cache-Control: max-age` (RFC 9213).
    MaxAge,
}

/// A fresh entry: `s-maxage=N, stale-while-revalidate=E-N` (RFC 5861 §3). `fresh`: seconds, `None` for ever.
pub(crate) fn fresh(directive: Directive, fresh: Option<u64>, stale: u64) -> HeaderValue {
    let stale = if fresh.is_some() { stale } else { 0 };
    value(directive, fresh.unwrap_or(FOREVER), stale)
}

/// A stale entry: nothing is left of its freshness, `rest` seconds of its use while it is regenerated.
pub(crate) fn stale(directive: Directive, rest: u64) -> HeaderValue {
    value(directive, 0, rest)
}

fn value(directive: Directive, fresh: u64, stale: u64) -> HeaderValue {
    let name = match directive {
        Directive::SharedMaxAge => "s-maxage",
        Directive::MaxAge => "max-age",
    };
    let fresh = fresh.min(MAX_DELTA);
    let text = if stale == 0 {
        format!("{name}={fresh}")
    } else {
        format!("{name}={fresh}, stale-while-revalidate={}", stale.min(MAX_DELTA))
    };
    // Letters, digits and punctuation only.
    HeaderValue::try_from(text).unwrap_or(UNDECIDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CASES 158, 114: what is advertised is what is enforced, bounded, never a bare `stale-while-revalidate`.
    #[test]
    fn lifetimes_as_text() {
        use Directive::{MaxAge, SharedMaxAge};
        for (value, expected) in [
            (fresh(SharedMaxAge, Some(60), 31_535_940), "s-maxage=60, stale-while-revalidate=31535940"),
            (fresh(SharedMaxAge, Some(60), 0), "s-maxage=60"),
            (fresh(SharedMaxAge, None, 0), "s-maxage=31536000"),
            (fresh(SharedMaxAge, Some(u64::MAX), u64::MAX), "s-maxage=2147483648, stale-while-revalidate=2147483648"),
            (fresh(MaxAge, Some(5), 10), "max-age=5, stale-while-revalidate=10"),
            (stale(SharedMaxAge, 9), "s-maxage=0, stale-while-revalidate=9"),
            (stale(SharedMaxAge, 0), "s-maxage=0"),
        ] {
            assert_eq!(value, expected);
        }
    }
}
