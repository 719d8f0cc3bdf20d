//! An entry's file: what stands in front of the entry's own bytes.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `isrentry` |
//! | 8 | 4 | format of the file, 1 |
//! | 12 | 4 | CRC-32 of all that follows |
//! | 16 | 8 | when it expires: microseconds since the Unix epoch |
//! | 24 | 8 | length of the entry |
//! | 32 | | the entry |
//!
//! Numbers are big-endian. The first twelve bytes are the same in every format.

use bytes::Bytes;

use crate::store::Version;

const MAGIC: &[u8; 8] = b"isrentry";
const FORMAT: u32 = 1;

/// Bytes in front of the entry.
pub(super) const LEN: usize = 32;

/// What stands in front of `entry`.
pub(super) fn head(expires: u64, entry: &[u8]) -> [u8; LEN] {
    let mut head = [0; LEN];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_be_bytes());
    head[16..24].copy_from_slice(&expires.to_be_bytes());
    // `usize` is at most 64 bits.
    head[24..].copy_from_slice(&(entry.len() as u64).to_be_bytes());
    let sum = sum(&head, entry);
    head[12..16].copy_from_slice(&sum.to_be_bytes());
    head
}

fn sum(head: &[u8], entry: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[16..LEN]);
    sum.update(entry);
    sum.finalize()
}

/// What a file has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// An entry.
    Entry(Bytes),
    /// One whose time is over.
    Expired,
    /// It was written in this format, and not like this.
    Damaged,
    /// Nothing that this version has written.
    Foreign,
}

/// Reads a whole file.
pub(super) fn read(file: &Bytes, now: u64) -> Content {
    let number = |at: usize| file.get(at..at + 4).and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
    if !file.starts_with(MAGIC) || number(8) != Some(FORMAT) {
        return Content::Foreign;
    }
    let long = |at: usize| file.get(at..at + 8).and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
    let (Some(expected), Some(expires), Some(length)) = (number(12), long(16), long(24)) else {
        return Content::Damaged;
    };
    let entry = file.slice(LEN..);
    if length != entry.len() as u64 || expected != sum(file, &entry) {
        Content::Damaged
    } else if expires <= now {
        Content::Expired
    } else {
        Content::Entry(entry)
    }
}

/// The version of the entry in a file, of which the beginning is enough: if it was written in this format, and its time
/// is not over. The bytes are not verified.
pub(super) fn version(start: &[u8], now: u64) -> Option<Version> {
    let expires = u64::from_be_bytes(start.get(16..24)?.try_into().ok()?);
    let ours = start.starts_with(MAGIC) && start.get(8..12)? == FORMAT.to_be_bytes();
    (ours && expires > now).then(|| Version::read(&start[LEN..]))?
}
