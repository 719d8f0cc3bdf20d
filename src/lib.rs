//! Incremental static regeneration for axum.

mod clock;
pub mod config;
mod entry;
mod error;
mod flight;
mod future;
mod isr;
mod key;
mod layer;
mod memory;
mod policy;
mod render;
mod service;
mod telemetry;
pub mod testing;

pub use error::ConfigError;
pub use future::ResponseFuture;
pub use isr::{Isr, IsrBuilder, Mode, ShutdownReport};
pub use layer::IsrLayer;
pub use policy::route::{Dynamic, RouteConfig};
pub use policy::status::CacheStatus;
pub use policy::tag::Tag;
pub use render::{DynamicRequest, Render};
pub use service::IsrService;

/// What is kept, and under which key.
pub mod store {
    pub use crate::key::CacheKey;
}

/// What the cache has done and holds.
pub mod stats {
    pub use crate::telemetry::Stats;
}
