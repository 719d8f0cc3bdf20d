//! An export that vinext has written.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use axum_isr::prerender::Seeds;
use axum_isr::testing::MemoryStore;
use axum_isr::{Isr, RouteConfig};
use common::{Handler, body, fetch, header, request_with, seen, send, state};

/// The artefacts beside its manifest: name, content type.
const FILES: [&str; 17] = [
    "404.html",
    "about.html",
    "about.rsc",
    "forever.html",
    "forever.rsc",
    "index.html",
    "index.rsc",
    "nested/deep/er.html",
    "nested/deep/er.rsc",
    "posts/ebbe-und-flut-gr%C3%B6%C3%9Fe.html",
    "posts/ebbe-und-flut-gr%C3%B6%C3%9Fe.rsc",
    "posts/neap-tide.html",
    "posts/neap-tide.rsc",
    "posts/spring-tide.html",
    "posts/spring-tide.rsc",
    "posts/sticks%20%26%20stones.html",
    "posts/sticks%20%26%20stones.rsc",
];

/// The folder that vinext calls `dist/server`, with bodies that say which file they are.
fn exported() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vinext/vinext-prerender.json");
    fs::copy(manifest, dir.path().join("vinext-prerender.json")).unwrap();
    fs::write(dir.path().join("BUILD_ID"), "harbour-2026-11-21").unwrap();
    for file in FILES {
        let path = dir.path().join("prerendered-routes").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

struct Site {
    isr: Isr,
    app: Router,
    handler: Handler,
}

/// A router as an application would write it.
fn site(seeds: Seeds) -> Site {
    let isr = Isr::builder().build_id("harbour-2026-11-21").seeds(seeds).build().unwrap();
    let handler = Handler::counting();
    let page = || get(handler.clone());
    let config = RouteConfig::revalidate(Duration::from_secs(5)).header(http::HeaderName::from_static("rsc"), ["1"]);
    let app = Router::new()
        .route("/", page())
        .route("/about", page())
        .route("/about.rsc", page())
        .route("/account", page())
        .route("/api/data", page())
        .route("/forever", page())
        .route("/nested/deep/er", page())
        .route("/posts/{slug}", page())
        .route("/404", page())
        .route_layer(isr.layer(config));
    Site { isr, app, handler }
}

/// R42: status, content type, times; encoded segments, however a client writes them.
#[tokio::test]
async fn its_pages_are_hits() {
    let dir = exported();
    let Site { isr, app, handler } = site(Seeds::dir(dir.path()));
    let for_ever = "s-maxage=31536000";
    for (path, status, file, lifetime) in [
        ("/", 200, "index.html", "s-maxage=60, stale-while-revalidate=86340"),
        ("/about", 200, "about.html", for_ever),
        ("/forever", 200, "forever.html", for_ever),
        ("/nested/deep/er", 200, "nested/deep/er.html", "s-maxage=3600, stale-while-revalidate=82800"),
        ("/posts/spring-tide", 200, "posts/spring-tide.html", "s-maxage=300, stale-while-revalidate=86100"),
        ("/posts/neap-tide", 200, "posts/neap-tide.html", "s-maxage=300, stale-while-revalidate=86100"),
        ("/posts/sticks%20%26%20stones", 200, FILES[15], "s-maxage=300, stale-while-revalidate=86100"),
        ("/posts/sticks%20&%20stones", 200, FILES[15], "s-maxage=300, stale-while-revalidate=86100"),
        ("/posts/ebbe-und-flut-gr%C3%B6%C3%9Fe", 200, FILES[9], "s-maxage=300, stale-while-revalidate=86100"),
        ("/posts/ebbe-und-flut-gr%c3%b6%c3%9fe", 200, FILES[9], "s-maxage=300, stale-while-revalidate=86100"),
        ("/404", 404, "404.html", for_ever),
    ] {
        let hit = fetch(&app, path).await;
        assert_eq!((state(&hit), hit.status().as_u16()), ("HIT", status), "{path}");
        assert_eq!(header(&hit, "content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!(header(&hit, "cache-control"), lifetime, "{path}");
        assert_eq!(body(hit).await, file, "{path}");
    }
    assert_eq!((handler.calls(), isr.stats().seed_failures), (0, 0));
}

/// R40: what it skipped is rendered.
#[tokio::test]
async fn what_it_skipped_is_rendered() {
    let dir = exported();
    let Site { app, .. } = site(Seeds::dir(dir.path()));
    for path in ["/api/data", "/account", "/posts/another"] {
        assert_eq!(seen(&app, path).await.0, "MISS", "{path}");
    }
}

/// The pages for its client router: by the header that asks for them, or by their own path.
#[tokio::test]
async fn its_secondary_artefacts_are_variants() {
    let dir = exported();
    let Site { app, handler, .. } = site(Seeds::dir(dir.path()));
    for (path, file) in [("/about", "about.rsc"), ("/", "index.rsc"), ("/posts/sticks%20%26%20stones", FILES[16])] {
        let hit = send(&app, request_with(path, &[("rsc", "1")])).await;
        assert_eq!((state(&hit), header(&hit, "content-type")), ("HIT", "text/x-component"), "{path}");
        assert_eq!(header(&hit, "vary"), "rsc");
        assert_eq!(body(hit).await, file);
    }
    let own = fetch(&app, "/about.rsc").await;
    assert_eq!((state(&own), header(&own, "content-type")), ("HIT", "text/x-component"));
    assert_eq!(handler.calls(), 0);
}

/// R40: the page itself is used, and the other is made.
#[tokio::test]
async fn a_missing_secondary_artefact_leaves_the_primary_one() {
    let dir = exported();
    fs::remove_file(dir.path().join("prerendered-routes/about.rsc")).unwrap();
    let Site { app, .. } = site(Seeds::dir(dir.path()));
    assert_eq!(seen(&app, "/about").await, ("HIT", "about.html".into()));
    assert_eq!(state(&send(&app, request_with("/about", &[("rsc", "1")])).await), "MISS");
}

/// What invalidates a page invalidates what lies beside it, by whichever path it is asked for; also in the store.
#[tokio::test]
async fn its_secondary_artefacts_end_with_their_page() {
    let dir = exported();
    let store = MemoryStore::new();
    let config = || RouteConfig::revalidate(Duration::from_secs(5)).header(http::HeaderName::from_static("rsc"), ["1"]);
    let node = || {
        let builder = Isr::builder().deployment_id("one").store(store.clone());
        let isr = builder.seeds(Seeds::dir(dir.path()).built_at(SystemTime::now())).build().unwrap();
        let page = || get(|| async { "rendered" });
        let app = Router::new().route("/about", page()).route("/about.rsc", page()).route_layer(isr.layer(config()));
        (isr, app)
    };
    let (isr, app) = node();
    let all = async |app: &Router| {
        let variant = send(app, request_with("/about", &[("rsc", "1")])).await;
        [state(&fetch(app, "/about").await), state(&fetch(app, "/about.rsc").await), state(&variant)]
    };
    assert_eq!(all(&app).await, ["HIT"; 3]);
    isr.shutdown(Duration::from_secs(5)).await;
    let (other, app) = node();
    other.expire_path("/about").await.unwrap();
    assert_eq!(all(&app).await, ["MISS"; 3]);
}

/// Its tags, its own and those that it makes of paths, invalidate its pages.
#[tokio::test]
async fn its_tags_are_ours() {
    for (tag, path) in [
        ("/posts/sticks & stones", "/posts/sticks%20%26%20stones"),
        ("_N_T_/posts/[slug]/page", "/posts/neap-tide"),
        ("_N_T_/layout", "/"),
        ("/about", "/about"),
    ] {
        let dir = exported();
        let Site { isr, app, .. } = site(Seeds::dir(dir.path()));
        assert_eq!(seen(&app, path).await.0, "HIT");
        isr.expire_tag(tag).await.unwrap();
        assert_eq!(seen(&app, path).await, ("MISS", "render 1".into()), "{tag}");
    }
}

/// The manifest carries no time: its file does, or the application.
#[tokio::test]
async fn it_is_as_old_as_its_manifest() {
    let dir = exported();
    let manifest = fs::File::options().append(true).open(dir.path().join("vinext-prerender.json")).unwrap();
    manifest.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    let Site { app, .. } = site(Seeds::dir(dir.path()));
    // Fresh for a minute, served for a day.
    let stale = fetch(&app, "/").await;
    assert_eq!(state(&stale), "STALE");
    let age: u64 = header(&stale, "age").parse().unwrap();
    assert!((100..160).contains(&age), "{age}");
    let Site { app, .. } = site(Seeds::dir(dir.path()).built_at(SystemTime::now()));
    assert_eq!(state(&fetch(&app, "/").await), "HIT");
}

/// Through the whole router, or a path that catches all.
#[tokio::test]
async fn the_patterns_of_the_router_are_its_own_business() {
    let dir = exported();
    let isr = Isr::builder().seeds(Seeds::dir(dir.path())).build().unwrap();
    let config = RouteConfig::revalidate(Duration::from_secs(5));
    let app = Router::new().route("/{*all}", get(|| async { "rendered" })).layer(isr.layer(config));
    assert_eq!(seen(&app, "/posts/neap-tide").await, ("HIT", "posts/neap-tide.html".into()));
    assert_eq!(state(&fetch(&app, "/404").await), "HIT");
}
