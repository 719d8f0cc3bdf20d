//! The verbs of the admin API: what they do to pages.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/admin.rs"]
mod admin_site;
mod common;

use std::time::Duration;

use admin_site::{BEARER, EVERYTHING, Site, TOKEN, call, error};
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use axum_isr::admin::{self, AdminConfig};
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, FaultyStore, MemoryStore, Operation};
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, body, fetch, header, seen, send, settled, state, until};
use http::StatusCode;
use serde_json::{Value, json};

async fn value(response: Response) -> Value {
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, "application/json"));
    serde_json::from_str(&body(response).await).unwrap()
}

/// What is named is revalidated or expired, as the address says, in one step.
#[tokio::test]
async fn what_is_named_is_invalidated() {
    for (text, [a, b, d], marks) in [
        (r#"{"tags":["a"]}"#, [true, false, false], 1),
        (r#"{"paths":["/a","/b"]}"#, [true, false, false], 2),
        (r#"{"prefixes":["/b"]}"#, [false, true, false], 1),
        (r#"{"routes":["/d"]}"#, [false, false, true], 1),
        (r#"{"tags":["a","unknown"],"paths":["/b/c"],"prefixes":["/x"],"routes":["/y"]}"#, [true, true, false], 5),
        (EVERYTHING, [true, true, true], 1),
        (r#"{"all":true,"tags":["a"]}"#, [true, true, true], 2),
        (r#"{"tags":["unknown"]}"#, [false, false, false], 1),
    ] {
        for (verb, marked) in [("revalidate", "STALE"), ("expire", "MISS")] {
            let site = Site::new();
            site.states().await;
            let report = value(site.post(&format!("/_isr/api/{verb}"), &[BEARER], text).await).await;
            assert!(report["stamp"].as_u64().unwrap() > 0 && report.as_object().unwrap().len() == 3, "{report}");
            assert_eq!((&report["verb"], &report["marks"]), (&verb.into(), &marks.into()), "{text}");
            let expected = [a, b, d].map(|hit| if hit { marked } else { "HIT" });
            assert_eq!(site.states().await, expected, "{verb} {text}");
            settled(&site.isr).await;
        }
    }
}

/// A body that is not what it should be says what was expected, and does nothing.
#[tokio::test]
async fn bodies_are_bounded_and_checked() {
    let site = Site::new();
    let many = format!(r#"{{"all":true,"routes":[{}"/"]}}"#, r#""/x","#.repeat(999));
    for (path, text, expected) in [
        ("revalidate", "", "EOF"),
        ("revalidate", "[]", "expected an object, got a list"),
        ("expire", r#" [["a"]]"#, "expected an object, got a list"),
        ("regenerate", r#"["/a",null]"#, "expected an object, got a list"),
        ("revalidate", "{}", "body: expected 1 to 1000 tags, paths, prefixes and routes, or all, got 0"),
        ("expire", r#"{"all":false}"#, "got 0"),
        ("expire", &many, "got 1001"),
        ("expire", r#"{"pages":["/a"]}"#, "unknown field `pages`"),
        ("expire", r#"{"tags":["a",""]}"#, "tag: expected 1 to 256 bytes, got 0 bytes"),
        ("expire", r#"{"tags":["a"],"routes":["d"]}"#, "route: expected a path that begins with /"),
        ("expire", r#"{"all":true,"verb":"revalidate"}"#, "verb: expected expire, as the address says, got revalidate"),
        ("revalidate", r#"{"all":true,"verb":"expire"}"#, "verb: expected revalidate, as the address says, got expire"),
        ("regenerate", "", "EOF"),
        ("regenerate", "{}", "body: expected a path or a tag, got neither"),
        ("regenerate", r#"{"path":null,"tag":null}"#, "got neither"),
        ("regenerate", r#"{"path":"/a","tag":"a"}"#, "body: expected a path or a tag, got both"),
        ("regenerate", r#"{"paths":["/a"]}"#, "unknown field `paths`, expected `path` or `tag`"),
        ("regenerate", r#"{"path":"a"}"#, "path: expected a path that begins with /"),
        ("regenerate", r#"{"tag":""}"#, "tag: expected 1 to 256 bytes, got 0 bytes"),
    ] {
        let response = site.post(&format!("/_isr/api/{path}"), &[BEARER], text.to_owned()).await;
        assert_eq!(response.status(), 400, "{path} {text}");
        let error = error(response).await;
        assert!(error.contains(expected), "{error}, not {expected}");
    }
    let large = |bytes: usize| format!("{}{EVERYTHING}", " ".repeat(bytes - EVERYTHING.len()));
    let response = site.post("/_isr/api/expire", &[BEARER], large((64 << 10) + 1)).await;
    assert_eq!(response.status(), 413);
    assert_eq!(error(response).await, "body: expected at most 65536 bytes, got more");
    assert_eq!(site.isr.stats().invalidations, 0);
    assert_eq!(site.post("/_isr/api/expire", &[BEARER], large(64 << 10)).await.status(), 200);
    // As the command of this crate says it.
    let said = r#"{"tags":["a"],"verb":"expire"}"#;
    assert_eq!(site.post("/_isr/api/expire", &[BEARER], said).await.status(), 200);
}

/// A caller learns that others do not know of it yet, and may call again; here it is in effect.
#[tokio::test]
async fn a_store_out_of_reach_is_503() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let isr = Isr::builder().deployment_id("one").store(store).build().unwrap();
    let app = Router::new()
        .route("/a", get(Handler::counting()).layer(isr.layer(RouteConfig::forever())))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .with_state(isr.clone());
    fetch(&app, "/a").await;
    faults.set(Operation::Invalidate, Fault::Error(StoreErrorKind::Unavailable));
    let request = || call("POST", "/_isr/api/expire", &[BEARER], r#"{"paths":["/a"]}"#);
    let response = send(&app, request()).await;
    assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (503, "no-store"));
    let error = error(response).await;
    assert!(error.starts_with("invalidated in this process only, because "), "{error}");
    assert_eq!(state(&fetch(&app, "/a").await), "MISS");
    faults.clear();
    assert_eq!(send(&app, request()).await.status(), 200);
    until(|| isr.stats().unsent_marks == 0).await;
}

fn mounted(isr: &Isr, page: &Handler) -> Router {
    Router::new()
        .route("/a", get(page.clone()).layer(isr.layer(RouteConfig::forever().tags(["t"]))))
        .route("/b", get(page.clone()).layer(isr.layer(RouteConfig::forever().tags(["t"]))))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .with_state(isr.clone())
}

async fn regenerate(app: &Router, text: &'static str) -> Value {
    value(send(app, call("POST", "/_isr/api/regenerate", &[BEARER], text)).await).await
}

/// The pages of a path or a tag are rendered again, now, and the answer says how many could be.
#[tokio::test]
async fn pages_are_rendered_again_and_counted() {
    let isr = Isr::builder().build().unwrap();
    let page = Handler::new(|n, _| async move {
        let status = if n == 6 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, format!("render {n}"))
    });
    let app = mounted(&isr, &page);
    let report = |total: usize, done: usize, failed: usize| json!({ "total": total, "done": done, "failed": failed, "finished": true, "local_only": false });
    assert_eq!(regenerate(&app, r#"{"tag":"t"}"#).await, report(0, 0, 0));
    seen(&app, "/a").await;
    seen(&app, "/b").await;
    assert_eq!(regenerate(&app, r#"{"path":"/a"}"#).await, report(1, 1, 0));
    assert_eq!(
        [seen(&app, "/a").await, seen(&app, "/b").await],
        [("HIT", "render 3".into()), ("HIT", "render 2".into())]
    );
    assert_eq!(regenerate(&app, r#"{"tag":"t"}"#).await, report(2, 2, 0));
    assert_eq!((page.calls(), regenerate(&app, r#"{"path":"/b"}"#).await), (5, report(1, 0, 1)));
    assert_eq!(page.calls(), 6);
}

/// Pages are rendered again here also where the other processes cannot be told, and the answer says that.
#[tokio::test]
async fn others_that_could_not_be_told_are_told_of() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let isr = Isr::builder().deployment_id("one").store(store).build().unwrap();
    let app = mounted(&isr, &Handler::counting());
    fetch(&app, "/a").await;
    faults.set(Operation::Invalidate, Fault::Error(StoreErrorKind::Unavailable));
    let report = regenerate(&app, r#"{"path":"/a"}"#).await;
    assert_eq!(report, json!({ "total": 1, "done": 1, "failed": 0, "finished": true, "local_only": true }));
}

/// Nobody waits longer than ten seconds, and it goes on.
#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_how_far_it_is() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let page = Handler::gated_again(&gate);
    let app = mounted(&isr, &page);
    seen(&app, "/a").await;
    let began = tokio::time::Instant::now();
    let report = regenerate(&app, r#"{"path":"/a"}"#).await;
    assert_eq!(report, json!({ "total": 1, "done": 0, "failed": 0, "finished": false, "local_only": false }));
    assert_eq!(began.elapsed().as_secs(), 10);
    gate.open();
    settled(&isr).await;
    assert_eq!(seen(&app, "/a").await, ("HIT", "render 2".into()));
}

/// It goes on without who asked for it.
#[tokio::test]
async fn who_leaves_stops_nothing() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let page = Handler::gated_again(&gate);
    let app = mounted(&isr, &page);
    seen(&app, "/a").await;
    let asked = tokio::spawn({
        let app = app.clone();
        async move { regenerate(&app, r#"{"tag":"t"}"#).await }
    });
    until(|| page.calls() == 2).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    gate.open();
    settled(&isr).await;
    assert_eq!(seen(&app, "/a").await, ("HIT", "render 2".into()));
    isr.shutdown(Duration::from_secs(1)).await;
}
