//! Entries and the ledger in a folder.
//!
//! ```text
//! entries/ab/cd/abcd…   an entry: the name is the digest of its key
//! locks/ab              who compares and replaces an entry of entries/ab holds this
//! tmp/                  files that are being written: `<process>-<random>`, locked by their writer
//! ledger                the marks
//! ledger.lock           who reads or writes the ledger holds this; never renamed or removed
//! ```
//!
//! - `store`: the store itself; everything below blocks and is called off the runtime's workers.
//! - `entries`: get, put, remove, and the scan of all files.
//! - `frame`: what stands in front of an entry's bytes.
//! - `index`: which files there are, and which of them to evict.
//! - `ledger`: reading, appending to and compacting the log.
//! - `marks`: what the log says, and folding.
//! - `record`: the log's bytes.
//! - `temp`: files that are being written.
//! - `lock`: locks between processes.
//! - `files`: how files are opened and made.
//! - `problem`: what the file system said, as a store's error.

mod entries;
mod files;
mod frame;
mod index;
mod ledger;
mod lock;
mod marks;
mod problem;
mod record;
mod store;
mod temp;

pub use store::DiskStore;

/// The most bytes of an entry. What claims to be longer is not read.
const MAX_ENTRY: usize = 64 << 20;
