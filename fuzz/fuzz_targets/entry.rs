//! A store that returns anything: the answer is the page that was stored, or one that is rendered.
//!
//! The first byte of the input says what the store returns: the rest of it as it is, the same with a checksum that fits,
//! or the entry of a page in which every three bytes of the rest replace one (its place, and the byte), with a checksum
//! that fits.
#![no_main]

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum_isr::store::{Changes, Cursor, Item, Mark, Profile, Put, Stamped, Store, StoreError, StoreKey, Version};
use axum_isr::testing::{ManualClock, MemoryStore};
use axum_isr::{Isr, RouteConfig};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// Where the checksum stands.
const CRC: std::ops::Range<usize> = 44..48;

/// What may be kept of a page without being asked to.
const SHAREABLE: [u16; 6] = [200, 203, 301, 308, 404, 410];

/// A ledger like any other, and one entry under every key.
#[derive(Clone)]
struct Planted {
    ledger: MemoryStore,
    entry: Arc<Mutex<Option<Bytes>>>,
}

impl Planted {
    fn entry(&self) -> Option<Bytes> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn plant(&self, entry: Option<Bytes>) {
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }
}

#[async_trait]
impl Store for Planted {
    fn profile(&self) -> Profile {
        self.ledger.profile()
    }

    async fn get(&self, _: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        Ok(self.entry())
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        self.plant(Some(item.bytes.clone()));
        Ok(Put::Stored)
    }

    async fn remove(&self, _: &StoreKey, _: Version) -> Result<(), StoreError> {
        Ok(())
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        self.ledger.invalidate(marks, fresh).await
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        self.ledger.changes(after, fresh).await
    }
}

struct World {
    runtime: Runtime,
    clock: ManualClock,
    store: Planted,
    /// What was written for the page.
    valid: Bytes,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let clock = ManualClock::new();
        let ledger = MemoryStore::new().clock(clock.clone());
        let store = Planted { ledger, entry: Arc::default() };
        let mut world = Self { runtime, clock, store, valid: Bytes::new() };
        let (state, _) = world.ask();
        assert_eq!(state, "MISS");
        world.valid = world.store.entry().expect("a page that was written");
        world
    }

    /// A new process is asked for the page: the state of the answer, and its body.
    fn ask(&self) -> (String, Bytes) {
        self.runtime.block_on(async {
            let isr = Isr::builder().clock(self.clock.clone()).store(self.store.clone()).deployment_id("d");
            let isr = isr.build().expect("a handle");
            let page = || async { ([("content-type", "text/plain"), ("x-mine", "kept")], "rendered") };
            let config = RouteConfig::revalidate(Duration::from_secs(60));
            let app = Router::new().route("/p", get(page)).route_layer(isr.layer(config));
            let request = Request::get("/p").body(Body::empty()).expect("a request");
            let Ok(response) = app.oneshot(request).await;
            // Whatever somebody has put into the store.
            assert!(SHAREABLE.contains(&response.status().as_u16()), "{}", response.status());
            for name in [header::SET_COOKIE, header::CONNECTION, header::TRANSFER_ENCODING] {
                assert!(!response.headers().contains_key(&name), "{name}");
            }
            let state = response.headers().get("x-vinext-cache").and_then(|state| state.to_str().ok());
            let state = state.unwrap_or_default().to_owned();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            isr.shutdown(Duration::from_secs(5)).await;
            (state, body)
        })
    }
}

fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= CRC.end {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&bytes[..CRC.start]);
        sum.update(&bytes[CRC.end..]);
        bytes[CRC].copy_from_slice(&sum.finalize().to_be_bytes());
    }
    bytes
}

fn patched(valid: &[u8], patches: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for patch in patches.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([patch[0], patch[1]])) % bytes.len();
        bytes[at] = patch[2];
    }
    bytes
}

thread_local!(static WORLD: OnceCell<World> = const { OnceCell::new() });

fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else { return };
    WORLD.with(|world| {
        let world = world.get_or_init(World::new);
        let planted = Bytes::from(match how % 3 {
            0 => rest.to_vec(),
            1 => checked(rest.to_vec()),
            _ => checked(patched(&world.valid, rest)),
        });
        world.store.plant(Some(planted.clone()));
        let (state, body) = world.ask();
        match &*state {
            "HIT" | "STALE" => assert!(planted.ends_with(&body), "{state}: {body:?} of {planted:?}"),
            "MISS" => assert_eq!(body, "rendered"),
            _ => panic!("{state:?} of {planted:?}"),
        }
    });
});
