//! What the checks share: two nodes of a cluster, entries and marks.

use std::cell::Cell;
use std::error::Error as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::fixture::Fixture;
use crate::store::{Item, Mark, Profile, Put, Store, StoreError, StoreKey, Version};

type Made = Pin<Box<dyn Future<Output = Fixture>>>;

/// Makes fixtures.
pub(super) struct Setup {
    fixture: Rc<dyn Fn(usize) -> Made>,
    late: Rc<Cell<Duration>>,
}

impl Setup {
    pub(super) fn new(fixture: Rc<dyn Fn(usize) -> Made>) -> Self {
        Self { fixture, late: Rc::default() }
    }

    /// Of the last fixture.
    pub(super) fn late(&self) -> Rc<Cell<Duration>> {
        Rc::clone(&self.late)
    }

    pub(super) async fn nodes(&self) -> Nodes {
        self.nodes_with(65_536).await
    }

    pub(super) async fn nodes_with(&self, max_marks: usize) -> Nodes {
        let fixture = (self.fixture)(max_marks).await;
        let (a, b) = (Arc::clone(&fixture.stores[0]), Arc::clone(&fixture.stores[1]));
        let profile = a.profile();
        let patience = profile.late + fixture.patience;
        self.late.set(profile.late);
        Nodes { a, b, profile, patience, _fixture: fixture }
    }
}

/// Two nodes that share a namespace.
pub(super) struct Nodes {
    pub(super) a: Arc<dyn Store>,
    pub(super) b: Arc<dyn Store>,
    pub(super) profile: Profile,
    /// For what takes its time.
    patience: Duration,
    _fixture: Fixture,
}

impl Nodes {
    /// What one has written, another can read at once.
    pub(super) fn exact(&self) -> bool {
        self.profile.late.is_zero()
    }

    pub(super) fn both(&self) -> [&Arc<dyn Store>; 2] {
        [&self.a, &self.b]
    }

    pub(super) fn item(&self, key: &str, version: Version, body: &[u8]) -> Item {
        let keep = self.profile.min_keep.max(Duration::from_secs(3_600));
        Item { key: StoreKey::of(key), version, bytes: entry(version, body), keep }
    }

    /// Puts from the first node what must be stored.
    pub(super) async fn stores(&self, item: &Item, why: &str) {
        let put = self.a.put(item).await.works("put");
        assert_eq!(put, Put::Stored, "{why}: {:?} of {:?}", item.version, item.key);
    }

    /// Both nodes find this under the key; on a late store, in time.
    pub(super) async fn find(&self, key: &StoreKey, expected: Option<&Bytes>, why: &str) {
        for (node, store) in self.both().into_iter().enumerate() {
            let deadline = Instant::now() + self.patience;
            loop {
                let found = store.get(key).await.works("get");
                if found.as_ref() == expected {
                    break;
                }
                let again = !self.exact() && Instant::now() < deadline;
                assert!(again, "{why}: handle {node}, key {key:?}: {}", difference(expected, found.as_ref()));
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }

    /// Asks until the answer is what is waited for.
    pub(super) async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(Instant::now() < deadline, "{what}: not in {:?}", self.patience);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What differs, without a megabyte of it.
fn difference(expected: Option<&Bytes>, found: Option<&Bytes>) -> String {
    let shown = |bytes: &Bytes| {
        let version = Version::read(bytes);
        format!("{} bytes, {version:?}", bytes.len())
    };
    match (expected, found) {
        (None, Some(found)) => format!("expected nothing, got {}", shown(found)),
        (Some(expected), None) => format!("expected {}, got nothing", shown(expected)),
        (Some(expected), Some(found)) => {
            let at = expected.iter().zip(found).position(|(a, b)| a != b);
            format!("expected {}, got {}; first different byte: {at:?}", shown(expected), shown(found))
        }
        (None, None) => String::new(),
    }
}

/// An entry's bytes: eight of anything, the version, the body.
pub(super) fn entry(version: Version, body: &[u8]) -> Bytes {
    [&b"anything"[..], &version.to_bytes(), body].concat().into()
}

pub(super) fn version(epoch: u64, stamp: u64, begun: u64) -> Version {
    Version { epoch, stamp, begun }
}

/// A mark from its canonical text.
pub(super) fn mark(text: &str) -> Mark {
    let mark = Mark::from_text(text);
    assert_eq!(mark.to_text(), text, "the check is wrong: not a canonical text");
    mark
}

/// So many marks on tags, to be expired.
pub(super) fn tags(name: &str, count: usize) -> Vec<Mark> {
    (0..count).map(|n| mark(&format!("et{name}:{n}"))).collect()
}

/// Microseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// An answer that must not be an error.
pub(super) trait Works<T> {
    #[track_caller]
    fn works(self, what: &str) -> T;
}

impl<T> Works<T> for Result<T, StoreError> {
    #[track_caller]
    fn works(self, what: &str) -> T {
        self.unwrap_or_else(|error| panic!("{what} failed: {error}: {}", error.source().unwrap()))
    }
}
