//! A store with faults.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::faults::{Faults, Operation, Way};
use crate::store::{
    Changes, Claim, Cursor, Item, Lease, Mark, Note, Profile, Put, Stamped, Store, StoreError, StoreKey, Version,
};

/// Another store, with faults that [`Faults`] switches on and off while it is in use. Without a fault it does what the
/// other one does.
///
/// ```
/// use axum_isr::store::{Store, StoreErrorKind, StoreKey};
/// use axum_isr::testing::{Fault, FaultyStore, MemoryStore, Operation};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), axum_isr::store::StoreError> {
/// let (store, faults) = FaultyStore::new(MemoryStore::new());
/// faults.set(Operation::Get, Fault::Error(StoreErrorKind::Unavailable));
/// assert!(store.get(&StoreKey::of("a")).await.is_err());
/// faults.clear();
/// assert_eq!(store.get(&StoreKey::of("a")).await?, None);
/// assert_eq!(faults.calls(Operation::Get), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store. Clones, if it can be cloned, have the same faults.
    pub fn new(store: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { store, faults: faults.clone() }, faults)
    }

    /// What an invalidation would have said that was forgotten.
    async fn pretended(&self, fresh: u64) -> Result<Stamped, StoreError> {
        let mut changes = self.store.changes(None, fresh).await?;
        while changes.more {
            changes = self.store.changes(Some(&changes.cursor), fresh).await?;
        }
        Ok(Stamped { epoch: changes.epoch, stamp: changes.stamp.saturating_add(1) })
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    fn profile(&self) -> Profile {
        self.store.profile()
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let call = self.faults.begin(Operation::Get);
        let found = match call.before().await? {
            Way::Do => self.store.get(key).await?,
            Way::Pretend => None,
        };
        call.after().await?;
        let shown = call.shown(key, found.clone());
        if let Some(bytes) = &found {
            self.faults.saw(key, bytes);
        }
        Ok(shown)
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        let call = self.faults.begin(Operation::Put);
        let put = match call.before().await? {
            Way::Do => self.store.put(item).await?,
            Way::Pretend => Put::Stored,
        };
        self.faults.saw(&item.key, &item.bytes);
        call.after().await?;
        Ok(put)
    }

    async fn put_many(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        let call = self.faults.begin(Operation::PutMany);
        let results = match call.before().await {
            Ok(Way::Do) => self.store.put_many(items).await,
            Ok(Way::Pretend) => vec![Ok(Put::Stored); items.len()],
            Err(error) => return vec![Err(error); items.len()],
        };
        for item in items {
            self.faults.saw(&item.key, &item.bytes);
        }
        match call.after().await {
            Ok(()) => results,
            Err(error) => vec![Err(error); items.len()],
        }
    }

    async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        let call = self.faults.begin(Operation::Versions);
        let versions = match call.before().await {
            Ok(Way::Do) => self.store.versions(keys).await,
            Ok(Way::Pretend) => vec![Ok(None); keys.len()],
            Err(error) => return vec![Err(error); keys.len()],
        };
        match call.after().await {
            Ok(()) => versions,
            Err(error) => vec![Err(error); keys.len()],
        }
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        let call = self.faults.begin(Operation::Remove);
        if call.before().await? == Way::Do {
            self.store.remove(key, upto).await?;
        }
        call.after().await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        let call = self.faults.begin(Operation::Invalidate);
        let stamped = match call.before().await? {
            Way::Do => self.store.invalidate(marks, fresh).await?,
            Way::Pretend => self.pretended(fresh).await?,
        };
        call.after().await?;
        Ok(stamped)
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        let call = self.faults.begin(Operation::Changes);
        let way = call.before().await?;
        let mut changes = self.store.changes(after, fresh).await?;
        if way == Way::Pretend {
            changes.marks.clear();
        }
        call.after().await?;
        Ok(changes)
    }

    async fn hint(&self) {
        let call = self.faults.begin(Operation::Hint);
        if !matches!(call.before().await, Ok(Way::Do)) {
            call.hang().await;
        }
        self.store.hint().await;
        if call.after().await.is_err() {
            call.hang().await;
        }
    }

    async fn lease(&self, claim: &Claim) -> Result<Lease, StoreError> {
        let call = self.faults.begin(Operation::Lease);
        let lease = match call.before().await? {
            Way::Do => self.store.lease(claim).await?,
            Way::Pretend => Lease::Mine,
        };
        call.after().await?;
        Ok(lease)
    }

    async fn release(&self, key: &StoreKey, token: u64, note: Note, keep: Duration) -> Result<(), StoreError> {
        let call = self.faults.begin(Operation::Release);
        if call.before().await? == Way::Do {
            self.store.release(key, token, note, keep).await?;
        }
        call.after().await
    }
}
