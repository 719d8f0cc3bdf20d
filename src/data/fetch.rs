//! What the store has of a value.

use std::sync::{Arc, Mutex};

use super::computing::Spec;
use crate::backing::{Job, Seek, write};
use crate::clock::{MonoTime, WallTime};
use crate::entry::codec::{Kind, Made, ValueRecord};
use crate::ledger::Verdict;
use crate::memory::{BackOff, Value};
use crate::policy::freshness::Freshness;
use crate::policy::tag::Tag;
use crate::store::Version;
use crate::telemetry;

impl Spec {
    /// A value that another process has computed, or an earlier one, if it is as good as one that is computed now.
    ///
    /// `useless`: what is there, if it is of no use to anybody.
    pub(super) async fn fetch(&self, useless: &mut Option<Version>) -> Option<Arc<Value>> {
        let mut seek = Seek::new(&self.shared, &self.key)?;
        let value = self.find(&mut seek).await;
        *useless = seek.useless;
        value
    }

    async fn find(&self, seek: &mut Seek<'_>) -> Option<Arc<Value>> {
        let shared = &self.shared;
        let frame = seek.get(Kind::Value).await?;
        let record = match ValueRecord::read(&frame.record, &shared.scope, self.key.as_bytes()) {
            Ok(record) => record,
            Err(damage) => return seek.damaged(damage),
        };
        // What lacks a tag that it has by now would outlive its invalidation.
        if record.type_name != self.value_type.name() || self.tags.iter().any(|tag| !record.tags.contains(tag)) {
            return None;
        }
        let names = shared.ledger.view.names_of_tags(record.tags.iter().map(Tag::as_str));
        let covered = seek.judge(frame.made.place, names).await?;
        let window = record.window.within(self.life.fresh(), self.life.expire);
        if window.at(shared.time.wall()) != Freshness::Fresh || covered.verdict(&shared.ledger.view) != Verdict::Good {
            return None;
        }
        telemetry::found_data(shared, &self.name);
        Some(Arc::new(Value {
            body: frame.body,
            made_of: self.value_type,
            life: record.life,
            window: record.window,
            tags: record.tags.into(),
            refused: None,
            begun: shared.next_render(),
            began_at: MonoTime(0),
            covered,
            back_off: BackOff::default(),
            failure: Mutex::default(),
        }))
    }

    /// It was computed here, and is kept. What began before the ledger was read is nobody else's.
    pub(super) fn tell_store_of(&self, value: &Arc<Value>, begun: WallTime, over: Option<Version>) {
        if let Some(place) = value.covered.place()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let made = Made { place, begun: begun.0 };
            let job = Job::Value { value: Arc::clone(value), made, over };
            write(&self.shared, &self.key, job, false, &runtime);
        }
    }
}
