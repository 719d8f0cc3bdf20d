//! Exports (R34): what is rendered, what is left out, and what the folder has in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/exports.rs"]
mod exports;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path as Params, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use axum_isr::prerender::Export;
use axum_isr::testing::ManualClock;
use axum_isr::{CacheLife, DynamicRequest, Isr, Render, RouteConfig};
use common::{Handler, request_with, send, state};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use exports::*;

async fn panics() -> Html<&'static str> {
    panic!("on purpose")
}

#[tokio::test]
async fn a_page_and_its_row() {
    let isr = isr();
    let post = async |Params(slug): Params<String>, render: Render| {
        render.tag(format!("post:{slug}"));
        ([("x-own", "yes")], Html(format!("<h1>{slug}</h1>")))
    };
    let app = Router::new()
        .route("/", get(shown))
        .route("/posts/{slug}", get(post))
        .layer(isr.layer(route().expire(2 * MINUTE).tags(["blog"])));
    let (folder, report) = export(Export::new(app).path("/").pattern("/posts/{slug}", ["tide"])).await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(names(&folder), ["index.html", "posts/tide.html"]);
    assert_eq!(page(&folder, "posts/tide.html"), "<h1>tide</h1>");
    let row = row(&folder, "/posts/tide");
    assert_eq!(row["route"], "/posts/{slug}");
    assert_eq!(row["status"], "rendered");
    assert_eq!((&row["revalidate"], &row["expire"]), (&60.into(), &120.into()));
    assert_eq!(row["tags"], serde_json::json!(["blog", "post:tide"]));
    assert_eq!(row["headers"]["x-own"], "yes");
    assert_eq!(row["headers"]["content-type"], "text/html; charset=utf-8");
    assert_eq!(row["responseStatus"], 200);
    assert_eq!(row["file"], "posts/tide.html");
    let manifest = manifest(&folder);
    // Whole seconds, and no id that nobody chose.
    assert_eq!(manifest["builtAt"], 1_700_000_000);
    assert_eq!(manifest.get("scope"), None);
    let id = manifest["buildId"].as_str().unwrap();
    assert!(id.starts_with("sha-") && id.len() == 20, "{id}");
    assert_eq!(report.build_id, id);
    assert_eq!(std::fs::read_to_string(folder.path().join("site/BUILD_ID")).unwrap(), id);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "nothing is left beside it");
}

#[tokio::test]
async fn what_fails_is_reported_and_does_not_stop_the_rest() {
    let isr = isr();
    let broken = async || (StatusCode::INTERNAL_SERVER_ERROR, "broken");
    let never = async || Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
    let endless = async || {
        let chunk = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        let chunks = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        Body::from_stream(chunks)
    };
    let breaks = async || {
        let chunks = [Ok("a"), Err(std::io::Error::other("gone"))];
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let odd = async || ([("x-odd", HeaderValue::from_bytes(b"\xff").unwrap())], "odd");
    let app = Router::new()
        .route("/", get(shown))
        .route("/500", get(broken))
        .route("/404", get(async || (StatusCode::NOT_FOUND, Html("nothing here"))))
        .route("/moved", get(async || Redirect::permanent("/")))
        .route("/panics", get(panics))
        .route("/never", get(never))
        .route("/endless", get(endless))
        .route("/breaks", get(breaks))
        .route("/odd", get(odd))
        .route("/me", get(async |_: DynamicRequest| "me"))
        .route("/login", get(async || Redirect::temporary("/")))
        .route("/secret", get(async || StatusCode::FORBIDDEN))
        .route("/cookie", get(async || ([(header::SET_COOKIE, "a=b")], "cookie")))
        .layer(isr.layer(route()))
        .route("/plain", get(async || "not cached"))
        .route("/plain-500", get(broken))
        .layer(CatchPanicLayer::new());
    let paths = [
        "/",
        "/500",
        "/404",
        "/moved",
        "/panics",
        "/never",
        "/endless",
        "/breaks",
        "/odd",
        "/me",
        "/cookie",
        "/plain",
        "/login",
        "/secret",
        "/plain-500",
        "/nowhere",
        "no-path",
        "/a#b",
    ];
    let (folder, report) = export(Export::new(app).paths(paths).pattern("/{a}/{b}", ["one"])).await;
    assert_eq!(rendered(&report), ["/", "/404", "/moved"], "{report}");
    assert_eq!(
        failed(&report),
        [
            ("/500", "status", Some(500)),
            ("/a#b", "path", None),
            ("/breaks", "broken", Some(200)),
            ("/never", "broken", Some(200)),
            ("/nowhere", "status", Some(404)),
            ("/odd", "header-value", None),
            ("/panics", "panicked", None),
            ("/plain-500", "status", Some(500)),
            ("/{a}/{b}", "path", None),
            ("no-path", "path", None),
        ],
        "{report}"
    );
    let expected = [
        ("/cookie", "set-cookie"),
        ("/endless", "too-large"),
        ("/login", "redirect"),
        ("/me", "dynamic"),
        ("/plain", "not-cached"),
        ("/secret", "status"),
    ];
    assert_eq!(skipped(&report), expected, "{report}");
    assert!(!report.is_complete());
    let moved = row(&folder, "/moved");
    assert_eq!((&moved["responseStatus"], &moved["headers"]["location"]), (&308.into(), &"/".into()));
    assert_eq!(row(&folder, "/404")["responseStatus"], 404);
    assert_eq!(row(&folder, "/500")["responseStatus"], 500);
    assert_eq!(row(&folder, "/me")["status"], "skipped");
}

/// I1: what is exported is a function of the key; nothing of it is kept, and nothing that a visitor sends asks for it.
#[tokio::test]
async fn nothing_is_kept_and_no_visitor_can_ask_for_it() {
    let isr = isr();
    let handler = Handler::new(|n, request: Request| async move { format!("{n} {:?}", request.headers()) });
    let app = Router::new().route("/", get(handler.clone())).layer(isr.layer(route()));
    let (folder, _) = export(Export::new(app.clone()).path("/").host("example.org")).await;
    assert_eq!(page(&folder, "index.txt"), "1 {}", "the host is not declared");
    let stats = isr.stats();
    assert_eq!((stats.memory_items, stats.stored, stats.flights), (0, 0, 0), "{stats:?}");
    for name in ["x-prerender", "purpose", "x-vinext-prerender", "x-axum-isr-prerender", "next-router-prefetch"] {
        let answer = send(&app, request_with("/", &[(name, "prerender")])).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(["MISS", "HIT"].contains(&state(&answer)), "{name}");
    }
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn cached_data_is_tagged_and_shared_by_pages() {
    let isr = isr();
    let computed = Handler::counting();
    let (counts, cache) = (computed.clone(), isr.clone());
    let handler = move |Params(n): Params<u32>| {
        let (counts, cache) = (counts.clone(), cache.clone());
        async move {
            let compute = || async move {
                axum::handler::Handler::call(counts, Request::new(Body::empty()), ()).await;
                7_u32
            };
            let data: u32 = cache.data("seven").tag("numbers").get_or_init(compute).await.unwrap();
            format!("{n} {data}")
        }
    };
    let app = Router::new().route("/{n}", get(handler)).layer(isr.layer(route()));
    let (folder, report) = export(Export::new(app).paths(["/1", "/2", "/3"]).concurrency(1)).await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(page(&folder, "3.txt"), "3 7");
    assert_eq!(row(&folder, "/3")["tags"], serde_json::json!(["numbers"]));
    assert_eq!(computed.calls(), 1);
}

/// R34: the same input, the same bytes, though time passes between one page and the next.
#[tokio::test]
async fn what_pages_live_does_not_depend_on_how_long_the_export_takes() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let cache = isr.clone();
    let handler = move |Params(n): Params<u32>| {
        let (clock, cache) = (clock.clone(), cache.clone());
        async move {
            clock.advance(Duration::from_millis(7_300));
            let life = CacheLife::HOURS;
            let data: u32 = cache.data("seven").life(life).get_or_init(|| async { 7_u32 }).await.unwrap();
            format!("{n} {data}")
        }
    };
    let app = Router::new().route("/{n}", get(handler)).layer(isr.layer(RouteConfig::forever()));
    let (folder, report) = export(Export::new(app).paths(["/1", "/2", "/3"]).concurrency(1)).await;
    assert!(report.is_complete(), "{report}");
    let life = CacheLife::HOURS;
    for path in ["/1", "/2", "/3"] {
        let row = row(&folder, path);
        let lives = [&row["revalidate"], &row["expire"]].map(Value::as_f64);
        assert_eq!(lives, [life.revalidate(), life.expire()].map(|life| Some(life.as_secs_f64())), "{path}");
    }
}

#[tokio::test]
async fn nested_routers_wildcards_and_layers_outside() {
    let isr = isr();
    let inner = Router::new()
        .route("/{*rest}", get(async |Params(rest): Params<String>| format!("rest {rest}")))
        .route_layer(isr.layer(route()));
    let app = Router::new()
        .route("/fallible", get(async || "x".repeat(2_000)))
        .route_layer(isr.layer(route()))
        .nest("/files", inner)
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new());
    let wanted = Export::new(app.clone()).path("/fallible").pattern("/files/{*rest}", ["a/b c", "größe"]);
    let (folder, report) = export(wanted).await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(page(&folder, "files/a/b%20c.txt"), "rest a/b c");
    assert_eq!(page(&folder, "files/gr%C3%B6%C3%9Fe.txt"), "rest größe");
    // Under the names that file servers look for, too.
    assert_eq!(page(&folder, "files/a/b c.txt"), "rest a/b c");
    assert_eq!(page(&folder, "files/größe.txt"), "rest größe");
    assert_eq!(page(&folder, "fallible.txt").len(), 2_000);
    assert_eq!(row(&folder, "/files/a/b%20c")["route"], "/files/{*rest}");
    assert_eq!(row(&folder, "/files/a/b%20c")["inputs"]["nest"], "/files");
}

/// Names with escapes are copied to those that file servers look for, where nobody else has them.
#[tokio::test]
async fn a_plain_name_that_is_taken_is_not_given_again() {
    let isr = isr();
    let handler = async |request: Request| match request.uri().path() {
        "/" => Html("<a href='/feed.xml'></a><a href='/%66eed.xml/x'></a><a href='/%C3%A4'></a>").into_response(),
        "/feed.xml" => ([(header::CONTENT_TYPE, "application/xml")], "feed").into_response(),
        path => Html(path.to_owned()).into_response(),
    };
    let app = Router::new().fallback(handler).layer(isr.layer(route()));
    // These want the names of each other.
    let paths = ["/", "/%C3%A4.html/x", "/b%20.html", "/b%20.html/y", "/%62%20.html"];
    let mut first = None;
    for concurrency in [1, 3] {
        let wanted = Export::new(app.clone()).paths(paths).follow_links(9).concurrency(concurrency);
        let (folder, report) = export(wanted).await;
        assert!(report.is_complete(), "{report}");
        assert_eq!(report.rendered.len(), 8);
        assert_eq!(page(&folder, "feed.xml"), "feed");
        for row in &report.rendered {
            let body = match &*row.path {
                "/" => continue,
                "/feed.xml" => "feed",
                path => path,
            };
            assert_eq!(page(&folder, &row.file), body);
        }
        let all = files(folder.path());
        assert_eq!(*first.get_or_insert_with(|| all.clone()), all);
    }
}

/// A page that no visitor gets is in no export, though the layer has rendered it.
#[tokio::test]
async fn what_layers_outside_refuse_is_left_out() {
    let guard = async |request: Request, next: Next| {
        let asks = request.uri().path().to_owned();
        let mut response = next.run(request).await;
        // Not at once: what is outside may ask somebody else first.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert_ne!(asks, "/panics", "on purpose");
        match response.headers().get("x-for").map(HeaderValue::as_bytes) {
            Some(b"members") => StatusCode::FORBIDDEN.into_response(),
            Some(b"nobody") => Redirect::temporary("/").into_response(),
            // What is made of it outside is not written.
            _ => {
                response.headers_mut().insert("x-outside", HeaderValue::from_static("yes"));
                let (parts, body) = response.into_parts();
                let text = to_bytes(body, usize::MAX).await.unwrap();
                (parts, [&text, "outside".as_bytes()].concat()).into_response()
            }
        }
    };
    let isr = isr();
    let app = Router::new()
        .route("/", get(shown))
        .route("/members", get(async || ([("x-for", "members")], Html("secret"))))
        .route("/nobody", get(async || ([("x-for", "nobody")], Html("secret"))))
        .route("/gone", get(async || (StatusCode::NOT_FOUND, Html("nothing here"))))
        .route("/panics", get(shown))
        .layer(isr.layer(route()))
        .layer(from_fn(guard));
    let paths = ["/", "/members", "/nobody", "/gone", "/panics"];
    let (folder, report) = export(Export::new(app).paths(paths)).await;
    assert_eq!(rendered(&report), ["/", "/gone"], "{report}");
    assert_eq!(skipped(&report), [("/members", "refused-outside"), ("/nobody", "refused-outside")]);
    assert_eq!(failed(&report), [("/panics", "panicked", None)]);
    assert_eq!(names(&folder), ["gone.html", "index.html"]);
    assert_eq!(page(&folder, "index.html"), "<p>/</p>");
    assert_eq!(row(&folder, "/")["headers"].get("x-outside"), None);
}

#[tokio::test]
async fn declared_queries_are_pages_and_others_are_the_same_page() {
    let isr = isr();
    let handler = Handler::new(|_, request: Request| async move { Html(request.uri().to_string()) });
    let app = Router::new().route("/list", get(handler.clone())).layer(isr.layer(route().query(["page"])));
    let paths = ["/list?page=2&utm=1", "/list?utm=x", "/list", "/list?utm=y&page=2", "/list?page=1"];
    let (folder, report) = export(Export::new(app).paths(paths)).await;
    assert_eq!(rendered(&report), ["/list", "/list?page=1", "/list?page=2"]);
    assert_eq!(handler.calls(), 3, "each once");
    assert_eq!(page(&folder, "list.html"), "/list");
    for row in &report.rendered {
        assert_eq!(page(&folder, &row.file), row.path);
    }
    let queries: Vec<_> =
        manifest(&folder)["routes"].as_array().unwrap().iter().map(|row| row["inputs"]["query"].clone()).collect();
    assert_eq!(queries, [Value::Null, "page=1".into(), "page=2".into()]);
}

#[tokio::test]
async fn a_failing_page_has_one_row_whatever_its_query() {
    let isr = isr();
    let handler = Handler::new(|_, _| async { StatusCode::INTERNAL_SERVER_ERROR });
    let app = Router::new().route("/", get(shown)).route("/bad", get(handler)).layer(isr.layer(route()));
    let (_folder, report) = export(Export::new(app).paths(["/", "/bad?a=1", "/bad?a=2", "/bad?a=3"])).await;
    assert_eq!(failed(&report), [("/bad", "status", Some(500))]);
}

#[tokio::test]
async fn variants_lie_beside_their_pages() {
    let isr = isr();
    let handler = Handler::new(|_, request: Request| async move {
        if request.headers().contains_key("rsc") {
            ([(header::CONTENT_TYPE, "text/x-component")], "data").into_response()
        } else if request.headers().contains_key("hx-request") {
            Html("part").into_response()
        } else {
            Html("page").into_response()
        }
    });
    let declared = route().header("rsc".parse().unwrap(), ["1"]).header("hx-request".parse().unwrap(), ["true"]);
    let app = Router::new()
        .route("/", get(handler.clone()))
        .route("/about", get(handler.clone()))
        .route_layer(isr.layer(declared))
        .route("/plain", get(handler.clone()).layer(isr.layer(route())));
    let wanted = Export::new(app).paths(["/", "/about", "/plain"]).variant("RSC", "1", "rsc");
    let (folder, report) = export(wanted.variant("hx-request", "true", "part")).await;
    assert!(report.is_complete(), "{report}");
    let expected =
        ["about.html", "about.part.html", "about.rsc", "index.html", "index.part.html", "index.rsc", "plain.html"];
    assert_eq!(names(&folder), expected);
    assert_eq!((page(&folder, "about.rsc"), page(&folder, "about.part.html")), ("data".into(), "part".into()));
    assert_eq!(handler.calls(), 7, "what the route does not declare is not rendered again");
    let variants: Vec<_> = report.rendered.iter().map(|row| row.variant.as_deref()).collect();
    assert_eq!(variants.iter().flatten().count(), 4);
}

#[tokio::test]
async fn a_declared_host_is_that_of_the_export() {
    let isr = isr();
    let host = async |headers: HeaderMap| headers[header::HOST].to_str().unwrap().to_owned();
    let app = Router::new().route("/", get(host)).layer(isr.layer(route().host()));
    let (folder, report) = export(Export::new(app).path("/").host("Example.org:443")).await;
    assert_eq!(page(&folder, &report.rendered[0].file), "example.org");
    assert_eq!(row(&folder, "/")["inputs"]["host"], "example.org");
}

/// The order in which pages come, and how many at once, are not in the bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_input_gives_the_same_bytes() {
    let export_with = async |concurrency: usize, backwards: bool| {
        let isr = isr();
        let handler = async |request: Request| {
            // The later ones are faster.
            let n = request.uri().path().len();
            for _ in 0..(40 - n.min(40)) {
                tokio::task::yield_now().await;
            }
            if n == 5 { Err(StatusCode::INTERNAL_SERVER_ERROR) } else { Ok(Html(request.uri().to_string())) }
        };
        let app = Router::new().fallback(handler).layer(isr.layer(route().query(["q"])));
        let mut paths: Vec<_> = (0..30).map(|n| format!("/{}?q={n}", "é".repeat(n % 7))).collect();
        paths.extend(["/A".into(), "/a".into(), "/a/b".into(), "/a.html".into(), "/index".into(), "/".into()]);
        if backwards {
            paths.reverse();
        }
        let (folder, report) = export(Export::new(app).paths(paths).concurrency(concurrency)).await;
        let rows: Vec<_> = report.rendered.iter().map(|row| (row.path.clone(), row.file.clone())).collect();
        (files(&folder.path().join("site")), rows)
    };
    let (first, rows) = export_with(1, false).await;
    assert!(first.len() > 30, "{:?}", first.keys());
    for (concurrency, backwards) in [(1, true), (8, false), (8, true)] {
        let (files, others) = export_with(concurrency, backwards).await;
        assert_eq!(rows, others, "{concurrency}");
        assert!(files == first, "{concurrency}: {:?}", files.keys());
    }
    // One file for each of them, also where a file system takes `A` for `a`.
    let mut lower: Vec<_> = rows.iter().map(|(_, file)| file.to_lowercase()).collect();
    lower.sort();
    lower.dedup();
    assert_eq!(lower.len(), rows.len());
}
