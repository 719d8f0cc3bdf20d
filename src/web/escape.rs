//! Text as a part of a URL.

/// Adds a text to a URL: letters, digits and `plain` as they are, everything else as `%XX`, a `%` too.
pub(crate) fn escape(text: &str, plain: &[u8], url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            for half in [byte >> 4, byte & 15] {
                url.push(char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}
