//! What has been done for each route, and which configurations its requests came with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::{MatchedPath, NestedPath, Request};
use serde::Serialize;

use super::counter::Counter;
use super::meter::RouteMeter;
use crate::key;
use crate::policy::route::RouteConfig;

/// Patterns come from the application's routers. Beyond this many they would be made up, and count together.
const MOST: usize = 1_000;

/// The most configurations that one pattern is known with.
const MOST_SITES: usize = 64;

/// The pattern that the rest counts under.
const OTHERS: &str = "(others)";

/// The numbers of one route. A page keeps them, so that a HIT looks nothing up.
pub(crate) struct Route {
    pattern: Arc<str>,
    pub(super) hits: Counter,
    pub(super) stale: Counter,
    pub(super) misses: Counter,
    pub(super) passes: Counter,
    pub(super) bypasses: Counter,
    pub(super) failed: Counter,
    pub(super) renders: Counter,
    pub(super) render_micros: Counter,
    pub(super) regenerations: Counter,
    pub(super) regenerations_failed: Counter,
    pub(super) age_millis: Counter,
    pub(super) saved_micros: Counter,
    pub(super) meter: RouteMeter,
    sites: Mutex<Vec<Site>>,
}

/// Where requests of a pattern come to a layer.
#[derive(Clone)]
pub(crate) struct Site {
    layer: u64,
    pub(crate) matched: Option<MatchedPath>,
    pub(crate) nested: Option<NestedPath>,
    /// None: nobody has said how to cache it.
    pub(crate) config: Option<RouteConfig>,
}

/// What was done for the requests of one route since the handle was built. Counts are of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RouteStats {
    /// The pattern, as axum's `MatchedPath` has it; empty where none is known, and `(others)` for those beyond 1,000.
    pub route: String,
    /// Requests answered from a fresh page.
    pub hits: u64,
    /// Requests answered from a stale page.
    pub stale: u64,
    /// Requests that waited for a render.
    pub misses: u64,
    /// Visitors' own requests that went to a handler because the page is not shared.
    pub passes: u64,
    /// Requests that went to their handler without a look-up.
    pub bypasses: u64,
    /// Requests that got what came of a render that failed.
    pub failed: u64,
    /// Renders that have ended, well or not.
    pub renders: u64,
    /// How long they took together, in microseconds.
    pub render_micros: u64,
    /// Regenerations that have ended, well or not.
    pub regenerations: u64,
    /// Those of them that failed, so that the old page stayed.
    pub regenerations_failed: u64,
    /// The ages of the pages that were served as HIT or STALE, together, in milliseconds.
    pub age_millis: u64,
    /// How long it would have taken to render what was answered by HITs, in microseconds: of each page, what its own
    /// render took. Pages that came from a store or a seed count nothing.
    pub saved_micros: u64,
}

impl Route {
    fn new(pattern: &str) -> Arc<Self> {
        let pattern: Arc<str> = pattern.into();
        Arc::new(Self {
            meter: RouteMeter::new(&pattern),
            pattern,
            hits: Counter::default(),
            stale: Counter::default(),
            misses: Counter::default(),
            passes: Counter::default(),
            bypasses: Counter::default(),
            failed: Counter::default(),
            renders: Counter::default(),
            render_micros: Counter::default(),
            regenerations: Counter::default(),
            regenerations_failed: Counter::default(),
            age_millis: Counter::default(),
            saved_micros: Counter::default(),
            sites: Mutex::default(),
        })
    }

    pub(crate) fn pattern(&self) -> &Arc<str> {
        &self.pattern
    }

    /// A request has come to a layer with this configuration.
    pub(crate) fn visited(&self, layer: u64, request: &Request, config: Option<&RouteConfig>) {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sites.iter_mut().find(|site| site.layer == layer) {
            // What a middleware puts into the request may be another one each time: the latest counts.
            let is_known = match (&known.config, config) {
                (Some(known), Some(config)) => known.is(config),
                (known, config) => known.is_none() && config.is_none(),
            };
            if !is_known {
                known.config = config.cloned();
            }
            return;
        }
        if sites.len() == MOST_SITES {
            sites.remove(0);
        }
        let (matched, nested) = key::routed(request);
        sites.push(Site { layer, matched, nested, config: config.cloned() });
    }

    pub(crate) fn sites(&self) -> Vec<Site> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stats(&self) -> RouteStats {
        RouteStats {
            route: self.pattern.to_string(),
            hits: self.hits.get(),
            stale: self.stale.get(),
            misses: self.misses.get(),
            passes: self.passes.get(),
            bypasses: self.bypasses.get(),
            failed: self.failed.get(),
            renders: self.renders.get(),
            render_micros: self.render_micros.get(),
            regenerations: self.regenerations.get(),
            regenerations_failed: self.regenerations_failed.get(),
            age_millis: self.age_millis.get(),
            saved_micros: self.saved_micros.get(),
        }
    }
}

/// Routes by pattern.
#[derive(Default)]
pub(crate) struct Routes(RwLock<HashMap<Arc<str>, Arc<Route>>>);

impl Routes {
    /// The numbers of a route.
    pub(crate) fn of(&self, pattern: &str) -> Arc<Route> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(pattern).map(Arc::clone);
        known.unwrap_or_else(|| self.add(pattern))
    }

    #[cold]
    fn add(&self, pattern: &str) -> Arc<Route> {
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let pattern = if routes.len() < MOST || routes.contains_key(pattern) { pattern } else { OTHERS };
        let route = routes.entry(pattern.into()).or_insert_with(|| Route::new(pattern));
        Arc::clone(route)
    }

    /// By pattern.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        let mut all: Vec<_> = self.0.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        all.sort_unstable_by(|a, b| a.pattern.cmp(&b.pattern));
        all
    }

    pub(crate) fn stats(&self) -> Vec<RouteStats> {
        self.all().iter().map(|route| route.stats()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CASES 152: however many patterns there are.
    #[test]
    fn routes_are_bounded() {
        let routes = Routes::default();
        for n in 0..10_000 {
            routes.of(&format!("/{n}")).hits.add();
        }
        let stats = routes.stats();
        assert_eq!(stats.len(), MOST + 1);
        assert_eq!(stats.iter().map(|route| route.hits).sum::<u64>(), 10_000);
        assert!(stats.iter().any(|route| route.route == OTHERS && route.hits == 9_000));
    }
}
