//! Renders the pages of a router to a folder.
//!
//! ```text
//! paths, patterns, sitemap ──► targets ──► one level after the other, in parallel
//!                                              │ the layer's own render request
//!                                              ├──► records             (kept)
//!                                              ├──► bodies              (written as they come, under numbers)
//!                                              └──► links of HTML pages (the next level, if wanted)
//!                         sorted, named, with the manifest ──► renamed to the target
//! ```
//!
//! - `options`: what is wanted. `sources`: paths that are not known yet. `target`: one path, and patterns.
//! - `markup`, `sitemap`, `links`, `resolve`: where further paths come from.
//! - `run`, `page`: renders. `folder`, `writer`, `layout`: writes. `report`, `error`, `progress`: tells.

mod error;
mod folder;
mod layout;
mod links;
mod markup;
mod options;
mod page;
mod pages;
#[cfg(feature = "cli")]
mod progress;
mod report;
mod resolve;
mod run;
mod sitemap;
mod sources;
mod target;
mod writer;

pub use error::ExportError;
pub use options::Export;
pub use report::{ExportProgress, Failed, Rendered, Report, Skipped};
pub use sources::{Paths, PathsOf};
pub use target::Params;
