//! Pages rendered again, now, without a visitor.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;

use super::handle::Isr;
use super::shared::Shared;
use crate::error::InvalidateError;
use crate::flight::{BACKGROUND_RENDERS, Lead, Purpose};
use crate::key::CacheKey;
use crate::ledger::{Target, Verb, Verdict};
use crate::memory::{Page, Slot};
use crate::policy::tag::Tag;
use crate::render::RenderContext;

/// How often a page is looked at that others render at the same time.
const ATTEMPTS: usize = 3;

/// How far a regeneration is. It goes on whether anybody watches or not.
#[derive(Clone, Debug)]
pub struct Regeneration {
    progress: watch::Receiver<Progress>,
    local_only: bool,
}

/// Pages of a regeneration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Those that this process held when it began, besides one that the caller is rendering.
    pub total: usize,
    /// Those that have been rendered since, by whomever, or are not held any more.
    pub done: usize,
    /// Those that could not be rendered, or are not shareable any more. Where a render failed, the old page is served
    /// until it expires, as after every failed regeneration.
    pub failed: usize,
}

impl Progress {
    /// Whether every page was tried.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done + self.failed >= self.total
    }
}

impl Regeneration {
    /// The store could not be reached: other processes are told when it is back, and have their old pages until then.
    #[must_use]
    pub fn is_local_only(&self) -> bool {
        self.local_only
    }

    /// How far it is now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until it is further than when this last returned; `None` when it is over.
    pub async fn changed(&mut self) -> Option<Progress> {
        self.progress.changed().await.ok()?;
        Some(*self.progress.borrow_and_update())
    }

    /// Waits until every page was tried, or the process shuts down.
    pub async fn finished(mut self) -> Progress {
        // An error is the end of whoever works on it.
        let _ = self.progress.wait_for(Progress::is_finished).await;
        self.progress()
    }
}

impl Isr {
    /// Revalidates a path and renders what this process holds of it again, now, in the background, while visitors get
    /// the old pages: [`revalidate_path`](Self::revalidate_path) without waiting for the first of them.
    ///
    /// At most half as many renders at once (rounded up) as
    /// [`IsrBuilder::max_regenerations`](crate::IsrBuilder::max_regenerations) says, besides those that visitors cause. A
    /// page is rendered by the service that rendered it, or where that has gone, with the connection it was built for,
    /// by the latest one of the same layer and pattern. Looks at every page that is held. Not to be waited for inside of a
    /// render: that may hold one of the few places itself.
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`, or there is no tokio runtime with timers here: then nothing was revalidated.
    pub async fn regenerate_path(&self, path: impl AsRef<str>) -> Result<Regeneration, InvalidateError> {
        self.regenerate(Target::path(path.as_ref())?).await
    }

    /// Revalidates what carries a tag, and renders the pages of it that this process holds again, as
    /// [`regenerate_path`](Self::regenerate_path). Data with the tag is computed again when they use it.
    ///
    /// # Errors
    ///
    /// When it is no [`Tag`], or there is no tokio runtime with timers here: then nothing was revalidated.
    pub async fn regenerate_tag(&self, tag: impl AsRef<str>) -> Result<Regeneration, InvalidateError> {
        self.regenerate(Target::Tag(Tag::new(tag)?)).await
    }

    async fn regenerate(&self, target: Target) -> Result<Regeneration, InvalidateError> {
        let runtime = Handle::try_current().map_err(|_| InvalidateError::NoRuntime)?;
        if !self.shared.has_timers(&runtime) {
            return Err(InvalidateError::NoRuntime);
        }
        let name = self.shared.ledger.view.name(&target);
        let local_only = match self.mark(Verb::Revalidate, vec![target]).await {
            Ok(_) => false,
            // It is in effect here, where the pages are rendered.
            Err(InvalidateError::LocalOnly { .. }) => true,
            Err(problem) => return Err(problem),
        };
        let mut keys = self.shared.memory.keys_of(name);
        // Whoever waits for this from inside of a render would wait for himself.
        keys.retain(|key| !RenderContext::rendering(self.shared.id, key.as_bytes()));
        let (progress, watching) = watch::channel(Progress { total: keys.len(), ..Progress::default() });
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let _ = shared.stop.clone().run_until_cancelled_owned(sweep(&shared, keys, &progress)).await;
        };
        self.shared.tracker.spawn_on(work, &runtime);
        Ok(Regeneration { progress: watching, local_only })
    }
}

async fn sweep(shared: &Arc<Shared>, keys: Vec<CacheKey>, progress: &watch::Sender<Progress>) {
    let mut running = JoinSet::new();
    let note = |done: bool| {
        progress.send_modify(|progress| {
            let count = if done { &mut progress.done } else { &mut progress.failed };
            *count += 1;
        });
    };
    for key in keys {
        let Ok(place) = Arc::clone(&shared.sweeps).acquire_owned().await else {
            return;
        };
        running.spawn(again(Arc::clone(shared), key, place));
        while let Some(ended) = running.try_join_next() {
            note(ended.unwrap_or(false));
        }
    }
    while let Some(ended) = running.join_next().await {
        note(ended.unwrap_or(false));
    }
}

/// Whether a page was rendered since it was marked, or needs not be.
async fn again(shared: Arc<Shared>, key: CacheKey, place: OwnedSemaphorePermit) -> bool {
    let mut place = Some(place);
    for _ in 0..ATTEMPTS {
        if shared.is_closing() {
            return false;
        }
        let page = match shared.memory.peek(key.as_bytes()) {
            Some(Slot::Page(page)) => page,
            Some(_) => return false,
            None => return true,
        };
        if page.covered.verdict(&shared.ledger.view) == Verdict::Good {
            return true;
        }
        let held = match place.take() {
            Some(held) => held,
            None => match Arc::clone(&shared.sweeps).acquire_owned().await {
                Ok(held) => held,
                Err(_) => return false,
            },
        };
        if render(&shared, &page, held).await {
            return match shared.memory.peek(key.as_bytes()) {
                Some(Slot::Page(now)) => !Arc::ptr_eq(&now, &page),
                Some(_) => false,
                None => true,
            };
        }
        // Somebody else does, and may have begun before the mark.
        let limit = shared.render_timeout.saturating_mul(BACKGROUND_RENDERS);
        if tokio::time::timeout(limit, landed(&shared, &key)).await.is_err() {
            return false;
        }
    }
    let now = shared.memory.page(key.as_bytes());
    now.is_none_or(|page| page.covered.verdict(&shared.ledger.view) == Verdict::Good)
}

/// Waits until no render of a page is in the air.
async fn landed(shared: &Shared, key: &CacheKey) {
    loop {
        let mut landed = std::pin::pin!(shared.landed.notified());
        // Before the look: what lands after it is not missed.
        landed.as_mut().enable();
        if !shared.flights.has(key.as_bytes()) {
            return;
        }
        landed.await;
    }
}

/// Renders a page and waits for it; `false`, and the place is free again, if somebody else does, or has.
async fn render(shared: &Arc<Shared>, page: &Arc<Page>, place: OwnedSemaphorePermit) -> bool {
    let Some(recipe) = shared.renderers.recipe(&page.maker, &page.key) else {
        return true;
    };
    let due = || shared.memory.page(page.key.as_bytes()).is_some_and(|now| Arc::ptr_eq(&now, page));
    let Some(flight) = shared.flights.start(&page.key, shared.ledger.view.since(), due) else {
        return false;
    };
    let purpose = Purpose::Regenerate { old: Arc::clone(page), head: page.maker.is_for_head(), waits: true };
    let lead = Lead::new(Arc::clone(shared), flight, page.key.clone(), recipe, purpose);
    // An error is a runtime that ends.
    let _ = lead.spawn(&Handle::current(), Some(place)).await;
    true
}
