//! The way of a visitor who has to wait.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use tower::ServiceExt;

use super::call::{Bounds, Core};
use super::lookup::{Asked, Found};
use crate::backing::Backing;
use crate::entry::{Served, undecided};
use crate::flight::{Failure, Head, Outcome, Step, Verdict, Waiter};
use crate::isr::Mode;
use crate::key;
use crate::ledger::Verdict as Judged;
use crate::memory::{Page, Standing, stale_because};
use crate::policy::reason::{Failed, Miss, Reason, Stale};
use crate::policy::request::{Admitted, Bypass};
use crate::policy::response::Pass;
use crate::policy::route::RouteConfig;
use crate::render::{Marker, RENDER, RenderContext, RenderReason};
use crate::telemetry;
use crate::testing::rules::{Rule, holds};

/// A visitor who is overtaken by marks this many times in a row has his own request answered.
const MAX_FLIGHTS: usize = 3;

/// A visitor in a flight, with its own request in case that has to go to the handler.
pub(super) struct Visit<S> {
    pub(super) core: Arc<Core<S>>,
    pub(super) request: Request,
    pub(super) route: RouteConfig,
    pub(super) admitted: Admitted,
    pub(super) waiter: Waiter,
    /// By what the memory tier has; the flight may know more.
    pub(super) why: Miss,
}

impl<S: Bounds> Visit<S> {
    pub(super) async fn run(mut self) -> Response {
        let mut flights = 1;
        loop {
            let limit = self.core.shared().render_timeout;
            let Some(step) = step(&self.waiter, self.admitted.head.then_some(limit), limit).await else {
                return self.own(Pass::Overtaken).await;
            };
            match step {
                Step::Ended(Outcome::Page(page, head)) => {
                    if let Some(response) = self.answer(&page, &head) {
                        return response;
                    }
                }
                Step::Ended(Outcome::Found(page)) => {
                    if let Some(response) = self.found(&page) {
                        return response;
                    }
                }
                // What there was of it is older than what was marked before this request came.
                Step::Ended(Outcome::Broken(_)) if self.waiter.is_late() => {}
                Step::Stream(head) => {
                    telemetry::streamed(self.core.shared(), &self.request, self.served());
                    return self.read_along(&head);
                }
                Step::Ended(Outcome::Broken(head)) => {
                    let note = self.not_made(Failed::Broken);
                    let mut response = self.read_along(&head);
                    if let Some(note) = note {
                        response.headers_mut().insert(header::CACHE_STATUS, *note);
                    }
                    return response;
                }
                Step::Ended(Outcome::Failure(failure)) => return self.fail(&failure),
                Step::Ended(Outcome::Pass(reason)) => return self.own(reason).await,
                Step::Ended(Outcome::TimedOut) => {
                    let note = self.not_made(Failed::TimedOut);
                    return noted(StatusCode::GATEWAY_TIMEOUT.into_response(), note);
                }
                // As if the handler had run in this task, so that a layer outside that catches panics does; the panic
                // hook has had its say in the leader's task.
                Step::Ended(Outcome::Panicked(panic)) => {
                    self.not_made(Failed::Panicked);
                    resume_unwind(panic.payload(!self.waiter.is_follower()))
                }
                Step::Ended(Outcome::Abandoned) => return self.own(Pass::Abandoned).await,
                Step::NotCaptured => return self.own(Pass::Capture).await,
                Step::Ask => return self.try_own().await,
            }
            // The page was marked while it was made.
            if flights == MAX_FLIGHTS {
                return self.own(Pass::Overtaken).await;
            }
            flights += 1;
            match self.core.decide(&self.request, &self.route, false, Asked::Yes) {
                Found::Answer(response) => return response,
                Found::Own(reason) => return self.own(reason).await,
                Found::Wait(waiter, _, why) => (self.waiter, self.why) = (waiter, why),
                Found::Bypass(reason) => return self.bypass(reason).await,
                Found::Unverified => return self.own(Pass::Abandoned).await,
            }
        }
    }

    fn served(&self) -> Served {
        Served::Miss { why: self.waiter.why().unwrap_or(self.why), collapsed: self.waiter.is_follower() }
    }

    /// From what the store had, as if it had been found in memory; `None` if it is of no use any more.
    fn found(&self, page: &Arc<Page>) -> Option<Response> {
        let shared = self.core.shared();
        let (trust, now) = (Backing::consult(shared), shared.time.wall());
        let (served, marked) = match self.core.standing(page, now, trust) {
            Standing::Fresh => (Served::Hit, None),
            Standing::Stale(marked) => (Served::Stale(stale_because(page.entry.window(), marked, now)), marked),
            Standing::Gone => return None,
        };
        let response = self.core.respond(page, served, now, &self.request, self.admitted);
        if let Served::Stale(_) = served {
            self.core.regenerate(page, marked, &self.request, &self.route, self.admitted);
        }
        Some(response)
    }

    /// `None` if the page was expired meanwhile.
    fn answer(&self, page: &Arc<Page>, head: &Head) -> Option<Response> {
        let shared = self.core.shared();
        // What is shown in development is rendered for whoever asks.
        let judged = holds(Rule::JudgeAtEnd) && shared.mode == Mode::Production;
        let verdict = if judged { page.covered.verdict(&shared.ledger.view) } else { Judged::Good };
        // A render may take longer than anything counts that nobody can verify.
        let unverified =
            || judged && Backing::consult(shared).temper(Standing::Fresh, page.began_at) != Standing::Fresh;
        let (served, marked) = match verdict {
            Judged::Good if unverified() => (Served::Stale(Stale::Unverified), None),
            Judged::Good => (self.served(), None),
            Judged::Revalidate(marked) => (Served::Stale(Stale::Invalidated), Some(marked)),
            Judged::Expire => return None,
        };
        let mut response = self.core.respond(page, served, shared.time.wall(), &self.request, self.admitted);
        response.extensions_mut().extend(head.extensions.clone());
        if let Served::Stale(_) = served {
            self.core.regenerate(page, marked, &self.request, &self.route, self.admitted);
        }
        Some(response)
    }

    fn read_along(self, head: &Head) -> Response {
        let shared = self.core.shared();
        let served = self.served();
        let mut headers = head.headers.clone();
        undecided(&mut headers, served, self.route.settings(), &shared.headers);
        if let Some(length) = head.length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let (core, key) = (Arc::clone(&self.core), self.waiter.key().clone());
        let body = if self.admitted.head {
            // Not `Body::empty()`, whose length of zero would become a header.
            Body::new(NoBody)
        } else {
            Body::new(self.waiter.read_along(head.length))
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        response.extensions_mut().extend(head.extensions.clone());
        core.tell_of_stream(&mut response, served, &key);
        response
    }

    /// The render has failed; what `Cache-Status` says of it.
    fn not_made(&self, what: Failed) -> Option<Box<HeaderValue>> {
        telemetry::not_made(self.core.shared(), &self.request, what);
        self.core.note_of(Reason::Failed(what), &self.request, &self.route)
    }

    fn fail(&self, failure: &Failure) -> Response {
        let body = if self.admitted.head { Body::empty() } else { Body::from(failure.body.clone()) };
        let mut response = Response::new(body);
        *response.status_mut() = failure.head.status;
        *response.headers_mut() = failure.head.headers.clone();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(failure.body.len()));
        response.extensions_mut().extend(failure.head.extensions.clone());
        noted(response, self.not_made(Failed::Status(failure.head.status.as_u16())))
    }

    /// The visitor's own request goes to the handler.
    async fn own(self, reason: Pass) -> Response {
        let Self { core, request, route, waiter, .. } = self;
        // It does not wait any more: nothing is kept for it, and its leader may go.
        drop(waiter);
        own(core, request, route, reason).await
    }

    /// The same, and it is not looked up any more.
    async fn bypass(self, reason: Bypass) -> Response {
        let Self { core, request, route, waiter, .. } = self;
        drop(waiter);
        bypass(core, request, route, reason).await
    }

    /// As `own`, and the others learn from it whether the handler needs its visitors.
    async fn try_own(self) -> Response {
        let volunteer = self.waiter.volunteer();
        let Self { core, request, route, waiter, .. } = self;
        // Whether it is a page that needs its visitor, or a failure, is known at its end.
        let (outline, key) = (outline(&request), key::owned(&request, &route).ok());
        // As in a render: if the handler asks for its own page, that request must not wait for this one.
        let response = match key.clone() {
            Some(key) => {
                let mode = route.settings().mode;
                let context = Arc::new(RenderContext::new(core.shared().id, key, "", RenderReason::Visitor, mode));
                RENDER.scope(context, send(&core, request, route)).await
            }
            None => send(&core, request, route).await,
        };
        let status = response.status();
        let (verdict, reason) = if matches!(status.as_u16(), 408 | 429 | 500..) {
            let failed = Failed::Status(status.as_u16());
            telemetry::not_made(core.shared(), &outline, failed);
            (Verdict::FailsToo, Reason::Failed(failed))
        } else {
            telemetry::passed(core.shared(), &outline, Pass::NeedsVisitor);
            (Verdict::Works(status), Reason::Pass(Pass::NeedsVisitor))
        };
        volunteer.answer(verdict);
        drop(waiter);
        let note = core.note(reason, key);
        noted(response, note)
    }
}

/// Asks the store's ledger whether what is in memory was invalidated elsewhere, and goes on from there.
pub(super) async fn verified<S: Bounds>(core: Arc<Core<S>>, request: Request, route: RouteConfig) -> Response {
    Backing::verify(core.shared()).await;
    match core.decide(&request, &route, false, Asked::Yes) {
        Found::Answer(response) => response,
        Found::Wait(waiter, admitted, why) => Visit { core, request, route, admitted, waiter, why }.run().await,
        Found::Own(reason) => own(core, request, route, reason).await,
        Found::Bypass(reason) => bypass(core, request, route, reason).await,
        Found::Unverified => own(core, request, route, Pass::Abandoned).await,
    }
}

/// What has begun while the visitor waited keeps the cache out of it.
async fn bypass<S: Bounds>(core: Arc<Core<S>>, request: Request, route: RouteConfig, reason: Bypass) -> Response {
    core.note_bypass(&request, Some(&route), true, reason);
    let note = core.note_of(Reason::Bypass(reason), &request, &route);
    noted(send(&core, request, route).await, note)
}

/// What there is to tell of a request that has gone to the handler.
fn outline(request: &Request) -> Request {
    let mut outline = Request::new(Body::empty());
    *outline.uri_mut() = key::original_uri(request).clone();
    let (matched, nested) = key::routed(request);
    matched.map(|matched| outline.extensions_mut().insert(matched));
    nested.map(|nested| outline.extensions_mut().insert(nested));
    outline
}

/// The visitor's own request goes to the handler.
async fn own<S: Bounds>(core: Arc<Core<S>>, request: Request, route: RouteConfig, reason: Pass) -> Response {
    telemetry::passed(core.shared(), &request, reason);
    let note = core.note_of(Reason::Pass(reason), &request, &route);
    noted(send(&core, request, route).await, note)
}

fn noted(mut response: Response, note: Option<Box<HeaderValue>>) -> Response {
    if let Some(note) = note {
        response.headers_mut().append(header::CACHE_STATUS, *note);
    }
    response
}

/// A HEAD waits for the whole page, whose length it wants, but only for so long: a page may drip while somebody reads
/// it.
///
/// `None`: who came after a mark has waited for a page that drips. Before its head is out a render has a limit of its own,
/// and its end is one for all.
async fn step(waiter: &Waiter, for_length: Option<Duration>, limit: Duration) -> Option<Step> {
    let mut end = waiter.patience(limit);
    while let Some(now) = end {
        if let Ok(step) = tokio::time::timeout_at(now, waiter.step(true)).await {
            return Some(step);
        }
        if waiter.is_streaming() {
            return None;
        }
        end = now.checked_add(limit);
    }
    if let Some(patience) = for_length
        && let Ok(step) = tokio::time::timeout(patience, waiter.step(true)).await
    {
        return Some(step);
    }
    Some(waiter.step(false).await)
}

/// No body, of a length that nobody knows: the answer to a HEAD whose GET is still being made.
struct NoBody;

impl http_body::Body for NoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

async fn send<S: Bounds>(core: &Core<S>, mut request: Request, route: RouteConfig) -> Response {
    Marker::Visitor(route.settings().mode).put(request.extensions_mut(), route);
    let Ok(response) = S::clone(&core.service).oneshot(request).await.map_err(Into::<Infallible>::into);
    response.into_response()
}
