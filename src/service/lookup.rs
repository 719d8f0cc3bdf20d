//! What the memory tier says, and the background work that follows from it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, NestedPath, RawPathParams, Request};
use axum::response::Response;
use http::Extensions;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::call::{Bounds, Core};
use crate::backing::{Backing, Trust};
use crate::clock::WallTime;
use crate::entry::{Served, Wanted, answer};
use crate::flight::{Entered, Flight, Lead, Purpose, Waiter, abandon, lone_flight};
use crate::isr::Mode;
use crate::key::{self, CacheKey};
use crate::ledger::{Generation, Verdict, View};
use crate::memory::{Page, PassNote, Slot, Standing, gone_because, stale_because};
use crate::policy::reason::Miss;
use crate::policy::request::{Admitted, Bypass};
use crate::policy::response::Pass;
use crate::policy::route::RouteConfig;
use crate::render::{Recipe, RenderContext, pattern};
use crate::telemetry;
use crate::testing::rules::{Rule, holds};

/// Whether the store's ledger was asked for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    Yes,
}

/// For so many kinds of pages a service keeps what the application shares.
const MOST_KINDS: usize = 10_000;

/// What a request finds.
pub(super) enum Found {
    Answer(Response),
    /// The page is not shared: the visitor's own request goes to the handler.
    Own(Pass),
    Wait(Waiter, Admitted, Miss),
    /// There is a page, and nobody knows whether it was invalidated elsewhere: the store's ledger has to be asked.
    Unverified,
    /// The cache has nothing to do with this request.
    Bypass(Bypass),
}

impl<S: Bounds> Core<S> {
    #[inline]
    pub(super) fn look_up(
        self: &Arc<Self>,
        key: &[u8],
        request: &Request,
        route: &RouteConfig,
        admitted: Admitted,
        asked: Asked,
    ) -> Found {
        let mut why = Miss::Cold;
        if self.shared().mode == Mode::Production
            && let Some(slot) = self.shared().memory.get(key)
        {
            match slot {
                Slot::Page(page) => {
                    // Before anything is judged by it.
                    let trust = Backing::consult(self.shared());
                    let now = self.shared().time.wall();
                    match self.standing(&page, now, trust) {
                        Standing::Fresh | Standing::Stale(_) if trust == Trust::Old && asked == Asked::No => {
                            return Found::Unverified;
                        }
                        Standing::Fresh => return self.serve(&page, Served::Hit, now, request, admitted),
                        Standing::Stale(marked) => {
                            let stale = self.serve(
                                &page,
                                Served::Stale(stale_because(page.entry.window(), marked, now)),
                                now,
                                request,
                                admitted,
                            );
                            self.regenerate(&page, marked, request, route, admitted);
                            return stale;
                        }
                        Standing::Gone => why = gone_because(page.entry.window(), now),
                    }
                }
                Slot::Pass(note) if self.still_passes(&note) => {
                    // Not for a HEAD: it may come through a `head` handler of its own, whose page has no body.
                    if !admitted.head && self.shared().time.monotonic() >= note.until {
                        self.look_again(key, request, route, note.reason);
                    }
                    return Found::Own(note.reason);
                }
                Slot::Pass(_) => why = Miss::Invalidated,
                Slot::Value(_) => {}
            }
        }
        self.wait(key, request, route, admitted, asked, why).unwrap_or_else(Found::Bypass)
    }

    pub(super) fn view(&self) -> &View {
        &self.shared().ledger.view
    }

    #[inline]
    pub(super) fn standing(&self, page: &Page, now: WallTime, trust: Trust) -> Standing {
        let standing = Standing::of(page.entry.window(), &page.covered, now, self.view());
        trust.temper(standing, page.began_at)
    }

    /// What was marked since may be shareable now.
    fn still_passes(&self, note: &PassNote) -> bool {
        note.covered.verdict(self.view()) == Verdict::Good || !holds(Rule::ClearPass)
    }

    /// The answer from a page.
    #[inline]
    fn serve(&self, page: &Page, served: Served, now: WallTime, request: &Request, admitted: Admitted) -> Found {
        Found::Answer(self.respond(page, served, now, request, admitted))
    }

    #[inline]
    pub(super) fn respond(
        &self,
        page: &Page,
        served: Served,
        now: WallTime,
        request: &Request,
        admitted: Admitted,
    ) -> Response {
        telemetry::served(self.shared(), request, page, served, now);
        let wanted = Wanted { admitted, headers: request.headers() };
        let mut response = answer(&page.entry, served, now, &wanted, &self.shared().headers);
        if self.shared().headers.debug {
            self.tell_of_page(&mut response, page, served, now);
        }
        response
    }

    /// A place in the flight of this key; if there is none, the lead.
    #[cold]
    fn wait(
        self: &Arc<Self>,
        key: &[u8],
        request: &Request,
        route: &RouteConfig,
        admitted: Admitted,
        asked: Asked,
        why: Miss,
    ) -> Result<Found, Bypass> {
        if self.shared().mode == Mode::Development {
            return self.show(key, request, route, admitted);
        }
        let runtime = self.may_render(key)?;
        let shared = self.shared();
        // Apart from GETs: what a HEAD starts may be an explicit `head` handler, whose page has no body. No key ends like
        // this, since a key says itself where it ends.
        let head_key = if admitted.head { [key, b"H"].concat() } else { Vec::new() };
        // The clocks may be the application's: not under the table's lock, below.
        let (trust, now) = (Backing::consult(shared), shared.time.wall());
        // Whoever joins a render has to know whether it is older than what was invalidated.
        let joins = || shared.flights.has(key) || (admitted.head && shared.flights.has(&head_key));
        if asked == Asked::No && trust == Trust::Old && joins() {
            return Ok(Found::Unverified);
        }
        let arrived = self.view().since();
        let table_key = if admitted.head {
            if let Some(place) = shared.flights.follow(key, arrived) {
                return Ok(place.map_or(Found::Own(Pass::Waiters), |waiter| Found::Wait(waiter, admitted, why)));
            }
            if let Some(Slot::Pass(note)) = shared.memory.get(&head_key)
                && shared.time.monotonic() < note.until
                && self.still_passes(&note)
            {
                return Ok(Found::Own(note.reason));
            }
            head_key.as_slice()
        } else {
            key
        };
        // Once more, under the table's lock: a flight may have landed meanwhile.
        let find = || {
            let page = shared.memory.page(key)?;
            let served = match self.standing(&page, now, trust) {
                Standing::Fresh => Served::Hit,
                Standing::Stale(marked) => Served::Stale(stale_because(page.entry.window(), marked, now)),
                Standing::Gone => return None,
            };
            Some((page, served))
        };
        Ok(match shared.flights.enter(table_key, arrived, find) {
            // Not under the lock: whoever listens to events may ask for the numbers.
            Entered::Found((page, served)) => self.serve(&page, served, now, request, admitted),
            Entered::Follow(waiter) => Found::Wait(waiter, admitted, why),
            Entered::Full => Found::Own(Pass::Waiters),
            Entered::Lead(waiter, flight) => {
                let purpose = Purpose::First { head: admitted.head };
                self.lead(flight, CacheKey::new(key), request, route, purpose)?.spawn(&runtime, None);
                Found::Wait(waiter, admitted, why)
            }
        })
    }

    /// Development mode: a render of its own.
    #[cold]
    fn show(
        self: &Arc<Self>,
        key: &[u8],
        request: &Request,
        route: &RouteConfig,
        admitted: Admitted,
    ) -> Result<Found, Bypass> {
        let runtime = self.may_render(key)?;
        let key = CacheKey::new(key);
        let (flight, waiter) = lone_flight(key.clone(), self.view().since()).ok_or(Bypass::NoRuntime)?;
        self.lead(flight, key, request, route, Purpose::Show)?.spawn(&runtime, None);
        Ok(Found::Wait(waiter, admitted, Miss::Development))
    }

    /// Renders a stale page again in the background, unless somebody does, or it is too early after a failure, or there
    /// is no room: then the next request tries.
    #[cold]
    pub(super) fn regenerate(
        self: &Arc<Self>,
        page: &Arc<Page>,
        marked: Option<Generation>,
        request: &Request,
        route: &RouteConfig,
        admitted: Admitted,
    ) {
        let shared = self.shared();
        let began = self.view().since();
        if !page.back_off.may_retry(shared.time.monotonic(), marked) || shared.flights.has(page.key.as_bytes()) {
            return;
        }
        if admitted.head && !page.maker.is_for_head() {
            // The next GET does it.
            return;
        }
        let Some((runtime, permit)) = self.background() else {
            return;
        };
        // Under the table's lock: a flight that has landed meanwhile has put another page here.
        let due = || shared.memory.page(page.key.as_bytes()).is_some_and(|now| Arc::ptr_eq(&now, page));
        if let Some(flight) = shared.flights.start(&page.key, began, due) {
            let purpose = Purpose::Regenerate { old: Arc::clone(page), head: admitted.head, waits: false };
            if let Ok(lead) = self.lead(flight, page.key.clone(), request, route, purpose) {
                lead.spawn(&runtime, Some(permit));
            }
        }
    }

    /// Renders a page that was not shareable some seconds ago.
    #[cold]
    fn look_again(self: &Arc<Self>, key: &[u8], request: &Request, route: &RouteConfig, was: Pass) {
        let shared = self.shared();
        if shared.flights.has(key) {
            return;
        }
        let Some((runtime, permit)) = self.background() else {
            return;
        };
        let (key, now) = (CacheKey::new(key), shared.time.monotonic());
        let due = || matches!(shared.memory.get(key.as_bytes()), Some(Slot::Pass(note)) if now >= note.until);
        if let Some(flight) = shared.flights.start(&key, self.view().since(), due)
            && let Ok(lead) = self.lead(flight, key, request, route, Purpose::LookAgain { was })
        {
            lead.spawn(&runtime, Some(permit));
        }
    }

    /// Whether a render can be started here and waited for.
    pub(super) fn may_render(&self, key: &[u8]) -> Result<Handle, Bypass> {
        if RenderContext::rendering(self.shared().id, key) {
            return Err(Bypass::Recursion);
        }
        let runtime = Handle::try_current().map_err(|_| Bypass::NoRuntime)?;
        if self.shared().has_timers(&runtime) { Ok(runtime) } else { Err(Bypass::NoRuntime) }
    }

    fn background(&self) -> Option<(Handle, OwnedSemaphorePermit)> {
        let runtime = Handle::try_current().ok()?;
        let permit = Arc::clone(&self.shared().regenerations).try_acquire_owned().ok()?;
        Some((runtime, permit))
    }

    /// Whoever leads this flight; if nobody can, it is over.
    pub(super) fn lead(
        self: &Arc<Self>,
        flight: Arc<Flight>,
        key: CacheKey,
        request: &Request,
        route: &RouteConfig,
        purpose: Purpose,
    ) -> Result<Lead, Bypass> {
        let recipe = self.recipe(&key, request, route).inspect_err(|_| abandon(self.shared(), &flight))?;
        Ok(Lead::new(Arc::clone(self.shared()), flight, key, recipe, purpose))
    }

    /// How to render the page without this visitor.
    ///
    /// Extensions are cloned for it, which is the application's code: if that panics, the visitor's own request is none
    /// the worse.
    fn recipe(self: &Arc<Self>, key: &CacheKey, request: &Request, route: &RouteConfig) -> Result<Arc<Recipe>, Bypass> {
        catch_unwind(AssertUnwindSafe(|| self.write_recipe(key, request, route))).unwrap_or(Err(Bypass::Share))
    }

    fn write_recipe(
        self: &Arc<Self>,
        key: &CacheKey,
        request: &Request,
        route: &RouteConfig,
    ) -> Result<Arc<Recipe>, Bypass> {
        let (matched, nested) = key::routed(request);
        if matched.is_none() && has_parameters_beyond(nested.as_ref().map_or("", NestedPath::as_str), request) {
            self.warn_of_nest();
            return Err(Bypass::NestParameters);
        }
        let numbers = self.shared().routes.of(pattern(matched.as_ref(), nested.as_ref()));
        numbers.visited(self.layer.id.number(), request, Some(route));
        Ok(Arc::new(Recipe {
            numbers,
            renderer: Arc::clone(self) as _,
            layer: self.layer.id.clone(),
            route: route.clone(),
            matched,
            nested,
            given: !self.layer.route().is_some_and(|own| own.is(route)),
            shared: self.shares(key, request),
        }))
    }

    /// The application-wide extensions, kept for renders without a visitor: those of the latest request for this kind of
    /// page, since they may differ by host.
    fn shares(&self, key: &CacheKey, request: &Request) -> Arc<Extensions> {
        let Some(shared) = self.layer.shared_extensions(request).map(Arc::new) else {
            return Arc::default();
        };
        let mut latest = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = key.kind();
        // Visitors may choose hosts.
        let before = if latest.len() < MOST_KINDS || latest.contains_key(&kind) {
            latest.insert(kind, Arc::clone(&shared))
        } else {
            None
        };
        drop(latest);
        // The application's code: not under the lock.
        drop(before);
        shared
    }

    fn warn_of_nest(&self) {
        if self.shared().beliefs.first_warning("", Bypass::NestParameters.as_str()) {
            tracing::warn!(
                target: "axum_isr",
                "not cached: the layer stands outside of a nested service, or of a nested router's fallback, whose \
                 prefix has path parameters; add it to what is nested"
            );
        }
    }
}

/// Whether axum's routing has left path parameters that are not those of the nest. Where it has left no pattern with
/// them, they could not be made again, and the handler behind would not miss them aloud: `Option<Path<…>>`,
/// `Path<HashMap<…>>`.
fn has_parameters_beyond(nest: &str, request: &Request) -> bool {
    // axum tells them in no other way.
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.extensions = request.extensions().clone();
    let parameters = pin!(RawPathParams::from_request_parts(&mut parts, &()));
    match parameters.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(parameters)) => {
            let named = |name: &str| nest.contains(&format!("{{{name}}}")) || nest.contains(&format!("{{*{name}}}"));
            !parameters.iter().all(|(name, _)| named(name))
        }
        Poll::Ready(Err(RawPathParamsRejection::MissingPathParams(_))) => false,
        // Parameters of bytes that are no text, or an axum that we do not know.
        Poll::Ready(Err(_)) | Poll::Pending => true,
    }
}
