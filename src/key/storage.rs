//! The key as a value that is kept, and its readable form.

use std::borrow::Borrow;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Parts, data};

/// The longest readable form before its path is replaced by a digest.
const MAX_READABLE: usize = 200;

/// The identity of an entry: the exact bytes of everything it was rendered from.
///
/// Two keys are equal when these bytes are; no digest decides about identity. `Debug` shows the readable form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CacheKey(Arc<[u8]>);

impl CacheKey {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The key's bytes, in the grammar that the crate's `key` module documents.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        // Keys are only made by the builder, which writes what `read` reads (property test in `tests/keys.rs`).
        Parts::read(&self.0).unwrap_or_default()
    }

    /// Everything that is in the key but path and query, so that no two encode equally.
    pub(crate) fn kind(&self) -> Box<[u8]> {
        let Parts { namespace, pattern, nest, host, headers, cookies, path: _, inner: _, query: _ } = self.parts();
        // Lengths are longer here than in the key.
        let mut kind = Vec::with_capacity(self.0.len() + 128);
        let mut put = |text: &str| {
            kind.extend_from_slice(&(text.len() as u64).to_be_bytes());
            kind.extend_from_slice(text.as_bytes());
        };
        [namespace, pattern, nest, host].into_iter().for_each(&mut put);
        for pairs in [headers, cookies] {
            for (name, value) in pairs {
                put(name);
                put(value);
            }
            put("");
        }
        kind.into()
    }

    /// The text under which a store keeps the entry: `v1:<scope>:<readable>:<SHA-256>`.
    ///
    /// `readable` is the path with the namespace in front and the query, host and variants behind it; `:`, `%`,
    /// braces, blanks, controls and everything that is not ASCII are escaped as `%XX`. When scope and readable form
    /// together are longer than 200 bytes, the path is replaced by its SHA-256 in hexadecimal, and if that is not
    /// enough, what follows it too. The digest at the end is that of scope and key, so texts differ when keys do.
    pub(crate) fn storage_key(&self, scope: &str) -> String {
        let parts = self.parts();
        // With room for what is escaped, as a rule.
        let mut text = String::with_capacity(self.0.len() + scope.len() + 100);
        text.push_str("v1:");
        text.push_str(scope);
        text.push(':');
        if !parts.namespace.is_empty() {
            escape(parts.namespace, &mut text);
            text.push('!');
        }
        let path = text.len();
        let shown = data::name(&self.0).unwrap_or(parts.path);
        escape(shown, &mut text);
        let rest = text.len();
        for (mark, part) in [('?', parts.query), ('@', parts.host)] {
            if !part.is_empty() {
                text.push(mark);
                escape(part, &mut text);
            }
        }
        for (kind, pairs) in [("", &parts.headers), ("cookie.", &parts.cookies)] {
            for (name, value) in pairs {
                text.push(';');
                text.push_str(kind);
                escape(name, &mut text);
                text.push('=');
                escape(value, &mut text);
            }
        }
        if text.len() > MAX_READABLE {
            let rest = text.split_off(rest);
            text.truncate(path);
            push_digest(Sha256::digest(shown), &mut text);
            if text.len() + rest.len() > MAX_READABLE {
                text.push('#');
                push_digest(Sha256::digest(rest), &mut text);
            } else {
                text.push_str(&rest);
            }
        }
        let whole = Sha256::new()
            .chain_update((scope.len() as u64).to_be_bytes())
            .chain_update(scope)
            .chain_update(&self.0)
            .finalize();
        text.push(':');
        push_digest(whole, &mut text);
        text
    }
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b":%{}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    push_digest(bytes, &mut out);
    out
}

fn push_digest(bytes: impl AsRef<[u8]>, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes.as_ref() {
        for half in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS[usize::from(half)]));
        }
    }
}

impl Borrow<[u8]> for CacheKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// As `[u8]` hashes, because keys are looked up by borrowed bytes.
impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0[..].hash(state);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.storage_key(""))
    }
}
