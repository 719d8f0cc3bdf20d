//! What a leader comes back with: what the memory tier learns of it, and the waiters.

use std::sync::Arc;
use std::time::Duration;

use super::lead::{Landing, Lead, Purpose, abandon, give_up_body};
use super::outcome::{Head, Outcome};
use crate::key::CacheKey;
use crate::ledger::{Covered, Since};
use crate::memory::{Page, PassNote, Slot};
use crate::policy::reason::{Failed, Regenerated};
use crate::policy::response::Pass;
use crate::policy::tag::{MAX_TAGS, Tag};
use crate::render::Notes;
use crate::telemetry;
use crate::testing::rules::{Rule, holds};

/// How long a page that is not shared is remembered as such.
const PASS_FOR: Duration = Duration::from_secs(10);

impl Lead {
    /// Those of the route and of the render.
    pub(super) fn tags(&self, notes: &Notes) -> Vec<Tag> {
        notes.tags_beside(self.recipe.route.check().unwrap_or_default())
    }

    /// What marks can hit of what this render brings.
    pub(super) fn covered(&self, notes: &Notes, tags: &[Tag]) -> Covered {
        let (view, key) = (&self.shared.ledger.view, self.context.key.parts());
        let since = if holds(Rule::SinceBegin) { self.began() } else { view.since() };
        Covered::new(view.names(key.path, key.pattern, tags.iter().map(Tag::as_str)), notes.since(since))
    }

    /// Where the render began.
    pub(super) fn began(&self) -> Since {
        self.since.get().copied().unwrap_or_else(|| self.flight.began())
    }

    fn keeps(&self) -> bool {
        !matches!(self.purpose, Purpose::Show | Purpose::Prerender(_))
    }

    /// Leaves the table while the body goes on; others do not wait for what will not be kept.
    pub(super) fn take_off(&self, reason: Pass) {
        if self.keeps() {
            if reason == Pass::TooLarge {
                self.not_kept(reason, false);
            }
            self.shared.flights.leave(&self.flight);
            self.shared.landed.notify_waiters();
        }
        // Not after its end, which may be far away.
        self.tell_exporter(&Outcome::Pass(reason));
    }

    /// What the memory tier learns from a page that is not kept. `veto`: also where there is an old page.
    fn not_kept(&self, reason: Pass, veto: bool) {
        if !self.keeps() {
            return;
        }
        if veto {
            self.tell_store_of_veto();
        }
        if let Purpose::Regenerate { old, .. } = &self.purpose
            && !veto
        {
            return self.regeneration_failed(old, Failed::Refused(reason));
        }
        if reason == Pass::Capture && matches!(self.purpose, Purpose::First { .. }) {
            // No room now says nothing about the page.
            return;
        }
        self.remember(reason);
    }

    fn warn_of_tags(&self, reason: Pass) {
        let pattern = self.recipe.pattern();
        if reason == Pass::Tags && self.shared.beliefs.first_warning(pattern, "tags") {
            tracing::warn!(
                target: "axum_isr",
                route = %pattern,
                "not cached: a tag has 1 to 256 bytes, and a page at most {MAX_TAGS} of them, its route's and those of \
                 its data included; without one of its tags the page would outlive its invalidation"
            );
        }
    }

    fn found(&self, page: Arc<Page>) -> Outcome {
        let slot = Slot::Page(Arc::clone(&page));
        let fits = self.shared.memory.admits(&page.key, &slot);
        if fits && !self.shared.is_closing() && self.put(&page.key, slot) {
            self.shared.renderers.note(&self.recipe, &page.key, page.maker.is_for_head());
        }
        Outcome::Found(page)
    }

    /// Puts something into the memory tier, unless what is there comes from a render that began later.
    fn put(&self, key: &CacheKey, slot: Slot) -> bool {
        let newest = self.shared.flights.hold(key, || self.shared.memory.put(key.clone(), slot));
        telemetry::holds(&self.shared);
        newest
    }

    fn remember(&self, reason: Pass) {
        let until = self.shared.time.monotonic().after(PASS_FOR);
        let notes = self.context.notes();
        let covered = self.covered(&notes, &self.tags(&notes));
        let note = Slot::Pass(Arc::new(PassNote { reason, until, begun: self.begun, covered }));
        self.put(self.flight.key(), note);
    }

    /// The old page stays, and is not tried again before its back-off is over.
    fn regeneration_failed(&self, old: &Page, what: Failed) {
        old.back_off.note(what);
        let failures = old.back_off.failed(self.shared.time.monotonic(), self.shared.noise(), self.began().generation);
        telemetry::regeneration_failed(&self.shared, &self.recipe, &self.context.key, what, failures);
    }

    /// A page that could not be made says nothing about whether it is shareable.
    fn failed(&self, what: Failed) {
        match &self.purpose {
            Purpose::Regenerate { old, .. } => return self.regeneration_failed(old, what),
            Purpose::LookAgain { was } => self.remember(*was),
            Purpose::First { .. } | Purpose::Show | Purpose::Prerender(_) => {}
        }
        telemetry::failed(&self.shared, &self.recipe, &self.context.key, what);
    }

    /// Memory tier first, then the table, then the waiters.
    pub(super) fn land(&self, landing: Landing) {
        let regenerated = self.regenerated(&landing);
        let outcome = match landing {
            Landing::Page(page, head) => self.keep(page, head),
            Landing::Found(page) => self.found(page),
            Landing::LeftToOthers => {
                self.left_to_others();
                Outcome::Abandoned
            }
            Landing::Pass { reason, veto } => {
                self.warn_of_tags(reason);
                self.not_kept(reason, veto);
                Outcome::Pass(reason)
            }
            Landing::NeedsVisitor => {
                self.not_kept(Pass::NeedsVisitor, false);
                Outcome::Pass(Pass::NeedsVisitor)
            }
            Landing::Failure(failure) => {
                self.failed(Failed::Status(failure.head.status.as_u16()));
                Outcome::Failure(failure)
            }
            Landing::Broken(head) => {
                self.failed(Failed::Broken);
                Outcome::Broken(head)
            }
            Landing::TimedOut => {
                self.failed(Failed::TimedOut);
                Outcome::TimedOut
            }
            Landing::Panicked(panic) => {
                self.failed(Failed::Panicked);
                Outcome::Panicked(panic)
            }
            Landing::PassedOn(reason) => Outcome::Pass(reason),
            Landing::Abandoned => Outcome::Abandoned,
        };
        let (route, key) = (&self.recipe.numbers, &self.context.key);
        telemetry::landed(&self.shared, &self.recipe, key, &outcome, self.purpose.as_str(), self.took());
        if let Some(what) = regenerated {
            // Nor is it there if it did not fit.
            let what = match outcome {
                Outcome::Pass(reason @ Pass::TooLarge) => Regenerated::Failed(Failed::Refused(reason)),
                _ => what,
            };
            telemetry::regenerated(&self.shared, route, key, what);
        }
        self.give_back(&outcome);
        self.tell_exporter(&outcome);
        self.shared.flights.leave(&self.flight);
        self.flight.end(outcome);
        give_up_body(&self.flight);
        self.shared.landed.notify_waiters();
    }

    /// What this is for the old page, if there is one.
    fn regenerated(&self, landing: &Landing) -> Option<Regenerated> {
        let Purpose::Regenerate { old, .. } = &self.purpose else { return None };
        Some(match landing {
            Landing::Page(page, _) if page.entry.is_same(&old.entry) => Regenerated::Unchanged,
            Landing::Page(..) => Regenerated::Ok,
            Landing::Found(_) => Regenerated::Found,
            Landing::LeftToOthers => Regenerated::Elsewhere,
            Landing::Pass { reason, veto: true } => Regenerated::NotShared(*reason),
            Landing::Pass { reason, veto: false } | Landing::PassedOn(reason) => {
                Regenerated::Failed(Failed::Refused(*reason))
            }
            Landing::NeedsVisitor => Regenerated::Failed(Failed::Refused(Pass::NeedsVisitor)),
            Landing::Failure(failure) => Regenerated::Failed(Failed::Status(failure.head.status.as_u16())),
            Landing::Broken(_) => Regenerated::Failed(Failed::Broken),
            Landing::TimedOut => Regenerated::Failed(Failed::TimedOut),
            Landing::Panicked(_) => Regenerated::Failed(Failed::Panicked),
            Landing::Abandoned => Regenerated::Abandoned,
        })
    }

    fn keep(&self, page: Arc<Page>, head: Arc<Head>) -> Outcome {
        self.shared.beliefs.rendered_well(&self.recipe, &self.context.key);
        if self.keeps() {
            let slot = Slot::Page(Arc::clone(&page));
            if !self.shared.memory.admits(&page.key, &slot) {
                self.not_kept(Pass::TooLarge, false);
                return Outcome::Pass(Pass::TooLarge);
            }
            // Not always the newest: a page may be rendered for a GET and for a HEAD at the same time.
            if !self.shared.is_closing() && self.put(&page.key, slot) {
                self.shared.renderers.note(&self.recipe, &page.key, page.maker.is_for_head());
                telemetry::stored(&self.shared, &self.recipe, &page);
                self.tell_store_of(&page);
            }
        }
        Outcome::Page(page, head)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.flight.has_ended() {
            let panics = std::thread::panicking();
            if panics {
                // Outside of what is contained: the drop of a body, for example.
                self.failed(Failed::Panicked);
            }
            if matches!(self.purpose, Purpose::Regenerate { .. }) {
                let what = if panics { Regenerated::Failed(Failed::Panicked) } else { Regenerated::Abandoned };
                telemetry::regenerated(&self.shared, &self.recipe.numbers, &self.context.key, what);
            }
            self.give_back(&Outcome::Abandoned);
            self.tell_exporter(&Outcome::Abandoned);
            abandon(&self.shared, &self.flight);
        }
    }
}
