//! The canonical form of the declared query parameters.

use crate::policy::request::Bypass;
use crate::policy::route::MAX_INPUTS;

/// Keeps the declared parameters, decodes and encodes them anew, and sorts them by name; values of one name keep their
/// order.
///
/// Pairs are split on `&` only and at their first `=`; `+` and `%20` are a blank; a `%` that starts no escape stands
/// for itself; a name without `=` has an empty value. That is what `application/x-www-form-urlencoded` parsers do
/// (URL Standard §5.1), so that the handler reads from the canonical form what it would have read from the original.
pub(super) fn canonical(
    sent: &str,
    declared: &[String],
    take: &mut impl FnMut(usize) -> Result<(), Bypass>,
) -> Result<String, Bypass> {
    let mut kept: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let longest = declared.iter().map(String::len).max().unwrap_or(0);
    if longest == 0 {
        return Ok(String::new());
    }
    for pair in sent.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Only names that might be declared are decoded: ten thousand others cost one look each.
        if name.is_empty() || name.len() > longest.saturating_mul(3) {
            continue;
        }
        let name = decode(name);
        if !declared.iter().any(|d| d.as_bytes() == name) {
            continue;
        }
        take(pair.len())?;
        if kept.len() == MAX_INPUTS {
            return Err(Bypass::TooManyInputs);
        }
        kept.push((name, decode(value)));
    }
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = String::new();
    for (name, value) in kept {
        if !out.is_empty() {
            out.push('&');
        }
        encode(&name, &mut out);
        out.push('=');
        encode(&value, &mut out);
    }
    Ok(out)
}

fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped =
            (bytes[at] == b'%').then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?))).flatten();
        match (bytes[at], escaped) {
            (_, Some((high, low))) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn encode(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(sent: &str) -> String {
        canonical(sent, &["a".into(), "page".into(), "é".into()], &mut |_| Ok(())).expect("small")
    }

    /// R17: order and encoding do not multiply entries. CASES 48.
    #[test]
    fn one_form_for_all_spellings() {
        for (sent, expected) in [
            ("page=2", "page=2"),
            ("page=2&utm=x", "page=2"),
            ("page=2&a=1", "a=1&page=2"),
            ("p%61ge=2", "page=2"),
            ("page=%32", "page=2"),
            ("page=a+b", "page=a%20b"),
            ("page=a%20b", "page=a%20b"),
            ("page=a%2bb", "page=a%2Bb"),
            ("page", "page="),
            ("page=", "page="),
            ("page=1&page=0", "page=1&page=0"),
            ("&&page=1&", "page=1"),
            ("page=a=b", "page=a%3Db"),
            ("page=1;a=2", "page=1%3Ba%3D2"),
            ("page=%", "page=%25"),
            ("page=%zz", "page=%25zz"),
            ("page=%c3%A9&%C3%A9=1", "page=%C3%A9&%C3%A9=1"),
            ("Page=1", ""),
            ("", ""),
            ("page[]=1", ""),
        ] {
            assert_eq!(form(sent), expected, "{sent}");
        }
    }

    #[test]
    fn too_many_declared_parameters_are_refused_and_undeclared_ones_are_not_counted() {
        let declared = ["a".to_owned()];
        let many = "a=1&".repeat(33);
        assert_eq!(canonical(&many, &declared, &mut |_| Ok(())), Err(Bypass::TooManyInputs));
        let others = "b=1&".repeat(10_000) + "a=1";
        assert_eq!(canonical(&others, &declared, &mut |_| Ok(())).as_deref(), Ok("a=1"));
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(sent in "[a-z&=%+0-9é]{0,40}") {
            let once = form(&sent);
            prop_assert_eq!(form(&once), once);
        }
    }
}
