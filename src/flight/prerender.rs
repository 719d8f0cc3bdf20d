//! A page that is rendered to be written to an export: whoever asks for it gets the page, not an answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::Request;
use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;

use super::lead::{Lead, Purpose};
use super::outcome::Outcome;
use crate::clock::WallTime;
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::memory::Page;
use crate::policy::response::Pass;
use crate::policy::route::RouteConfig;
use crate::policy::tag::Tag;

/// What came of rendering a page for an export.
pub(crate) enum Prerendered {
    Page(Box<PrerenderedPage>),
    /// The page is not shared, or not cached: why, in a word.
    Skipped(&'static str),
    /// It could not be made: what happened, in a word, and the status if there was one.
    Failed(&'static str, Option<StatusCode>),
    /// Another request of the same export has the same key.
    Again,
}

/// What the requests of one export have in common.
#[derive(Clone)]
pub(crate) struct Exporting {
    /// The keys that it has asked for, so that it renders each of them once.
    claims: Arc<Mutex<HashSet<CacheKey>>>,
    /// From when on the ages of its pages count.
    built_at: WallTime,
}

impl Exporting {
    pub(crate) fn new(built_at: WallTime) -> Self {
        Self { claims: Arc::default(), built_at }
    }

    /// For a request that is not for a page of the export.
    pub(crate) fn apart(&self) -> Self {
        Self::new(self.built_at)
    }

    /// Whether it is the first.
    fn claim(&self, key: &CacheKey) -> bool {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone())
    }

    /// It may be asked for once more.
    pub(crate) fn release(&self, key: &CacheKey) {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

pub(crate) struct PrerenderedPage {
    pub(crate) page: Arc<Page>,
    pub(crate) tags: Vec<Tag>,
    /// The handler's, and the validator.
    pub(crate) headers: HeaderMap,
    /// The handle that rendered it.
    pub(crate) shared: Arc<Shared>,
}

/// In the extensions of a request that asks for a page to be rendered for an export. No request from outside has it.
///
/// It comes with a [`RouteConfig`], so that a layer looks for it only in requests that carry one.
#[derive(Clone)]
pub(crate) struct Prerendering {
    config: RouteConfig,
    tells: Arc<Mutex<Option<oneshot::Sender<Prerendered>>>>,
    export: Exporting,
    key: Arc<OnceLock<CacheKey>>,
    status: Arc<OnceLock<StatusCode>>,
}

/// What whoever marked a request gets to know.
pub(crate) struct Told {
    pub(crate) what: oneshot::Receiver<Prerendered>,
    /// Once the layer knows it.
    pub(crate) key: Arc<OnceLock<CacheKey>>,
}

impl Prerendering {
    /// Marks a request; the first layer with a configuration tells what came of it.
    pub(crate) fn mark(request: &mut Request, export: &Exporting) -> Told {
        let (tells, what) = oneshot::channel();
        let (config, key) = (RouteConfig::dynamic(), Arc::default());
        let tells = Arc::new(Mutex::new(Some(tells)));
        let marker = Self {
            config: config.clone(),
            tells,
            export: export.clone(),
            key: Arc::clone(&key),
            status: Arc::default(),
        };
        request.extensions_mut().insert(config);
        request.extensions_mut().insert(marker);
        Told { what, key }
    }

    /// Whether this key was not asked for before.
    pub(crate) fn claim(&self, key: &CacheKey) -> bool {
        let _ = self.key.set(key.clone());
        self.export.claim(key)
    }

    /// From when on the age of a page that is sealed now counts: not from now, so that how long it lives does not depend on
    /// how fast an export is.
    pub(super) fn counts_from(&self, now: WallTime) -> WallTime {
        now.min(self.export.built_at)
    }

    /// What the handler's response says.
    pub(super) fn answered(&self, status: StatusCode) {
        let _ = self.status.set(status);
    }

    /// A response that is not kept because of its status: a page that is not there is no page for somebody else.
    fn refused(&self) -> Prerendered {
        match self.status.get() {
            Some(&status) => by_status(status),
            None => Prerendered::Skipped(Pass::Status.as_str()),
        }
    }

    /// The configuration that a middleware has given the request, if it has.
    pub(crate) fn given<'r>(&self, found: &'r RouteConfig) -> Option<&'r RouteConfig> {
        Some(found).filter(|found| !found.is(&self.config))
    }

    pub(crate) fn tell(&self, what: Prerendered) {
        let tells = self.tells.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody listens any more: then it is nobody's.
        let _ = tells.map(|tells| tells.send(what));
    }
}

/// What a status says of a page that no layer has kept.
pub(crate) fn by_status(status: StatusCode) -> Prerendered {
    match status.as_u16() {
        300..=399 => Prerendered::Skipped("redirect"),
        // For those who may see it there is a page.
        401 | 403 | 407 => Prerendered::Skipped("status"),
        400.. => Prerendered::Failed("status", Some(status)),
        _ => Prerendered::Skipped("not-cached"),
    }
}

impl Lead {
    /// Whoever prerenders learns what came of it.
    pub(super) fn tell_exporter(&self, outcome: &Outcome) {
        let Purpose::Prerender(prerendering) = &self.purpose else { return };
        prerendering.tell(match outcome {
            Outcome::Page(page, _) | Outcome::Found(page) => Prerendered::Page(Box::new(PrerenderedPage {
                tags: self.tags(&self.context.notes()),
                headers: page.entry.own_headers(&self.shared.headers),
                page: Arc::clone(page),
                shared: Arc::clone(&self.shared),
            })),
            Outcome::Pass(Pass::Status) => prerendering.refused(),
            Outcome::Pass(reason) => Prerendered::Skipped(reason.as_str()),
            Outcome::Failure(failure) => Prerendered::Failed("status", Some(failure.head.status)),
            Outcome::Broken(head) => Prerendered::Failed(outcome.as_str(), Some(head.status)),
            Outcome::TimedOut | Outcome::Panicked(_) | Outcome::Abandoned => {
                Prerendered::Failed(outcome.as_str(), None)
            }
        });
    }
}
