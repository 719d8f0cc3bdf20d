//! The cases that are measured: as times in `layer.rs`, as instructions in `instructions.rs`, as allocations in
//! `tests/allocations.rs`. Each is an app and a request; one run is one request and its whole response.
#![allow(dead_code, unreachable_pub, reason = "each binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum_isr::testing::{ManualClock, MemoryStore};
use axum_isr::{CacheStatus, Isr, IsrLayer, RouteConfig};
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};

const HTML: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];

const MINUTE: Duration = Duration::from_secs(60);

/// One case: what is asked of whom.
pub struct Case {
    pub name: &'static str,
    app: Target,
    if_none_match: Option<axum::http::HeaderValue>,
    /// What the answer says of itself.
    pub state: Option<CacheStatus>,
    isr: Option<Isr>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// Kept apart so that no case pays for a box that its app does not have.
enum Target {
    Router(Router),
    Whole(axum_isr::IsrService<Router>),
}

/// Every case, in the order of the report.
pub const NAMES: [&str; 15] = [
    "bare",
    "bare_static",
    "forward",
    "bypass",
    "hit_1k",
    "hit_10k",
    "hit_100k",
    "hit_304",
    "hit_head",
    "hit_query",
    "hit_32_tags",
    "hit_backed",
    "stale",
    "whole_hit",
    "whole_hit_304",
];

/// A handler that does the least a page needs: it reads its path parameter and answers with bytes that are there.
fn page(bytes: usize) -> Router {
    let body = Bytes::from(vec![b'x'; bytes]);
    let handler = |Path(slug): Path<String>, State(body): State<Bytes>| async move {
        if slug == "hello" { Ok((HTML, body)) } else { Err(StatusCode::NOT_FOUND) }
    };
    Router::new().route("/posts/{slug}", get(handler)).with_state(body)
}

/// The cheapest handler there can be, on a route without a parameter.
fn fixed_page(bytes: usize) -> Router {
    let body = Bytes::from(vec![b'x'; bytes]);
    Router::new().route("/page", get(move || async move { (HTML, body) }))
}

/// A layer that only forwards.
#[derive(Clone)]
struct Forward<S>(S);

impl<S: Service<Request>> Service<Request> for Forward<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.call(request)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Case {
    pub fn new(name: &'static str) -> Self {
        let isr = Isr::builder().build().unwrap();
        let cached = |config| isr.layer(config);
        let config = || RouteConfig::revalidate(MINUTE);
        // As `axum::serve` does for each connection: handlers become routes once, not for each request.
        let router = |router: Router| Target::Router(router.with_state(()));
        let case = |app| Self { name, app, if_none_match: None, state: None, isr: None, runtime: None };
        match name {
            "bare" => case(router(page(10 << 10))),
            "bare_static" => case(router(fixed_page(10 << 10))),
            "forward" => case(router(page(10 << 10).layer(tower::layer::layer_fn(Forward)))),
            "bypass" => case(router(page(10 << 10).layer(IsrLayer::new(isr)))),
            "stale" => stale(),
            "hit_query" => {
                let app = page(10 << 10).layer(cached(config().query(["page"])));
                case(router(app)).warm(isr)
            }
            "hit_32_tags" => {
                let tags = (0..32).map(|n| format!("tag {n}"));
                case(router(page(10 << 10).layer(cached(config().tags(tags))))).warm(isr)
            }
            "hit_backed" => {
                // Nothing runs between two requests: the ledger is asked once.
                let hour = 60 * MINUTE;
                let backed = Isr::builder().store(MemoryStore::new()).deployment_id("bench").coherence(hour);
                let isr = backed.build().unwrap();
                case(router(page(10 << 10).layer(isr.layer(config())))).warm(isr)
            }
            "whole_hit" | "whole_hit_304" => {
                let case = case(Target::Whole(cached(config()).layer(page(10 << 10).with_state(())))).warm(isr);
                if name == "whole_hit" { case } else { case.conditional() }
            }
            _ => {
                let kib = match name {
                    "hit_1k" => 1,
                    "hit_100k" => 100,
                    _ => 10,
                };
                let case = case(router(page(kib << 10).layer(cached(config())))).warm(isr);
                if name == "hit_304" { case.conditional() } else { case }
            }
        }
    }

    /// Renders the page, so that the next request is a HIT.
    fn warm(mut self, isr: Isr) -> Self {
        let runtime = runtime();
        runtime.block_on(async {
            match &self.app {
                Target::Router(app) => app.clone().oneshot(self.request()).await.unwrap(),
                Target::Whole(app) => app.clone().oneshot(self.request()).await.unwrap(),
            }
        });
        self.isr = Some(isr);
        self.runtime = Some(runtime);
        self.state = Some(CacheStatus::Hit);
        self
    }

    fn conditional(mut self) -> Self {
        self.if_none_match = self.run().headers().get(header::ETAG).cloned();
        self
    }

    pub fn request(&self) -> Request {
        let builder = Request::builder().uri(match self.name {
            "hit_query" => "/posts/hello?page=2",
            "bare_static" => "/page",
            _ => "/posts/hello",
        });
        let builder = if self.name == "hit_head" { builder.method("HEAD") } else { builder };
        let mut request = builder.body(Body::empty()).unwrap();
        if let Some(etag) = &self.if_none_match {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag.clone());
        }
        request
    }

    /// The handle of a case that is cached.
    pub fn isr(&self) -> &Isr {
        self.isr.as_ref().unwrap()
    }

    /// Asks once, and reads the body.
    pub fn run(&self) -> Response {
        self.answer(self.request())
    }

    /// As `run`, with a request that was made before.
    pub fn answer(&self, request: Request) -> Response {
        let response = match &self.app {
            Target::Router(app) => now(app.clone().oneshot(request)),
            Target::Whole(app) => now(app.clone().oneshot(request)),
        };
        let Ok(mut response) = response;
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = pin!(response.body_mut()).poll_frame(&mut cx) {
            std::hint::black_box(frame.unwrap());
        }
        response
    }
}

/// A future that does not wait.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the case waits"),
    }
}

/// A stale page whose regeneration is in the air and does not end.
fn stale() -> Case {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let handler = move || {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if !first {
                std::future::pending::<()>().await;
            }
            (HTML, Bytes::from(vec![b'x'; 10 << 10]))
        }
    };
    let app = Router::new()
        .route("/posts/{slug}", get(handler))
        .layer(isr.layer(RouteConfig::revalidate(MINUTE)))
        .with_state(());
    let case =
        Case { name: "stale", app: Target::Router(app), if_none_match: None, state: None, isr: None, runtime: None };
    let mut case = case.warm(isr);
    clock.advance(MINUTE);
    case.state = Some(CacheStatus::Stale);
    let runtime = case.runtime.as_ref().unwrap().enter();
    case.run();
    drop(runtime);
    case
}

/// An app whose pages are all different: `/0`, `/1`, …
pub struct Many {
    pub isr: Option<Isr>,
    app: Router,
    runtime: tokio::runtime::Runtime,
}

impl Many {
    pub fn bare(bytes: usize) -> Self {
        Self { isr: None, app: pages(bytes).with_state(()), runtime: runtime() }
    }

    pub fn cached(bytes: usize, memory_bytes: usize) -> Self {
        let isr = Isr::builder().memory_bytes(memory_bytes).build().unwrap();
        Self { app: many(&isr, bytes), isr: Some(isr), runtime: runtime() }
    }

    /// Pages that a store has, and memory has not.
    pub fn found(bytes: usize, pages: usize) -> Self {
        let store = MemoryStore::new();
        let process = || {
            let backed = Isr::builder().store(store.clone()).deployment_id("bench").coherence(60 * MINUTE);
            let isr = backed.memory_bytes(1 << 30).build().unwrap();
            Self { app: many(&isr, bytes), isr: Some(isr), runtime: runtime() }
        };
        let first = process();
        first.visit(0..pages);
        let isr = first.isr.as_ref().unwrap();
        first.runtime.block_on(async {
            while isr.stats().store_writes < pages as u64 {
                tokio::task::yield_now().await;
            }
        });
        process()
    }

    /// Pages that all have a tag.
    pub fn tagged(bytes: usize, tag: &str) -> Self {
        let isr = Isr::builder().memory_bytes(4 << 30).build().unwrap();
        let layer = isr.layer(RouteConfig::revalidate(MINUTE).tags([tag]));
        Self { app: pages(bytes).layer(layer).with_state(()), isr: Some(isr), runtime: runtime() }
    }

    pub fn request(n: usize) -> Request {
        Request::builder().uri(format!("/{n}")).body(Body::empty()).unwrap()
    }

    /// Renders these pages.
    pub fn visit(&self, pages: std::ops::Range<usize>) {
        pages.for_each(|n| drop(self.wait(Self::request(n))));
    }

    /// Asks for a page that is there.
    pub fn answer(&self, request: Request) -> Response {
        let Ok(response) = now(self.app.clone().oneshot(request));
        assert_eq!(CacheStatus::of(response.headers()), Some(CacheStatus::Hit));
        response
    }

    /// Asks for a page that has to be rendered, and reads its body.
    pub fn wait(&self, request: Request) -> Bytes {
        self.runtime.block_on(async {
            let Ok(response) = self.app.clone().oneshot(request).await;
            response.into_body().collect().await.unwrap().to_bytes()
        })
    }
}

fn pages(bytes: usize) -> Router {
    let body = Bytes::from(vec![b'x'; bytes]);
    let handler = move || {
        let body = body.clone();
        async move { (HTML, body) }
    };
    Router::new().route("/{n}", get(handler))
}

pub fn many(isr: &Isr, bytes: usize) -> Router {
    pages(bytes).layer(isr.layer(RouteConfig::revalidate(MINUTE))).with_state(())
}
