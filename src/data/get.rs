//! What is done about a request for data.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::computing::{Entered, Spec};
use crate::backing::{Backing, Trust};
use crate::clock::WallTime;
use crate::error::DataError;
use crate::isr::{Mode, Shared};
use crate::key::DataKey;
use crate::memory::{Slot, Standing, Value, ValueType};
use crate::policy::life::Life;
use crate::policy::tag::Tag;
use crate::render::{RenderContext, Work};
use crate::testing::rules::{Rule, holds};

/// What computes a value, and writes it down.
pub(super) type Compute = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<Bytes, DataError>> + Send>> + Send>;

/// A request that was checked.
pub(super) struct Wanted<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) name: &'a str,
    pub(super) key: DataKey,
    pub(super) value_type: ValueType,
    pub(super) life: Life,
    pub(super) tags: Vec<Tag>,
}

impl Wanted<'_> {
    /// What the caller says of the data holds for what is made from it.
    pub(super) fn declare(&self) {
        if let Some(context) = RenderContext::current(self.shared.id) {
            context.asks(&self.tags, self.life);
        }
    }

    fn found(&self) -> Option<Arc<Value>> {
        match self.shared.memory.get(self.key.as_bytes())? {
            Slot::Value(value) if value.made_of == self.value_type => Some(value),
            _ => None,
        }
    }

    /// Of a value for this caller, who may want it for a shorter time than whoever computed it.
    pub(super) fn standing(&self, value: &Value, now: WallTime, trust: Trust) -> Standing {
        let window = value.window.within(self.life.fresh(), self.life.expire);
        let standing = Standing::of(&window, &value.covered, now, &self.shared.ledger.view);
        trust.temper(standing, value.began_at)
    }

    /// What is there, if it is fresh.
    pub(super) fn fresh(&self) -> Option<Arc<Value>> {
        if self.shared.mode == Mode::Development || self.life.is_zero() {
            return None;
        }
        let value = self.found()?;
        // Before anything is judged by it.
        let trust = Backing::consult(self.shared);
        (trust != Trust::Old && self.standing(&value, self.shared.time.wall(), trust) == Standing::Fresh)
            .then_some(value)
    }

    /// It is used: for an answer, or for what is being made.
    pub(super) fn hit(&self, value: &Value) {
        self.shared.counters.data_hits.add();
        self.note(value);
    }

    fn note(&self, value: &Value) {
        if let Some(context) = RenderContext::current(self.shared.id) {
            context.used(value);
        }
    }

    /// The value, fresh or stale or computed; not the `useless` one.
    pub(super) async fn get(&self, compute: Compute, useless: Option<Arc<Value>>) -> Result<Arc<Value>, DataError> {
        let value = self.seek(compute, useless).await?;
        self.note(&value);
        Ok(value)
    }

    async fn seek(&self, compute: Compute, useless: Option<Arc<Value>>) -> Result<Arc<Value>, DataError> {
        let shared = self.shared;
        if RenderContext::rendering(shared.id, self.key.as_bytes()) {
            return Err(DataError::Cycle { data: self.name.to_owned() });
        }
        let spec = self.spec();
        let runtime = Handle::try_current().ok().filter(|runtime| shared.has_timers(runtime));
        let useful = |value: &Arc<Value>| useless.as_ref().is_none_or(|useless| !Arc::ptr_eq(useless, value));
        // What is kept is made from nothing old.
        let work = RenderContext::work().filter(|_| holds(Rule::FreshData));
        let mut arrived = None;
        loop {
            let keeps = shared.mode == Mode::Production && !shared.is_closing() && !self.life.is_zero();
            let Some(runtime) = runtime.as_ref().filter(|_| keeps) else {
                return spec.compute_here(compute, runtime.is_some()).await;
            };
            let trust = Backing::verify(shared).await;
            // After that: a mark that it has brought was made before.
            let arrived = *arrived.get_or_insert_with(|| shared.ledger.view.generation());
            let now = shared.time.wall();
            if let Some(value) = self.found().filter(useful) {
                let tired = |marked| value.back_off.tired(shared.time.monotonic(), marked);
                match self.standing(&value, now, trust) {
                    Standing::Fresh => return Ok(value),
                    Standing::Stale(marked) if work.is_none() => {
                        shared.counters.data_stale.add();
                        spec.compute_behind(&value, marked, compute, runtime);
                        return Ok(value);
                    }
                    // There is an old one of what is made: it does for as long as the source is left alone.
                    Standing::Stale(marked) if work == Some(Work::Again) && tired(marked) => {
                        let source = Arc::from(Box::<dyn Error + Send + Sync>::from(value.failure()));
                        return Err(DataError::Computation { data: self.name.to_owned(), source });
                    }
                    Standing::Stale(_) | Standing::Gone => {}
                }
            }
            let find =
                || self.found().filter(useful).filter(|value| self.standing(value, now, trust) == Standing::Fresh);
            let mut place = match shared.computations.enter(self.key.as_bytes(), &shared.ledger.view, find) {
                Entered::Found(value) => return Ok(value),
                Entered::Full => return spec.compute_here(compute, true).await,
                Entered::Start(mut place) => {
                    shared.counters.data_misses.add();
                    spec.spawn(place.computation(), compute, runtime, None);
                    return place.wait(&spec).await;
                }
                Entered::Join(place) => place,
            };
            shared.counters.data_misses.add();
            // Begun since this was asked for, it is as new as one's own would be.
            let own = place.began() >= arrived || !holds(Rule::JudgeJoined);
            let value = match place.wait(&spec).await {
                Ok(value) => value,
                Err(DataError::Abandoned { .. }) => continue,
                Err(problem) if own || matches!(problem, DataError::TimedOut { .. }) => return Err(problem),
                Err(_) => continue,
            };
            let good = match self.standing(&value, shared.time.wall(), Backing::consult(shared)) {
                Standing::Fresh => true,
                Standing::Stale(_) => own || work.is_none(),
                Standing::Gone => own,
            };
            if good && value.made_of == self.value_type {
                return Ok(value);
            }
        }
    }

    fn spec(&self) -> Arc<Spec> {
        Arc::new(Spec {
            shared: Arc::clone(self.shared),
            name: self.name.into(),
            key: self.key.to_key(),
            value_type: self.value_type,
            life: self.life,
            tags: self.tags.clone(),
        })
    }
}
