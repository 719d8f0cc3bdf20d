//! Entries that somebody has damaged, forged or left behind in the store: a miss each, and rendered anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/planted.rs"]
mod planted;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use bytes::Bytes;
use common::{Handler, fetch, header, seen, state};
use http::StatusCode;
use planted::{Planted, checked};
use trouble::{Cluster, SECOND, rested, written};

/// A cluster whose store has `/p/a` and `/p/b`.
async fn filled() -> Cluster {
    let cluster = Cluster::new();
    let node = cluster.healthy();
    for path in ["/p/a", "/p/b"] {
        seen(&node.app, path).await;
    }
    written(&node).await;
    assert_eq!(cluster.memory.entries(), 2);
    cluster
}

fn key_of(cluster: &Cluster, path: &str) -> String {
    cluster.memory.keys().into_iter().find(|key| key.contains(&format!(":{path}:"))).unwrap()
}

fn entry_of(cluster: &Cluster, path: &str) -> Bytes {
    cluster.memory.entry(&key_of(cluster, path)).unwrap()
}

fn plant(cluster: &Cluster, path: &str, bytes: &Bytes) {
    let key = key_of(cluster, path);
    cluster.memory.edit(|at, _| (at == key).then(|| bytes.clone()));
}

/// A cold node renders `/p/a` anew; what was there counts as damaged, and what it rendered is there then.
async fn is_a_miss(cluster: &Cluster, bytes: &Bytes, what: &str) {
    plant(cluster, "/p/a", bytes);
    cluster.source.publish();
    let fresh = format!("a version {}", cluster.source.version());
    let cold = cluster.healthy();
    assert_eq!(seen(&cold.app, "/p/a").await, ("MISS", fresh.clone()), "{what}");
    let stats = cold.isr.stats();
    assert_eq!((stats.store_damaged, stats.store_hits, cold.renders()), (1, 0, 1), "{what}");
    written(&cold).await;
    assert!(entry_of(cluster, "/p/a").ends_with(fresh.as_bytes()), "{what}: written over");
    let next = cluster.healthy();
    assert_eq!(seen(&next.app, "/p/a").await, ("HIT", fresh), "{what}");
}

/// The test's own knife is sharp: what is put together again is a page.
#[tokio::test(start_paused = true)]
async fn an_entry_that_was_taken_apart_and_put_together_is_one() {
    let cluster = filled().await;
    let bytes = entry_of(&cluster, "/p/a");
    assert_eq!(Planted::open(&bytes).seal(), bytes);
    let mut planted = Planted::open(&bytes);
    planted.body = b"forged".to_vec();
    planted.record.header("x-more", b"1");
    plant(&cluster, "/p/a", &planted.seal());
    let cold = cluster.healthy();
    let found = fetch(&cold.app, "/p/a").await;
    assert_eq!((state(&found), header(&found, "x-more"), header(&found, "content-length")), ("HIT", "1", "6"));
}

/// CASES 117: every truncation, and every byte changed.
#[tokio::test(start_paused = true)]
async fn truncated_and_damaged_entries_are_misses() {
    let cluster = filled().await;
    let whole = entry_of(&cluster, "/p/a");
    let node = cluster.healthy();
    for at in 0..whole.len() {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        for bytes in [whole.slice(..at), flipped.into()] {
            plant(&cluster, "/p/a", &bytes);
            let before = node.isr.stats();
            let (_, text) = seen(&node.app, "/p/a").await;
            assert_eq!(text, "a version 0", "{at}");
            let after = node.isr.stats();
            assert_eq!((after.store_damaged - before.store_damaged, after.store_hits), (1, 0), "{at}");
            written(&node).await;
            node.isr.expire_path("/p/a").await.unwrap();
        }
        // A store is never forbidden to have more entries than one.
        assert_eq!(cluster.memory.entries(), 2);
    }
    assert!(!node.isr.stats().store_circuit_open);
}

/// An entry that is of no use, and looks newer than all that will be made for years, does not keep its place.
#[tokio::test(start_paused = true)]
async fn a_damaged_entry_that_looks_newer_is_replaced() {
    let cluster = filled().await;
    let mut bytes = entry_of(&cluster, "/p/a").to_vec();
    bytes[16] ^= 0x40;
    is_a_miss(&cluster, &bytes.into(), "its stamp is changed").await;
    let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
    planted.head[24] ^= 0x40;
    planted.record.status = 0;
    is_a_miss(&cluster, &planted.seal(), "begun in thousands of years").await;
}

/// CASES 117: garbage, and lengths that lie.
#[tokio::test(start_paused = true)]
async fn garbage_is_a_miss() {
    let cluster = filled().await;
    let whole = entry_of(&cluster, "/p/a");
    is_a_miss(&cluster, &Bytes::new(), "nothing").await;
    is_a_miss(&cluster, &Bytes::from_static(b"<html>not an entry"), "text").await;
    is_a_miss(&cluster, &vec![0xFF; 4_096].into(), "ones").await;
    is_a_miss(&cluster, &[&whole[..], b"more"].concat().into(), "more than there is").await;
    for (at, length) in [(32..36, 4), (36..44, 8)] {
        let mut bytes = whole.to_vec();
        bytes[at].copy_from_slice(&[0xFF; 8][..length]);
        is_a_miss(&cluster, &checked(bytes), "a length that lies").await;
    }
    let planted = Planted::open(&whole);
    // An array that says it has four thousand million items.
    is_a_miss(&cluster, &planted.seal_record(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF]), "an array without items").await;
    is_a_miss(&cluster, &planted.seal_record(&vec![0x91; 200_000]), "arrays in arrays").await;
    is_a_miss(&cluster, &planted.seal_record(b""), "no record").await;
}

/// CASES 121: a version that is not known is left alone until there is something better.
#[tokio::test(start_paused = true)]
async fn another_format_is_a_miss_and_is_not_removed() {
    let cluster = filled().await;
    for (at, value) in [(4, 2), (4, 0), (5, 0x80), (6, 1)] {
        let mut newer = entry_of(&cluster, "/p/a").to_vec();
        newer[at] = value;
        let newer = checked(newer);
        plant(&cluster, "/p/a", &newer);
        // Read by a node that renders nothing it may share.
        let failing = cluster.healthy_with(|builder| builder.store_deadlines(SECOND, SECOND, SECOND));
        failing.isr.expire_tag("p:b").await.unwrap();
        assert_eq!(seen(&failing.app, "/p/b").await.0, "MISS");
        written(&failing).await;
        assert_eq!(entry_of(&cluster, "/p/a"), newer);
        is_a_miss(&cluster, &newer, &format!("{at} {value}")).await;
    }
}

/// CASES 117, 129: another page's entry, whole and in order.
#[tokio::test(start_paused = true)]
async fn a_swapped_entry_is_a_miss() {
    let cluster = filled().await;
    let other = entry_of(&cluster, "/p/b");
    is_a_miss(&cluster, &other, "that of another page").await;
}

/// CASES 119: what a handler may not say, an entry may not either.
#[tokio::test(start_paused = true)]
async fn an_entry_with_what_is_never_kept_is_a_miss() {
    let cluster = filled().await;
    let headers: [(&str, &[u8]); 24] = [
        ("set-cookie", b"session=1"),
        ("transfer-encoding", b"chunked"),
        ("content-length", b"3"),
        ("connection", b"close"),
        ("connection", b"x-mine"),
        ("keep-alive", b"timeout=5"),
        ("te", b"trailers"),
        ("trailer", b"x"),
        ("upgrade", b"h2c"),
        ("proxy-authenticate", b"Basic"),
        ("x-vinext-cache", b"HIT"),
        ("cache-control", b"public"),
        ("cache-status", b"x; hit"),
        ("age", b"1"),
        ("date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        ("x-request-id", b"1"),
        ("clear-site-data", b"\"*\""),
        ("vary", b"*"),
        ("vary", b"cookie"),
        ("content-range", b"bytes 0-1/2"),
        ("x-split", b"a\r\nset-cookie: b=1"),
        ("x-nul", b"a\0b"),
        ("x split", b"a"),
        ("", b"a"),
    ];
    for (name, value) in headers {
        let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
        planted.record.header(name, value);
        is_a_miss(&cluster, &planted.seal(), &format!("{name}: {:?}", String::from_utf8_lossy(value))).await;
    }
    for status in [0, 99, 100, 101, 204, 206, 302, 304, 401, 403, 418, 500, 503, 999, 1_000, u16::MAX] {
        let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
        planted.record.status = status;
        is_a_miss(&cluster, &planted.seal(), &status.to_string()).await;
    }
    for tag in ["", &"x".repeat(257)] {
        let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
        planted.record.tags.push(tag.to_owned());
        is_a_miss(&cluster, &planted.seal(), "a tag").await;
    }
    let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
    planted.record.tags = (0..129).map(|n| n.to_string()).collect();
    is_a_miss(&cluster, &planted.seal(), "too many tags").await;
    let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
    planted.record.window = [1, 9, 3];
    is_a_miss(&cluster, &planted.seal(), "stale before it is fresh").await;
    let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
    planted.head[5] |= 1;
    is_a_miss(&cluster, &planted.seal(), "a value").await;
}

/// And one with what is kept is not.
#[tokio::test(start_paused = true)]
async fn what_the_route_keeps_comes_back() {
    let cluster = Cluster::new();
    let app = |statuses: &[StatusCode]| {
        let isr = Isr::builder().clock(cluster.clock.clone()).store(cluster.memory.clone()).deployment_id("one");
        let isr = isr.build().unwrap();
        let page =
            Handler::new(|n, _| async move { (StatusCode::IM_A_TEAPOT, [("vary", "accept-encoding")], n.to_string()) });
        let config = RouteConfig::revalidate(60 * SECOND).statuses(statuses.to_vec());
        (Router::new().route("/t", get(page.clone())).route_layer(isr.layer(config)), isr, page)
    };
    let (first, isr, _) = app(&[StatusCode::IM_A_TEAPOT]);
    assert_eq!(seen(&first, "/t").await.0, "MISS");
    common::until(|| isr.stats().store_writes == 1).await;
    let (other, _, renders) = app(&[StatusCode::IM_A_TEAPOT]);
    let found = fetch(&other, "/t").await;
    assert_eq!((state(&found), found.status(), renders.calls()), ("HIT", StatusCode::IM_A_TEAPOT, 0));
    // The same entry where the route does not keep such a status.
    let (strict, isr, _) = app(&[]);
    assert_eq!(state(&fetch(&strict, "/t").await), "");
    assert_eq!(isr.stats().store_damaged, 1);
}

/// A forged date makes nothing immortal: from the future it is stale, and it expires.
#[tokio::test(start_paused = true)]
async fn an_entry_from_the_future_is_stale() {
    let cluster = filled().await;
    let mut planted = Planted::open(&entry_of(&cluster, "/p/a"));
    planted.record.window[0] += 3_600_000_000;
    plant(&cluster, "/p/a", &planted.seal());
    cluster.source.publish();
    let cold = cluster.healthy();
    let found = fetch(&cold.app, "/p/a").await;
    assert_eq!((state(&found), header(&found, "age")), ("STALE", "0"));
    rested(&cold).await;
    assert_eq!(seen(&cold.app, "/p/a").await, ("HIT", "a version 1".into()));
    // Made by a ledger that is ahead of all others: one look, and then it is unknown.
    let mut planted = Planted::open(&entry_of(&cluster, "/p/b"));
    planted.head[16..24].copy_from_slice(&(u64::MAX >> 1).to_be_bytes());
    plant(&cluster, "/p/b", &planted.seal());
    let began = tokio::time::Instant::now();
    assert_eq!(seen(&cold.app, "/p/b").await, ("MISS", "b version 1".into()));
    assert!(began.elapsed() <= Duration::from_millis(153), "{:?}", began.elapsed());
}

/// CASES 128: an entry says of which deployment it is, also without a signature.
#[tokio::test(start_paused = true)]
async fn an_entry_of_another_deployment_is_a_miss() {
    let cluster = filled().await;
    let mut foreign = Planted::open(&entry_of(&cluster, "/p/a"));
    foreign.record.of.0 = "another".to_owned();
    is_a_miss(&cluster, &foreign.seal(), "of another deployment").await;
}
