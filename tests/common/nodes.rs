//! Nodes of a cluster: handles that share a store, each with an app of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::store::{Changes, Cursor, Item, Mark, Profile, Put, Stamped, Store, StoreError, StoreKey, Version};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, IsrBuilder, Render, RouteConfig};
use bytes::Bytes;

use crate::common::{settled, until};

/// What pages show: the version that is published.
#[derive(Clone, Default)]
pub struct Source(Arc<AtomicUsize>);

impl Source {
    pub fn publish(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn version(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A node. `/p/{slug}` shows the source's version and has the tag `p:{slug}`; fresh for a minute, kept for an hour.
pub struct Node {
    pub isr: Isr,
    pub app: Router,
    pub source: Source,
    renders: Arc<AtomicUsize>,
}

impl Node {
    pub fn new(store: impl Store, clock: &ManualClock, source: &Source) -> Self {
        Self::with(store, clock, source, |builder| builder.deployment_id("one"))
    }

    pub fn with(
        store: impl Store,
        clock: &ManualClock,
        source: &Source,
        set: impl FnOnce(IsrBuilder) -> IsrBuilder,
    ) -> Self {
        Self::of(set(Isr::builder().clock(clock.clone()).store(store)).build().unwrap(), source)
    }

    /// The same around a handle.
    pub fn of(isr: Isr, source: &Source) -> Self {
        let renders = Arc::new(AtomicUsize::new(0));
        let page = {
            let (renders, source) = (Arc::clone(&renders), source.clone());
            move |Path(slug): Path<String>, render: Render| {
                renders.fetch_add(1, Ordering::SeqCst);
                render.tag(format!("p:{slug}"));
                let text = format!("{slug} version {}", source.version());
                async move { ([("content-type", "text/plain"), ("x-mine", "kept")], text).into_response() }
            }
        };
        let config = RouteConfig::revalidate(Duration::from_secs(60)).expire(Duration::from_secs(3_600));
        let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(config));
        Self { isr, app, source: source.clone(), renders }
    }

    pub fn renders(&self) -> usize {
        self.renders.load(Ordering::SeqCst)
    }

    /// Until what was rendered is in the store, or is not to be.
    pub async fn written(&self) {
        settled(&self.isr).await;
        until(|| {
            let stats = self.isr.stats();
            stats.waiting_writes == 0 && stats.store_writes + stats.store_unwritten >= stats.stored
        })
        .await;
    }
}

/// A store with another profile, and without leases, as a disk is.
pub struct Leaseless<S>(pub S, pub Profile);

#[async_trait::async_trait]
impl<S: Store> Store for Leaseless<S> {
    fn profile(&self) -> Profile {
        self.1.clone()
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key).await
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.0.put(item).await
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        self.0.remove(key, upto).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        self.0.invalidate(marks, fresh).await
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        self.0.changes(after, fresh).await
    }

    async fn hint(&self) {
        self.0.hint().await;
    }
}
