//! The memory tier.
//!
//! - `slot`: what is kept under a key: a page, or the note that it is not shared.
//! - `tier`: slots by key, weighed in bytes.

mod slot;
mod tier;

pub(crate) use slot::{NewPage, Page, PassNote, Slot};
pub(crate) use tier::{DEFAULT_MEMORY_BYTES, Memory};
