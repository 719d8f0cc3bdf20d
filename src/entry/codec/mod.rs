//! An entry as bytes, for stores.
//!
//! ```text
//!  at   bytes  what
//!   0       4  magic: 0xA1 "ISR"
//!   4       1  format: 1
//!   5       1  flags: 1 a value (else a page), 2 signed
//!   6       2  zero
//!   8       8  epoch of the ledger when its making began  ┐
//!  16       8  stamp                                      ├ what orders entries (`store::Version`)
//!  24       8  begun: microseconds since the Unix epoch   ┘
//!  32       4  length of what describes it
//!  36       8  length of the body
//!  44       4  CRC-32 (ISO-HDLC) of everything but these four bytes and the signature
//!  48       …  what describes it, in MessagePack: `record`
//!   …       …  the body, as it is
//!   …      32  if signed: HMAC-SHA-256 (RFC 2104) of scope, key and everything before it
//! ```
//!
//! Numbers are big-endian. To read it is total: whatever the bytes are, it ends with the entry that was written or with a
//! [`Damage`], without a panic, and lengths are compared with what is there before anything is allocated. The body that is
//! read is a slice of the bytes that came.
//!
//! A format that is not known is left alone: a rolling deployment runs two versions.
//!
//! - `frame`: the layout, checksum and signature.
//! - `record`: what describes a page, or a value.

mod frame;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use frame::{Damage, Frame, Kind, Made, SigningKeys};
pub(crate) use record::{PageRecord, ValueRecord};
