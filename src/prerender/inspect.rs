//! An export, described.

use std::time::Duration;

use serde::Serialize;

use super::Record;
use super::seeds::{Seeds, Sown, UnusableExport};
use crate::clock::{Time, WallTime, micros};
use crate::policy::freshness::{DEFAULT_EXPIRE, Freshness, Revalidate, Window};
use crate::policy::response::{Verdict, judge};
use crate::policy::route::RouteConfig;
use crate::policy::tag::Tag;

/// What is in an export: what its manifest says, and what a running site makes of it. Serialized with names in camel case,
/// times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Inspection {
    /// Where it is, for people.
    pub source: String,
    /// Which build it says it is of.
    pub build_id: Option<String>,
    /// Of which deployment. Only our own manifests say it.
    pub scope: Option<String>,
    /// When its pages were rendered, in seconds since the Unix epoch.
    pub built_at: u64,
    /// How long ago that is.
    #[serde(rename = "ageSecs", serialize_with = "seconds")]
    pub age: Duration,
    /// Its pages, in the order of the manifest.
    pub pages: Vec<InspectedPage>,
    /// Rows of its manifest that are not used: how many, for which reason.
    pub ignored: Vec<(String, usize)>,
    /// The first 1,000 of them. Their texts are escaped and cut.
    pub ignored_rows: Vec<IgnoredRow>,
}

/// A page of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct InspectedPage {
    /// Its path.
    pub path: String,
    /// What else tells it from other pages of its path, if there is something: query, host, headers, cookies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The pattern of its route, as the tool that rendered it writes patterns.
    pub route: String,
    /// Its file, below `prerendered-routes`.
    pub file: String,
    /// The status that it was rendered with.
    pub status: u16,
    /// Bytes of its body, if the manifest says it.
    pub bytes: Option<u64>,
    /// For how long it is fresh, counted from the build; `None`: until it is invalidated.
    #[serde(rename = "revalidateSecs", serialize_with = "maybe_seconds")]
    pub revalidate: Option<Duration>,
    /// For how long it may be served, if it says so.
    #[serde(rename = "expireSecs", serialize_with = "maybe_seconds")]
    pub expire: Option<Duration>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is now.
    pub state: PageState,
    /// Why it would not be used, if that can be told without the site and its store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused: Option<&'static str>,
}

/// What a page is at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PageState {
    /// Younger than `revalidate`.
    Fresh,
    /// Younger than `expire`: it would be served while it is rendered again.
    Stale,
    /// Too old.
    Expired,
}

impl PageState {
    /// One word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
        }
    }
}

/// A row of a manifest that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IgnoredRow {
    /// Its path, or its route if it has none.
    pub page: String,
    /// Why, in one word or two.
    pub reason: &'static str,
    /// What was expected and what came, or what the manifest says.
    pub detail: String,
}

/// What is in an export. Only its manifest is read: [`verify`](super::verify) reads the files.
///
/// ```no_run
/// use axum_isr::prerender::{Seeds, inspect};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// for page in inspect(&Seeds::dir("dist")).await?.pages {
///     println!("{} {}", page.path, page.state.as_str());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// When the manifest cannot be read, or is none.
pub async fn inspect(seeds: &Seeds) -> Result<Inspection, UnusableExport> {
    let sown = seeds.manifest(&Time::system()).await.map_err(|problem| UnusableExport::of(&problem))?;
    let now = Time::system().wall();
    let ignored = sown.manifest.ignored();
    let since = Duration::from_micros(sown.built_at.0);
    Ok(Inspection {
        source: seeds.name(),
        build_id: sown.manifest.build_id().map(str::to_owned),
        scope: sown.manifest.scope().map(str::to_owned),
        built_at: since.as_secs(),
        age: Duration::from_micros(now.0.saturating_sub(micros(since))),
        pages: sown.manifest.records().map(|record| page(record, &sown, now)).collect(),
        ignored: ignored.counts().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        ignored_rows: ignored
            .first()
            .iter()
            .map(|row| IgnoredRow { page: row.page.clone(), reason: row.reason.as_str(), detail: row.detail.clone() })
            .collect(),
    })
}

fn page(record: Record, sown: &Sown, now: WallTime) -> InspectedPage {
    let window = Window::new(sown.built_at, record.revalidate, record.expire.unwrap_or(DEFAULT_EXPIRE));
    let state = match window.at(now) {
        Freshness::Fresh => PageState::Fresh,
        Freshness::Stale => PageState::Stale,
        Freshness::Expired => PageState::Expired,
    };
    let route = RouteConfig::forever();
    // Of one of our own it was judged when it was exported, by the route that it has.
    let may_be_shared = record.inputs.is_some()
        || matches!(judge(record.status, &record.headers, route.settings(), true), Verdict::Keep);
    let unused = match state {
        _ if !may_be_shared => Some("its response may not be shared"),
        PageState::Expired => Some("expired"),
        _ => None,
    };
    InspectedPage {
        variant: variant(&record),
        revalidate: match record.revalidate {
            Revalidate::After(after) => Some(after),
            Revalidate::Never => None,
        },
        expire: record.expire,
        tags: record.tags.iter().map(Tag::as_str).map(str::to_owned).collect(),
        status: record.status.as_u16(),
        bytes: record.bytes,
        path: record.path,
        route: record.route,
        file: record.file,
        state,
        unused,
    }
}

fn variant(record: &Record) -> Option<String> {
    let inputs = record.inputs.as_ref()?;
    let mut parts = Vec::new();
    for (name, value) in [("namespace", &inputs.namespace), ("query", &inputs.query), ("host", &inputs.host)] {
        if !value.is_empty() {
            parts.push(format!("{name} {value}"));
        }
    }
    for (kind, pairs) in [("header", &inputs.headers), ("cookie", &inputs.cookies)] {
        parts.extend(pairs.iter().map(|(name, value)| format!("{kind} {name}={value}")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[allow(clippy::ref_option, reason = "serde asks for it")]
fn maybe_seconds<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
