//! Entries as a store sees them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::key::hex;

/// The name of an entry: readable text, and the digest that identifies it.
///
/// The text is at most 1,024 bytes of ASCII without blanks, controls or braces; two keys with equal texts are equal, and so
/// are two with equal digests. A store may use either, or both.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoreKey {
    text: Arc<str>,
    digest: [u8; 32],
}

impl StoreKey {
    /// Of a text, for stores' own tests. Keys of pages and data are made by the cache.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { text: text.into(), digest: Sha256::digest(text).into() }
    }

    /// For people, and for stores whose keys are text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The digest in hexadecimal, lower case: 64 characters, safe as a file name.
    #[must_use]
    pub fn digest_hex(&self) -> String {
        hex(&self.digest)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// When what is in an entry was made, as its making began: orders the entries of one epoch.
///
/// It stands in the entry's bytes at [`Version::AT`]: epoch, stamp and begun, each as eight bytes, big-endian, so that
/// bytes compare as numbers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The ledger's epoch.
    pub epoch: u64,
    /// The newest stamp of the ledger that was known.
    pub stamp: u64,
    /// The time: microseconds since the Unix epoch, by the clock of whoever made it.
    pub begun: u64,
}

impl Version {
    /// Where it stands in an entry's bytes.
    pub const AT: std::ops::Range<usize> = 8..32;

    /// The version in an entry's bytes; `None` if they are too short.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let at = |n: usize| Some(u64::from_be_bytes(bytes.get(n..n + 8)?.try_into().ok()?));
        let start = Self::AT.start;
        Some(Self { epoch: at(start)?, stamp: at(start + 8)?, begun: at(start + 16)? })
    }

    /// As it stands in an entry's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.epoch, self.stamp, self.begun]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Of the same epoch, and with a larger stamp, or the same stamp and begun later.
    #[must_use]
    pub fn is_newer_than(self, other: Self) -> bool {
        self.partial_cmp(&other) == Some(Ordering::Greater)
    }
}

/// Versions of different epochs cannot be compared.
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.epoch == other.epoch).then(|| (self.stamp, self.begun).cmp(&(other.stamp, other.begun)))
    }
}

/// An entry that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Under which key.
    pub key: StoreKey,
    /// The one that stands in `bytes`.
    pub version: Version,
    /// All of the entry.
    pub bytes: Bytes,
    /// How long to keep it: its physical life, not how long it is fresh. At least [`Profile::min_keep`](super::Profile::min_keep).
    pub keep: Duration,
}

/// What became of an entry that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// What is there is newer, and stays.
    KeptNewer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_at_their_place() {
        let version = Version { epoch: 1 << 63, stamp: 7, begun: 9 };
        let mut bytes = vec![0; 8];
        bytes.extend_from_slice(&version.to_bytes());
        assert_eq!(bytes.len(), Version::AT.end);
        assert_eq!(Version::read(&bytes), Some(version));
        assert_eq!(Version::read(&bytes[..31]), None);
        assert_eq!(Version::read(&[]), None);
    }

    #[test]
    fn versions_of_one_epoch_are_ordered_by_stamp_and_begin() {
        let version = |epoch, stamp, begun| Version { epoch, stamp, begun };
        assert!(version(1, 2, 0).is_newer_than(version(1, 1, 9)));
        assert!(version(1, 1, 2).is_newer_than(version(1, 1, 1)));
        assert!(!version(1, 1, 1).is_newer_than(version(1, 1, 1)));
        assert!(!version(2, 9, 9).is_newer_than(version(1, 1, 1)) && !version(1, 1, 1).is_newer_than(version(2, 9, 9)));
    }
}
