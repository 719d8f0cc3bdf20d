//! Seeds from a server, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/dist.rs"]
mod dist;

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::prerender::{Seeds, inspect, verify};
use axum_isr::{Isr, RouteConfig};
use common::{Handler, body, fetch, state};
use dist::Dist;
use futures_util::stream;
use http::StatusCode;

type Answer = Box<dyn Fn(&Request) -> Option<Response> + Send + Sync>;

/// A server of a folder that answers some requests in another way.
struct Server {
    url: String,
    /// What was asked for: path, and `authorization`.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    async fn start(folder: PathBuf, other: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        let other: Arc<Answer> = Arc::new(Box::new(other));
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let notes = Arc::clone(&asked);
        let app = Router::new().fallback(move |request: Request| {
            let authorization = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
            notes.lock().unwrap().push((request.uri().path().to_owned(), authorization.to_owned()));
            let answer = other(&request).unwrap_or_else(|| file(&folder, request.uri().path()));
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/dist", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { url, asked }
    }

    async fn plain(dist: &Dist) -> Self {
        Self::start(dist.path().to_owned(), |_| None).await
    }

    fn seeds(&self) -> Seeds {
        Seeds::http(&self.url).unwrap().timeout(Duration::from_secs(20))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn file(folder: &std::path::Path, path: &str) -> Response {
    let name = path.strip_prefix("/dist/").unwrap();
    // Decoded once, as servers do.
    let mut bytes = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let escape = |rest: &mut std::str::Bytes<'_>| {
            let two = [rest.next().unwrap(), rest.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&two).unwrap(), 16).unwrap()
        };
        bytes.push(if byte == b'%' { escape(&mut rest) } else { byte });
    }
    match fs::read(folder.join(String::from_utf8(bytes).unwrap())) {
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn site(seeds: Seeds) -> (Router, Handler) {
    let isr = Isr::builder().deployment_id("v1").seeds(seeds).build().unwrap();
    let handler = Handler::counting();
    let layer = isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600)));
    (Router::new().route("/posts/{slug}", get(handler.clone()).layer(layer)), handler)
}

fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 16]))))
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

/// R35: a page that neither memory nor a store has comes from the server, and no other page is asked for.
#[tokio::test]
async fn a_page_comes_from_a_server() {
    let dist = Dist::new(&["a", "b"]);
    let server = Server::plain(&dist).await;
    let (app, handler) = site(server.seeds());
    let found = fetch(&app, "/posts/a").await;
    assert_eq!(state(&found), "HIT");
    assert_eq!(body(found).await, "seed of /posts/a");
    assert_eq!(handler.calls(), 0);
    assert_eq!(server.asked(), ["/dist/vinext-prerender.json", "/dist/prerendered-routes/posts/a.html"]);
}

/// R41: the name of a file may have a `%`, a blank or another alphabet in it; it is escaped once.
#[tokio::test]
async fn names_are_escaped_once() {
    let mut dist = Dist::empty();
    dist.page("/posts/a", "sticks%20.html");
    dist.page("/posts/b", "ä b&c#d?e+f.html");
    dist.save();
    let server = Server::plain(&dist).await;
    let report = verify(&server.seeds()).await.unwrap();
    assert_eq!((report.good, report.bad.len()), (2, 0), "{report:?}");
    let mut asked = server.asked();
    asked.sort();
    let names =
        ["%C3%A4%20b%26c%23d%3Fe%2Bf.html", "sticks%2520.html"].map(|name| format!("/dist/prerendered-routes/{name}"));
    assert_eq!(asked, [names[0].clone(), names[1].clone(), "/dist/vinext-prerender.json".to_owned()]);
}

/// CASES 148: a redirect is not followed, wherever it leads: it may lead to what only this machine can reach.
#[tokio::test]
async fn redirects_are_not_followed() {
    let dist = Dist::new(&["a", "b", "c", "d", "e"]);
    let inside = Server::plain(&dist).await;
    let target = inside.url.clone();
    let codes = [301, 302, 303, 307, 308];
    let server = Server::start(dist.path().to_owned(), move |request| {
        let page = request.uri().path().strip_prefix("/dist/prerendered-routes/posts/")?;
        let code = codes["abcde".find(&page[..1]).unwrap()];
        let to = format!("{target}/prerendered-routes/posts/{page}");
        Some((StatusCode::from_u16(code).unwrap(), [("location", to)]).into_response())
    });
    let server = server.await;
    let report = verify(&server.seeds()).await.unwrap();
    assert_eq!((report.good, report.bad.len()), (0, 5), "{report:?}");
    for bad in &report.bad {
        assert!(!bad.transient && bad.reason.contains("redirects are not followed"), "{bad:?}");
    }
    let (app, handler) = site(server.seeds());
    assert_eq!(state(&fetch(&app, "/posts/a").await), "MISS");
    assert_eq!((handler.calls(), inside.asked()), (1, Vec::new()));
    // Nor the manifest's.
    let target = format!("{}/vinext-prerender.json", inside.url);
    let server = Server::start(dist.path().to_owned(), move |_| {
        Some((StatusCode::FOUND, [("location", target.clone())]).into_response())
    });
    let problem = inspect(&server.await.seeds()).await.unwrap_err();
    assert!(!problem.is_transient() && problem.to_string().contains("said 302"), "{problem}");
    assert_eq!(inside.asked(), Vec::<String>::new());
}

/// R37: what is not there, what may be there later, and what never will be.
#[tokio::test]
async fn a_status_says_whether_it_is_worth_trying_again() {
    let dist = Dist::new(&["a"]);
    for (code, transient, said) in [
        (404, false, "there is none"),
        (410, false, "there is none"),
        (408, true, "said 408"),
        (429, true, "said 429"),
        (500, true, "said 500"),
        (503, true, "said 503"),
        (401, false, "said 401"),
        (403, false, "said 403"),
        (204, false, "said 204"),
        (206, false, "said 206"),
        (304, false, "said 304"),
    ] {
        let server = Server::start(dist.path().to_owned(), move |_| Some(status(code))).await;
        let problem = inspect(&server.seeds()).await.unwrap_err();
        assert_eq!(problem.is_transient(), transient, "{code}: {problem}");
        assert!(problem.to_string().contains(said), "{code}: {problem}");
    }
    // Nobody there at all.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let problem = inspect(&Seeds::http(&url).unwrap()).await.unwrap_err();
    assert!(problem.is_transient(), "{problem}");
}

/// R41: a body without end, or that says that it has none, is not read further than is allowed, whatever its length says.
#[tokio::test]
async fn a_body_is_read_no_further_than_is_allowed() {
    let dist = Dist::new(&["a"]);
    let server = Server::start(dist.path().to_owned(), |request| {
        request.uri().path().ends_with("a.html").then(|| endless().into_response())
    });
    let server = server.await;
    let report = verify(&server.seeds()).await.unwrap();
    assert!(report.bad[0].reason.contains("too large"), "{report:?}");
    let (app, handler) = site(server.seeds());
    assert_eq!((state(&fetch(&app, "/posts/a").await).to_owned(), handler.calls()), ("MISS".to_owned(), 1));
    // A length that is a lie costs nothing.
    let server = Server::start(dist.path().to_owned(), |request| {
        let lie = (StatusCode::OK, [("content-length", "99999999999999")], endless());
        request.uri().path().ends_with("a.html").then(|| lie.into_response())
    });
    let report = verify(&server.await.seeds()).await.unwrap();
    assert!(report.bad[0].reason.contains("too large"), "{report:?}");
}

/// R38: whoever is slow costs a visitor the seeds' timeout, and then the page is rendered.
#[tokio::test]
async fn a_slow_server_costs_a_bounded_wait() {
    let dist = Dist::new(&["a"]);
    let server = Server::start(dist.path().to_owned(), |request| {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"seed"))]);
        let slow = futures_util::StreamExt::chain(first, stream::pending());
        request.uri().path().ends_with("a.html").then(|| Body::from_stream(slow).into_response())
    });
    let seeds = server.await.seeds().timeout(Duration::from_millis(500));
    let (app, handler) = site(seeds);
    assert_eq!(state(&fetch(&app, "/posts/a").await), "MISS");
    assert_eq!(handler.calls(), 1);
}

/// A body that is not as it was written is another one.
#[tokio::test]
async fn a_compressed_body_is_refused() {
    let dist = Dist::new(&["a"]);
    let server = Server::start(dist.path().to_owned(), |_| Some(([("content-encoding", "gzip")], "x").into_response()));
    let problem = inspect(&server.await.seeds()).await.unwrap_err();
    assert!(!problem.is_transient() && problem.to_string().contains("content-encoding"), "{problem}");
}

/// R39: without `builtAt`, the age counts from the last change.
#[tokio::test]
async fn last_modified_is_the_time_of_the_build() {
    let mut dist = Dist::new(&["a"]);
    dist.manifest.as_object_mut().unwrap().remove("builtAt");
    let text = dist.manifest.to_string();
    let server = Server::start(dist.path().to_owned(), move |_| {
        Some(([("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], text.clone()).into_response())
    });
    let found = inspect(&server.await.seeds()).await.unwrap();
    assert_eq!((found.built_at, found.pages[0].unused), (784_111_777, Some("expired")));
}

/// A token goes where it belongs, and into no text.
#[tokio::test]
async fn a_token_is_sent_and_shown_nowhere() {
    let dist = Dist::new(&["a"]);
    let server = Server::plain(&dist).await;
    let seeds = Seeds::http_with_token(&server.url, "s3cret").unwrap();
    assert_eq!(inspect(&seeds).await.unwrap().pages.len(), 1);
    assert_eq!(server.asked.lock().unwrap()[0].1, "Bearer s3cret");
    assert!(!format!("{seeds:?}").contains("s3cret"));
    for token in ["", "two words", "line\n", "é"] {
        let problem = Seeds::http_with_token(&server.url, token).unwrap_err();
        assert_eq!(problem.setting(), "token");
        assert!(token.is_empty() || !problem.to_string().contains(token), "{problem}");
    }
    assert!(Seeds::http_with_token("http://builds.example", "s3cret").is_err());
    assert!(Seeds::http_with_token("https://builds.example", "s3cret").is_ok());
}

/// No URL with credentials, and none that is not absolute; nothing of it is repeated.
#[test]
fn a_url_that_cannot_be_is_refused() {
    for url in [
        "",
        "hunter2",
        "/hunter2",
        "ftp://hunter2",
        "file:///hunter2",
        "https://hunter2@a",
        "https://:hunter2@a",
        "https://a?hunter2",
        "https://a#hunter2",
        "https://:hunter2@",
    ] {
        let problem = Seeds::http(url).unwrap_err();
        assert_eq!(problem.setting(), "http");
        assert!(!problem.to_string().contains("hunter2"), "{url}: {problem}");
    }
    for url in ["https://a", "http://a:1/b/", "https://[::1]/b"] {
        assert!(Seeds::http(url).is_ok(), "{url}");
    }
}
