//! Pages in Cloudflare KV, as visitors see them.
#![cfg(feature = "cloudflare-kv")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/kv.rs"]
mod kv;
#[path = "common/kv_proxy.rs"]
mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::http::Method;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::store::{CloudflareKv, Store};
use axum_isr::{InvalidateError, Isr, Render, RouteConfig};
use common::{body, fetch, header, state};
use http_body_util::BodyExt;
use kv::{Gateway, PATIENCE, unused_namespace};
use proxy::{Fault, Proxy};

/// All bytes, and none that is text.
const BINARY: [u8; 6] = [0, 255, b'\r', b'\n', 0x80, 0];

/// A process.
struct Node {
    isr: Isr,
    app: Router,
    renders: Arc<AtomicUsize>,
}

impl Node {
    fn new(store: CloudflareKv) -> Self {
        let isr = Isr::builder()
            .store(store)
            .deployment_id("one")
            .coherence(Duration::from_millis(500))
            .store_deadlines(PATIENCE, PATIENCE, PATIENCE)
            .build()
            .unwrap();
        let renders = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&renders);
        let page = move |Path(name): Path<String>, render: Render| {
            let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
            render.tag(format!("p:{name}"));
            let body = match name.as_str() {
                "empty" => Vec::new(),
                "binary" => BINARY.to_vec(),
                _ => format!("{name} {n}").into_bytes(),
            };
            async move { ([("content-type", "application/octet-stream"), ("x-mine", "kept")], body).into_response() }
        };
        let config = RouteConfig::revalidate(Duration::from_secs(600));
        let app = Router::new().route("/p/{name}", get(page)).route_layer(isr.layer(config));
        Self { isr, app, renders }
    }

    fn renders(&self) -> usize {
        self.renders.load(Ordering::SeqCst)
    }

    /// Until all that was rendered is in KV.
    async fn written(&self) {
        eventually("pages are written", async || {
            let stats = self.isr.stats();
            (stats.flights == 0 && stats.waiting_writes == 0 && stats.store_writes >= stats.stored).then_some(())
        })
        .await;
    }
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// R43, R45: what one process has rendered serves the next one, byte for byte, over both ways there.
#[tokio::test]
async fn a_process_that_starts_anew_answers_from_kv() {
    let gateway = Gateway::shared();
    let proxy = Proxy::start(Arc::clone(&gateway)).await;
    for options in [gateway.options(), proxy.rest()] {
        let options = options.namespace(unused_namespace());
        let store = || options.clone().build().unwrap();
        let first = Node::new(store());
        let paths = ["/p/plain", "/p/binary", "/p/empty", "/p/%C3%A9%20%2F%F0%9F%A6%80", "/p/caf%C3%A9"];
        let mut bodies = Vec::new();
        for path in paths {
            let answer = fetch(&first.app, path).await;
            assert_eq!(state(&answer), "MISS", "{path}");
            bodies.push(answer.into_body().collect().await.unwrap().to_bytes());
        }
        assert_eq!((&bodies[1][..], &bodies[2][..]), (&BINARY[..], &b""[..]));
        first.written().await;
        let upto = store().changes(None, 7).await.unwrap().stamp;
        first.isr.shutdown(PATIENCE).await;
        drop(first);

        // What it knows of the time at the service gets more exact.
        let clock = store();
        eventually("the time there is known", async || {
            (clock.changes(None, 7).await.unwrap().stamp > upto).then_some(())
        })
        .await;
        let second = Node::new(clock);
        for (path, expected) in paths.into_iter().zip(bodies) {
            let answer = fetch(&second.app, path).await;
            assert_eq!((state(&answer), header(&answer, "x-mine")), ("HIT", "kept"), "{path}");
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), expected, "{path}");
        }
        assert_eq!(second.renders(), 0);
    }
}

/// I5: an invalidation reaches the other process, and what it finds in KV.
#[tokio::test]
async fn an_invalidation_reaches_the_others() {
    // Held: it ends with whoever has it last.
    let gateway = Gateway::shared();
    let options = gateway.options().namespace(unused_namespace());
    let (one, other) = (Node::new(options.clone().build().unwrap()), Node::new(options.build().unwrap()));
    for node in [&one, &other] {
        fetch(&node.app, "/p/a").await;
        assert_eq!(state(&fetch(&node.app, "/p/a").await), "HIT");
    }
    one.written().await;
    let renders = other.renders();
    one.isr.expire_tag("p:a").await.unwrap();
    assert_eq!(state(&fetch(&one.app, "/p/a").await), "MISS", "here at once");
    eventually("it is rendered again elsewhere, or found anew", async || {
        let answer = fetch(&other.app, "/p/a").await;
        let is_new = state(&answer) == "MISS" || other.renders() > renders;
        is_new.then_some(())
    })
    .await;
    drop(gateway);
}

/// I6: without KV, pages are rendered, and kept in memory; an invalidation says that it is for this process alone.
#[tokio::test]
async fn pages_are_rendered_while_kv_is_down() {
    let gateway = Gateway::shared();
    let proxy = Proxy::start(Arc::clone(&gateway)).await;
    let store = proxy.gateway().namespace(unused_namespace()).build().unwrap();
    let node = Node::new(store);
    assert_eq!(state(&fetch(&node.app, "/p/before").await), "MISS");
    node.written().await;
    drop(proxy);
    for n in 0..10 {
        let path = format!("/p/{n}");
        let answer = fetch(&node.app, &path).await;
        assert_eq!((state(&answer), body(answer).await), ("MISS", format!("{n} {}", n + 2)));
        assert_eq!(state(&fetch(&node.app, &path).await), "HIT");
    }
    assert_eq!(state(&fetch(&node.app, "/p/before").await), "HIT");
    let marked = node.isr.expire_tag("p:before").await;
    assert!(matches!(marked, Err(InvalidateError::LocalOnly { .. })), "{marked:?}");
    assert_eq!(state(&fetch(&node.app, "/p/before").await), "MISS");
}

/// I6: whatever it answers instead of an entry.
#[tokio::test]
async fn pages_are_rendered_whatever_kv_says() {
    let gateway = Gateway::shared();
    let proxy = Proxy::start(Arc::clone(&gateway)).await;
    let faults = [
        Fault::Says(200, Vec::new(), "no entry".to_owned()),
        Fault::Says(500, Vec::new(), "<html>".to_owned()),
        Fault::Giant(64 << 20),
        Fault::CutAnswer,
    ];
    for fault in faults {
        let node = Node::new(proxy.gateway().namespace(unused_namespace()).build().unwrap());
        proxy.calls();
        proxy.next(Method::GET, "values/test", fault.clone());
        // The ledger's epoch is one of them.
        proxy.next(Method::GET, "values/test", fault.clone());
        for path in ["/p/a", "/p/b"] {
            let answer = fetch(&node.app, path).await;
            assert_eq!(state(&answer), "MISS", "{fault:?}");
            assert_eq!(body(answer).await, format!("{} {}", &path[3..], node.renders()), "{fault:?}");
            assert_eq!(state(&fetch(&node.app, path).await), "HIT", "{fault:?}");
        }
        assert!(proxy.calls().iter().any(|call| call.path.starts_with("/values/test")), "{fault:?} was not met");
        proxy.forget_faults();
    }
}
