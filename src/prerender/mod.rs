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
//! - `export`: a router's pages to a folder.
//! - `source`: where manifest and files are read from.
//! - `dir`, `embedded`: a folder, and the executable itself.
//! - `seeds`: an export, checked as it is read.
//! - `http`: a server, as a source (feature `http`).
//! - `bed`: what a handle has read of its seeds.
//! - `populate`: an export into a store.
//! - `inspect`, `verify`: what is in an export, and whether it is what its manifest says.

mod bed;
mod dir;
mod embedded;
mod export;
#[cfg(feature = "http")]
mod http;
mod inspect;
mod manifest;
mod populate;
mod record;
mod render;
mod seeds;
mod source;
mod verify;

use std::time::Duration;

pub(crate) use bed::{NoSeed, Seed, SeedBed};
pub use export::{Export, ExportError, ExportProgress, Failed, Params, Paths, PathsOf, Rendered, Report, Skipped};
pub use inspect::{IgnoredRow, InspectedPage, Inspection, PageState, inspect};
pub use populate::{NotWritten, Populate, PopulateError, Populated, populate};
pub(crate) use record::{Inputs, Record};
pub use seeds::{Seeds, UnusableExport};
pub(crate) use seeds::{Sown, Unusable};
pub use source::{SeedError, SeedErrorKind, SeedFile, SeedSource};
pub use verify::{BadFile, Verification, verify};

/// The name of the manifest in its folder.
pub(crate) const MANIFEST: &str = "vinext-prerender.json";

/// Whoever built the pages and whoever stamps marks may have clocks that differ by this much.
pub(crate) const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// The folder of the pages' files, beside the manifest.
pub(crate) const PAGES: &str = "prerendered-routes";
