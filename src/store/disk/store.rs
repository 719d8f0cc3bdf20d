//! The store: what it is asked is done off the runtime's workers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::MAX_ENTRY;
use super::entries::{Entries, Sync};
use super::ledger::{Ledger, Rules};
use crate::store::{
    Changes, Cursor, Item, Mark, Profile, Put, Stamped, Store, StoreError, StoreErrorKind, StoreKey, Version,
};

/// Entries and a ledger in a folder of a local file system, which the processes of one machine share.
///
/// A clone is the same store; what a setter sets counts for the value that it returns.
///
/// # Guarantees
///
/// An entry is whole or not there. Of several that are put under one key the newest stays, whoever puts them. When
/// [`invalidate`](Store::invalidate) has returned, its marks are on the disk; see
/// [`unsynced_ledger`](Self::unsynced_ledger).
///
/// # Limits
///
/// - Local file systems only: it relies on locks between processes and on renames that are one step, which network file
///   systems promise and do not keep.
/// - The folder is the application's own. Whoever may write to it may write what visitors get.
/// - An entry has at most 64 MiB.
/// - Methods need a tokio runtime; without one they return an error.
#[derive(Clone)]
pub struct DiskStore {
    shared: Arc<Shared>,
    max_bytes: u64,
    entries: Sync,
    rules: Rules,
}

struct Shared {
    folder: PathBuf,
    entries: Entries,
    /// Waited for without a thread: of the calls that need it one at a time has one.
    ledger: Arc<Mutex<Ledger>>,
}

impl DiskStore {
    /// The store in a folder, which is made if it is not there, for the process's user alone. Blocks for as long as that
    /// takes; what is in the folder is looked through later.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or written to, or is something else.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = std::path::absolute(dir.as_ref()).map_err(super::problem::failed("find", dir.as_ref()))?;
        let entries = Entries::open(&folder)?;
        let ledger = Arc::new(Mutex::new(Ledger::new(&folder)));
        Ok(Self {
            shared: Arc::new(Shared { folder, entries, ledger }),
            max_bytes: 1 << 30,
            entries: Sync::Never,
            rules: Rules { max_marks: 65_536, sync: Sync::Always },
        })
    }

    /// The most bytes of all entries' files, by their lengths. Above it, those that were not used for longest are removed.
    /// By default 1 GiB.
    ///
    /// Each process keeps the bound by what it knows: what others have written it learns from time to time.
    #[must_use]
    pub fn max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// The most marks that the ledger keeps apart. Older ones are folded into marks on everything. By default 65,536.
    #[must_use]
    pub fn max_marks(self, max_marks: usize) -> Self {
        Self { rules: Rules { max_marks, ..self.rules }, ..self }
    }

    /// Makes each entry durable before [`put`](Store::put) returns, which takes as long as the disk takes. By default
    /// entries of the last seconds may be lost with the machine's power; they are rendered again.
    #[must_use]
    pub fn synced_entries(self) -> Self {
        Self { entries: Sync::Always, ..self }
    }

    /// Does not wait until the ledger is on the disk. [`invalidate`](Store::invalidate) is faster, and marks of the last
    /// seconds may be lost with the machine's power: pages that they named are then served again. A process that is
    /// killed loses none either way.
    #[must_use]
    pub fn unsynced_ledger(self) -> Self {
        Self { rules: Rules { sync: Sync::Never, ..self.rules }, ..self }
    }

    /// On a thread for work that blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = runtime()?;
        let shared = Arc::clone(&self.shared);
        let done = runtime.spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|error| {
            let kind = if error.is_panic() { StoreErrorKind::Internal } else { StoreErrorKind::Unavailable };
            Err(StoreError::new(kind, error))
        })
    }

    async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger, &Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut ledger = Arc::clone(&self.shared.ledger).lock_owned().await;
        self.blocking(move |shared| work(&mut ledger, shared)).await
    }

    /// Looks through the files in the background, if that is due.
    fn scan(&self) -> Result<(), StoreError> {
        let runtime = runtime()?;
        if self.shared.entries.index.begin_scan(self.max_bytes) {
            let (scan, max_bytes) = (Scan(Arc::downgrade(&self.shared)), self.max_bytes);
            // Nobody waits for it.
            drop(runtime.spawn_blocking(move || scan.run(max_bytes)));
        }
        Ok(())
    }
}

/// A scan that is due or running. It ends when the store has gone.
struct Scan(Weak<Shared>);

impl Scan {
    fn run(self, max_bytes: u64) {
        if let Some(shared) = self.0.upgrade() {
            // One more than this is somebody else.
            shared.entries.scan(|| Arc::strong_count(&shared) > 1);
            shared.entries.evict(max_bytes);
        }
    }
}

/// Also when the runtime ends before it has begun.
impl Drop for Scan {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.entries.index.give_up();
        }
    }
}

fn runtime() -> Result<Handle, StoreError> {
    Handle::try_current().map_err(|error| StoreError::new(StoreErrorKind::Internal, error))
}

#[async_trait]
impl Store for DiskStore {
    fn profile(&self) -> Profile {
        let bound = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        Profile::new("disk").with_newest_wins().with_max_bytes(MAX_ENTRY.min(bound))
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        self.scan()?;
        let key = key.clone();
        self.blocking(move |shared| shared.entries.get(&key)).await
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.scan()?;
        let (item, sync, max_bytes) = (item.clone(), self.entries, self.max_bytes);
        let most = self.profile().max_bytes;
        self.blocking(move |shared| {
            let put = shared.entries.put(&item, sync, most)?;
            shared.entries.evict(max_bytes);
            Ok(put)
        })
        .await
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        let key = key.clone();
        self.blocking(move |shared| shared.entries.remove(&key, upto)).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        let (marks, rules) = (marks.to_vec(), self.rules);
        self.with_ledger(move |ledger, shared| ledger.invalidate(&marks, fresh, rules, &shared.entries)).await
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        let (after, rules) = (after.cloned(), self.rules);
        self.with_ledger(move |ledger, shared| ledger.changes(after.as_ref(), fresh, rules, &shared.entries)).await
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("dir", &self.shared.folder)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}
