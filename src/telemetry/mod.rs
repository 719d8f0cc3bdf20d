//! What can be seen of the cache: events of `tracing` (target `axum_isr`) and counters.
//!
//! | event | level | fields besides `route` and `path` |
//! |---|---|---|
//! | `HIT` | trace | |
//! | `bypass` | trace | `reason` |
//! | `STALE` | debug | |
//! | `MISS` | debug | `collapsed` |
//! | `pass` | debug | `reason` |
//! | `stored` | debug | `key` (readable, with the scope), `bytes` |
//! | `landed` | debug | `outcome`, `purpose` |
//! | `failed` | debug | `what` |
//! | `regeneration failed` | warn | `what`, `failures` |
//! | `computed` | debug | `data`, `bytes` |
//! | `computation failed` | debug, in the background warn | `data`, `problem`, `failures` |
//! | `found` | debug | of data `data` |
//! | `written` | debug | `key`, `bytes` |
//! | `not written` | debug | `reason` |
//! | `not removed` | the first warn, then debug | of a page that is not shared any more, when there are too many |
//! | `an entry of the store is of no use` | debug, for signatures warn | `key`, `damage` |
//! | `the store failed` | debug | `store`, `kind`, `problem` |
//! | `the store is not asked for a while`, `the store is back` | warn, info | `store` |
//! | `the ledger is another one` | warn | `store`; what was rendered before counts as invalidated |
//! | `invalidated` | info | `verb`, `marks`, `target` (the first, escaped and cut) |
//!
//! `route` is the pattern and may be used as a label. `path` is escaped and cut, and may not.

mod stats;

use std::fmt;

use axum::extract::{MatchedPath, Request};
use tracing::{debug, info, trace, warn};

use crate::entry::Served;
use crate::entry::codec::Damage;
use crate::flight::Outcome;
use crate::isr::Shared;
use crate::key::{self, CacheKey};
use crate::ledger::{Mark, Verb};
use crate::memory::{Page, Value};
use crate::policy::request::Bypass;
use crate::policy::response::Pass;
use crate::render::Recipe;
use crate::store::{StoreErrorKind, StoreKey};

pub(crate) use stats::Counters;
pub use stats::Stats;

/// A path as it may stand in a log: escaped, on one line, not longer than 256 characters.
struct Shown<'p>(&'p str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(256).try_for_each(|c| match c {
            ' '..='~' => write!(f, "{c}"),
            _ => write!(f, "{}", c.escape_unicode()),
        })
    }
}

fn path(request: &Request) -> Shown<'_> {
    Shown(key::original_uri(request).path())
}

fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

#[inline]
pub(crate) fn served(shared: &Shared, request: &Request, served: Served) {
    match served {
        Served::Hit => {
            shared.counters.hits.add();
            trace!(target: "axum_isr", route = %route(request), path = ?path(request), "HIT");
        }
        Served::Stale => {
            shared.counters.stale.add();
            debug!(target: "axum_isr", route = %route(request), path = ?path(request), "STALE");
        }
        Served::Miss { collapsed } => {
            shared.counters.misses.add();
            debug!(target: "axum_isr", route = %route(request), path = ?path(request), collapsed, "MISS");
        }
    }
}

pub(crate) fn bypassed(shared: &Shared, request: &Request, reason: Bypass) {
    shared.counters.bypasses.add();
    trace!(
        target: "axum_isr",
        route = %route(request),
        path = ?path(request),
        reason = reason.as_str(),
        "bypass"
    );
}

pub(crate) fn passed(shared: &Shared, request: &Request, reason: Pass) {
    shared.counters.passes.add();
    debug!(
        target: "axum_isr",
        route = %route(request),
        path = ?path(request),
        reason = reason.as_str(),
        "pass"
    );
}

pub(crate) fn stored(shared: &Shared, recipe: &Recipe, page: &Page) {
    shared.counters.stored.add();
    debug!(
        target: "axum_isr",
        route = %recipe.pattern(),
        path = ?Shown(page.key.parts().path),
        key = %page.key.storage_key(&shared.scope),
        bytes = page.entry.weight(),
        "stored"
    );
}

pub(crate) fn landed(shared: &Shared, recipe: &Recipe, key: &CacheKey, outcome: &Outcome, purpose: &'static str) {
    if !matches!(outcome, Outcome::Found(_)) {
        shared.counters.renders.add();
    }
    debug!(
        target: "axum_isr",
        route = %recipe.pattern(),
        path = ?Shown(key.parts().path),
        outcome = outcome.as_str(),
        purpose,
        "landed"
    );
}

pub(crate) fn failed(shared: &Shared, recipe: &Recipe, key: &CacheKey, what: &'static str) {
    shared.counters.failures.add();
    debug!(target: "axum_isr", route = %recipe.pattern(), path = ?Shown(key.parts().path), what, "failed");
}

pub(crate) fn regeneration_failed(shared: &Shared, recipe: &Recipe, key: &CacheKey, what: &'static str, failures: u32) {
    shared.counters.failures.add();
    warn!(
        target: "axum_isr",
        route = %recipe.pattern(),
        path = ?Shown(key.parts().path),
        what,
        failures,
        "regeneration failed: the old page is served until it expires"
    );
}

pub(crate) fn computed(shared: &Shared, name: &str, value: &Value) {
    if let Some(reason) = value.refused
        && shared.data_warnings.first(name, reason.as_str())
    {
        warn!(target: "axum_isr", data = ?Shown(name), reason = reason.as_str(), "data is not kept, and pages that use it neither");
    }
    debug!(target: "axum_isr", data = ?Shown(name), bytes = value.body.len(), "computed");
}

/// It does not fit into the memory tier.
pub(crate) fn too_large(shared: &Shared, name: &str, value: &Value) {
    if shared.data_warnings.first(name, "too-large") {
        let bytes = value.body.len();
        warn!(target: "axum_isr", data = ?Shown(name), bytes, "data is not kept: it is too large for `memory_bytes`");
    }
}

/// `behind`: nobody waited, so nobody else hears of it.
pub(crate) fn computation_failed(shared: &Shared, name: &str, problem: &str, behind: bool, failures: u32) {
    shared.counters.data_failures.add();
    if behind {
        warn!(
            target: "axum_isr",
            data = ?Shown(name),
            problem = ?Shown(problem),
            failures,
            "computation failed: the old value is used until it expires"
        );
    } else {
        debug!(target: "axum_isr", data = ?Shown(name), problem = ?Shown(problem), failures, "computation failed");
    }
}

/// The store had it.
pub(crate) fn found(shared: &Shared, recipe: &Recipe, key: &CacheKey) {
    shared.counters.store_hits.add();
    debug!(target: "axum_isr", route = %recipe.pattern(), path = ?Shown(key.parts().path), "found");
}

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

/// The same of data.
pub(crate) fn found_data(shared: &Shared, name: &str) {
    shared.counters.store_hits.add();
    debug!(target: "axum_isr", data = ?Shown(name), "found");
}

pub(crate) fn store_missed(shared: &Shared) {
    shared.counters.store_misses.add();
}

pub(crate) fn store_failed(shared: &Shared, kind: StoreErrorKind) {
    // What was not asked did not fail.
    if kind != StoreErrorKind::CircuitOpen {
        shared.counters.store_errors.add();
    }
}

pub(crate) fn store_damaged(shared: &Shared, key: &StoreKey, damage: Damage) {
    shared.counters.store_damaged.add();
    let what = damage.as_str();
    if damage == Damage::Signature && shared.beliefs.first_warning("", what) {
        warn!(target: "axum_isr", ?key, damage = what, "an entry of the store is of no use: not signed by one of our keys");
    } else {
        debug!(target: "axum_isr", ?key, damage = what, "an entry of the store is of no use");
    }
}

pub(crate) fn written(shared: &Shared, key: &StoreKey, bytes: usize) {
    shared.counters.store_writes.add();
    debug!(target: "axum_isr", ?key, bytes, "written");
}

/// The store does not learn of something.
pub(crate) fn unwritten(shared: &Shared, reason: &'static str) {
    shared.counters.store_unwritten.add();
    debug!(target: "axum_isr", reason, "not written");
}

/// It stays in the store until it expires there.
pub(crate) fn not_removed(shared: &Shared, key: &CacheKey) {
    let path = Shown(key.parts().path);
    if shared.beliefs.first_warning("", "not removed") {
        warn!(target: "axum_isr", ?path, "not removed: too many pages that are not shared any more");
    } else {
        debug!(target: "axum_isr", ?path, "not removed");
    }
}

pub(crate) fn invalidated(shared: &Shared, verb: Verb, marks: &[Mark]) {
    shared.counters.invalidations.add();
    let target = marks.first().map(|mark| mark.target.to_string()).unwrap_or_default();
    info!(target: "axum_isr", %verb, marks = marks.len(), target = ?Shown(&target), "invalidated");
}

#[cfg(test)]
mod tests {
    use super::Shown;

    /// CASES 151: one line, no control bytes, bounded.
    #[test]
    fn a_path_in_a_log_is_one_short_line_of_ascii() {
        let shown = format!("{:?}", Shown("/a\n\u{1b}[31mé%0a"));
        assert_eq!(shown, "/a\\u{a}\\u{1b}[31m\\u{e9}%0a");
        assert_eq!(format!("{:?}", Shown(&"x".repeat(10_000))).len(), 256);
    }
}
