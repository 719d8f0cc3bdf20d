//! The layout, checksum and signature.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::ConfigError;
use crate::ledger::Place;

const MAGIC: [u8; 4] = [0xA1, b'I', b'S', b'R'];
const FORMAT: u8 = 1;
const HEADER: usize = 48;
/// Of the checksum.
const CRC: std::ops::Range<usize> = 44..48;
const SIGNATURE: usize = 32;

const VALUE: u8 = 1;
const SIGNED: u8 = 2;

/// Shorter ones are not worth the name (RFC 2104 §3 recommends the length of the digest).
const SHORTEST_KEY: usize = 16;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Page,
    Value,
}

/// Where and when the making of an entry began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) place: Place,
    /// Microseconds since the Unix epoch.
    pub(crate) begun: u64,
}

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Shorter or longer than it says.
    Length,
    /// Not an entry at all.
    Magic,
    /// Of another format, which may be that of a newer version.
    Format,
    Checksum,
    /// Not signed, or by none of the keys, or for another key or scope.
    Signature,
    /// What describes it cannot be, or may not be.
    Record,
    /// It is another entry than the one that was asked for.
    Key,
}

impl Damage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Magic => "magic",
            Self::Format => "format",
            Self::Checksum => "checksum",
            Self::Signature => "signature",
            Self::Record => "record",
            Self::Key => "key",
        }
    }
}

/// Keys that sign entries: the first one signs, each of them is accepted. None: entries are not signed.
#[derive(Clone, Default)]
pub(crate) struct SigningKeys(Vec<Hmac<Sha256>>);

impl SigningKeys {
    pub(crate) fn new(keys: &[Vec<u8>]) -> Result<Self, ConfigError> {
        let key = |key: &Vec<u8>| {
            let made = (key.len() >= SHORTEST_KEY).then(|| Hmac::new_from_slice(key).ok()).flatten();
            made.ok_or_else(|| {
                let expected = format!("keys of at least {SHORTEST_KEY} bytes");
                ConfigError::new("signing_keys", expected, format_args!("{} bytes", key.len()))
            })
        };
        keys.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    fn over(mac: &Hmac<Sha256>, scope: &str, key: &[u8], entry: &[u8]) -> Hmac<Sha256> {
        let mut mac = mac.clone();
        for part in [scope.as_bytes(), key] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.update(entry);
        mac
    }
}

/// Nobody sees a key in a log.
impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} signing keys", self.0.len())
    }
}

/// An entry in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) made: Made,
    pub(crate) record: Bytes,
    pub(crate) body: Bytes,
}

impl Frame {
    /// `None` if it is too large to say how long it is.
    pub(crate) fn seal(&self, scope: &str, key: &[u8], keys: &SigningKeys) -> Option<Bytes> {
        let record = u32::try_from(self.record.len()).ok()?;
        let signed = keys.0.first();
        let signature = signed.map_or(0, |_| SIGNATURE);
        let mut bytes = BytesMut::with_capacity(HEADER + self.record.len() + self.body.len() + signature);
        let kind = if self.kind == Kind::Value { VALUE } else { 0 };
        bytes.put_slice(&MAGIC);
        bytes.put_slice(&[FORMAT, kind | signed.map_or(0, |_| SIGNED), 0, 0]);
        bytes.put_u64(self.made.place.epoch);
        bytes.put_u64(self.made.place.stamp);
        bytes.put_u64(self.made.begun);
        bytes.put_u32(record);
        bytes.put_u64(self.body.len() as u64);
        bytes.put_u32(0);
        bytes.put_slice(&self.record);
        bytes.put_slice(&self.body);
        let sum = checksum(&bytes);
        bytes[CRC].copy_from_slice(&sum.to_be_bytes());
        if let Some(mac) = signed {
            let signature = SigningKeys::over(mac, scope, key, &bytes).finalize().into_bytes();
            bytes.put_slice(&signature);
        }
        Some(bytes.freeze())
    }

    pub(crate) fn open(bytes: &Bytes, scope: &str, key: &[u8], keys: &SigningKeys) -> Result<Self, Damage> {
        let head: &[u8; HEADER] = bytes.first_chunk().ok_or(Damage::Length)?;
        if head[..4] != MAGIC {
            return Err(Damage::Magic);
        }
        if head[4] != FORMAT || head[5] & !(VALUE | SIGNED) != 0 || head[6..8] != [0, 0] {
            return Err(Damage::Format);
        }
        let number = |at: usize| head[at..at + 8].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let record = usize::try_from(number(32) >> 32).map_err(|_| Damage::Length)?;
        let body = usize::try_from(number(36)).map_err(|_| Damage::Length)?;
        let is_signed = head[5] & SIGNED != 0;
        let described = HEADER.checked_add(record).ok_or(Damage::Length)?;
        let end = described.checked_add(body).ok_or(Damage::Length)?;
        let whole = end.checked_add(if is_signed { SIGNATURE } else { 0 });
        if whole != Some(bytes.len()) {
            return Err(Damage::Length);
        }
        let (entry, signature) = bytes.split_at(end);
        if checksum(entry) != u32::from_be_bytes([head[44], head[45], head[46], head[47]]) {
            return Err(Damage::Checksum);
        }
        // `verify_slice` compares in constant time.
        let good = |mac| SigningKeys::over(mac, scope, key, entry).verify_slice(signature).is_ok();
        let accepted = keys.0.is_empty() || (is_signed && keys.0.iter().any(good));
        if !accepted {
            return Err(Damage::Signature);
        }
        Ok(Self {
            kind: if head[5] & VALUE == 0 { Kind::Page } else { Kind::Value },
            made: Made { place: Place { epoch: number(8), stamp: number(16) }, begun: number(24) },
            record: bytes.slice(HEADER..described),
            body: bytes.slice(described..end),
        })
    }
}

fn checksum(entry: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&entry[..CRC.start]);
    sum.update(&entry[CRC.end..]);
    sum.finalize()
}
