//! HEAD: the entry's head without its body, wherever the layer stands, and never an entry without a body.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, Taps, body, fetch, head, header, let_run, request, send, settled, state, until, waiting};
use http::{HeaderMap, StatusCode};
use tower::Layer;
use tower::util::BoxCloneService;

const MINUTE: Duration = Duration::from_secs(60);

fn route() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// What is the same for HEAD and GET.
fn lasting(response: &Response) -> HeaderMap {
    let mut headers = response.headers().clone();
    for name in ["x-vinext-cache", "cache-status", "age"] {
        headers.remove(name);
    }
    headers
}

/// R6, CASES 75: cold HEAD, then GET, with the layer on a route, on a router, nested, on a fallback, and around the whole
/// router: the HEAD fills the whole page, what follows are HITs and a STALE of it, with the same headers.
#[tokio::test]
async fn a_cold_head_fills_the_page_that_the_next_get_hits() {
    const PAGE: &str = "a page of some bytes";
    for place in ["route", "route_layer", "router", "nested", "two layers", "fallback", "around", "around a nest"] {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let handler = Handler::new(|_, _| async { ([("x-own", "1")], PAGE) });
        let (layer, page) = (isr.layer(route()), handler.clone());
        let plain = || Router::new().route("/p/{slug}", get(handler.clone()));
        let app: BoxCloneService<Request, Response, Infallible> = match place {
            "route" => BoxCloneService::new(Router::<()>::new().route("/p/{slug}", get(page).layer(layer))),
            "route_layer" => BoxCloneService::new(plain().route_layer(layer)),
            "router" => BoxCloneService::new(plain().layer(layer)),
            "nested" => BoxCloneService::new(Router::new().nest("/n", plain().layer(layer))),
            "two layers" => BoxCloneService::new(plain().layer(layer.clone()).layer(layer)),
            "fallback" => BoxCloneService::new(Router::<()>::new().fallback(page).layer(layer)),
            "around" => BoxCloneService::new(layer.layer(plain())),
            _ => BoxCloneService::new(layer.layer(Router::new().nest("/n", plain()))),
        };
        let path = if place.contains("nest") { "/n/p/a" } else { "/p/a" };
        let mut heads = Vec::new();
        for (method, expected) in
            [("HEAD", "MISS"), ("GET", "HIT"), ("HEAD", "HIT"), ("HEAD", "STALE"), ("GET", "HIT"), ("HEAD", "HIT")]
        {
            if expected == "STALE" {
                clock.advance(MINUTE);
            }
            let asked = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = send(&app, asked).await;
            let case = format!("{place}: {method} {expected}");
            assert_eq!((response.status(), state(&response)), (StatusCode::OK, expected), "{case}");
            assert_eq!(header(&response, "content-length"), PAGE.len().to_string(), "{case}");
            assert_eq!(header(&response, "x-own"), "1", "{case}");
            if expected != "STALE" {
                heads.push(lasting(&response));
            }
            assert_eq!(body(response).await, if method == "GET" { PAGE } else { "" }, "{case}");
            settled(&isr).await;
        }
        assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "{place}: {heads:?}");
        assert_eq!((handler.calls(), isr.stats().stored), (2, 2), "{place}");
    }
}

/// R6: also where the page is no 200, and where it is known to have no byte (made by a GET).
#[tokio::test]
async fn a_head_has_the_status_and_the_length_of_the_page() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|_, request: Request| async move {
        match request.uri().path() {
            "/p/moved" => (StatusCode::PERMANENT_REDIRECT, [("location", "/p/a")], "moved").into_response(),
            "/p/none" => (StatusCode::NOT_FOUND, "no such page").into_response(),
            _ => "".into_response(),
        }
    });
    let app = Router::new().route("/p/{slug}", get(handler)).route_layer(isr.layer(route()));
    assert_eq!(state(&fetch(&app, "/p/empty").await), "MISS");
    for (path, status, length) in [("/p/moved", 308, "5"), ("/p/none", 404, "12"), ("/p/empty", 200, "0")] {
        for _ in 0..2 {
            let response = send(&app, head(path)).await;
            assert_eq!((response.status().as_u16(), header(&response, "content-length")), (status, length), "{path}");
            assert_ne!(state(&response), "", "{path}");
            assert_eq!(body(response).await, "");
        }
        assert_eq!(state(&fetch(&app, path).await), "HIT", "{path}");
    }
}

/// R6: a HEAD waits for the whole page, because it needs the length, whether it started the render or joined a GET's;
/// the GET does not wait for anything.
#[tokio::test]
async fn a_head_waits_for_the_length() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = Router::new().route("/p/{slug}", get(taps.handler(&[]))).route_layer(isr.layer(route()));
    for (path, joins) in [("/p/a", false), ("/p/b", true)] {
        let get = if joins { Some(waiting(&app, request(path)).await) } else { None };
        let mut asked = waiting(&app, head(path)).await;
        let tap = taps.next().await;
        tap.send("some ");
        let_run().await;
        assert!(futures_util::poll!(asked.as_mut()).is_pending(), "the length is not known yet");
        if let Some(get) = get {
            assert_eq!(header(&get.await, "cache-control"), "private, no-store");
        }
        tap.send("bytes");
        drop(tap);
        let response = asked.await;
        assert_eq!((state(&response), header(&response, "content-length")), ("MISS", "10"));
        assert_eq!(body(response).await, "");
        let hit = fetch(&app, path).await;
        assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "some bytes"));
    }
}

/// R6: a page that is too large to keep is not a reason to make a HEAD wait for its end, nor to keep anything of it.
#[tokio::test]
async fn a_head_of_a_page_that_is_too_large_gets_its_head() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|_, _| async { "x".repeat(5_000) });
    let route = route().max_body_bytes(4_999);
    let app = Router::new().route("/p/{slug}", get(handler)).route_layer(isr.layer(route));
    for _ in 0..3 {
        let response = send(&app, head("/p/a")).await;
        assert_eq!((response.status(), header(&response, "content-length")), (StatusCode::OK, "5000"));
        assert_eq!(body(response).await, "");
    }
    assert_eq!(isr.stats().stored, 0);
}

/// R6: where the length is not known when the head goes out (the page grows beyond its limit, or breaks), none is said,
/// rather than that of the body that a HEAD does not have.
#[tokio::test]
async fn a_head_says_no_wrong_length() {
    for ends in ["grows", "breaks"] {
        let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
        let route = route().max_body_bytes(10);
        let app = Router::new().route("/p/{slug}", get(taps.handler(&[]))).route_layer(isr.layer(route));
        let asked = waiting(&app, head("/p/a")).await;
        let tap = taps.next().await;
        let_run().await;
        if ends == "grows" {
            tap.send("more than ten bytes, and more to come");
        } else {
            tap.send("some");
            tap.fail("broken");
        }
        let response = asked.await;
        assert_eq!((response.status(), header(&response, "content-length")), (StatusCode::OK, ""), "{ends}");
        assert_eq!(body(response).await, "", "{ends}");
    }
}

/// A route with handlers of its own for both methods; both count.
fn explicit(isr: &Isr) -> (Router, Handler, Handler) {
    let (page, headed) = (Handler::counting(), Handler::new(|n, _| async move { [("x-head", n.to_string())] }));
    let methods = get(page.clone()).head(headed.clone());
    (Router::new().route("/p/{slug}", methods).route_layer(isr.layer(route())), page, headed)
}

/// R6, CASES 75: an explicit `.head()` handler makes no entry; such HEADs go to it each time, until there is a page.
#[tokio::test]
async fn an_explicit_head_handler_makes_no_entry() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let (app, page, headed) = explicit(&isr);
    let ask = |n: usize| {
        let app = app.clone();
        async move {
            let response = send(&app, head("/p/a")).await;
            assert_eq!((state(&response), header(&response, "x-head")), ("", n.to_string().as_str()));
        }
    };
    // The first one is a render and an own request.
    for n in [2, 3, 4] {
        ask(n).await;
    }
    clock.advance(Duration::from_secs(10));
    ask(6).await;
    assert_eq!((page.calls(), headed.calls(), isr.stats().stored), (0, 6, 0));
    let miss = fetch(&app, "/p/a").await;
    assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", "render 1"));
    let hit = send(&app, head("/p/a")).await;
    assert_eq!((state(&hit), header(&hit, "content-length"), header(&hit, "x-head")), ("HIT", "8", ""));
    assert_eq!((page.calls(), headed.calls()), (1, 6));
}

/// CASES 75: the same for one that says how long the page would be, as it should: that is no body that breaks.
#[tokio::test]
async fn an_explicit_head_handler_may_say_a_length() {
    let isr = Isr::builder().build().unwrap();
    let headed = Handler::new(|n, _| async move { [("content-length", "8".to_owned()), ("x-head", n.to_string())] });
    let methods = get(Handler::counting()).head(headed.clone());
    let app = Router::new().route("/p/{slug}", methods).route_layer(isr.layer(route()));
    for n in ["2", "3"] {
        let response = send(&app, head("/p/a")).await;
        assert_eq!((state(&response), header(&response, "x-head")), ("", n));
        assert_eq!(header(&response, "content-length"), "8");
    }
    assert_eq!((isr.stats().failures, isr.stats().stored), (0, 0));
}

/// CASES 75: a HEAD may come through a handler of its own, so it leaves a stale page that a GET made to the next GET.
#[tokio::test]
async fn a_head_does_not_touch_the_page_of_gets() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let (app, page, headed) = explicit(&isr);
    fetch(&app, "/p/a").await;
    clock.advance(MINUTE);
    for _ in 0..3 {
        assert_eq!(state(&send(&app, head("/p/a")).await), "STALE");
        settled(&isr).await;
    }
    assert_eq!((page.calls(), headed.calls()), (1, 0));
    assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 2"));
    assert_eq!((page.calls(), headed.calls()), (2, 0));
}

/// CASES 75: nor does a HEAD make an entry without a body where a page was not shareable and is looked at again.
#[tokio::test]
async fn a_head_that_looks_again_makes_no_entry_without_a_body() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let page = Handler::new(|n, _| async move {
        let cookie = (n < 3).then_some([("set-cookie", "a=1")]);
        (cookie.unwrap_or([("x-plain", "1")]), format!("render {n}"))
    });
    let headed = Handler::new(|_, _| async { [("x-head", "1")] });
    let methods = get(page.clone()).head(headed);
    let app = Router::new().route("/p/{slug}", methods).route_layer(isr.layer(route()));
    assert_eq!(header(&fetch(&app, "/p/a").await, "set-cookie"), "a=1");
    clock.advance(Duration::from_secs(10));
    send(&app, head("/p/a")).await;
    settled(&isr).await;
    for _ in 0..2 {
        let response = fetch(&app, "/p/a").await;
        assert!(body(response).await.starts_with("render "), "a page without its body was kept");
        settled(&isr).await;
    }
}

/// CASES 75: a GET does not wait for what a HEAD has started, which may have no body.
#[tokio::test]
async fn a_get_does_not_join_the_render_of_a_head() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let inner = gate.clone();
    let headed = Handler::new(move |_, _| {
        let gate = inner.clone();
        async move { gate.pass().await }
    });
    let methods = get(Handler::counting()).head(headed.clone());
    let app = Router::new().route("/p/{slug}", methods).route_layer(isr.layer(route()));
    let asked = waiting(&app, head("/p/a")).await;
    until(|| headed.calls() == 1).await;
    let miss = fetch(&app, "/p/a").await;
    assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", "render 1"));
    gate.open();
    asked.await;
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 1"));
}

/// R6: but not for ever: a page may drip for as long as somebody reads it. Here nobody does but the HEAD.
#[tokio::test(start_paused = true)]
async fn a_head_does_not_wait_for_ever() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = Router::new().route("/p/{slug}", get(taps.handler(&[("x-own", "1")]))).route_layer(isr.layer(route()));
    let mut asked = waiting(&app, head("/p/a")).await;
    let tap = taps.next().await;
    for _ in 0..3 {
        tap.send("drip ");
        let_run().await;
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let response = asked.await;
    assert_eq!((response.status(), state(&response), header(&response, "x-own")), (StatusCode::OK, "MISS", "1"));
    assert_eq!((header(&response, "content-length"), header(&response, "cache-control")), ("", "private, no-store"));
    assert_eq!(body(response).await, "");
}
