//! The store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::api::{Api, MAX_BYTES};
use super::batch::Batch;
use super::entries::{self, Kept, MIN_KEEP};
use super::keys::Keys;
use super::ledger::Ledger;
use super::options::CloudflareKvOptions;
use crate::ledger::Mark;
use crate::store::changes::{Changes, Cursor, Stamped};
use crate::store::contract::Store;
use crate::store::error::StoreError;
use crate::store::item::{Item, Put, StoreKey, Version};
use crate::store::profile::Profile;

/// Pages and invalidations in Cloudflare KV. Needs the feature `cloudflare-kv`.
///
/// Clones share their connections and their log of invalidations.
///
/// ```no_run
/// use std::time::Duration;
///
/// use axum_isr::{Isr, store::CloudflareKv};
///
/// # fn example(token: String) -> Result<(), Box<dyn std::error::Error>> {
/// let store = CloudflareKv::gateway("https://isr-kv.example.workers.dev", token).namespace("shop").build()?;
/// let isr = Isr::builder()
///     .store(store)
///     .coherence(Duration::from_secs(60))
///     .store_deadlines(Duration::from_secs(1), Duration::from_millis(500), Duration::from_secs(5))
///     .build()?;
/// # drop(isr); Ok(())
/// # }
/// ```
///
/// # Two ways there
///
/// **A gateway**, a Worker with a KV binding (`examples/kv-gateway` in the repository; 70 lines), is the way for
/// applications that serve visitors: it answers near to where it is asked, and is limited only as KV is.
///
/// **The REST API** takes 1,200 calls in five minutes for one account, and nothing at all for five minutes after more: the
/// store makes 300 calls at once and three a second from then on, and what is beyond that fails at once. It is the way to
/// fill KV at a deployment ([`put_many`](Store::put_many) waits for its turn), and not one for many processes, or for
/// visitors who wait. The token needs the permission *Workers KV Storage: Edit*, on this account alone.
///
/// Redirects are not followed, and the token is in no log, no error and no `Debug`. A pause that the service asks for
/// (`retry-after`) is kept by all calls of the store: they fail at once; `put_many` waits.
///
/// # What it does not do
///
/// KV is *eventually* consistent: what one process has written others may not see for up to 60 s
/// ([`late`](CloudflareKvOptions::late)).
///
/// - **An invalidation** is in effect at once in the process that made it, and in the others after the cache's `coherence`
///   and 60 s more, which [`everywhere`](crate::Invalidated::everywhere) waits for. Each process looks for news twice in
///   each `coherence`: a list of KV, which costs ten times what a read does. Set it to 60 s, as above.
/// - **Marks and renders** are ordered by the time at the service, which is known to a second or two at first and to about
///   one later. A mark never spares what began before it; it may hit what others began a few seconds after it, and what
///   the process that made it renders until it has looked for news again: such pages are rendered once more elsewhere.
/// - **Which entry stays** is decided by a look before the write: of two that are written at the same time the older may
///   stay, until it is rendered again. Whether an entry may be *served* is decided by the marks, as ever.
/// - **One write a second to a key**: a second one fails. Invalidations of one process within a second are written
///   together, so one that comes soon after another takes up to a second, besides the way to the service: give writes a
///   deadline of some seconds ([`store_deadlines`](crate::IsrBuilder::store_deadlines)).
/// - **No leases**: each process renders for itself.
/// - **No hints**: processes learn of marks by asking only.
///
/// # A lost ledger
///
/// The marks of each process are in one object, `<namespace>:ledger:<process>`, which stays for a day longer than entries
/// do ([`retention`](CloudflareKvOptions::retention)). Its own is written again if it is gone. When that of another process
/// is gone before its time, and for longer than twice 60 s, or `<namespace>:ledger:epoch` is, the ledger begins anew, and
/// nothing that was stored before is trusted any more. When several processes begin a new ledger at the same time, some
/// of them begin twice.
#[derive(Clone)]
pub struct CloudflareKv {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) api: Arc<Api>,
    pub(super) keys: Keys,
    pub(super) kept: Kept,
    pub(super) ledger: Ledger,
    pub(super) back_off: Duration,
    pub(super) late: Duration,
}

impl CloudflareKv {
    /// Over the REST API, with an API token. To be followed by [`build`](CloudflareKvOptions::build).
    pub fn rest(
        account_id: impl Into<String>,
        namespace_id: impl Into<String>,
        token: impl Into<String>,
    ) -> CloudflareKvOptions {
        CloudflareKvOptions::rest(account_id.into(), namespace_id.into(), token.into())
    }

    /// Over a gateway Worker, with its token: `https://…`, or `http://` on this machine. To be followed by
    /// [`build`](CloudflareKvOptions::build).
    pub fn gateway(url: impl Into<String>, token: impl Into<String>) -> CloudflareKvOptions {
        CloudflareKvOptions::gateway(url.into(), token.into())
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

/// Without the token.
impl fmt::Debug for CloudflareKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudflareKv")
            .field("url", &self.inner.api.base)
            .field("namespace", &self.inner.keys.namespace())
            .field("writer", &format_args!("{:016x}", self.inner.ledger.writer()))
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for CloudflareKv {
    fn profile(&self) -> Profile {
        Profile::new("cloudflare-kv")
            .with_late(self.inner.late)
            .with_min_keep(MIN_KEEP)
            .with_max_bytes(MAX_BYTES)
            .with_remembers(self.inner.ledger.retention())
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let Inner { api, keys, .. } = &*self.inner;
        Ok(api.get(&keys.entry(key)).await?.map(Bytes::from))
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        let Inner { api, keys, kept, .. } = &*self.inner;
        entries::put(api, keys, kept, item).await
    }

    /// As many at once as the service takes. What was not written is tried again, and waits for the service: minutes, if
    /// it asks for that. One key twice is written once.
    async fn put_many(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        let Inner { api, keys, kept, back_off, .. } = &*self.inner;
        Batch { api, keys, kept, back_off: *back_off }.put(items).await
    }

    /// From lists, which tell of a thousand entries at once. Waits as [`put_many`](Store::put_many) does.
    async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        let Inner { api, keys: names, kept, back_off, .. } = &*self.inner;
        Batch { api, keys: names, kept, back_off: *back_off }.versions(keys).await
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        let Inner { api, keys, .. } = &*self.inner;
        entries::remove(api, keys, key, upto).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        let Inner { api, keys, kept, ledger, .. } = &*self.inner;
        ledger.invalidate(api, keys, kept, marks, fresh).await
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        let Inner { api, keys, kept, ledger, .. } = &*self.inner;
        ledger.changes(api, keys, kept, after, fresh).await
    }
}
