//! What the memory tier has under a key.

use std::time::Duration;

use serde::Serialize;

use super::{fine_millis, millis};
use crate::clock::WallTime;
use crate::isr::Shared;
use crate::key::{CacheKey, Parts, data_name, hex};
use crate::ledger::{Covered, Verdict};
use crate::memory::{BackOff, Page, PassNote, Slot, Standing, Value, gone_because, stale_because};
use crate::policy::reason::{Miss, Reason};
use crate::policy::tag::Tag;

/// What the memory tier has under a key: a page, the note that it is not shared, or data.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HeldEntry {
    /// The key, in hexadecimal.
    pub id: String,
    /// `page`, `pass` or `data`.
    pub kind: &'static str,
    /// The path; of data, its name.
    pub path: String,
    /// The pattern of the route.
    pub route: String,
    /// What makes it a variant: the key inputs.
    pub inputs: Vec<Input>,
    /// `fresh`, `stale`, `expired`, or `pass`.
    pub state: &'static str,
    /// Why: `fresh`, a word of [`Stale`](crate::stats::Stale), of [`Miss`], or of [`Pass`](crate::stats::Pass).
    pub reason: &'static str,
    /// Since its body ended.
    #[serde(rename = "age_ms", serialize_with = "millis")]
    pub age: Option<Duration>,
    /// How long it is fresh; `None`: until it is invalidated.
    #[serde(rename = "fresh_ms", serialize_with = "millis")]
    pub fresh_for: Option<Duration>,
    /// How long it may be served at all; `None`: until it is invalidated.
    #[serde(rename = "expire_ms", serialize_with = "millis")]
    pub kept_for: Option<Duration>,
    /// What it weighs in memory, in bytes, its key included.
    pub bytes: u64,
    /// Of its body.
    pub body_bytes: usize,
    /// The status of the page.
    pub status: Option<u16>,
    /// Its route's and its own; of data, those of the data it was made from too.
    pub tags: Vec<String>,
    /// How long its render took; `None` if it was not rendered here.
    #[serde(rename = "render_ms", serialize_with = "fine_millis")]
    pub render_time: Option<Duration>,
    /// How often it was served as HIT or STALE.
    pub hits: u64,
    /// Failures in a row to make it again.
    pub failures: u32,
    /// What the last of them was.
    pub last_error: Option<String>,
    /// Until it is tried again, if it is too early now.
    #[serde(rename = "retry_ms", serialize_with = "millis")]
    pub retry_in: Option<Duration>,
    /// It is being rendered.
    pub rendering: bool,
}

/// Something of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Input {
    /// `query`, `header`, `cookie`, `host` or `namespace`.
    pub kind: &'static str,
    /// Its name; empty for a host and a namespace.
    pub name: String,
    /// Its value.
    pub value: String,
    /// It is part of the key: the route declares it, and it has one of the declared values.
    pub counts: bool,
}

impl Input {
    pub(super) fn new(kind: &'static str, name: &str, value: &str, counts: bool) -> Self {
        Self { kind, name: name.to_owned(), value: value.to_owned(), counts }
    }
}

/// What would become of a request that finds it.
pub(crate) fn judge(shared: &Shared, slot: &Slot, now: WallTime) -> Reason {
    let (window, began_at) = match slot {
        Slot::Page(page) => (page.entry.window(), page.began_at),
        Slot::Value(value) => (&value.window, value.began_at),
        // Whoever asks next has the page rendered.
        Slot::Pass(note) if note.covered.verdict(&shared.ledger.view) != Verdict::Good => {
            return Reason::Miss(Miss::Invalidated);
        }
        Slot::Pass(note) => return Reason::Pass(note.reason),
    };
    match shared.temper(Standing::of(window, slot.covered(), now, &shared.ledger.view), began_at) {
        Standing::Fresh => Reason::Hit,
        Standing::Stale(marked) => Reason::Stale(stale_because(window, marked, now)),
        Standing::Gone => Reason::Miss(gone_because(window, now)),
    }
}

/// What it is good for, by what would become of that request.
pub(crate) fn state(found: Reason) -> &'static str {
    match found {
        Reason::Hit => "fresh",
        Reason::Miss(_) => "expired",
        stale_or_pass => stale_or_pass.state(),
    }
}

/// In full.
pub(crate) fn describe(shared: &Shared, key: &CacheKey, slot: &Slot) -> HeldEntry {
    let now = shared.time.wall();
    let found = judge(shared, slot, now);
    let parts = key.parts();
    let common = HeldEntry {
        id: hex(key.as_bytes()),
        path: data_name(key.as_bytes()).unwrap_or(parts.path).to_owned(),
        inputs: inputs(&parts),
        state: state(found),
        reason: found.reason(),
        bytes: slot.weight(key),
        rendering: shared.flights.has(key.as_bytes()),
        ..HeldEntry::default()
    };
    match slot {
        Slot::Page(page) => describe_page(shared, page, now, common),
        Slot::Pass(note) => describe_pass(shared, note, &parts, common),
        Slot::Value(value) => describe_value(shared, value, now, common),
    }
}

fn describe_page(shared: &Shared, page: &Page, now: WallTime, common: HeldEntry) -> HeldEntry {
    let window = page.entry.window();
    HeldEntry {
        kind: "page",
        route: page.maker.numbers().pattern().to_string(),
        age: Some(Duration::from_millis(window.age_millis(now))),
        fresh_for: window.fresh_for(),
        kept_for: window.kept_for(),
        body_bytes: page.entry.body().len(),
        status: Some(page.entry.status().as_u16()),
        tags: texts(&page.tags),
        render_time: (page.render_micros > 0).then(|| Duration::from_micros(page.render_micros)),
        hits: page.hits.get(),
        failures: page.back_off.failures(),
        last_error: page.back_off.last().map(|failed| failed.to_string()),
        retry_in: retry_in(shared, &page.back_off, &page.covered),
        ..common
    }
}

fn describe_pass(shared: &Shared, note: &PassNote, parts: &Parts<'_>, common: HeldEntry) -> HeldEntry {
    let is_good = note.covered.verdict(&shared.ledger.view) == Verdict::Good;
    let wait = note.until.0.saturating_sub(shared.time.monotonic().0);
    let retry_in = Some(Duration::from_micros(wait)).filter(|wait| is_good && !wait.is_zero());
    HeldEntry { kind: "pass", route: parts.pattern.to_owned(), retry_in, ..common }
}

fn describe_value(shared: &Shared, value: &Value, now: WallTime, common: HeldEntry) -> HeldEntry {
    HeldEntry {
        kind: "data",
        age: Some(Duration::from_millis(value.window.age_millis(now))),
        fresh_for: value.window.fresh_for(),
        kept_for: value.window.kept_for(),
        body_bytes: value.body.len(),
        tags: texts(&value.tags),
        failures: value.back_off.failures(),
        last_error: Some(value.failure()).filter(|text| !text.is_empty()),
        retry_in: retry_in(shared, &value.back_off, &value.covered),
        ..common
    }
}

/// Until it is tried again; nothing if it may be tried now, as after a mark that is newer than the last failure.
fn retry_in(shared: &Shared, back_off: &BackOff, covered: &Covered) -> Option<Duration> {
    let marked = match covered.verdict(&shared.ledger.view) {
        Verdict::Revalidate(marked) => Some(marked),
        Verdict::Good | Verdict::Expire => None,
    };
    let now = shared.time.monotonic();
    (!back_off.may_retry(now, marked)).then(|| back_off.wait_from(now))
}

fn texts(tags: &[Tag]) -> Vec<String> {
    tags.iter().map(|tag| tag.as_str().to_owned()).collect()
}

/// What makes a variant.
pub(super) fn inputs(parts: &Parts<'_>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (kind, value) in [("namespace", parts.namespace), ("host", parts.host)] {
        if !value.is_empty() {
            inputs.push(Input::new(kind, "", value, true));
        }
    }
    for (name, value) in pairs(parts.query) {
        inputs.push(Input::new("query", name, value, true));
    }
    for (kind, pairs) in [("header", &parts.headers), ("cookie", &parts.cookies)] {
        inputs.extend(pairs.iter().map(|(name, value)| Input::new(kind, name, value, true)));
    }
    inputs
}

/// The parameters of a query as they stand there.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}
