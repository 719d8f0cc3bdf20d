//! One store for several deployments, applications, routes and variants: each finds its own entries; and signatures.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use axum_isr::{Isr, IsrBuilder, RouteConfig};
use common::{Handler, request, request_with, seen, send, state, until};
use http::header::ACCEPT;
use nodes::Node;
use trouble::{Cluster, SECOND, rested, written};

const OLD: &[u8] = b"the old key, thirty-two bytes ...";
const NEW: &[u8] = b"the new key, thirty-two bytes ...";

fn deployed(cluster: &Cluster, id: &str) -> Node {
    Node::with(cluster.memory.clone(), &cluster.clock, &cluster.source, |builder| builder.deployment_id(id))
}

/// R32, CASES 128: they overlap, roll forward and back, and never read each other's pages.
#[tokio::test(start_paused = true)]
async fn two_deployments_never_read_each_others_entries() {
    let cluster = Cluster::new();
    let old = deployed(&cluster, "old");
    assert_eq!(seen(&old.app, "/p/a").await, ("MISS", "a version 0".into()));
    written(&old).await;
    cluster.source.publish();
    let new = deployed(&cluster, "new");
    assert_eq!(seen(&new.app, "/p/a").await, ("MISS", "a version 1".into()));
    written(&new).await;
    // The old one goes on writing while the new one is there.
    seen(&old.app, "/p/b").await;
    written(&old).await;
    assert_eq!((new.isr.stats().store_hits, new.isr.stats().store_damaged), (0, 0));
    assert_eq!(seen(&deployed(&cluster, "new").app, "/p/a").await, ("HIT", "a version 1".into()));
    drop(old);
    // Rolled back.
    let back = deployed(&cluster, "old");
    assert_eq!(seen(&back.app, "/p/a").await, ("HIT", "a version 0".into()));
    assert_eq!(seen(&back.app, "/p/b").await.0, "HIT");
    assert_eq!(back.renders(), 0);
    let keys = cluster.memory.keys();
    assert_eq!(keys.iter().filter(|key| key.starts_with("v1:old:/p/")).count(), 2, "{keys:?}");
    assert_eq!(keys.iter().filter(|key| key.starts_with("v1:new:/p/")).count(), 1, "{keys:?}");
    // What one of them is not to serve any more, the other one may not either.
    new.isr.expire_path("/p/a").await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&back.app, "/p/a").await.0, "MISS");
    assert_eq!(seen(&new.app, "/p/a").await.0, "MISS");
}

/// R30, R33: without an id the executable is the scope, on all nodes that run it.
#[tokio::test(start_paused = true)]
async fn without_an_id_the_executable_is_the_scope() {
    let cluster = Cluster::new();
    // An id of the environment would come first.
    if std::env::var_os("ISR_DEPLOYMENT_ID").is_some() || std::env::var_os("ISR_BUILD_ID").is_some() {
        return;
    }
    let node = || Node::with(cluster.memory.clone(), &cluster.clock, &cluster.source, |builder| builder);
    let (one, other) = (node(), node());
    let scope = one.isr.stats().scope;
    assert!(scope.starts_with("exe-"), "{scope}");
    assert_eq!(other.isr.stats().scope, scope);
    seen(&one.app, "/p/a").await;
    written(&one).await;
    assert_eq!(seen(&other.app, "/p/a").await.0, "HIT");
    assert!(cluster.memory.keys()[0].starts_with(&format!("v1:{scope}:/p/a:")));
    let unscoped = deployed(&cluster, "");
    assert_eq!((unscoped.isr.stats().scope, seen(&unscoped.app, "/p/a").await.0), (String::new(), "MISS"));
}

/// An app of one route, with a handler of its own.
fn app(cluster: &Cluster, config: RouteConfig, text: &'static str) -> (Router, Isr, Handler) {
    let builder = Isr::builder().clock(cluster.clock.clone()).store(cluster.memory.clone());
    let isr = builder.deployment_id("one").build().unwrap();
    let page = Handler::new(move |_, request: Request| async move {
        let accept = request.headers().get(ACCEPT).map_or("", |accept| accept.to_str().unwrap()).to_owned();
        let host = request.headers().get("host").map_or("", |host| host.to_str().unwrap()).to_owned();
        format!("{text} {} {accept} {host}", request.uri().query().unwrap_or_default())
    });
    (Router::new().route("/same", get(page.clone())).route_layer(isr.layer(config)), isr, page)
}

async fn stored(isr: &Isr) {
    until(|| isr.stats().flights == 0 && isr.stats().store_writes + isr.stats().store_unwritten >= isr.stats().stored)
        .await;
}

/// CASES 129: two applications, or two routers of one, with the same path.
#[tokio::test(start_paused = true)]
async fn two_applications_with_one_path_do_not_collide() {
    let cluster = Cluster::new();
    let config = |name: &str| RouteConfig::revalidate(60 * SECOND).namespace(name);
    let (shop, shop_isr, _) = app(&cluster, config("shop"), "shop");
    let (blog, blog_isr, _) = app(&cluster, config("blog"), "blog");
    assert_eq!(seen(&shop, "/same").await, ("MISS", "shop   ".into()));
    stored(&shop_isr).await;
    assert_eq!(seen(&blog, "/same").await, ("MISS", "blog   ".into()));
    stored(&blog_isr).await;
    assert_eq!(cluster.memory.entries(), 2);
    for (name, text) in [("shop", "shop   "), ("blog", "blog   ")] {
        let (cold, _, page) = app(&cluster, config(name), "never");
        assert_eq!((seen(&cold, "/same").await, page.calls()), (("HIT", text.into()), 0));
    }
    // And two stores are two worlds, invalidations included.
    let elsewhere = Cluster::new();
    let (other, other_isr, _) = app(&elsewhere, config("shop"), "other");
    assert_eq!(seen(&other, "/same").await.0, "MISS");
    other_isr.expire_all().await.unwrap();
    cluster.clock.advance(SECOND);
    assert_eq!(seen(&shop, "/same").await.0, "HIT");
}

/// R18, R19, R45: query, header and host come back as themselves.
#[tokio::test(start_paused = true)]
async fn variants_come_back_as_themselves() {
    let cluster = Cluster::new();
    let config = || {
        let long = RouteConfig::revalidate(60 * SECOND).query(["q", "page"]).host();
        long.header(ACCEPT, ["text/html", "application/json"])
    };
    let long = "x".repeat(300);
    let asks = [
        ("/same".to_owned(), "", "one.test"),
        ("/same?q=a".to_owned(), "", "one.test"),
        ("/same?q=a%3Ab".to_owned(), "", "one.test"),
        ("/same?q=a&page=2".to_owned(), "", "one.test"),
        (format!("/same?q={long}1"), "", "one.test"),
        (format!("/same?q={long}2"), "", "one.test"),
        ("/same".to_owned(), "application/json", "one.test"),
        ("/same".to_owned(), "text/html", "one.test"),
        ("/same".to_owned(), "", "two.test"),
        ("/same?q=a".to_owned(), "application/json", "two.test"),
    ];
    let ask = |(path, accept, host): &(String, &str, &str)| {
        if accept.is_empty() {
            request_with(path, &[("host", host)])
        } else {
            request_with(path, &[("host", host), ("accept", accept)])
        }
    };
    let (first, isr, page) = app(&cluster, config(), "page");
    let mut texts = Vec::new();
    for one in &asks {
        let answer = send(&first, ask(one)).await;
        assert_eq!(state(&answer), "MISS", "{one:?}");
        texts.push(common::body(answer).await);
    }
    assert_eq!(page.calls(), asks.len());
    stored(&isr).await;
    assert_eq!(cluster.memory.entries(), asks.len());
    assert!(cluster.memory.keys().iter().all(|key| key.len() <= 300), "{:?}", cluster.memory.keys());
    let (cold, _, page) = app(&cluster, config(), "never");
    for (one, text) in asks.iter().zip(&texts) {
        let answer = send(&cold, ask(one)).await;
        assert_eq!((state(&answer), &common::body(answer).await), ("HIT", text), "{one:?}");
    }
    // A query in another order is the same page, another parameter is none of it.
    let same = send(&cold, request_with("/same?page=2&utm=x&q=a", &[("host", "one.test")])).await;
    assert_eq!(state(&same), "HIT");
    assert_eq!(page.calls(), 0);
    assert_eq!(state(&send(&cold, request("/same?q=b")).await), "MISS");
}

fn signing(cluster: &Cluster, keys: &[&[u8]]) -> Node {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let set = |builder: IsrBuilder| builder.signing_keys(keys);
    cluster.healthy_with(set)
}

/// What was written by a node with these keys is a HIT, or damaged, for a node with those.
async fn found(cluster: &Cluster, writes: &[&[u8]], reads: &[&[u8]]) -> bool {
    cluster.memory.clear_entries();
    let one = signing(cluster, writes);
    seen(&one.app, "/p/a").await;
    written(&one).await;
    let other = signing(cluster, reads);
    let (state, text) = seen(&other.app, "/p/a").await;
    rested(&other).await;
    assert_eq!(text, "a version 0");
    let damaged = other.isr.stats().store_damaged;
    assert_eq!((state == "HIT", damaged == 0), (damaged == 0, state == "HIT"), "{state} {damaged}");
    state == "HIT"
}

/// CASES 117: with keys, unsigned entries and those of a stranger are misses; keys are rotated.
#[tokio::test(start_paused = true)]
async fn entries_are_signed_if_there_are_keys() {
    let cluster = Cluster::new();
    for (writes, reads, expected) in [
        (&[][..], &[][..], true),
        (&[OLD], &[OLD], true),
        (&[], &[OLD], false),
        (&[NEW], &[OLD], false),
        // Rotation: first everybody accepts the new one, then it signs, then the old one is dropped.
        (&[OLD], &[OLD, NEW], true),
        (&[OLD], &[NEW, OLD], true),
        (&[NEW, OLD], &[OLD, NEW], true),
        (&[NEW, OLD], &[NEW], true),
        (&[NEW, OLD], &[OLD], false),
        // Without keys nobody looks at signatures: a deployment may begin to sign.
        (&[OLD], &[], true),
    ] {
        assert_eq!(found(&cluster, writes, reads).await, expected, "{writes:?} {reads:?}");
    }
}

/// A signature is for one key and one scope.
#[tokio::test(start_paused = true)]
async fn a_signed_entry_elsewhere_is_a_miss() {
    let cluster = Cluster::new();
    let writer = signing(&cluster, &[OLD]);
    for path in ["/p/a", "/p/b"] {
        seen(&writer.app, path).await;
    }
    written(&writer).await;
    let keys = cluster.memory.keys();
    let other = cluster.memory.entry(&keys[1]).unwrap();
    cluster.memory.edit(|key, _| (key == keys[0]).then(|| other.clone()));
    let reader = signing(&cluster, &[OLD]);
    assert_eq!(seen(&reader.app, "/p/a").await, ("MISS", "a version 0".into()));
    assert_eq!(reader.isr.stats().store_damaged, 1);
}
