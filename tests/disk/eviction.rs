//! The bound, and what is removed to keep it.

use std::fs;
use std::time::{Duration, SystemTime};

use axum_isr::store::{DiskStore, Store};

use crate::{body, file, folder, item, until, version};

/// As a file: 936 + 32 for the version + 32 in front.
const PAGE: [u8; 936] = [1; 936];

fn hours_ago(hours: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(hours * 3600)
}

fn set_modified(path: &std::path::Path, at: SystemTime) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[tokio::test]
async fn what_was_not_used_for_longest_goes() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap().max_bytes(10_000);
    let key = |n: u32| format!("page {n}");
    for n in 0..10 {
        store.put(&item(&key(n), version(1, 1), &PAGE)).await.unwrap();
        // Uses are ordered by the time.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((0..10).all(|n| file(dir.path(), &key(n)).exists()), "they fit");
    assert!(body(&store, &key(0)).await.is_some());
    tokio::time::sleep(Duration::from_millis(1)).await;
    store.put(&item(&key(10), version(1, 1), &PAGE)).await.unwrap();
    // A sixteenth more than necessary. The scan of the start may still run, and remove them in its thread.
    let left = || (0..=10).filter(|n| file(dir.path(), &key(*n)).exists()).collect::<Vec<u32>>();
    until(|| left() == [0, 3, 4, 5, 6, 7, 8, 9, 10]).await;
    assert_eq!(body(&store, &key(1)).await, None);
    for n in 0..100 {
        store.put(&item(&key(n), version(1, 1), &PAGE)).await.unwrap();
        until(|| (0..100).filter(|n| file(dir.path(), &key(*n)).exists()).count() <= 10).await;
    }
}

/// What was there before counts, as old as its file is; of whatever format.
#[tokio::test]
async fn a_restart_learns_what_there_is() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let keys = ["old", "older", "new", "oldest, of another format", "second oldest"];
    for key in keys {
        store.put(&item(key, version(1, 1), &PAGE)).await.unwrap();
    }
    drop(store);
    fs::write(file(dir.path(), keys[3]), [0; 1000]).unwrap();
    for (key, hours) in keys.into_iter().zip([3, 4, 1, 9, 8]) {
        set_modified(&file(dir.path(), key), hours_ago(hours));
    }
    let store = DiskStore::open(dir.path()).unwrap().max_bytes(3_500);
    // The first use of whatever.
    assert_eq!(body(&store, "none").await, None);
    until(|| !file(dir.path(), keys[4]).exists()).await;
    let left: Vec<_> = keys.into_iter().filter(|key| file(dir.path(), key).exists()).collect();
    assert_eq!(left, ["old", "older", "new"]);
    store.put(&item("newest", version(1, 1), &PAGE)).await.unwrap();
    assert!(!file(dir.path(), "older").exists());
}

/// So that other processes and the next start know of it; not each time.
#[tokio::test]
async fn a_use_is_noted_in_the_file_once_an_hour() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.put(&item("a", version(1, 1), b"a")).await.unwrap();
    let path = file(dir.path(), "a");
    let modified = || fs::metadata(&path).unwrap().modified().unwrap();
    let recently = hours_ago(0) - Duration::from_secs(1800);
    set_modified(&path, recently);
    assert!(body(&store, "a").await.is_some());
    assert_eq!(modified(), recently);
    set_modified(&path, hours_ago(2));
    assert!(body(&store, "a").await.is_some());
    assert!(modified() > hours_ago(1));
}

#[tokio::test]
async fn what_dead_processes_were_writing_is_swept() {
    let dir = folder();
    drop(DiskStore::open(dir.path()).unwrap());
    let temp = |name: &str| dir.path().join("tmp").join(name);
    // No process has such a number on any system.
    let dead = temp("4294967295-0123456789abcdef");
    let recent = temp(&format!("{}-0123456789abcdef", std::process::id()));
    let old = temp(&format!("{}-1123456789abcdef", std::process::id()));
    let held = temp("4294967295-1123456789abcdef");
    for path in [&dead, &recent, &old, &held] {
        fs::write(path, "x").unwrap();
    }
    set_modified(&old, hours_ago(1));
    set_modified(&held, hours_ago(1));
    let writer = fs::File::open(&held).unwrap();
    writer.lock().unwrap();
    let store = DiskStore::open(dir.path()).unwrap();
    assert_eq!(body(&store, "none").await, None);
    until(|| !old.exists() && (!dead.exists() || !cfg!(target_os = "linux"))).await;
    assert!(recent.exists() && held.exists(), "they may be being written");
}

/// Entries that somebody else removes are no error.
#[tokio::test]
async fn a_folder_that_is_emptied_is_filled_again() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap().max_bytes(3_000);
    for key in ["a", "b"] {
        store.put(&item(key, version(1, 1), &PAGE)).await.unwrap();
    }
    fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(body(&store, "a").await, None);
    for key in ["c", "d", "e"] {
        store.put(&item(key, version(1, 1), &PAGE)).await.unwrap();
    }
    assert!(body(&store, "e").await.is_some());
    let stamped = store.invalidate(&[], 5).await.unwrap();
    assert_eq!(stamped.epoch, 5);
}
