//! Values of `Age`, ready to send.

use http::HeaderValue;

/// RFC 9111 §1.2.2.
const MAX_AGE: u64 = 1 << 31;

/// Below this many seconds the text lies in a table.
const TABLE: u64 = 10_000;

const TEXT_BYTES: usize = 10 + 90 * 2 + 900 * 3 + 9_000 * 4;

/// `0123…9101112…9999`.
static BYTES: [u8; TEXT_BYTES] = {
    let mut bytes = [0; TEXT_BYTES];
    let (mut at, mut number) = (0, 0);
    while number < TABLE {
        let (mut divisor, mut begun) = (1_000, false);
        while divisor > 0 {
            let digit = (number / divisor % 10) as u8;
            if digit != 0 || begun || divisor == 1 {
                bytes[at] = b'0' + digit;
                at += 1;
                begun = true;
            }
            divisor /= 10;
        }
        number += 1;
    }
    bytes
};

static TEXT: &str = match std::str::from_utf8(&BYTES) {
    Ok(text) => text,
    Err(_) => "",
};

/// Without an allocation for the first hours of a page.
#[inline]
pub(super) fn value(secs: u64) -> HeaderValue {
    if secs >= TABLE {
        return HeaderValue::from(secs.min(MAX_AGE));
    }
    #[expect(clippy::cast_possible_truncation, reason = "below TABLE")]
    let n = secs as usize;
    let (start, digits) = match n {
        0..10 => (n, 1),
        10..100 => (10 + (n - 10) * 2, 2),
        100..1_000 => (190 + (n - 100) * 3, 3),
        _ => (2_890 + (n - 1_000) * 4, 4),
    };
    HeaderValue::from_static(TEXT.get(start..start + digits).unwrap_or("0"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_says_what_to_string_says() {
        for secs in (0..10_100).chain([1 << 31]) {
            assert_eq!(super::value(secs), secs.to_string());
        }
        assert_eq!(super::value(u64::MAX), (1_u64 << 31).to_string());
    }
}
