//! The same cache for data: computed once, tagged, used while it is stale.
//!
//! ```text
//!  get_or_init ──► memory tier ──fresh──────────────────────────────► decoded, and noted in the render around it
//!                      │ stale, outside of renders ──► used, and computed in the background
//!                      │ missing; or stale or marked, inside of a render
//!                      ▼
//!                 join the computation of this key, or start it (one spawned task) ──► memory tier ──► all who wait
//! ```
//!
//! - `request`: what is asked for, in the caller's words.
//! - `args`: arguments as bytes.
//! - `get`: what is done about it.
//! - `fetch`: what the store has of a value.
//! - `computing`: the computations that run, by key, and the task of each.

mod args;
mod computing;
mod fetch;
mod get;
mod request;

use std::future::Future;
use std::sync::Arc;

pub(crate) use computing::Computations;
pub use request::Data;

use crate::render::RENDER;

/// Takes the render along into a task of its own: data that `future` uses counts for the page, or the value, that is
/// being made where `carry` is called.
///
/// Tags, lives and marks flow through whatever is awaited in the task of the render: `join!`, streams, bodies. A spawned
/// task is a world of its own. Whatever it uses after the page's body has ended has no effect; so await it.
///
/// ```
/// # async fn page(isr: axum_isr::Isr) -> Result<u64, Box<dyn std::error::Error>> {
/// let sum = tokio::spawn(axum_isr::data::carry(async move {
///     isr.data("sum").tag("numbers").get_or_init(|| async { 1_u64 + 2 }).await
/// }));
/// Ok(sum.await??)
/// # }
/// ```
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let render = RENDER.try_with(Arc::clone).ok();
    async move {
        match render {
            Some(render) => RENDER.scope(render, future).await,
            None => future.await,
        }
    }
}
