//! Reads the JSON of a manifest, row by row.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer as _, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::check;
use super::ignored::{Reason, short};
use super::index::{Builder, Manifest, Top};
use super::json::{Name, Row, Text};

/// The most bytes of a manifest; whoever reads it from somewhere reads no more.
pub(crate) const MAX_MANIFEST_BYTES: usize = 256 << 20;

/// The most rows of one.
const MAX_ROUTES: usize = 1_000_000;

/// The most bytes of a row, and of a value beside the rows: far more than any use, and little enough for an error to
/// repeat.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// When it begins, in seconds since the Unix epoch. Milliseconds of any time after March 1970 are beyond it.
const YEAR_2201: u64 = 7_289_654_400;

/// Why a manifest cannot be used at all: what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a manifest of prerendered pages: {0}")]
pub(crate) struct Refused(String);

impl Manifest {
    /// R41, CASES 147: a manifest is data. A row that cannot be used is ignored with a reason, see
    /// [`ignored`](Self::ignored), and spoils no other.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(Refused(format!("at most {MAX_MANIFEST_BYTES} bytes, got {}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|why| Refused(format!("UTF-8, got something else after {} bytes", why.valid_up_to())))?;
        let mut from = serde_json::Deserializer::from_str(text);
        let read = from.deserialize_any(TopVisitor).and_then(|manifest| from.end().map(|()| manifest));
        read.map_err(|why| Refused(short(&why.to_string())))
    }
}

/// The object at the top.
struct TopVisitor;

impl<'de> Visitor<'de> for TopVisitor {
    type Value = Manifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `routes`")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Manifest, E> {
        Err(E::invalid_type(Unexpected::Other("a text"), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
        let mut top = Top::default();
        let mut rows: Option<Builder> = None;
        let mut seen: [bool; FIELDS.len()] = Default::default();
        while let Some(key) = map.next_key::<Text<'de>>()? {
            let Some(at) = FIELDS.iter().position(|field| *field == key.0) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(A::Error::duplicate_field(FIELDS[at]));
            }
            match FIELDS[at] {
                "buildId" => top.build_id = value(&mut map, FIELDS[at])?,
                "scope" => top.scope = value(&mut map, FIELDS[at])?,
                "builtAt" => top.built_at = value(&mut map, FIELDS[at])?.map(seconds).transpose()?,
                "trailingSlash" => top.trailing_slash = value(&mut map, FIELDS[at])?.unwrap_or_default(),
                _ => rows = Some(map.next_value_seed(Rows)?),
            }
        }
        Ok(rows.ok_or_else(|| A::Error::missing_field("routes"))?.finish(top))
    }
}

/// As far in the future as milliseconds are, nothing that was rendered would ever be stale.
fn seconds<E: Error>(built_at: u64) -> Result<u64, E> {
    if built_at < YEAR_2201 {
        return Ok(built_at);
    }
    Err(E::custom(format_args!(
        "`builtAt` in seconds since 1970, got {built_at}, which is after the year 2200; milliseconds?"
    )))
}

/// A value that may be absent, measured before anything is made of it.
fn value<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A, field: &str) -> Result<Option<T>, A::Error> {
    let json = map.next_value::<&RawValue>()?.get();
    if json.len() > MAX_VALUE_BYTES {
        let got = json.len();
        return Err(A::Error::custom(format_args!("`{field}` with at most {MAX_VALUE_BYTES} bytes, got {got}")));
    }
    serde_json::from_str(json).map_err(|why| A::Error::custom(format_args!("`{field}`: {why}")))
}

const FIELDS: [&str; 5] = ["buildId", "scope", "builtAt", "trailingSlash", "routes"];

/// The rows.
struct Rows;

impl<'de> serde::de::DeserializeSeed<'de> for Rows {
    type Value = Builder;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Builder, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows {
    type Value = Builder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of routes")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Builder, E> {
        Err(E::invalid_type(Unexpected::Other("a text"), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Builder, A::Error> {
        let mut rows = Builder::default();
        let mut count = 0;
        // First where a row ends, then what is in it: what is wrong inside does not matter to the next one.
        while let Some(row) = seq.next_element::<&RawValue>()? {
            count += 1;
            if count > MAX_ROUTES {
                return Err(A::Error::custom(format_args!("at most {MAX_ROUTES} routes, got more")));
            }
            take(&mut rows, row.get());
        }
        Ok(rows)
    }
}

fn take(rows: &mut Builder, json: &str) {
    if json.len() > MAX_VALUE_BYTES {
        let detail = format!("expected at most {MAX_VALUE_BYTES} bytes, got {}", json.len());
        return rows.ignored.add(Reason::Shape, &name(json), &detail);
    }
    let row = match serde_json::from_str::<Row<'_>>(json) {
        Ok(row) => row,
        Err(why) => {
            let detail = if rows.ignored.has_room() { why.to_string() } else { String::new() };
            return rows.ignored.add(Reason::Shape, &name(json), &detail);
        }
    };
    match check::record(&row) {
        Ok(entry) => rows.add(&entry),
        Err((reason, detail)) => {
            let page = row.path.as_ref().or(row.route.as_ref()).map_or("", |page| &page.0);
            rows.ignored.add(reason, page, &detail);
        }
    }
}

/// What a row that is wrong calls itself, as JSON has it.
fn name(json: &str) -> Cow<'_, str> {
    // What is no object may be a long text, which an error would repeat.
    let name = json.starts_with('{').then(|| serde_json::from_str::<Name<'_>>(json).ok()).flatten();
    let name = name.and_then(|name| name.path.or(name.route));
    name.map_or(Cow::Borrowed(json), |name| Cow::Borrowed(name.get().trim_matches('"')))
}
