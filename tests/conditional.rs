//! Conditional requests: 304 from every state that has a page, and never a wrong one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Handler, Taps, body, fetch, header, request, request_with, send, settled, state, waiting};
use http::{HeaderMap, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn app(isr: &Isr, handler: &Handler) -> Router {
    let route = RouteConfig::revalidate(MINUTE).cookie("theme", ["dark"]);
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route))
}

fn page() -> Handler {
    Handler::new(|_, _| async { ([("content-location", "/here"), ("x-own", "1")], "page") })
}

fn with_tag(path: &str, tag: &str) -> Request {
    request_with(path, &[("if-none-match", tag)])
}

/// The headers, without those that a 304 need not have and without the state's own.
fn lasting(response: &Response) -> HeaderMap {
    let mut headers = response.headers().clone();
    headers.remove("content-type");
    headers
}

/// DESIGN 2.6: 304 from a HIT, a STALE and a complete MISS, with the headers of the answer it stands for (RFC 9110
/// §15.4.5) but for those that describe a body; a HEAD likewise; the regeneration and the entry are made all the same.
#[tokio::test]
async fn a_304_stands_for_the_answer_of_its_state() {
    let reference = Isr::builder().build().unwrap();
    let tag = header(&fetch(&app(&reference, &page()), "/p/a").await, "etag").to_owned();
    let clock = ManualClock::new();
    let (isr, twin) = (Isr::builder().clock(clock.clone()), Isr::builder().clock(clock.clone()));
    let (isr, twin) = (isr.build().unwrap(), twin.build().unwrap());
    let (handler, other) = (page(), page());
    let (site, full) = (app(&isr, &handler), app(&twin, &other));
    for expected in ["MISS", "HIT", "STALE", "HIT"] {
        clock.advance(if expected == "STALE" { MINUTE } else { Duration::from_secs(1) });
        let (short, long) = (send(&site, with_tag("/p/a", &tag)).await, fetch(&full, "/p/a").await);
        assert_eq!((short.status(), state(&short)), (StatusCode::NOT_MODIFIED, expected));
        assert_eq!((long.status(), state(&long)), (StatusCode::OK, expected));
        assert_eq!(short.headers(), &lasting(&long), "{expected}");
        assert_eq!((header(&short, "vary"), header(&short, "content-location")), ("cookie", "/here"));
        assert_eq!(body(short).await, "");
        settled(&isr).await;
        settled(&twin).await;
        let mut asked = with_tag("/p/a", &tag);
        *asked.method_mut() = http::Method::HEAD;
        let asked = send(&site, asked).await;
        assert_eq!((asked.status(), state(&asked)), (StatusCode::NOT_MODIFIED, "HIT"));
    }
    assert_eq!((handler.calls(), isr.stats().stored), (2, 2));
    let whole = fetch(&site, "/p/a").await;
    assert_eq!((whole.status(), header(&whole, "content-type")), (StatusCode::OK, "text/plain; charset=utf-8"));
    assert_eq!(body(whole).await, "page");
}

/// DESIGN 2.6: a body that is still on its way has no tag yet: the condition is not looked at, the page is whole.
#[tokio::test]
async fn a_streaming_answer_ignores_the_condition() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = app(&isr, &taps.handler(&[]));
    let visitor = waiting(&app, with_tag("/p/a", "*")).await;
    let tap = taps.next().await;
    let response = visitor.await;
    assert_eq!((response.status(), header(&response, "etag")), (StatusCode::OK, ""));
    tap.send("page");
    drop(tap);
    assert_eq!(body(response).await, "page");
}

/// RFC 9110 §13.2.1: a condition is looked at only where the answer would be a 2xx; where the page is not shared, it is
/// the handler's business.
#[tokio::test]
async fn only_good_pages_are_answered_304() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|_, request: Request| async move {
        let tag = request.headers().get("if-none-match").cloned();
        match request.uri().path() {
            "/p/none" => StatusCode::NOT_FOUND.into_response(),
            "/p/moved" => (StatusCode::MOVED_PERMANENTLY, [("etag", "\"a\"")]).into_response(),
            "/p/strong" => ([("etag", "\"a\"")], "page").into_response(),
            _ => ([("set-cookie", "a=1")], format!("{tag:?}")).into_response(),
        }
    });
    let app = app(&isr, &handler);
    for (path, status) in [("/p/none", 404), ("/p/moved", 301), ("/p/strong", 304)] {
        for _ in 0..2 {
            assert_eq!(send(&app, with_tag(path, "W/\"a\"")).await.status().as_u16(), status, "{path}");
        }
        let any = send(&app, with_tag(path, "*")).await;
        assert_eq!((any.status().as_u16(), state(&any)), (status, "HIT"), "{path}");
    }
    let strong = fetch(&app, "/p/strong").await;
    assert_eq!(header(&strong, "etag"), "\"a\"", "the handler's own");
    let own = send(&app, with_tag("/p/own", "\"a\"")).await;
    assert_eq!((own.status(), body(own).await.as_str()), (StatusCode::OK, "Some(\"\\\"a\\\"\")"));
}

/// CASES 82: `Last-Modified` is never invented, and `If-Modified-Since` never answered from it: of two pages made within
/// a second, nobody keeps the first.
#[tokio::test]
async fn no_time_of_modification_is_invented() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let route = RouteConfig::revalidate(Duration::from_millis(100));
    let handler = Handler::counting();
    let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(route));
    let mut tags = Vec::new();
    for render in 1..=4 {
        for date in ["Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "nonsense"] {
            let response = send(&app, request_with("/p/a", &[("if-modified-since", date)])).await;
            assert_eq!((response.status(), header(&response, "last-modified")), (StatusCode::OK, ""));
            let tag = header(&response, "etag").to_owned();
            assert_eq!(body(response).await, format!("render {render}"));
            tags.push(tag);
        }
        clock.advance(Duration::from_millis(200));
        fetch(&app, "/p/a").await;
        settled(&isr).await;
    }
    tags.dedup();
    assert_eq!(tags.len(), 4, "another page, another tag");
    let old = send(&app, with_tag("/p/a", &tags[0])).await;
    assert_eq!((old.status(), body(old).await.as_str()), (StatusCode::OK, "render 5"));
}

/// CASES 79: the tag of a page depends on what its bytes mean, not only on the bytes; equal pages have equal tags.
#[tokio::test]
async fn pages_that_differ_in_meaning_have_different_tags() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|_, request: Request| async move {
        match request.uri().path() {
            "/p/html" => ([("content-type", "text/html")], "page").into_response(),
            "/p/de" => ([("content-language", "de")], "page").into_response(),
            "/p/gzip" => ([("content-encoding", "gzip")], "page").into_response(),
            "/p/other" => "pagf".into_response(),
            _ => "page".into_response(),
        }
    });
    let app = app(&isr, &handler);
    let mut tags = Vec::new();
    for path in ["/p/html", "/p/de", "/p/gzip", "/p/other", "/p/plain", "/p/twin"] {
        let tag = header(&fetch(&app, path).await, "etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
        tags.push(tag);
    }
    assert_eq!(tags[4], tags[5]);
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 5);
}

/// Asks for a fixed page, with these lines; the status.
fn asked(lines: &[Vec<u8>]) -> StatusCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(|_, _| async { ([("etag", "W/\"ours\"")], "page") });
        let app = app(&isr, &handler);
        fetch(&app, "/p/a").await;
        let mut asked = request("/p/a");
        for line in lines {
            asked.headers_mut().append("if-none-match", http::HeaderValue::from_bytes(line).unwrap());
        }
        let response = send(&app, asked).await;
        assert_eq!(state(&response), "HIT");
        response.status()
    })
}

/// CASES 83: lists of ten thousand tags, many lines, and what is sloppy: it does not match.
#[test]
fn odd_conditions_cost_a_whole_answer_at_most() {
    let many = format!("{}\"ours\"", "\"other\", ".repeat(10_000));
    let open = format!("{}\"ours\"", "\"".repeat(9_999));
    for (lines, expected) in [
        (&[many.as_str()][..], 304),
        (&["\"other\"", "W/\"ours\""], 304),
        (&["*"], 304),
        (&["W/\"other\", \"ours\", W/\"third\""], 304),
        (&["ours"], 200),
        (&["\"ours"], 200),
        (&["ours\""], 200),
        (&["w/\"ours\""], 200),
        (&["W/ours"], 200),
        (&["\"OURS\""], 200),
        (&["\"ours \""], 200),
        (&["\"other\", *"], 200),
        (&[&open], 200),
        (&[""], 200),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        assert_eq!(asked(&lines).as_u16(), expected, "{:.60}", String::from_utf8_lossy(&lines[0]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// CASES 83: well-formed lists match exactly if they name the tag, weak or strong, wherever in the list.
    #[test]
    fn a_list_matches_if_it_names_the_tag(
        lines in vec(vec((any::<bool>(), "[a-z!#-~]{0,6}|ours", "[ \t]{0,2}(,[ \t]{0,2}){1,2}"), 1..6), 1..4),
    ) {
        let named = lines.iter().flatten().any(|(_, tag, _)| tag == "ours");
        let tag = |(weak, tag, gap): &(bool, String, String)| {
            [if *weak { "W/" } else { "" }, "\"", tag, "\"", gap].concat().into_bytes()
        };
        let lines: Vec<Vec<u8>> = lines.iter().map(|line| line.iter().flat_map(tag).collect()).collect();
        prop_assert_eq!(asked(&lines), if named { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    }

    /// CASES 83: no bytes are too odd, and without the tag's own there is never a 304.
    #[test]
    fn other_bytes_never_match(
        line in vec(prop_oneof![32_u8..127, 128_u8..=255, Just(b'"'), Just(b',')], 0..40),
    ) {
        let names_it = line.windows(6).any(|w| w == b"\"ours\"") || line.trim_ascii() == b"*";
        let status = asked(&[line]);
        prop_assert!(status == StatusCode::OK || (status == StatusCode::NOT_MODIFIED && names_it));
    }
}
