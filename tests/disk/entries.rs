//! Entries come back as they were stored, or not at all.

use std::fs;
use std::time::Duration;

use axum_isr::store::{DiskStore, Item, Put, Store, StoreKey};

use crate::{body, file, folder, item, names, until, version};

#[tokio::test]
async fn a_restart_reads_back_what_was_stored() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    assert_eq!(body(&store, "a").await, None);
    let stored = item("a", version(1, 1), &vec![7; 100_000]);
    assert_eq!(store.put(&stored).await.unwrap(), Put::Stored);
    drop(store);
    let store = DiskStore::open(dir.path()).unwrap();
    assert_eq!(store.get(&StoreKey::of("a")).await.unwrap().unwrap(), stored.bytes);
    assert_eq!(names(&dir.path().join("tmp")), Vec::<String>::new());
}

#[tokio::test]
async fn two_stores_on_one_folder_see_each_other() {
    let dir = folder();
    let (one, two) = (DiskStore::open(dir.path()).unwrap(), DiskStore::open(dir.path()).unwrap());
    one.put(&item("a", version(1, 1), b"one")).await.unwrap();
    assert_eq!(body(&two, "a").await.unwrap(), &b"one"[..]);
    two.put(&item("a", version(1, 2), b"two")).await.unwrap();
    assert_eq!(body(&one, "a").await.unwrap(), &b"two"[..]);
    one.remove(&StoreKey::of("a"), version(1, 2)).await.unwrap();
    assert_eq!(body(&two, "a").await, None);
}

#[tokio::test]
async fn a_put_keeps_what_is_newer() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let put = async |stamp, begun, text: &str| {
        let put = store.put(&item("a", version(stamp, begun), text.as_bytes())).await.unwrap();
        (put, body(&store, "a").await.unwrap())
    };
    assert_eq!(put(5, 5, "first").await, (Put::Stored, "first".into()));
    assert_eq!(put(5, 4, "older").await, (Put::KeptNewer, "first".into()));
    assert_eq!(put(4, 9, "older").await, (Put::KeptNewer, "first".into()));
    assert_eq!(put(5, 5, "equal").await, (Put::Stored, "equal".into()));
    assert_eq!(put(6, 0, "newer").await, (Put::Stored, "newer".into()));
    let mut other = item("a", version(1, 1), b"");
    other.version.epoch = 2;
    assert_eq!(store.put(&other).await.unwrap(), Put::Stored, "epochs are not compared");
    // Nothing is left of what was not stored.
    assert_eq!(names(&dir.path().join("tmp")), Vec::<String>::new());
    let short = Item { bytes: "short".into(), ..item("a", version(1, 1), b"") };
    store.put(&short).await.unwrap();
    assert_eq!(put(0, 0, "without a version").await.0, Put::Stored);
}

#[tokio::test]
async fn the_newest_of_many_that_are_put_at_once_stays() {
    let dir = folder();
    let stores = [(); 4].map(|()| DiskStore::open(dir.path()).unwrap());
    for round in 0..20_u64 {
        let puts = (0..16_usize).map(|n| {
            let store = stores[n % 4].clone();
            // The newest is somewhere in the middle.
            let begun = round * 100 + (n as u64 * 7 + 3) % 16;
            tokio::spawn(async move { store.put(&item("a", version(1, begun), &begun.to_be_bytes())).await.unwrap() })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.unwrap();
        }
        assert_eq!(body(&stores[0], "a").await.unwrap(), &(round * 100 + 15).to_be_bytes()[..]);
    }
}

/// Nobody comes between the comparison and what follows from it, in whatever process.
#[tokio::test]
async fn a_put_waits_for_the_lock_of_its_entry_and_then_compares() {
    let (dir, other) = (folder(), folder());
    let [store, newer] = [&dir, &other].map(|dir| DiskStore::open(dir.path()).unwrap());
    store.put(&item("a", version(1, 1), b"old")).await.unwrap();
    newer.put(&item("a", version(9, 9), b"newer")).await.unwrap();
    let lock = dir.path().join("locks").join(&StoreKey::of("a").digest_hex()[..2]);
    let lock = fs::OpenOptions::new().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put(&item("a", version(5, 5), b"late")).await.unwrap() }
    });
    let temp = dir.path().join("tmp");
    until(|| fs::read_dir(&temp).unwrap().any(|file| file.unwrap().metadata().is_ok_and(|f| f.len() == 68))).await;
    // Time enough to go on without the lock.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!put.is_finished());
    fs::rename(file(other.path(), "a"), file(dir.path(), "a")).unwrap();
    drop(lock);
    assert_eq!(put.await.unwrap(), Put::KeptNewer);
    assert_eq!(body(&store, "a").await.unwrap(), "newer");
}

#[tokio::test]
async fn a_removal_leaves_what_is_newer() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.put(&item("a", version(5, 5), b"a")).await.unwrap();
    store.remove(&StoreKey::of("a"), version(5, 4)).await.unwrap();
    assert!(body(&store, "a").await.is_some());
    store.remove(&StoreKey::of("a"), version(5, 5)).await.unwrap();
    assert_eq!(body(&store, "a").await, None);
    assert!(!file(dir.path(), "a").exists());
    store.remove(&StoreKey::of("a"), version(5, 5)).await.unwrap();
}

#[tokio::test]
async fn an_expired_entry_is_not_there_and_holds_nobody_up() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let over = |key, version| Item { keep: Duration::ZERO, ..item(key, version, b"over") };
    store.put(&over("a", version(9, 9))).await.unwrap();
    assert!(file(dir.path(), "a").exists());
    assert_eq!(body(&store, "a").await, None);
    assert!(!file(dir.path(), "a").exists(), "it takes no room");
    store.put(&over("a", version(9, 9))).await.unwrap();
    assert_eq!(store.put(&item("a", version(1, 1), b"new")).await.unwrap(), Put::Stored);
    assert_eq!(body(&store, "a").await.unwrap(), "new");
    let forever = Item { keep: Duration::MAX, ..item("b", version(1, 1), b"kept") };
    store.put(&forever).await.unwrap();
    assert_eq!(body(&store, "b").await.unwrap(), "kept");
}

/// Every truncation, every bit of what stands in front of the entry, some of the entry.
#[tokio::test]
async fn a_damaged_entry_is_not_there() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.put(&item("a", version(9, 9), &[3; 200])).await.unwrap();
    let path = file(dir.path(), "a");
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 32 + 32 + 200);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(body(&store, "a").await, None, "{length} bytes of it");
        // Removed if it was written by this version, which shows from twelve bytes on.
        assert_eq!(path.exists(), length < 12, "{length} bytes of it");
    }
    for bit in (0..64 * 8).chain((64 * 8..whole.len() * 8).step_by(131)) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(body(&store, "a").await, None, "bit {bit}");
        assert_eq!(path.exists(), bit / 8 < 12, "bit {bit}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    assert_eq!(body(&store, "a").await, None);
    fs::write(&path, &whole).unwrap();
    assert_eq!(body(&store, "a").await.unwrap(), &[3; 200][..]);
    // What looks newer and is damaged is replaced.
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(store.put(&item("a", version(1, 1), b"older")).await.unwrap(), Put::Stored);
    assert_eq!(body(&store, "a").await.unwrap(), "older");
}

/// Nothing is read or allocated of a file that claims to be large.
#[tokio::test]
async fn a_file_larger_than_any_entry_is_not_read() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.put(&item("a", version(1, 1), b"a")).await.unwrap();
    let path = file(dir.path(), "a");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 42).unwrap();
    assert_eq!(body(&store, "a").await, None);
    store.put(&item("a", version(2, 1), b"again")).await.unwrap();
    assert_eq!(body(&store, "a").await.unwrap(), "again");
}

/// CASES 126: texts of keys never become names of files.
#[tokio::test]
async fn a_key_cannot_leave_the_folder() {
    let outer = folder();
    let dir = outer.path().join("store");
    let store = DiskStore::open(&dir).unwrap();
    for key in ["../../../x", "/etc/passwd", "..", "", "a/../../b", "a\0b", "C:\\x", "ledger", "./../ledger.lock"] {
        store.put(&item(key, version(1, 1), key.as_bytes())).await.unwrap();
        assert_eq!(body(&store, key).await.unwrap(), key);
        assert!(file(&dir, key).is_file());
    }
    assert_eq!(names(outer.path()), ["store"]);
    assert_eq!(names(&dir), ["entries", "locks", "tmp"]);
}

/// CASES 127.
#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let outer = folder();
    let dir = outer.path().join("a/b");
    let store = DiskStore::open(&dir).unwrap();
    store.put(&item("a", version(1, 1), b"a")).await.unwrap();
    store.invalidate(&[], 1).await.unwrap();
    let path = file(&dir, "a");
    let folders = path.ancestors().skip(1).take_while(|path| *path != outer.path());
    for path in folders.chain([dir.join("tmp").as_path(), dir.join("locks").as_path()]) {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
    for path in [path.clone(), dir.join("ledger"), dir.join("ledger.lock")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}
