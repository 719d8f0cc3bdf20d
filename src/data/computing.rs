//! The computations that run, by key.
//!
//! As with pages: whoever would start one looks into the memory tier once more under the table's lock, and a computation
//! puts its value there before it leaves the table, so that there is one computation at a time without a gap.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::coop::unconstrained;

use super::get::Compute;
use crate::contained::contained;
use crate::error::DataError;
use crate::flight::forget;
use crate::isr::Shared;
use crate::key::CacheKey;
use crate::ledger::{Covered, Generation, Since, View};
use crate::memory::{BackOff, Slot, Value, ValueType};
use crate::policy::freshness::Window;
use crate::policy::life::Life;
use crate::policy::response::Pass;
use crate::policy::route::Dynamic;
use crate::policy::tag::{MAX_TAGS, Tag};
use crate::render::{RENDER, RenderContext, RenderReason};
use crate::store::Version;
use crate::telemetry;

/// The most who wait for one computation.
const MAX_WAITERS: usize = 10_000;

type Outcome = Result<Arc<Value>, DataError>;

/// The computations that run.
#[derive(Default)]
pub(crate) struct Computations(Mutex<HashMap<CacheKey, Arc<Computation>>>);

pub(super) struct Computation {
    began: Since,
    done: watch::Sender<Option<Outcome>>,
}

pub(super) enum Entered {
    /// The value came meanwhile.
    Found(Arc<Value>),
    /// The caller has to spawn the computation.
    Start(Place),
    Join(Place),
    /// As many wait as may.
    Full,
}

/// A place among those who wait for a computation. When all are given up, so may the computation be.
pub(super) struct Place {
    computation: Arc<Computation>,
    done: watch::Receiver<Option<Outcome>>,
}

impl Place {
    fn new(computation: &Arc<Computation>) -> Self {
        Self { computation: Arc::clone(computation), done: computation.done.subscribe() }
    }

    pub(super) fn computation(&self) -> &Arc<Computation> {
        &self.computation
    }

    pub(super) fn began(&self) -> Generation {
        self.computation.began.generation
    }

    pub(super) async fn wait(&mut self, spec: &Spec) -> Outcome {
        let done = self.done.wait_for(Option::is_some);
        match tokio::time::timeout(spec.shared.render_timeout, done).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(spec.abandoned())),
            // Whoever computed it is gone.
            Ok(Err(_)) => Err(spec.abandoned()),
            Err(_) => Err(spec.timed_out()),
        }
    }
}

impl Computations {
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Computation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the computation of a key, or takes the place of who starts it unless `find` has the value by now.
    pub(super) fn enter(&self, key: &[u8], view: &View, find: impl FnOnce() -> Option<Arc<Value>>) -> Entered {
        let mut running = self.lock();
        if let Some(computation) = running.get(key) {
            let full = computation.done.receiver_count() >= MAX_WAITERS;
            return if full { Entered::Full } else { Entered::Join(Place::new(computation)) };
        }
        if let Some(value) = find() {
            return Entered::Found(value);
        }
        Entered::Start(Place::new(&Self::start(&mut running, CacheKey::new(key), view)))
    }

    fn start(running: &mut HashMap<CacheKey, Arc<Computation>>, key: CacheKey, view: &View) -> Arc<Computation> {
        let computation = Arc::new(Computation { began: view.since(), done: watch::Sender::new(None) });
        running.insert(key, Arc::clone(&computation));
        computation
    }

    /// Starts a computation that nobody waits for.
    fn start_behind(&self, key: &CacheKey, view: &View, due: impl FnOnce() -> bool) -> Option<Arc<Computation>> {
        let mut running = self.lock();
        (!running.contains_key(key) && due()).then(|| Self::start(&mut running, key.clone(), view))
    }

    /// Takes a computation out, after something that nobody who enters may miss.
    fn leave(&self, key: &CacheKey, computation: &Arc<Computation>, before: impl FnOnce()) {
        let mut running = self.lock();
        before();
        forget(&mut running, key, computation);
    }

    /// Takes a computation out if nobody waits for it, which nobody can begin to under the lock.
    fn leave_unwatched(&self, key: &CacheKey, computation: &Arc<Computation>) -> bool {
        let mut running = self.lock();
        let unwatched = computation.done.receiver_count() == 0;
        if unwatched {
            forget(&mut running, key, computation);
        }
        unwatched
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// What is computed, for the task that does it.
pub(super) struct Spec {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Box<str>,
    pub(super) key: CacheKey,
    pub(super) value_type: ValueType,
    pub(super) life: Life,
    pub(super) tags: Vec<Tag>,
}

impl Spec {
    pub(super) fn abandoned(&self) -> DataError {
        DataError::Abandoned { data: self.name.to_string() }
    }

    fn timed_out(&self) -> DataError {
        DataError::TimedOut { data: self.name.to_string(), limit: self.shared.render_timeout }
    }

    fn context(&self, reason: RenderReason) -> Arc<RenderContext> {
        // As it is written in logs.
        let name = format!("data {:?}", self.name);
        Arc::new(RenderContext::new(self.shared.id, self.key.clone(), &name, reason, Dynamic::Auto))
    }

    /// In the caller's task, for the caller alone. Without timers it takes as long as it takes.
    pub(super) async fn compute_here(&self, compute: Compute, timers: bool) -> Outcome {
        let context = self.context(RenderReason::First);
        let began = self.shared.ledger.view.since();
        self.shared.counters.data_misses.add();
        let make = RENDER.scope(Arc::clone(&context), self.make(&context, began, compute));
        let value = if timers {
            let ended = tokio::time::timeout(self.shared.render_timeout, make).await;
            ended.unwrap_or_else(|_| Err(self.timed_out()))
        } else {
            make.await
        };
        self.ended(&value, began, false);
        value
    }

    /// In the background, while a stale value is used; unless somebody does, or it is too early after a failure, or there
    /// is no room.
    pub(super) fn compute_behind(
        self: &Arc<Self>,
        old: &Arc<Value>,
        marked: Option<Generation>,
        compute: Compute,
        runtime: &Handle,
    ) {
        let shared = &self.shared;
        if !old.back_off.may_retry(shared.time.monotonic(), marked) {
            return;
        }
        let Ok(permit) = Arc::clone(&shared.regenerations).try_acquire_owned() else {
            return;
        };
        // Under the lock: what has landed meanwhile has put another value here.
        let due =
            || matches!(shared.memory.peek(self.key.as_bytes()), Some(Slot::Value(now)) if Arc::ptr_eq(&now, old));
        if let Some(computation) = shared.computations.start_behind(&self.key, &shared.ledger.view, due) {
            self.spawn(&computation, compute, runtime, Some(permit));
        }
    }

    /// Spawns the computation. `permit`: what background work holds while it runs.
    pub(super) fn spawn(
        self: &Arc<Self>,
        computation: &Arc<Computation>,
        compute: Compute,
        runtime: &Handle,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let reason = if permit.is_some() { RenderReason::Regeneration } else { RenderReason::First };
        let task = Task {
            spec: Arc::clone(self),
            computation: Arc::clone(computation),
            // Made here: the computation belongs to what the caller works for.
            context: self.context(reason),
        };
        let context = Arc::clone(&task.context);
        self.shared.tracker.spawn_on(RENDER.scope(context, task.run(compute, permit)), runtime);
    }

    /// Computes, and seals what came of it.
    async fn make(&self, context: &RenderContext, began: Since, compute: Compute) -> Outcome {
        let place = self.shared.next_render();
        let began_at = self.shared.time.monotonic();
        let body = match contained(async { compute().await }).await {
            Ok(body) => body?,
            Err(panic) => {
                let (data, message) = (self.name.to_string(), panic.message().to_string());
                return Err(DataError::Panicked { data, message });
            }
        };
        let notes = context.end();
        let tags = notes.tags_beside(&self.tags);
        let refused = context.refusal().or((tags.len() > MAX_TAGS).then_some(Pass::Tags));
        let now = self.shared.time.wall();
        let life = self.life.min(notes.used);
        let kept = notes.left(now).map_or(life.expire, |left| left.min(life.expire));
        let names = self.shared.ledger.view.names_of_tags(tags.iter().map(Tag::as_str));
        Ok(Arc::new(Value {
            body,
            made_of: self.value_type,
            life,
            window: Window::new(now, life.fresh().min(kept.into()), kept),
            tags: tags.into(),
            refused,
            begun: place,
            began_at: notes.began_at(began_at),
            covered: Covered::new(names, notes.since(began)),
            back_off: BackOff::default(),
            failure: Mutex::default(),
        }))
    }

    /// The value as it is kept, if it may be and fits.
    fn slot(&self, value: &Arc<Value>) -> Option<Slot> {
        let slot = Slot::Value(Arc::clone(value));
        if !self.shared.memory.admits(&self.key, &slot) {
            telemetry::too_large(&self.shared, &self.name, value);
            return None;
        }
        value.refused.is_none().then_some(slot)
    }

    /// Numbers and events; a value that could be computed once and cannot be any more is tried again later.
    fn ended(&self, outcome: &Outcome, began: Since, behind: bool) {
        match outcome {
            Ok(value) => telemetry::computed(&self.shared, &self.name, value),
            Err(problem) => {
                // The application's texts.
                let told = |tell: fn(&DataError) -> String| {
                    catch_unwind(AssertUnwindSafe(|| tell(problem))).unwrap_or_default()
                };
                let old = match self.shared.memory.peek(self.key.as_bytes()) {
                    Some(Slot::Value(old)) if old.made_of == self.value_type => Some(old),
                    _ => None,
                };
                let (now, noise) = (self.shared.time.monotonic(), self.shared.noise());
                let failures = old.map_or(0, |old| {
                    old.note_failure(&told(DataError::cause));
                    old.back_off.failed(now, noise, began.generation)
                });
                telemetry::computation_failed(&self.shared, &self.name, &told(DataError::chain), behind, failures);
            }
        }
    }
}

/// A computation. Dropped before it has ended (its runtime is gone), it tells those who wait.
struct Task {
    spec: Arc<Spec>,
    computation: Arc<Computation>,
    context: Arc<RenderContext>,
}

impl Task {
    async fn run(self, compute: Compute, permit: Option<OwnedSemaphorePermit>) {
        let behind = permit.is_some();
        let (shared, key) = (&self.spec.shared, &self.spec.key);
        let begun = shared.time.wall();
        let (mut found, mut useless) = (false, None);
        let Some(outcome) = self.supervise(compute, permit, &mut found, &mut useless).await else {
            return;
        };
        if !found {
            self.spec.ended(&outcome, self.computation.began, behind);
        }
        let slot = outcome.as_ref().ok().and_then(|value| self.spec.slot(value));
        if let (Some(Slot::Value(value)), false) = (&slot, found || shared.is_closing()) {
            self.spec.tell_store_of(value, begun, useless);
        }
        shared.computations.leave(key, &self.computation, || {
            if let Some(slot) = slot.filter(|_| !shared.is_closing()) {
                shared.memory.put(key.clone(), slot);
            }
        });
        telemetry::holds(shared);
        self.computation.done.send_replace(Some(outcome));
    }

    /// Works until the value is there, shutdown ends the patience, or nobody waits and there is no room for orphans:
    /// then nobody hears of it.
    async fn supervise(
        &self,
        compute: Compute,
        mut permit: Option<OwnedSemaphorePermit>,
        found: &mut bool,
        useless: &mut Option<Version>,
    ) -> Option<Outcome> {
        let (spec, shared, done) = (&self.spec, &self.spec.shared, &self.computation.done);
        let make = async {
            let there = spec.fetch(useless).await;
            *found = there.is_some();
            if let Some(value) = there {
                return Ok(value);
            }
            // It begins when the store has been asked.
            let asked = shared.backing.is_some();
            let began = if asked { shared.ledger.view.since() } else { self.computation.began };
            spec.make(&self.context, began, compute).await
        };
        let mut work = pin!(tokio::time::timeout(shared.render_timeout, make));
        // What never waits leaves nothing of the task's budget, without which nothing else is heard of.
        let mut stop = pin!(unconstrained(shared.stop.cancelled()));
        let mut left = pin!(unconstrained(done.closed()));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(ended.unwrap_or_else(|_| Err(spec.timed_out()))));
            }
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Err(spec.abandoned())));
            }
            // Until somebody comes while this gives up.
            while left.as_mut().poll(cx).is_ready() {
                left.set(unconstrained(done.closed()));
                if done.receiver_count() > 0 {
                    continue;
                }
                permit = permit.take().or_else(|| Arc::clone(&shared.orphans).try_acquire_owned().ok());
                if permit.is_some() {
                    // The place is held until this is polled again with somebody who waits.
                    return Poll::Pending;
                }
                if shared.computations.leave_unwatched(&spec.key, &self.computation) {
                    return Poll::Ready(None);
                }
            }
            // The places are for what nobody waits for.
            permit = None;
            Poll::Pending
        })
        .await
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.spec.shared.computations.leave(&self.spec.key, &self.computation, || {});
        let abandoned = || Some(Err(self.spec.abandoned()));
        self.computation.done.send_if_modified(|outcome| {
            let open = outcome.is_none();
            if open {
                *outcome = abandoned();
            }
            open
        });
    }
}
