//! A row of a manifest as JSON has it. Texts are borrowed from the manifest.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::check::MAX_LINES;
use crate::policy::tag::MAX_TAGS;

#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What is read of a row; other keys are ignored.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    pub(super) route: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) path: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) router: Option<Text<'a>>,
    #[serde(default)]
    pub(super) fallback: Option<bool>,
    #[serde(default)]
    pub(super) not_found: Option<bool>,
    pub(super) rewrite: Option<IgnoredAny>,
    pub(super) redirect_props: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) revalidate: Time,
    #[serde(default)]
    pub(super) expire: Time,
    pub(super) response_status: Option<u16>,
    #[serde(borrow)]
    pub(super) tags: Option<Tags<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Lines<'a>,
    #[serde(borrow)]
    pub(super) file: Option<Text<'a>>,
    pub(super) bytes: Option<u64>,
    #[serde(borrow)]
    pub(super) sha256: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) inputs: Option<InputsRow<'a>>,
}

#[derive(serde::Deserialize)]
pub(super) struct InputsRow<'a> {
    #[serde(borrow)]
    pub(super) namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) nest: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) inner: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) query: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) host: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Lines<'a>,
    #[serde(borrow, default)]
    pub(super) cookies: Lines<'a>,
}

/// Just enough of a row that is wrong to say which one it is.
#[derive(serde::Deserialize)]
pub(super) struct Name<'a> {
    #[serde(borrow)]
    pub(super) route: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    pub(super) path: Option<&'a serde_json::value::RawValue>,
}

/// A number of seconds, or what stands in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Time {
    #[default]
    Absent,
    /// What JavaScript writes for a number that is none.
    Null,
    False,
    True,
    Negative,
    /// In whole microseconds; what is too long is as long as can be.
    After(Duration),
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds or `false`")
    }

    fn visit_unit<E>(self) -> Result<Time, E> {
        Ok(Time::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Time, E> {
        Ok(if value { Time::True } else { Time::False })
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<Time, E> {
        Ok(Time::After(Duration::from_secs(seconds)))
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<Time, E> {
        Ok(u64::try_from(seconds).map_or(Time::Negative, |seconds| Time::After(Duration::from_secs(seconds))))
    }

    fn visit_f64<E>(self, seconds: f64) -> Result<Time, E> {
        if seconds < 0.0 {
            return Ok(Time::Negative);
        }
        let exact = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(u64::MAX));
        // A binary fraction is not the decimal one that was meant.
        let micros = exact.subsec_nanos().div_ceil(500) / 2;
        Ok(Time::After(Duration::from_secs(exact.as_secs()).saturating_add(Duration::from_micros(micros.into()))))
    }
}

/// Tags in their order: of too many, one more than the most.
pub(super) struct Tags<'a>(pub(super) Vec<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Tags<'de>, A::Error> {
        at_most(seq, MAX_TAGS + 1).map(Tags)
    }
}

/// The first texts of a list. The others are read over, so that nobody makes much of little.
fn at_most<'de, A: SeqAccess<'de>>(mut seq: A, most: usize) -> Result<Vec<Text<'de>>, A::Error> {
    let mut texts = Vec::new();
    while texts.len() < most {
        match seq.next_element()? {
            Some(text) => texts.push(text),
            None => return Ok(texts),
        }
    }
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(texts)
}

/// Names with one value or several, in their order: of too many, some more than the most.
#[derive(Default)]
pub(super) struct Lines<'a>(pub(super) Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Lines<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LinesVisitor)
    }
}

struct LinesVisitor;

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = Lines<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts or lists of texts")
    }

    fn visit_unit<E>(self) -> Result<Lines<'de>, E> {
        Ok(Lines::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lines<'de>, A::Error> {
        let mut lines = Vec::new();
        while lines.len() <= MAX_LINES {
            let Some((name, values)) = map.next_entry::<Text<'de>, Values<'de>>()? else {
                return Ok(Lines(lines));
            };
            lines.extend(values.0.into_iter().map(|value| (Text(name.0.clone()), value)));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Lines(lines))
    }
}

/// One text or a list of texts.
struct Values<'a>(Vec<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor).map(Values)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Vec<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(vec![Text(Cow::Borrowed(value))])
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(vec![Text(Cow::Owned(value.to_owned()))])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        at_most(seq, MAX_LINES + 1)
    }
}
