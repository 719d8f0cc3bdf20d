//! Visitors, and whether they got what they may get.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::poll;
use http::StatusCode;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::world::{Floor, World};

pub(in crate::testing) type Answer = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// What a page begins with that was rendered before the process started.
pub(in crate::testing) const SEEDED: &str = "seeded";

/// What may be shown of a page: at least this, by state.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::testing) struct Floors {
    pub(in crate::testing) expired: Floor,
    pub(in crate::testing) revalidated: Floor,
}

/// A visitor who waits, and what he may get.
pub(in crate::testing) struct Visitor {
    pub(in crate::testing) page: usize,
    pub(in crate::testing) rendered: Floors,
    pub(in crate::testing) seeded: Floors,
    pub(in crate::testing) answer: Answer,
}

/// Those who wait.
#[derive(Default)]
pub(in crate::testing) struct Visitors(Vec<Visitor>);

impl Visitors {
    pub(in crate::testing) fn come(&mut self, visitor: Visitor) {
        self.0.push(visitor);
    }

    /// One of them, if there is one.
    pub(in crate::testing) fn leave(&mut self, n: usize) {
        if !self.0.is_empty() {
            let n = n % self.0.len();
            drop(self.0.swap_remove(n));
        }
    }

    pub(in crate::testing) fn leave_all(&mut self) {
        self.0.clear();
    }

    pub(in crate::testing) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those who have their answers go; says what is wrong with one of them.
    pub(in crate::testing) async fn hear(&mut self, world: &World) -> Option<String> {
        let mut problem = None;
        for mut visitor in std::mem::take(&mut self.0) {
            match poll!(visitor.answer.as_mut()) {
                Poll::Ready(seen) => problem = problem.or(visitor.check(world, &seen)),
                Poll::Pending => self.0.push(visitor),
            }
        }
        problem
    }
}

pub(in crate::testing) struct Seen {
    status: StatusCode,
    state: String,
    etag: String,
    text: Option<String>,
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// A request for a page. `validator`: with the validators of all pages that anybody has seen.
pub(in crate::testing) fn visit(app: &Router, world: &World, page: usize, head: bool, validator: bool) -> Answer {
    let mut request = Request::builder().method(if head { "HEAD" } else { "GET" }).uri(format!("/p/{page}"));
    if validator {
        for etag in world.lock().validators.keys() {
            request = request.header("if-none-match", etag);
        }
    }
    let request = request.body(Body::empty()).unwrap();
    let app = app.clone();
    Box::pin(async move {
        let Ok(response) = app.oneshot(request).await;
        let (status, state, etag) = (response.status(), header(&response, "x-vinext-cache"), header(&response, "etag"));
        let bodiless = head || status == StatusCode::NOT_MODIFIED;
        let text = response.into_body().collect().await.ok();
        let text = text.filter(|_| !bodiless).map(|text| String::from_utf8(text.to_bytes().to_vec()).unwrap());
        Seen { status, state, etag, text }
    })
}

impl Visitor {
    /// What is wrong with what he got.
    fn check(&self, world: &World, seen: &Seen) -> Option<String> {
        if seen.status.is_server_error() {
            return None;
        }
        let text = {
            let mut state = world.lock();
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
        let text = text.unwrap_or_default();
        let (shown, floors) = match text.strip_prefix(SEEDED) {
            Some(shown) => (shown, self.seeded),
            None => (&*text, self.rendered),
        };
        let floor = if new { floors.revalidated } else { floors.expired };
        let mut problem = None;
        for shown in shown.split_whitespace().filter(|shown| *shown != ".") {
            let (source, version) = shown.trim_end_matches('.').split_once('=').unwrap();
            let (source, version): (usize, u64) = (source.parse().unwrap(), version.parse().unwrap());
            if version < floor[source] {
                problem = Some(format!(
                    "page {} as {:?} ({}) shows {version} of source {source} after {} was published: {text:?}",
                    self.page, seen.state, seen.status, floor[source]
                ));
            }
        }
        problem
    }
}
