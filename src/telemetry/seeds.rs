//! What becomes of seeds.

use tracing::{debug, warn};

use super::shown::Shown;
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::render::Recipe;

/// A page that was rendered before the process started is used.
pub(crate) fn seeded(shared: &Shared, recipe: &Recipe, key: &CacheKey) {
    shared.counters.seeded.add();
    debug!(target: "axum_isr", route = %recipe.pattern(), path = ?Shown(key.parts().path), "seeded");
}

/// There is a seed, and it is not used.
pub(crate) fn not_seeded(recipe: &Recipe, key: &CacheKey, reason: &'static str) {
    debug!(target: "axum_isr", route = %recipe.pattern(), path = ?Shown(key.parts().path), reason, "not seeded");
}

/// A page of the manifest could not be read. One is told of, since it may be all of them.
pub(crate) fn seed_failed(shared: &Shared, recipe: &Recipe, key: &CacheKey, problem: &str) {
    shared.counters.seed_failures.add();
    let (route, path, problem) = (recipe.pattern(), Shown(key.parts().path), Shown(problem));
    if shared.beliefs.first_warning("", "seed") {
        warn!(target: "axum_isr", %route, ?path, ?problem, "a seed cannot be used, the page is rendered");
    } else {
        debug!(target: "axum_isr", %route, ?path, ?problem, "a seed cannot be used");
    }
}

/// The manifest could not be read. `for_good`: it is not tried again.
pub(crate) fn seeds_failed(shared: &Shared, source: &str, problem: &str, for_good: bool) {
    shared.counters.seed_failures.add();
    let (source, problem) = (Shown(source), Shown(problem));
    let kind = if for_good { "seeds" } else { "seeds, so far" };
    if shared.beliefs.first_warning("", kind) {
        warn!(target: "axum_isr", ?source, ?problem, for_good, "seeds cannot be used, pages are rendered");
    } else {
        debug!(target: "axum_isr", ?source, ?problem, for_good, "seeds cannot be used");
    }
}
