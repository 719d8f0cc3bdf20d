//! `axum-isr populate`: the real program fills real stores, and a site that starts then answers its first request from
//! them.

use std::fs;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::prerender::Export;
use axum_isr::store::{DiskStore, Store};
use axum_isr::{Isr, RouteConfig};

use crate::common::{Handler, body, fetch, state};
use crate::dist::Dist;
use crate::program::{self, Ended, run};

/// A site of deployment `v1` with a store, and what it renders.
fn site(store: impl Store) -> (Router, Handler) {
    let isr = Isr::builder().deployment_id("v1").store(store).build().unwrap();
    let handler = Handler::counting();
    let layer = isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600)));
    (Router::new().route("/posts/{slug}", get(handler.clone()).layer(layer)), handler)
}

async fn populate(dist: &Dist, to: &str, more: &[&str], variables: &[(&str, &str)]) -> Ended {
    let from = dist.path().to_str().unwrap();
    run(["populate", "--from", from, "--to", to].iter().chain(more), variables).await
}

fn disk(folder: &tempfile::TempDir) -> String {
    format!("disk:{}", folder.path().join("cache").display())
}

/// R43, R45: the first request of a new version is a HIT, and nothing was rendered for it.
#[tokio::test]
async fn the_first_request_of_a_new_version_is_a_hit() {
    let (dist, folder) = (Dist::new(&["a", "b"]), tempfile::tempdir().unwrap());
    let done = populate(&dist, &disk(&folder), &[], &[]).await;
    assert_eq!((done.code, &*done.err), (0, ""), "{}", done.out);
    assert!(done.out.starts_with("wrote 2 of 2 pages, "), "{}", done.out);
    let (app, handler) = site(DiskStore::open(folder.path().join("cache")).unwrap());
    for slug in ["a", "b"] {
        let found = fetch(&app, &format!("/posts/{slug}")).await;
        assert_eq!(state(&found), "HIT");
        assert_eq!(body(found).await, format!("seed of /posts/{slug}"));
    }
    assert_eq!(handler.calls(), 0);
    assert_eq!(state(&fetch(&app, "/posts/c").await), "MISS");
}

/// R45: what this crate has exported; variants by a query too.
#[tokio::test]
async fn an_export_of_this_crate_is_a_hit() {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist").to_str().unwrap().to_owned();
    let app = |isr: &Isr, handler: &Handler| {
        let layer = isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600)).query(["page"]));
        Router::new().route("/posts/{slug}", get(handler.clone()).layer(layer))
    };
    let builds = Isr::builder().deployment_id("v1").build().unwrap();
    let export =
        Export::new(app(&builds, &Handler::counting())).paths(["/posts/a", "/posts/a?page=2", "/posts/\u{e9}%20"]);
    export.deployment_id("v1").to(&dist).await.unwrap();
    let done = run(["verify", &dist, "--strict"], &[]).await;
    assert_eq!((done.code, &*done.err), (0, ""), "{}", done.out);
    let done = run(["inspect", &dist, "--strict"], &[]).await;
    assert_eq!((done.code, done.out.contains("(query page=2)")), (0, true), "{} {}", done.out, done.err);
    let done = run(["populate", "--from", &dist, "--to", &disk(&folder), "--strict"], &[]).await;
    assert_eq!((done.code, &*done.err), (0, ""), "{}", done.out);
    let store = DiskStore::open(folder.path().join("cache")).unwrap();
    let isr = Isr::builder().deployment_id("v1").store(store).build().unwrap();
    let handler = Handler::counting();
    let app = app(&isr, &handler);
    for path in ["/posts/a", "/posts/a?page=2", "/posts/%C3%A9%20"] {
        assert_eq!(state(&fetch(&app, path).await), "HIT", "{path}");
    }
    assert_eq!(handler.calls(), 0);
}

/// What is there and not older is skipped; what is missing is written.
#[tokio::test]
async fn a_repetition_does_the_rest() {
    let (mut dist, folder) = (Dist::new(&["a", "b"]), tempfile::tempdir().unwrap());
    assert_eq!(populate(&dist, &disk(&folder), &[], &[]).await.code, 0);
    dist.page("/posts/c", "posts/c.html");
    dist.save();
    let done = populate(&dist, &disk(&folder), &["--json"], &[]).await;
    let report = done.json();
    assert_eq!((done.code, &report["written"], &report["pages"]), (0, &1.into(), &3.into()), "{report}");
    let skipped: Vec<_> = report["skipped"].as_array().unwrap().iter().map(|page| &page["path"]).collect();
    assert_eq!(skipped, ["/posts/a", "/posts/b"]);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (dist, folder) = (Dist::new(&["a"]), tempfile::tempdir().unwrap());
    let done = populate(&dist, &disk(&folder), &["--dry-run"], &[]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.starts_with("would write 1 of 1 pages"), "{}", done.out);
    // Else it would be there already.
    let report = populate(&dist, &disk(&folder), &["--json"], &[]).await.json();
    assert_eq!(report["written"], 1, "{report}");
}

/// R47: a page that cannot be written is a warning, unless `--strict`; the others are written.
#[tokio::test]
async fn a_page_that_fails_is_a_warning_unless_strict() {
    let (dist, folder) = (Dist::new(&["a", "b", "c"]), tempfile::tempdir().unwrap());
    fs::write(dist.file("posts/b.html"), "seed of /posts/B").unwrap();
    fs::remove_file(dist.file("posts/c.html")).unwrap();
    let done = populate(&dist, &disk(&folder), &[], &[]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.starts_with("warning: 2 of 3 pages could not be written"), "{}", done.err);
    assert!(done.out.contains("SHA-256") && done.out.contains("\"/posts/b\""), "{}", done.out);
    let done = populate(&dist, &disk(&folder), &["--strict", "--json"], &[]).await;
    let report = done.json();
    assert_eq!((done.code, report["failed"].as_array().unwrap().len()), (1, 2), "{report}");
    assert!(done.err.starts_with("error: 2 of 3 pages"), "{}", done.err);
    let (app, _) = site(DiskStore::open(folder.path().join("cache")).unwrap());
    assert_eq!(state(&fetch(&app, "/posts/a").await), "HIT");
    assert_eq!(state(&fetch(&app, "/posts/b").await), "MISS");
}

/// R43: the scope is the manifest's, or the one that is given, never made up: the program is another executable.
#[tokio::test]
async fn the_deployment_is_the_manifests_or_the_one_that_is_given() {
    let (mut dist, folder) = (Dist::new(&["a"]), tempfile::tempdir().unwrap());
    dist.manifest.as_object_mut().unwrap().remove("scope");
    dist.save();
    let done = populate(&dist, &disk(&folder), &[], &[]).await;
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("deployment_id") && done.err.contains("--deployment-id"), "{}", done.err);
    let done = populate(&dist, &disk(&folder), &["--deployment-id", "v1"], &[]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let (app, _) = site(DiskStore::open(folder.path().join("cache")).unwrap());
    assert_eq!(state(&fetch(&app, "/posts/a").await), "HIT");
}

/// The export of another tool has patterns of its own.
#[tokio::test]
async fn a_route_of_another_tool_has_a_name_here() {
    let (mut dist, folder) = (Dist::empty(), tempfile::tempdir().unwrap());
    dist.row(serde_json::json!({
        "route": "/posts/:id", "path": "/posts/a", "status": "rendered", "revalidate": 3600, "router": "pages",
    }));
    dist.save();
    fs::create_dir_all(dist.file("posts")).unwrap();
    fs::write(dist.file("posts/a.html"), "seed").unwrap();
    let done = populate(&dist, &disk(&folder), &["--route", "/posts/:id=/posts/{slug}"], &[]).await;
    assert_eq!(done.code, 0, "{} {}", done.out, done.err);
    let (app, _) = site(DiskStore::open(folder.path().join("cache")).unwrap());
    assert_eq!(state(&fetch(&app, "/posts/a").await), "HIT");
}

/// R47: what cannot be is said at once, with what was expected, and no password is repeated.
#[tokio::test]
async fn a_store_that_cannot_be_named_is_wrong_usage() {
    let dist = Dist::new(&["a"]);
    for (to, expected) in [
        ("nowhere", "expected redis://HOST"),
        ("http://:hunter2@a", "expected redis://HOST"),
        ("disk:", "expected redis://HOST"),
        ("cloudflare-kv:account", "cloudflare"),
        ("cloudflare-kv:account/namespace", "cloudflare"),
        (
            "cloudflare-kv:https://:hunter2@a",
            if cfg!(feature = "cloudflare-kv") { "https://" } else { "`cloudflare-kv`" },
        ),
        ("redis://:hunter2@127.0.0.1:1", "redis"),
        ("redis://hunter2@127.0.0.1:1", "redis"),
        ("redis://127.0.0.1:1?password=hunter2", "redis"),
        ("redis+unix:///run/redis.sock?pass=hunter2", "redis"),
        ("redis://:hunter2@:1", "redis"),
    ] {
        let done = populate(&dist, to, &["--retries", "0"], &[("AXUM_ISR_KV_TOKEN", "t0ken")]).await;
        assert_eq!((done.code, &*done.out), (2, ""), "{to}: {}", done.err);
        assert!(
            done.err.to_lowercase().contains(&expected.to_lowercase()) && !done.says("hunter2"),
            "{to}: {}",
            done.err
        );
    }
    let done = populate(&dist, "disk:x", &["--namespace", "a"], &[]).await;
    assert_eq!(done.code, 2, "{}", done.err);
    for more in [&["--retention", "1"][..], &["--batches", "0"], &["--route", "/a"], &["--nonsense"]] {
        let done = populate(&dist, "disk:x", more, &[]).await;
        assert_eq!(done.code, 2, "{more:?}: {}", done.err);
    }
    let done = populate(&dist, "disk:x", &[], &[("ISR_SIGNING_KEY", "hunter2")]).await;
    assert!(done.code == 2 && done.err.contains("ISR_SIGNING_KEY") && !done.says("hunter2"), "{}", done.err);
}

#[tokio::test]
async fn an_export_that_is_none_is_an_error() {
    let (dist, folder) = (Dist::empty(), tempfile::tempdir().unwrap());
    let done = populate(&dist, &disk(&folder), &[], &[]).await;
    assert_eq!((done.code, &*done.out), (1, ""), "{}", done.err);
    assert!(done.err.contains("vinext-prerender.json"), "{}", done.err);
    // One that cannot be reached may be one later.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let done = run(["populate", "--from", &url, "--to", &disk(&folder)], &[]).await;
    assert_eq!((done.code, &*done.out), (3, ""), "{}", done.err);
    assert!(done.err.contains("try again"), "{}", done.err);
}

/// Broken off, it says so; a repetition finds a store that it can use.
#[cfg(unix)]
#[tokio::test]
async fn a_run_that_is_broken_off_can_be_repeated() {
    let (dist, folder) = (Dist::new(&["a", "b"]), tempfile::tempdir().unwrap());
    let files = tower_http::services::ServeDir::new(dist.path());
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let silent = get(move || async move {
        asks.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let app = Router::new().route("/prerendered-routes/posts/b.html", silent).fallback_service(files);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    let program = program::start(["populate", "--from", &url, "--to", &disk(&folder)], &[]);
    asked.recv().await.unwrap();
    let id = program.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let done = program::ended(program).await;
    assert_eq!((done.code, &*done.out), (130, ""), "{}", done.err);
    assert!(done.err.starts_with("error: broken off"), "{}", done.err);
    assert_eq!(populate(&dist, &disk(&folder), &["--strict"], &[]).await.code, 0);
    let (app, _) = site(DiskStore::open(folder.path().join("cache")).unwrap());
    assert_eq!(state(&fetch(&app, "/posts/b").await), "HIT");
}

/// A path may not write on the terminal what it likes.
#[tokio::test]
async fn control_characters_are_escaped() {
    let (mut dist, folder) = (Dist::empty(), tempfile::tempdir().unwrap());
    dist.page("/posts/\u{202e}x", "posts/a.html");
    dist.row(serde_json::json!({"route": "/\u{1b}[2J\n", "status": "error\u{1b}[2J", "error": "no\nerror: \u{9b}2J"}));
    dist.save();
    fs::write(dist.file("posts/a.html"), "another").unwrap();
    for command in ["inspect", "verify"] {
        let done = run([command, dist.path().to_str().unwrap()], &[]).await;
        let text = format!("{}{}", done.out, done.err);
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{command}: {text:?}");
        assert!(text.contains("/posts/\\u{202e}x") && !text.contains("\nerror: no"), "{command}: {text:?}");
    }
    let done = populate(&dist, &disk(&folder), &[], &[]).await;
    let text = format!("{}{}", done.out, done.err);
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;
    use crate::servers::{PATIENCE, Server, patient};

    /// R43: Redis too, by the namespace that the site has; the password comes from the environment and is in no output.
    #[tokio::test]
    async fn redis_is_filled_with_a_password_of_the_environment() {
        let server = Server::with(&["--requirepass", "pa:ss/@%20word"]);
        let dist = Dist::new(&["a"]);
        let url = server.url();
        for (variables, code) in [(&[][..], 1), (&[("REDIS_PASSWORD", "wr0ng-one")], 1)] {
            let done = populate(&dist, &url, &["--retries", "0"], variables).await;
            assert_eq!((done.code, &*done.out), (code, ""), "{}", done.err);
            assert!(done.err.contains("credentials") && !done.says("wr0ng-one"), "{}", done.err);
        }
        let password = [("REDIS_PASSWORD", "pa:ss/@%20word")];
        let done = populate(&dist, &url, &["--namespace", "blog"], &password).await;
        assert_eq!(done.code, 0, "{}", done.err);
        let with_password = format!("redis://:pa%3Ass%2F%40%2520word@127.0.0.1:{}", server.port);
        let store = patient().namespace("blog").connect(&with_password).await.unwrap();
        let (app, handler) = site(store);
        assert_eq!(state(&fetch(&app, "/posts/a").await), "HIT");
        assert_eq!(handler.calls(), 0);
        let again = populate(&dist, &url, &["--namespace", "blog", "--json"], &password).await;
        assert_eq!(again.json()["skipped"][0]["reason"], "there already");
        assert!(!again.says("word"), "{}", again.out);
    }

    /// Whoever is out of reach has a code of his own: it is worth trying again.
    #[tokio::test]
    async fn redis_that_is_down_is_out_of_reach() {
        let mut server = Server::start();
        server.kill();
        let (dist, url) = (Dist::new(&["a"]), server.url());
        let done = populate(&dist, &url, &["--retries", "1"], &[("REDIS_PASSWORD", "hunter2")]);
        let done = tokio::time::timeout(PATIENCE, done).await.expect("it ends");
        assert_eq!((done.code, &*done.out), (3, ""), "{}", done.err);
        assert!(done.err.starts_with("error: ") && !done.says("hunter2"), "{}", done.err);
    }
}

/// R47: what a service says is short, on one line, and without the token that it was sent.
#[cfg(feature = "cloudflare-kv")]
#[tokio::test]
async fn a_token_is_not_in_what_a_service_says() {
    let says = |headers: http::HeaderMap| async move {
        let sent = headers["authorization"].to_str().unwrap().to_owned();
        (http::StatusCode::FORBIDDEN, format!("no\n\u{1b}[2J {sent} {}", "x".repeat(10_000)))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("cloudflare-kv:http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(says)).await });
    let dist = Dist::new(&["a"]);
    for json in [&[][..], &["--json"]] {
        let done = populate(&dist, &to, json, &[("AXUM_ISR_KV_TOKEN", "s3cret-token")]).await;
        assert_eq!((done.code, &*done.out, done.err.lines().count()), (1, "", 2), "{}", done.err);
        assert!(done.err.contains("403") && !done.err.contains(['\u{1b}']) && !done.says("s3cret"), "{}", done.err);
        assert!(done.err.chars().count() < 700, "{}", done.err);
    }
}
