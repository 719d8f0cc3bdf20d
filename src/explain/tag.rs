//! What an invalidation would touch.

use serde::Serialize;

use super::request::TagState;
use crate::error::ConfigError;
use crate::isr::Isr;
use crate::ledger::Target;
use crate::memory::Slot;
use crate::policy::tag::Tag;

/// What an invalidation of a tag would touch in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TagExplanation {
    /// When it was invalidated last.
    #[serde(flatten)]
    pub state: TagState,
    /// Pages in memory that carry it, and remembered passes of such pages.
    pub pages: usize,
    /// Cached data in memory that carries it.
    pub data: usize,
    /// What they weigh together.
    pub bytes: u64,
}

impl Isr {
    /// What an invalidation of this tag would touch in this process. Looks at everything that is held: for people, not for
    /// every request.
    ///
    /// # Errors
    ///
    /// When it is no [`Tag`].
    pub fn explain_tag(&self, tag: impl AsRef<str>) -> Result<TagExplanation, ConfigError> {
        let tag = Tag::new(tag)?;
        let name = self.shared.ledger.view.name(&Target::Tag(tag.clone()));
        let state = TagState::of(&self.shared, &tag);
        let mut explanation = TagExplanation { state, pages: 0, data: 0, bytes: 0 };
        for (key, slot) in self.shared.memory.all() {
            if slot.covered().has(name) {
                match slot {
                    Slot::Page(_) | Slot::Pass(_) => explanation.pages += 1,
                    Slot::Value(_) => explanation.data += 1,
                }
                explanation.bytes += slot.weight(&key);
            }
        }
        Ok(explanation)
    }
}
