//! Servers that stop, freeze and come back.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/redis.rs"]
mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_isr::store::{RedisStore, Store, StoreErrorKind, StoreKey};
use servers::{PATIENCE, Server, connect, eventually, item, marks, patient, tag, version};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[tokio::test]
async fn an_application_starts_while_the_server_is_down() {
    let mut server = Server::start();
    server.kill();
    let store = connect(&server).await;
    let key = StoreKey::of("a");
    let error = store.get(&key).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (StoreErrorKind::Unavailable, true), "{error:?}");
    server.restart();
    eventually("it connects", async || store.get(&key).await.ok()).await;
    eventually("the ledger too", async || store.changes(None, 1).await.ok()).await;
}

/// No call waits for a connection.
#[tokio::test]
async fn calls_fail_at_once_while_the_server_is_stopped() {
    let mut server = Server::start();
    let store = connect(&server).await;
    let item = item("a", version(1, 1, 1), b"");
    store.put(&item).await.unwrap();
    store.invalidate(&[tag("a")], 1).await.unwrap();
    server.kill();
    // The end of a connection may be noticed a little later.
    for _ in 0..2 {
        let _ = (store.get(&item.key).await, store.changes(None, 1).await);
    }
    let start = Instant::now();
    for _ in 0..200 {
        for error in [
            store.get(&item.key).await.unwrap_err(),
            store.put(&item).await.unwrap_err(),
            store.remove(&item.key, item.version).await.unwrap_err(),
            store.invalidate(&[tag("a")], 1).await.unwrap_err(),
            store.changes(None, 1).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        }
    }
    // If each waited for the next try to connect, it would take longer than the first pause, 50 ms.
    let took = start.elapsed();
    assert!(took < PATIENCE, "{took:?} for 1,000 calls");
    server.restart();
    eventually("it is connected again", async || store.get(&item.key).await.ok()).await;
    eventually("the ledger too", async || store.changes(None, 1).await.ok()).await;
}

/// With the default timeouts.
#[tokio::test]
async fn a_frozen_server_costs_a_call_its_timeout() {
    let server = Server::start();
    let store = eventually("a machine that is not too busy", async || {
        let store = RedisStore::connect(&server.url()).await.unwrap();
        (store.changes(None, 1).await.is_ok() && store.get(&StoreKey::of("a")).await.is_ok()).then_some(store)
    })
    .await;
    server.freeze();
    let start = Instant::now();
    for n in 1..=15 {
        let error = store.get(&StoreKey::of("a")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::TimedOut, "{n}: {error:?}");
        let error = store.changes(None, 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::TimedOut, "{n}: {error:?}");
        let took = start.elapsed();
        assert!(took >= n * Duration::from_millis(200), "{took:?} for {n} times two calls");
    }
    // Five times what it should take: far from the 500 ms a call that the client would wait by itself, on any machine.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?} for 30 calls");
    server.thaw();
    eventually("it answers again", async || store.get(&StoreKey::of("a")).await.ok()).await;
    eventually("the ledger too", async || store.changes(None, 1).await.ok()).await;
}

/// A network that was cut says nothing: the old connections stay silent for ever, new ones work.
#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let server = Server::start();
    let relay = Relay::to(server.port).await;
    // What is cut while it is being made is given up soon, too.
    let quick = patient().connect_timeout(Duration::from_secs(2)).response_timeout(Duration::from_millis(100));
    let store = quick.connect(&format!("redis://127.0.0.1:{}", relay.port)).await.unwrap();
    for _ in 0..2 {
        eventually("entries", async || store.get(&StoreKey::of("a")).await.ok()).await;
        eventually("the ledger", async || store.changes(None, 1).await.ok()).await;
        // On a busy machine another connection may be about to take its place.
        eventually("it is silent", async || {
            relay.cut.notify_waiters();
            let error = store.get(&StoreKey::of("a")).await.err();
            error.filter(|error| error.kind() == StoreErrorKind::TimedOut)
        })
        .await;
    }
    eventually("entries", async || store.get(&StoreKey::of("a")).await.ok()).await;
    eventually("the ledger", async || store.changes(None, 1).await.ok()).await;
}

/// Passes everything on, until it is cut: then what there is stays open and says nothing more.
struct Relay {
    port: u16,
    cut: Arc<Notify>,
}

impl Relay {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { port: listener.local_addr().unwrap().port(), cut: Arc::default() };
        let cut = relay.cut.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let cut = cut.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = cut.notified() => std::future::pending().await,
                    }
                });
            }
        });
        relay
    }
}

/// A call that was given up does no harm to others on its connection.
#[tokio::test]
async fn dropped_calls_do_not_disturb_others() {
    let server = Server::start();
    let store = connect(&server).await;
    for n in 0..300_u64 {
        let item = item(&format!("key{n}"), version(1, n, n), &[7; 10_000]);
        let marks = [tag("a")];
        let time = Duration::from_micros(n % 20 * 20);
        let _ = tokio::time::timeout(time, async { tokio::join!(store.put(&item), store.invalidate(&marks, 1)) }).await;
        let read = store.get(&item.key).await.unwrap();
        assert!(read.is_none_or(|bytes| bytes == item.bytes));
    }
    assert_eq!(marks(&store).await, [tag("a")]);
    // What is half-written goes soon.
    for key in server.run::<Vec<String>>(&["KEYS", "*{put}*"]) {
        let ttl: i64 = server.run(&["PTTL", &key]);
        assert!(ttl == -2 || (0..=10_000).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn hints_go_on_after_a_connection_was_lost() {
    let mut server = Server::start();
    let (store, other) = (connect(&server).await, connect(&server).await);
    tokio::time::timeout(PATIENCE, other.hint()).await.unwrap();
    server.restart();
    // One for the new connection: what was said meanwhile was not heard.
    tokio::time::timeout(PATIENCE, other.hint()).await.unwrap();
    eventually("the other side too", async || store.changes(None, 1).await.ok()).await;
    let waiting = tokio::spawn(async move { other.hint().await });
    store.invalidate(&[tag("a")], 1).await.unwrap();
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

/// Clones share the connections, which end with the last of them, and no task stays that connects again.
#[tokio::test]
async fn connections_end_with_the_last_clone() {
    let mut server = Server::start();
    let store = connect(&server).await;
    let clone = store.clone();
    drop(store);
    clone.get(&StoreKey::of("a")).await.unwrap();
    assert_eq!(server.connections(), 2);
    server.kill();
    let _ = clone.get(&StoreKey::of("a")).await;
    drop(clone);
    server.restart();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.connections(), 0);
}
