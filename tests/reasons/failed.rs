//! Pages that could not be made: the visitors get what came of it.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum_isr::stats::{Failed, Reason};
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;

use crate::case::{Answer, Case, Row, row};
use crate::common::{Gate, Handler, fetch, request, waiting};
use crate::reasons::all_agree;
use crate::site::{Site, plain};

const STATUS: Reason = Reason::Failed(Failed::Status(503));

#[test]
fn what_is_told_of_failures_agrees() {
    all_agree(rows());
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(STATUS, "a 503", async || site(|| StatusCode::SERVICE_UNAVAILABLE.into_response()).await.looks_cold()),
        row(Reason::Failed(Failed::Status(429)), "a 429", async || {
            site(|| StatusCode::TOO_MANY_REQUESTS.into_response()).await.looks_cold()
        }),
        row(STATUS, "for all who wait", async || {
            let gate = Gate::closed();
            let inner = gate.clone();
            let handler = Handler::new(move |n, _| {
                let gate = inner.clone();
                async move {
                    if n == 1 {
                        return "good".into_response();
                    }
                    gate.pass().await;
                    StatusCode::SERVICE_UNAVAILABLE.into_response()
                }
            });
            let site = Site::of(plain(), handler);
            fetch(&site.app, "/p/good").await;
            let starter = waiting(&site.app, request("/p/a")).await;
            site.case().looks_cold().also([STATUS]).meanwhile(async move {
                gate.open();
                drop(starter.await);
            })
        }),
        row(Reason::Failed(Failed::TimedOut), "longer than the render timeout", async || {
            let handler = Handler::new(|_, _| std::future::pending::<Response>());
            Site::of(plain(), handler).case().looks_cold()
        }),
        row(Reason::Failed(Failed::Panicked), "a panic", async || {
            let handler = Handler::new(|_, request: Request| async move {
                assert!(request.uri().path() == "/p/good", "at the disco");
                "good"
            });
            let site = Site::of(plain(), handler);
            fetch(&site.app, "/p/good").await;
            let caught = site.app.clone().layer(CatchPanicLayer::new());
            site.case().on(&caught).looks_cold().answered(Answer::Unwound)
        }),
        row(Reason::Failed(Failed::Broken), "a body that breaks at once", async || {
            site(|| {
                let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("disk"))]);
                Body::from_stream(broken).into_response()
            })
            .await
            .looks_cold()
        }),
        row(Reason::Failed(Failed::Broken), "a body that is not as long as it says", async || {
            site(|| {
                let short = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("short"))]);
                ([("content-length", "6")], Body::from_stream(short)).into_response()
            })
            .await
            .looks_cold()
        }),
    ]
}

/// A site whose pattern has rendered well once, so that its failures are believed.
async fn site(fails: fn() -> Response) -> Case {
    let handler = Handler::new(move |n, _| async move { if n == 1 { "good".into_response() } else { fails() } });
    let site = Site::of(plain(), handler);
    fetch(&site.app, "/p/good").await;
    site.case()
}
