//! Pages that are not shared: the visitor's own request goes to the handler.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::stats::{Miss, Pass, Reason};
use axum_isr::{DynamicRequest, Isr};
use http::{HeaderMap, StatusCode};

use crate::case::{Case, Row, row};
use crate::common::{Gate, Handler, Taps, crowd, fetch, head, let_run, request, until, waiting};
use crate::reasons::all_agree;
use crate::site::{MINUTE, Page, Site, making, plain};

const COLD: Reason = Reason::Miss(Miss::Cold);

#[test]
fn what_is_told_of_passes_agrees() {
    all_agree(rows());
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<_> = by_handler().into_iter().map(said).collect();
    rows.extend(by_request());
    rows.extend(by_bounds());
    rows
}

/// What a handler does that keeps its page from being shared.
pub(crate) fn by_handler() -> Vec<(Pass, Page)> {
    vec![
        (Pass::NoStore, |_, render| {
            render.no_store();
            "x".into_response()
        }),
        (Pass::NoStore, |_, render| {
            render.revalidate(Duration::ZERO);
            "x".into_response()
        }),
        (Pass::Tags, |_, render| {
            render.tag("");
            "x".into_response()
        }),
        (Pass::Tags, |_, render| {
            (0..129).for_each(|n| render.tag(format!("tag {n}")));
            "x".into_response()
        }),
        (Pass::SetCookie, |_, _| ([("set-cookie", "a=1")], "x").into_response()),
        (Pass::CacheControl, |_, _| ([("cache-control", "public")], "x").into_response()),
        (Pass::CacheControl, |_, _| ([("expires", "0")], "x").into_response()),
        (Pass::ClearSiteData, |_, _| ([("clear-site-data", "*")], "x").into_response()),
        (Pass::Vary, |_, _| ([("vary", "origin")], "x").into_response()),
        (Pass::Nonce, |_, _| ([("content-security-policy", "script-src 'nonce-1'")], "x").into_response()),
        (Pass::ContentRange, |_, _| ([("content-range", "bytes 0-0/1")], "x").into_response()),
        (Pass::ContentType, |_, _| ([("content-type", "text/event-stream")], "x").into_response()),
        (Pass::Trailers, |_, _| trailers()),
        (Pass::Status, |_, _| (StatusCode::FORBIDDEN, "x").into_response()),
    ]
}

fn trailers() -> Response {
    let frames = [Ok(http_body::Frame::data(Bytes::from("x"))), Ok(http_body::Frame::trailers(HeaderMap::new()))];
    let stream = futures_util::stream::iter(frames.map(|frame: Result<_, std::io::Error>| frame));
    Response::new(Body::new(http_body_util::StreamBody::new(stream)))
}

/// A length that is no number.
pub(crate) fn of_no_length() -> Response {
    let nothing = futures_util::stream::empty::<Result<Bytes, std::io::Error>>();
    ([("content-length", "x")], Body::from_stream(nothing)).into_response()
}

/// Nobody knows what a handler says; then it is remembered.
fn said((pass, page): (Pass, Page)) -> Row {
    row(Reason::Pass(pass), "by what its handler says", async move || {
        Site::of(plain(), making(page)).case().looks_cold().remembered()
    })
}

fn by_request() -> Vec<Row> {
    vec![
        row(Reason::Pass(Pass::Dynamic), "the handler asks for its visitor", async || {
            let site = Site::new();
            let page = async |asked: DynamicRequest| format!("{:?}", asked.uri());
            let app = Router::new().route("/n/{slug}", get(page)).route_layer(site.isr.layer(plain()));
            site.case().on(&app).path("/n/a").route("/n/{slug}").looks_cold().remembered()
        }),
        row(Reason::Pass(Pass::NeedsVisitor), "the handler fails without its visitor", async || {
            let handler = Handler::new(|_, request: Request| async move {
                if request.headers().contains_key("x-user") {
                    "hello".into_response()
                } else {
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            });
            Site::of(plain(), handler).case().headers(&[("x-user", "a")]).looks_cold().remembered()
        }),
        row(Reason::Pass(Pass::Rewritten), "a layer between changes the path", async || {
            let rewrite = async |mut request: Request, next: Next| {
                *request.uri_mut() = "/elsewhere".parse().unwrap();
                next.run(request).await
            };
            let site = Site::new();
            let app = Router::new()
                .route("/n/{slug}", get(Handler::counting()))
                .layer(site.isr.layer(plain()))
                .layer(from_fn(rewrite));
            // Whose key has both paths: an explanation knows the one that was asked for.
            site.case().on(&app).path("/n/a").route("/n/{slug}").looks_cold().unkeyed().remembered_unseen()
        }),
        row(Reason::Pass(Pass::Head), "a HEAD handler of its own, of which explanations are not", async || {
            let site = Site::new();
            let page = get(Handler::counting()).head(async || ());
            let app = Router::new().route("/n/{slug}", page).route_layer(site.isr.layer(plain()));
            let case = site.case().on(&app).route("/n/{slug}").asking(|| head("/n/a"));
            case.looks_cold().remembered_unseen()
        }),
    ]
}

fn by_bounds() -> Vec<Row> {
    vec![
        row(Reason::Pass(Pass::Status), "a status that is not kept", async || {
            let page = making(|_, _| (StatusCode::FOUND, "x").into_response());
            Site::of(plain(), page).case().looks_cold().remembered()
        }),
        row(Reason::Pass(Pass::Broken), "a length that is no number", async || {
            Site::of(plain(), making(|_, _| of_no_length())).case().looks_cold().remembered()
        }),
        row(Reason::Pass(Pass::TooLarge), "larger than may be: who has found that out got it as it came", async || {
            let page = making(|_, _| "x".repeat(101).into_response());
            let site = Site::of(plain().max_body_bytes(100), page);
            drop(crate::common::body(fetch(&site.app, "/p/a").await).await);
            site.case().remembered()
        }),
        row(Reason::Pass(Pass::Capture), "no room for more bodies on their way", without_room),
        row(Reason::Pass(Pass::Waiters), "ten thousand wait for it", async || {
            let gate = Gate::closed();
            let inner = gate.clone();
            let handler = Handler::new(move |n, _| {
                let gate = inner.clone();
                async move {
                    if n == 1 {
                        gate.pass().await;
                    }
                    "page"
                }
            });
            let site = Site::of(plain(), handler);
            let visitors = crowd(&site.app, 10_000, |_| request("/p/a")).await;
            let_run().await;
            site.case().looks_cold().goes_on().holding((visitors, gate))
        }),
        row(Reason::Pass(Pass::Abandoned), "shutdown gives up the render", async || {
            let handler = Handler::new(|n, _| async move {
                if n == 1 {
                    std::future::pending::<()>().await;
                }
                "page"
            });
            let site = Site::of(plain(), handler);
            let (isr, handler) = (site.isr.clone(), site.handler.clone());
            site.case().looks_cold().meanwhile(async move {
                until(|| handler.calls() == 1).await;
                isr.shutdown(Duration::ZERO).await;
            })
        }),
        row(Reason::Pass(Pass::Overtaken), "expired whenever it is made", async || {
            let slot = Arc::<OnceLock<Isr>>::default();
            let inner = Arc::clone(&slot);
            let handler = Handler::new(move |n, _| {
                let isr = inner.get().unwrap().clone();
                async move {
                    isr.expire_path("/p/a").await.unwrap();
                    format!("render {n}")
                }
            });
            let site = Site::of(plain(), handler);
            slot.set(site.isr.clone()).unwrap();
            site.case().looks_cold()
        }),
    ]
}

/// A visitor who has not begun the render, when all of the budget is held by other pages.
async fn without_room() -> Case {
    let taps = Taps::default();
    let site = Site::with(plain(), taps.handler(&[]), |builder| builder.memory_bytes(16 << 20));
    let mut held = Vec::new();
    for path in ["/p/one", "/p/other"] {
        let visitor = waiting(&site.app, request(path)).await;
        let tap = taps.next().await;
        // What a piece is counted as besides its bytes.
        tap.send(vec![b'x'; (2 << 20) - 128]);
        held.push((tap, visitor.await.into_body()));
        let_run().await;
    }
    assert_eq!(site.isr.stats().captured_bytes, 4 << 20);
    let app = Router::new().route("/n/{slug}", get(Handler::counting())).route_layer(site.isr.layer(plain()));
    let starter = waiting(&app, request("/n/a")).await;
    let case = site.case().on(&app).path("/n/a").route("/n/{slug}").looks_cold().also([COLD]).goes_on();
    case.holding(held).meanwhile(async move { drop(tokio::time::timeout(MINUTE, starter).await.unwrap()) })
}
