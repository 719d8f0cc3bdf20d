//! What a HIT and a STALE leave alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{fetch, settled, state};
use http::request::Parts;
use tower::Layer as _;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Counts {
    outer: Arc<AtomicUsize>,
    inner: Arc<AtomicUsize>,
    extractor: Arc<AtomicUsize>,
    handler: Arc<AtomicUsize>,
}

impl Counts {
    fn now(&self) -> [usize; 4] {
        [&self.outer, &self.inner, &self.extractor, &self.handler].map(|n| n.load(Ordering::SeqCst))
    }
}

struct Counted;

impl FromRequestParts<Counts> for Counted {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, counts: &Counts) -> Result<Self, Infallible> {
        counts.extractor.fetch_add(1, Ordering::SeqCst);
        Ok(Self)
    }
}

async fn count(State(counter): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    counter.fetch_add(1, Ordering::SeqCst);
    next.run(request).await
}

async fn page(State(counts): State<Counts>, Path(slug): Path<String>, _: Counted) -> String {
    counts.handler.fetch_add(1, Ordering::SeqCst);
    slug
}

/// R2, CASES 140: a HIT and a STALE run no handler, no extractor, no middleware inside the layer; what is outside runs
/// each time. The one regeneration that a STALE causes runs them once.
#[tokio::test]
async fn a_hit_and_a_stale_run_nothing_inside_the_layer() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let counts = Counts::default();
    let app: Router = Router::new()
        .route("/p/{slug}", get(page))
        .route_layer(from_fn_with_state(Arc::clone(&counts.inner), count))
        .route_layer(isr.layer(RouteConfig::revalidate(MINUTE)))
        .layer(from_fn_with_state(Arc::clone(&counts.outer), count))
        .with_state(counts.clone());
    fetch(&app, "/p/a").await;
    assert_eq!(counts.now(), [1, 1, 1, 1]);
    for n in 2..12 {
        assert_eq!(state(&fetch(&app, "/p/a").await), "HIT");
        assert_eq!(counts.now(), [n, 1, 1, 1]);
    }
    clock.advance(MINUTE);
    let stale = fetch(&app, "/p/a").await;
    assert_eq!((state(&stale), counts.now()), ("STALE", [12, 1, 1, 1]), "nothing has run for the answer");
    settled(&isr).await;
    assert_eq!(counts.now(), [12, 2, 2, 2], "the regeneration");
    for n in 13..16 {
        assert_eq!(state(&fetch(&app, "/p/a").await), "HIT");
        assert_eq!(counts.now(), [n, 2, 2, 2]);
    }
}

#[derive(Default)]
struct Touched {
    ready: AtomicUsize,
    called: AtomicUsize,
    cloned: AtomicUsize,
}

/// A service that counts what is done to it.
struct Service(Arc<Touched>);

impl Clone for Service {
    fn clone(&self) -> Self {
        self.0.cloned.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl tower::Service<Request> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.ready.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        self.0.called.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::new("page".into())))
    }
}

/// R2: a HIT neither clones the inner service nor asks whether it is ready.
#[tokio::test]
async fn a_hit_does_not_touch_the_inner_service() {
    let isr = Isr::builder().build().unwrap();
    let touched = Arc::new(Touched::default());
    let service = isr.layer(RouteConfig::revalidate(MINUTE)).layer(Service(Arc::clone(&touched)));
    let now = || [&touched.ready, &touched.called, &touched.cloned].map(|n| n.load(Ordering::SeqCst));
    assert_eq!(state(&fetch(&service, "/a").await), "MISS");
    let after_miss = now();
    assert_eq!(after_miss[1], 1);
    for _ in 0..5 {
        assert_eq!(state(&fetch(&service, "/a").await), "HIT");
    }
    assert_eq!(now(), after_miss);
}
