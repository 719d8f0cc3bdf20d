//! A cached value.

use std::any::{TypeId, type_name};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::slot::BackOff;
use crate::clock::MonoTime;
use crate::ledger::Covered;
use crate::policy::freshness::Window;
use crate::policy::life::Life;
use crate::policy::response::Pass;
use crate::policy::tag::Tag;

/// So many characters of a failure's text are kept, of up to four bytes each.
const MAX_FAILURE: usize = 128;

/// What was computed, as MessagePack, with what follows for those who use it.
pub(crate) struct Value {
    pub(crate) body: Bytes,
    pub(crate) made_of: ValueType,
    /// Its own, or a shorter one of a value that it was made from.
    pub(crate) life: Life,
    pub(crate) window: Window,
    /// Its own, and those of the values that it was made from.
    pub(crate) tags: Box<[Tag]>,
    /// Why it is not kept, and nothing that was made from it either.
    pub(crate) refused: Option<Pass>,
    /// The place of its computation among the renders of this process.
    pub(crate) begun: u64,
    /// When that was; for what came from a store, the origin of the clock.
    pub(crate) began_at: MonoTime,
    pub(crate) covered: Covered,
    pub(crate) back_off: BackOff,
    /// Why the last attempt to compute it again came to nothing.
    pub(crate) failure: Mutex<Option<Box<str>>>,
}

/// The Rust type of a value: what was written as one type is not read as another. The name is for other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValueType {
    id: TypeId,
    name: &'static str,
}

impl ValueType {
    pub(crate) fn of<T: 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }

    pub(crate) fn name(self) -> &'static str {
        self.name
    }
}

impl Value {
    /// As text: an error is the application's, and a value may be dropped under a lock.
    pub(crate) fn note_failure(&self, problem: &str) {
        let text: String = problem.chars().take(MAX_FAILURE).collect();
        *self.lock() = Some(text.into());
    }

    pub(crate) fn failure(&self) -> String {
        self.lock().as_deref().unwrap_or_default().to_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<str>>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory that it keeps, without its key and its own reference counts.
    pub(super) fn weight(&self) -> usize {
        let tags = Tag::heap_bytes(&self.tags);
        size_of::<Self>() + 4 * MAX_FAILURE + self.body.len() + tags + self.covered.heap_bytes()
    }
}
