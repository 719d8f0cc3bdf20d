//! The memory tier.
//!
//! - `slot`: what is kept under a key: a page, the note that it is not shared, or a value.
//! - `value`: a cached value.
//! - `tier`: slots by key, weighed in bytes.

mod slot;
mod tier;
mod value;

pub(crate) use slot::{BackOff, NewPage, Page, PassNote, Slot};
pub(crate) use tier::{DEFAULT_MEMORY_BYTES, Memory};
pub(crate) use value::Value;
