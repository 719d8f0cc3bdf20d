//! Rendering: the request that is made from a key alone (I1), its way through the router's pattern, and what a handler
//! can say and ask while it renders.
//!
//! - `request`: the render request.
//! - `reroute`: axum's path parameters and `OriginalUri` come out of routing the render request anew.
//! - `recipe`: everything that it takes to render a page without a visitor.
//! - `registry`: the latest recipe of each kind of page, for work that no visitor asked for.
//! - `context`: what a render notes: tags, lifetimes, dynamic use.
//! - `extract`: the extractors [`Render`] and [`DynamicRequest`].

mod context;
mod extract;
mod recipe;
mod registry;
mod request;
mod reroute;

pub use context::RenderReason;
pub(crate) use context::{Marker, Notes, RENDER, RenderContext, Work};
pub use extract::{DynamicRejection, DynamicRequest, Render};
pub(crate) use recipe::{Recipe, Rendered, Renderer, pattern};
pub(crate) use registry::{LayerId, Maker, Registry};
pub(crate) use request::render_request;
pub(crate) use reroute::reroute;
