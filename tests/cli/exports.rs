//! `axum-isr inspect` and `axum-isr verify`: the real program looks at exports.

use std::fs;

use axum::Router;

use serde_json::json;

use crate::dist::Dist;
use crate::program::{Ended, run};

async fn look(command: &str, dist: &Dist, more: &[&str]) -> Ended {
    run([command, dist.path().to_str().unwrap()].iter().chain(more), &[]).await
}

#[tokio::test]
async fn inspect_shows_pages_and_what_is_ignored() {
    let mut dist = Dist::new(&["a"]);
    dist.row(json!({"route": "/b", "status": "skipped", "reason": "dynamic"}));
    dist.row(json!({"route": "/c", "path": "c", "status": "rendered", "revalidate": 60}));
    dist.save();
    let done = look("inspect", &dist, &[]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    for expected in [
        "1 pages, built 1m",
        "build b1, deployment v1",
        "/posts/a  /posts/{slug}     200  16 B          1h       -  fresh  posts",
        "ignored: 1 not-rendered, 1 path",
        "dynamic",
    ] {
        assert!(done.out.contains(expected), "{expected}: {}", done.out);
    }
    assert!(done.err.starts_with("warning: 2 rows of the manifest"), "{}", done.err);
    assert_eq!(look("inspect", &dist, &["--strict"]).await.code, 1);
    let found = look("inspect", &dist, &["--json"]).await.json();
    assert_eq!(found["pages"][0]["path"], "/posts/a");
    assert_eq!(found["pages"][0]["revalidateSecs"], 3600.0);
    assert_eq!((&found["scope"], &found["buildId"]), (&"v1".into(), &"b1".into()));
    assert_eq!(found["ignoredRows"].as_array().unwrap().len(), 2, "{found}");
}

/// What a running site would leave alone: too old, or a response that may not be shared.
#[tokio::test]
async fn inspect_says_which_pages_would_not_be_used() {
    let mut dist = Dist::empty();
    dist.manifest["builtAt"] = 1_000_000_000.into();
    let row = |path: &str, more: serde_json::Value| {
        let mut row = json!({"route": path, "path": path, "status": "rendered", "revalidate": 60});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    dist.row(row("/stale", json!({"expire": 9_000_000_000_u64})));
    dist.row(row("/old", json!({"expire": 60})));
    dist.row(row("/private", json!({"expire": 9_000_000_000_u64, "headers": {"set-cookie": "a=b"}})));
    dist.save();
    let found = look("inspect", &dist, &["--json"]).await.json();
    let pages: Vec<_> =
        found["pages"].as_array().unwrap().iter().map(|page| (&page["state"], &page["unused"])).collect();
    let (stale, none) = (json!("stale"), json!(null));
    let expected =
        [(&stale, &none), (&json!("expired"), &json!("expired")), (&stale, &json!("its response may not be shared"))];
    assert_eq!(pages, expected);
    assert_eq!(look("inspect", &dist, &[]).await.code, 0);
    assert_eq!(look("inspect", &dist, &["--strict"]).await.code, 1);
}

/// The manifest itself may be named, with or without a folder before it.
#[tokio::test]
async fn a_manifest_may_be_named() {
    let dist = Dist::new(&["a"]);
    let manifest = dist.path().join("vinext-prerender.json");
    let done = run(["verify", manifest.to_str().unwrap()], &[]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let done = run(["inspect", dist.file("posts/a.html").to_str().unwrap()], &[]).await;
    assert_eq!(done.code, 2, "{}", done.err);
}

/// R41, CASES 147: every file is read again; a file that is another one, or none, or longer, is named.
#[tokio::test]
async fn verify_finds_what_was_changed() {
    let dist = Dist::new(&["a", "b", "c", "d"]);
    let good = look("verify", &dist, &["--strict"]).await;
    assert_eq!((good.code, &*good.err), (0, ""), "{}", good.out);
    assert!(good.out.starts_with("4 of 4 pages are what the manifest says"), "{}", good.out);
    fs::write(dist.file("posts/b.html"), "seed of /posts/B").unwrap();
    fs::write(dist.file("posts/c.html"), "seed of /posts/c and more").unwrap();
    fs::remove_file(dist.file("posts/d.html")).unwrap();
    let done = look("verify", &dist, &[]).await;
    assert_eq!(done.code, 1, "{}", done.out);
    assert!(done.err.starts_with("error: 3 files are not what the manifest says"), "{}", done.err);
    let report = look("verify", &dist, &["--json"]).await.json();
    assert_eq!((&report["good"], report["bad"].as_array().unwrap().len()), (&1.into(), 3), "{report}");
    for (at, (path, reason)) in
        [("/posts/b", "SHA-256"), ("/posts/c", "bytes"), ("/posts/d", "there is none")].iter().enumerate()
    {
        let bad = &report["bad"][at];
        assert!(bad["path"] == *path && bad["reason"].as_str().unwrap().contains(reason), "{bad}");
    }
}

/// A file of which the manifest says nothing is no failure, unless `--strict`.
#[tokio::test]
async fn verify_tells_what_it_cannot_know() {
    let mut dist = Dist::new(&["a"]);
    dist.row(json!({"route": "/b", "status": "rendered", "revalidate": 60, "router": "pages"}));
    dist.save();
    fs::write(dist.file("b.html"), "b").unwrap();
    let done = look("verify", &dist, &[]).await;
    assert_eq!(done.code, 0, "{} {}", done.out, done.err);
    assert!(done.err.contains("1 files have no digest"), "{}", done.err);
    assert_eq!(look("verify", &dist, &["--strict"]).await.code, 1);
}

/// An export on a server: the token comes from the environment, and is in no output.
#[tokio::test]
async fn an_export_may_be_on_a_server() {
    let dist = Dist::new(&["a", "b"]);
    let app = Router::new().fallback_service(tower_http::services::ServeDir::new(dist.path()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    for from in [url.clone(), format!("{url}/"), format!("{url}/vinext-prerender.json")] {
        let done = run(["verify", &from, "--strict"], &[("ISR_SEEDS_TOKEN", "s3cret-token")]).await;
        assert_eq!((done.code, &*done.err), (0, ""), "{from}: {}", done.out);
    }
    server.abort();
    let _ = server.await;
    let done = run(["verify", &url], &[("ISR_SEEDS_TOKEN", "s3cret-token")]).await;
    assert_eq!(done.code, 3, "{}", done.err);
    assert!(!done.says("s3cret"), "{}", done.err);
    for url in ["https://:hunter2@a.example", "http://a.example", "ftp://a.example"] {
        let done = run(["inspect", url], &[("ISR_SEEDS_TOKEN", "s3cret-token")]).await;
        assert_eq!((done.code, done.says("hunter2")), (2, false), "{url}: {}", done.err);
    }
}

/// The codes are where people look for them.
#[tokio::test]
async fn help_has_the_exit_codes() {
    let done = run(["--help"], &[]).await;
    assert_eq!(done.code, 0);
    for code in ["0 ", "1 ", "2 ", "3 ", "130 "] {
        assert!(done.out.lines().any(|line| line.trim_start().starts_with(code)), "{code}: {}", done.out);
    }
    assert_eq!(run(Vec::<&str>::new(), &[]).await.code, 2);
}
