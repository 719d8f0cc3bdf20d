//! What a record becomes in the store.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Time, WallTime, micros};
use crate::entry::clean;
use crate::entry::codec::{Frame, Kind, Made, PageRecord, SigningKeys};
use crate::key::{self, CacheKey, Parts};
use crate::ledger::{Foreign, Ledger, MAX_MARKS, Mark, Place, Verb, Verdict};
use crate::policy::freshness::{DEFAULT_EXPIRE, Freshness, Window};
use crate::policy::profile::ResponseHeaders;
use crate::policy::response::{self, judge};
use crate::policy::route::RouteConfig;
use crate::policy::tag::Tag;
use crate::prerender::{CLOCKS_DIFFER, Inputs, Record, Sown};
use crate::store::{StoreKey, Version};

/// Everything that is the same for all pages.
pub(super) struct Plan {
    scope: String,
    keys: SigningKeys,
    pub(super) sown: Sown,
    /// Theirs, ours.
    patterns: Vec<(String, String)>,
    ledger: Ledger,
    place: Place,
    now: WallTime,
    /// For how long the store's ledger has a mark.
    remembers: Duration,
}

/// A page that is to be written, without its body.
pub(super) struct Planned {
    pub(super) record: Record,
    key: CacheKey,
    pub(super) store_key: StoreKey,
    pub(super) version: Version,
}

impl Plan {
    pub(super) fn new(
        scope: String,
        keys: SigningKeys,
        sown: Sown,
        patterns: Vec<(String, String)>,
        remembers: Duration,
    ) -> Self {
        let ledger = Ledger::new(MAX_MARKS);
        Self {
            scope,
            keys,
            sown,
            patterns,
            ledger,
            place: Place { epoch: 0, stamp: 0 },
            now: Time::system().wall(),
            remembers,
        }
    }

    /// What the store's ledger says.
    pub(super) fn learn(&mut self, place: Place, marks: &[(Mark, u64)]) {
        self.ledger.learn(place, marks, Verb::Expire);
        let limit = self.sown.built_at.0.saturating_sub(micros(CLOCKS_DIFFER));
        self.place = self.ledger.view.place_upto(limit).unwrap_or(place);
    }

    /// What is to be written, or why nothing is.
    pub(super) fn page(&self, record: Record) -> Result<Planned, &'static str> {
        let pattern = if record.inputs.is_some() { record.route.clone() } else { self.pattern(&record.route) };
        let none = Inputs::default();
        let inputs = record.inputs.as_ref().unwrap_or(&none);
        if record.inputs.is_none() && !may_be_shared(&record, &pattern) {
            return Err("its response may not be shared");
        }
        if self.window(&record).at(self.now) == Freshness::Expired {
            return Err("expired");
        }
        if self.sown.built_at.until(self.now).saturating_add(CLOCKS_DIFFER) >= self.remembers {
            return Err("older than what the store remembers of invalidations");
        }
        let key = key::of_parts(&parts(&pattern, &record.path, inputs)).ok_or("its key is too long")?;
        let view = &self.ledger.view;
        let names = view.names(&record.path, &pattern, record.tags.iter().map(Tag::as_str));
        if !matches!(view.judge_foreign(self.place, &names), Foreign::Known(Verdict::Good, _)) {
            return Err("invalidated since it was built");
        }
        let version = Version { epoch: self.place.epoch, stamp: self.place.stamp, begun: self.sown.built_at.0 };
        let store_key = StoreKey::of(&key.storage_key(&self.scope));
        Ok(Planned { record, key, store_key, version })
    }

    /// The bytes of the entry; `None` if it has more headers than can be read.
    pub(super) fn entry(&self, planned: &Planned, body: Bytes) -> Option<Bytes> {
        let Planned { record, key, .. } = planned;
        let mut headers = record.headers.clone();
        clean(&mut headers, &ResponseHeaders::default());
        let page = PageRecord {
            window: self.window(record),
            tags: record.tags.clone(),
            status: record.status,
            headers,
            for_head: false,
        };
        let made = Made { place: self.place, begun: self.sown.built_at.0 };
        let described = page.write(&self.scope, key.as_bytes())?;
        Frame { kind: Kind::Page, made, record: described, body }.seal(&self.scope, key.as_bytes(), &self.keys)
    }

    fn window(&self, record: &Record) -> Window {
        Window::new(self.sown.built_at, record.revalidate, record.expire.unwrap_or(DEFAULT_EXPIRE))
    }

    /// What axum calls a pattern of another tool.
    fn pattern(&self, theirs: &str) -> String {
        if let Some((_, ours)) = self.patterns.iter().find(|(pattern, _)| pattern == theirs) {
            return ours.clone();
        }
        let segment = |segment: &str| match segment.strip_prefix(':') {
            Some(name) => match name.strip_suffix(['*', '+']) {
                Some(rest) => format!("{{*{rest}}}"),
                None => format!("{{{name}}}"),
            },
            None => segment.to_owned(),
        };
        theirs.split('/').map(segment).collect::<Vec<_>>().join("/")
    }
}

fn parts<'p>(pattern: &'p str, path: &'p str, inputs: &'p Inputs) -> Parts<'p> {
    fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
        pairs.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
    Parts {
        namespace: &inputs.namespace,
        pattern,
        nest: &inputs.nest,
        path,
        inner: if inputs.inner.is_empty() { path } else { &inputs.inner },
        query: &inputs.query,
        host: &inputs.host,
        headers: pairs(&inputs.headers),
        cookies: pairs(&inputs.cookies),
    }
}

/// By the rules of live responses of a route about which nothing is said.
fn may_be_shared(record: &Record, pattern: &str) -> bool {
    let route = RouteConfig::forever();
    matches!(judge(record.status, &record.headers, route.settings(), !pattern.is_empty()), response::Verdict::Keep)
}
