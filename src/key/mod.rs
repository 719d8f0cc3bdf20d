//! What identifies an entry, and the only thing that a render may see (I1).
//!
//! A key is a string of bytes. Its grammar, in which every field has its length in front, so that no two inputs
//! encode equally:
//!
//! ```text
//! key     = namespace pattern nest path inner query host headers cookies
//! field   = length (u16, big-endian) bytes
//! headers = count (u8) { name: field, value: field }      sorted by name
//! cookies = count (u8) { name: field, value: field }      sorted by name
//! ```
//!
//! | field | what | empty |
//! |---|---|---|
//! | namespace | `RouteConfig::namespace` | not set |
//! | pattern | axum's `MatchedPath` | the layer stands where no pattern is known |
//! | nest | axum's `NestedPath` | not nested |
//! | path | path of `OriginalUri`, else of the request; bytes as sent, without scheme and authority | never |
//! | inner | path that the inner service sees, where nesting or a rewrite made it another one | the same |
//! | query | declared parameters, canonical: sorted by name, `%20` for a blank, escapes in upper case | none |
//! | host | lower case, without a default port | not declared, or none sent |
//! | headers, cookies | declared ones that carry one of their declared values | |
//!
//! [`builder`] writes keys, [`parts`] reads them back: a render request is built from the key alone. [`storage`] gives
//! the readable form under which a store would keep the entry.

mod builder;
mod cookie;
mod parts;
mod query;
mod storage;

pub(crate) use builder::{Routing, with_key};
pub(crate) use parts::Parts;
pub use storage::CacheKey;

/// The most bytes of a request that may go into a key.
pub(crate) const MAX_KEY_INPUT: usize = 1_024;
