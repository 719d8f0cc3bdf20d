//! Exports (R34): where paths and ids come from, and what can be set.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/exports.rs"]
mod exports;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request};
use axum::http::{StatusCode, header};
use axum::response::{Html, Response};
use axum::routing::get;
use axum_isr::Isr;
use axum_isr::config::ResponseHeaders;
use axum_isr::prerender::{Export, ExportError};
use axum_isr::testing::MemoryStore;
use common::{Gate, Handler, body, fetch};
use tower_http::services::ServeDir;

use exports::*;

type Setting = fn(Export) -> Export;

#[tokio::test]
async fn ids_come_from_the_export_the_handle_or_the_pages() {
    let head = async |isr: &Isr, ids: fn(Export) -> Export| {
        let app = Router::new().route("/", get(shown)).layer(isr.layer(route()));
        let (folder, _) = export(ids(Export::new(app).path("/"))).await;
        let manifest = manifest(&folder);
        let text = |key: &str| manifest[key].as_str().map(str::to_owned);
        (text("buildId").unwrap(), text("scope"))
    };
    let scope = |id: &str| Some(id.to_owned());
    let both = Isr::builder().deployment_id("d").build_id("b").build().unwrap();
    assert_eq!(head(&both, |export| export).await, ("b".into(), scope("d")));
    assert_eq!(head(&both, |export| export.build_id("x").deployment_id("y")).await, ("x".into(), scope("y")));
    assert_eq!(head(&both, |export| export.deployment_id("")).await, ("b".into(), None));
    let deployed = Isr::builder().deployment_id("d").build().unwrap();
    assert_eq!(head(&deployed, |export| export).await, ("d".into(), scope("d")));
    // With a store, the scope is a fingerprint of this program: nobody else has it.
    let stored = Isr::builder().store(MemoryStore::new()).build().unwrap();
    assert!(stored.stats().scope.starts_with("exe-"));
    let (build, scope) = head(&stored, |export| export).await;
    assert!(build.starts_with("sha-") && scope.is_none(), "{build} {scope:?}");
}

#[tokio::test]
async fn handles_that_disagree_are_an_error() {
    let one = Isr::builder().deployment_id("one").build().unwrap();
    let two = Isr::builder().deployment_id("two").build().unwrap();
    let app = Router::new()
        .route("/1", get(shown).layer(one.layer(route())))
        .route("/2", get(shown).layer(two.layer(route())));
    let folder = tempfile::tempdir().unwrap();
    let wanted = || Export::new(app.clone()).paths(["/1", "/2"]);
    let problem = wanted().to(folder.path().join("site")).await.unwrap_err();
    assert_eq!(
        problem.to_string(),
        "deployment_id: expected one for all handles of the router, or one for the export, got \"one\", \"two\""
    );
    assert!(!folder.path().join("site").exists());
    wanted().deployment_id("d").build_id("b").to(folder.path().join("site")).await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(Setting, &str); 9] = [
        (|export| export.concurrency(0), "concurrency"),
        (|export| export.max_pages(0), "max_pages"),
        (|export| export.build_id("a b"), "build_id"),
        (|export| export.build_id(""), "build_id"),
        (|export| export.deployment_id("a.b"), "deployment_id"),
        (|export| export.host("a@b"), "host"),
        (|export| export.variant("a b", "1", "x"), "variant"),
        (|export| export.variant("a", "1", "../x"), "variant"),
        (|export| export.built_at(UNIX_EPOCH - MINUTE), "built_at"),
    ];
    for (setting, name) in cases {
        let app = Router::new().route("/", get(shown)).layer(isr().layer(route()));
        let problem = setting(Export::new(app).path("/")).to(folder.path().join("site")).await.unwrap_err();
        let ExportError::Invalid(problem) = problem else { panic!("{problem:?}") };
        assert_eq!(problem.setting(), name);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// What is looked for comes from tasks, and a task that fails does not take the rest with it.
#[tokio::test]
async fn paths_come_from_tasks() {
    let isr = isr();
    let app = Router::new().fallback(shown).layer(isr.layer(route()));
    let wanted = Export::new(app)
        .paths_from(async |paths: axum_isr::prerender::Paths| {
            for n in 0..100 {
                paths.push(format!("/{n}")).await;
            }
            paths.push("bad").await;
            Err::<(), _>("the database is gone")
        })
        .pattern_from("/posts/{year}/{slug}", async |posts: axum_isr::prerender::PathsOf| {
            posts.push(["2026", "a b"]).await;
            posts.push("one").await;
            Ok::<(), std::io::Error>(())
        })
        .pattern_from("/panics/{x}", async |_| -> Result<(), std::io::Error> { panic!("on purpose") });
    let (_folder, report) = export(wanted).await;
    assert_eq!(report.rendered.len(), 101);
    assert!(rendered(&report).contains(&"/posts/2026/a%20b"));
    let failed: Vec<_> = report.failed.iter().map(|row| (&*row.path, row.problem.as_deref().unwrap())).collect();
    assert_eq!(
        failed,
        [
            ("", "the database is gone"),
            ("/panics/{x}", "panicked with \"on purpose\""),
            ("/posts/{year}/{slug}", "expected 2 values for year, slug, got 1"),
            ("bad", "expected a path that begins with `/`, got \"bad\""),
        ]
    );
}

#[tokio::test]
async fn there_is_an_end_to_paths() {
    let isr = isr();
    let app = Router::new().fallback(shown).layer(isr.layer(route()));
    let forever = async |paths: axum_isr::prerender::Paths| {
        for n in 0_u64.. {
            paths.push(format!("/{n}")).await;
        }
        Ok::<(), std::io::Error>(())
    };
    let (_folder, report) = export(Export::new(app).paths_from(forever).max_pages(20)).await;
    assert_eq!((report.rendered.len(), report.truncated, report.is_complete()), (20, true, false));
}

/// A page that is too much for the moment is rendered when there is room.
#[tokio::test]
async fn crowded_pages_are_rendered_alone() {
    // The bodies of all of these at once are more than a quarter of the memory.
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let (gate, waits) = (Gate::closed(), Handler::counting());
    let handler = {
        let (gate, waits) = (gate.clone(), waits.clone());
        move || {
            let (gate, waits) = (gate.clone(), waits.clone());
            async move {
                axum::handler::Handler::call(waits.clone(), Request::new(Body::empty()), ()).await;
                if waits.calls() == 8 {
                    gate.open();
                }
                let first = futures_util::stream::once(async { Ok::<_, std::io::Error>(vec![b'x'; 700 << 10]) });
                let rest = futures_util::stream::once(async move {
                    gate.pass().await;
                    Ok(vec![b'y'; 1])
                });
                Body::from_stream(futures_util::StreamExt::chain(first, rest))
            }
        }
    };
    let app = Router::new().route("/{n}", get(handler)).layer(isr.layer(route()));
    let (_folder, report) = export(Export::new(app).paths((0..8).map(|n| format!("/{n}"))).concurrency(8)).await;
    assert_eq!((report.rendered.len(), skipped(&report)), (8, vec![]), "{report}");
    assert!(waits.calls() > 8, "they were crowded");
}

#[tokio::test]
async fn progress_is_told() {
    let isr = isr();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let app = Router::new().fallback(shown).layer(isr.layer(route()));
    let told = Arc::clone(&seen);
    let watch = move |progress: &axum_isr::prerender::ExportProgress| {
        told.lock().unwrap().push((progress.done, progress.known, progress.rendered));
    };
    export(Export::new(app).paths(["/a", "/b", "/c"]).on_progress(watch)).await;
    assert_eq!(*seen.lock().unwrap(), [(1, 3, 1), (2, 3, 2), (3, 3, 3)]);
}

/// The pages are a static site.
#[tokio::test]
async fn any_file_server_serves_the_folder() {
    let isr = isr();
    let feed = async || ([(header::CONTENT_TYPE, "application/xml")], "<rss/>");
    let app = Router::new().route("/feed.xml", get(feed)).fallback(shown).layer(isr.layer(route()));
    let paths = ["/", "/about", "/posts/größe", "/posts/a%20b", "/feed.xml", "/docs/"];
    for slash in [true, false] {
        let (folder, report) = export(Export::new(app.clone()).paths(paths).trailing_slash(slash)).await;
        assert!(report.is_complete(), "{report}");
        let server = Router::new().fallback_service(ServeDir::new(folder.path().join("site/prerendered-routes")));
        for row in &report.rendered {
            let asked = match (&*row.path, slash) {
                ("/about" | "/posts/gr%C3%B6%C3%9Fe" | "/posts/a%20b", true) => format!("{}/", row.path),
                ("/about" | "/posts/gr%C3%B6%C3%9Fe" | "/posts/a%20b", false) => format!("{}.html", row.path),
                (path, _) => path.to_owned(),
            };
            let answer: Response = fetch(&server, &asked).await;
            assert_eq!(answer.status(), StatusCode::OK, "{asked}: {:?}", names(&folder));
            assert_eq!(body(answer).await, body(fetch(&app, &row.path).await).await, "{asked}");
        }
    }
}

#[tokio::test]
async fn a_report_is_readable_and_harmless() {
    let isr = isr();
    let app = Router::new().route("/", get(shown)).layer(isr.layer(route()));
    let (_folder, report) = export(Export::new(app).paths(["/", "x\u{1b}[2J"])).await;
    let text = report.to_string();
    assert!(text.starts_with("1 rendered, 0 skipped, 1 failed; "), "{text}");
    assert!(text.contains("\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
}

/// `Vary`, debug headers and the state are not the page's.
#[tokio::test]
async fn headers_of_the_cache_are_not_exported() {
    let isr = Isr::builder().headers(ResponseHeaders::shared()).build().unwrap();
    let query = async |RawQuery(query): RawQuery| Html(query.unwrap_or_default());
    let app = Router::new().route("/", get(query)).layer(isr.layer(route()));
    let (folder, _) = export(Export::new(app).path("/?x=1")).await;
    let row = row(&folder, "/");
    let names: Vec<_> = row["headers"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["content-type", "etag"]);
    assert_eq!(page(&folder, "index.html"), "");
}
