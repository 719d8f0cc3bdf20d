//! What the tests share: counting handlers, requests through `oneshot`, and waiting for background work.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler as AxumHandler;
use axum::response::{IntoResponse, Response};
use axum_isr::Isr;
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler that counts its renders; the default page is `render N`.
#[derive(Clone)]
pub struct Handler {
    calls: Arc<AtomicUsize>,
    page: Arc<dyn Fn(usize, Request) -> Answer + Send + Sync>,
}

impl Handler {
    /// `render 1`, `render 2`, …
    pub fn counting() -> Self {
        Self::new(|n, _| async move { format!("render {n}") })
    }

    /// A page made from the number of the call and the request.
    pub fn new<F, R>(page: impl Fn(usize, Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoResponse,
    {
        let page = move |n, request| {
            let response = page(n, request);
            Box::pin(async move { response.await.into_response() }) as Answer
        };
        Self { calls: Arc::default(), page: Arc::new(page) }
    }

    /// How often it ran.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<S: Send + Sync + 'static> AxumHandler<(), S> for Handler {
    type Future = Answer;

    fn call(self, request: Request, _: S) -> Self::Future {
        let n = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.page)(n, request)
    }
}

/// `GET path`.
pub async fn fetch<S>(app: &S, path: &str) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    send(app, request(path)).await
}

pub fn request(path: &str) -> Request {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

/// `GET path` with headers.
pub fn request_with(path: &str, headers: &[(&str, &str)]) -> Request {
    headers
        .iter()
        .fold(Request::builder().uri(path), |request, (name, value)| request.header(*name, *value))
        .body(Body::empty())
        .unwrap()
}

pub fn head(path: &str) -> Request {
    Request::builder().method("HEAD").uri(path).body(Body::empty()).unwrap()
}

pub async fn send<S>(app: &S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    let Ok(response) = app.clone().oneshot(request).await;
    response
}

/// The value of `x-vinext-cache`, or nothing.
pub fn state(response: &Response) -> &'static str {
    axum_isr::CacheStatus::of(response.headers()).map_or("", axum_isr::CacheStatus::as_str)
}

/// A header as text; empty if absent.
pub fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The whole body as text.
pub async fn body(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Waits until no render is in the air. Bounded by the number of times the runtime is let run.
pub async fn settled(isr: &Isr) {
    for _ in 0..100_000 {
        if isr.stats().flights == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("a render did not end: {:?}", isr.stats());
}
