//! Attacks that need bytes on a socket: what no HTTP library would send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use axum_isr::RouteConfig;
use common::oracle::{HEADERS, LIFE, MARK, Site, mirror};
use common::settled;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::{Client, Server, eventually, soon};

fn site() -> Site {
    Site::page(mirror(), RouteConfig::revalidate(LIFE))
}

/// What a clean visitor gets, without the date: status line and headers, and the body.
async fn visit(server: &Server) -> (String, String) {
    let (head, body) = Client::connect(server).await.ask("GET", "/page", "").await;
    let headers = ["content-type", "content-length", "cache-control", "cache-status", "etag", "age", "x-vinext-cache"];
    let headers: Vec<_> = headers.iter().map(|name| format!("{name}: {}", head.get(name))).collect();
    (format!("{} {headers:?}", head.line), body)
}

/// Sends bytes, and reads what comes until the server closes.
async fn send_raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = wire::connect(server.address).await;
    soon(stream.write_all(bytes)).await.unwrap();
    let mut answer = Vec::new();
    // A server that refuses may reset the connection.
    drop(soon(stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// CASES 60: control characters, bytes that are no text, folded and broken lines. The server refuses them or the page does
/// not see them; in neither case does the next visitor get anything else than without them.
#[tokio::test]
async fn meta_characters_do_not_become_the_page() {
    let peace = Server::start(site().app).await;
    let clean = [visit(&peace).await, visit(&peace).await];
    let (mut refused, mut answered) = (0, 0);
    for value in [
        &b"\x01"[..],
        b"\x07",
        b"\x00",
        b"\x7f",
        b"\x1b[31m",
        b"a\rb",
        b"a\n b",
        b"\r\n folded",
        b"\x80\xff\xfe",
        b"\xc3\xa9",
        b"\t",
        b"\"unclosed",
        b"a\x0bb",
        b"\\\"\\\\",
        b"' or 1=1 --",
        b"<script>",
        b"${jndi:x}",
        b"%0d%0aX-Evil: 1",
    ] {
        for name in ["x-metal", "host", "cookie", "accept", "x-forwarded-host", "if-none-match"] {
            let site = site();
            let server = Server::start(site.app.clone()).await;
            let mut request = b"GET /page HTTP/1.1\r\nconnection: close\r\n".to_vec();
            if name != "host" {
                request.extend_from_slice(b"host: test\r\n");
            }
            request.extend_from_slice(format!("x-mark: {MARK}\r\n{name}: {MARK}").as_bytes());
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n\r\n");
            let answer = send_raw(&server, &request).await;
            let what = format!("{name}: {}", value.escape_ascii());
            settled(&site.isr).await;
            if answer.starts_with("HTTP/1.1 200") {
                answered += 1;
                assert!(!answer.contains(MARK), "{what}: {answer}");
            } else {
                refused += 1;
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
                assert_eq!(site.handler.calls(), 0, "{what}");
            }
            let mut seen = vec![visit(&server).await, visit(&server).await];
            let expected = if site.isr.stats().misses == 1 && answer.starts_with("HTTP/1.1 200") {
                [&clean[1], &clean[1]]
            } else {
                [&clean[0], &clean[1]]
            };
            // The clean site's clock stands still like this one's.
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{what}");
            seen.clear();
            assert_eq!(site.handler.calls(), 1, "{what}");
        }
    }
    assert!(refused > 10 && answered > 10, "{refused} refused, {answered} answered");
}

/// CASES 11: two hundred connections with every header that could mean something inside, and a body that never ends: each
/// waits for itself. Nobody else waits, no render starts, nothing is held for them.
#[tokio::test]
async fn unfinished_requests_hold_up_nobody() {
    let site = site();
    let server = Server::start(site.app.clone()).await;
    let mut held: Vec<TcpStream> = Vec::new();
    let internal: String = HEADERS
        .iter()
        .filter(|name| !["connection", "expect", "host", "te", "trailer", "http2-settings"].contains(name))
        .take(90)
        .flat_map(|name| [name, ": 1\r\n"])
        .collect();
    for n in 0..200 {
        let mut stream = wire::connect(server.address).await;
        let unfinished = match n % 4 {
            0 => format!("GET /page HTTP/1.1\r\nhost: test\r\n{internal}content-length: 10\r\n\r\nabc"),
            1 => format!("GET /page HTTP/1.1\r\nhost: test\r\n{internal}transfer-encoding: chunked\r\n\r\n5\r\nab"),
            2 => format!(
                "POST /page HTTP/1.1\r\nhost: test\r\nnext-resume: 1\r\n{internal}content-length: 1000000\r\n\r\n"
            ),
            _ => format!("GET /page HTTP/1.1\r\nhost: test\r\n{internal}x-never-"),
        };
        soon(stream.write_all(unfinished.as_bytes())).await.unwrap();
        held.push(stream);
    }
    eventually(|| site.handler.calls() == 100).await;
    let stats = site.isr.stats();
    assert_eq!((stats.flights, stats.captured_bytes, stats.renders, stats.misses), (0, 0, 0, 0), "{stats:?}");
    let (first, body) = visit(&server).await;
    assert!(first.starts_with("HTTP/1.1 200 OK") && first.contains("x-vinext-cache: MISS"), "{first}");
    assert!(body.ends_with("body Ok(\"\")\n"), "{body}");
    assert!(visit(&server).await.0.contains("x-vinext-cache: HIT"));
    assert_eq!((site.handler.calls(), held.len()), (101, 200));
}

/// CASES 13: a request that names another address as its host, in every way there is, first and while a page is rendered
/// again: a render is a call, and nothing is ever fetched from there.
#[tokio::test]
async fn no_render_connects_to_the_host_that_a_request_names() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    for target in ["/page".to_owned(), format!("http://{address}/page"), format!("//{address}/page")] {
        for host in [address.to_string(), "169.254.169.254".into(), "127.0.0.1:1".into(), "[::1]:1".into()] {
            for config in [RouteConfig::revalidate(LIFE), RouteConfig::revalidate(LIFE).host()] {
                let site = Site::page(mirror(), config);
                let server = Server::start(site.app.clone()).await;
                let raw = format!(
                    "GET {target} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: {address}\r\nx-original-url: http://{address}/\r\n\
                     forwarded: host={address}\r\nconnection: close\r\n\r\n"
                );
                for expected in ["MISS", "STALE", "HIT"] {
                    let answer = send_raw(&server, raw.as_bytes()).await;
                    assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
                    assert!(answer.contains(&format!("x-vinext-cache: {expected}")), "{target}, {host}: {answer}");
                    settled(&site.isr).await;
                    if expected == "MISS" {
                        site.clock.advance(LIFE);
                    }
                }
                assert_eq!(site.handler.calls(), 2, "{target}");
            }
        }
    }
    assert!(elsewhere.accept().now_or_never().is_none(), "somebody connected");
}
