//! Requests that go to their handler without a look.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::stats::{Bypass, Miss, Reason};
use axum_isr::{IsrLayer, RouteConfig};
use http::{HeaderName, HeaderValue};
use tower::Layer as _;

use crate::case::{Answer, Case, Row, row};
use crate::common::{Handler, fetch, request, request_with};
use crate::reasons::all_agree;
use crate::site::{MINUTE, Site, plain};

#[test]
fn what_is_told_of_bypasses_agrees() {
    all_agree(rows());
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = by_config();
    rows.extend(by_request());
    rows.extend(by_key());
    rows.extend(by_surroundings());
    rows
}

fn bypass(why: Bypass, what: &'static str, prepare: impl AsyncFnOnce() -> Case + 'static) -> Row {
    row(Reason::Bypass(why), what, prepare)
}

fn by_config() -> Vec<Row> {
    vec![
        bypass(Bypass::NoConfig, "neither the layer nor the request has one", async || {
            let site = Site::new();
            let page = get(Handler::counting());
            let app = Router::new().route("/n/{slug}", page).route_layer(IsrLayer::new(site.isr.clone()));
            site.case().on(&app).path("/n/a").route("/n/{slug}")
        }),
        bypass(Bypass::InvalidConfig, "the layer's own cannot work", async || {
            Site::of(plain().query([""]), Handler::counting()).case()
        }),
        bypass(Bypass::InvalidConfig, "larger pages than memory can hold", async || {
            Site::of(plain().max_body_bytes(1 << 40), Handler::counting()).case()
        }),
        bypass(Bypass::InvalidConfig, "one that a middleware has put into the request", async || {
            let site = Site::new();
            let choose = async |mut request: Request, next: Next| {
                request.extensions_mut().insert(plain().cookie("a b", ["c"]));
                next.run(request).await
            };
            let app = Router::new()
                .route("/n/{slug}", get(Handler::counting()))
                .route_layer(IsrLayer::new(site.isr.clone()))
                .layer(from_fn(choose));
            site.case().on(&app).path("/n/a").route("/n/{slug}")
        }),
        bypass(Bypass::Dynamic, "the route is never cached", async || {
            Site::of(RouteConfig::dynamic(), Handler::counting()).case()
        }),
        bypass(Bypass::Dynamic, "a time to revalidate of zero", async || {
            Site::of(RouteConfig::revalidate(Duration::ZERO), Handler::counting()).case()
        }),
    ]
}

/// Explanations are of GETs without a body: of what else a request may be they see the headers.
fn by_request() -> Vec<Row> {
    let of_headers = |why, headers| bypass(why, "by its headers", async move || Site::new().case().headers(headers));
    vec![
        bypass(Bypass::Method, "a POST", async || {
            let post = || Request::post("/p/a").body(Body::empty()).unwrap();
            Site::new().case().looks_cold().asking(post)
        }),
        bypass(Bypass::Body, "a GET with a body", async || {
            let with_body = || Request::get("/p/a").body(Body::from("x")).unwrap();
            Site::new().case().looks_cold().asking(with_body)
        }),
        of_headers(Bypass::Body, &[("content-length", "1")]),
        of_headers(Bypass::Body, &[("transfer-encoding", "chunked")]),
        of_headers(Bypass::Range, &[("range", "bytes=0-0")]),
        of_headers(Bypass::Precondition, &[("if-match", "*")]),
        of_headers(Bypass::Precondition, &[("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT")]),
        of_headers(Bypass::Upgrade, &[("upgrade", "websocket")]),
        bypass(Bypass::Range, "also where the page is there", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.case().headers(&[("range", "bytes=0-0")])
        }),
    ]
}

fn by_key() -> Vec<Row> {
    vec![
        bypass(Bypass::KeyTooLong, "a path of 2,000 bytes", async || {
            Site::new().case().asking(|| request(&format!("/p/{}", "x".repeat(2_000))))
        }),
        bypass(Bypass::TooManyInputs, "33 parameters that count", async || {
            let query = (0..33).map(|n| format!("q={n}")).collect::<Vec<_>>().join("&");
            let site = Site::of(plain().query(["q"]), Handler::counting());
            site.case().asking(move || request(&format!("/p/a?{query}")))
        }),
        bypass(Bypass::HeaderValue, "a declared header that is no text", async || {
            let config = plain().header(HeaderName::from_static("x-kind"), ["a"]);
            Site::of(config, Handler::counting()).case().asking(|| {
                let mut request = request("/p/a");
                request.headers_mut().insert("x-kind", HeaderValue::from_bytes(b"\xff").unwrap());
                request
            })
        }),
        bypass(Bypass::HeaderValue, "a declared cookie that is no text", async || {
            Site::of(plain().cookie("theme", ["dark"]), Handler::counting()).case().asking(|| {
                let mut request = request("/p/a");
                request.headers_mut().insert("cookie", HeaderValue::from_bytes(b"theme=\xff").unwrap());
                request
            })
        }),
        bypass(Bypass::HostValue, "two hosts where they count", async || {
            let hosts: &[_] = &[("host", "a.example"), ("host", "b.example")];
            Site::of(plain().host(), Handler::counting()).case().headers(hosts)
        }),
        bypass(Bypass::Path, "the asterisk of OPTIONS, of which nothing can be explained", async || {
            let site = Site::new();
            let app = site.isr.layer(plain()).layer(get(Handler::counting()));
            site.case().on(&app).route("").cannot_be_explained().asking(|| request("*"))
        }),
        bypass(Bypass::NestParameters, "outside of a nest with parameters, which only axum knows", async || {
            let site = Site::new();
            let inner = Router::new().route("/{slug}", get(Handler::counting()));
            let app = Router::new().nest_service("/n/{tenant}", inner).layer(site.isr.layer(plain()));
            site.case().on(&app).path("/n/acme/a").route("").looks_cold()
        }),
    ]
}

fn by_surroundings() -> Vec<Row> {
    vec![
        bypass(Bypass::Share, "what is shared with renders panics when it is cloned", async || {
            struct Flaky;
            impl Clone for Flaky {
                fn clone(&self) -> Self {
                    panic!("cloned")
                }
            }
            let site = Site::new();
            let shares = site.isr.layer(plain()).share::<Flaky>();
            let app = Router::new().route("/n/{slug}", get(Handler::counting())).route_layer(shares);
            site.case().on(&app).route("/n/{slug}").looks_cold().asking(|| {
                let mut request = request("/n/a");
                // Extensions are cloned as well for other reasons: behind a pointer it is cloned by nobody else.
                request.extensions_mut().insert(Flaky);
                request
            })
        }),
        bypass(Bypass::NoRuntime, "one without timers", async || Site::new().case().looks_cold()).without_timers(),
        bypass(Bypass::Shutdown, "the handle is shutting down", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.isr.shutdown(MINUTE).await;
            site.case()
        }),
        bypass(Bypass::Recursion, "a page that asks for itself", async || {
            let (router, answer) = (Arc::<OnceLock<Router>>::default(), Arc::<Mutex<Option<Response>>>::default());
            let (inner, slot) = (Arc::clone(&router), Arc::clone(&answer));
            let handler = Handler::new(move |_, request: Request| {
                let (router, slot) = (inner.get().unwrap().clone(), Arc::clone(&slot));
                let asks = !request.headers().contains_key("x-inner");
                async move {
                    if asks {
                        let inside = request_with("/p/a", &[("x-inner", "1")]);
                        let response = crate::common::send(&router, inside).await;
                        *slot.lock().unwrap() = Some(response);
                    }
                    "page".into_response()
                }
            });
            let site = Site::of(plain(), handler);
            router.set(site.app.clone()).unwrap();
            site.case().looks_cold().also([Reason::Miss(Miss::Cold)]).answered(Answer::Inside(answer))
        }),
    ]
}
