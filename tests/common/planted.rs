//! Entries of a store taken apart and put together again, as somebody would who can write to it. The layout is that of
//! `src/entry/codec/mod.rs`.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use bytes::Bytes;
use serde::{Deserialize, Serialize};

const HEADER: usize = 48;
const CRC: std::ops::Range<usize> = 44..48;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl serde::de::Visitor<'_> for Anything {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Anything)
    }
}

/// What describes a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Scope and key.
    pub of: (String, Raw),
    pub window: [u64; 3],
    pub tags: Vec<String>,
    pub status: u16,
    pub headers: Vec<(String, Raw, bool)>,
    pub for_head: bool,
}

impl Record {
    pub fn header(&mut self, name: &str, value: &[u8]) {
        self.headers.push((name.to_owned(), Raw(value.to_vec()), false));
    }
}

/// A page in its parts; unsigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    pub head: [u8; HEADER],
    pub record: Record,
    pub body: Vec<u8>,
}

impl Planted {
    pub fn open(bytes: &Bytes) -> Self {
        let head: [u8; HEADER] = bytes[..HEADER].try_into().unwrap();
        let record = u32::from_be_bytes(head[32..36].try_into().unwrap()) as usize;
        let body = usize::try_from(u64::from_be_bytes(head[36..44].try_into().unwrap())).unwrap();
        Self {
            head,
            record: rmp_serde::from_slice(&bytes[HEADER..HEADER + record]).unwrap(),
            body: bytes[HEADER + record..HEADER + record + body].to_vec(),
        }
    }

    pub fn seal(&self) -> Bytes {
        self.seal_record(&rmp_serde::to_vec(&self.record).unwrap())
    }

    /// With something else in the place of the record.
    pub fn seal_record(&self, record: &[u8]) -> Bytes {
        let mut bytes = self.head.to_vec();
        bytes[32..36].copy_from_slice(&u32::try_from(record.len()).unwrap().to_be_bytes());
        bytes[36..44].copy_from_slice(&(self.body.len() as u64).to_be_bytes());
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(&self.body);
        checked(bytes)
    }
}

/// With the right checksum.
pub fn checked(mut bytes: Vec<u8>) -> Bytes {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[..CRC.start]);
    sum.update(&bytes[CRC.end..]);
    bytes[CRC].copy_from_slice(&sum.finalize().to_be_bytes());
    bytes.into()
}
