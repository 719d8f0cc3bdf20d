//! Versions: which entry stays.

use std::sync::Arc;

use super::nodes::{Setup, Works, version};
use crate::store::{Put, Store, StoreKey, Version};

/// `put`: what is newer stays; what is older or as old is replaced.
pub(super) async fn the_newest_of_an_epoch_stays(setup: Setup) {
    let nodes = setup.nodes().await;
    let at = |stamp, begun| version(7, stamp, begun);
    // The numbers differ in length and in each byte, so that neither texts nor signed numbers order them alike.
    let steps = [
        (at(9, 9), Put::Stored),
        (at(9, 8), Put::KeptNewer),
        (at(8, 300), Put::KeptNewer),
        (at(9, 9), Put::Stored),
        (at(9, 256), Put::Stored),
        (at(9, 255), Put::KeptNewer),
        (at(256, 0), Put::Stored),
        (at(255, u64::MAX), Put::KeptNewer),
        (at(1 << 53, 1), Put::Stored),
        (at((1 << 53) + 1, 0), Put::Stored),
        (at(1 << 53, 2), Put::KeptNewer),
        (at(1 << 63, 0), Put::Stored),
        (at((1 << 63) - 1, 0), Put::KeptNewer),
        (at(u64::MAX, u64::MAX), Put::Stored),
        (at(0, 0), Put::KeptNewer),
    ];
    let mut there = None;
    for (step, (version, expected)) in (0_u64..).zip(steps) {
        let item = nodes.item("k", version, &step.to_be_bytes());
        let before = there.as_ref().and_then(|bytes: &bytes::Bytes| Version::read(bytes));
        let put = nodes.a.put(&item).await.works("put");
        assert_eq!(put, expected, "{version:?} against {before:?}");
        if expected == Put::Stored {
            there = Some(item.bytes);
        }
        nodes.find(&item.key, there.as_ref(), "what stays after a put").await;
    }
}

/// `put`: versions of different epochs cannot be compared, and the one that is put replaces the other.
pub(super) async fn another_epoch_replaces(setup: Setup) {
    let nodes = setup.nodes().await;
    for version in [version(7, 9, 9), version(8, 1, 1), version(6, 0, 0), version(u64::MAX, 5, 5), version(0, 0, 0)] {
        let item = nodes.item("k", version, b"of another epoch");
        nodes.stores(&item, "of another epoch").await;
        nodes.find(&item.key, Some(&item.bytes), "of another epoch").await;
    }
}

/// `Profile::newest_wins`: however puts overlap, the newest is there in the end, and it was stored.
pub(super) async fn the_newest_of_concurrent_puts_stays(setup: Setup) {
    let nodes = setup.nodes().await;
    if !nodes.profile.newest_wins {
        return;
    }
    for round in 0..10 {
        // Another task has the newest in each round: in whatever order they run, it is not always the last.
        let key = format!("k{round}");
        let tasks: Vec<_> = (0..8_u64)
            .map(|task| {
                let store = Arc::clone(nodes.both()[usize::from(task % 2 == 1)]);
                let items: Vec<_> =
                    (0..5).map(|n| nodes.item(&key, version(1, n, (task + round) % 8), b"concurrent")).collect();
                tokio::spawn(put_all(store, items))
            })
            .collect();
        for (task, put) in (0..).zip(tasks) {
            let last = put.await.unwrap();
            assert!((task + round) % 8 != 7 || last == Some(Put::Stored), "the newest was not stored: {last:?}");
        }
        let newest = nodes.item(&key, version(1, 4, 7), b"concurrent");
        nodes.find(&newest.key, Some(&newest.bytes), "the newest of 40 concurrent puts").await;
    }
}

async fn put_all(store: Arc<dyn Store>, items: Vec<crate::store::Item>) -> Option<Put> {
    let mut last = None;
    for item in &items {
        last = Some(store.put(item).await.works("put"));
        tokio::task::yield_now().await;
    }
    last
}

/// `remove`: the entry is gone unless it is newer than `upto`; that there is none is no error.
pub(super) async fn removing_spares_what_is_newer(setup: Setup) {
    let nodes = setup.nodes().await;
    let there = version(7, 300, 5);
    for (upto, goes, why) in [
        (version(7, 300, 5), true, "as new"),
        (version(7, 300, 6), true, "begun earlier"),
        (version(7, 301, 0), true, "of an older stamp"),
        (version(7, 300, 4), false, "begun later"),
        (version(7, 299, 9), false, "of a newer stamp"),
        (version(7, 5, 300), false, "of a newer stamp"),
        (version(8, 0, 0), true, "of another epoch"),
    ] {
        let item = nodes.item(&format!("{upto:?}"), there, b"there");
        nodes.stores(&item, "nothing was there").await;
        nodes.find(&item.key, Some(&item.bytes), "it was put").await;
        nodes.b.remove(&item.key, upto).await.works("remove");
        let expected = Some(&item.bytes).filter(|_| !goes);
        nodes.find(&item.key, expected, &format!("{there:?} removed up to {upto:?}: it is {why}")).await;
        nodes.b.remove(&item.key, version(7, u64::MAX, u64::MAX)).await.works("remove");
        nodes.b.remove(&item.key, version(7, u64::MAX, u64::MAX)).await.works("remove what is not there");
        nodes.find(&item.key, None, "it was removed").await;
        nodes.stores(&nodes.item(&format!("{upto:?}"), version(7, 0, 0), b"older"), "what was newer is gone").await;
    }
}

/// `versions`: one for each key, in their order, as they stand in the entries; none where there is no entry.
pub(super) async fn versions_are_told_in_order(setup: Setup) {
    let nodes = setup.nodes().await;
    assert!(nodes.a.versions(&[]).await.is_empty(), "no keys, no versions");
    let items: Vec<_> =
        (0..20).map(|n| nodes.item(&format!("k{n}"), version(7, 300 + n, u64::MAX - n), b"there")).collect();
    for item in &items {
        nodes.stores(item, "nothing was there").await;
        nodes.find(&item.key, Some(&item.bytes), "it was put").await;
    }
    let mut keys: Vec<_> = items.iter().rev().map(|item| item.key.clone()).collect();
    let mut expected: Vec<_> = items.iter().rev().map(|item| Some(item.version)).collect();
    keys.insert(3, StoreKey::of("never"));
    expected.insert(3, None);
    for store in nodes.both() {
        let told = store.versions(&keys).await.into_iter().map(|told| told.works("versions")).collect::<Vec<_>>();
        assert_eq!(told, expected, "the versions of what was put");
    }
    // Another one replaces it.
    let newer = nodes.item("k0", version(8, 1, 1), b"newer");
    nodes.stores(&newer, "it is of another epoch").await;
    nodes.find(&newer.key, Some(&newer.bytes), "it was put").await;
    let told = nodes.b.versions(std::slice::from_ref(&newer.key)).await.remove(0).works("versions");
    assert_eq!(told, Some(newer.version), "the version of what replaced another");
}
