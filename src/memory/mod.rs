//! The memory tier.
//!
//! - `slot`: what is kept under a key: a page, the note that it is not shared, or a value.
//! - `value`: a cached value.
//! - `standing`: what it is good for, now.
//! - `tier`: slots by key, weighed in bytes.

mod slot;
mod standing;
mod tier;
mod value;

pub(crate) use slot::{BackOff, Page, PassNote, Slot};
pub(crate) use standing::{Standing, gone_because, stale_because};
pub(crate) use tier::{DEFAULT_MEMORY_BYTES, Memory};
pub(crate) use value::{Value, ValueType};
