//! A cached value.

use bytes::Bytes;

use super::slot::BackOff;
use crate::ledger::Covered;
use crate::policy::freshness::Window;
use crate::policy::life::Life;
use crate::policy::response::Pass;
use crate::policy::tag::Tag;

/// What was computed, as MessagePack, with what follows for those who use it.
pub(crate) struct Value {
    pub(crate) body: Bytes,
    /// Of the Rust type: what was written as one type is not read as another.
    pub(crate) type_name: &'static str,
    /// Its own, or a shorter one of a value that it was made from.
    pub(crate) life: Life,
    pub(crate) window: Window,
    /// Its own, and those of the values that it was made from.
    pub(crate) tags: Box<[Tag]>,
    /// Why it is not kept, and nothing that was made from it either.
    pub(crate) refused: Option<Pass>,
    /// The place of its computation among the renders of this process.
    pub(crate) begun: u64,
    pub(crate) covered: Covered,
    pub(crate) back_off: BackOff,
}

impl Value {
    /// Bytes of memory that it keeps, without its key and its own reference counts.
    pub(super) fn weight(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| size_of::<Tag>() + tag.as_str().len()).sum();
        size_of::<Self>() + self.body.len() + tags + self.covered.heap_bytes()
    }
}
