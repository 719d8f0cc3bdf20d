//! What can be seen from outside: events of `tracing` with their reasons, counters, and nothing that should not be seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{DynamicRequest, Isr, Render, RouteConfig};
use common::{Gate, Handler, Logs, body, fetch, head, let_run, request, request_with, send, settled, state, waiting};
use http::StatusCode;
use http_body_util::BodyExt;
use tower_http::catch_panic::CatchPanicLayer;

const MINUTE: Duration = Duration::from_secs(60);

fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

fn app(isr: &Isr, handler: &Handler, route: RouteConfig) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone()).post(handler.clone())).route_layer(isr.layer(route))
}

/// R24: below a nest too the path is the one that the visitor asked for.
#[tokio::test]
async fn a_nested_page_is_logged_under_its_own_path() {
    let (logs, isr) = (Logs::capture(), Isr::builder().build().unwrap());
    let nested = Router::new().nest("/n", app(&isr, &Handler::counting(), route()));
    for event in ["stored", "HIT"] {
        fetch(&nested, "/n/p/a").await;
        assert_eq!(logs.count(&[event, "route=/n/p/{slug}", "path=/n/p/a"]), 1, "{event}: {:?}", logs.lines());
    }
    fetch(&nested, "/n/p/a?").await;
    let post = http::Request::post("/n/p/a").body(Body::empty()).unwrap();
    send(&nested, post).await;
    assert_eq!(logs.count(&["bypass", "reason=\"method\"", "path=/n/p/a"]), 1, "{:?}", logs.lines());
}

/// A layer whose configuration cannot work says so once, and keeps what it wraps out of every cache: its own, and that of
/// a layer further in.
#[tokio::test]
async fn a_configuration_that_cannot_work_is_logged_and_nothing_is_cached() {
    let (logs, isr, handler) = (Logs::capture(), Isr::builder().build().unwrap(), Handler::counting());
    for refused in [route().max_body_bytes(1 << 40), route().query([""])] {
        let inner = app(&isr, &handler, route());
        let site = inner.route_layer(isr.layer(refused));
        for _ in 0..3 {
            assert_eq!(state(&fetch(&site, "/p/a").await), "");
        }
    }
    assert_eq!((handler.calls(), isr.stats().bypasses, isr.stats().stored), (6, 6, 0));
    assert_eq!(logs.count(&["ERROR", "these routes are not cached"]), 2, "{:?}", logs.lines());
    assert_eq!(logs.count(&["max_body_bytes: expected at most"]), 1, "{:?}", logs.lines());
    assert_eq!(logs.count(&["bypass", "invalid-config"]), 6, "{:?}", logs.lines());
}

/// R24: HIT, STALE, MISS, stored, landed and the regeneration, each with route and path.
#[tokio::test]
async fn the_life_of_a_page_can_be_read_in_the_log() {
    let (logs, clock, gate) = (Logs::capture(), ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = inner.clone();
        async move {
            gate.pass().await;
            format!("render {n}")
        }
    });
    let app = app(&isr, &handler, route());
    let place = ["route=/p/{slug}", "path=/p/a"];
    let seen = |level: &str, event: &str, more: &[&str]| {
        let parts: Vec<_> = [level, &format!("axum_isr: {event}")]
            .into_iter()
            .chain(place)
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect();
        logs.count(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (one, two) = (waiting(&app, request("/p/a")).await, waiting(&app, request("/p/a")).await);
    gate.open();
    drop((one.await, two.await));
    assert_eq!(seen("DEBUG", "MISS", &["collapsed=false"]), 1);
    assert_eq!(seen("DEBUG", "MISS", &["collapsed=true"]), 1);
    assert_eq!(seen("DEBUG", "stored", &["bytes="]), 1);
    assert_eq!(seen("DEBUG", "landed", &["outcome=\"page\"", "purpose=\"first\""]), 1);
    fetch(&app, "/p/a").await;
    assert_eq!(seen("TRACE", "HIT", &[]), 1);
    clock.advance(MINUTE);
    fetch(&app, "/p/a").await;
    settled(&isr).await;
    assert_eq!(seen("DEBUG", "STALE", &[]), 1);
    assert_eq!(seen("DEBUG", "landed", &["outcome=\"page\"", "purpose=\"regenerate\""]), 1);
    assert_eq!(seen("DEBUG", "stored", &[]), 2);
    assert_eq!(seen("DEBUG", "regenerated", &["reason=\"ok\""]), 1);
    assert_eq!(logs.lines().len(), 9, "one line per event: {:#?}", logs.lines());
}

/// R24: each bypass has its reason.
#[tokio::test]
async fn a_bypass_says_why() {
    let long = format!("/p/{}", "x".repeat(2_000));
    let post = Request::builder().method("POST").uri("/p/a").body(Body::empty()).unwrap();
    let with_body = Request::builder().uri("/p/a").body(Body::from("x")).unwrap();
    for (reason, config, request) in [
        ("method", route(), post),
        ("body", route(), with_body),
        ("body", route(), request_with("/p/a", &[("content-length", "1")])),
        ("range", route(), request_with("/p/a", &[("range", "bytes=0-0")])),
        ("precondition", route(), request_with("/p/a", &[("if-match", "*")])),
        ("upgrade", route(), request_with("/p/a", &[("upgrade", "websocket")])),
        ("dynamic", RouteConfig::dynamic(), request("/p/a")),
        ("dynamic", RouteConfig::revalidate(Duration::ZERO), request("/p/a")),
        ("key-too-long", route(), request(&long)),
        ("shutdown", route(), request("/p/a")),
    ] {
        let logs = Logs::capture();
        let isr = Isr::builder().build().unwrap();
        let app = app(&isr, &Handler::counting(), config);
        if reason == "shutdown" {
            isr.shutdown(Duration::ZERO).await;
        }
        let response = send(&app, request).await;
        assert_eq!((state(&response), isr.stats().bypasses), ("", 1), "{reason}");
        let line = ["TRACE", "axum_isr: bypass", "route=/p/{slug}", "path=/p/", &format!("reason=\"{reason}\"")];
        assert_eq!(logs.count(&line), 1, "{reason}: {:?}", logs.lines());
    }
}

type Page = fn(Render) -> Response;

/// R24: each pass has its reason, in the render that found it and in the visitors' requests that follow from it.
#[tokio::test]
async fn a_pass_says_why() {
    fn trailers() -> Response {
        let frames =
            [Ok(http_body::Frame::data(Bytes::from("x"))), Ok(http_body::Frame::trailers(http::HeaderMap::new()))];
        let stream = futures_util::stream::iter(frames.map(|frame: Result<_, std::io::Error>| frame));
        Response::new(Body::new(http_body_util::StreamBody::new(stream)))
    }
    let pages: [(&str, Page); 13] = [
        ("no-store", |render| {
            render.no_store();
            "x".into_response()
        }),
        ("tags", |render| {
            render.tag("");
            "x".into_response()
        }),
        ("set-cookie", |_| ([("set-cookie", "a=1")], "x").into_response()),
        ("cache-control", |_| ([("cache-control", "public")], "x").into_response()),
        ("clear-site-data", |_| ([("clear-site-data", "*")], "x").into_response()),
        ("vary", |_| ([("vary", "origin")], "x").into_response()),
        ("nonce", |_| ([("content-security-policy", "script-src 'nonce-1'")], "x").into_response()),
        ("content-range", |_| ([("content-range", "bytes 0-0/1")], "x").into_response()),
        ("content-type", |_| ([("content-type", "text/event-stream")], "x").into_response()),
        ("trailers", |_| trailers()),
        ("status", |_| (StatusCode::FOUND, "x").into_response()),
        ("too-large", |_| vec![b'x'; 101].into_response()),
        ("broken", |_| {
            (
                [("content-length", "x")],
                Body::from_stream(futures_util::stream::empty::<Result<Bytes, std::io::Error>>()),
            )
                .into_response()
        }),
    ];
    for (reason, page) in pages {
        let logs = Logs::capture();
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |_, request| async move {
            let (mut parts, _) = request.into_parts();
            page(Render::from_request_parts(&mut parts, &()).await.unwrap())
        });
        let app = app(&isr, &handler, route().max_body_bytes(100));
        drop(fetch(&app, "/p/a").await.into_body().collect().await);
        settled(&isr).await;
        drop(fetch(&app, "/p/a").await);
        let why = format!("\"{reason}\"");
        let landed = [
            "DEBUG",
            "axum_isr: landed",
            "route=/p/{slug}",
            "path=/p/a",
            "purpose=\"first\"",
            &format!("outcome={why}"),
        ];
        assert_eq!(logs.count(&landed), 1, "{reason}: {:?}", logs.lines());
        let passes = ["DEBUG", "axum_isr: pass", "route=/p/{slug}", "path=/p/a", &format!("reason={why}")];
        let seen = logs.count(&passes);
        assert!(seen >= 1 && seen as u64 == isr.stats().passes, "{reason}: {:?}", logs.lines());
        assert_eq!((logs.count(&["stored"]), isr.stats().stored), (0, 0), "{reason}");
    }
    let logs = Logs::capture();
    let isr = Isr::builder().build().unwrap();
    let page = async |asked: DynamicRequest| format!("{:?}", asked.uri());
    let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(route()));
    assert_eq!(body(fetch(&app, "/p/a").await).await, "/p/a");
    assert_eq!(logs.count(&["axum_isr: pass", "reason=\"dynamic\""]), 1);
}

/// R24, R13: failures of first renders and of regenerations, each with what it was.
#[tokio::test(start_paused = true)]
async fn a_failure_says_what_it_was() {
    for (what, outcome) in
        [("status", "failure"), ("panicked", "panicked"), ("timed-out", "timed-out"), ("broken", "broken")]
    {
        let (logs, clock) = (Logs::capture(), ManualClock::new());
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let handler = Handler::new(move |_, request: Request| async move {
            if request.uri().path() == "/p/good" {
                return "good".into_response();
            }
            match what {
                "status" => StatusCode::BAD_GATEWAY.into_response(),
                "panicked" => panic!("at the disco"),
                "timed-out" => std::future::pending().await,
                _ => Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("disk"))]))
                    .into_response(),
            }
        });
        let app = app(&isr, &handler, route()).layer(CatchPanicLayer::new());
        fetch(&app, "/p/good").await;
        drop(fetch(&app, "/p/bad").await);
        settled(&isr).await;
        let place = ["route=/p/{slug}", "path=/p/bad"];
        let failed = ["DEBUG", "axum_isr: failed", place[0], place[1], &format!("what=\"{what}\"")];
        let landed = ["DEBUG", "axum_isr: landed", place[0], place[1], &format!("outcome=\"{outcome}\"")];
        assert_eq!((logs.count(&failed), logs.count(&landed)), (1, 1), "{what}: {:?}", logs.lines());
        assert_eq!((isr.stats().failures, isr.stats().stored), (1, 1), "{what}");
    }
}

/// R24: the counters of a handle.
#[tokio::test]
async fn stats_count_what_was_done_and_what_is_held() {
    let (clock, works) = (ManualClock::new(), Arc::new(AtomicBool::new(true)));
    let isr = Isr::builder().clock(clock.clone()).deployment_id("d-1").build().unwrap();
    let inner = Arc::clone(&works);
    let handler = Handler::new(move |n, request: Request| {
        let works = inner.load(Ordering::SeqCst);
        async move {
            if request.uri().path() == "/p/own" {
                return ([("set-cookie", "a=1")], "own").into_response();
            }
            if works { format!("render {n}").into_response() } else { StatusCode::BAD_GATEWAY.into_response() }
        }
    });
    let app = app(&isr, &handler, route());
    assert_eq!(isr.stats().scope, "d-1");
    fetch(&app, "/p/a").await; // MISS
    fetch(&app, "/p/a").await; // HIT
    send(&app, head("/p/a")).await; // HIT
    send(&app, request_with("/p/a", &[("range", "bytes=0-0")])).await; // bypass
    fetch(&app, "/p/own").await; // pass
    fetch(&app, "/p/own").await; // pass
    works.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    fetch(&app, "/p/a").await; // STALE, and a failure
    settled(&isr).await;
    let stats = isr.stats();
    assert_eq!((stats.misses, stats.hits, stats.stale, stats.bypasses, stats.passes), (1, 2, 1, 1, 2));
    assert_eq!((stats.renders, stats.stored, stats.failures), (3, 1, 1));
    assert_eq!((stats.memory_items, stats.flights, stats.captured_bytes), (2, 0, 0));
    assert!((500..5_000).contains(&stats.memory_bytes), "{}", stats.memory_bytes);
}

/// CASES 151: whatever a path holds, an event is one line without control bytes, and not long.
#[tokio::test]
async fn a_path_cannot_write_lines_into_the_log() {
    let logs = Logs::capture();
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().fallback(get(async || "page")).layer(isr.layer(route()));
    let mut paths: Vec<Vec<u8>> = vec![
        b"/a%0aWARN%20axum_isr:%20forged".to_vec(),
        b"/a%0d%0a%1b[31mred%1b[0m%00%7f".to_vec(),
        b"/\xc3\xa9\xe2\x80\xa8\xe2\x80\xaeabc".to_vec(),
        [b"/".as_slice(), &[b'x'; 900]].concat(),
        [b"/".as_slice(), &[b'y'; 9_000]].concat(),
    ];
    paths.extend((0x80..=0xff_u8).map(|byte| vec![b'/', byte]));
    let mut sent = 0;
    for path in paths {
        let Ok(uri) = http::Uri::try_from(path) else { continue };
        let request = Request::builder().uri(uri).header("x-note", &b"\x80\xff"[..]).body(Body::empty()).unwrap();
        send(&app, request).await;
        sent += 1;
    }
    assert!(sent >= 5);
    let lines = logs.lines();
    assert!(lines.len() >= sent);
    for line in lines {
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
        assert!(line.len() < 3_000, "{line:?}");
        // A render's events are inside of its span, which has the path too.
        let event = line.trim_start().split_once(' ').unwrap().1;
        let event = if event.starts_with("render{") { event.split_once("}: ").unwrap().1 } else { event };
        assert!(event.starts_with("axum_isr: "), "{line:?}");
    }
}

/// CASES 152: what may be a label is the pattern: ten thousand paths are one.
#[tokio::test]
async fn ten_thousand_paths_are_one_label() {
    let logs = Logs::capture();
    let isr = Isr::builder().build().unwrap();
    let app = app(&isr, &Handler::counting(), route());
    for n in 0..10_000 {
        fetch(&app, &format!("/p/{n}")).await;
    }
    let lines = logs.lines();
    let label = |line: &String| line.split("route=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(lines.iter().map(label).collect::<HashSet<_>>(), HashSet::from(["/p/{slug}".to_owned()]));
    assert_eq!(lines.len(), 30_000, "MISS, stored and landed");
}

/// CASES 153: what went wrong inside is for the log: a visitor sees neither the text of a panic nor that of an error,
/// nor anything about why.
#[tokio::test(start_paused = true)]
async fn no_answer_says_what_went_wrong_inside() {
    for kind in ["panic", "body", "timeout"] {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |_, request: Request| async move {
            if request.uri().path() == "/p/good" {
                return "good".into_response();
            }
            match kind {
                "panic" => panic!("SECRET"),
                "timeout" => std::future::pending().await,
                _ => Body::from_stream(futures_util::stream::iter([
                    Ok(Bytes::from("start")),
                    Err(std::io::Error::other("SECRET")),
                ]))
                .into_response(),
            }
        });
        let app = app(&isr, &handler, route()).layer(CatchPanicLayer::new());
        fetch(&app, "/p/good").await;
        for _ in 0..2 {
            let response = fetch(&app, "/p/bad").await;
            let (parts, mut body) = response.into_parts();
            assert!(!format!("{parts:?}").contains("SECRET"), "{kind}");
            let mut bytes = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                bytes.extend_from_slice(frame.data_ref().unwrap());
            }
            let expected = match kind {
                "panic" => "Service panicked",
                "body" => "start",
                _ => "",
            };
            assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{kind}");
            let_run().await;
        }
    }
}

/// CASES 160: there are two sets of features, none and `admin`, and CI runs the tests under both. A feature that is added
/// has to be added to the sets there, and then here.
#[test]
fn the_sets_of_features_are_known() {
    let manifest = include_str!("../Cargo.toml");
    let features = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<_> = features.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()).collect();
    assert_eq!(names, ["default", "admin", "metrics", "redis", "redis-tls", "cloudflare-kv", "http", "cli"]);
}

/// R24: whoever listens to events may ask for the numbers, also at the event of a page that has landed between the
/// look-up and the table of flights.
#[tokio::test]
async fn a_subscriber_may_ask_for_the_numbers() {
    /// Late once, as if another thread's page had landed just then.
    #[derive(Clone)]
    struct LateOnce(ManualClock, Arc<AtomicBool>);
    impl axum_isr::config::Clock for LateOnce {
        fn wall(&self) -> std::time::SystemTime {
            let late = self.1.swap(false, Ordering::SeqCst);
            self.0.wall() + if late { 10 * MINUTE } else { Duration::ZERO }
        }
        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
    }
    let clock = LateOnce(ManualClock::new(), Arc::default());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let app = app(&isr, &Handler::counting(), route().expire(MINUTE));
    fetch(&app, "/p/a").await;
    let asks = isr.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || {
        assert!(asks.stats().misses > 0);
        std::io::sink()
    });
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    clock.1.store(true, Ordering::SeqCst);
    assert_eq!(state(&fetch(&app, "/p/a").await), "HIT");
}

/// R24: each configuration that cannot work is named once, also where another one is wrong in the same place.
#[tokio::test]
async fn each_bad_configuration_is_named() {
    let (logs, isr) = (Logs::capture(), Isr::builder().build().unwrap());
    let router = Router::new().route("/{name}", get(Handler::counting())).route_layer(axum_isr::IsrLayer::new(isr));
    let choose = |mut request: Request, next: axum::middleware::Next| async move {
        let name = format!("a {}", request.uri().path());
        request.extensions_mut().insert(route().cookie(name, ["b"]));
        next.run(request).await
    };
    let app = router.layer(axum::middleware::from_fn(choose));
    for path in ["/one", "/two", "/one"] {
        fetch(&app, path).await;
    }
    for name in ["a /one", "a /two"] {
        assert_eq!(logs.count(&["ERROR", "not cached", name]), 1, "{:?}", logs.lines());
    }
}
