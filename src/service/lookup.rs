//! What the memory tier says, and the background work that follows from it.

use std::sync::{Arc, PoisonError};

use axum::extract::{MatchedPath, NestedPath, OriginalUri, Request};
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::call::{Bounds, Core};
use crate::clock::WallTime;
use crate::entry::{Served, Wanted, answer};
use crate::flight::{Entered, Lead, Purpose, Waiter, lone_flight};
use crate::isr::Mode;
use crate::key::CacheKey;
use crate::memory::{Page, Slot};
use crate::policy::freshness::Freshness;
use crate::policy::request::{Admitted, Bypass};
use crate::policy::response::Pass;
use crate::policy::route::RouteConfig;
use crate::render::{Recipe, RenderContext};
use crate::telemetry;

/// What a request finds.
pub(super) enum Found {
    Answer(Response),
    /// The page is not shared: the visitor's own request goes to the handler.
    Own(Pass),
    Wait(Waiter, Admitted),
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
    ) -> Found {
        if self.shared().mode == Mode::Production
            && let Some(slot) = self.shared().memory.get(key)
        {
            match slot {
                Slot::Page(page) => {
                    let now = self.shared().time.wall();
                    match page.entry.window().at(now) {
                        Freshness::Fresh => return self.serve(&page, Served::Hit, now, request, admitted),
                        Freshness::Stale => {
                            self.regenerate(&page, request, route, admitted);
                            return self.serve(&page, Served::Stale, now, request, admitted);
                        }
                        Freshness::Expired => {}
                    }
                }
                Slot::Pass(note) => {
                    // Not for a HEAD: it may come through a `head` handler of its own, whose page has no body.
                    if !admitted.head && self.shared().time.monotonic() >= note.until {
                        self.look_again(key, request, route, note.reason);
                    }
                    return Found::Own(note.reason);
                }
            }
        }
        self.wait(key, request, route, admitted).unwrap_or_else(Found::Bypass)
    }

    /// The answer from a page.
    #[inline]
    fn serve(&self, page: &Page, served: Served, now: WallTime, request: &Request, admitted: Admitted) -> Found {
        telemetry::served(self.shared(), request, served);
        let wanted = Wanted { admitted, headers: request.headers() };
        Found::Answer(answer(&page.entry, served, now, &wanted, &self.shared().headers))
    }

    /// A place in the flight of this key; if there is none, the lead.
    #[cold]
    fn wait(
        self: &Arc<Self>,
        key: &[u8],
        request: &Request,
        route: &RouteConfig,
        admitted: Admitted,
    ) -> Result<Found, Bypass> {
        if self.shared().mode == Mode::Development {
            return self.show(key, request, route, admitted);
        }
        let runtime = may_render(key)?;
        let shared = self.shared();
        let head_key;
        let table_key = if admitted.head {
            if let Some(place) = shared.flights.follow(key) {
                return Ok(place.map_or(Found::Own(Pass::Waiters), |waiter| Found::Wait(waiter, admitted)));
            }
            // Apart from GETs: what a HEAD starts may be an explicit `head` handler, whose page has no body. No key
            // ends like this, since a key says itself where it ends.
            head_key = [key, b"H"].concat();
            if let Some(Slot::Pass(note)) = shared.memory.get(&head_key)
                && shared.time.monotonic() < note.until
            {
                return Ok(Found::Own(note.reason));
            }
            head_key.as_slice()
        } else {
            key
        };
        // Once more, under the table's lock: a flight may have landed meanwhile.
        let find = || {
            let (page, now) = (shared.memory.page(key)?, shared.time.wall());
            let served = match page.entry.window().at(now) {
                Freshness::Fresh => Served::Hit,
                Freshness::Stale => Served::Stale,
                Freshness::Expired => return None,
            };
            Some(self.serve(&page, served, now, request, admitted))
        };
        Ok(match shared.flights.enter(table_key, find) {
            Entered::Found(found) => found,
            Entered::Follow(waiter) => Found::Wait(waiter, admitted),
            Entered::Full => Found::Own(Pass::Waiters),
            Entered::Lead(waiter, flight) => {
                let purpose = Purpose::First { head: admitted.head };
                let recipe = self.recipe(request, route);
                Lead::new(Arc::clone(shared), flight, CacheKey::new(key), recipe, purpose).spawn(&runtime, None);
                Found::Wait(waiter, admitted)
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
        let runtime = may_render(key)?;
        let key = CacheKey::new(key);
        let (flight, waiter) = lone_flight(key.clone()).ok_or(Bypass::NoRuntime)?;
        let recipe = self.recipe(request, route);
        Lead::new(Arc::clone(self.shared()), flight, key, recipe, Purpose::Show).spawn(&runtime, None);
        Ok(Found::Wait(waiter, admitted))
    }

    /// Renders a stale page again in the background, unless somebody does, or it is too early after a failure, or there
    /// is no room: then the next request tries.
    #[cold]
    fn regenerate(self: &Arc<Self>, page: &Arc<Page>, request: &Request, route: &RouteConfig, admitted: Admitted) {
        let shared = self.shared();
        if !page.may_retry(shared.time.monotonic()) || shared.flights.has(page.key.as_bytes()) {
            return;
        }
        let Some((runtime, permit)) = self.background() else {
            return;
        };
        // Under the table's lock: a flight that has landed meanwhile has put another page here.
        let due = || shared.memory.page(page.key.as_bytes()).is_some_and(|now| Arc::ptr_eq(&now, page));
        if let Some(flight) = shared.flights.start(&page.key, due) {
            // A HEAD may have come through a `head` handler of its own: the page knows who made it.
            let recipe = if admitted.head { Arc::clone(&page.recipe) } else { self.recipe(request, route) };
            let purpose = Purpose::Regenerate { old: Arc::clone(page) };
            Lead::new(Arc::clone(shared), flight, page.key.clone(), recipe, purpose).spawn(&runtime, Some(permit));
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
        let key = CacheKey::new(key);
        let due = || {
            let slot = shared.memory.get(key.as_bytes());
            matches!(slot, Some(Slot::Pass(note)) if shared.time.monotonic() >= note.until)
        };
        if let Some(flight) = shared.flights.start(&key, due) {
            let recipe = self.recipe(request, route);
            Lead::new(Arc::clone(shared), flight, key, recipe, Purpose::LookAgain { was })
                .spawn(&runtime, Some(permit));
        }
    }

    fn background(&self) -> Option<(Handle, OwnedSemaphorePermit)> {
        let runtime = Handle::try_current().ok()?;
        let permit = Arc::clone(&self.shared().regenerations).try_acquire_owned().ok()?;
        Some((runtime, permit))
    }

    /// How to render the page without this visitor. Pages of one route share it: it is a fifth of what a page costs
    /// beyond its bytes.
    fn recipe(self: &Arc<Self>, request: &Request, route: &RouteConfig) -> Arc<Recipe> {
        let extensions = request.extensions();
        let matched = extensions.get::<MatchedPath>();
        // As in the key: a nest has taken its prefix off the path, or there is none.
        let stripped = extensions.get::<OriginalUri>().is_some_and(|uri| uri.0.path() != request.uri().path());
        let nested = extensions.get::<NestedPath>().filter(|_| stripped);
        let mut last = self.recipe.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.layer.shares()
            && let Some(recipe) = last.upgrade()
            && recipe.route.is(route)
            && recipe.is_routed(matched, nested)
        {
            return recipe;
        }
        let recipe = Arc::new(Recipe {
            renderer: Arc::clone(self) as _,
            route: route.clone(),
            matched: matched.cloned(),
            nested: nested.cloned(),
            shared: self.layer.shared_extensions(request),
        });
        *last = Arc::downgrade(&recipe);
        recipe
    }
}

/// Whether a render can be started here and waited for.
fn may_render(key: &[u8]) -> Result<Handle, Bypass> {
    if RenderContext::rendering(key) {
        return Err(Bypass::Recursion);
    }
    Handle::try_current().map_err(|_| Bypass::NoRuntime)
}
