#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod files;
mod find;
mod fixture;
mod hostile;
mod size;
mod written;

use super::Manifest;
use super::ignored::Reason;
use crate::key::Parts;

/// The key of a request for this path and nothing else.
fn path(path: &str) -> Parts<'_> {
    Parts { pattern: "/{*rest}", path, inner: path, ..Parts::default() }
}

/// A manifest of these rows.
fn manifest(rows: &str) -> Manifest {
    Manifest::read(format!(r#"{{"buildId":"b","trailingSlash":false,"routes":[{rows}]}}"#).as_bytes()).unwrap()
}

/// The only reason for which a manifest ignores rows.
fn reason(manifest: &Manifest) -> Option<Reason> {
    let mut counts = manifest.ignored().counts();
    let first = counts.next().map(|(reason, _)| reason);
    assert_eq!(counts.next(), None);
    first
}
