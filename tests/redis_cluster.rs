//! A store spread over a real cluster of three nodes.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/redis.rs"]
mod servers;

use std::time::Instant;

use axum_isr::store::{Claim, Lease, Note, Put, RedisStore, Store, StoreErrorKind, StoreKey};
use servers::{Cluster, PATIENCE, eventually, item, marks, patient, tag, version};

const LEDGER: &str = "{isr}:ledger";

async fn connect(cluster: &Cluster) -> RedisStore {
    patient().connect_cluster(cluster.urls()).await.unwrap()
}

#[tokio::test]
async fn a_cluster_does_what_a_server_does() {
    let cluster = Cluster::start();
    // One node is enough: it knows the others.
    let store = patient().connect_cluster(&cluster.urls()[..1]).await.unwrap();
    let other = connect(&cluster).await;
    for n in 0..60 {
        if n % 20 == 7 {
            cluster.nodes.iter().for_each(|node| node.run::<()>(&["SCRIPT", "FLUSH"]));
        }
        let newer = item(&format!("key {n}"), version(1, 2, n), &[7; 10_000]);
        let older = item(&format!("key {n}"), version(1, 1, 200), &[8; 10_000]);
        assert_eq!(store.put(&newer).await.unwrap(), Put::Stored);
        assert_eq!(other.put(&older).await.unwrap(), Put::KeptNewer);
        assert_eq!(other.get(&newer.key).await.unwrap(), Some(newer.bytes));
        other.remove(&newer.key, older.version).await.unwrap();
        assert!(store.get(&newer.key).await.unwrap().is_some());
        if n % 2 == 0 {
            other.remove(&newer.key, newer.version).await.unwrap();
            assert_eq!(store.get(&newer.key).await.unwrap(), None);
        }
        let claim = |token, waited| Claim { key: newer.key.clone(), token, ttl: PATIENCE, waited };
        assert_eq!(store.lease(&claim(1, false)).await.unwrap(), Lease::Mine);
        assert_eq!(other.lease(&claim(2, false)).await.unwrap(), Lease::Held);
        store.release(&newer.key, 1, Note::Pass, PATIENCE).await.unwrap();
        assert_eq!(other.lease(&claim(2, true)).await.unwrap(), Lease::Noted(Note::Pass));
    }
    let mut spread = Vec::new();
    for node in &cluster.nodes {
        let keys: Vec<String> = node.run(&["KEYS", "*"]);
        spread.push(keys.len());
        for key in keys {
            assert!(node.run::<i64>(&["PTTL", &key]) > 0, "{key}");
        }
    }
    assert!(spread.iter().all(|keys| *keys > 10) && spread.iter().sum::<usize>() == 30 + 60, "{spread:?}");
}

#[tokio::test]
async fn the_ledger_is_on_one_node_and_hints_reach_everybody() {
    let cluster = Cluster::start();
    let (store, other) = (connect(&cluster).await, connect(&cluster).await);
    tokio::time::timeout(PATIENCE, other.hint()).await.unwrap();
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.hint().await }
    });
    let stamped = store.invalidate(&[tag("a"), tag("b")], 7).await.unwrap();
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    let seen = other.changes(None, 8).await.unwrap();
    assert_eq!((seen.epoch, seen.stamp, seen.marks.len()), (7, stamped.stamp, 2));
    let owner = cluster.owner(LEDGER);
    assert_eq!(cluster.nodes[owner].run::<i64>(&["ZCARD", LEDGER]), 3);
    // Each namespace has a slot of its own.
    for namespace in ["one", "two", "three", "four"] {
        let store = patient().namespace(namespace).connect_cluster(cluster.urls()).await.unwrap();
        store.invalidate(&[tag(namespace)], 1).await.unwrap();
        assert_eq!(marks(&store).await, [tag(namespace)]);
    }
}

/// The slot of the ledger moves to another node, as it does when a cluster grows.
#[tokio::test]
async fn a_ledger_that_has_moved_is_found_again() {
    let cluster = Cluster::start();
    let store = connect(&cluster).await;
    let first = store.invalidate(&[tag("a")], 1).await.unwrap();
    let (from, to) = (cluster.owner(LEDGER), (cluster.owner(LEDGER) + 1) % 3);
    let slot: u16 = cluster.nodes[0].run(&["CLUSTER", "KEYSLOT", LEDGER]);
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.run(&["CLUSTER", "MYID"])).collect();
    let slot = slot.to_string();
    cluster.nodes[to].run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]);
    cluster.nodes[from].run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]);
    let port = cluster.nodes[to].port.to_string();
    cluster.nodes[from].run::<()>(&["MIGRATE", "127.0.0.1", &port, LEDGER, "0", "5000"]);
    for node in [to, from, 3 - from - to] {
        cluster.nodes[node].run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]);
    }
    let second = eventually("it is found", async || store.invalidate(&[tag("b")], 2).await.ok()).await;
    assert!(second.epoch == first.epoch && second.stamp > first.stamp);
    assert_eq!(cluster.nodes[to].run::<i64>(&["ZCARD", LEDGER]), 3);
}

/// What the others have goes on; its own fails, soon; and its own marks are repeated when it is back.
#[tokio::test]
async fn a_node_that_stops_takes_its_own_part_along() {
    let mut cluster = Cluster::start();
    let store = connect(&cluster).await;
    let items: Vec<_> = (0..30).map(|n| item(&format!("key{n}"), version(1, 1, n), b"x")).collect();
    for item in &items {
        store.put(item).await.unwrap();
    }
    store.invalidate(&[tag("a")], 1).await.unwrap();
    let stopped = cluster.owner(LEDGER);
    let owner = |key: &StoreKey| cluster.owner(&format!("{{{}}}", key.digest_hex()));
    let (lost, kept): (Vec<_>, Vec<_>) = items.iter().partition(|item| owner(&item.key) == stopped);
    assert!(!lost.is_empty() && !kept.is_empty());
    cluster.nodes[stopped].save();
    store.invalidate(&[tag("b")], 1).await.unwrap();
    cluster.nodes[stopped].kill();
    for item in &kept {
        eventually("what others have", async || store.get(&item.key).await.ok().flatten()).await;
    }
    let start = Instant::now();
    for item in lost.iter().cycle().take(200) {
        let error = store.get(&item.key).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        let error = store.changes(None, 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    // If each waited for the next try to connect, it would take longer than the first pause, 50 ms.
    let took = start.elapsed();
    assert!(took < PATIENCE, "{took:?} for 400 calls");
    cluster.nodes[stopped].restart();
    cluster.agree();
    let seen = eventually("the ledger is back", async || store.changes(None, 2).await.ok()).await;
    assert_eq!(seen.epoch, 1);
    let seen: Vec<_> = seen.marks.into_iter().map(|(mark, _)| mark).collect();
    assert!(seen.contains(&tag("a")) && seen.contains(&tag("b")), "{seen:?}");
    for item in &items {
        eventually("entries can be written", async || store.put(item).await.ok()).await;
    }
}

#[tokio::test]
async fn a_cluster_that_comes_later_is_found() {
    let mut cluster = Cluster::start();
    for node in &mut cluster.nodes {
        node.kill();
    }
    let store = connect(&cluster).await;
    let error = store.get(&StoreKey::of("a")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    for node in &mut cluster.nodes {
        node.restart();
    }
    cluster.agree();
    eventually("entries", async || store.get(&StoreKey::of("a")).await.ok()).await;
    eventually("the ledger", async || store.changes(None, 1).await.ok()).await;
    // And once more, of a cluster that was known.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for _ in 0..10 {
        assert!(store.get(&StoreKey::of("a")).await.is_err() && store.changes(None, 1).await.is_err());
    }
    for node in &mut cluster.nodes {
        node.restart();
    }
    cluster.agree();
    eventually("entries", async || store.get(&StoreKey::of("a")).await.ok()).await;
    eventually("the ledger", async || store.changes(None, 1).await.ok()).await;
}

/// A server alone, taken for a cluster, and a node, taken for a server alone.
#[tokio::test]
async fn the_wrong_kind_of_server_is_told() {
    let server = servers::Server::start();
    let store = patient().connect_cluster([server.url()]).await.unwrap();
    let denied = store.changes(None, 1).await.unwrap_err();
    assert_eq!(denied.kind(), StoreErrorKind::Denied, "{denied:?}");
    let cluster = Cluster::start();
    let node = &cluster.nodes[(cluster.owner(LEDGER) + 1) % 3];
    let store = servers::connect(node).await;
    let moved = store.changes(None, 1).await.unwrap_err();
    assert_eq!(moved.kind(), StoreErrorKind::Unavailable, "{moved:?}");
}
