//! Pages that were rendered before anybody asked for them.
//!
//! ```text
//!  at build time                              when the site runs
//!
//!  Export: router, paths                      a page that neither memory nor the store has
//!     │ the layer's own render request             │
//!     ▼                                            ▼
//!  folder: manifest, one file per page ──────► Seeds: manifest (read once), file ──► memory tier
//!     │                                            │
//!     └──► populate ──► any store                  └──► the store, in the background
//! ```
//!
//! - `record`: one page of a manifest.
//! - `manifest`: all of them, read and written.
//! - `render`: one page, through the layers of its router.
//! - `source`: where manifest and files are read from.
//! - `dir`, `embedded`: a folder, and the executable itself.

mod dir;
mod embedded;
mod manifest;
mod record;
mod render;
mod source;

pub(crate) use record::{Inputs, Record};
pub(crate) use render::render;
pub use source::{SeedError, SeedErrorKind, SeedFile, SeedSource};

/// The name of the manifest in its folder.
pub(crate) const MANIFEST: &str = "vinext-prerender.json";

/// The folder of the pages' files, beside the manifest.
pub(crate) const PAGES: &str = "prerendered-routes";
