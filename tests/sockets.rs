//! HTTP/1 on real sockets: framing, connections that are kept or broken, and the end of a server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, Tap, Taps};
use http::StatusCode;
use http_body_util::BodyExt;
use wire::{Client, Server, eventually, request, soon};

const MINUTE: Duration = Duration::from_secs(60);
/// More than all the kernel's buffers of a connection on which nobody reads.
const LARGE: usize = 8 << 20;

fn app(isr: &Isr, handler: &Handler) -> Router {
    let route = RouteConfig::revalidate(MINUTE).max_body_bytes(LARGE);
    Router::new().route("/{page}", any(handler.clone())).route_layer(isr.layer(route))
}

/// A page for each kind of framing. The page that is gated waits in renders and in own requests alike.
fn pages(gate: &Gate) -> Handler {
    let gate = gate.clone();
    Handler::new(move |_, request: Request| {
        let gate = gate.clone();
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path().to_owned();
            let sent = body.collect().await.unwrap().to_bytes();
            match path.as_str() {
                "/gated" => gate.pass().await,
                "/none" => return (StatusCode::NOT_FOUND, "none").into_response(),
                "/cookie" => return ([("set-cookie", "a=1")], "cookie").into_response(),
                "/empty" => return ().into_response(),
                "/large" => return "x".repeat(LARGE).into_response(),
                "/stream" => {
                    let (tap, body) = Tap::open();
                    tokio::spawn(async move {
                        for text in ["one ", "two ", "three"] {
                            tokio::task::yield_now().await;
                            tap.send(text);
                        }
                    });
                    return Response::new(body);
                }
                _ => {}
            }
            format!("page {path}{}", String::from_utf8_lossy(&sent)).into_response()
        }
    })
}

/// CASES 155: on one kept connection, every kind of answer is framed so that the next one is where it should be: MISS,
/// HIT, STALE, 304 and HEAD without a byte of body, chunked streams, passes, errors, empty pages.
#[tokio::test]
async fn every_answer_on_a_kept_connection_ends_where_it_should() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let server = Server::start(app(&isr, &pages(&Gate::closed()))).await;
    let mut client = Client::connect(&server).await;
    let (first, body) = client.ask("GET", "/page", "").await;
    assert_eq!(
        (first.state().as_str(), body.as_str(), first.get("content-length").as_str()),
        ("MISS", "page /page", "10")
    );
    let known = format!("if-none-match: {}\r\n", first.get("etag"));
    for round in 0..3 {
        if round == 1 {
            clock.advance(MINUTE);
        }
        for (method, path, headers, status, body, framing) in [
            ("GET", "/page", "", 200, "page /page", "10"),
            ("HEAD", "/page", "", 200, "", "10"),
            ("GET", "/page", known.as_str(), 304, "", "10"),
            ("HEAD", "/page", known.as_str(), 304, "", "10"),
            ("GET", "/none", "", 404, "none", "4"),
            ("HEAD", "/none", "", 404, "", "4"),
            ("GET", "/cookie", "", 200, "cookie", "6"),
            ("HEAD", "/cookie", "", 200, "", "6"),
            ("GET", "/empty", "", 200, "", "0"),
            ("HEAD", "/empty", "", 200, "", "0"),
            ("GET", "/stream", "", 200, "one two three", if round == 0 { "" } else { "13" }),
            ("HEAD", "/stream", "", 200, "", "13"),
            ("POST", "/page", "content-length: 5\r\n", 200, "page /pagehello", "15"),
        ] {
            let case = format!("{method} {path} {headers}round {round}");
            client.write(&request(method, path, headers)).await;
            if method == "POST" {
                client.write("hello").await;
            }
            let (head, got) = client.answer(method).await;
            assert_eq!((head.status(), got.as_str()), (status, body), "{case}");
            // A 304 may say how long the page is, and need not.
            let length = head.get("content-length");
            assert!(length == framing || (status == 304 && length.is_empty()), "{case}: {head:?}");
            assert_eq!(head.get("transfer-encoding"), if framing.is_empty() { "chunked" } else { "" }, "{case}");
            assert!(!head.get("date").is_empty() && head.get("connection").is_empty(), "{case}: {head:?}");
            eventually(|| isr.stats().flights == 0).await;
        }
    }
    assert_eq!(server.open.load(std::sync::atomic::Ordering::SeqCst), 0);
}

/// CASES 155: requests that are sent without waiting are answered in order, with a MISS that takes long at their head.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = pages(&gate);
    let server = Server::start(app(&isr, &handler)).await;
    let (mut client, mut other) = (Client::connect(&server).await, Client::connect(&server).await);
    let tag = other.ask("GET", "/page", "").await.0.get("etag");
    let asked = [
        ("GET", "/gated", String::new(), 200, "MISS", "page /gated"),
        ("GET", "/page", String::new(), 200, "HIT", "page /page"),
        ("HEAD", "/page", String::new(), 200, "HIT", ""),
        ("GET", "/page", format!("if-none-match: {tag}\r\n"), 304, "HIT", ""),
        ("GET", "/gated", String::new(), 200, "HIT", "page /gated"),
        ("GET", "/stream", String::new(), 200, "MISS", "one two three"),
        ("GET", "/cookie", String::new(), 200, "", "cookie"),
        ("HEAD", "/gated", "connection: close\r\n".to_owned(), 200, "HIT", ""),
    ];
    let all: String = asked.iter().map(|(method, path, headers, ..)| request(method, path, headers)).collect();
    client.write(&all).await;
    eventually(|| handler.calls() == 2).await;
    assert_eq!(other.ask("GET", "/page", "").await.1, "page /page", "another connection does not wait");
    gate.open();
    for (method, path, _, status, state, body) in &asked {
        let (head, got) = client.answer(method).await;
        assert_eq!((head.status(), head.state().as_str(), got.as_str()), (*status, *state, *body), "{method} {path}");
    }
    assert_eq!(client.until_the_end().await, "");
}

/// CASES 155: HTTP/1.0: no chunked coding, the connection ends with the body; a HIT has its length and may keep it.
#[tokio::test]
async fn http_1_0_gets_no_chunks() {
    let isr = Isr::builder().build().unwrap();
    let server = Server::start(app(&isr, &pages(&Gate::closed()))).await;
    for (path, state, body) in
        [("/stream", "MISS", "one two three"), ("/stream", "HIT", "one two three"), ("/page", "MISS", "page /page")]
    {
        let mut client = Client::connect(&server).await;
        client.write(&format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        let (head, got) = client.answer("GET").await;
        assert_eq!((head.line.as_str(), head.state().as_str(), got.as_str()), ("HTTP/1.0 200 OK", state, body));
        assert_eq!(head.get("transfer-encoding"), "");
        assert_eq!(client.until_the_end().await, "", "{path}");
        eventually(|| isr.stats().flights == 0).await;
    }
    let mut client = Client::connect(&server).await;
    for method in ["GET", "HEAD", "GET"] {
        client.write(&format!("{method} /page HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")).await;
        let (head, got) = client.answer(method).await;
        assert_eq!((head.state().as_str(), head.get("content-length").as_str()), ("HIT", "10"));
        assert_eq!((head.get("connection").as_str(), got.len()), ("keep-alive", if method == "GET" { 10 } else { 0 }));
    }
}

/// CASES 155: `Expect: 100-continue` on a HIT is answered at once and once; with a body the request is the handler's, who
/// lets it come.
#[tokio::test]
async fn an_expectation_on_a_hit_costs_nothing() {
    let isr = Isr::builder().build().unwrap();
    let server = Server::start(app(&isr, &pages(&Gate::closed()))).await;
    let mut client = Client::connect(&server).await;
    for (headers, state) in
        [("", "MISS"), ("expect: 100-continue\r\n", "HIT"), ("expect: 100-continue\r\ncontent-length: 0\r\n", "HIT")]
    {
        let (head, body) = client.ask("GET", "/page", headers).await;
        assert_eq!((head.status(), head.state().as_str(), body.as_str()), (200, state, "page /page"));
    }
    client.write(&request("GET", "/page", "expect: 100-continue\r\ncontent-length: 5\r\n")).await;
    assert_eq!(client.head().await.status(), 100);
    client.write("hello").await;
    let (head, body) = client.answer("GET").await;
    assert_eq!((head.status(), head.state().as_str(), body.as_str()), (200, "", "page /pagehello"));
    assert_eq!(client.ask("GET", "/page", "").await.0.state(), "HIT");
}

/// CASES 87: the visitor of a MISS closes his connection after the head, or after half of the body: the page is filled in
/// the background, whole, and is then a HIT; who follows on another connection does not notice.
#[tokio::test]
async fn a_page_is_filled_after_its_visitor_has_gone() {
    for after_half in [false, true] {
        for followed in [false, true] {
            let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
            let handler = taps.handler(&[]);
            let server = Server::start(app(&isr, &handler)).await;
            let mut client = Client::connect(&server).await;
            client.write(&request("GET", "/a", "")).await;
            eventually(|| handler.calls() == 1).await;
            let tap = taps.next().await;
            assert_eq!(client.head().await.state(), "MISS");
            let mut follower = Client::connect(&server).await;
            if followed {
                follower.write(&request("GET", "/a", "")).await;
                assert_eq!(follower.head().await.get("cache-status"), "axum-isr; fwd=miss; collapsed");
            }
            if after_half {
                tap.send("half of it");
                assert_eq!(client.chunk().await, "half of it");
            }
            drop(client);
            server.bodies_are(usize::from(followed)).await;
            tap.send(", and the rest");
            drop(tap);
            let expected = if after_half { "half of it, and the rest" } else { ", and the rest" };
            if followed {
                let mut got = String::new();
                while let chunk = follower.chunk().await
                    && !chunk.is_empty()
                {
                    got.push_str(&chunk);
                }
                assert_eq!(got, expected);
            }
            eventually(|| isr.stats().stored == 1 && isr.stats().flights == 0).await;
            let (head, body) = follower.ask("GET", "/a", "").await;
            assert_eq!((head.state().as_str(), body.as_str(), handler.calls()), ("HIT", expected, 1));
        }
    }
}

/// CASES 85, 155: a body that breaks is a broken transfer on the wire: no last chunk, or fewer bytes than were declared,
/// and then the end of the connection; nothing is kept.
#[tokio::test]
async fn a_broken_body_breaks_the_transfer() {
    for headers in [&[][..], &[("content-length", "20")]] {
        let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
        let handler = taps.handler(headers);
        let server = Server::start(app(&isr, &handler)).await;
        let mut client = Client::connect(&server).await;
        client.write(&request("GET", "/a", "")).await;
        eventually(|| handler.calls() == 1).await;
        let tap = taps.next().await;
        let head = client.head().await;
        assert_eq!((head.state().as_str(), head.get("content-length").is_empty()), ("MISS", headers.is_empty()));
        tap.send("half of it");
        if headers.is_empty() {
            assert_eq!(client.chunk().await, "half of it");
        } else {
            assert_eq!(client.exactly(10).await, b"half of it");
        }
        tap.fail("broken");
        assert_eq!(client.until_the_end().await, "");
        server.bodies_are(0).await;
        eventually(|| isr.stats().flights == 0).await;
        assert_eq!((isr.stats().stored, isr.stats().memory_items), (0, 0));
    }
}

/// CASES 155: readers that break off in the middle of a HIT (with bytes unread, which resets the connection), or do not
/// read at all, harm no other; what they leave is given back.
#[tokio::test]
async fn readers_that_reset_or_stall_in_a_hit_harm_nobody() {
    let isr = Isr::builder().build().unwrap();
    let handler = pages(&Gate::closed());
    let server = Server::start(app(&isr, &handler)).await;
    let mut reader = Client::connect(&server).await;
    let (head, page) = reader.ask("GET", "/large", "").await;
    assert_eq!((head.state().as_str(), page.len()), ("MISS", LARGE));
    let mut stalled = Client::connect(&server).await;
    stalled.write(&request("GET", "/large", "")).await;
    assert_eq!(stalled.head().await.state(), "HIT");
    for read in [0, 1, 10_000, 100_000] {
        let mut leaves = Client::connect(&server).await;
        leaves.write(&request("GET", "/large", "")).await;
        assert_eq!(leaves.head().await.state(), "HIT");
        leaves.exactly(read).await;
        drop(leaves);
    }
    server.bodies_are(0).await;
    let (head, again) = reader.ask("GET", "/large", "").await;
    assert_eq!((head.state().as_str(), again == page), ("HIT", true));
    assert_eq!(stalled.exactly(LARGE).await, page.as_bytes(), "when he reads he gets it all");
    assert_eq!(stalled.ask("HEAD", "/large", "").await.0.get("content-length"), LARGE.to_string());
    assert_eq!(handler.calls(), 1);
}

/// CASES 87, 90: a reader that stalls on his socket in the middle of a MISS does not hold up the fill, nor others.
#[tokio::test]
async fn a_stalled_socket_does_not_hold_up_the_fill() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let handler = taps.handler(&[]);
    let server = Server::start(app(&isr, &handler)).await;
    let mut stalled = Client::connect(&server).await;
    stalled.write(&request("GET", "/a", "")).await;
    eventually(|| handler.calls() == 1).await;
    let tap = taps.next().await;
    assert_eq!(stalled.head().await.state(), "MISS");
    for _ in 0..LARGE >> 16 {
        tap.send(vec![b'x'; 1 << 16]);
    }
    drop(tap);
    eventually(|| isr.stats().stored == 1).await;
    server.bodies_are(1).await;
    let mut reader = Client::connect(&server).await;
    let (head, page) = reader.ask("GET", "/a", "").await;
    assert_eq!((head.state().as_str(), page.len()), ("HIT", LARGE));
    let mut got = 0;
    while let chunk = stalled.chunk().await
        && !chunk.is_empty()
    {
        got += chunk.len();
    }
    assert_eq!((got, handler.calls()), (LARGE, 1));
}

/// CASES 99: the server is told to stop while a page renders: it is seen through, its visitor gets it whole, and both ends
/// report that nothing was lost.
#[tokio::test]
async fn a_shutdown_sees_a_render_through() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = pages(&gate);
    let mut server = Server::start(app(&isr, &handler)).await;
    let (mut client, mut idle) = (Client::connect(&server).await, Client::connect(&server).await);
    idle.ask("GET", "/page", "").await;
    client.write(&request("GET", "/gated", "")).await;
    eventually(|| handler.calls() == 2).await;
    server.stop();
    assert_eq!(idle.until_the_end().await, "", "an idle connection is closed");
    let ending = isr.clone();
    let report = tokio::spawn(async move { ending.shutdown(MINUTE).await });
    tokio::task::yield_now().await;
    gate.open();
    let (head, body) = client.answer("GET").await;
    assert_eq!((head.status(), head.state().as_str(), body.as_str()), (200, "MISS", "page /gated"));
    assert_eq!(client.until_the_end().await, "");
    server.ended().await;
    let report = soon(report).await.unwrap();
    assert_eq!((report.finished, report.abandoned, handler.calls()), (1, 0, 2));
}

/// CASES 99: what does not end within the limit is given up: a visitor who waits is served by his own request, one who
/// reads along sees a broken transfer and not a page that is too short, and whoever comes later bypasses.
#[tokio::test]
async fn a_shutdown_without_patience_gives_renders_up() {
    let isr = Isr::builder().build().unwrap();
    let taps = Taps::default();
    let streams = taps.handler(&[]);
    let hangs = Handler::new(|n, _| async move {
        if n == 1 {
            std::future::pending::<()>().await;
        }
        format!("call {n}")
    });
    let layer = isr.layer(RouteConfig::revalidate(MINUTE));
    let app = Router::<()>::new().route("/hangs", any(hangs.clone())).route("/streams", any(streams.clone()));
    let server = Server::start(app.route_layer(layer)).await;
    let (mut waits, mut reads) = (Client::connect(&server).await, Client::connect(&server).await);
    waits.write(&request("GET", "/hangs", "")).await;
    reads.write(&request("GET", "/streams", "")).await;
    eventually(|| hangs.calls() + streams.calls() == 2).await;
    let tap = taps.next().await;
    tap.send("half");
    assert_eq!(reads.head().await.state(), "MISS");
    assert_eq!(reads.chunk().await, "half");
    let report = soon(isr.shutdown(Duration::ZERO)).await;
    assert_eq!((report.finished, report.abandoned), (0, 2));
    assert_eq!(reads.until_the_end().await, "", "no last chunk");
    let (head, body) = waits.answer("GET").await;
    assert_eq!((head.status(), head.state().as_str(), body.as_str()), (200, "", "call 2"));
    assert!(!tap.is_read());
    let (head, body) = waits.ask("GET", "/hangs", "").await;
    assert_eq!((head.state().as_str(), body.as_str()), ("", "call 3"));
}
