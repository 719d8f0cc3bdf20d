//! Entries, leases and hints in a real server, and what is refused.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/redis.rs"]
mod servers;

use std::time::Duration;

use axum_isr::store::{Claim, Lease, Note, Put, RedisStore, Store, StoreErrorKind, StoreKey};
use servers::{Server, connect, eventually, item, marks, patient, tag, version};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_entry_is_read_back_as_it_was_stored() {
    let server = Server::start();
    let store = connect(&server).await;
    assert_eq!(store.get(&StoreKey::of("missing")).await.unwrap(), None);
    let large: Vec<u8> = (0..100 * 1024_u32).map(|n| u8::try_from(n * 7 % 256).unwrap()).collect();
    for (key, body) in [("empty", &b""[..]), ("large", &large), ("a:b%7B/c?d", b"\r\n\0\xff")] {
        let item = item(key, version(1, 2, 3), body);
        assert_eq!(store.put(&item).await.unwrap(), Put::Stored, "{key}");
        assert_eq!(store.get(&item.key).await.unwrap(), Some(item.bytes), "{key}");
    }
}

#[tokio::test]
async fn the_newest_version_of_an_epoch_stays() {
    let server = Server::start();
    let store = connect(&server).await;
    // Bytes above 127, and numbers whose text would be ordered otherwise.
    let rising =
        [(0, 9), (0, 10), (0, 200), (1, 0), (9, 255), (10, 0), (127, 0), (128, 0), (255, 0), (256, 0), (1 << 63, 0)];
    for pair in rising.windows(2) {
        let [older, newer] = [pair[0], pair[1]].map(|(stamp, begun)| item("a", version(u64::MAX, stamp, begun), b""));
        assert_eq!(store.put(&older).await.unwrap(), Put::Stored, "{older:?}");
        assert_eq!(store.put(&older).await.unwrap(), Put::Stored, "the same again");
        assert_eq!(store.put(&newer).await.unwrap(), Put::Stored, "{newer:?}");
        assert_eq!(store.put(&older).await.unwrap(), Put::KeptNewer, "{older:?}");
        assert_eq!(store.get(&older.key).await.unwrap(), Some(newer.bytes));
        store.remove(&older.key, version(u64::MAX, u64::MAX, 0)).await.unwrap();
    }
    // Versions of two epochs cannot be compared: the last one stays.
    for epoch in [5, 4, 6] {
        assert_eq!(store.put(&item("a", version(epoch, 10 - epoch, 0), b"")).await.unwrap(), Put::Stored);
    }
}

#[tokio::test]
async fn the_newest_of_many_writers_stays() {
    let server = Server::start();
    let stores = [connect(&server).await, connect(&server).await];
    let mut writers = Vec::new();
    for n in 0..200_u64 {
        let store = stores[usize::from(n % 2 == 0)].clone();
        // Each number once, in no order.
        let item = item("a", version(1, n * 77 % 200, 0), &[7; 10_000]);
        writers.push(tokio::spawn(async move { store.put(&item).await.unwrap() }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let newest = item("a", version(1, 199, 0), &[7; 10_000]);
    assert_eq!(stores[0].get(&newest.key).await.unwrap(), Some(newest.bytes));
    assert_eq!(server.run::<usize>(&["DBSIZE"]), 1, "nothing else is left");
}

#[tokio::test]
async fn bytes_without_a_version_are_replaced() {
    let server = Server::start();
    let store = connect(&server).await;
    let item = item("a", version(1, 2, 3), b"new");
    server.run::<()>(&["SET", &name("isr", "a"), "short"]);
    assert_eq!(store.get(&item.key).await.unwrap().unwrap(), "short");
    assert_eq!(store.put(&item).await.unwrap(), Put::Stored);
    assert_eq!(store.get(&item.key).await.unwrap(), Some(item.bytes));
}

#[tokio::test]
async fn an_entry_is_removed_unless_it_is_newer() {
    let server = Server::start();
    let store = connect(&server).await;
    let item = item("a", version(1, 5, 5), b"");
    store.remove(&item.key, version(1, 9, 9)).await.unwrap();
    for (upto, stays) in
        [((1, 5, 4), true), ((1, 4, 9), true), ((1, 5, 5), false), ((1, 6, 0), false), ((2, 0, 0), false)]
    {
        store.put(&item).await.unwrap();
        store.remove(&item.key, version(upto.0, upto.1, upto.2)).await.unwrap();
        assert_eq!(store.get(&item.key).await.unwrap().is_some(), stays, "{upto:?}");
    }
}

#[tokio::test]
async fn everything_but_the_ledger_has_a_time_to_live() {
    let server = Server::start();
    let store = connect(&server).await;
    let mut item = item("a", version(1, 1, 1), b"");
    store.put(&item).await.unwrap();
    let ttl = |key: &str| server.run::<i64>(&["PTTL", key]);
    assert!((50_000..=60_000).contains(&ttl(&name("isr", "a"))));
    // A later write says how long it is kept from now on.
    item.keep = Duration::from_secs(3_600);
    store.put(&item).await.unwrap();
    assert!((3_000_000..=3_600_000).contains(&ttl(&name("isr", "a"))));
    let claim = claim("b", 1, false);
    store.lease(&claim).await.unwrap();
    store.release(&claim.key, 1, Note::Stored, MINUTE).await.unwrap();
    store.lease(&self::claim("c", 1, false)).await.unwrap();
    store.invalidate(&[tag("t")], 1).await.unwrap();
    let keys: Vec<String> = server.run(&["KEYS", "*"]);
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        assert_eq!(ttl(&key) > 0, key != "{isr}:ledger", "{key}");
    }
    // What is kept for no time at all, and for ever.
    item.keep = Duration::ZERO;
    assert_eq!(store.put(&item).await.unwrap(), Put::Stored);
    eventually("it goes", async || store.get(&item.key).await.unwrap().is_none().then_some(())).await;
    item.keep = Duration::MAX;
    assert_eq!(store.put(&item).await.unwrap(), Put::Stored);
    assert_eq!(store.get(&item.key).await.unwrap(), Some(item.bytes));
}

#[tokio::test]
async fn of_several_claims_one_is_granted() {
    let server = Server::start();
    let stores = [connect(&server).await, connect(&server).await];
    let mut claims = Vec::new();
    for token in 0..50 {
        let store = stores[usize::from(token % 2 == 0)].clone();
        claims.push(tokio::spawn(async move { store.lease(&claim("a", token, false)).await.unwrap() }));
    }
    let mut mine = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Lease::Mine => mine += 1,
            other => assert_eq!(other, Lease::Held),
        }
    }
    assert_eq!(mine, 1);
}

#[tokio::test]
async fn a_lease_is_prolonged_given_back_and_noted() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = StoreKey::of("a");
    for (note, text) in [(Note::Stored, "stored"), (Note::Pass, "pass"), (Note::Failed, "failed")] {
        assert_eq!(store.lease(&claim("a", 1, false)).await.unwrap(), Lease::Mine, "{text}");
        assert_eq!(store.lease(&claim("a", 2, false)).await.unwrap(), Lease::Held);
        assert_eq!(store.lease(&claim("a", 2, true)).await.unwrap(), Lease::Held, "an older note has gone");
        let longer = Claim { ttl: Duration::from_secs(600), ..claim("a", 1, false) };
        assert_eq!(store.lease(&longer).await.unwrap(), Lease::Mine);
        assert!(server.run::<i64>(&["PTTL", &format!("{}{{lease}}", name("isr", "a"))]) > 500_000);
        // Not the holder: nothing happens.
        store.release(&key, 2, note, MINUTE).await.unwrap();
        assert_eq!(store.lease(&claim("a", 2, true)).await.unwrap(), Lease::Held);
        store.release(&key, 1, note, MINUTE).await.unwrap();
        assert_eq!(store.lease(&claim("a", 2, true)).await.unwrap(), Lease::Noted(note));
        assert_eq!(store.lease(&claim("a", 3, true)).await.unwrap(), Lease::Noted(note), "for all who wait");
        // Who has not waited takes the lease, and the note is gone.
        assert_eq!(store.lease(&claim("a", 3, false)).await.unwrap(), Lease::Mine);
        store.release(&key, 3, note, Duration::ZERO).await.unwrap();
    }
    let short = Claim { ttl: Duration::from_millis(1), ..claim("b", 1, false) };
    assert_eq!(store.lease(&short).await.unwrap(), Lease::Mine);
    eventually("the lease ends", async || {
        (store.lease(&claim("b", 2, true)).await.unwrap() == Lease::Mine).then_some(())
    })
    .await;
}

#[tokio::test]
async fn namespaces_see_nothing_of_each_other() {
    let server = Server::start();
    let one = patient().namespace("one").connect(&server.url()).await.unwrap();
    let other = patient().namespace("one-2").connect(&server.url()).await.unwrap();
    let item = item("a", version(1, 1, 1), b"");
    one.put(&item).await.unwrap();
    assert_eq!(other.get(&item.key).await.unwrap(), None);
    one.lease(&claim("a", 1, false)).await.unwrap();
    assert_eq!(other.lease(&claim("a", 2, false)).await.unwrap(), Lease::Mine);
    let stamped = one.invalidate(&[tag("t")], 1).await.unwrap();
    assert_eq!((stamped.epoch, marks(&other).await), (1, vec![]));
    assert_eq!(marks(&one).await, [tag("t")]);
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let server = Server::start();
    let store = connect(&server).await;
    let item = item("a", version(1, 1, 1), b"");
    for _ in 0..2 {
        let forget = || server.run::<()>(&["SCRIPT", "FLUSH"]);
        forget();
        assert_eq!(store.put(&item).await.unwrap(), Put::Stored);
        assert_eq!(store.get(&item.key).await.unwrap(), Some(item.bytes.clone()));
        forget();
        store.remove(&item.key, item.version).await.unwrap();
        assert_eq!(store.get(&item.key).await.unwrap(), None);
        forget();
        assert_eq!(store.lease(&claim("a", 1, false)).await.unwrap(), Lease::Mine);
        forget();
        store.release(&item.key, 1, Note::Pass, MINUTE).await.unwrap();
        assert_eq!(store.lease(&claim("a", 2, true)).await.unwrap(), Lease::Noted(Note::Pass));
        forget();
        store.invalidate(&[tag("t")], 1).await.unwrap();
        forget();
        assert_eq!(marks(&store).await, [tag("t")]);
    }
}

#[tokio::test]
async fn an_invalidation_is_a_hint_for_others() {
    let server = Server::start();
    let (store, other) = (connect(&server).await, connect(&server).await);
    // What rings when the connection is made.
    tokio::time::timeout(servers::PATIENCE, other.hint()).await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(50), other.hint()).await;
    assert!(silent.is_err(), "nothing has happened");
    for n in 0..3 {
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.hint().await }
        });
        store.invalidate(&[tag("t")], 1).await.unwrap();
        tokio::time::timeout(servers::PATIENCE, waiting).await.unwrap_or_else(|_| panic!("hint {n}")).unwrap();
    }
    // A hint that is not waited for any more costs nothing.
    for _ in 0..20 {
        let _ = tokio::time::timeout(Duration::from_millis(1), other.hint()).await;
    }
    assert_eq!(server.connections(), 4);
    drop(store);
    drop(other);
    eventually("all connections end", async || (server.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_the_server_refuses_has_a_kind() {
    let server = Server::start();
    let store = connect(&server).await;
    let item = item("a", version(1, 1, 1), &vec![7; 100_000]);
    server.run::<()>(&["LPUSH", &name("isr", "b"), "x"]);
    let corrupt = store.get(&StoreKey::of("b")).await.unwrap_err();
    assert_eq!(corrupt.kind(), StoreErrorKind::Corrupt, "{corrupt:?}");
    let corrupt = store.remove(&StoreKey::of("b"), item.version).await.unwrap_err();
    assert_eq!(corrupt.kind(), StoreErrorKind::Corrupt, "{corrupt:?}");
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "noeviction"]);
    let full = store.put(&item).await.unwrap_err();
    assert_eq!((full.kind(), full.is_transient()), (StoreErrorKind::Full, true), "{full:?}");
    let full = store.invalidate(&[tag("t")], 1).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Full, "{full:?}");
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    store.put(&item).await.unwrap();
    // A replica takes no writes.
    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let unavailable = store.put(&item).await.unwrap_err();
    assert_eq!(unavailable.kind(), StoreErrorKind::Unavailable, "{unavailable:?}");
    let unavailable = store.invalidate(&[tag("t")], 1).await.unwrap_err();
    assert_eq!(unavailable.kind(), StoreErrorKind::Unavailable, "{unavailable:?}");
}

#[tokio::test]
async fn credentials_are_checked_and_never_shown() {
    let server = Server::with(&["--requirepass", "hunter2"]);
    let right = patient().connect(&format!("redis://:hunter2@127.0.0.1:{}", server.port)).await.unwrap();
    assert_eq!(right.get(&StoreKey::of("a")).await.unwrap(), None);
    let mut said = vec![format!("{right:?} {:?}", patient())];
    for url in [format!("redis://admin:hunter3@127.0.0.1:{}", server.port), server.url()] {
        let store = patient().connect(&url).await.unwrap();
        let denied = store.get(&StoreKey::of("a")).await.unwrap_err();
        assert_eq!(denied.kind(), StoreErrorKind::Denied, "{denied:?}");
        let also = store.changes(None, 1).await.unwrap_err();
        assert_eq!(also.kind(), StoreErrorKind::Denied, "{also:?}");
        said.push(format!("{store:?} {denied} {denied:?} {also:?}"));
    }
    let said = said.concat();
    assert!(said.contains(&server.port.to_string()) && !said.contains("hunter"), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let refused = [
        patient().namespace("").connect("redis://localhost").await,
        patient().namespace("a:b").connect("redis://localhost").await,
        patient().namespace("é").connect("redis://localhost").await,
        patient().max_marks(0).connect("redis://localhost").await,
        patient().response_timeout(Duration::ZERO).connect("redis://localhost").await,
        RedisStore::connect("localhost:6379").await,
        RedisStore::connect("http://localhost").await,
        RedisStore::connect_cluster::<&str>([]).await,
        RedisStore::connect_cluster(["redis://localhost", "hunter2"]).await,
    ];
    for (n, refused) in refused.into_iter().enumerate() {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied, "{n}");
        assert!(format!("{error:?}").contains("expected") && !format!("{error:?}").contains("hunter"), "{error:?}");
    }
}

#[test]
fn without_a_runtime_there_is_an_error() {
    let mut connect = Box::pin(RedisStore::connect("redis://localhost"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = connect.as_mut().poll(&mut context) else { panic!("expected an error") };
    assert_eq!(error.kind(), StoreErrorKind::Internal);
}

fn claim(key: &str, token: u64, waited: bool) -> Claim {
    Claim { key: StoreKey::of(key), token, ttl: MINUTE, waited }
}

/// The entry's name in the server.
fn name(namespace: &str, key: &str) -> String {
    format!("{{{}}}{namespace}:{key}", StoreKey::of(key).digest_hex())
}
