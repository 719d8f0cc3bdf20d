//! A page as it is kept: complete, filtered, owning its bytes, with the headers of a HIT ready to send.
//!
//! - `filter`: the one list of headers that no entry may have, for every path that stores.
//! - `draft`: makes an [`Entry`] out of a response whose body has ended.
//! - `codec`: an entry as bytes, for stores.
//! - `status`: `Cache-Status` in full.
//! - `answer`: makes responses out of an entry: HIT, STALE, MISS, 304, HEAD.

mod age;
mod answer;
pub(crate) mod codec;
mod draft;
mod filter;
mod status;

pub(crate) use answer::{Served, Wanted, answer, undecided};
pub(crate) use draft::{Draft, Entry, Kept};
pub(crate) use filter::clean;
pub(crate) use status::Told;
