//! One order, played against the model.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::get;
use futures_util::poll;
use http::StatusCode;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::world::{FRESH, Floor, KEPT, PAGES, SOURCES, World, data, page};
use super::{Op, Target};
use crate::testing::ManualClock;
use crate::{Isr, Regeneration, Render, RouteConfig};

/// A visitor who waits, and what he may get.
struct Visitor {
    page: usize,
    expired: Floor,
    revalidated: Floor,
    answer: Pin<Box<dyn Future<Output = Seen> + Send>>,
}

struct Seen {
    status: StatusCode,
    state: String,
    etag: String,
    text: Option<String>,
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

pub(super) struct Play {
    world: World,
    isr: Isr,
    clock: ManualClock,
    app: Router,
    visitors: Vec<Visitor>,
    regenerations: Vec<Regeneration>,
    problem: Option<String>,
}

impl Play {
    pub(super) fn new() -> Self {
        let (world, clock) = (World::default(), ManualClock::new());
        // So few marks that they are folded.
        let isr = Isr::builder().memory_bytes(16 << 20).clock(clock.clone()).max_marks(2).build().unwrap();
        let handler = {
            let (world, isr) = (world.clone(), isr.clone());
            get(move |Path(n): Path<usize>, render: Render| page(world.clone(), isr.clone(), n, render))
        };
        let config = RouteConfig::revalidate(FRESH).expire(KEPT);
        let app = Router::new().route("/p/{n}", handler).route_layer(isr.layer(config));
        Self { world, isr, clock, app, visitors: Vec::new(), regenerations: Vec::new(), problem: None }
    }

    pub(super) async fn run(mut self, ops: &[Op]) -> Result<(), String> {
        for op in ops {
            self.step(op).await;
            self.look().await;
        }
        self.end().await;
        self.problem.map_or(Ok(()), Err)
    }

    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Ask { page, head, validator } => self.ask(page, head, validator).await,
            Op::Leave(n) => {
                if !self.visitors.is_empty() {
                    let n = n % self.visitors.len();
                    drop(self.visitors.swap_remove(n));
                }
            }
            Op::AskData(source) => {
                let least = self.world.lock().expired_data[source];
                let mut ask = Box::pin(data(self.world.clone(), self.isr.clone(), source));
                if let Poll::Ready(version) = poll!(ask.as_mut())
                    && version < least
                {
                    self.problem = Some(format!("data of source {source} is {version} after {least} was published"));
                }
            }
            Op::Publish { source, target, expires } => self.publish(source, target, expires).await,
            Op::Regenerate(source) => {
                self.regenerations.push(self.isr.regenerate_tag(format!("s{source}")).await.unwrap());
                self.world.raise(Target::Tag(source), false);
            }
            Op::Resume(n) => {
                self.world.resume(n);
            }
            Op::Rest => self.rest().await,
            Op::Advance(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Op::Fail(page) => self.world.lock().fails[page] = true,
            Op::Draft(page, draft) => self.world.lock().draft[page] = draft,
        }
    }

    async fn ask(&mut self, page: usize, head: bool, validator: bool) {
        let mut request = Request::builder().method(if head { "HEAD" } else { "GET" }).uri(format!("/p/{page}"));
        if validator {
            for etag in self.world.lock().validators.keys() {
                request = request.header("if-none-match", etag);
            }
        }
        let request = request.body(Body::empty()).unwrap();
        let app = self.app.clone();
        let answer = Box::pin(async move {
            let Ok(response) = app.oneshot(request).await;
            let (status, state, etag) =
                (response.status(), header(&response, "x-vinext-cache"), header(&response, "etag"));
            let bodiless = head || status == StatusCode::NOT_MODIFIED;
            let text = response.into_body().collect().await.ok();
            let text = text.filter(|_| !bodiless).map(|text| String::from_utf8(text.to_bytes().to_vec()).unwrap());
            Seen { status, state, etag, text }
        });
        let (expired, revalidated) = {
            let state = self.world.lock();
            (state.expired[page], state.revalidated[page])
        };
        // Polled at once: this is when he comes.
        self.visitors.push(Visitor { page, expired, revalidated, answer });
        self.hear().await;
    }

    async fn publish(&mut self, source: usize, target: Target, expires: bool) {
        self.world.lock().version[source] += 1;
        let isr = &self.isr;
        let done = match (target, expires) {
            (Target::Tag(n), true) => isr.expire_tag(format!("s{n}")).await,
            (Target::Tag(n), false) => isr.revalidate_tag(format!("s{n}")).await,
            (Target::Path(n), true) => isr.expire_path(format!("/p/{n}")).await,
            (Target::Path(n), false) => isr.revalidate_path(format!("/p/{n}")).await,
            (Target::Prefix, true) => isr.expire_prefix("/p").await,
            (Target::Prefix, false) => isr.revalidate_prefix("/p").await,
            (Target::Route, true) => isr.expire_route("/p/{n}").await,
            (Target::Route, false) => isr.revalidate_route("/p/{n}").await,
            (Target::All, true) => isr.expire_all().await,
            (Target::All, false) => isr.revalidate_all().await,
            (Target::Nothing, _) => isr.revalidate_tag(format!("nothing {source}")).await,
        };
        done.unwrap();
        self.world.raise(target, expires);
    }

    /// Lets everything run that can.
    async fn look(&mut self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
            self.hear().await;
        }
    }

    /// Until nothing moves any more.
    async fn rest(&mut self) {
        loop {
            self.look().await;
            if !self.world.resume(0) {
                break;
            }
        }
    }

    /// What visitors have got.
    async fn hear(&mut self) {
        let mut waiting = Vec::new();
        for mut visitor in std::mem::take(&mut self.visitors) {
            match poll!(visitor.answer.as_mut()) {
                Poll::Ready(seen) => self.check(&visitor, &seen),
                Poll::Pending => waiting.push(visitor),
            }
        }
        self.visitors = waiting;
    }

    fn check(&mut self, visitor: &Visitor, seen: &Seen) {
        if seen.status.is_server_error() {
            return;
        }
        let text = {
            let mut state = self.world.lock();
            let known = &mut state.validators;
            match &seen.text {
                Some(text) => {
                    if !seen.etag.is_empty() {
                        known.insert(seen.etag.clone(), text.clone());
                    }
                    Some(text.clone())
                }
                // A HEAD, or a validator that was confirmed.
                None => known.get(&seen.etag).cloned(),
            }
        };
        let new = matches!(&*seen.state, "HIT" | "MISS");
        let floor = if new { visitor.revalidated } else { visitor.expired };
        for shown in text.unwrap_or_default().split_whitespace().filter(|shown| *shown != ".") {
            let (source, version) = shown.trim_end_matches('.').split_once('=').unwrap();
            let (source, version): (usize, u64) = (source.parse().unwrap(), version.parse().unwrap());
            if version < floor[source] {
                self.problem = Some(format!(
                    "page {} as {:?} ({}) shows {version} of source {source} after {} was published",
                    visitor.page, seen.state, seen.status, floor[source]
                ));
            }
        }
    }

    /// With something new in every source, and nothing in the way: the first request may be answered with what there is,
    /// the second is a HIT of what is new.
    async fn end(&mut self) {
        self.rest().await;
        self.visitors.clear();
        self.rest().await;
        {
            let mut state = self.world.lock();
            state.free = true;
            state.fails = Default::default();
            state.draft = Default::default();
        }
        let rendered = self.world.lock().renders;
        for source in 0..SOURCES {
            self.publish(source, Target::Tag(source), false).await;
        }
        for round in ["first", "second"] {
            for page in 0..PAGES.len() {
                self.ask(page, false, false).await;
                for _ in 0..100_000 {
                    tokio::task::yield_now().await;
                    self.hear().await;
                    let stats = self.isr.stats();
                    if self.visitors.is_empty() && stats.flights == 0 && stats.computations == 0 {
                        break;
                    }
                }
                if !self.visitors.is_empty() {
                    self.problem = Some(format!("page {page} is not answered"));
                    return;
                }
            }
            let before = self.isr.stats();
            if round == "first" {
                continue;
            }
            for page in 0..PAGES.len() {
                self.ask(page, false, false).await;
            }
            let hits = self.isr.stats().hits - before.hits;
            if hits != PAGES.len() as u64 {
                self.problem.get_or_insert(format!("only {hits} of {} pages are HITs in the end", PAGES.len()));
            }
            // A mark costs a page at most two renders.
            for (page, renders) in self.world.lock().renders.iter().enumerate() {
                if renders - rendered[page] > 2 * SOURCES {
                    let renders = renders - rendered[page];
                    self.problem = Some(format!("page {page} was rendered {renders} times for {SOURCES} marks"));
                }
            }
            for regeneration in &self.regenerations {
                let progress = regeneration.progress();
                if progress.done + progress.failed != progress.total {
                    self.problem = Some(format!("a regeneration has not ended: {progress:?}"));
                }
            }
        }
    }
}
