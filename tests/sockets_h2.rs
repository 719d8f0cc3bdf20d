//! HTTP/2 on real sockets: many streams on one connection, and streams that are reset.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "common/wire.rs"]
mod wire;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, Taps};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use wire::{Server, connect, eventually, soon};

const MINUTE: Duration = Duration::from_secs(60);
const LARGE: usize = 1 << 20;

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/{page}", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)))
}

/// With prior knowledge; a stream whose body is not read stalls after 64 KiB, and stalls no other.
async fn h2(server: &Server) -> SendRequest<Body> {
    let io = TokioIo::new(connect(server.address).await);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(64 << 10).initial_connection_window_size(16 << 20);
    let (sender, connection) = soon(builder.handshake(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

type Answer = http::Response<Incoming>;

fn ask(client: &SendRequest<Body>, request: Request) -> impl Future<Output = Answer> + Send + 'static {
    let mut client = client.clone();
    async move {
        soon(client.ready()).await.unwrap();
        soon(client.send_request(request)).await.unwrap()
    }
}

fn to(method: &str, path: &str) -> Request {
    Request::builder().method(method).uri(format!("http://test{path}")).body(Body::empty()).unwrap()
}

fn state(response: &Answer) -> &'static str {
    axum_isr::CacheStatus::of(response.headers()).map_or("", axum_isr::CacheStatus::as_str)
}

async fn whole(response: Answer) -> Bytes {
    soon(response.into_body().collect()).await.unwrap().to_bytes()
}

fn pages(gate: &Gate) -> Handler {
    let gate = gate.clone();
    Handler::new(move |_, request: Request| {
        let gate = gate.clone();
        async move {
            let path = request.uri().path();
            if path.starts_with("/gated") {
                gate.pass().await;
            }
            if path == "/large" { "x".repeat(LARGE).into_response() } else { format!("page {path}").into_response() }
        }
    })
}

/// CASES 155: on one connection, a hundred streams are answered while another waits for its page; HEAD and 304 have no
/// body, and say how long it would be.
#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = pages(&gate);
    let server = Server::start(app(&isr, &handler)).await;
    let client = h2(&server).await;
    let slow = tokio::spawn(ask(&client, to("GET", "/gated")));
    eventually(|| handler.calls() == 1).await;
    let first = ask(&client, to("GET", "/page")).await;
    assert_eq!((first.version(), state(&first)), (http::Version::HTTP_2, "MISS"));
    let tag = first.headers()["etag"].clone();
    assert_eq!(whole(first).await, "page /page");
    let many = (0..100).map(|n| {
        let mut request = to(if n % 4 == 1 { "HEAD" } else { "GET" }, if n % 4 == 3 { "/large" } else { "/page" });
        if n % 4 == 2 {
            request.headers_mut().insert("if-none-match", tag.clone());
        }
        let answer = ask(&client, request);
        async move {
            let answer = answer.await;
            let (status, length) = (answer.status().as_u16(), answer.headers()["content-length"].clone());
            (n % 4, status, length.to_str().unwrap().to_owned(), whole(answer).await.len())
        }
    });
    for (kind, status, length, read) in join_all(many).await {
        let expected = [(200, "10", 10), (200, "10", 0), (304, "10", 0), (200, "1048576", LARGE)][kind];
        assert_eq!((status, length.as_str(), read), expected);
    }
    assert!(!slow.is_finished());
    gate.open();
    let slow = soon(slow).await.unwrap();
    assert_eq!((state(&slow), whole(slow).await), ("MISS", Bytes::from("page /gated")));
    assert_eq!(handler.calls(), 3);
}

/// CASES 155: streams that are reset in the middle of a HIT, and one that is never read, leave the connection as it was.
#[tokio::test]
async fn a_reset_in_a_hit_leaves_the_connection_alone() {
    let isr = Isr::builder().build().unwrap();
    let handler = pages(&Gate::closed());
    let server = Server::start(app(&isr, &handler)).await;
    let client = h2(&server).await;
    assert_eq!(whole(ask(&client, to("GET", "/large")).await).await.len(), LARGE);
    let stalled = ask(&client, to("GET", "/large")).await;
    for read in [false, true] {
        for _ in 0..10 {
            let mut leaves = ask(&client, to("GET", "/large")).await;
            assert_eq!(state(&leaves), "HIT");
            if read {
                soon(leaves.body_mut().frame()).await.unwrap().unwrap();
            }
            drop(leaves);
        }
    }
    server.bodies_are(0).await;
    let hit = ask(&client, to("GET", "/large")).await;
    assert_eq!((state(&hit), whole(hit).await.len()), ("HIT", LARGE));
    assert_eq!(whole(stalled).await.len(), LARGE);
    assert_eq!(handler.calls(), 1);
}

/// CASES 87, I3: fifty streams that ask for pages nobody has and are reset at once leave no more renders behind than may
/// run in the background; those end as pages.
#[tokio::test]
async fn rapid_resets_are_not_amplified() {
    const ORPHANS: usize = 2;
    let isr = Isr::builder().max_regenerations(2 * ORPHANS).build().unwrap();
    let gate = Gate::closed();
    let handler = pages(&gate);
    let server = Server::start(app(&isr, &handler)).await;
    let client = h2(&server).await;
    let asked: Vec<_> = (0..50).map(|n| tokio::spawn(ask(&client, to("GET", &format!("/gated-{n}"))))).collect();
    eventually(|| handler.calls() == 50).await;
    assert_eq!(isr.stats().flights, 50);
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(asked).await;
    eventually(|| isr.stats().flights == ORPHANS).await;
    gate.open();
    eventually(|| isr.stats().flights == 0).await;
    assert_eq!((isr.stats().stored, handler.calls()), (ORPHANS as u64, 50));
    let after = ask(&client, to("GET", "/page")).await;
    assert_eq!(whole(after).await, "page /page");
}

/// CASES 85, 87: a body that breaks resets its stream and no other; a connection that ends in the middle of a MISS does not
/// end the fill.
#[tokio::test]
async fn a_broken_body_resets_its_stream_and_no_other() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let handler = taps.handler(&[]);
    let server = Server::start(app(&isr, &handler)).await;
    let client = h2(&server).await;
    let begin = |path: &str, calls: usize| {
        let (asked, taps, handler) = (tokio::spawn(ask(&client, to("GET", path))), taps.clone(), handler.clone());
        async move {
            eventually(|| handler.calls() == calls).await;
            let tap = taps.next().await;
            (tap, soon(asked).await.unwrap())
        }
    };
    let (breaks, mut broken) = begin("/a", 1).await;
    let (goes_on, mut fine) = begin("/b", 2).await;
    for (tap, answer) in [(&breaks, &mut broken), (&goes_on, &mut fine)] {
        tap.send("half");
        assert_eq!(soon(answer.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    }
    breaks.fail("broken");
    assert!(soon(broken.into_body().collect()).await.is_err());
    goes_on.send(" and");
    assert_eq!(soon(fine.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), " and");
    drop(fine);
    drop(client);
    server.bodies_are(0).await;
    goes_on.send(" half");
    drop(goes_on);
    eventually(|| isr.stats().stored == 1 && isr.stats().flights == 0).await;
    let hit = ask(&h2(&server).await, to("GET", "/b")).await;
    assert_eq!((state(&hit), whole(hit).await), ("HIT", Bytes::from("half and half")));
    assert_eq!((handler.calls(), server.open.load(Ordering::SeqCst)), (2, 0));
}
