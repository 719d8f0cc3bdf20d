//! The ledger's bytes.
//!
//! A file is a header and records. Numbers are big-endian.
//!
//! | header at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `isrmarks` |
//! | 8 | 4 | format of the file, 1 |
//! | 12 | 4 | CRC-32 of these twelve |
//! | 16 | 8 | epoch |
//! | 24 | 4 | CRC-32 of the epoch |
//!
//! The first sixteen bytes are the same in every format.
//!
//! | record at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of what follows the head of twelve bytes |
//! | 4 | 4 | CRC-32 of the length |
//! | 8 | 4 | CRC-32 of what follows |
//! | 12 | 8 | stamp, larger than that of the record before |
//! | 20 | | marks |
//!
//! The length has a sum of its own: one that is damaged must not look like a record that was cut off.
//!
//! | mark at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | 0: it is noted; 1: it is folded into "everything" of its verb |
//! | 1 | 4 | length of its text |
//! | 5 | | [its text](crate::store::Mark::to_text) |

use std::io::{self, ErrorKind, Read};

const MAGIC: &[u8; 8] = b"isrmarks";
const FORMAT: u32 = 1;

/// Bytes of a header.
pub(super) const HEADER: u64 = 28;

/// Bytes of a record in front of its stamp.
const HEAD: usize = 12;

/// What a record without marks takes.
pub(super) const RECORD: u64 = 20;

/// The most bytes of a record. Longer lengths are damage; and it is what a reader may have to keep at once.
pub(super) const MAX_RECORD: usize = 64 << 20;

/// What is said of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Noted,
    Folded,
}

/// Bytes that a noted mark takes in a record.
pub(super) fn mark_bytes(text: &str) -> u64 {
    5 + text.len() as u64
}

pub(super) fn header(epoch: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    let epoch = epoch.to_be_bytes();
    bytes.extend(epoch);
    bytes.extend(crc32fast::hash(&epoch).to_be_bytes());
    bytes
}

/// Adds a record. `None` if it would be longer than may be.
pub(super) fn write<'m>(to: &mut Vec<u8>, stamp: u64, marks: impl Iterator<Item = (Act, &'m str)>) -> Option<()> {
    let start = to.len();
    to.extend([0; HEAD]);
    to.extend(stamp.to_be_bytes());
    for (act, text) in marks {
        to.push(match act {
            Act::Noted => 0,
            Act::Folded => 1,
        });
        to.extend(u32::try_from(text.len()).ok()?.to_be_bytes());
        to.extend(text.as_bytes());
    }
    let body = start + HEAD;
    let length = Some(to.len() - body).filter(|length| *length <= MAX_RECORD)?;
    let length = u32::try_from(length).ok()?.to_be_bytes();
    let sum = crc32fast::hash(&to[body..]).to_be_bytes();
    to[start..start + 4].copy_from_slice(&length);
    to[start + 4..start + 8].copy_from_slice(&crc32fast::hash(&length).to_be_bytes());
    to[start + 8..body].copy_from_slice(&sum);
    Some(())
}

/// What can be wrong with a ledger.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It is not what was written.
    Damaged,
    /// Another version of the crate has written it.
    Format(u32),
    Io(io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The epoch.
pub(super) fn read_header(from: &mut impl Read) -> Result<u64, Flaw> {
    let mut fixed = [0; 16];
    exact(from, &mut fixed)?;
    let word = |at: usize| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
    if !fixed.starts_with(MAGIC) || crc32fast::hash(&fixed[..12]).to_be_bytes() != word(12) {
        return Err(Flaw::Damaged);
    }
    let format = u32::from_be_bytes(word(8));
    if format != FORMAT {
        return Err(Flaw::Format(format));
    }
    let (mut epoch, mut sum) = ([0; 8], [0; 4]);
    exact(from, &mut epoch)?;
    exact(from, &mut sum)?;
    if crc32fast::hash(&epoch).to_be_bytes() == sum { Ok(u64::from_be_bytes(epoch)) } else { Err(Flaw::Damaged) }
}

/// A header is never written in two steps: one that is cut off is damaged.
fn exact(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), Flaw> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Flaw::Damaged,
        _ => Flaw::Io(error),
    })
}

/// One record, without its head.
pub(super) struct Record {
    pub(super) stamp: u64,
    body: Vec<u8>,
}

/// The next record, if all of it is within `left` bytes, and what it takes of them.
pub(super) fn read(from: &mut impl Read, left: u64) -> Result<Option<(Record, u64)>, Flaw> {
    if left < HEAD as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    exact(from, &mut head)?;
    let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    let length = u32::from_be_bytes(word(0));
    // A `u32` fits.
    let size = length as usize;
    if crc32fast::hash(&word(0)).to_be_bytes() != word(4) || !(8..=MAX_RECORD).contains(&size) {
        return Err(Flaw::Damaged);
    }
    let taken = HEAD as u64 + u64::from(length);
    if left < taken {
        return Ok(None);
    }
    let mut body = vec![0; size];
    exact(from, &mut body)?;
    if crc32fast::hash(&body).to_be_bytes() != word(8) {
        return Err(Flaw::Damaged);
    }
    let stamp = body.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(Flaw::Damaged)?;
    Ok(Some((Record { stamp, body }, taken)))
}

impl Record {
    /// `None` if it does not have the form of a record.
    pub(super) fn marks(&self) -> Option<Vec<(Act, &str)>> {
        let mut rest = self.body.get(8..)?;
        let mut marks = Vec::new();
        while let Some((act, after)) = rest.split_first() {
            let act = match act {
                0 => Act::Noted,
                1 => Act::Folded,
                _ => return None,
            };
            let (length, after) = after.split_first_chunk()?;
            let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            marks.push((act, std::str::from_utf8(text).ok()?));
            rest = after;
        }
        Some(marks)
    }
}
