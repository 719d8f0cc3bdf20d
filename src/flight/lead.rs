//! The leader: a spawned task that renders, judges and lands.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::task::coop::unconstrained;
use tracing::Instrument;

use super::body::End;
use super::capture::capture;
use super::outcome::{Failure, Head, Outcome};
use super::prerender::Prerendering;
use super::running::{Flight, Verdict};
use super::source::{Next, Source};
use crate::clock::{MonoTime, WallTime};
use crate::contained::{Panic, contained};
use crate::entry::clean;
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::ledger::Since;
use crate::memory::Page;
use crate::policy::response::{self, Pass};
use crate::render::{RENDER, Recipe, RenderContext, RenderReason, Rendered, render_request};
use crate::store::Version;
use crate::telemetry::{self, InFlight};

/// How many times the render timeout a render without visitors may take in all.
pub(crate) const BACKGROUND_RENDERS: u32 = 4;

/// A failure with more than this is not collected for others.
const MAX_FAILURE_BYTES: usize = 1 << 20;

/// Why a render runs.
pub(crate) enum Purpose {
    /// A visitor waits. `head`: the request was a HEAD.
    First { head: bool },
    /// The page is stale. `head`: the service is that of a HEAD. `waits`: somebody wants to know what comes of it.
    Regenerate { old: Arc<Page>, head: bool, waits: bool },
    /// The page was not shareable; is it now?
    LookAgain { was: Pass },
    /// Development mode: a visitor waits, nothing is kept.
    Show,
    /// The page is written to an export: nothing is kept here.
    Prerender(Prerendering),
}

impl Purpose {
    /// A page without a body is none then: it may come from a `head` handler of its own.
    pub(super) fn is_head(&self) -> bool {
        matches!(self, Self::First { head: true } | Self::Regenerate { head: true, .. })
    }

    /// From when on the age of a page counts that is sealed now.
    pub(super) fn counts_from(&self, now: WallTime) -> WallTime {
        match self {
            Self::Prerender(prerendering) => prerendering.counts_from(now),
            _ => now,
        }
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::First { .. } => "first",
            Self::Regenerate { .. } => "regenerate",
            Self::LookAgain { .. } => "look-again",
            Self::Show => "show",
            Self::Prerender(_) => "prerender",
        }
    }

    fn reason(&self) -> RenderReason {
        match self {
            Self::First { .. } | Self::Show => RenderReason::First,
            Self::Regenerate { .. } | Self::LookAgain { .. } => RenderReason::Regeneration,
            Self::Prerender(_) => RenderReason::Prerender,
        }
    }
}

/// What the leader comes back with.
pub(super) enum Landing {
    Page(Arc<Page>, Arc<Head>),
    /// The store had it.
    Found(Arc<Page>),
    /// Another process renders it.
    LeftToOthers,
    /// `veto`: an old entry is removed.
    Pass {
        reason: Pass,
        veto: bool,
    },
    Failure(Arc<Failure>),
    Broken(Arc<Head>),
    /// Streamed to those who were there; what had to be said was said by `take_off`.
    PassedOn(Pass),
    TimedOut,
    Panicked(Panic),
    /// The visitor's own request went well where the render failed.
    NeedsVisitor,
    Abandoned,
}

/// Nobody will land this flight.
pub(crate) fn abandon(shared: &Shared, flight: &Arc<Flight>) {
    shared.flights.leave(flight);
    flight.end(Outcome::Abandoned);
    give_up_body(flight);
    shared.landed.notify_waiters();
}

/// A body that has not ended by now never will: whoever reads along must not take what there is for all of it.
pub(super) fn give_up_body(flight: &Flight) {
    flight.end_body(End::Broken("the render was given up".into()));
}

/// A leader. Dropped before it has landed (its runtime is gone, or a bug of ours), it abandons the flight.
pub(crate) struct Lead {
    pub(super) shared: Arc<Shared>,
    pub(super) flight: Arc<Flight>,
    pub(super) recipe: Arc<Recipe>,
    pub(super) purpose: Purpose,
    pub(super) context: Arc<RenderContext>,
    inner_path: Box<str>,
    /// The place of this render among those of the process.
    pub(super) begun: u64,
    pub(super) began_at: MonoTime,
    /// The same for others.
    pub(super) wall: WallTime,
    /// Where the render began, if it did not begin with the flight: when the store had been asked.
    pub(super) since: OnceLock<Since>,
    /// There is a lease on this render, which has to be given back. Relaxed: only the leader's task asks.
    pub(super) leased: AtomicBool,
    /// The store had something under the key.
    pub(super) known: AtomicBool,
    /// And that is of no use to anybody.
    pub(super) useless: OnceLock<Version>,
    /// When the handler was asked.
    asked_at: OnceLock<MonoTime>,
    _in_flight: InFlight,
}

impl Lead {
    /// Made where the request is: the render context learns what render the request belongs to.
    pub(crate) fn new(
        shared: Arc<Shared>,
        flight: Arc<Flight>,
        key: CacheKey,
        recipe: Arc<Recipe>,
        purpose: Purpose,
    ) -> Self {
        let inner_path = key.parts().inner.into();
        let mode = recipe.route.settings().mode;
        let context = Arc::new(RenderContext::new(shared.id, key, recipe.pattern(), purpose.reason(), mode));
        Self {
            begun: shared.next_render(),
            began_at: shared.time.monotonic(),
            wall: shared.time.wall(),
            since: OnceLock::new(),
            leased: AtomicBool::new(false),
            known: AtomicBool::new(false),
            useless: OnceLock::new(),
            asked_at: OnceLock::new(),
            shared,
            flight,
            recipe,
            purpose,
            context,
            inner_path,
            _in_flight: InFlight::begin(),
        }
    }

    /// Spawns the task. `permit`: what background work holds while it runs.
    pub(crate) fn spawn(self, runtime: &Handle, permit: Option<OwnedSemaphorePermit>) -> JoinHandle<()> {
        let tracker = self.shared.tracker.clone();
        let context = Arc::clone(&self.context);
        let regenerates = matches!(self.purpose, Purpose::Regenerate { .. });
        let span = telemetry::span(&self.recipe, &self.context.key, self.purpose.as_str(), regenerates);
        tracker.spawn_on(RENDER.scope(context, self.run(permit)).instrument(span), runtime)
    }

    /// How long the handler has taken, in microseconds, since it was asked.
    pub(super) fn took(&self) -> Option<u64> {
        let asked = self.asked_at.get()?;
        Some(self.shared.time.monotonic().0.saturating_sub(asked.0))
    }

    async fn run(self, permit: Option<OwnedSemaphorePermit>) {
        let landing = self.supervise(permit).await;
        self.land(landing);
    }

    /// Works until the page is there, shutdown ends the patience, or nobody waits and there is no room for orphans.
    async fn supervise(&self, mut permit: Option<OwnedSemaphorePermit>) -> Landing {
        let mut work = pin!(self.work());
        // A body that is always ready leaves nothing of the task's budget, without which time does not pass.
        let mut stop = pin!(unconstrained(self.shared.stop.cancelled()));
        // A body that drips may take its time for those who read it, but not a place among the background renders.
        let limit = self.shared.render_timeout.saturating_mul(BACKGROUND_RENDERS);
        let mut overdue = pin!(unconstrained(tokio::time::sleep(limit)));
        let mut lease = pin!(self.prolong());
        let mut late = false;
        poll_fn(|cx| {
            if let Poll::Ready(landing) = work.as_mut().poll(cx) {
                return Poll::Ready(landing);
            }
            if self.leased.load(Ordering::Relaxed) {
                let _ = lease.as_mut().poll(cx);
            }
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Landing::Abandoned);
            }
            // Until a visitor comes while this gives up.
            while self.flight.poll_unwatched(cx).is_ready() {
                // Not before: to set a timer may wake another thread, which is dear where a page is only read from the
                // store.
                late = late || overdue.as_mut().poll(cx).is_ready();
                permit = permit.take().or_else(|| Arc::clone(&self.shared.orphans).try_acquire_owned().ok());
                let end = match permit {
                    Some(_) if !late => return Poll::Pending,
                    Some(_) => Landing::TimedOut,
                    None => Landing::Abandoned,
                };
                if self.shared.flights.leave_unwatched(&self.flight) {
                    return Poll::Ready(end);
                }
            }
            // The places are for what nobody waits for.
            permit = None;
            Poll::Pending
        })
        .await
    }

    async fn work(&self) -> Landing {
        if self.shared.backing.is_some() {
            if let Some(landing) = self.fetch().await {
                return landing;
            }
            // Set once.
            let _ = self.since.set(self.shared.ledger.view.since());
        }
        if let Some(landing) = self.seed().await {
            return landing;
        }
        let response = match self.render().await {
            Ok(response) => response,
            Err(landing) => return self.doubt(landing).await,
        };
        if self.context.is_forbidden() {
            return self.forbidden(response).await;
        }
        let route = self.recipe.route.settings();
        let matched = self.recipe.matched.is_some();
        if let Purpose::Prerender(prerendering) = &self.purpose {
            prerendering.answered(response.status());
        }
        let verdict = response::judge(response.status(), response.headers(), route, matched);
        if let Some(reason) = self.context.refusal() {
            // What a handler says in the course of failing does not take the old page with it.
            let said = matches!(reason, Pass::NoStore | Pass::Tags);
            if !(said && matches!(verdict, response::Verdict::Failure)) {
                return Landing::Pass { reason, veto: true };
            }
        }
        match verdict {
            response::Verdict::Keep => match capture(self, response).await {
                panicked @ Landing::Panicked(_) => self.doubt(panicked).await,
                landing => landing,
            },
            response::Verdict::Pass { reason, veto } => Landing::Pass { reason, veto },
            response::Verdict::Failure => {
                let landing = self.collect(response).await;
                self.doubt(landing).await
            }
        }
    }

    /// The head of the response to the render request.
    async fn render(&self) -> Result<Response, Landing> {
        let key = &self.context.key;
        let Some(request) = render_request(&key.parts(), self.shared.public_host.as_ref()) else {
            return Err(Landing::Pass { reason: Pass::Rewritten, veto: false });
        };
        let _ = self.asked_at.set(self.shared.time.monotonic());
        let render = contained(async {
            let renderer = Arc::clone(&self.recipe.renderer);
            renderer.render(request, &self.inner_path, &self.recipe, &self.context).await
        });
        match tokio::time::timeout(self.shared.render_timeout, render).await {
            Err(_) => Err(Landing::TimedOut),
            Ok(Err(panic)) => Err(Landing::Panicked(panic)),
            Ok(Ok(Rendered::Response(response))) => Ok(response),
            Ok(Ok(Rendered::Rewritten)) => {
                let pattern = self.recipe.pattern();
                if self.shared.beliefs.first_warning(pattern, "rewritten") {
                    tracing::warn!(
                        target: "axum_isr",
                        route = %pattern,
                        "not cached: a layer outside changes the path of requests, so the page cannot be found again \
                         from its URL; move that layer inside, or around the router before its routing"
                    );
                }
                Err(Landing::Pass { reason: Pass::Rewritten, veto: false })
            }
        }
    }

    /// The body of a failure, for everybody who waits; within one limit, since nobody has seen its head.
    async fn collect(&self, response: Response) -> Landing {
        let collected = tokio::time::timeout(self.shared.render_timeout, self.collect_all(response));
        collected.await.unwrap_or(Landing::Pass { reason: Pass::Status, veto: false })
    }

    async fn collect_all(&self, response: Response) -> Landing {
        let (parts, body) = response.into_parts();
        let mut source = Source::new(body, self.shared.render_timeout);
        let mut bytes = Vec::new();
        loop {
            match source.next().await {
                Next::Chunk(chunk) if bytes.len() + chunk.len() <= MAX_FAILURE_BYTES => bytes.extend_from_slice(&chunk),
                Next::End | Next::Trailers(_) => break,
                Next::Panicked(panic) => return Landing::Panicked(panic),
                Next::TimedOut => return Landing::TimedOut,
                Next::Chunk(_) | Next::Error(_) => return Landing::Pass { reason: Pass::Status, veto: false },
            }
        }
        let mut headers = parts.headers;
        // It is not kept: what the handler says about keeping it goes out as it is.
        let control: Vec<_> = headers.get_all(CACHE_CONTROL).iter().cloned().collect();
        clean(&mut headers, &self.shared.headers);
        for value in control {
            headers.append(CACHE_CONTROL, value);
        }
        let head = Head { status: parts.status, headers, extensions: parts.extensions, length: None };
        Landing::Failure(Arc::new(Failure { head, body: bytes.into() }))
    }

    /// `Dynamic::Error`: whatever the handler made of the rejection, the answer is a 500.
    async fn forbidden(&self, response: Response) -> Landing {
        let response = if response.status().is_server_error() {
            response
        } else {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        };
        self.collect(response).await
    }

    /// Until a pattern has rendered well, a failure may be the fault of the narrowed request: a visitor's own request
    /// decides. Nobody has to wait for that where nobody waits.
    async fn doubt(&self, landing: Landing) -> Landing {
        let status = match &landing {
            Landing::Failure(failure) => failure.head.status,
            Landing::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => return landing,
        };
        let pattern = self.recipe.pattern();
        if matches!(self.purpose, Purpose::Prerender(_)) {
            // There is no visitor.
            return landing;
        }
        if self.shared.beliefs.believes(&self.recipe, &self.context.key) || !self.flight.is_watched() {
            return landing;
        }
        self.flight.doubt();
        let verdict = poll_fn(|cx| self.flight.poll_verdict(cx));
        let Ok(Some(Verdict::Works(own))) = tokio::time::timeout(self.shared.render_timeout, verdict).await else {
            return landing;
        };
        if self.shared.beliefs.first_warning(pattern, "needs-visitor") {
            tracing::warn!(
                target: "axum_isr",
                route = %pattern,
                rendered = status.as_u16(),
                visitor = own.as_u16(),
                "not cached: the handler failed without a visitor's request and then answered one, so it seems to need \
                 something of it; give it that by `State`, `IsrLayer::share::<T>()`, `RouteConfig::header`, `RouteConfig::host`, \
                 `IsrBuilder::public_origin`, or move the layer that provides it inside"
            );
        }
        Landing::NeedsVisitor
    }

    pub(super) fn max_body_bytes(&self) -> usize {
        self.recipe.route.settings().max_body_bytes.min(self.shared.memory.largest_body())
    }
}
