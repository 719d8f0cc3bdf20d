//! What becomes of renders.

use tracing::{Span, debug, info_span, warn};

use super::events::tell;
use super::routes::Route;
use super::shown::Shown;
use crate::flight::Outcome;
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::memory::Page;
use crate::policy::reason::{Failed, Reason, Regenerated};
use crate::render::Recipe;

/// The span of a render. It is nobody's child, since it may outlive the request that caused it: it follows from it.
pub(crate) fn span(recipe: &Recipe, key: &CacheKey, purpose: &'static str, regenerates: bool) -> Span {
    let (route, path) = (recipe.pattern(), Shown(key.parts().path));
    let span = if regenerates {
        info_span!(target: "axum_isr", parent: None, "regenerate", %route, ?path)
    } else {
        info_span!(target: "axum_isr", parent: None, "render", %route, ?path, purpose)
    };
    span.follows_from(Span::current());
    span
}

pub(crate) fn stored(shared: &Shared, recipe: &Recipe, page: &Page) {
    shared.counters.stored.add();
    debug!(
        target: "axum_isr",
        route = %recipe.pattern(),
        path = ?Shown(page.key.parts().path),
        // Not the readable form, which has what the visitor sent in the query.
        key = %shared.store_key(&page.key).digest_hex(),
        bytes = page.entry.weight(),
        "stored"
    );
}

/// `took`: microseconds from the begin of the render; nothing if the handler was not asked.
pub(crate) fn landed(
    shared: &Shared,
    recipe: &Recipe,
    key: &CacheKey,
    outcome: &Outcome,
    purpose: &'static str,
    took: Option<u64>,
) {
    if let Some(took) = took {
        shared.counters.renders.add();
        recipe.numbers.renders.add();
        recipe.numbers.render_micros.add_all(took);
        recipe.numbers.meter.rendered(took);
    }
    debug!(
        target: "axum_isr",
        route = %recipe.pattern(),
        path = ?Shown(key.parts().path),
        outcome = outcome.as_str(),
        purpose,
        took,
        "landed"
    );
}

pub(crate) fn failed(shared: &Shared, recipe: &Recipe, key: &CacheKey, what: Failed) {
    shared.counters.failures.add();
    let path = Shown(key.parts().path);
    debug!(target: "axum_isr", route = %recipe.pattern(), ?path, what = what.as_str(), "failed");
}

pub(crate) fn regeneration_failed(shared: &Shared, recipe: &Recipe, key: &CacheKey, what: Failed, failures: u32) {
    shared.counters.failures.add();
    warn!(
        target: "axum_isr",
        route = %recipe.pattern(),
        path = ?Shown(key.parts().path),
        what = what.as_str(),
        failures,
        "regeneration failed: the old page is served until it expires"
    );
}

/// What came of a regeneration.
pub(crate) fn regenerated(shared: &Shared, route: &Route, key: &CacheKey, what: Regenerated) {
    route.regenerations.add();
    if matches!(what, Regenerated::Failed(_)) {
        route.regenerations_failed.add();
    }
    route.meter.regenerated(what);
    let path = || Shown(key.parts().path);
    debug!(target: "axum_isr", route = %route.pattern(), path = ?path(), result = what.result(), reason = what.as_str(), "regenerated");
    let detail = match what {
        Regenerated::Failed(failed) => failed.to_string(),
        Regenerated::NotShared(_) => "it may not be shared any more".to_owned(),
        _ => String::new(),
    };
    tell(shared, None, Reason::Regenerated(what), route.pattern(), path(), None, &detail);
}

/// The store had it.
pub(crate) fn found(shared: &Shared, recipe: &Recipe, key: &CacheKey) {
    shared.counters.store_hits.add();
    debug!(target: "axum_isr", route = %recipe.pattern(), path = ?Shown(key.parts().path), "found");
}
