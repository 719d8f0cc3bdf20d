//! Writes a manifest: the same rows give the same bytes.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::key::hex;
use crate::policy::freshness::Revalidate;
use crate::policy::tag::Tag;
use crate::prerender::{Inputs, Record};

/// What a manifest says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) build_id: &'a str,
    pub(crate) scope: Option<&'a str>,
    /// Seconds since the Unix epoch.
    pub(crate) built_at: Option<u64>,
    pub(crate) trailing_slash: bool,
}

/// One page of an export, or one that was not rendered.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    Rendered(Box<Record>),
    Skipped { route: String, path: Option<String>, reason: String },
    Failed { route: String, path: Option<String>, status: Option<StatusCode>, error: String },
}

/// The manifest of these rows, sorted by path and inputs. A page with a header that is not text, which JSON cannot have,
/// is written as one that was skipped; one that expires before it is stale as one that expires when it is.
pub(crate) fn write(head: &Head<'_>, rows: &[Row]) -> Vec<u8> {
    let mut routes = rows.iter().map(RowJson::of).collect::<Vec<_>>();
    routes.sort_by(|one, other| one.order().cmp(&other.order()));
    let Head { build_id, scope, built_at, trailing_slash } = *head;
    let manifest = ManifestJson { build_id, trailing_slash, scope, built_at, routes };
    let mut json = Vec::new();
    // Writing texts and numbers to a `Vec` does not fail.
    let _ = serde_json::to_writer_pretty(&mut json, &manifest);
    json.push(b'\n');
    json
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson<'a> {
    build_id: &'a str,
    trailing_slash: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    built_at: Option<u64>,
    routes: Vec<RowJson<'a>>,
}

#[derive(Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct RowJson<'a> {
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revalidate: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    router: Option<&'static str>,
    #[serde(skip_serializing_if = "<[Tag]>::is_empty", serialize_with = "tags")]
    tags: &'a [Tag],
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Lines<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<InputsJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> RowJson<'a> {
    fn of(row: &'a Row) -> Self {
        match row {
            Row::Rendered(record) if record.headers.values().all(|value| text(value).is_some()) => {
                Self::rendered(record)
            }
            Row::Rendered(record) => Self {
                reason: Some("a header that is not text"),
                ..Self::other(&record.route, Some(&record.path), "skipped")
            },
            Row::Skipped { route, path, reason } => {
                Self { reason: Some(reason), ..Self::other(route, path.as_ref(), "skipped") }
            }
            Row::Failed { route, path, status, error } => Self {
                response_status: status.map(|status| status.as_u16()),
                error: Some(error),
                ..Self::other(route, path.as_ref(), "error")
            },
        }
    }

    fn other(route: &'a str, path: Option<&'a String>, status: &'static str) -> Self {
        Self { route, path: path.map(String::as_str), status, ..Self::default() }
    }

    fn rendered(record: &'a Record) -> Self {
        let Record { route, path, inputs, file, status, headers, revalidate, expire, tags, bytes, digest } = record;
        let fresh = match revalidate {
            Revalidate::After(after) => Some(*after),
            Revalidate::Never => None,
        };
        Self {
            revalidate: Some(Seconds(fresh)),
            expire: expire.map(|expire| Seconds(Some(fresh.map_or(expire, |fresh| expire.max(fresh))))),
            response_status: Some(status.as_u16()),
            router: Some("axum"),
            tags,
            headers: (!headers.is_empty()).then_some(Lines(headers)),
            file: Some(file),
            bytes: *bytes,
            sha256: digest.map(|digest| hex(&digest)),
            inputs: inputs.as_ref().map(|inputs| InputsJson::of(inputs, path)),
            ..Self::other(route, Some(path), "rendered")
        }
    }

    fn order(&self) -> impl Ord {
        let Self { route, path, inputs, status, reason, error, .. } = self;
        (path.unwrap_or(route), inputs, *route, *status, *reason, *error)
    }
}

/// In the order in which rows are sorted.
#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
struct InputsJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    nest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    query: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "pairs")]
    headers: &'a [(String, String)],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "pairs")]
    cookies: &'a [(String, String)],
}

impl<'a> InputsJson<'a> {
    fn of(inputs: &'a Inputs, path: &str) -> Self {
        let Inputs { namespace, nest, inner, query, host, headers, cookies } = inputs;
        Self { namespace, nest, inner: (inner != path).then_some(inner), query, host, headers, cookies }
    }
}

/// A number of seconds, whole if it can be; `false` for none.
struct Seconds(Option<Duration>);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_bool(false),
            Some(time) if time.subsec_micros() == 0 => serializer.serialize_u64(time.as_secs()),
            Some(time) => serializer.serialize_f64(time.as_secs_f64()),
        }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

fn tags<S: Serializer>(tags: &&[Tag], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tags.iter().map(Tag::as_str))
}

fn pairs<S: Serializer>(pairs: &&[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Sorted by name; the lines of one name in their order.
struct Lines<'a>(&'a HeaderMap);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = self.0.keys().collect::<Vec<_>>();
        names.sort_unstable_by_key(|name| name.as_str());
        let mut map = serializer.serialize_map(Some(names.len()))?;
        for name in names {
            let lines = self.0.get_all(name).iter().filter_map(text).collect::<Vec<_>>();
            match lines[..] {
                [one] => map.serialize_entry(name.as_str(), one)?,
                _ => map.serialize_entry(name.as_str(), &lines)?,
            }
        }
        map.end()
    }
}
