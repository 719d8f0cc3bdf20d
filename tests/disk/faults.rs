//! Links, folders and disks that are not as they should be.

use std::fs;
use std::process::Command;

use axum_isr::store::{DiskStore, Item, Store, StoreErrorKind, StoreKey};

use crate::{FRESH, body, file, folder, item, names, until, version};

/// CASES 127.
#[cfg(unix)]
#[tokio::test]
async fn a_link_in_an_entrys_place_is_neither_read_nor_written_through() {
    use std::os::unix::fs::symlink;
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.put(&item("a", version(9, 9), b"elsewhere")).await.unwrap();
    let (path, elsewhere) = (file(dir.path(), "a"), dir.path().join("elsewhere"));
    fs::rename(&path, &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(body(&store, "a").await, None);
    store.remove(&StoreKey::of("a"), version(99, 99)).await.unwrap();
    store.put(&item("a", version(1, 1), b"here")).await.unwrap();
    assert_eq!(body(&store, "a").await.unwrap(), "here");
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

/// CASES 127.
#[cfg(unix)]
#[tokio::test]
async fn a_link_among_files_being_written_is_swept_and_not_followed() {
    use std::os::unix::fs::symlink;
    let dir = folder();
    drop(DiskStore::open(dir.path()).unwrap());
    let (link, elsewhere) = (dir.path().join("tmp/4294967295-0"), dir.path().join("elsewhere"));
    fs::write(&elsewhere, "elsewhere").unwrap();
    symlink(&elsewhere, &link).unwrap();
    let store = DiskStore::open(dir.path()).unwrap();
    store.put(&item("a", version(1, 1), b"here")).await.unwrap();
    if cfg!(target_os = "linux") {
        until(|| fs::symlink_metadata(&link).is_err()).await;
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"elsewhere");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_the_ledgers_place_is_an_error() {
    use std::os::unix::fs::symlink;
    for name in ["ledger", "ledger.lock"] {
        let dir = folder();
        let store = DiskStore::open(dir.path()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "elsewhere").unwrap();
        symlink(&elsewhere, dir.path().join(name)).unwrap();
        assert_eq!(store.invalidate(&[], FRESH).await.unwrap_err().kind(), StoreErrorKind::Denied, "{name}");
        assert_eq!(store.changes(None, FRESH).await.unwrap_err().kind(), StoreErrorKind::Denied, "{name}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"elsewhere");
    }
}

#[test]
fn a_folder_that_cannot_be_is_refused() {
    let dir = folder();
    let path = dir.path().join("file");
    fs::write(&path, "x").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = DiskStore::open(&path).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied);
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().contains("file"), "{source}");
    }
}

/// Users for whom permissions do not count have nothing to see here.
#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder();
    drop(DiskStore::open(dir.path()).unwrap());
    let set = |mode| fs::set_permissions(dir.path().join("tmp"), fs::Permissions::from_mode(mode)).unwrap();
    set(0o500);
    if fs::write(dir.path().join("tmp/x"), "x").is_err() {
        assert_eq!(DiskStore::open(dir.path()).unwrap_err().kind(), StoreErrorKind::Denied);
    }
    set(0o700);
}

#[tokio::test]
async fn something_else_in_a_folders_or_files_place_is_an_error() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    fs::remove_dir(dir.path().join("entries")).unwrap();
    fs::write(dir.path().join("entries"), "x").unwrap();
    fs::create_dir(dir.path().join("ledger")).unwrap();
    let (key, page) = (StoreKey::of("a"), item("a", version(1, 1), b"a"));
    assert_eq!(store.get(&key).await.unwrap_err().kind(), StoreErrorKind::Denied);
    assert_eq!(store.put(&page).await.unwrap_err().kind(), StoreErrorKind::Denied);
    assert_eq!(store.remove(&key, version(1, 1)).await.unwrap_err().kind(), StoreErrorKind::Denied);
    assert_eq!(store.invalidate(&[], 1).await.unwrap_err().kind(), StoreErrorKind::Denied);
    assert_eq!(store.changes(None, 1).await.unwrap_err().kind(), StoreErrorKind::Denied);
    assert_eq!(names(&dir.path().join("tmp")), Vec::<String>::new(), "what was being written is gone");
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_refused() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap().max_bytes(1_000);
    assert_eq!(store.profile().max_bytes, 1_000);
    let fits = Item { bytes: vec![1; 1_000].into(), ..item("a", version(1, 1), b"") };
    let large = Item { bytes: vec![1; 1_001].into(), ..fits.clone() };
    store.put(&fits).await.unwrap();
    assert_eq!(store.put(&large).await.unwrap_err().kind(), StoreErrorKind::TooLarge);
}

#[test]
fn without_a_runtime_calls_are_errors() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let (key, page) = (StoreKey::of("a"), item("a", version(1, 1), b"a"));
    let now = |future: std::pin::Pin<Box<dyn Future<Output = bool> + '_>>| {
        assert!(futures_util::FutureExt::now_or_never(future).unwrap());
    };
    now(Box::pin(async { store.get(&key).await.is_err() }));
    now(Box::pin(async { store.put(&page).await.is_err() }));
    now(Box::pin(async { store.remove(&key, version(1, 1)).await.is_err() }));
    now(Box::pin(async { store.invalidate(&[], 1).await.is_err() }));
    now(Box::pin(async { store.changes(None, 1).await.is_err() }));
}

const LIMITED: &str = "DISK_TEST_LIMITED";

/// CASES 123: a process that may write no more than some bytes to a file is what a disk is that gets full in the middle.
#[cfg(unix)]
#[test]
fn a_write_that_fails_halfway_leaves_nothing() {
    let dir = folder();
    // Blocks of 512 or 1,024 bytes. The signal would end the process before there is an error.
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$0\" --exact faults::the_process_with_a_limit";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap()).env(LIMITED, dir.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(dir.path().join("passed").exists(), "it was not run");
}

#[tokio::test]
async fn the_process_with_a_limit() {
    let Some(dir) = std::env::var_os(LIMITED).map(std::path::PathBuf::from) else { return };
    let store = DiskStore::open(&dir).unwrap();
    store.put(&item("a", version(1, 1), b"small")).await.unwrap();
    let large = item("a", version(2, 1), &vec![1; 100_000]);
    assert_eq!(store.put(&large).await.unwrap_err().kind(), StoreErrorKind::TooLarge);
    assert_eq!(names(&dir.join("tmp")), Vec::<String>::new());
    assert_eq!(body(&store, "a").await.unwrap(), "small");
    // The ledger neither: what was noted before stays, and what fits is noted after.
    let long = |n: u32| vec![axum_isr::store::Mark::from_text(&format!("ep/{n}{}", "x".repeat(1_000)))];
    let epoch = store.invalidate(&long(0), 1).await.unwrap().epoch;
    let noted = futures_util::future::join_all((1..100).map(|n| {
        let (store, mark) = (store.clone(), long(n));
        async move { store.invalidate(&mark, 2).await.is_ok() }
    }))
    .await;
    let noted = 1 + noted.into_iter().filter(|noted| *noted).count();
    assert!((10..40).contains(&noted), "{noted}");
    for store in [store, DiskStore::open(&dir).unwrap()] {
        let changes = store.changes(None, 3).await.unwrap();
        assert_eq!((changes.epoch, changes.marks.len()), (epoch, noted));
    }
    fs::write(dir.join("passed"), "").unwrap();
}
