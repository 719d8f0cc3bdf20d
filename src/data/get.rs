//! What is done about a request for data.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::computing::{Entered, Spec};
use crate::error::DataError;
use crate::isr::{Mode, Shared};
use crate::key::DataKey;
use crate::memory::{Slot, Standing, Value};
use crate::policy::life::Life;
use crate::policy::tag::Tag;
use crate::render::RenderContext;
use crate::testing::rules::{Rule, holds};

/// What computes a value, and writes it down.
pub(super) type Compute = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<Bytes, DataError>> + Send>> + Send>;

/// A request that was checked.
pub(super) struct Wanted<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) name: &'a str,
    pub(super) key: DataKey,
    pub(super) type_name: &'static str,
    pub(super) life: Life,
    pub(super) tags: Vec<Tag>,
}

fn standing(shared: &Shared, value: &Value) -> Standing {
    Standing::of(&value.window, &value.covered, shared.time.wall(), &shared.ledger.view)
}

impl Wanted<'_> {
    fn found(&self) -> Option<Arc<Value>> {
        match self.shared.memory.get(self.key.as_bytes())? {
            Slot::Value(value) if value.type_name == self.type_name => Some(value),
            _ => None,
        }
    }

    /// What is there, if it is fresh.
    pub(super) fn fresh(&self) -> Option<Arc<Value>> {
        if self.shared.mode == Mode::Development {
            return None;
        }
        self.found().filter(|value| standing(self.shared, value) == Standing::Fresh)
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
        let runtime = Handle::try_current().ok().filter(|_| shared.has_timers());
        let keeps = shared.mode == Mode::Production && !shared.is_closing() && !self.life.is_zero();
        let Some(runtime) = runtime.filter(|_| keeps) else {
            return spec.compute_here(compute).await;
        };
        let useful = |value: &Arc<Value>| useless.as_ref().is_none_or(|useless| !Arc::ptr_eq(useless, value));
        // What is kept is made from nothing old.
        let strict = RenderContext::makes_something_kept() && holds(Rule::FreshData);
        let mut compute = Some(compute);
        let arrived = shared.ledger.view.generation();
        loop {
            if let Some(value) = self.found().filter(useful) {
                match standing(shared, &value) {
                    Standing::Fresh => return Ok(value),
                    Standing::Stale(marked) if !strict => {
                        shared.counters.data_stale.add();
                        if let Some(compute) = compute {
                            spec.compute_behind(&value, marked, compute, &runtime);
                        }
                        return Ok(value);
                    }
                    Standing::Stale(_) | Standing::Gone => {}
                }
            }
            let find = || self.found().filter(useful).filter(|value| standing(shared, value) == Standing::Fresh);
            let mut place = match shared.computations.enter(self.key.as_bytes(), &shared.ledger.view, find) {
                Entered::Found(value) => return Ok(value),
                Entered::Start(mut place) => {
                    shared.counters.data_misses.add();
                    if let Some(compute) = compute.take() {
                        spec.spawn(&place, compute, &runtime, None);
                    }
                    return place.wait(&spec).await;
                }
                Entered::Join(place) => place,
            };
            shared.counters.data_misses.add();
            let value = place.wait(&spec).await?;
            // Begun since this was asked for, it is as new as one's own would be.
            let own = place.began() >= arrived || !holds(Rule::JudgeJoined);
            let good = match standing(shared, &value) {
                Standing::Fresh => true,
                Standing::Stale(_) => own || !strict,
                Standing::Gone => own,
            };
            if good && value.type_name == self.type_name {
                return Ok(value);
            }
        }
    }

    fn spec(&self) -> Arc<Spec> {
        Arc::new(Spec {
            shared: Arc::clone(self.shared),
            name: self.name.into(),
            key: self.key.to_key(),
            type_name: self.type_name,
            life: self.life,
            tags: self.tags.clone(),
        })
    }
}
