//! What a render notes about its page.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Extensions;

use crate::backing::Budget;
use crate::clock::{MonoTime, WallTime};
use crate::key::CacheKey;
use crate::ledger::Since;
use crate::memory::Value;
use crate::policy::freshness::Revalidate;
use crate::policy::life::Life;
use crate::policy::response::Pass;
use crate::policy::route::{Dynamic, RouteConfig};
use crate::policy::tag::{MAX_TAGS, Tag};
use crate::testing::rules::{Rule, holds};

tokio::task_local! {
    /// The render that the current task works on, body included: a request that it makes must not wait for itself.
    pub(crate) static RENDER: Arc<RenderContext>;
}

/// Why a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenderReason {
    /// The page is not there: a visitor waits for it.
    First,
    /// The page is stale, or was not shareable some seconds ago: nobody waits.
    Regeneration,
    /// The page is rendered before anybody asked for it.
    Prerender,
    /// A visitor's own request: the route is not cached, or this page is not shared.
    Visitor,
}

/// In the extensions of every request that the cache sends on: an inner `IsrLayer` forwards it, so that the outermost
/// layer with a configuration wins.
#[derive(Clone)]
pub(crate) enum Marker {
    Render(Arc<RenderContext>),
    /// A visitor's own request, after the cache decided not to answer it.
    Visitor(Dynamic),
}

impl Marker {
    /// Marks a request. It also carries the configuration that decided, so that an inner layer looks for a marker only
    /// in requests that carry one.
    pub(crate) fn put(self, extensions: &mut Extensions, route: RouteConfig) {
        extensions.insert(route);
        extensions.insert(self);
    }
}

const DYNAMIC: u8 = 1;
const FORBIDDEN: u8 = 2;

/// What a task works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Something that is not there yet.
    First,
    /// Something of which there is an old one, which is used meanwhile.
    Again,
}

/// Shared by the leader, the extractors and whatever the handler started.
pub(crate) struct RenderContext {
    /// Tells the cache from others, whose keys may be the same.
    handle: u64,
    pub(crate) key: CacheKey,
    pub(crate) pattern: Box<str>,
    pub(crate) reason: RenderReason,
    pub(crate) mode: Dynamic,
    parent: Option<Arc<RenderContext>>,
    /// Of everything that is made in the course of one.
    budget: Arc<Budget>,
    /// Sticky: what was said is not taken back by swallowing a rejection.
    flags: AtomicU8,
    notes: Mutex<Notes>,
}

/// What the handler said about its page.
#[derive(Clone)]
pub(crate) struct Notes {
    tags: Vec<Tag>,
    pub(crate) revalidate: Option<Revalidate>,
    pub(crate) expire: Option<Duration>,
    /// The shortest life of what was used.
    pub(crate) used: Life,
    /// From when on something of what was used may not be used.
    until: Option<WallTime>,
    /// Up to where all that was used is known to be good.
    since: Option<Since>,
    /// When the first of those values was begun.
    began_at: Option<MonoTime>,
    refused: Option<Pass>,
    ended: bool,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            revalidate: None,
            expire: None,
            used: Life::LONGEST,
            until: None,
            since: None,
            began_at: None,
            refused: None,
            ended: false,
        }
    }
}

impl Notes {
    /// All tags of what is made: its own, and what was said and used.
    pub(crate) fn tags_beside(&self, own: &[Tag]) -> Vec<Tag> {
        let mut tags = own.to_vec();
        for tag in &self.tags {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags
    }

    /// Since when what was begun then is good: not before what was used.
    pub(crate) fn since(&self, begin: Since) -> Since {
        match self.since {
            // What was found to be good after the begin is as good as what was made after it.
            Some(used) if used.generation < begin.generation => begin.min(used),
            _ => begin,
        }
    }

    /// When what is made was begun, which counts while nobody can say what was marked elsewhere.
    pub(crate) fn began_at(&self, begin: MonoTime) -> MonoTime {
        self.began_at.map_or(begin, |began_at| began_at.min(begin))
    }

    /// How long what was used may still be used.
    pub(crate) fn left(&self, now: WallTime) -> Option<Duration> {
        Some(now.until(self.until?))
    }

    fn add(&mut self, tag: &Tag) {
        if self.tags.contains(tag) {
            return;
        }
        if self.tags.len() < MAX_TAGS {
            self.tags.push(tag.clone());
        } else {
            // What lacks a tag would outlive its invalidation.
            self.refused = Some(Pass::Tags);
        }
    }

    /// A reason not to keep the page.
    fn refused(&self) -> Option<Pass> {
        let used = [self.used.revalidate, Revalidate::After(self.used.expire)].map(Some);
        let lives = [self.revalidate, self.expire.map(Revalidate::After)].into_iter().chain(used);
        if lives.flatten().any(Revalidate::is_zero) { Some(Pass::NoStore) } else { self.refused }
    }
}

impl RenderContext {
    pub(crate) fn new(handle: u64, key: CacheKey, pattern: &str, reason: RenderReason, mode: Dynamic) -> Self {
        let parent = RENDER.try_with(Arc::clone).ok();
        Self {
            handle,
            key,
            pattern: pattern.into(),
            reason,
            mode,
            budget: parent.as_ref().map_or_else(Arc::default, |parent| Arc::clone(&parent.budget)),
            parent,
            flags: AtomicU8::new(0),
            notes: Mutex::default(),
        }
    }

    /// What the current task makes that is kept, the innermost first: a visitor's own request is not kept, but it may be
    /// part of a page that is.
    fn kept(mut this: impl FnMut(&Arc<Self>) -> bool) {
        let _ = RENDER.try_with(|context| {
            let mut next = Some(context);
            while let Some(context) = next {
                if context.reason != RenderReason::Visitor && this(context) {
                    return;
                }
                next = context.parent.as_ref();
            }
        });
    }

    /// What the current task makes for this handle, if anything.
    pub(crate) fn current(handle: u64) -> Option<Arc<Self>> {
        let mut current = None;
        Self::kept(|context| {
            let found = context.handle == handle;
            if found {
                current = Some(Arc::clone(context));
            }
            found
        });
        current
    }

    /// Whether the current task works on something that is kept, and if so, whether there is an old one of it.
    pub(crate) fn work() -> Option<Work> {
        let mut outermost = None;
        Self::kept(|context| {
            outermost = Some(context.reason);
            false
        });
        outermost.map(|reason| if reason == RenderReason::Regeneration { Work::Again } else { Work::First })
    }

    /// What the current task may still wait for the store.
    pub(crate) fn budget() -> Arc<Budget> {
        RENDER.try_with(|context| Arc::clone(&context.budget)).unwrap_or_default()
    }

    /// Whether the current task renders `key`, or was started by a render of it.
    pub(crate) fn rendering(handle: u64, key: &[u8]) -> bool {
        RENDER
            .try_with(|context| {
                let mut next = Some(context);
                while let Some(context) = next {
                    if context.handle == handle && context.key.as_bytes() == key {
                        return true;
                    }
                    next = context.parent.as_ref();
                }
                false
            })
            .unwrap_or(false)
    }

    pub(super) fn set_dynamic(&self) {
        self.flags.fetch_or(DYNAMIC, Ordering::Relaxed);
    }

    pub(super) fn set_forbidden(&self) {
        self.flags.fetch_or(FORBIDDEN, Ordering::Relaxed);
    }

    /// The handler asked for the visitor's request. Relaxed: the flag is read after the answer of the task that set
    /// it, which orders the two.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & DYNAMIC != 0
    }

    /// It did so where the route forbids it (`Dynamic::Error`).
    pub(crate) fn is_forbidden(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FORBIDDEN != 0
    }

    /// What speaks against keeping the page, so far.
    pub(crate) fn refusal(&self) -> Option<Pass> {
        if self.is_dynamic() {
            return Some(Pass::Dynamic);
        }
        self.lock().refused()
    }

    /// What was said so far.
    pub(crate) fn notes(&self) -> Notes {
        self.lock().clone()
    }

    /// The body has ended: what is said from now on has no effect.
    pub(crate) fn end(&self) -> Notes {
        let mut notes = self.lock();
        notes.ended = true;
        notes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: &'static str, change: impl FnOnce(&mut Notes)) {
        let mut notes = self.lock();
        if notes.ended {
            drop(notes);
            tracing::warn!(target: "axum_isr", route = %self.pattern, what, "said after the end: without effect");
        } else {
            change(&mut notes);
        }
    }

    pub(super) fn tag(&self, name: &str) {
        self.note("tag", |notes| match Tag::new(name) {
            Ok(tag) => notes.add(&tag),
            Err(_) => notes.refused = Some(Pass::Tags),
        });
    }

    /// A value is asked for, in these words: they hold for what is made, whether it comes or not.
    pub(crate) fn asks(&self, tags: &[Tag], life: Life) {
        self.note("data", |notes| {
            if holds(Rule::DataTags) {
                for tag in tags {
                    notes.add(tag);
                }
            }
            notes.used = notes.used.min(life);
        });
    }

    /// A value was used: what is made has its tags, lives no longer, and is hit by whatever was marked since the value
    /// is known to be good.
    pub(crate) fn used(&self, value: &Value) {
        self.note("data", |notes| {
            if holds(Rule::DataTags) {
                value.tags.iter().for_each(|tag| notes.add(tag));
            }
            notes.used = notes.used.min(value.life);
            let expires = value.window.expires_at();
            notes.until = Some(notes.until.map_or(expires, |until| until.min(expires)));
            notes.refused = notes.refused.or(value.refused);
            if holds(Rule::SinceData) {
                let good = Since { generation: value.covered.good(), place: value.covered.place() };
                notes.since = Some(notes.since.map_or(good, |since| since.min(good)));
                let at = value.began_at;
                notes.began_at = Some(notes.began_at.map_or(at, |began_at| began_at.min(at)));
            }
        });
    }

    pub(super) fn revalidate(&self, after: Duration) {
        self.note("revalidate", |notes| {
            let after = Revalidate::After(after);
            notes.revalidate = Some(notes.revalidate.map_or(after, |known| known.min(after)));
        });
    }

    pub(super) fn expire(&self, after: Duration) {
        self.note("expire", |notes| {
            notes.expire = Some(notes.expire.map_or(after, |known| known.min(after)));
        });
    }

    pub(super) fn no_store(&self) {
        self.note("no_store", |notes| notes.refused = notes.refused.or(Some(Pass::NoStore)));
    }
}
