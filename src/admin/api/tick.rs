//! The numbers of this moment.

use serde::Serialize;

use crate::isr::{Isr, Mode};
use crate::telemetry::RouteStats;

/// What the dashboard draws: counts since the process began, and what there is now.
#[derive(Serialize)]
pub(super) struct Tick {
    /// Unix milliseconds.
    at_ms: u64,
    scope: String,
    mode: &'static str,
    memory_bytes: u64,
    memory_limit: u64,
    entries: usize,
    flights: usize,
    marks: usize,
    store: Option<StoreTick>,
    routes: Vec<RouteTick>,
}

#[derive(Serialize)]
struct StoreTick {
    name: &'static str,
    /// It is not asked for a while.
    open: bool,
    waiting_writes: usize,
    unsent_marks: usize,
}

#[derive(Serialize)]
struct RouteTick {
    route: String,
    hits: u64,
    stale: u64,
    misses: u64,
    passes: u64,
    bypasses: u64,
    failures: u64,
    regenerations: u64,
    regenerations_failed: u64,
    /// Of what was answered as HIT or STALE.
    age_ms_sum: u64,
    renders: u64,
    render_ms_sum: f64,
    saved_ms: f64,
}

impl Tick {
    pub(super) fn now(isr: &Isr) -> Self {
        let (shared, stats) = (&isr.shared, isr.stats());
        Self {
            at_ms: shared.time.wall().0 / 1_000,
            mode: match shared.mode {
                Mode::Production => "production",
                Mode::Development => "development",
            },
            memory_bytes: stats.memory_bytes,
            memory_limit: shared.memory.limit(),
            entries: stats.memory_items,
            flights: stats.flights,
            marks: stats.marks,
            store: shared.backing.as_ref().map(|backing| StoreTick {
                name: backing.guard.profile().name,
                open: stats.store_circuit_open,
                waiting_writes: stats.waiting_writes,
                unsent_marks: stats.unsent_marks,
            }),
            scope: stats.scope,
            routes: stats.routes.into_iter().map(RouteTick::from).collect(),
        }
    }
}

impl From<RouteStats> for RouteTick {
    fn from(stats: RouteStats) -> Self {
        Self {
            route: stats.route,
            hits: stats.hits,
            stale: stats.stale,
            misses: stats.misses,
            passes: stats.passes,
            bypasses: stats.bypasses,
            failures: stats.failed,
            regenerations: stats.regenerations,
            regenerations_failed: stats.regenerations_failed,
            age_ms_sum: stats.age_millis,
            renders: stats.renders,
            render_ms_sum: millis(stats.render_micros),
            saved_ms: millis(stats.saved_micros),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart does not show it")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
