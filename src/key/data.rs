//! Keys of data.

use super::CacheKey;

/// No page's key begins with it: there it is the higher byte of a length, which is small.
const DATA: u8 = 0xFF;

const DIGEST: usize = 32;

/// The longest: the name of 256 bytes.
const LONGEST: usize = 3 + 256 + DIGEST;

/// The key of data, on the stack: `0xFF`, the length of the name (u16, big-endian), the name, the SHA-256 of the arguments.
pub(crate) struct DataKey {
    bytes: [u8; LONGEST],
    length: usize,
}

impl DataKey {
    /// `name`: 1 to 256 bytes; what is longer is cut.
    pub(crate) fn new(name: &str, args: &[u8; DIGEST]) -> Self {
        let name = &name.as_bytes()[..name.len().min(LONGEST - 3 - DIGEST)];
        let mut bytes = [0; LONGEST];
        bytes[0] = DATA;
        #[expect(clippy::cast_possible_truncation, reason = "at most 256")]
        bytes[1..3].copy_from_slice(&(name.len() as u16).to_be_bytes());
        bytes[3..3 + name.len()].copy_from_slice(name);
        let length = 3 + name.len() + DIGEST;
        bytes[length - DIGEST..length].copy_from_slice(args);
        Self { bytes, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(crate) fn to_key(&self) -> CacheKey {
        CacheKey::new(self.as_bytes())
    }
}

/// The name in a key of data.
pub(crate) fn name(key: &[u8]) -> Option<&str> {
    let [DATA, high, low, rest @ ..] = key else {
        return None;
    };
    let name = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
    std::str::from_utf8(name).ok()
}
