//! Nodes of a cluster on real servers that are stopped, frozen, emptied and restored.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/redis.rs"]
mod servers;

use std::time::Duration;

use axum_isr::store::RedisStore;
use axum_isr::{InvalidateError, Isr};
use common::{fetch, seen};
use nodes::{Node, Source};
use servers::{Cluster, PATIENCE, Server, connect, eventually, patient};

/// What the tests below wait for; what they check does not depend on it.
const COHERENCE: Duration = Duration::from_millis(200);

fn node(store: RedisStore, source: &Source) -> Node {
    let builder = Isr::builder().store(store).deployment_id("one").coherence(COHERENCE);
    // A machine may be busy; whoever waits in vain does so with the server stopped.
    let isr = builder.store_deadlines(PATIENCE, PATIENCE, PATIENCE).build().unwrap();
    Node::of(isr, source)
}

async fn written(node: &Node) {
    eventually("it is written", async || {
        let stats = node.isr.stats();
        (stats.waiting_writes == 0 && stats.store_writes > 0).then_some(())
    })
    .await;
}

/// Until a page is answered with this, in any state.
async fn shows(node: &Node, path: &str, text: &str) {
    eventually(text, async || (seen(&node.app, path).await.1 == text).then_some(())).await;
}

/// R23, R27: one render serves both, and what one of them expires, the other does not serve.
async fn two_nodes_are_one(one: RedisStore, other: RedisStore) {
    let source = Source::default();
    let (one, other) = (node(one, &source), node(other, &source));
    assert_eq!(seen(&one.app, "/p/a").await, ("MISS", "a version 0".into()));
    written(&one).await;
    assert_eq!(seen(&other.app, "/p/a").await, ("HIT", "a version 0".into()));
    assert_eq!((one.renders(), other.renders()), (1, 0));
    source.publish();
    one.isr.expire_tag("p:a").await.unwrap().everywhere().await;
    assert_eq!(seen(&other.app, "/p/a").await, ("MISS", "a version 1".into()));
    assert_eq!(seen(&one.app, "/p/a").await.1, "a version 1");
    // Everything that is written is written before the end.
    for n in 0..20 {
        fetch(&other.app, &format!("/p/{n}")).await;
    }
    let report = other.isr.shutdown(PATIENCE).await;
    assert_eq!((report.unwritten, report.unsent_marks), (0, 0));
    let cold = seen(&one.app, "/p/19").await;
    assert_eq!((cold.0, one.renders() + other.renders()), ("HIT", 22));
}

#[tokio::test]
async fn two_nodes_on_one_server_are_one() {
    let server = Server::start();
    two_nodes_are_one(connect(&server).await, connect(&server).await).await;
    // CASES 130: whatever is there has an end, except for the ledger.
    let keys: Vec<String> = server.run(&["KEYS", "*"]);
    for key in keys.iter().filter(|key| !key.ends_with(":ledger")) {
        let left: i64 = server.run(&["PTTL", key]);
        assert!(left > 0, "{key}: {left}");
    }
    assert!(keys.len() > 20, "{keys:?}");
}

#[tokio::test]
async fn two_nodes_on_a_cluster_are_one() {
    let cluster = Cluster::start();
    let store = async || patient().connect_cluster(cluster.urls()).await.unwrap();
    two_nodes_are_one(store().await, store().await).await;
}

/// CASES 122: what is in memory is served, what is not is rendered, and a mark acts here until the server is back.
async fn goes_on_without(mut server: Server, stop: impl Fn(&mut Server), start: impl Fn(&mut Server)) {
    let source = Source::default();
    let store = || connect(&server);
    let builder = |store| Isr::builder().store(store).deployment_id("one").coherence(COHERENCE);
    // With the deadlines that users have.
    let (one, other) = (Node::of(builder(store().await).build().unwrap(), &source), node(store().await, &source));
    fetch(&one.app, "/p/a").await;
    fetch(&one.app, "/p/b").await;
    written(&one).await;
    // Also on a machine so busy that a deadline passed: both have the page.
    shows(&other, "/p/a", "a version 0").await;
    shows(&other, "/p/b", "b version 0").await;
    stop(&mut server);
    source.publish();
    assert_eq!(seen(&one.app, "/p/b").await.1, "b version 0");
    assert_eq!(seen(&one.app, "/p/new").await, ("MISS", "new version 1".into()));
    let told = one.isr.expire_tag("p:a").await;
    assert!(matches!(told, Err(InvalidateError::LocalOnly { .. })), "{told:?}");
    assert_eq!(seen(&one.app, "/p/a").await, ("MISS", "a version 1".into()));
    assert_eq!(one.isr.stats().unsent_marks, 1);
    start(&mut server);
    eventually("the mark is sent", async || (one.isr.stats().unsent_marks == 0).then_some(())).await;
    shows(&other, "/p/a", "a version 1").await;
    eventually("the store is asked again", async || (!one.isr.stats().store_circuit_open).then_some(())).await;
}

#[tokio::test]
async fn nodes_go_on_while_the_server_is_stopped() {
    goes_on_without(Server::start(), Server::kill, Server::restart).await;
}

#[tokio::test]
async fn nodes_go_on_while_the_server_is_frozen() {
    goes_on_without(Server::start(), |server| server.freeze(), |server| server.thaw()).await;
}

/// What was invalidated just before is lost with the ledger, so everything counts as invalidated.
#[tokio::test]
async fn a_server_that_comes_back_empty_makes_nothing_immortal() {
    let mut server = Server::start();
    let source = Source::default();
    let (one, other) = (node(connect(&server).await, &source), node(connect(&server).await, &source));
    fetch(&one.app, "/p/a").await;
    written(&one).await;
    shows(&other, "/p/a", "a version 0").await;
    source.publish();
    one.isr.expire_tag("p:a").await.unwrap();
    server.restart_empty();
    shows(&other, "/p/a", "a version 1").await;
    shows(&one, "/p/a", "a version 1").await;
}

/// A server whose dump has the old page and not the mark on it, the node that has made the mark, and one that has seen it.
async fn expired_since_its_dump() -> (Server, Source, Node, Node) {
    let server = Server::start();
    let source = Source::default();
    let (one, other) = (node(connect(&server).await, &source), node(connect(&server).await, &source));
    one.isr.expire_tag("another").await.unwrap();
    fetch(&one.app, "/p/a").await;
    written(&one).await;
    shows(&other, "/p/a", "a version 0").await;
    server.save();
    source.publish();
    one.isr.expire_tag("p:a").await.unwrap().everywhere().await;
    assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
    (server, source, one, other)
}

/// An old dump has neither the mark nor the stamp that came after it; whoever made the mark still knows.
#[tokio::test]
async fn what_was_expired_stays_so_when_an_old_dump_comes_back() {
    let (mut server, source, one, other) = expired_since_its_dump().await;
    server.kill();
    server.restart();
    // A third one, that knows only what the dump says, and finds the old page in it.
    let cold = node(connect(&server).await, &source);
    shows(&cold, "/p/a", "a version 1").await;
    tokio::time::sleep(2 * COHERENCE).await;
    for node in [&one, &other, &cold] {
        assert_eq!(seen(&node.app, "/p/a").await.1, "a version 1");
    }
}

/// The same where whoever made the mark has ended, and another process, which has seen it, is the only one that can tell.
async fn an_old_dump_is_noticed(before: &[&str], after: impl AsyncFn(&Node) -> bool) {
    let (mut server, source, one, other) = expired_since_its_dump().await;
    drop(one);
    for tag in before {
        other.isr.expire_tag(tag).await.unwrap();
    }
    server.restart();
    // Up to what has been seen there is no mark in the ledger but those that are repeated and those of now.
    eventually("it is connected again", async || after(&other).await.then_some(())).await;
    let cold = node(connect(&server).await, &source);
    assert_eq!(seen(&cold.app, "/p/a").await.1, "a version 1");
    assert_eq!(seen(&other.app, "/p/a").await.1, "a version 1");
}

/// The store is asked again, and the ledger was since.
async fn has_looked(node: &Node) -> bool {
    let before = node.isr.stats();
    fetch(&node.app, &format!("/p/else-{}", before.misses)).await;
    let is_asked = node.isr.stats().store_misses > before.store_misses;
    if is_asked {
        tokio::time::sleep(3 * COHERENCE).await;
    }
    is_asked
}

/// I5: somebody has seen more of the ledger than the dump has.
#[tokio::test]
async fn an_old_dump_is_noticed_by_who_has_seen_more() {
    an_old_dump_is_noticed(&[], has_looked).await;
}

/// I5: marks of the last minute are repeated on a new connection, and are newer than what was lost.
#[tokio::test]
async fn repeated_marks_do_not_hide_that_an_old_dump_came_back() {
    an_old_dump_is_noticed(&["unrelated"], has_looked).await;
}

/// I5: so is the first mark that is made after it.
#[tokio::test]
async fn a_new_mark_does_not_hide_that_an_old_dump_came_back() {
    for before in [&[][..], &["unrelated"]] {
        an_old_dump_is_noticed(before, async |node| node.isr.expire_tag("new").await.is_ok()).await;
    }
}
