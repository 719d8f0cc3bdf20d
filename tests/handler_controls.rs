//! What a handler and a route can say against caching, and what of a handler's head is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::{Dynamic, DynamicRequest, Render, RouteConfig};
use common::oracle::{Attack, LIFE, MARK, Seen, Site};
use common::{Gate, Handler, Taps, body, fetch, head, header, request, request_with, send, settled, state};
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

/// How a handler may ask for its visitor.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Extracts,
    /// It takes the rejection for an answer, and renders something without the visitor.
    Swallows,
    /// In the first piece of its body.
    InBody,
    /// In another task, for which it waits.
    InTask,
}

async fn visitor(mut parts: http::request::Parts) -> String {
    match DynamicRequest::from_request_parts(&mut parts, &()).await {
        Ok(visitor) => format!("{:?} {}", visitor.headers().get("cookie"), visitor.uri()),
        Err(_) => "nobody".into(),
    }
}

fn asking(asks: Asks, now: &Arc<AtomicBool>) -> Handler {
    let now = Arc::clone(now);
    Handler::new(move |_, request: Request| {
        let asked = now.load(Ordering::SeqCst);
        async move {
            let (mut parts, _) = request.into_parts();
            if !asked {
                return "for everybody".into_response();
            }
            match asks {
                Asks::Extracts => match DynamicRequest::from_request_parts(&mut parts, &()).await {
                    Ok(_) => visitor(parts).await.into_response(),
                    Err(rejection) => rejection.into_response(),
                },
                Asks::Swallows => visitor(parts).await.into_response(),
                Asks::InBody => {
                    let piece = async move { Ok::<_, std::convert::Infallible>(visitor(parts).await) };
                    Body::from_stream(futures_util::stream::once(piece)).into_response()
                }
                Asks::InTask => tokio::spawn(visitor(parts)).await.unwrap().into_response(),
            }
        }
    })
}

/// R7: whoever asks for the visitor's headers, cookies or URI makes a page that is not kept, however he asks, and at
/// first as in a regeneration, which leaves nothing of the old page either.
#[tokio::test]
async fn a_page_that_asks_for_its_visitor_is_not_kept() {
    for asks in [Asks::Extracts, Asks::Swallows, Asks::InBody, Asks::InTask] {
        let site = || Site::page(asking(asks, &Arc::new(AtomicBool::new(true))), plain());
        let evil = || vec![request_with(&format!("/page?{MARK}"), &[("cookie", MARK)])];
        let bob = || request_with("/page?bob", &[("cookie", "bob")]);
        let after = Attack { site: &site, requests: &evil, victim: &bob, extra: 0 }.fails("asks").await;
        for (seen, who) in after.attacker.iter().map(|s| (s, MARK)).chain(after.victims.iter().map(|s| (s, "bob"))) {
            let expected = format!("Some(\"{who}\") /page?{who}");
            assert_eq!((seen.status, seen.state, &seen.body), (200, "", &expected), "{asks:?}");
        }
        assert_eq!(after.site.isr.stats().stored, 0, "{asks:?}");

        let now = Arc::new(AtomicBool::new(false));
        let site = Site::page(asking(asks, &now), plain());
        assert_eq!(state(&fetch(&site.app, "/page").await), "MISS");
        now.store(true, Ordering::SeqCst);
        site.clock.advance(LIFE);
        let stale = send(&site.app, bob()).await;
        assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "for everybody"), "{asks:?}");
        settled(&site.isr).await;
        for _ in 0..2 {
            let seen = Seen::of(send(&site.app, bob()).await).await;
            assert_eq!((seen.state, &*seen.body), ("", "Some(\"bob\") /page?bob"), "{asks:?}: a half-true page");
        }
        assert_eq!(site.isr.stats().stored, 1, "{asks:?}");
    }
}

/// R7: a page that asks after its head is out goes on as the anonymous page that it began as, to who reads it, and is not
/// kept.
#[tokio::test]
async fn a_page_that_asks_while_it_streams_stays_anonymous_and_is_not_kept() {
    let gate = Gate::closed();
    let held = gate.clone();
    let handler = Handler::new(move |_, request: Request| {
        let gate = held.clone();
        async move {
            let (parts, _) = request.into_parts();
            let first = futures_util::stream::once(async { "x".repeat(128 << 10) });
            let then = futures_util::stream::once(async move {
                gate.pass().await;
                visitor(parts).await
            });
            Body::from_stream(first.chain(then).map(Ok::<_, std::convert::Infallible>))
        }
    });
    let site = Site::page(handler, plain());
    let evil = send(&site.app, request_with("/page", &[("cookie", MARK)])).await;
    assert_eq!((state(&evil), header(&evil, "cache-control")), ("MISS", "private, no-store"));
    gate.open();
    let evil = Seen::of(evil).await;
    assert!(evil.body.ends_with("xnobody") && !evil.holds(MARK), "{}", &evil.body[evil.body.len() - 80..]);
    settled(&site.isr).await;
    let bob = Seen::of(send(&site.app, request_with("/page", &[("cookie", "bob")])).await).await;
    assert_eq!((bob.state, bob.body.contains("bob"), site.isr.stats().stored), ("", true, 0));
}

/// R8: the handler's `Cache-Control` goes out letter for letter, also where the answer is a failure, and where a route's
/// own lifetime was said besides.
#[tokio::test]
async fn a_cache_control_of_the_handler_goes_out_unchanged() {
    for (status, value) in [
        (200, "max-age=5, private=\"X-A\""),
        (200, "PUBLIC,max-age=60"),
        (404, "no-store"),
        (503, "no-store, max-age=1"),
        (302, "max-age=9"),
    ] {
        let handler = Handler::new(move |_, request: Request| async move {
            let (mut parts, _) = request.into_parts();
            Render::from_request_parts(&mut parts, &()).await.unwrap().revalidate(LIFE);
            (http::StatusCode::from_u16(status).unwrap(), [("cache-control", value)], "answer")
        });
        let site = Site::page(handler, plain());
        for n in 0..3 {
            for request in [request("/page"), head("/page")] {
                let response = send(&site.app, request).await;
                settled(&site.isr).await;
                let lines: Vec<_> = response.headers().get_all("cache-control").iter().collect();
                assert_eq!(lines, [value], "{status}, {n}");
                assert_eq!((response.status().as_u16(), state(&response)), (status, ""), "{value}");
            }
        }
        assert_eq!(site.isr.stats().stored, 0, "{value}");
    }
}

/// Puts the configuration that a test wants into the request.
async fn choose(mut request: Request, next: Next) -> Response {
    let config = match request.headers().get("x-mode").map(|v| v.to_str().unwrap()) {
        Some("dynamic") => plain().mode(Dynamic::ForceDynamic),
        Some("static") => plain().mode(Dynamic::ForceStatic),
        Some("error") => plain().mode(Dynamic::Error),
        _ => plain(),
    };
    request.extensions_mut().insert(config);
    next.run(request).await
}

/// R9: `ForceDynamic` beats the lifetime: a page that is there is not looked up, nothing is kept, none of our headers is
/// sent. `ForceStatic` and `Error` read what is there and keep what they render, as the default does.
#[tokio::test]
async fn modes_agree_in_reading_and_in_keeping() {
    const MODES: [&str; 3] = ["auto", "static", "error"];
    for writes in MODES {
        let site = Site::new(Handler::counting(), |isr, handler| {
            let layer = axum_isr::IsrLayer::new(isr.clone());
            Router::new().route("/page", get(handler)).layer(layer).layer(from_fn(choose))
        });
        let ask = |mode| send(&site.app, request_with("/page", &[("x-mode", mode)]));
        let first = ask("dynamic").await;
        assert_eq!((first.headers().len(), body(first).await.as_str()), (2, "render 1"), "before there is a page");
        let miss = ask(writes).await;
        assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", "render 2"), "{writes}");
        for reads in MODES {
            let hit = ask(reads).await;
            assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 2"), "{writes}, {reads}");
        }
        let own = ask("dynamic").await;
        let names: Vec<_> = own.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "content-length"], "none of our headers");
        assert_eq!(body(own).await, "render 3", "{writes}: the page that is there was looked up");
        assert_eq!((site.isr.stats().stored, site.isr.stats().bypasses), (1, 2), "{writes}");
    }
}

/// R9: under `ForceStatic` the visitor is empty and the page is shared; under `Error` asking is a mistake that is never
/// kept, and a page that does not ask is; under `ForceDynamic` the visitor is there.
#[tokio::test]
async fn modes_say_what_a_visitor_is() {
    let ask = async |site: &Site| send(&site.app, request_with("/page?q", &[("cookie", MARK)])).await;
    for asks in [Asks::Extracts, Asks::Swallows, Asks::InTask] {
        let site = |mode| Site::page(asking(asks, &Arc::new(AtomicBool::new(true))), plain().mode(mode));
        let fixed = site(Dynamic::ForceStatic);
        for expected in ["MISS", "HIT"] {
            let response = ask(&fixed).await;
            assert_eq!((state(&response), body(response).await.as_str()), (expected, "None /"), "{asks:?}");
        }
        let error = site(Dynamic::Error);
        for _ in 0..3 {
            let seen = Seen::of(ask(&error).await).await;
            assert_eq!((seen.status, seen.state, seen.holds(MARK)), (500, "", false), "{asks:?}");
            settled(&error.isr).await;
        }
        assert_eq!(error.isr.stats().stored, 0);
        let dynamic = site(Dynamic::ForceDynamic);
        assert_eq!(body(ask(&dynamic).await).await, format!("Some(\"{MARK}\") /page?q"), "{asks:?}");
    }
}

const OF_ONE_EXCHANGE: [(&str, &str); 16] = [
    ("x-vinext-cache", "kept"),
    ("cache-status", "other; hit; detail=kept"),
    ("age", "77777"),
    ("date", "Sat, 29 Oct 1994 19:43:31 GMT"),
    ("server-timing", "kept;dur=1"),
    ("x-request-id", "kept"),
    ("traceparent", "00-kept"),
    ("connection", "x-hop, keep-alive"),
    ("x-hop", "kept"),
    ("keep-alive", "timeout=77777"),
    ("proxy-connection", "kept"),
    ("proxy-authenticate", "kept"),
    ("proxy-authorization", "kept"),
    ("te", "kept"),
    ("trailer", "kept"),
    ("upgrade", "kept"),
];

/// R11: one list for every way into an entry: a first render, one that a HEAD began, one that streamed, a regeneration,
/// and what is rendered after a pass. The rest of the head is kept as it was.
#[tokio::test]
async fn no_way_into_an_entry_leads_around_the_list() {
    fn clean(response: &Response, way: &str) {
        for (name, value) in OF_ONE_EXCHANGE {
            assert!(response.headers().get_all(name).iter().all(|v| v != value), "{way}: {name}: {value}");
        }
        assert!(response.headers().get_all("cache-control").iter().count() == 1, "{way}");
        assert_eq!(header(response, "x-kept"), "yes", "{way}");
    }
    let add = |response: &mut Response| {
        response.headers_mut().insert("x-kept", HeaderValue::from_static("yes"));
        for (name, value) in OF_ONE_EXCHANGE {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    };
    let personal = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&personal);
    let handler = Handler::new(move |_, _| {
        let mut response = "the page".into_response();
        add(&mut response);
        if now.load(Ordering::SeqCst) {
            response.headers_mut().insert("set-cookie", HeaderValue::from_static("a=1"));
        }
        async move { response }
    });
    for first in [request("/page"), head("/page")] {
        personal.store(false, Ordering::SeqCst);
        let site = Site::page(handler.clone(), plain());
        let check = async |way: &str, expected: &str| {
            let response = fetch(&site.app, "/page").await;
            assert_eq!(state(&response), expected, "{way}");
            clean(&response, way);
            assert_eq!(body(response).await, "the page");
            settled(&site.isr).await;
        };
        clean(&send(&site.app, first).await, "MISS");
        settled(&site.isr).await;
        check("first render", "HIT").await;
        site.clock.advance(LIFE);
        check("stale", "STALE").await;
        check("regeneration", "HIT").await;
        site.clock.advance(LIFE);
        personal.store(true, Ordering::SeqCst);
        check("stale again", "STALE").await;
        assert_eq!(state(&fetch(&site.app, "/page").await), "");
        personal.store(false, Ordering::SeqCst);
        site.clock.advance(LIFE);
        assert_eq!(state(&fetch(&site.app, "/page").await), "", "looked at again in the background");
        settled(&site.isr).await;
        check("after a pass", "HIT").await;
    }
    let taps = Taps::default();
    let site = Site::page(taps.handler(&OF_ONE_EXCHANGE), plain());
    let app = site.app.clone();
    let visitor = tokio::spawn(async move { fetch(&app, "/page").await });
    let tap = taps.next().await;
    tap.send("piece");
    let response = visitor.await.unwrap();
    for (name, value) in OF_ONE_EXCHANGE {
        assert!(response.headers().get_all(name).iter().all(|v| v != value), "streaming: {name}");
    }
    drop(tap);
    response.into_body().collect().await.unwrap();
    settled(&site.isr).await;
    let hit = fetch(&site.app, "/page").await;
    assert_eq!(state(&hit), "HIT");
    assert!(OF_ONE_EXCHANGE.iter().all(|(name, value)| hit.headers().get_all(*name).iter().all(|v| v != value)));
}

/// R3: what layers outside add to an answer is not in the page: each HIT and each STALE gets it anew.
#[tokio::test]
async fn what_layers_outside_add_is_added_to_each_answer_anew() {
    let count: Arc<AtomicUsize> = Arc::default();
    let counter = Arc::clone(&count);
    let stamp = from_fn(move |request: Request, next: Next| {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut response = next.run(request).await;
            for (name, value) in
                [("set-cookie", format!("n={n}")), ("x-outer", format!("{n}")), ("server-timing", format!("t;dur={n}"))]
            {
                response.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
            }
            response
        }
    });
    let site = Site::new(Handler::counting(), |isr, handler| {
        Router::new().route("/page", get(handler)).layer(isr.layer(plain())).layer(stamp)
    });
    for (n, expected) in ["MISS", "HIT", "HIT", "STALE", "HIT"].into_iter().enumerate() {
        if expected == "STALE" {
            site.clock.advance(LIFE);
        }
        let response = fetch(&site.app, "/page").await;
        assert_eq!(state(&response), expected);
        for (name, value) in
            [("set-cookie", format!("n={n}")), ("x-outer", n.to_string()), ("server-timing", format!("t;dur={n}"))]
        {
            let lines: Vec<_> = response.headers().get_all(name).iter().collect();
            assert_eq!(lines, [&*value], "{expected}: {name}");
        }
        settled(&site.isr).await;
    }
    assert_eq!((count.load(Ordering::SeqCst), site.handler.calls()), (5, 2));
}

/// R5, R9: what a page may ask for says nothing about other methods: their handlers have the visitor's request as it is.
#[tokio::test]
async fn modes_say_nothing_about_other_methods() {
    for mode in [Dynamic::Auto, Dynamic::Error, Dynamic::ForceStatic, Dynamic::ForceDynamic] {
        let isr = axum_isr::Isr::builder().build().unwrap();
        let asked = |visitor: DynamicRequest| async move {
            format!("{:?} {}", visitor.headers().get("x-token"), visitor.uri())
        };
        let app =
            Router::new().route("/", get(|| async { "page" }).post(asked)).route_layer(isr.layer(plain().mode(mode)));
        let post = Request::builder().method("POST").uri("/?q=1").header("x-token", "t").body(Body::from("b")).unwrap();
        let response = send(&app, post).await;
        assert_eq!((response.status().as_u16(), state(&response)), (200, ""), "{mode:?}");
        assert_eq!(body(response).await, "Some(\"t\") /?q=1", "{mode:?}");
    }
}
