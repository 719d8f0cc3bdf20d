//! What would happen to a request.

use std::time::Duration;

use http::{HeaderMap, Uri, header};
use serde::Serialize;

use super::held::{HeldEntry, Input, describe, inputs, judge, pairs};
use super::millis;
use super::sentence::sentence;
use super::sites::{Candidate, candidates};
use crate::error::ConfigError;
use crate::isr::{Isr, Mode, Shared};
use crate::key::{self, CacheKey};
use crate::ledger::Target;
use crate::memory::Slot;
use crate::policy::freshness::Revalidate;
use crate::policy::reason::{Miss, Reason};
use crate::policy::request::{Bypass, examine};
use crate::policy::route::{Dynamic, RouteConfig, Settings};
use crate::policy::tag::Tag;

/// What would happen to a `GET`, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Path and query, as they were given.
    pub path: String,
    /// A request of this route has come since the handle was built. If none has, nothing else is known: routes are the
    /// router's, and a layer learns of them when somebody comes.
    pub known: bool,
    /// The pattern of the route.
    pub route: Option<String>,
    /// What would become of it, and why.
    #[serde(flatten)]
    pub reason: Option<Reason>,
    /// The same for people, in a sentence or two.
    pub text: String,
    /// The key under which a store keeps the page.
    pub key: Option<String>,
    /// What the request has, and whether it is part of the key.
    pub inputs: Vec<Input>,
    /// What the memory tier has under the key.
    pub entry: Option<HeldEntry>,
    /// When what the page carries was invalidated last.
    pub tags: Vec<TagState>,
    /// What else it was invalidated by: its path, prefixes of it, its route, everything. What was not is not listed.
    pub marks: Vec<MarkState>,
    /// What the route says about how long a page is fresh; `None`: until it is invalidated.
    #[serde(rename = "revalidate_ms", serialize_with = "millis")]
    pub revalidate: Option<Duration>,
    /// What it says about how long it may be served at all.
    #[serde(rename = "expire_ms", serialize_with = "millis")]
    pub expire: Option<Duration>,
    /// What the route does for a handler that asks for its visitor: `auto`, `force-dynamic`, `force-static` or `error`.
    pub mode: Option<&'static str>,
    /// Who would be asked, in order: `memory`, `store`, `seeds`, `render`, or `handler` with the visitor's own request.
    pub then: Vec<&'static str>,
}

/// When pages that carry a tag were invalidated last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TagState {
    /// The tag.
    pub tag: String,
    /// When it was revalidated, in Unix milliseconds, by the ledger; `None`: never, as far as is known.
    #[serde(rename = "revalidated_at_ms")]
    pub revalidated_at: Option<u64>,
    /// When it was expired, as above.
    #[serde(rename = "expired_at_ms")]
    pub expired_at: Option<u64>,
}

/// When something was invalidated last that a page is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MarkState {
    /// `path /a/b`, `prefix /a`, `route /a/{b}` or `everything`.
    pub on: String,
    /// When it was revalidated, in Unix milliseconds, by the ledger.
    #[serde(rename = "revalidated_at_ms")]
    pub revalidated_at: Option<u64>,
    /// When it was expired, as above.
    #[serde(rename = "expired_at_ms")]
    pub expired_at: Option<u64>,
}

impl MarkState {
    /// Those of a page.
    fn all(shared: &Shared, path: &str, pattern: &str) -> Vec<Self> {
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
        let prefixes = std::iter::once("/").chain(ends.map(|end| &path[..end]));
        let mut targets = vec![Target::path(path)];
        targets.extend(prefixes.map(Target::prefix));
        targets.push(Target::route(pattern));
        targets.push(Ok(Target::Everything));
        let mut all: Vec<Self> = Vec::new();
        // What cannot be a target has no mark.
        for target in targets.into_iter().flatten() {
            let [revalidated_at, expired_at] = stamps(shared, &target);
            let state = Self { on: target.to_string(), revalidated_at, expired_at };
            if (revalidated_at.is_some() || expired_at.is_some()) && !all.contains(&state) {
                all.push(state);
            }
        }
        all
    }
}

/// What was invalidated last of all that is listed.
fn newest(tags: &[TagState], marks: &[MarkState]) -> Option<String> {
    let tags = tags.iter().map(|state| (state.revalidated_at.max(state.expired_at), format!("tag {}", state.tag)));
    let marks = marks.iter().map(|state| (state.revalidated_at.max(state.expired_at), state.on.clone()));
    tags.chain(marks).filter(|(at, _)| at.is_some()).max_by_key(|(at, _)| *at).map(|(_, on)| on)
}

impl TagState {
    pub(super) fn of(shared: &Shared, tag: &Tag) -> Self {
        let [revalidated_at, expired_at] = stamps(shared, &Target::Tag(tag.clone()));
        Self { tag: tag.as_str().to_owned(), revalidated_at, expired_at }
    }
}

/// In Unix milliseconds.
fn stamps(shared: &Shared, target: &Target) -> [Option<u64>; 2] {
    shared.ledger.view.stamps(target).map(|stamp| (stamp > 0).then_some(stamp / 1_000))
}

impl Isr {
    /// What would happen to a `GET` of this path and query with these headers, and why, without doing it: nothing is
    /// rendered, counted or asked of a store.
    ///
    /// By what this process has in memory and has been told; whether the store has a page, or knows of a newer
    /// invalidation, is found out by the request itself. Routes are known once a request has come to one of their layers
    /// ([`Explanation::known`]): a route without a layer that takes the path from one with a layer (`/posts/new` beside
    /// `/posts/{slug}`) is not. What a middleware would do to the request is not, but for the configuration that it gave the
    /// last one.
    ///
    /// ```
    /// use axum_isr::Isr;
    /// use http::HeaderMap;
    ///
    /// # fn main() -> Result<(), axum_isr::ConfigError> {
    /// let isr = Isr::builder().build()?;
    /// let why = isr.explain("/posts/hello?page=2", &HeaderMap::new())?;
    /// assert!(!why.known && why.reason.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When `path` does not begin with `/`, or cannot be sent.
    pub fn explain(&self, path: &str, headers: &HeaderMap) -> Result<Explanation, ConfigError> {
        let expected =
            || ConfigError::new("path", "a path with or without a query that begins with /", format_args!("{path:?}"));
        let uri: Uri = path.parse().ok().filter(|_| path.starts_with('/')).ok_or_else(expected)?;
        let all = candidates(&self.shared, &uri, headers);
        let looked = all.iter().map(|candidate| (candidate, look(&self.shared, candidate)));
        // Of several that could be meant, the one whose page is there.
        let mut first = None;
        for (candidate, look) in looked {
            if look.slot.is_some() {
                return Ok(explained(&self.shared, path, &uri, candidate, &look));
            }
            first.get_or_insert((candidate, look));
        }
        Ok(match first {
            Some((candidate, look)) => explained(&self.shared, path, &uri, candidate, &look),
            None => unknown(path),
        })
    }
}

/// What a layer would find.
struct Look {
    reason: Reason,
    key: Option<CacheKey>,
    slot: Option<Slot>,
}

/// As `service::lookup`, without what follows from it.
fn look(shared: &Shared, candidate: &Candidate) -> Look {
    let bypass = |why, key| Look { reason: Reason::Bypass(why), key, slot: None };
    let Candidate { config: Some(config), request, .. } = candidate else {
        return bypass(Bypass::NoConfig, None);
    };
    if config.check().is_err() || config.settings().max_body_bytes > shared.memory.largest_body() {
        return bypass(Bypass::InvalidConfig, None);
    }
    if shared.is_closing() {
        return bypass(Bypass::Shutdown, None);
    }
    if let Err(why) = examine(request, config) {
        return bypass(why, None);
    }
    let key = match key::owned(request, config) {
        Ok(key) => key,
        Err(why) => return bypass(why, None),
    };
    if shared.mode == Mode::Development {
        return Look { reason: Reason::Miss(Miss::Development), key: Some(key), slot: None };
    }
    let slot = shared.memory.peek(key.as_bytes());
    let reason = slot.as_ref().map_or(Reason::Miss(Miss::Cold), |slot| judge(shared, slot, shared.time.wall()));
    Look { reason, key: Some(key), slot }
}

fn unknown(path: &str) -> Explanation {
    Explanation {
        path: path.to_owned(),
        known: false,
        route: None,
        reason: None,
        text:
            "No request for a route of this path has come to a layer of this handle yet: ask for the page once, or the \
               route has no layer."
                .to_owned(),
        key: None,
        inputs: Vec::new(),
        entry: None,
        tags: Vec::new(),
        marks: Vec::new(),
        revalidate: None,
        expire: None,
        mode: None,
        then: Vec::new(),
    }
}

fn explained(shared: &Shared, path: &str, uri: &Uri, candidate: &Candidate, look: &Look) -> Explanation {
    let config = candidate.config.as_ref();
    let settings = config.map(RouteConfig::settings);
    let entry = look.key.as_ref().zip(look.slot.as_ref()).map(|(key, slot)| describe(shared, key, slot));
    let tags = match &look.slot {
        Some(Slot::Page(page)) => page.tags.to_vec(),
        _ => config.and_then(|config| config.check().ok()).unwrap_or_default().to_vec(),
    };
    let fresh = settings.and_then(|settings| match settings.revalidate {
        Revalidate::After(after) => Some(after),
        Revalidate::Never => None,
    });
    let tags: Vec<_> = tags.iter().map(|tag| TagState::of(shared, tag)).collect();
    let marks = MarkState::all(shared, uri.path(), &candidate.pattern);
    Explanation {
        path: path.to_owned(),
        known: true,
        route: Some(candidate.pattern.clone()),
        reason: Some(look.reason),
        text: sentence(look.reason, entry.as_ref(), newest(&tags, &marks).as_deref()),
        key: look.key.as_ref().map(|key| key.storage_key(&shared.scope)),
        inputs: all_inputs(uri, candidate.request.headers(), look.key.as_ref()),
        entry,
        tags,
        marks,
        revalidate: fresh,
        expire: settings.filter(|_| fresh.is_some()).map(Settings::expire),
        mode: settings.map(|settings| match settings.mode {
            Dynamic::Auto => "auto",
            Dynamic::ForceDynamic => "force-dynamic",
            Dynamic::ForceStatic => "force-static",
            Dynamic::Error => "error",
        }),
        then: then(shared, look.reason),
    }
}

/// Who would be asked.
fn then(shared: &Shared, reason: Reason) -> Vec<&'static str> {
    let mut then = vec!["memory"];
    match reason {
        Reason::Bypass(_) => then = vec!["handler"],
        Reason::Pass(_) => then.push("handler"),
        Reason::Miss(Miss::Development) => then = vec!["render"],
        Reason::Miss(_) => {
            then.extend(shared.backing.is_some().then_some("store"));
            then.extend(shared.seeds.is_some().then_some("seeds"));
            then.push("render");
        }
        _ => {}
    }
    then
}

/// What counts, and what the request has besides.
fn all_inputs(uri: &Uri, headers: &HeaderMap, key: Option<&CacheKey>) -> Vec<Input> {
    let parts = key.map(CacheKey::parts).unwrap_or_default();
    let mut all = inputs(&parts);
    let counts = |all: &[Input], kind: &str, name: &str| {
        all.iter().any(|input| input.counts && input.kind == kind && input.name.eq_ignore_ascii_case(name))
    };
    for (name, value) in pairs(uri.query().unwrap_or_default()) {
        if !counts(&all, "query", name) {
            all.push(Input::new("query", name, value, false));
        }
    }
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == header::COOKIE {
            for (name, value) in value.split(';').filter_map(|pair| pair.trim().split_once('=')) {
                if !counts(&all, "cookie", name) {
                    all.push(Input::new("cookie", name, value, false));
                }
            }
        } else if name == header::HOST {
            if parts.host.is_empty() {
                all.push(Input::new("host", "", &value, false));
            }
        } else if !counts(&all, "header", name.as_str()) {
            all.push(Input::new("header", name.as_str(), &value, false));
        }
    }
    all
}
