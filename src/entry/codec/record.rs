//! What describes a page, or a value: in MessagePack, as arrays.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::frame::Damage;
use crate::policy::freshness::{Revalidate, Window};
use crate::policy::life::Life;
use crate::policy::tag::{MAX_TAGS, Tag};

/// More than any server takes in.
const MAX_HEADERS: usize = 1_024;

/// Bytes as bytes, not as numbers.
#[derive(Clone, Copy)]
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_bytes(Borrowed)
    }
}

/// A list that takes room for what came, not for what was announced.
struct List<T, const MOST: usize>(Vec<T>);

impl<T: Serialize, const MOST: usize> Serialize for List<T, MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MOST {
                        return Err(de::Error::invalid_length(MOST + 1, &self));
                    }
                    items.push(item);
                }
                Ok(List(items))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// Which entry it is: scope and key.
#[derive(Clone, Copy, Serialize, serde::Deserialize)]
struct Identity<'a>(&'a str, #[serde(borrow)] Raw<'a>);

#[derive(Serialize, serde::Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    of: Identity<'a>,
    window: [u64; 3],
    #[serde(borrow)]
    tags: List<&'a str, MAX_TAGS>,
    status: u16,
    /// Name, value, and whether it is sensitive.
    #[serde(borrow)]
    headers: List<(&'a str, Raw<'a>, bool), MAX_HEADERS>,
    for_head: bool,
}

#[derive(Serialize, serde::Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    of: Identity<'a>,
    window: [u64; 3],
    #[serde(borrow)]
    tags: List<&'a str, MAX_TAGS>,
    type_name: &'a str,
    /// Microseconds, the largest number for never.
    life: [u64; 2],
}

/// What describes a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PageRecord {
    pub(crate) window: Window,
    pub(crate) tags: Vec<Tag>,
    pub(crate) status: StatusCode,
    /// Those of the handler that were kept, and the validator.
    pub(crate) headers: HeaderMap,
    pub(crate) for_head: bool,
}

/// What describes a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ValueRecord {
    pub(crate) window: Window,
    pub(crate) tags: Vec<Tag>,
    /// Of the Rust type, as `std::any::type_name` has it.
    pub(crate) type_name: String,
    pub(crate) life: Life,
}

impl PageRecord {
    /// `None` if it has more headers than can be read.
    pub(crate) fn write(&self, scope: &str, key: &[u8]) -> Option<Bytes> {
        let header = |(name, value)| {
            let (name, value): (&HeaderName, &HeaderValue) = (name, value);
            (name.as_str(), Raw(value.as_bytes()), value.is_sensitive())
        };
        if self.headers.len() > MAX_HEADERS {
            return None;
        }
        write(&Page {
            of: Identity(scope, Raw(key)),
            window: self.window.to_micros(),
            tags: List(self.tags.iter().map(Tag::as_str).collect()),
            status: self.status.as_u16(),
            headers: List(self.headers.iter().map(header).collect()),
            for_head: self.for_head,
        })
    }

    /// Of the entry with this scope and key, and no other.
    pub(crate) fn read(record: &Bytes, scope: &str, key: &[u8]) -> Result<Self, Damage> {
        let page: Page<'_> = read(record)?;
        same(page.of, scope, key)?;
        let mut headers = HeaderMap::with_capacity(page.headers.0.len());
        for (name, value, is_sensitive) in page.headers.0 {
            // Checked as if a client had sent them: no blanks, no line ends, no control bytes.
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Damage::Record)?;
            let mut value = HeaderValue::from_maybe_shared(record.slice_ref(value.0)).map_err(|_| Damage::Record)?;
            value.set_sensitive(is_sensitive);
            headers.append(name, value);
        }
        Ok(Self {
            window: Window::from_micros(page.window).ok_or(Damage::Record)?,
            tags: tags(&page.tags)?,
            status: StatusCode::from_u16(page.status).map_err(|_| Damage::Record)?,
            headers,
            for_head: page.for_head,
        })
    }
}

impl ValueRecord {
    pub(crate) fn write(&self, scope: &str, key: &[u8]) -> Option<Bytes> {
        write(&Value {
            of: Identity(scope, Raw(key)),
            window: self.window.to_micros(),
            tags: List(self.tags.iter().map(Tag::as_str).collect()),
            type_name: &self.type_name,
            life: self.life.to_micros(),
        })
    }

    /// Of the entry with this scope and key, and no other.
    pub(crate) fn read(record: &[u8], scope: &str, key: &[u8]) -> Result<Self, Damage> {
        let value: Value<'_> = read(record)?;
        same(value.of, scope, key)?;
        Ok(Self {
            window: Window::from_micros(value.window).ok_or(Damage::Record)?,
            tags: tags(&value.tags)?,
            type_name: value.type_name.to_owned(),
            life: Life::from_micros(value.life),
        })
    }
}

fn write(record: &impl Serialize) -> Option<Bytes> {
    rmp_serde::to_vec(record).ok().map(Bytes::from)
}

fn read<'a, T: Deserialize<'a>>(record: &'a [u8]) -> Result<T, Damage> {
    rmp_serde::from_slice(record).map_err(|_| Damage::Record)
}

fn same(Identity(found_scope, found): Identity<'_>, scope: &str, key: &[u8]) -> Result<(), Damage> {
    if found_scope == scope && found.0 == key { Ok(()) } else { Err(Damage::Key) }
}

fn tags(names: &List<&str, MAX_TAGS>) -> Result<Vec<Tag>, Damage> {
    names.0.iter().map(|name| Tag::new(name).map_err(|_| Damage::Record)).collect()
}

impl Life {
    fn to_micros(self) -> [u64; 2] {
        let revalidate = match self.revalidate {
            Revalidate::After(after) => crate::clock::micros(after).min(u64::MAX - 1),
            Revalidate::Never => u64::MAX,
        };
        [revalidate, crate::clock::micros(self.expire)]
    }

    fn from_micros([revalidate, expire]: [u64; 2]) -> Self {
        let duration =
            |micros| if micros == u64::MAX { Self::LONGEST.expire } else { std::time::Duration::from_micros(micros) };
        let revalidate =
            if revalidate == u64::MAX { Revalidate::Never } else { Revalidate::After(duration(revalidate)) };
        Self { revalidate, expire: duration(expire) }
    }
}
