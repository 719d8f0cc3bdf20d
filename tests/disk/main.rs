//! The store in a folder: what it keeps, what it refuses to believe, and what a killed process leaves.
#![allow(clippy::unwrap_used, clippy::panic)]

mod conformance;
mod entries;
mod eviction;
mod faults;
mod kill;
mod ledger;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum_isr::store::{DiskStore, Item, Mark, Store, StoreKey, Version};
use bytes::Bytes;

const DAY: Duration = Duration::from_secs(86_400);

/// An epoch, where it does not matter which.
const FRESH: u64 = 77;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn version(stamp: u64, begun: u64) -> Version {
    Version { epoch: 1, stamp, begun }
}

fn item(key: &str, version: Version, body: &[u8]) -> Item {
    let bytes = [&[0; 8], &version.to_bytes()[..], body].concat();
    Item { key: StoreKey::of(key), version, bytes: bytes.into(), keep: DAY }
}

async fn body(store: &DiskStore, key: &str) -> Option<Bytes> {
    Some(store.get(&StoreKey::of(key)).await.unwrap()?.slice(Version::AT.end..))
}

/// Where an entry is.
fn file(dir: &Path, key: &str) -> PathBuf {
    let hex = StoreKey::of(key).digest_hex();
    dir.join("entries").join(&hex[..2]).join(&hex[2..4]).join(hex)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn marks(texts: &[&str]) -> Vec<Mark> {
    texts.iter().map(|text| Mark::from_text(text)).collect()
}

/// All that the ledger says, as text.
async fn all(store: &DiskStore) -> Vec<(String, u64)> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let changes = store.changes(cursor.as_ref(), FRESH).await.unwrap();
        all.extend(changes.marks.into_iter().map(|(mark, stamp)| (mark.to_text(), stamp)));
        if !changes.more {
            return all;
        }
        cursor = Some(changes.cursor);
    }
}

/// Waits for what happens in the background.
async fn until(condition: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < until, "it has not happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
