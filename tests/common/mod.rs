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

    /// `render N`; from the second on, a render waits at a gate first.
    pub fn gated_again(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::new(move |n, _| {
            let gate = gate.clone();
            async move {
                if n > 1 {
                    gate.pass().await;
                }
                format!("render {n}")
            }
        })
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

/// The state and the whole body of `GET path`.
pub async fn seen(app: &axum::Router, path: &str) -> (&'static str, String) {
    let response = fetch(app, path).await;
    (state(&response), body(response).await)
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

/// A request that was polled once and now waits for a render; nothing else has run meanwhile.
pub async fn waiting(app: &axum::Router, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    let app = app.clone();
    let mut answer = Box::pin(async move { send(&app, request).await });
    assert!(futures_util::poll!(answer.as_mut()).is_pending(), "answered at once");
    answer
}

/// As many requests that wait, the n-th made by `ask`.
pub async fn crowd(
    app: &axum::Router,
    visitors: usize,
    ask: impl Fn(usize) -> Request,
) -> Vec<Pin<Box<dyn Future<Output = Response> + Send>>> {
    let mut waits = Vec::new();
    for n in 0..visitors {
        waits.push(waiting(app, ask(n)).await);
    }
    waits
}

/// Lets the runtime run until something is true. Bounded by the number of times.
pub async fn until(what: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if what() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come true");
}

/// Lets everything run that can run without time passing.
pub async fn let_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A gate at which renders wait: closed at first.
#[derive(Clone)]
pub struct Gate(Arc<tokio::sync::Semaphore>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(0)))
    }

    /// Lets this many through, now or later.
    pub fn admit(&self, n: usize) {
        self.0.add_permits(n);
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// What `axum_isr` writes to the log while this value lives, on this thread: one line per event.
pub struct Logs {
    bytes: Arc<std::sync::Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Logs {
    pub fn capture() -> Self {
        // While a process has a single subscriber, tracing asks the thread that comes first to an event whether anybody
        // wants it, and other tests' threads say no for all of them. So there are always more.
        static MORE: std::sync::OnceLock<[tracing::Dispatch; 2]> = std::sync::OnceLock::new();
        MORE.get_or_init(|| {
            std::array::from_fn(|_| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()))
        });
        let bytes: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&bytes);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || LogWriter(Arc::clone(&writer)))
            .finish();
        Self { bytes, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains("axum_isr")).map(str::to_owned).collect()
    }

    /// How many lines contain all of these.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.lines().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}

struct LogWriter(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Frame = Result<http_body::Frame<bytes::Bytes>, std::io::Error>;

/// A body that panics when it is dropped.
pub struct Fragile(pub Option<bytes::Bytes>);

impl http_body::Body for Fragile {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Frame>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

/// Where a test writes the body of a page, frame by frame. Dropping it ends the body.
pub struct Tap(tokio::sync::mpsc::UnboundedSender<Frame>);

impl Tap {
    pub fn open() -> (Self, Body) {
        let (tap, mut frames) = tokio::sync::mpsc::unbounded_channel();
        let frames = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx));
        (Self(tap), Body::new(http_body_util::StreamBody::new(frames)))
    }

    /// `false` if nobody reads the body any more.
    pub fn send(&self, text: impl Into<bytes::Bytes>) -> bool {
        self.0.send(Ok(http_body::Frame::data(text.into()))).is_ok()
    }

    pub fn trailers(&self, trailers: http::HeaderMap) {
        self.0.send(Ok(http_body::Frame::trailers(trailers))).unwrap();
    }

    pub fn fail(&self, message: &'static str) {
        self.0.send(Err(std::io::Error::other(message))).unwrap();
    }

    pub fn is_read(&self) -> bool {
        !self.0.is_closed()
    }
}

/// Pages whose bodies a test writes; each render has its own.
#[derive(Clone, Default)]
pub struct Taps(Arc<std::sync::Mutex<std::collections::VecDeque<Tap>>>);

impl Taps {
    /// A handler whose renders all have these headers.
    pub fn handler(&self, headers: &'static [(&'static str, &'static str)]) -> Handler {
        let taps = self.clone();
        Handler::new(move |_, _| {
            let (tap, body) = Tap::open();
            taps.0.lock().unwrap().push_back(tap);
            async move {
                let mut response = Response::new(body);
                for (name, value) in headers {
                    response.headers_mut().append(*name, http::HeaderValue::from_static(value));
                }
                response
            }
        })
    }

    /// The body of the next render, once it runs.
    pub async fn next(&self) -> Tap {
        until(|| !self.0.lock().unwrap().is_empty()).await;
        self.0.lock().unwrap().pop_front().unwrap()
    }
}

/// What is there of a body, up to its end or its error.
pub async fn rest(body: &mut Body) -> Result<String, String> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(error) => return Err(format!("{} | {error}", String::from_utf8_lossy(&text))),
        }
    }
    Ok(String::from_utf8(text).unwrap())
}

/// The next data frame of a body, as text; empty at its end.
pub async fn piece(body: &mut Body) -> String {
    match body.frame().await {
        Some(frame) => String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap(),
        None => String::new(),
    }
}

pub mod data;
pub mod oracle;
