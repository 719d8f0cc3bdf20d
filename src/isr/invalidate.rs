//! Invalidation on demand.

use std::panic::catch_unwind;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backing;
use crate::error::InvalidateError;
use crate::isr::Isr;
use crate::ledger::{Mark, Target, Verb};
use crate::policy::tag::Tag;

/// In place of a time that cannot be told: a hundred years.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// What an invalidation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalidated {
    /// What happens to the pages.
    pub verb: Verb,
    /// How many things were marked: tags, paths, … Not how many pages carry them, which nobody counts.
    pub marks: usize,
    /// The place of the marks in the order of all: microseconds since the Unix epoch, or one more than the mark before.
    pub stamp: u64,
    /// From when on all processes know it; `None` where there is no other.
    everywhere: Option<Instant>,
}

impl Invalidated {
    /// Waits until the marks are in effect in every process of the cluster: read your own writes through any of them.
    ///
    /// In this process they are in effect when the verb has returned; in the others
    /// [`IsrBuilder::coherence`](crate::IsrBuilder::coherence) and what the store needs later, which is what this waits
    /// for. Without a store there is no other one, and it returns at once.
    pub async fn everywhere(&self) {
        let Some(at) = self.everywhere else { return };
        // A runtime without timers says so by a panic, and there is no other way to ask.
        if Handle::try_current().is_ok()
            && let Ok(timer) = catch_unwind(|| tokio::time::sleep_until(at))
        {
            return timer.await;
        }
        // Outside of tokio there is nothing else that wakes.
        let (done, wait) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            drop(done);
        });
        let _ = wait.await;
    }
}

/// What is invalidated takes effect before a method returns: from then on an expired page is never served, and a
/// revalidated one never as a HIT, nor as a MISS that others may keep. It costs the same for one page and for a hundred
/// thousand: pages are not touched, but judged when somebody asks for them.
///
/// *Revalidate*: visitors get the old page while a new one is rendered; *expire*: the old page is not served again, who
/// asks next waits for the new one. CDNs and browsers in front are not reached: what they keep, they keep for as long
/// as the headers allow.
///
/// With a store, the mark is in its ledger when a method returns, and every process that shares it obeys it
/// [`IsrBuilder::coherence`](crate::IsrBuilder::coherence) later. A call goes on when nobody waits for it any more.
///
/// Every method may be called from any task. It fails with [`InvalidateError::Invalid`] if what it names cannot be: then
/// nothing was invalidated; and with [`InvalidateError::LocalOnly`] if the store cannot be reached: then it is in effect in
/// this process, and is sent to the others when the store is back.
impl Isr {
    /// Revalidates what carries a tag: pages, and cached data.
    ///
    /// # Errors
    ///
    /// When it is no [`Tag`].
    pub async fn revalidate_tag(&self, tag: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Revalidate, vec![Target::Tag(Tag::new(tag)?)]).await
    }

    /// Expires what carries a tag: pages, and cached data.
    ///
    /// # Errors
    ///
    /// When it is no [`Tag`].
    pub async fn expire_tag(&self, tag: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Expire, vec![Target::Tag(Tag::new(tag)?)]).await
    }

    /// Revalidates what carries one of several tags, in one step.
    ///
    /// # Errors
    ///
    /// When one of them is no [`Tag`].
    pub async fn revalidate_tags<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Revalidate, targets(tags)?).await
    }

    /// Expires what carries one of several tags, in one step.
    ///
    /// # Errors
    ///
    /// When one of them is no [`Tag`].
    pub async fn expire_tags<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Expire, targets(tags)?).await
    }

    /// Revalidates the pages of a path: with every query, variant, host and spelling. Of nested routers it is the whole
    /// path. What follows a `?` is not read.
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`.
    pub async fn revalidate_path(&self, path: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Revalidate, vec![Target::path(path.as_ref())?]).await
    }

    /// Expires the pages of a path; as [`revalidate_path`](Self::revalidate_path).
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`.
    pub async fn expire_path(&self, path: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Expire, vec![Target::path(path.as_ref())?]).await
    }

    /// Revalidates the pages of a path and of all below it: `/a` covers `/a` and `/a/b`, not `/ab`; `/` covers
    /// every page.
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`, has a query, or more than 32 segments.
    pub async fn revalidate_prefix(&self, prefix: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Revalidate, vec![Target::prefix(prefix.as_ref())?]).await
    }

    /// Expires the pages of a path and of all below it; as [`revalidate_prefix`](Self::revalidate_prefix).
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`, has a query, or more than 32 segments.
    pub async fn expire_prefix(&self, prefix: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Expire, vec![Target::prefix(prefix.as_ref())?]).await
    }

    /// Revalidates the pages of a route, by its pattern as axum's `MatchedPath` has it: `/posts/{slug}`. A layer around a
    /// whole router does not know the patterns of its pages, which are then not found by them.
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`.
    pub async fn revalidate_route(&self, pattern: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Revalidate, vec![Target::route(pattern.as_ref())?]).await
    }

    /// Expires the pages of a route; as [`revalidate_route`](Self::revalidate_route).
    ///
    /// # Errors
    ///
    /// When it does not begin with `/`.
    pub async fn expire_route(&self, pattern: impl AsRef<str>) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Expire, vec![Target::route(pattern.as_ref())?]).await
    }

    /// Revalidates everything: all pages, and all cached data.
    ///
    /// # Errors
    ///
    /// [`InvalidateError::LocalOnly`] if the store cannot be reached.
    pub async fn revalidate_all(&self) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Revalidate, vec![Target::Everything]).await
    }

    /// Expires everything: all pages, and all cached data.
    ///
    /// # Errors
    ///
    /// [`InvalidateError::LocalOnly`] if the store cannot be reached.
    pub async fn expire_all(&self) -> Result<Invalidated, InvalidateError> {
        self.mark(Verb::Expire, vec![Target::Everything]).await
    }

    /// One step of the ledger: all or nothing.
    pub(crate) async fn mark(&self, verb: Verb, targets: Vec<Target>) -> Result<Invalidated, InvalidateError> {
        let marks: Vec<Mark> = targets.into_iter().map(|target| Mark { verb, target }).collect();
        let shared = &self.shared;
        crate::telemetry::invalidated(shared, verb, &marks);
        let Some(backing) = &shared.backing else {
            let stamp = shared.ledger.invalidate(&marks, shared.time.wall());
            return Ok(Invalidated { verb, marks: marks.len(), stamp, everywhere: None });
        };
        let count = marks.len();
        match backing::mark(shared, backing, marks.into()).await {
            Ok(at) => {
                let now = Instant::now();
                let everywhere = now.checked_add(backing.everywhere()).or_else(|| now.checked_add(NEVER));
                Ok(Invalidated { verb, marks: count, stamp: at.stamp, everywhere })
            }
            Err(problem) => Err(InvalidateError::LocalOnly { problem: problem.chain() }),
        }
    }
}

fn targets<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Result<Vec<Target>, InvalidateError> {
    tags.into_iter().map(|tag| Ok(Target::Tag(Tag::new(tag)?))).collect()
}
