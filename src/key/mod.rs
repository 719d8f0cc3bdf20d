//! What identifies an entry, and the only thing that a render may see (I1).
//!
//! A key is a string of bytes. Its grammar, in which every part has its length in front, so that no two inputs encode
//! equally:
//!
//! ```text
//! key     = start  namespace pattern nest path inner query host  headers cookies
//! start   = 7 × length, that of the namespace, the pattern, …; number of headers (u8); number of cookies (u8)
//! headers = { length name length value }      sorted by name
//! cookies = { length name length value }      sorted by name
//! length  = u16, big-endian
//! ```
//!
//! | field | what | empty |
//! |---|---|---|
//! | namespace | `RouteConfig::namespace` | not set |
//! | pattern | axum's `MatchedPath` | the layer stands where no pattern is known |
//! | nest | axum's `NestedPath`, where there is an inner path | not nested |
//! | path | path of `OriginalUri`, else of the request; bytes as sent, without scheme and authority | never |
//! | inner | path that the inner service sees, where nesting or a rewrite made it another one | the same |
//! | query | declared parameters, canonical: sorted by name, `%20` for a blank, escapes in upper case | none |
//! | host | lower case, without a default port | not declared, or none sent |
//! | headers, cookies | declared ones that carry one of their declared values | |
//!
//! [`builder`] writes keys, [`parts`] reads them back: a render request is built from the key alone. [`storage`] gives
//! the readable form under which a store would keep the entry, [`scope`] what keeps deployments apart there.

mod builder;
mod cookie;
mod data;
mod parts;
mod query;
mod scope;
mod storage;
#[cfg(test)]
mod tests;

pub(crate) use builder::{KeyBuffer, build, of_parts, original_uri, owned, routed};
pub(crate) use data::{DataKey, name as data_name};
pub(crate) use parts::Parts;
#[cfg(feature = "admin")]
pub(crate) use parts::shown_path;
pub(crate) use scope::{Chosen, Ids, checked as check_id};
pub(crate) use storage::{CacheKey, hex};

/// The fields that every key has.
const FIELDS: usize = 7;

/// Their lengths, and the numbers of headers and cookies.
const START: usize = 2 * FIELDS + 2;

/// The most bytes of a request that may go into a key.
pub(crate) const MAX_KEY_INPUT: usize = 1_024;
