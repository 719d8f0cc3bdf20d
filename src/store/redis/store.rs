//! The store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::entries::{Entries, MAX_BYTES};
use super::keys::Keys;
use super::ledger::Ledger;
use super::options::RedisOptions;
use crate::ledger::Mark;
use crate::store::changes::{Changes, Cursor, Stamped};
use crate::store::contract::Store;
use crate::store::error::StoreError;
use crate::store::item::{Item, Put, StoreKey, Version};
use crate::store::lease::{Claim, Lease, Note};
use crate::store::profile::Profile;

/// So many entries of a batch are on their way at once: the connection sends them without waiting for answers.
const AT_ONCE: usize = 64;

/// Pages and invalidations in Redis or Valkey: one server, or a cluster. Needs the feature `redis`; Redis 6.2 or later.
///
/// Clones share their connections: one for entries and one for the ledger, over which hints come too.
///
/// ```no_run
/// use axum_isr::{Isr, store::RedisStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::options().namespace("shop").connect("redis://127.0.0.1").await?;
/// let isr = Isr::builder().store(store).build()?;
/// # drop(isr); Ok(())
/// # }
/// ```
///
/// # While the server is out of reach
///
/// An application starts without it: connecting tries once, and goes on in the background, as it does whenever a
/// connection is lost, after 50 ms, 100 ms, … 2 s. No call waits for that: meanwhile calls fail at once. A server that
/// does not answer costs a call the [response timeout](RedisOptions::response_timeout), 100 ms. After three such calls in
/// a row another connection is tried.
///
/// # What operators should know
///
/// **Memory.** Set `maxmemory`, and `maxmemory-policy volatile-lfu`. Every entry has a time to live and may be evicted;
/// the ledger has none, and with this policy stays. Under `allkeys-*` it may be evicted, which is safe and slow: see the
/// next point. It is small: 20,000 marks take 2.3 MB. With `noeviction`, a full server refuses entries *and* marks.
///
/// **A lost ledger** (a restart without persistence, `FLUSHALL`, an eviction, an old backup) begins anew with another
/// epoch, or is seen to have lost its end by the first process that asks: then nothing that is stored is trusted any
/// more, and every page is rendered once again. Nothing old is served for fresh.
///
/// **A failover** may lose marks that were acknowledged, because replicas follow the primary with a delay. A process
/// repeats its own marks of the last minute over each new connection, before it reads. So a mark is lost only if the
/// primary and the process that made it are lost together. With [`replicas(n)`](RedisOptions::replicas) a mark counts as
/// noted only when `n` replicas have it, and it is lost only if these are lost too (or a replica without it is
/// promoted). `appendfsync everysec` may lose a second when a server restarts: the same holds.
///
/// **Permissions.** `GET`, `SET`, `DEL`, `EXISTS`, `GETRANGE`, `RENAME`, `PEXPIRE`, `EVAL`, `EVALSHA`, `ZADD`, `ZREM`,
/// `ZCARD`, `ZSCORE`, `ZRANGEBYSCORE`, `ZREVRANGE`, `TIME`, `HELLO`; `WAIT` for replicas; `CLUSTER` in a cluster;
/// `PUBLISH` and `SUBSCRIBE` on `{<namespace>}:hint` (without them, processes learn of marks by asking only). Keys:
/// `*}<namespace>:*` and `{<namespace>}:ledger`.
///
/// **Proxies** that spread keys over servers do not do: marks need one place and one order.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) keys: Keys,
    pub(super) entries: Entries,
    pub(super) ledger: Ledger,
    /// Host and port.
    pub(super) address: String,
}

impl RedisStore {
    /// Connects to a server, with the default settings: `redis://[user][:password@]host[:port][/database]`, or
    /// `rediss://…` over TLS, which needs the feature `redis-tls`.
    ///
    /// Waits for one try to connect, at most 250 ms a connection. Connections belong to the runtime that this is called
    /// in, and end with it.
    ///
    /// # Errors
    ///
    /// When the URL cannot be read, and outside a tokio runtime. Not when the server is out of reach: the store is there,
    /// and its calls fail until the server is.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::options().connect(url).await
    }

    /// Connects to a cluster, with the default settings. Some nodes are enough: they know the others.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and without a URL.
    pub async fn connect_cluster<U>(urls: impl IntoIterator<Item = U>) -> Result<Self, StoreError>
    where
        U: AsRef<str>,
    {
        Self::options().connect_cluster(urls).await
    }

    /// Settings, to be followed by [`connect`](RedisOptions::connect).
    pub fn options() -> RedisOptions {
        RedisOptions::new()
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

/// Without credentials.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.inner.address)
            .field("namespace", &self.inner.keys.namespace())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for RedisStore {
    fn profile(&self) -> Profile {
        Profile::new("redis")
            .with_newest_wins()
            .with_leases()
            .with_min_keep(Duration::from_millis(1))
            .with_max_bytes(MAX_BYTES)
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let got = self.inner.entries.get(&self.inner.keys, key).await?;
        Ok(got.map(Bytes::from))
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.inner.entries.put(&self.inner.keys, item).await
    }

    async fn put_many(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        let puts: Vec<_> = items.iter().map(|item| self.put(item)).collect();
        stream::iter(puts).buffered(AT_ONCE).collect().await
    }

    async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        let asks: Vec<_> = keys.iter().map(|key| self.inner.entries.version(&self.inner.keys, key)).collect();
        stream::iter(asks).buffered(AT_ONCE).collect().await
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        self.inner.entries.remove(&self.inner.keys, key, upto).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        self.inner.ledger.invalidate(&self.inner.keys, marks, fresh).await
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        self.inner.ledger.changes(&self.inner.keys, after, fresh).await
    }

    async fn hint(&self) {
        self.inner.ledger.hint().await;
    }

    async fn lease(&self, claim: &Claim) -> Result<Lease, StoreError> {
        self.inner.entries.lease(&self.inner.keys, claim).await
    }

    async fn release(&self, key: &StoreKey, token: u64, note: Note, keep: Duration) -> Result<(), StoreError> {
        self.inner.entries.release(&self.inner.keys, key, token, note, keep).await
    }
}
