//! Entries, one at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::answer::Metadata;
use super::api::{Api, MAX_BYTES};
use super::keys::Keys;
use crate::key::hex;
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::item::{Item, Put, StoreKey, Version};

/// The shortest life that the service takes.
pub(super) const MIN_KEEP: Duration = Duration::from_secs(60);

/// Longer than anybody keeps a page.
const LONGEST_KEEP: u64 = 10 * 365 * 24 * 3_600;

/// How long entries were to be kept, at most: marks have to be kept as long. Seconds.
#[derive(Default)]
pub(super) struct Kept(AtomicU64);

impl Kept {
    pub(super) fn note(&self, keep: Duration) -> u64 {
        let ttl = ttl(keep);
        self.0.fetch_max(ttl, Ordering::Relaxed);
        ttl
    }

    pub(super) fn longest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whole seconds, and not less than the service takes.
pub(super) fn ttl(keep: Duration) -> u64 {
    let whole = keep.as_secs().saturating_add(u64::from(keep.subsec_nanos() > 0));
    whole.clamp(MIN_KEEP.as_secs(), LONGEST_KEEP)
}

/// The version of an entry, as it stands beside it.
pub(super) fn metadata(version: Version) -> String {
    format!(r#"{{"v":"{}"}}"#, hex(&version.to_bytes()))
}

/// What [`metadata`] wrote; what has none is replaced.
pub(super) fn version(metadata: &Metadata) -> Option<Version> {
    let text = metadata.v.as_deref().filter(|text| text.len() == 48 && text.is_ascii())?;
    let number = |n: usize| u64::from_str_radix(text.get(16 * n..16 * n + 16)?, 16).ok();
    Some(Version { epoch: number(0)?, stamp: number(1)?, begun: number(2)? })
}

/// Whether it is larger than the service takes.
pub(super) fn check(item: &Item) -> Result<(), StoreError> {
    if item.bytes.len() <= MAX_BYTES {
        return Ok(());
    }
    let problem = format!("expected at most {MAX_BYTES} bytes, got {}", item.bytes.len());
    Err(StoreError::new(StoreErrorKind::TooLarge, problem))
}

pub(super) async fn there(api: &Api, key: &str) -> Result<Option<Version>, StoreError> {
    Ok(api.metadata(key).await?.as_ref().and_then(version))
}

pub(super) async fn put(api: &Api, keys: &Keys, kept: &Kept, item: &Item) -> Result<Put, StoreError> {
    check(item)?;
    let key = keys.entry(&item.key);
    if there(api, &key).await?.is_some_and(|there| there.is_newer_than(item.version)) {
        return Ok(Put::KeptNewer);
    }
    let ttl = kept.note(item.keep);
    api.put(&key, &item.bytes, Some(ttl), &metadata(item.version)).await?;
    Ok(Put::Stored)
}

pub(super) async fn remove(api: &Api, keys: &Keys, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
    let key = keys.entry(key);
    match api.metadata(&key).await? {
        None => Ok(()),
        Some(there) if version(&there).is_some_and(|there| there.is_newer_than(upto)) => Ok(()),
        Some(_) => api.remove(&key).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_back_from_its_metadata() {
        let there = Version { epoch: u64::MAX, stamp: 7, begun: 0 };
        let read = |text: &str| version(&serde_json::from_str(text).expect("metadata"));
        assert_eq!(read(&metadata(there)), Some(there));
        for other in ["{}".to_owned(), r#"{"v":"7"}"#.to_owned(), format!(r#"{{"v":"{}"}}"#, "x".repeat(48))] {
            assert_eq!(read(&other), None, "{other}");
        }
        assert!(metadata(there).len() <= 1_024);
    }

    /// R46
    #[test]
    fn a_life_is_as_long_as_the_service_takes() {
        for (keep, seconds) in [
            (Duration::ZERO, 60),
            (Duration::from_secs(60), 60),
            (Duration::from_millis(60_001), 61),
            (Duration::from_secs(30 * 86_400), 2_592_000),
            (Duration::MAX, LONGEST_KEEP),
        ] {
            assert_eq!(ttl(keep), seconds, "{keep:?}");
        }
    }
}
