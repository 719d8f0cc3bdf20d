//! The trait.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::changes::{Changes, Cursor, Stamped};
use super::error::StoreError;
use super::item::{Item, Put, StoreKey, Version};
use super::lease::{Claim, Lease, Note};
use super::profile::Profile;
use crate::ledger::Mark;

/// Entries by key, and one ledger of invalidations for all of them. One `Store` value is one *namespace*, shared by every
/// deployment scope.
///
/// # Atomicity
///
/// Only where a method names it.
///
/// # Ordering
///
/// Marks are ordered by their stamps, entries of one epoch by their [`Version`]. Calls that overlap may take effect in
/// any order; a call that begins after another has returned sees what that did (entries: unless [`Profile::late`] is
/// above zero).
///
/// # Durability
///
/// Of entries none is promised. A mark is durable, as the store's own documentation defines it, when
/// [`invalidate`](Self::invalidate) returns.
///
/// # Errors
///
/// An error means "not known", never "absent" and never "not invalidated". After an error of a method that writes, what
/// it should have written may be there or not, and a repetition does no harm.
///
/// # Cancel safety
///
/// A future may be dropped at any await: as after an error.
///
/// # Time
///
/// A method may take as long as it takes: the crate gives each call a deadline, and stops calling a store that fails again
/// and again. A method must not block the thread.
///
/// # Wrappers
///
/// Whoever wraps a store forwards every method, those with a default too.
///
/// `testing::store_conformance!` makes a test of each of these promises.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Limits, and which optional promises hold. The same for as long as the store is there.
    fn profile(&self) -> Profile;

    /// The bytes that were stored last, or `None`.
    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError>;

    /// Stores an entry, all of it or nothing. Keeps what is there if that is [newer](Version::is_newer_than): in one
    /// atomic step if [`Profile::newest_wins`], else it may read, compare and write. Gone after [`Item::keep`], or earlier.
    ///
    /// What is there counts by the version that stands in its bytes, see [`Version::read`]; bytes without one are
    /// replaced.
    async fn put(&self, item: &Item) -> Result<Put, StoreError>;

    /// One result per item, in their order. By default one after the other.
    async fn put_many(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            results.push(self.put(item).await);
        }
        results
    }

    /// The versions of the entries under these keys, in their order; `None` where there is none, or where what is there has
    /// no version. By default each entry is read.
    async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        let mut versions = Vec::with_capacity(keys.len());
        for key in keys {
            versions.push(self.get(key).await.map(|bytes| bytes.and_then(|bytes| Version::read(&bytes))));
        }
        versions
    }

    /// Removes an entry, unless it is [newer](Version::is_newer_than) than `upto`.
    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError>;

    /// Notes marks in the ledger. One atomic step gives all of them one stamp: the larger of the last one plus one, and
    /// the time in microseconds since the Unix epoch.
    ///
    /// The ledger keeps the newest stamp of each mark. It may forget a mark only by *folding* it: the same step raises
    /// [`Mark::everything`] of its verb to its stamp. A ledger that is empty begins with the epoch `fresh`. The cache calls
    /// it with one mark at least.
    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError>;

    /// What a reader at `after` has not seen: each mark whose [`invalidate`](Self::invalidate) returned before this call
    /// began ([`Profile::late`] before it), once, oldest first, read atomically with the epoch, and from where marks are
    /// written to. All marks if `after` is `None` or of another epoch; [`Changes::more`] if there are more than were
    /// returned, but never some of the marks of one stamp without the others: what is rendered from then on carries
    /// [`Changes::stamp`], and no mark that is told later may be as old as that.
    ///
    /// An empty ledger begins with the epoch `fresh`. An `after` that lies beyond the newest stamp proves that the ledger
    /// has lost its end: it is replaced, in one step, by an empty one with the epoch `fresh`.
    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError>;

    /// Returns when the ledger may have changed. Only a hint, which may get lost. By default it never returns.
    async fn hint(&self) {
        std::future::pending::<()>().await;
    }

    /// Takes the lease on making something, or prolongs it for the same token. By default it is granted.
    ///
    /// To a claim that has [waited](Claim::waited) a note that its last holder left is told instead; to others a note
    /// says nothing, and ends when one of them is granted the lease.
    async fn lease(&self, claim: &Claim) -> Result<Lease, StoreError> {
        let _ = claim;
        Ok(Lease::Mine)
    }

    /// Gives a lease back if `token` holds it, and leaves a note for those who wait, for as long as `keep`. By default
    /// nothing happens.
    async fn release(&self, key: &StoreKey, token: u64, note: Note, keep: Duration) -> Result<(), StoreError> {
        let _ = (key, token, note, keep);
        Ok(())
    }
}

/// Shared stores are stores.
#[async_trait]
impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    fn profile(&self) -> Profile {
        (**self).profile()
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        (**self).get(key).await
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        (**self).put(item).await
    }

    async fn put_many(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        (**self).put_many(items).await
    }

    async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        (**self).versions(keys).await
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        (**self).remove(key, upto).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        (**self).invalidate(marks, fresh).await
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        (**self).changes(after, fresh).await
    }

    async fn hint(&self) {
        (**self).hint().await;
    }

    async fn lease(&self, claim: &Claim) -> Result<Lease, StoreError> {
        (**self).lease(claim).await
    }

    async fn release(&self, key: &StoreKey, token: u64, note: Note, keep: Duration) -> Result<(), StoreError> {
        (**self).release(key, token, note, keep).await
    }
}
