//! What the store has, the lease on rendering, and what the store learns of a render.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::runtime::Handle;

use super::lead::{Landing, Lead, Purpose};
use super::outcome::Outcome;
use crate::backing::{Claimed, Job, Seek, Veto, Wait, prolong, write};
use crate::clock::MonoTime;
use crate::entry::codec::{Damage, Kind, Made, PageRecord};
use crate::entry::{Kept, clean};
use crate::ledger::{Covered, Verdict};
use crate::memory::{BackOff, Page};
use crate::policy::freshness::{Freshness, Window};
use crate::policy::reason::Miss;
use crate::policy::response::{self, judge};
use crate::policy::tag::{MAX_TAGS, Tag};
use crate::render::Maker;
use crate::store::Note;
use crate::telemetry::{self, Counter};

/// How long a page that another process renders is left alone, besides up to 100 ms more.
const RETRY: Duration = Duration::from_millis(200);

impl Lead {
    /// What the store has, or what another process brings it; `None`: it is rendered here.
    pub(super) async fn fetch(&self) -> Option<Landing> {
        let mut seek = Seek::new(&self.shared, &self.context.key)?;
        let landing = self.fetch_by(&mut seek).await;
        if let Some(why) = seek.why {
            self.flight.because(why);
        }
        landing
    }

    async fn fetch_by(&self, seek: &mut Seek<'_>) -> Option<Landing> {
        let mut wait = match self.purpose {
            Purpose::First { .. } | Purpose::Regenerate { waits: true, .. } => Wait::ForIt,
            Purpose::Regenerate { .. } => Wait::No,
            Purpose::LookAgain { .. } | Purpose::Show | Purpose::Prerender(_) => return None,
        };
        loop {
            let found = self.find(seek).await;
            // What could not be looked for may be there.
            self.known.store(seek.found || seek.gave_up(), Ordering::Relaxed);
            if let Some(useless) = seek.useless {
                let _ = self.useless.set(useless);
            }
            if found.is_some() {
                return found;
            }
            match seek.claim(wait).await {
                Claimed::Make { leased } => {
                    self.leased.store(leased, Ordering::Relaxed);
                    // Whoever had it may have stored the page, and not have been able to say so.
                    return if seek.waited { self.find(seek).await } else { None };
                }
                Claimed::Failed => return None,
                Claimed::Stored => return self.find(seek).await,
                // Those who came meanwhile wait, though there is an old page: they came because it is of no use to them.
                Claimed::Held if self.shared.flights.leave_unwatched(&self.flight) => {
                    return Some(Landing::LeftToOthers);
                }
                Claimed::Held => wait = Wait::ForIt,
            }
        }
    }

    async fn find(&self, seek: &mut Seek<'_>) -> Option<Landing> {
        let page = self.read(seek).await?;
        let now = self.shared.time.wall();
        let fresh = page.entry.window().at(now) == Freshness::Fresh
            && page.covered.verdict(&self.shared.ledger.view) == Verdict::Good;
        // What is stale is of use only where there is nothing.
        if !fresh && matches!(self.purpose, Purpose::Regenerate { .. }) {
            return None;
        }
        telemetry::found(&self.shared, &self.recipe, &self.context.key);
        Some(Landing::Found(Arc::new(page)))
    }

    /// The page in the store, if it may be used: by the same rules as a response of the handler.
    async fn read(&self, seek: &mut Seek<'_>) -> Option<Page> {
        let (shared, key) = (&self.shared, &self.context.key);
        let frame = seek.get(Kind::Page).await?;
        let record = match PageRecord::read(&frame.record, &shared.scope, key.as_bytes()) {
            Ok(record) => record,
            Err(damage) => return seek.damaged(damage),
        };
        let mut headers = record.headers;
        let sent = headers.len();
        if !self.may_be_kept(record.status, &mut headers) || headers.len() != sent {
            return seek.damaged(Damage::Record);
        }
        // Whoever has filled the store may not know what the route says.
        let Some(tags) = self.with_tags_of_route(record.tags) else {
            return seek.damaged(Damage::Record);
        };
        let parts = key.parts();
        let names = shared.ledger.view.names(parts.path, parts.pattern, tags.iter().map(Tag::as_str));
        let covered = seek.judge(frame.made.place, names).await?;
        if record.window.at(shared.time.wall()) == Freshness::Expired {
            seek.why = Some(Miss::Expired);
            return None;
        }
        let kept = Kept { status: record.status, headers: &headers, body: frame.body, besides: frame.record.len() };
        Some(self.brought(kept, record.window, record.for_head, covered, tags))
    }

    /// Those of its route besides; `None` if they are too many.
    pub(super) fn with_tags_of_route(&self, tags: Vec<Tag>) -> Option<Vec<Tag>> {
        let mut all = tags;
        for tag in self.recipe.route.check().unwrap_or_default() {
            if !all.contains(tag) {
                all.push(tag.clone());
            }
        }
        (all.len() <= MAX_TAGS).then_some(all)
    }

    /// Whether the handler's response with this head could be kept. What is not kept of any is taken off.
    pub(super) fn may_be_kept(&self, status: StatusCode, headers: &mut HeaderMap) -> bool {
        let (recipe, profile) = (&self.recipe, &self.shared.headers);
        let verdict = judge(status, headers, recipe.route.settings(), recipe.matched.is_some());
        clean(headers, profile);
        matches!(verdict, response::Verdict::Keep)
    }

    /// A page that was not rendered here.
    pub(super) fn brought(
        &self,
        kept: Kept<'_>,
        window: Window,
        for_head: bool,
        covered: Covered,
        tags: Vec<Tag>,
    ) -> Page {
        Page {
            key: self.context.key.clone(),
            entry: kept.seal(window, self.recipe.route.settings(), &self.shared.headers),
            begun: self.begun,
            began_at: MonoTime(0),
            maker: Maker::new(&self.recipe, for_head),
            covered,
            back_off: BackOff::default(),
            tags: tags.into(),
            render_micros: 0,
            hits: Counter::default(),
        }
    }

    /// The old page is served until another process has rendered it.
    pub(super) fn left_to_others(&self) {
        if let Purpose::Regenerate { old, .. } = &self.purpose {
            let pause = RETRY + Duration::from_millis(self.shared.noise() % 100);
            old.back_off.wait(self.shared.time.monotonic(), pause, self.flight.began().generation);
        }
    }

    /// Prolongs the lease, once there is one.
    pub(super) async fn prolong(&self) {
        if self.leased.load(Ordering::Relaxed) {
            prolong(&self.shared, &self.context.key).await;
        }
    }

    /// A page was rendered and is kept; it is given back with its lease. What began before the ledger was read is nobody
    /// else's.
    pub(super) fn tell_store_of(&self, page: &Arc<Page>) {
        let Some(place) = page.covered.place() else { return };
        let made = Made { place, begun: self.wall.0 };
        let tags = self.tags(&self.context.notes());
        let over = self.useless.get().copied();
        self.tell(Job::Page { page: Arc::clone(page), tags, made, over }, self.take_lease());
    }

    /// What the store has must not be served any more.
    pub(super) fn tell_store_of_veto(&self) {
        if self.known.load(Ordering::Relaxed) || matches!(self.purpose, Purpose::Regenerate { .. }) {
            self.tell(Job::Remove(Veto { place: self.began().place, begun: self.wall.0 }), false);
        }
    }

    /// Whoever waits for the lease learns what came of it, unless an entry that is on its way says it.
    pub(super) fn give_back(&self, outcome: &Outcome) {
        if self.take_lease() {
            let note = match outcome {
                Outcome::Found(_) => Note::Stored,
                Outcome::Pass(_) => Note::Pass,
                _ => Note::Failed,
            };
            self.tell(Job::Nothing(note), true);
        }
    }

    pub(super) fn take_lease(&self) -> bool {
        self.leased.swap(false, Ordering::Relaxed)
    }

    pub(super) fn tell(&self, job: Job, leased: bool) {
        if self.shared.backing.is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            write(&self.shared, &self.context.key, job, leased, &runtime);
        }
    }
}
