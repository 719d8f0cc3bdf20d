//! Exports to a folder of their own, and what is in it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, clippy::unused_async, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::Request;
use axum::response::Html;
use axum_isr::prerender::{Export, Report};
use axum_isr::{Isr, RouteConfig};
use serde_json::Value;
use tempfile::TempDir;

pub const MINUTE: Duration = Duration::from_secs(60);

pub fn isr() -> Isr {
    Isr::builder().render_timeout(Duration::from_millis(300)).build().unwrap()
}

pub fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// An export into a folder of its own, at a fixed time.
pub async fn export(export: Export) -> (TempDir, Report) {
    let folder = tempfile::tempdir().unwrap();
    let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
    let report = export.built_at(at).to(folder.path().join("site")).await.unwrap();
    (folder, report)
}

/// Every file below a folder, with its bytes.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

pub fn names(folder: &TempDir) -> Vec<String> {
    let names = files(&folder.path().join("site/prerendered-routes"));
    names.into_keys().collect()
}

pub fn page(folder: &TempDir, file: &str) -> String {
    std::fs::read_to_string(folder.path().join("site/prerendered-routes").join(file)).unwrap()
}

pub fn manifest(folder: &TempDir) -> Value {
    serde_json::from_slice(&std::fs::read(folder.path().join("site/vinext-prerender.json")).unwrap()).unwrap()
}

/// The row of a path.
pub fn row(folder: &TempDir, path: &str) -> Value {
    let manifest = manifest(folder);
    let mut rows = manifest["routes"].as_array().unwrap().iter().filter(|row| row["path"] == path);
    let row = rows.next().unwrap_or_else(|| panic!("no row of {path}: {manifest:#}")).clone();
    assert!(rows.next().is_none(), "two rows of {path}: {manifest:#}");
    row
}

pub fn failed(report: &Report) -> Vec<(&str, &str, Option<u16>)> {
    report.failed.iter().map(|row| (&*row.path, row.reason, row.status.map(|status| status.as_u16()))).collect()
}

pub fn skipped(report: &Report) -> Vec<(&str, &str)> {
    report.skipped.iter().map(|row| (&*row.path, row.reason)).collect()
}

pub fn rendered(report: &Report) -> Vec<&str> {
    report.rendered.iter().map(|row| &*row.path).collect()
}

/// The page of every path that asks for none in particular.
pub async fn shown(request: Request) -> Html<String> {
    Html(format!("<p>{}</p>", request.uri()))
}
