//! A store that is filled with an export before the version that reads it starts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(clippy::needless_pass_by_value, reason = "as `json!` makes it")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/seeds.rs"]
mod seeds;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::prerender::{Populate, PopulateError, Populated, populate};
use axum_isr::store::{DiskStore, Mark, Profile, Store, StoreErrorKind};
use axum_isr::testing::{Fault, FaultyStore, ManualClock, MemoryStore, Operation};
use axum_isr::{Isr, RouteConfig};
use common::{Handler, body, fetch, header, request_with, seen, send, state};
use nodes::Leaseless;
use seeds::{Folder, row_with};
use serde_json::{Value, json};

/// Pages are ten seconds old by the system's clock, which the command has.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 10
}

/// Of a deployment called `one`.
fn export(routes: Value) -> Folder {
    let folder = Folder::default();
    folder.manifest(json!({ "buildId": "b1", "scope": "one", "builtAt": now(), "routes": routes }));
    folder
}

/// A page of `/{slug}`.
fn page(slug: &str) -> Value {
    row_with("/:slug", json!({ "path": format!("/{slug}"), "tags": [format!("t:/{slug}")] }))
}

/// `/a` and `/b`.
fn two_pages() -> Folder {
    let folder = export(json!([page("a"), page("b")]));
    folder.page("a.html", "page a");
    folder.page("b.html", "page b");
    folder
}

/// What reads: pages at `/`, `/{slug}` and below `/posts`, of a deployment.
fn app(store: impl Store, id: &str) -> (Isr, Router, Handler) {
    let isr = Isr::builder().store(store).deployment_id(id).build().unwrap();
    let handler = Handler::counting();
    let config = RouteConfig::revalidate(Duration::from_secs(60)).query(["page"]).host();
    let app = Router::new()
        .route("/", get(handler.clone()))
        .route("/{slug}", get(handler.clone()))
        .route("/posts/{slug}", get(handler.clone()))
        .route("/docs/{*rest}", get(handler.clone()))
        .route_layer(isr.layer(config));
    (isr, app, handler)
}

fn reasons(list: &[axum_isr::prerender::NotWritten]) -> Vec<(&str, &str)> {
    list.iter().map(|not| (&*not.path, &*not.reason)).collect()
}

fn numbers(report: &Populated) -> (usize, usize, usize, usize) {
    (report.pages, report.written, report.skipped.len(), report.failed.len())
}

/// R43: the first request of a version that has never run is a HIT.
#[tokio::test]
async fn the_first_request_of_a_new_version_is_a_hit() {
    let store = MemoryStore::new();
    let report = populate(&two_pages().seeds(), &store).await.unwrap();
    assert_eq!(numbers(&report), (2, 2, 0, 0));
    assert!(report.is_complete());
    let (isr, app, handler) = app(store, "one");
    let hit = fetch(&app, "/a").await;
    assert_eq!((state(&hit), header(&hit, "content-type")), ("HIT", "text/html; charset=utf-8"));
    let age: u64 = header(&hit, "age").parse().unwrap();
    assert!((10..60).contains(&age), "{age}");
    assert_eq!(header(&hit, "cache-control"), "s-maxage=60, stale-while-revalidate=3540");
    assert_eq!(body(hit).await, "page a");
    assert_eq!(seen(&app, "/b").await, ("HIT", "page b".into()));
    assert_eq!((handler.calls(), isr.stats().store_damaged), (0, 0));
    // Its tags came along.
    isr.expire_tag("t:/a").await.unwrap();
    assert_eq!(seen(&app, "/a").await, ("MISS", "render 1".into()));
}

/// Every field of a key, as an export of our own has it.
#[tokio::test]
async fn keys_are_those_of_requests() {
    let inputs = json!({ "host": "example.org", "query": "page=2" });
    let host = json!({ "host": "example.org" });
    let folder = export(json!([
        row_with(
            "/posts/x",
            json!({ "route": "/posts/{slug}", "path": "/posts/x", "file": "1.html", "inputs": inputs })
        ),
        row_with(
            "/posts/y",
            json!({ "route": "/posts/{slug}", "path": "/posts/%C3%BC", "file": "2.html", "inputs": host })
        ),
        row_with("/", json!({ "file": "3.html", "inputs": host })),
        row_with("/docs", json!({ "route": "/docs/{*rest}", "path": "/docs/a/b", "file": "4.html", "inputs": host })),
        row_with("/docs", json!({ "route": "/other", "path": "/docs/c", "file": "4.html", "inputs": host })),
    ]));
    for n in 1..=4 {
        folder.page(&format!("{n}.html"), format!("page {n}"));
    }
    let store = MemoryStore::new();
    assert_eq!(numbers(&populate(&folder.seeds(), &store).await.unwrap()), (5, 5, 0, 0));
    let (_, app, handler) = app(store, "one");
    for (path, expected) in
        [("/posts/x?page=2&x=1", "page 1"), ("/posts/%C3%BC", "page 2"), ("/", "page 3"), ("/docs/a/b", "page 4")]
    {
        let response = send(&app, request_with(path, &[("host", "Example.org:80")])).await;
        assert_eq!((state(&response), &*body(response).await), ("HIT", expected), "{path}");
    }
    assert_eq!(handler.calls(), 0);
    // Of another pattern, host, or query: another page.
    for (path, host) in [("/docs/c", "example.org"), ("/posts/x", "example.org"), ("/", "example.com")] {
        let response = send(&app, request_with(path, &[("host", host)])).await;
        assert_eq!(state(&response), "MISS", "{path} {host}");
    }
}

/// R45: what is not text, what is empty, and names that are not ASCII.
#[tokio::test]
async fn bodies_survive_byte_for_byte() {
    let folder = export(json!([
        row_with("/:slug", json!({ "path": "/blob", "headers": { "content-type": "application/octet-stream" } })),
        page("empty"),
        page("%C3%A4%F0%9F%A6%80"),
    ]));
    let blob: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    folder.page("blob.html", blob.clone());
    folder.page("empty.html", "");
    folder.page("%C3%A4%F0%9F%A6%80.html", "crab");
    let dir = tempfile::tempdir().unwrap();
    let report = populate(&folder.seeds(), &DiskStore::open(dir.path()).unwrap()).await.unwrap();
    assert_eq!(numbers(&report), (3, 3, 0, 0));
    let isr = Isr::builder().store(DiskStore::open(dir.path()).unwrap()).deployment_id("one").build().unwrap();
    let app = Router::new()
        .route("/{slug}", get(|| async { "rendered" }))
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
    for (path, expected) in [("/blob", &*blob), ("/empty", b""), ("/%C3%A4%F0%9F%A6%80", b"crab")] {
        let hit = fetch(&app, path).await;
        assert_eq!(state(&hit), "HIT", "{path}");
        let bytes = axum::body::to_bytes(hit.into_body(), usize::MAX).await.unwrap();
        assert!(bytes == expected, "{path}");
    }
    isr.shutdown(Duration::from_secs(5)).await;
}

/// What the route says of its pages is not in another tool's export.
#[tokio::test]
async fn a_page_has_the_tags_of_its_route_too() {
    let store = MemoryStore::new();
    populate(&two_pages().seeds(), &store).await.unwrap();
    let isr = Isr::builder().store(store).deployment_id("one").build().unwrap();
    let config = RouteConfig::revalidate(Duration::from_secs(60)).tags(["shop"]);
    let app = Router::new().route("/{slug}", get(|| async { "rendered" })).route_layer(isr.layer(config));
    assert_eq!(seen(&app, "/a").await.0, "HIT");
    isr.expire_tag("shop").await.unwrap();
    assert_eq!(seen(&app, "/a").await.0, "MISS");
    assert_eq!(seen(&app, "/b").await.0, "MISS");
}

/// Another tool's patterns are axum's, or what the application calls them.
#[tokio::test]
async fn patterns_of_another_tool_are_translated() {
    let folder = Folder::default();
    folder.manifest(json!({ "buildId": "harbour-1", "routes": [
        row_with("", json!({ "route": "/posts/:slug", "path": "/posts/a" })),
        row_with("", json!({ "route": "/docs/:rest+", "path": "/docs/a/b" })),
        row_with("", json!({ "route": "/x/:y", "path": "/x" })),
    ] }));
    folder.modified(std::time::UNIX_EPOCH + Duration::from_secs(now()));
    for file in ["posts/a.html", "docs/a/b.html", "x.html"] {
        folder.page(file, file.to_owned());
    }
    let store = MemoryStore::new();
    // Its build is the application's, which it calls so.
    let populate = Populate::new(&folder.seeds()).pattern("/x/:y", "/{slug}").into_store(&store).await.unwrap();
    assert_eq!(numbers(&populate), (3, 3, 0, 0));
    let (_, _, handler) = app(MemoryStore::new(), "unused");
    let isr = Isr::builder().store(store).build_id("harbour-1").build().unwrap();
    let app = Router::new()
        .route("/{slug}", get(handler.clone()))
        .route("/posts/{slug}", get(handler.clone()))
        .route("/docs/{*rest}", get(handler.clone()))
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
    for (path, expected) in [("/posts/a", "posts/a.html"), ("/docs/a/b", "docs/a/b.html"), ("/x", "x.html")] {
        assert_eq!(seen(&app, path).await, ("HIT", expected.into()), "{path}");
    }
    assert_eq!(handler.calls(), 0);
}

/// R43: a call that was broken off can be repeated, and what is newer stays.
#[tokio::test]
async fn what_is_there_and_not_older_is_left_alone() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let folder = two_pages();
    assert_eq!(numbers(&populate(&folder.seeds(), &store).await.unwrap()), (2, 2, 0, 0));
    let again = populate(&folder.seeds(), &store).await.unwrap();
    assert_eq!(numbers(&again), (2, 0, 2, 0));
    assert_eq!(reasons(&again.skipped), [("/a", "there already"), ("/b", "there already")]);
    // Not even their files were read.
    assert_eq!((folder.reads_of("prerendered-routes/a.html"), faults.calls(Operation::PutMany)), (1, 1));

    // Rendered since: newer than the build.
    let (isr, app, _) = app(store.clone(), "one");
    isr.expire_path("/a").await.unwrap();
    assert_eq!(seen(&app, "/a").await.1, "render 1");
    common::until(|| isr.stats().store_writes == 1).await;
    let third = populate(&folder.seeds(), &store).await.unwrap();
    assert_eq!(numbers(&third), (2, 0, 2, 0));
    assert_eq!(reasons(&third.skipped)[0], ("/a", "invalidated since it was built"));
    assert_eq!(seen(&app, "/a").await.1, "render 1");
}

/// The next build replaces what the last one has left.
#[tokio::test]
async fn a_later_build_replaces_an_earlier_one() {
    let store = MemoryStore::new();
    populate(&two_pages().seeds(), &store).await.unwrap();
    let later = export(json!([page("a")]));
    later.manifest(json!({ "buildId": "b2", "scope": "one", "builtAt": now() + 5, "routes": [page("a")] }));
    later.page("a.html", "later");
    assert_eq!(numbers(&populate(&later.seeds(), &store).await.unwrap()), (1, 1, 0, 0));
    assert_eq!(seen(&app(store, "one").1, "/a").await, ("HIT", "later".into()));
}

/// Nobody could use them.
#[tokio::test]
async fn what_is_of_no_use_is_not_written() {
    let folder = export(json!([
        page("a"),
        row_with("/old", json!({ "revalidate": 1, "expire": 5 })),
        row_with("/cookie", json!({ "headers": { "set-cookie": "a=b" } })),
        row_with("/missing", json!({})),
        row_with("/other", json!({ "bytes": 3 })),
    ]));
    for page in ["a", "old", "cookie", "other"] {
        folder.page(&format!("{page}.html"), "body");
    }
    let store = MemoryStore::new();
    store.invalidate(&[Mark::from_text("etnothing")], 1).await.unwrap();
    let report = populate(&folder.seeds(), &store).await.unwrap();
    assert_eq!(numbers(&report), (5, 1, 2, 2));
    assert_eq!(reasons(&report.skipped), [("/cookie", "its response may not be shared"), ("/old", "expired")]);
    assert_eq!(report.failed[0].path, "/missing");
    assert_eq!(reasons(&report.failed)[1], ("/other", "expected 3 bytes, got 4"));
    assert!(!report.is_complete());
    let text = report.to_string();
    assert_eq!(report.ignored, 0);
    assert!(text.starts_with("wrote 1 of 5 pages, "), "{text}");
    assert!(text.contains("failed: 1 (\"/other\"): expected 3 bytes, got 4"), "{text}");
}

/// R47: rows that cannot be used are told; pages that were not rendered are not among them.
#[tokio::test]
async fn rows_that_cannot_be_used_are_told() {
    let folder = export(json!([page("a"), { "route": "/x", "status": "rendered", "revalidate": 0 }, 7,
        { "route": "/y", "status": "skipped", "reason": "dynamic" }]));
    folder.page("a.html", "page a");
    let report = populate(&folder.seeds(), &MemoryStore::new()).await.unwrap();
    assert_eq!((report.written, report.ignored), (1, 2));
    assert!(report.to_string().contains("2 rows of the manifest cannot be used"), "{report}");
}

/// Bodies are written as they come: a manifest without sizes is no reason to hold them all.
#[tokio::test]
async fn what_is_held_of_a_batch_is_bounded() {
    let routes: Vec<_> = (0..10).map(|n| page(&n.to_string())).collect();
    let folder = export(json!(routes));
    for n in 0..10 {
        folder.page(&format!("{n}.html"), vec![b'x'; 4 << 20]);
    }
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    assert_eq!(numbers(&populate(&folder.seeds(), &store).await.unwrap()), (10, 10, 0, 0));
    assert_eq!(faults.calls(Operation::PutMany), 3);
}

/// The scope is the export's or the caller's, never a fingerprint.
#[tokio::test]
async fn the_deployment_has_to_be_known() {
    let folder = two_pages();
    folder.manifest(json!({ "buildId": "sha-1", "builtAt": now(), "routes": [page("a")] }));
    let store = MemoryStore::new();
    let problem = populate(&folder.seeds(), &store).await.unwrap_err();
    assert_eq!(problem.to_string(), "deployment_id: expected an id, since the manifest has no scope, got none");
    let problem = Populate::new(&folder.seeds()).deployment_id("a b").into_store(&store).await.unwrap_err();
    assert!(matches!(problem, PopulateError::Invalid(_)), "{problem}");
    let report = Populate::new(&folder.seeds()).deployment_id("green").into_store(&store).await.unwrap();
    assert_eq!(report.written, 1);
    assert_eq!(seen(&app(store.clone(), "green").1, "/a").await.0, "HIT");
    assert_eq!(seen(&app(store, "blue").1, "/a").await.0, "MISS");
}

#[tokio::test]
async fn an_export_that_cannot_be_read_is_an_error() {
    let problem = populate(&Folder::default().seeds(), &MemoryStore::new()).await.unwrap_err();
    assert_eq!(problem.to_string(), "the export cannot be used: expected a vinext-prerender.json, there is none");
}

/// R43: everything but the writing.
#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let report = Populate::new(&two_pages().seeds()).dry_run(true).into_store(&store).await.unwrap();
    assert_eq!((numbers(&report), report.dry_run), ((2, 2, 0, 0), true));
    assert_eq!(faults.calls(Operation::PutMany) + faults.calls(Operation::Put), 0);
    assert!(report.to_string().starts_with("would write 2 of 2 pages"));
    assert_eq!(seen(&app(store, "one").1, "/a").await.0, "MISS");
}

/// R44, R47: with a pause between tries; and what does not go well in the end is told, cut, and no error.
#[tokio::test(start_paused = true)]
async fn what_a_store_cannot_take_now_is_tried_again() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    for _ in 0..3 {
        faults.once(Operation::PutMany, Fault::Error(StoreErrorKind::Unavailable));
    }
    faults.once(Operation::Changes, Fault::Error(StoreErrorKind::TimedOut));
    let start = tokio::time::Instant::now();
    let report = populate(&two_pages().seeds(), &store).await.unwrap();
    assert_eq!(numbers(&report), (2, 2, 0, 0));
    assert_eq!((start.elapsed().as_millis(), faults.calls(Operation::PutMany)), (200 + 200 + 400 + 800, 4));

    let (store, faults) = FaultyStore::new(MemoryStore::new());
    faults.set(Operation::PutMany, Fault::Error(StoreErrorKind::Unavailable));
    let report = Populate::new(&two_pages().seeds()).retries(2).into_store(&store).await.unwrap();
    assert_eq!((numbers(&report), faults.calls(Operation::PutMany)), ((2, 0, 0, 2), 3));
    assert!(report.failed.iter().all(|not| not.reason.len() <= 500), "{report}");
    assert!(!report.is_complete());

    faults.set(Operation::Changes, Fault::Error(StoreErrorKind::Unavailable));
    let problem = Populate::new(&two_pages().seeds()).retries(1).into_store(&store).await.unwrap_err();
    assert!(matches!(problem, PopulateError::Store(_)), "{problem}");
}

/// R48: nothing in it knows one engine. A store that does not let us write is not asked ten thousand times.
#[tokio::test]
async fn a_store_that_refuses_is_believed() {
    let routes: Vec<_> = (0..5_000).map(|n| page(&n.to_string())).collect();
    let folder = export(json!(routes));
    for n in 0..5_000 {
        folder.page(&format!("{n}.html"), "x");
    }
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    faults.set(Operation::PutMany, Fault::Error(StoreErrorKind::Denied));
    let report = populate(&folder.seeds(), &store).await.unwrap();
    assert!(report.denied && report.written == 0 && !report.is_complete());
    assert!(faults.calls(Operation::PutMany) <= 5, "{}", faults.calls(Operation::PutMany));
    assert!(report.to_string().contains("does not let us write"));
}

/// R46: what the store keeps is kept as long as it asks for at least; R44: what it does not take is told.
#[tokio::test]
async fn the_stores_limits_are_respected() {
    let clock = ManualClock::new();
    let profile = Profile::new("modest").with_min_keep(Duration::from_secs(60)).with_max_bytes(400);
    let store = Leaseless(MemoryStore::new().clock(clock.clone()), profile);
    let folder = two_pages();
    folder.page("b.html", vec![b'x'; 400]);
    let report = Populate::new(&folder.seeds()).retention(Duration::from_secs(1)).into_store(&store).await.unwrap();
    assert_eq!(numbers(&report), (2, 1, 0, 1));
    assert!(report.failed[0].reason.ends_with("the store takes 400"), "{report}");
    let store = store.0;
    clock.advance(Duration::from_secs(59));
    assert_eq!(store.entries(), 1);
}

/// R47: what signs them reads them.
#[tokio::test]
async fn entries_are_signed_as_the_layer_signs_them() {
    let (store, key) = (MemoryStore::new(), "0123456789abcdef");
    Populate::new(&two_pages().seeds()).signing_keys([key]).into_store(&store).await.unwrap();
    let handler = Handler::counting();
    for (key, expected) in [(key, "HIT"), ("another key of 16", "MISS")] {
        let isr = Isr::builder().store(store.clone()).deployment_id("one").signing_keys([key]).build().unwrap();
        let app = Router::new()
            .route("/{slug}", get(handler.clone()))
            .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
        assert_eq!(seen(&app, "/a").await.0, expected);
    }
    assert!(!format!("{:?}", Populate::new(&two_pages().seeds()).signing_keys([key])).contains(key));
}

/// It can be spawned, and tells how far it is.
#[tokio::test]
async fn it_runs_in_the_background_and_tells_how_far_it_is() {
    let (tell, told) = std::sync::mpsc::channel();
    let populate =
        Populate::new(&two_pages().seeds()).batches(0).on_progress(move |done, all| tell.send((done, all)).unwrap());
    let report = tokio::spawn(async move { populate.into_store(&MemoryStore::new()).await }).await.unwrap();
    assert_eq!(report.unwrap().written, 2);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(2, 2)]);
}
