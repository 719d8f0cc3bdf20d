//! What the admin API shows: numbers, what is held, explanations, and what happens.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/admin.rs"]
mod admin_site;
mod common;

use std::time::Duration;

use admin_site::{BEARER, Site, TOKEN, call, error, pages};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::admin::{self, AdminConfig};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, body, fetch, header, send, settled, state, until};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

async fn read(app: &Router, path: &str) -> Response {
    send(app, call("GET", &format!("/_isr/api/{path}"), &[BEARER], "")).await
}

async fn value(app: &Router, path: &str) -> Value {
    let response = read(app, path).await;
    assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (200, "no-store"), "{path}");
    serde_json::from_str(&body(response).await).unwrap()
}

fn field<'v>(listing: &'v Value, name: &str) -> Vec<&'v Value> {
    listing["entries"].as_array().unwrap().iter().map(|entry| &entry[name]).collect()
}

/// A site whose pages live for a minute and have one of three sizes; `/own/…` is nobody else's, `/bad/…` fails after the
/// first time.
fn site() -> (ManualClock, Isr, Router) {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let time = clock.clone();
    let handler = Handler::new(move |n, request| {
        let (path, time) = (request.uri().path().to_owned(), time.clone());
        async move {
            if path.starts_with("/own") {
                return ([("set-cookie", "a=1")], "own").into_response();
            }
            if path.starts_with("/bad") && n > 6 {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            time.advance(Duration::from_millis(n as u64));
            "x".repeat(path.len() * 100).into_response()
        }
    });
    let config = RouteConfig::revalidate(MINUTE).expire(3 * MINUTE).tags(["all"]).query(["page"]);
    let app = Router::new()
        .route("/{kind}/{slug}", get(handler))
        .route_layer(isr.layer(config))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .with_state(isr.clone());
    (clock, isr, app)
}

/// The numbers of the moment: what has been done by route, and what there is.
#[tokio::test]
async fn stats_are_the_numbers_of_the_moment() {
    let (clock, isr, app) = site();
    fetch(&app, "/a/one").await;
    clock.advance(Duration::from_secs(5));
    fetch(&app, "/a/one").await;
    fetch(&app, "/own/one").await;
    let stats = value(&app, "stats").await;
    assert_eq!((&stats["entries"], &stats["mode"], &stats["scope"]), (&json!(2), &json!("production"), &json!("")));
    assert_eq!(
        (&stats["store"], &stats["flights"], &stats["memory_limit"]),
        (&Value::Null, &json!(0), &json!(128 << 20))
    );
    assert_eq!(stats["memory_bytes"], isr.stats().memory_bytes);
    let expected = json!({
        "route": "/{kind}/{slug}", "hits": 1, "stale": 0, "misses": 1, "passes": 1, "bypasses": 0, "failures": 0,
        "regenerations": 0, "regenerations_failed": 0, "age_ms_sum": 5_000, "renders": 2, "render_ms_sum": 1.0,
        "saved_ms": 1.0,
    });
    assert_eq!(stats["routes"], json!([expected]));
    assert!(stats["at_ms"].as_u64().unwrap() > 5_000);
}

/// What is held can be found by state, tag and path, in every order, page by page.
#[tokio::test]
async fn entries_are_listed_filtered_and_sorted() {
    let (clock, isr, app) = site();
    for path in ["/a/one", "/b/second?page=2", "/c/the-third", "/own/x"] {
        fetch(&app, path).await;
        clock.advance(Duration::from_secs(10));
    }
    for _ in 0..3 {
        fetch(&app, "/b/second?page=2").await;
    }
    let all = value(&app, "entries").await;
    assert_eq!(
        (&all["total"], &all["matched"], &all["page"], &all["pages"]),
        (&json!(4), &json!(4), &json!(1), &json!(1))
    );
    assert_eq!(all["at_ms"], value(&app, "stats").await["at_ms"], "the time of the ages");
    assert_eq!(field(&all, "path"), ["/a/one", "/b/second", "/c/the-third", "/own/x"]);
    let one = &all["entries"][1];
    assert_eq!(one["inputs"], json!([{"kind": "query", "name": "page", "value": "2", "counts": true}]));
    assert_eq!(
        [&one["kind"], &one["route"], &one["state"], &one["reason"], &one["status"], &one["hits"], &one["tags"]],
        [
            &json!("page"),
            &json!("/{kind}/{slug}"),
            &json!("fresh"),
            &json!("fresh"),
            &json!(200),
            &json!(3),
            &json!(["all"])
        ]
    );
    let numbers = ["fresh_ms", "expire_ms", "body_bytes", "render_ms"].map(|name| one[name].as_f64().unwrap());
    assert_eq!(format!("{numbers:?}"), "[60000.0, 180000.0, 900.0, 2.0]");
    assert!(one["bytes"].as_u64().unwrap() > 900 && one["age_ms"].as_u64().unwrap() > 20_000);
    let pass = &all["entries"][3];
    assert_eq!([&pass["kind"], &pass["state"], &pass["reason"]], ["pass", "pass", "set-cookie"]);

    for (query, expected) in [
        ("sort=path&order=desc", &["/own/x", "/c/the-third", "/b/second", "/a/one"][..]),
        ("sort=age", &["/a/one", "/b/second", "/c/the-third", "/own/x"]),
        ("sort=age&order=asc&state=fresh", &["/c/the-third", "/b/second", "/a/one"]),
        ("sort=size&state=fresh", &["/c/the-third", "/b/second", "/a/one"]),
        ("sort=hits&prefix=/b", &["/b/second"]),
        ("sort=render&tag=all&state=fresh", &["/c/the-third", "/b/second", "/a/one"]),
        ("prefix=third", &["/c/the-third"]),
        ("tag=none", &[]),
        ("state=stale", &[]),
        ("state=pass", &["/own/x"]),
    ] {
        assert_eq!(field(&value(&app, &format!("entries?{query}")).await, "path"), expected, "{query}");
    }
    let hits = field(&value(&app, "entries?sort=hits").await, "hits").into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(hits, [3, 0, 0, 0]);

    isr.revalidate_path("/a/one").await.unwrap();
    isr.expire_path("/c/the-third").await.unwrap();
    let states = value(&app, "entries?prefix=/&sort=path").await;
    assert_eq!(field(&states, "reason"), ["invalidated", "fresh", "invalidated", "set-cookie"]);
    assert_eq!(field(&states, "state"), ["stale", "fresh", "expired", "pass"]);
    clock.advance(MINUTE);
    assert_eq!(field(&value(&app, "entries?state=stale").await, "reason"), ["invalidated", "age"]);
    clock.advance(2 * MINUTE);
    assert_eq!(field(&value(&app, "entries?prefix=/b").await, "state"), ["expired"]);
}

/// Fifty on a page; a page beyond the last is the last.
#[tokio::test]
async fn entries_come_in_pages() {
    let (_, _, app) = site();
    for n in 0..120 {
        fetch(&app, &format!("/a/{n:03}")).await;
    }
    let mut paths = Vec::new();
    for page in 1..=3 {
        let listing = value(&app, &format!("entries?page={page}")).await;
        assert_eq!((&listing["matched"], &listing["pages"], &listing["page"]), (&json!(120), &json!(3), &json!(page)));
        paths.extend(field(&listing, "path").into_iter().map(|path| path.as_str().unwrap().to_owned()));
    }
    let expected: Vec<_> = (0..120).map(|n| format!("/a/{n:03}")).collect();
    assert_eq!(paths, expected);
    let beyond = value(&app, "entries?page=99&order=desc").await;
    assert_eq!((&beyond["page"], beyond["entries"].as_array().unwrap().len()), (&json!(3), 20));
    assert_eq!(beyond["entries"][19]["path"], "/a/000");
}

/// An entry has its last error and its next try, and can be asked for by its id until it is gone.
#[tokio::test]
async fn an_entry_says_why_it_is_old() {
    let (clock, isr, app) = site();
    for path in ["/bad/one", "/a/2", "/a/3", "/a/4", "/a/5", "/a/6"] {
        fetch(&app, path).await;
    }
    clock.advance(MINUTE);
    assert_eq!(state(&fetch(&app, "/bad/one").await), "STALE");
    settled(&isr).await;
    let listing = value(&app, "entries?sort=failures").await;
    let one = &listing["entries"][0];
    assert_eq!(
        [&one["path"], &one["failures"], &one["last_error"]],
        [&json!("/bad/one"), &json!(1), &json!("status 502")]
    );
    assert!((1..=1_250).contains(&one["retry_ms"].as_u64().unwrap()), "{one}");
    let id = one["id"].as_str().unwrap();
    assert_eq!(value(&app, &format!("entry?id={id}")).await, *one);
    isr.shutdown(Duration::ZERO).await;
    let gone = read(&app, &format!("entry?id={id}")).await;
    assert_eq!((gone.status().as_u16(), error(gone).await.as_str()), (404, "it is not held any more"));
}

/// What is asked wrongly is told what was expected.
#[tokio::test]
async fn questions_are_checked() {
    let (_, _, app) = site();
    for (path, status, expected) in [
        ("entries?state=old", 400, "state: expected one of fresh, stale, expired, pass, got \"old\""),
        ("entries?sort=name", 400, "sort: expected one of path, age, size, hits, render, failures, got \"name\""),
        ("entries?order=up", 400, "order: expected one of asc, desc, got \"up\""),
        ("entries?page=0", 400, "page: expected a number from 1, got \"0\""),
        ("entries?page=x", 400, "page: expected a number from 1, got \"x\""),
        ("entries?colour=red", 400, "parameter: expected state, tag, prefix, sort, order or page, got \"colour\""),
        ("entry", 400, "parameters: expected an id, got 0"),
        ("entry?key=00", 400, "parameters: expected an id, got something else"),
        ("entry?id=xyz", 404, "it is not held any more"),
        ("entry?id=%2b0", 404, "it is not held any more"),
        ("entry?id=00ff", 404, "it is not held any more"),
        ("explain", 400, "parameters: expected a path, with headers or without, or a tag, got \"\""),
        ("explain?path=a", 400, "path: expected a path with or without a query that begins with /, got \"a\""),
        ("explain?tag=", 400, "tag: expected 1 to 256 bytes, got 0 bytes"),
        ("explain?tag=a&header=a:b", 400, "parameters: expected a path, with headers or without, or a tag"),
        ("explain?path=/&header=nothing", 400, "header: expected Name: value, got \"nothing\""),
        ("explain?page=/", 400, "parameter: expected path, header or tag, got \"page\""),
    ] {
        let response = read(&app, path).await;
        assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (status, "no-store"), "{path}");
        let told = error(response).await;
        assert!(told.starts_with(expected), "{path}: {told}");
    }
}

/// The same explanation as `Isr::explain` and `Isr::explain_tag`.
#[tokio::test]
async fn explanations_are_those_of_the_handle() {
    let (_, isr, app) = site();
    assert_eq!(value(&app, "explain?path=/a/one").await["known"], json!(false));
    fetch(&app, "/a/one").await;
    let found =
        value(&app, "explain?path=/a/one%3Fpage%3D2%26utm%3Dx&header=Accept:%20text/html&header=Range:bytes=0-1").await;
    assert_eq!(
        [&found["state"], &found["reason"], &found["then"]],
        [&json!("bypass"), &json!("range"), &json!(["handler"])]
    );
    let found = value(&app, "explain?path=/a/one").await;
    let mut headers = http::HeaderMap::new();
    assert_eq!(found, serde_json::to_value(isr.explain("/a/one", &headers).unwrap()).unwrap());
    assert_eq!([&found["state"], &found["reason"], &found["entry"]["path"]], ["hit", "fresh", "/a/one"]);
    headers.insert("accept", http::HeaderValue::from_static("text/html"));
    let with = value(&app, "explain?path=/a/one&header=Accept:%20text/html").await;
    assert_eq!(with, serde_json::to_value(isr.explain("/a/one", &headers).unwrap()).unwrap());
    let tag = value(&app, "explain?tag=all").await;
    assert_eq!([&tag["pages"], &tag["data"], &tag["expired_at_ms"]], [&json!(1), &json!(0), &Value::Null]);
}

/// Reads a stream of events until it has all of these.
async fn read_until(body: &mut axum::body::Body, text: &mut String, parts: &[&str]) {
    while !parts.iter().all(|part| text.contains(part)) {
        let frame = body.frame().await.unwrap_or_else(|| panic!("ended: {text}")).unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
}

fn events(text: &str) -> Vec<Value> {
    let blocks = text.split("\n\n").filter(|block| block.contains("event: event"));
    blocks.map(|block| serde_json::from_str(block.split("data: ").nth(1).unwrap()).unwrap()).collect()
}

/// What happens is told as it happens, with its reason; who comes again goes on from where he was.
#[tokio::test(start_paused = true)]
async fn what_happens_is_told_as_it_happens() {
    let site = Site::new();
    // Before anybody looks: what is rare is kept, HITs are not.
    site.states().await;
    site.states().await;
    let response = read(&site.app, "events").await;
    assert_eq!(
        (header(&response, "content-type"), header(&response, "cache-control")),
        ("text/event-stream", "no-store")
    );
    let (mut body, mut text) = (response.into_body(), String::new());
    read_until(&mut body, &mut text, &["event: stats", "retry: 500"]).await;
    let words = |text: &str| -> Vec<String> {
        events(text)
            .iter()
            .map(|e| format!("{} {}", e["state"].as_str().unwrap(), e["reason"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(words(&text), ["miss cold"; 3]);
    text.clear();
    site.isr.revalidate_tag("a").await.unwrap();
    site.states().await;
    settled(&site.isr).await;
    read_until(&mut body, &mut text, &["\"regeneration\"", "event: stats"]).await;
    let mut seen = words(&text);
    seen.sort_unstable();
    assert_eq!(seen, ["hit fresh", "hit fresh", "invalidation revalidate", "regeneration ok", "stale invalidated"]);
    let told = events(&text);
    let stale = told.iter().find(|event| event["state"] == "stale").unwrap();
    assert_eq!([&stale["path"], &stale["route"], &stale["detail"]], ["/a", "/a", ""]);
    assert!(stale["age_ms"].is_u64() && stale["at_ms"].is_u64());
    let mark = told.iter().find(|event| event["state"] == "invalidation").unwrap();
    assert_eq!([&mark["path"], &mark["route"]], ["tag a", ""]);
    // The numbers are those of the stream.
    let seqs: Vec<_> = told.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (4..9).collect::<Vec<_>>());
    assert!(text.contains("id: 8\n"));
    drop(body);
    let again = send(&site.app, call("GET", "/_isr/api/events", &[BEARER, ("last-event-id", "6")], "")).await;
    let (mut body, mut text) = (again.into_body(), String::new());
    read_until(&mut body, &mut text, &["event: stats"]).await;
    assert_eq!(events(&text).iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [7, 8]);
}

/// A stream ends, so that a server that is told to stop is not kept from it; and at once when the handle shuts down.
#[tokio::test(start_paused = true)]
async fn a_stream_ends() {
    let site = Site::new();
    for shutdown in [false, true] {
        let mut body = read(&site.app, "events").await.into_body();
        let began = tokio::time::Instant::now();
        let mut looks = 0;
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            looks += 1;
            if shutdown {
                site.isr.shutdown(Duration::ZERO).await;
            }
        }
        let took = began.elapsed().as_secs();
        assert!(if shutdown { looks == 1 && took < 2 } else { looks >= 10 && took == 10 }, "{looks} in {took} s");
    }
}

/// So many may look at the same time; a place that becomes free is taken. Who does not look costs nothing.
#[tokio::test(start_paused = true)]
async fn so_many_may_look() {
    let site = Site::new();
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(read(&site.app, "events").await);
    }
    let full = read(&site.app, "events").await;
    assert_eq!((full.status().as_u16(), error(full).await.as_str()), (503, "events: as many look at them as may"));
    streams.pop();
    settled(&site.isr).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    streams.push(read(&site.app, "events").await);
    assert_eq!(streams[31].status(), 200);
    // Nor does who does not read keep its place.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(read(&site.app, "events").await.status(), 200);
}

/// Of what every visitor causes, some is told in each second.
#[tokio::test(start_paused = true)]
async fn a_crowd_is_not_told_one_by_one() {
    let site = Site::new();
    site.states().await;
    let (mut body, mut text) = (read(&site.app, "events").await.into_body(), String::new());
    let began = std::time::Instant::now();
    for _ in 0..1_000 {
        fetch(&site.app, "/a").await;
    }
    fetch(&site.app, "/nowhere").await;
    site.isr.expire_all().await.unwrap();
    read_until(&mut body, &mut text, &["\"invalidation\""]).await;
    let hits = events(&text).iter().filter(|event| event["state"] == "hit").count();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((20..=20 * (seconds + 2)).contains(&hits), "{hits} in {seconds} s");
}

/// What a visitor or a handler wrote cannot end an event, nor a line of it.
#[tokio::test(start_paused = true)]
async fn an_event_is_one_line() {
    let (_, isr, _) = site();
    let page = Router::new().fallback(get(async || "page")).layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    let app = page.merge(Router::new()).with_state(());
    let admin = Router::new().nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap()).with_state(isr.clone());
    fetch(&app, "/a%0a%0aevent:%20stats").await;
    isr.expire_tag("a\n\nevent: forged\r\ndata: {}\u{2028}").await.unwrap();
    let (mut body, mut text) = (read(&admin, "events").await.into_body(), String::new());
    read_until(&mut body, &mut text, &["event: stats\n"]).await;
    assert!(!text.contains('\r') && !text.contains("\nevent: forged") && !text.contains('\u{2028}'), "{text}");
    for block in text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with("retry")) {
        let lines: Vec<_> = block.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert!(matches!(&*lines, ["event", "id", "data"] | ["event", "data"]), "{block}");
    }
}

/// While a page is rendered, it says so.
#[tokio::test]
async fn a_page_that_is_being_rendered_says_so() {
    let gate = Gate::closed();
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::gated_again(&gate);
    let app = pages(&isr)
        .route("/slow", get(handler.clone()).layer(isr.layer(RouteConfig::revalidate(MINUTE))))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .with_state(isr.clone());
    fetch(&app, "/slow").await;
    clock.advance(MINUTE);
    assert_eq!(state(&fetch(&app, "/slow").await), "STALE");
    until(|| handler.calls() == 2).await;
    assert_eq!(field(&value(&app, "entries?prefix=/slow").await, "rendering"), [true]);
    gate.open();
    settled(&isr).await;
    assert_eq!(field(&value(&app, "entries?prefix=/slow").await, "rendering"), [false]);
}
