//! The token, of which only a digest is kept.

use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::error::ConfigError;

/// What a caller has to know.
pub(super) struct Token([u8; 32]);

/// What the `Authorization` of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing that is meant for us: none, or one of another scheme, which may be for a proxy.
    Nothing,
    Token,
    /// Another token, or more than one line.
    Wrong,
}

impl Token {
    /// # Errors
    ///
    /// When it has fewer characters than these, or others than visible ASCII without blanks, which no header could
    /// carry. What it is, is nobody's business: the error says only how long.
    pub(super) fn new(token: &str, least: usize) -> Result<Self, ConfigError> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::new("token", "visible ASCII without blanks", "something else"));
        }
        if token.len() < least {
            return Err(ConfigError::new("token", format!("{least} or more characters"), token.len()));
        }
        Ok(Self(Sha256::digest(token).into()))
    }

    /// As long for every text of one length: digests have one length, and no byte ends the comparison.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        same(&Sha256::digest(text), &self.0)
    }

    /// What the one `Authorization` says (RFC 6750 §2.1). The scheme is of any case (RFC 9110 §11.1).
    pub(super) fn presented(&self, headers: &HeaderMap) -> Presented {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let line = match (lines.next(), lines.next()) {
            (Some(line), None) => line.as_bytes(),
            (None, _) => return Presented::Nothing,
            (Some(_), Some(_)) => return Presented::Wrong,
        };
        let (scheme, token) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            Presented::Nothing
        } else if self.is(token.trim_ascii()) {
            Presented::Token
        } else {
            Presented::Wrong
        }
    }

    /// A key made from the token for one purpose, from which neither the token nor that of another purpose follows.
    pub(super) fn key(&self, purpose: &str) -> Hmac<Sha256> {
        let mut mac = hmac(&self.0);
        mac.update(purpose.as_bytes());
        hmac(&mac.finalize().into_bytes().into())
    }
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key that is shorter than a block is padded with zeros (RFC 2104 §2); of a whole block there is no error.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

/// Whether two texts are equal, in a time that depends on their lengths alone.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hex;

    /// HMAC-SHA-256 by RFC 4231 §4.2 (its key is 20 bytes, padded as ours are).
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let mut mac = hmac(&key);
        mac.update(b"Hi There");
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(&mac.finalize().into_bytes()), expected);
    }

    #[test]
    fn texts_are_the_same_only_if_every_byte_is() {
        for (a, b, expected) in [
            ("", "", true),
            ("a", "a", true),
            ("ab", "aa", false),
            ("a", "ab", false),
            ("ab", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn keys_differ_by_token_and_purpose() {
        let token = |text| Token::new(text, 1).expect("a token");
        let tag = |key: Hmac<Sha256>| hex(&key.finalize().into_bytes());
        let keys = [token("a").key("x"), token("a").key("y"), token("b").key("x")].map(tag);
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "{keys:?}");
        assert_eq!(tag(token("a").key("x")), keys[0]);
    }
}
