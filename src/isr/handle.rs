//! The handle.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::builder::IsrBuilder;
use super::shared::Shared;
use crate::error::ConfigError;
use crate::layer::IsrLayer;
use crate::policy::route::RouteConfig;
use crate::telemetry::Stats;

/// The handle of a cache: it makes layers, and it is what handlers, jobs and webhooks hold. Cheap to clone.
///
/// It can be axum state, whole or as a part (`FromRef`), and is then an extractor.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use axum_isr::{Isr, RouteConfig};
///
/// # fn main() -> Result<(), axum_isr::ConfigError> {
/// let isr = Isr::builder().build()?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "rendered once a minute" }))
///     .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
/// # drop(app); Ok(())
/// # }
/// ```
///
/// What it keeps ends with the process, unless it has a [store](IsrBuilder::store).
#[derive(Clone)]
pub struct Isr {
    pub(crate) shared: Arc<Shared>,
}

impl Isr {
    /// Starts to configure a handle.
    pub fn builder() -> IsrBuilder {
        IsrBuilder::new()
    }

    pub(super) fn from_shared(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// A layer for the routes it is added to. A request's own [`RouteConfig`] (in its extensions) comes first.
    ///
    /// Routers that share a handle share its pages: two routers with a route of the same pattern and path, for example
    /// of two hosts, need [`RouteConfig::namespace`] (or [`RouteConfig::host`]) to be kept apart. And routers that have
    /// different handlers for one pattern better have a layer each than clones of one, so that
    /// [`regenerate_tag`](Self::regenerate_tag) finds the right one when the connection has gone that it was built for.
    ///
    /// A configuration that cannot work is logged as an error, and these routes are not cached; use
    /// [`try_layer`](Self::try_layer) to get the error.
    #[must_use]
    pub fn layer(&self, config: RouteConfig) -> IsrLayer {
        let checked = self.try_layer(config.clone());
        checked.unwrap_or_else(|problem| {
            tracing::error!(target: "axum_isr", %problem, "these routes are not cached");
            IsrLayer::refusing(self.clone(), config)
        })
    }

    /// As [`layer`](Self::layer), with the error returned.
    ///
    /// # Errors
    ///
    /// When a setting of `config` cannot work; the error says which, what was expected and what came.
    pub fn try_layer(&self, config: RouteConfig) -> Result<IsrLayer, ConfigError> {
        config.check().map_err(Clone::clone)?;
        let (wanted, most) = (config.settings().max_body_bytes, self.shared.memory.largest_body());
        if wanted > most {
            return Err(ConfigError::new(
                "max_body_bytes",
                format!("at most {most}, what a shard of the memory tier can hold"),
                wanted,
            ));
        }
        Ok(IsrLayer::with_config(self.clone(), config))
    }

    /// What the cache has done and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let (seed_pages, seed_bytes) = shared.seeds.as_ref().map_or((0, 0), |seeds| seeds.held());
        Stats {
            seed_pages,
            seed_bytes,
            memory_items: shared.memory.items(),
            memory_bytes: shared.memory.weight(),
            flights: shared.flights.len(),
            computations: shared.computations.len(),
            captured_bytes: shared.capture.used(),
            marks: shared.ledger.view.len(),
            scope: shared.scope.clone(),
            waiting_writes: shared.backing.as_ref().map_or(0, |backing| backing.writes.len()),
            unsent_marks: shared.backing.as_ref().map_or(0, |backing| backing.unsent_marks()),
            store_circuit_open: shared.backing.as_ref().is_some_and(|backing| backing.guard.is_open()),
            ..shared.counters.snapshot(&shared.routes)
        }
    }
}

impl fmt::Debug for Isr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isr").field("mode", &self.shared.mode).finish_non_exhaustive()
    }
}

impl<S> FromRequestParts<S> for Isr
where
    S: Sync,
    Isr: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Isr::from_ref(state))
    }
}
