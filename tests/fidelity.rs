//! What comes out of the cache is what the handler said: statuses, headers, trailers, extensions, other methods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{
    Handler, Tap, Taps, body, fetch, head, header, let_run, piece, request, request_with, send, settled, state, waiting,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeFile;

const MINUTE: Duration = Duration::from_secs(60);

fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", any(handler.clone())).route_layer(isr.layer(route()))
}

/// A page with a head that is hard to keep.
fn odd_page(n: usize) -> Response {
    let mut response = (StatusCode::NON_AUTHORITATIVE_INFORMATION, format!("render {n}")).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        ("connection", "close, X-Hop"),
        ("connection", " x-other ,,\""),
        ("x-hop", "secret"),
        ("x-other", "secret"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("proxy-authenticate", "Basic"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("upgrade", "h2c"),
        ("link", "</a>"),
        ("link", "</b>"),
        ("x-empty", ""),
        ("alt-svc", "h3=\":443\""),
        ("content-language", "de"),
        ("content-location", "/elsewhere"),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers.insert("x-odd", HeaderValue::from_bytes(b"caf\xe9 \xff").unwrap());
    response
}

/// The head without what differs between MISS, HIT and STALE.
fn lasting(response: &Response) -> (StatusCode, HeaderMap) {
    let mut headers = response.headers().clone();
    for name in ["x-vinext-cache", "cache-status", "age", "cache-control"] {
        headers.remove(name);
    }
    (response.status(), headers)
}

/// CASES 72: hop-by-hop fields, and those that any `Connection` line names, are not replayed, by MISS, HIT, STALE or after
/// a regeneration; everything else is, line by line and byte by byte.
#[tokio::test]
async fn a_head_is_replayed_without_its_hop_by_hop_fields() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let app = app(&isr, &Handler::new(|n, _| async move { odd_page(n) }));
    let mut heads = Vec::new();
    for expected in ["MISS", "HIT", "STALE", "HIT"] {
        if expected == "STALE" {
            clock.advance(MINUTE);
        }
        let response = fetch(&app, "/p/a").await;
        assert_eq!(state(&response), expected);
        for (name, value) in response.headers() {
            let gone =
                ["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "upgrade"];
            assert!(!gone.contains(&name.as_str()) && value != "secret", "{expected}: {name}");
        }
        let kept = |name: &str| response.headers().get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(kept("link"), ["</a>", "</b>"]);
        assert_eq!((kept("x-empty").len(), kept("content-language").len(), kept("alt-svc").len()), (1, 1, 1));
        assert_eq!(kept("x-odd")[0].as_bytes(), b"caf\xe9 \xff");
        heads.push(lasting(&response));
        settled(&isr).await;
    }
    assert_eq!(heads[0].0, StatusCode::NON_AUTHORITATIVE_INFORMATION);
    assert_eq!(heads[0], heads[1]);
    assert_eq!(heads[1], heads[2]);
    let regenerated = fetch(&app, "/p/a").await;
    assert_eq!(body(regenerated).await, "render 2");
}

/// CASES 72: nor are they sent with a body that is still on its way.
#[tokio::test]
async fn a_streaming_head_has_no_hop_by_hop_fields() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = app(&isr, &taps.handler(&[("connection", "x-hop"), ("x-hop", "secret"), ("te", "x"), ("x-kept", "1")]));
    let visitor = waiting(&app, request("/p/a")).await;
    let tap = taps.next().await;
    let response = visitor.await;
    assert_eq!((state(&response), header(&response, "x-kept")), ("MISS", "1"));
    assert!(["connection", "x-hop", "te"].iter().all(|name| !response.headers().contains_key(*name)));
    drop(tap);
}

/// CASES 73: a body with trailers is not kept. Known before the head is out, each visitor's own request gets body and
/// trailers; after that the body goes on and nothing is kept. `application/grpc` is not kept whatever its body is.
#[tokio::test]
async fn trailers_are_never_kept() {
    fn sum() -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))])
    }
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|_, request: Request| async move {
        if request.uri().path() == "/p/grpc" {
            return ([("content-type", "application/grpc+proto")], "data").into_response();
        }
        let (tap, body) = Tap::open();
        tap.send("data");
        tap.trailers(sum());
        Response::new(body)
    });
    let site = app(&isr, &handler);
    for path in ["/p/a", "/p/grpc"] {
        for _ in 0..2 {
            let response = fetch(&site, path).await;
            assert_eq!(state(&response), "", "{path}");
            let got = response.into_body().collect().await.unwrap();
            assert_eq!(got.trailers().cloned(), (path == "/p/a").then(sum), "{path}");
            assert_eq!(got.to_bytes(), "data", "{path}");
        }
    }
    // Two paths: a render and an own request, and then another own request.
    assert_eq!((handler.calls(), isr.stats().stored), (6, 0));

    let taps = Taps::default();
    let site = app(&isr, &taps.handler(&[]));
    let visitor = waiting(&site, request("/p/late")).await;
    let tap = taps.next().await;
    let mut streaming = visitor.await.into_body();
    tap.send("data");
    assert_eq!(piece(&mut streaming).await, "data");
    tap.trailers(sum());
    drop(tap);
    let rest = streaming.collect().await.unwrap();
    assert_eq!(rest.trailers().cloned(), Some(sum()), "those who read along get them too");
    assert_eq!(rest.to_bytes(), "");
    settled(&isr).await;
    let own = fetch(&site, "/p/late").await;
    assert_eq!((state(&own), isr.stats().stored), ("", 0), "the next visitor's own request goes to the handler");
}

/// CASES 73: the trailers of a page that is too large to keep reach those who read it, without what is nobody else's.
#[tokio::test]
async fn trailers_end_a_page_that_is_passed_on() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let route = RouteConfig::revalidate(MINUTE).max_body_bytes(4);
    let site = Router::new().route("/", get(taps.handler(&[]))).route_layer(isr.layer(route));
    let visitor = waiting(&site, request("/")).await;
    let tap = taps.next().await;
    tap.send("more than four");
    tap.trailers(HeaderMap::from_iter([
        (http::HeaderName::from_static("x-sum"), HeaderValue::from_static("7")),
        (http::header::SET_COOKIE, HeaderValue::from_static("session=1")),
    ]));
    drop(tap);
    let passed = visitor.await.into_body().collect().await.unwrap();
    let trailers = passed.trailers().unwrap();
    assert_eq!((trailers.len(), trailers.get("x-sum").unwrap().as_bytes()), (1, &b"7"[..]));
    assert_eq!(passed.to_bytes(), "more than four");
}

/// CASES 74: an answer that is none (1xx) is passed on to each visitor and never kept. What a server sends before its
/// answer does not go through a tower service at all.
#[tokio::test]
async fn an_interim_status_is_never_kept() {
    for status in [100, 101, 102, 103, 199] {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |_, _| async move { StatusCode::from_u16(status).unwrap() });
        let app = app(&isr, &handler);
        for calls in [2, 3] {
            let response = fetch(&app, "/p/a").await;
            assert_eq!((response.status().as_u16(), state(&response), handler.calls()), (status, "", calls));
        }
        assert_eq!(isr.stats().stored, 0);
    }
}

/// CASES 77: a range is answered by the service inside, before and after there is an entry, and never becomes or damages
/// one; the partial answers 206 and 416, and `Content-Range` on any other status, are never kept.
#[tokio::test]
async fn a_range_neither_reads_nor_writes_the_cache() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE");
    let text = std::fs::read_to_string(file).unwrap();
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route_service("/f", ServeFile::new(file)).route_layer(isr.layer(route()));
    for expected in ["MISS", "HIT"] {
        for (range, status, part) in [("bytes=0-0", 206, &text[..1]), ("bytes=999999999-", 416, "")] {
            let partial = send(&app, request_with("/f", &[("range", range)])).await;
            assert_eq!((partial.status().as_u16(), state(&partial)), (status, ""), "{range}");
            assert_eq!(body(partial).await, part);
        }
        let whole = fetch(&app, "/f").await;
        assert_eq!((whole.status(), state(&whole), body(whole).await), (StatusCode::OK, expected, text.clone()));
        settled(&isr).await;
    }
    assert_eq!(isr.stats().stored, 1);

    let partial = Handler::new(|_, request: Request| async move {
        let status = if request.uri().path() == "/p/206" { 206 } else { 200 };
        (StatusCode::from_u16(status).unwrap(), [("content-range", "bytes 0-3/9")], "part").into_response()
    });
    let app = self::app(&isr, &partial);
    for path in ["/p/206", "/p/200", "/p/206", "/p/200"] {
        assert_eq!(state(&fetch(&app, path).await), "", "{path}");
    }
    assert_eq!(isr.stats().stored, 1);
}

/// R5: any method but GET and HEAD reaches the handler untouched, with body, headers and extensions, also where there is
/// an entry, and its answer carries no header of ours; so do GETs with a body.
#[tokio::test]
async fn other_methods_reach_the_handler_untouched() {
    #[derive(Clone)]
    struct Visitor(&'static str);

    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|_, request: Request| async move {
        let (parts, body) = request.into_parts();
        let visitor = parts.extensions.get::<Visitor>().map_or("nobody", |visitor| visitor.0);
        let body = body.collect().await.unwrap().to_bytes();
        format!("{} {} {visitor} {:?} {}", parts.method, parts.uri, parts.headers, String::from_utf8_lossy(&body))
    });
    let app = app(&isr, &handler);
    let ask = |method: &str, body: &'static str| {
        let request = Request::builder().method(method).uri("/p/a?q=1").header("cookie", "sid=1");
        request.extension(Visitor("me")).body(Body::from(body)).unwrap()
    };
    for filled in [false, true] {
        for (method, sent) in [
            ("POST", "data"),
            ("POST", ""),
            ("PUT", "data"),
            ("PATCH", "data"),
            ("DELETE", ""),
            ("OPTIONS", ""),
            ("TRACE", ""),
            ("PURGE", ""),
            ("get", ""),
            ("GET", "data"),
        ] {
            let response = send(&app, ask(method, sent)).await;
            let ours = ["x-vinext-cache", "cache-control", "cache-status", "age", "etag", "vary"];
            assert!(ours.iter().all(|name| !response.headers().contains_key(*name)), "{method}");
            let expected = format!("{method} /p/a?q=1 me {{\"cookie\": \"sid=1\"}} {sent}");
            assert_eq!(body(response).await, expected, "{filled}");
        }
        let page = send(&app, ask("GET", "")).await;
        assert_eq!(state(&page), if filled { "HIT" } else { "MISS" }, "nothing else made or removed an entry");
        assert_eq!(body(page).await, "GET /p/a nobody {} ");
    }
    assert_eq!(state(&send(&app, head("/p/a")).await), "HIT");
    assert_eq!(isr.stats().stored, 1);
}

/// R8: a handler that writes `Cache-Control` itself is not kept, whatever it says there, and its lines go out unchanged.
#[tokio::test]
async fn a_cache_control_of_the_handler_goes_out_as_it_is() {
    const SAID: [&[&[u8]]; 6] = [
        &[b"public, max-age=600"],
        &[b"s-maxage=60"],
        &[b"Private, MAX-AGE=60"],
        &[b"no-store", b"max-age=60"],
        &[b""],
        &[b"\xff=="],
    ];
    for lines in SAID {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |n, _| async move {
            let mut response = format!("call {n}").into_response();
            for line in lines {
                response.headers_mut().append("cache-control", HeaderValue::from_bytes(line).unwrap());
            }
            response
        });
        let app = app(&isr, &handler);
        for call in [2, 3] {
            let response = fetch(&app, "/p/a").await;
            let sent: Vec<_> = response.headers().get_all("cache-control").iter().map(HeaderValue::as_bytes).collect();
            assert_eq!((sent.as_slice(), state(&response)), (lines, ""));
            assert!(!response.headers().contains_key("etag") && !response.headers().contains_key("cache-status"));
            assert_eq!(body(response).await, format!("call {call}"));
        }
        assert_eq!(isr.stats().stored, 0);
    }
}

/// DESIGN 2.6: what a handler puts into its response's extensions travels with live answers, those of everybody who
/// waited and those whose body still grows, and not with answers from memory.
#[tokio::test]
async fn response_extensions_travel_with_live_answers_only() {
    #[derive(Clone, Debug, PartialEq)]
    struct Note(u8);

    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(|_, request: Request| async move {
        let mut response = match request.uri().path() {
            "/p/streaming" => {
                Response::new(Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()))
            }
            "/p/failing" => StatusCode::BAD_GATEWAY.into_response(),
            "/p/passed" => ([("set-cookie", "a=1")], "page").into_response(),
            _ => "page".into_response(),
        };
        response.extensions_mut().insert(Note(7));
        response
    });
    let app = app(&isr, &handler);
    let note = |response: &Response| response.extensions().get::<Note>().cloned();
    let (starter, follower) = (waiting(&app, request("/p/a")).await, waiting(&app, request("/p/a")).await);
    for visitor in [starter, follower] {
        let response = visitor.await;
        assert_eq!((state(&response), note(&response)), ("MISS", Some(Note(7))));
    }
    for path in ["/p/streaming", "/p/failing", "/p/passed"] {
        assert_eq!(note(&fetch(&app, path).await), Some(Note(7)), "{path}");
    }
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), note(&hit)), ("HIT", None));
    clock.advance(MINUTE);
    let stale = fetch(&app, "/p/a").await;
    assert_eq!((state(&stale), note(&stale)), ("STALE", None));
    let_run().await;
}

/// CASES 78, 79: with compression inside, every visitor gets the one page that everybody can read; with compression
/// outside each gets his coding of it. For bodies that the layer would compress and for those it would not; whoever comes
/// first; and the tags are weak, so that they may stand for both codings.
#[tokio::test]
async fn nobody_gets_a_coding_he_cannot_read() {
    for inside in [true, false] {
        for size in [8, 40_000] {
            let page = "x".repeat(size);
            for first in ["gzip", "identity"] {
                let isr = Isr::builder().build().unwrap();
                let text = page.clone();
                let handler = Handler::new(move |_, _| std::future::ready(text.clone()));
                let site = Router::new().route("/a", get(handler.clone()));
                let site = if inside {
                    site.layer(CompressionLayer::new()).layer(isr.layer(route()))
                } else {
                    site.layer(isr.layer(route())).layer(CompressionLayer::new())
                };
                let case = format!("inside: {inside}, {size} bytes, first: {first}");
                let gzip = !inside && size > 1_000;
                fetch_coded(&site, first).await;
                for coding in ["gzip", "identity", "br", ""] {
                    let response = fetch_coded(&site, coding).await;
                    assert_eq!(state(&response), "HIT", "{case}");
                    let sent = if gzip && coding == "gzip" { "gzip" } else { "" };
                    assert_eq!(header(&response, "content-encoding"), sent, "{case}, {coding}");
                    let etag = header(&response, "etag").to_owned();
                    assert!(etag.starts_with("W/\""), "{case}: {etag}");
                    let vary = header(&response, "vary").to_ascii_lowercase();
                    assert_eq!(vary.contains("accept-encoding"), size > 1_000, "{case}");
                    let bytes = response.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(bytes == page.as_bytes(), sent.is_empty(), "{case}, {coding}");
                    // The tag of the other coding: the same page, which the client has.
                    for other in ["gzip", "identity"] {
                        let again = request_with("/a", &[("accept-encoding", other), ("if-none-match", &etag)]);
                        let again = send(&site, again).await;
                        assert_eq!(
                            (again.status(), header(&again, "content-encoding")),
                            (StatusCode::NOT_MODIFIED, "")
                        );
                        assert_eq!(body(again).await, "", "{case}");
                    }
                }
                assert_eq!(handler.calls(), 1, "{case}");
            }
        }
    }
}

async fn fetch_coded(app: &Router, coding: &str) -> Response {
    send(app, request_with("/a", &[("accept-encoding", coding)])).await
}
