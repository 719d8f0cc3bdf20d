//! The service: decides, serves what is there, and delegates the rest.
//!
//! - `call`: the way of a request; everything that needs no waiting.
//! - `lookup`: what the memory tier says, and the background work that follows from it.
//! - `visit`: the way of a visitor who has to wait.
//! - `note`: what `Cache-Status` says in debug mode.
//! - `prerender`: a page for an export.
//! - `renderer`: the inner service as the maker of pages.

mod call;
mod lookup;
mod note;
mod prerender;
mod renderer;
mod visit;

pub use call::IsrService;
