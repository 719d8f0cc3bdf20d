//! Entries: bytes under a key, for a time.

use std::time::Duration;

use super::nodes::{Setup, Works, entry, version};
use crate::store::{Item, Put, StoreErrorKind, StoreKey};

/// `get`: nothing is found under a key that was never put.
pub(super) async fn what_was_never_put_is_not_there(setup: Setup) {
    let nodes = setup.nodes().await;
    nodes.find(&StoreKey::of("never"), None, "an empty store").await;
    nodes.stores(&nodes.item("another", version(1, 1, 1), b"x"), "the first entry").await;
    nodes.find(&StoreKey::of("never"), None, "another key was put").await;
}

/// `get` and `put`: what is got is what was put, through another handle too.
pub(super) async fn entries_come_back_byte_for_byte(setup: Setup) {
    let nodes = setup.nodes().await;
    let room = nodes.profile.max_bytes.saturating_sub(32);
    let every_byte: Vec<u8> = (0..=255).cycle().take(1_024).collect();
    let large: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1] ^ n.to_le_bytes()[0]).collect();
    for (name, body) in [("nothing", &[][..]), ("zero", &[0]), ("every", &every_byte), ("large", &large)] {
        let item = nodes.item(name, version(1, u64::MAX, 0x0d0a), &body[..body.len().min(room)]);
        nodes.stores(&item, "nothing was there").await;
        nodes.find(&item.key, Some(&item.bytes), "what was put").await;
    }
}

/// `put` and `Profile::max_bytes`: more is refused with the kind `TooLarge`, and nothing is stored; as much is taken.
/// Not tried beyond 256 MiB.
pub(super) async fn entries_that_are_too_large_are_refused(setup: Setup) {
    let nodes = setup.nodes().await;
    let most = nodes.profile.max_bytes;
    if most > 256 << 20 {
        return;
    }
    let item = |name, size: usize| nodes.item(name, version(1, 1, 1), &vec![7; size.saturating_sub(32)]);
    let (fits, large) = (item("fits", most), item("large", most + 1));
    match nodes.a.put(&large).await {
        Ok(put) => panic!("{} bytes of at most {most} were taken: {put:?}", large.bytes.len()),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::TooLarge, "{error:?}"),
    }
    nodes.find(&large.key, None, "it was refused").await;
    nodes.stores(&fits, "as large as the store takes").await;
    nodes.find(&fits.key, Some(&fits.bytes), "as large as the store takes").await;
}

/// Keys: whatever their text is, different ones have different entries.
pub(super) async fn keys_stay_apart(setup: Setup) {
    let nodes = setup.nodes().await;
    let long = "k".repeat(1_024);
    let other = format!("{}K", &long[1..]);
    let texts = [
        "a",
        "A",
        "a/",
        "/a",
        "a/b",
        "a:b",
        "a b",
        "a%20b",
        ".",
        "..",
        "../a",
        "../../etc/passwd",
        "a/../b",
        "a\0b",
        "a\0",
        "a\r\nDEL a\r\n",
        "a\nb",
        "{a}",
        "{a}b",
        "*",
        "a*",
        "é",
        "e\u{301}",
        "\u{1F980}",
        "CON",
        "a\\b",
        "-a",
        "~",
        long.as_str(),
        other.as_str(),
        "",
    ];
    let mut items = Vec::new();
    for (body, text) in (0_u64..).zip(texts) {
        let item = nodes.item(text, version(1, 1, 1), &body.to_be_bytes());
        nodes.stores(&item, "no other key is this one").await;
        items.push(item);
    }
    for item in &items {
        nodes.find(&item.key, Some(&item.bytes), "each key has its own entry").await;
    }
    nodes.a.remove(&items[0].key, version(1, 1, 1)).await.works("remove");
    nodes.find(&items[0].key, None, "it was removed").await;
    for item in &items[1..] {
        nodes.find(&item.key, Some(&item.bytes), "another key was removed").await;
    }
}

/// `Item::keep`: then the entry is gone. Not waited for if the shortest time is above two seconds.
pub(super) async fn entries_vanish_after_keep(setup: Setup) {
    let nodes = setup.nodes().await;
    let keep = nodes.profile.min_keep.max(Duration::from_millis(300));
    if keep > Duration::from_secs(2) {
        return;
    }
    let stays = nodes.item("stays", version(1, 1, 1), b"for an hour");
    let short = Item { key: StoreKey::of("short"), keep, ..stays.clone() };
    nodes.stores(&stays, "nothing was there").await;
    nodes.stores(&short, "nothing was there").await;
    for store in nodes.both() {
        nodes
            .until("an entry is gone after `keep`", async || {
                store.get(&short.key).await.works("get").is_none().then_some(())
            })
            .await;
    }
    nodes.find(&stays.key, Some(&stays.bytes), "it was to be kept for an hour").await;
    // What is gone is not newer than anything.
    let older = nodes.item("short", version(1, 0, 0), b"older");
    nodes.stores(&older, "what was newer has vanished").await;
}

/// `put_many`: one result for each item, in their order, each as `put` would say.
pub(super) async fn many_are_put_in_their_order(setup: Setup) {
    let nodes = setup.nodes().await;
    assert!(nodes.a.put_many(&[]).await.is_empty(), "no items, no results");
    let newer = nodes.item("newer", version(1, 9, 9), b"stays");
    nodes.stores(&newer, "nothing was there").await;
    nodes.find(&newer.key, Some(&newer.bytes), "it was put").await;
    let mut items: Vec<_> = (0..20_u8).map(|n| nodes.item(&format!("many{n}"), version(1, 5, 5), &[n])).collect();
    items.insert(7, nodes.item("newer", version(1, 1, 1), b"older"));
    let mut expected = vec![Some(Put::Stored); items.len()];
    expected[7] = Some(Put::KeptNewer);
    if nodes.profile.max_bytes <= 64 << 20 {
        let bytes = entry(version(1, 5, 5), &vec![0; nodes.profile.max_bytes]);
        items.insert(3, Item { key: StoreKey::of("large"), bytes, ..items[0].clone() });
        expected.insert(3, None);
    }
    let results: Vec<_> = nodes.a.put_many(&items).await.into_iter().map(Result::ok).collect();
    assert_eq!(results, expected, "the results of put_many (None is an error)");
    for (item, expected) in items.iter().zip(expected) {
        let there = match expected {
            Some(Put::Stored) => Some(&item.bytes),
            Some(Put::KeptNewer) => Some(&newer.bytes),
            None => None,
        };
        nodes.find(&item.key, there, "after put_many").await;
    }
}
