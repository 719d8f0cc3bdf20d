//! What becomes of requests.

use axum::extract::Request;
use tracing::{debug, trace};

use super::events::tell;
use super::routes::Route;
use super::shown::Shown;
use crate::clock::WallTime;
use crate::entry::Served;
use crate::isr::Shared;
use crate::key;
use crate::memory::Page;
use crate::policy::reason::{Failed, Reason};
use crate::policy::request::Bypass;
use crate::policy::response::Pass;
use crate::render::pattern;

fn path(request: &Request) -> Shown<'_> {
    Shown(key::original_uri(request).path())
}

/// The pattern of a request, for people and labels.
pub(crate) fn route(request: &Request) -> &str {
    let extensions = request.extensions();
    pattern(extensions.get(), extensions.get())
}

/// Answered from a page.
#[inline]
pub(crate) fn served(shared: &Shared, request: &Request, page: &Page, served: Served, now: WallTime) {
    let age = page.entry.window().age_millis(now);
    match served {
        Served::Hit => {
            let numbers = page.maker.numbers();
            page.hits.add();
            numbers.hits.add();
            numbers.age_millis.add_all(age);
            if page.render_micros > 0 {
                numbers.saved_micros.add_all(page.render_micros);
            }
            numbers.meter.hit(age, page.render_micros);
            trace!(target: "axum_isr", route = %route(request), path = ?path(request), age, reason = "fresh", "HIT");
            if shared.events.is_watched() {
                tell(shared, Some(now), Reason::Hit, numbers.pattern(), path(request), Some(age), "");
            }
        }
        Served::Stale(_) => stale(shared, request, page, served.into(), age, now),
        Served::Miss { collapsed, .. } => missed(shared, request, page.maker.numbers(), served.into(), collapsed),
    }
}

#[cold]
fn stale(shared: &Shared, request: &Request, page: &Page, reason: Reason, age: u64, now: WallTime) {
    let numbers = page.maker.numbers();
    page.hits.add();
    numbers.stale.add();
    numbers.age_millis.add_all(age);
    numbers.meter.stale(reason, age);
    let why = reason.reason();
    debug!(target: "axum_isr", route = %route(request), path = ?path(request), age, reason = why, "STALE");
    if shared.events.is_watched() {
        tell(shared, Some(now), reason, numbers.pattern(), path(request), Some(age), "");
    }
}

#[cold]
fn missed(shared: &Shared, request: &Request, numbers: &Route, reason: Reason, collapsed: bool) {
    numbers.misses.add();
    numbers.meter.request(reason);
    let why = reason.reason();
    debug!(target: "axum_isr", route = %route(request), path = ?path(request), collapsed, reason = why, "MISS");
    let detail = if collapsed { "another request had started the render" } else { "" };
    tell(shared, None, reason, numbers.pattern(), path(request), None, detail);
}

/// Answered with the head of a page whose body is on its way.
pub(crate) fn streamed(shared: &Shared, request: &Request, served: Served) {
    missed(shared, request, &shared.routes.of(route(request)), served.into(), served.is_collapsed());
}

pub(crate) fn bypassed(shared: &Shared, request: &Request, numbers: &Route, why: Bypass) {
    numbers.bypasses.add();
    numbers.meter.request(Reason::Bypass(why));
    trace!(target: "axum_isr", route = %route(request), path = ?path(request), reason = why.as_str(), "bypass");
    if shared.events.is_watched() {
        tell(shared, None, Reason::Bypass(why), numbers.pattern(), path(request), None, "");
    }
}

pub(crate) fn passed(shared: &Shared, request: &Request, why: Pass) {
    let numbers = shared.routes.of(route(request));
    numbers.passes.add();
    numbers.meter.request(Reason::Pass(why));
    debug!(target: "axum_isr", route = %route(request), path = ?path(request), reason = why.as_str(), "pass");
    if shared.events.is_watched() {
        tell(shared, None, Reason::Pass(why), numbers.pattern(), path(request), None, "");
    }
}

/// The visitor gets what came of a render that failed.
pub(crate) fn not_made(shared: &Shared, request: &Request, what: Failed) {
    let numbers = shared.routes.of(route(request));
    numbers.failed.add();
    numbers.meter.request(Reason::Failed(what));
    debug!(target: "axum_isr", route = %route(request), path = ?path(request), reason = what.as_str(), "failure");
    let detail = what.to_string();
    tell(shared, None, Reason::Failed(what), numbers.pattern(), path(request), None, &detail);
}
