//! Many entries at once: bulk writes, and what they did not write again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::Page;
use super::api::Api;
use super::entries::{self, Kept, check, metadata};
use super::keys::Keys;
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::item::{Item, Put, StoreKey, Version};

/// Up to so many are written one by one.
const FEW: usize = 4;

/// So many times something is tried, with a pause after each that is twice as long as the one before.
const TRIES: u32 = 6;

/// So many pages of a list are read, of a thousand keys each, to see what is there already.
const MOST_PAGES: usize = 1_000;

/// Writes many items.
pub(super) struct Batch<'b> {
    pub(super) api: &'b Api,
    pub(super) keys: &'b Keys,
    pub(super) kept: &'b Kept,
    /// The first pause.
    pub(super) back_off: Duration,
}

/// What is to be written under a key.
struct Pair<'i> {
    key: String,
    item: &'i Item,
}

impl Batch<'_> {
    pub(super) async fn put(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        let mut results: Vec<Option<Result<Put, StoreError>>> = vec![None; items.len()];
        let names: Vec<String> = items.iter().map(|item| self.keys.entry(&item.key)).collect();
        // A key is written once, with what would be there in the end.
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (n, item) in items.iter().enumerate() {
            if let Err(problem) = check(item) {
                results[n] = Some(Err(problem));
                continue;
            }
            match last.get(names[n].as_str()) {
                Some(before) if items[*before].version.is_newer_than(item.version) => {
                    results[n] = Some(Ok(Put::KeptNewer));
                }
                _ => {
                    last.insert(&names[n], n);
                }
            }
        }
        let mut winners: Vec<usize> = last.values().copied().collect();
        winners.sort_unstable();
        let pairs: Vec<Pair<'_>> = winners.iter().map(|n| Pair { key: names[*n].clone(), item: &items[*n] }).collect();
        let written = self.put_pairs(&pairs).await;
        let written: HashMap<&str, _> = pairs.iter().map(|pair| pair.key.as_str()).zip(written).collect();
        let missing = || Err(StoreError::new(StoreErrorKind::Internal, "an item was left out"));
        // What a later one has replaced would have been stored before.
        let of = |name: &String| written.get(name.as_str()).cloned().unwrap_or_else(missing);
        results.into_iter().zip(&names).map(|(result, name)| result.unwrap_or_else(|| of(name))).collect()
    }

    async fn put_pairs(&self, pairs: &[Pair<'_>]) -> Vec<Result<Put, StoreError>> {
        let names: Vec<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
        let there = match self.there(&names).await {
            Ok(there) => there,
            Err(problem) => return pairs.iter().map(|_| Err(problem.clone())).collect(),
        };
        let mut results: Vec<Result<Put, StoreError>> = vec![Ok(Put::Stored); pairs.len()];
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let mut denied = None;
        for (n, pair) in pairs.iter().enumerate() {
            if there.get(&pair.key).is_some_and(|there| there.is_newer_than(pair.item.version)) {
                results[n] = Ok(Put::KeptNewer);
                continue;
            }
            let size = size(pair);
            if !chunk.is_empty() && (chunk.len() >= self.api.bulk.pairs || bytes + size > self.api.bulk.bytes) {
                self.put_chunk(pairs, &chunk, &mut results, &mut denied).await;
                (chunk, bytes) = (Vec::new(), 0);
            }
            chunk.push(n);
            bytes += size;
        }
        self.put_chunk(pairs, &chunk, &mut results, &mut denied).await;
        results
    }

    /// The versions of entries, in the order of their keys.
    pub(super) async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        let names: Vec<String> = keys.iter().map(|key| self.keys.entry(key)).collect();
        match self.there(&names.iter().map(String::as_str).collect::<Vec<_>>()).await {
            Ok(there) => names.iter().map(|name| Ok(there.get(name).copied())).collect(),
            Err(problem) => names.iter().map(|_| Err(problem.clone())).collect(),
        }
    }

    /// The versions of what is there already, by the names of entries.
    async fn there(&self, names: &[&str]) -> Result<HashMap<String, Version>, StoreError> {
        let mut there = HashMap::new();
        if names.len() <= FEW {
            for name in names {
                let version = self.version_there(name).await?;
                there.extend(version.map(|version| ((*name).to_owned(), version)));
            }
            return Ok(there);
        }
        let wanted: HashSet<&str> = names.iter().copied().collect();
        // A deployment's entries have names that begin alike, and so do those with a digest for a name.
        for start in [common(&wanted, "k"), common(&wanted, "d")].into_iter().flatten() {
            let mut cursor: Option<String> = None;
            for _ in 0..MOST_PAGES {
                let page = self.list(&start, cursor.as_deref()).await?;
                for listed in page.keys {
                    if wanted.contains(listed.name.as_str())
                        && let Some(version) = entries::version(&listed.metadata)
                    {
                        there.insert(listed.name, version);
                    }
                }
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(there)
    }

    /// `denied`: why the service takes nothing from us, once it has said so.
    async fn put_chunk(
        &self,
        pairs: &[Pair<'_>],
        chunk: &[usize],
        results: &mut [Result<Put, StoreError>],
        denied: &mut Option<StoreError>,
    ) {
        let mut left = chunk.to_vec();
        let mut tries = Tries::new(self.back_off);
        while !left.is_empty() {
            let problem = match denied.clone() {
                Some(problem) => problem,
                None => match self.write(pairs, &left).await {
                    Ok(failed) => {
                        left.retain(|n| failed.contains(&pairs[*n].key));
                        if left.is_empty() {
                            return;
                        }
                        StoreError::new(StoreErrorKind::Unavailable, "the service has not written it")
                    }
                    Err(problem) => problem,
                },
            };
            if let Err(problem) = tries.again(problem).await {
                for n in left {
                    results[n] = Err(problem.clone());
                }
                if problem.kind() == StoreErrorKind::Denied {
                    *denied = Some(problem);
                }
                return;
            }
        }
    }

    /// Writes some of them, and returns the keys that were not written.
    async fn write(&self, pairs: &[Pair<'_>], some: &[usize]) -> Result<HashSet<String>, StoreError> {
        self.wait_for_turn().await;
        if let [one] = some {
            // As it is: larger ones do not fit into what a gateway takes at once.
            let Pair { key, item } = &pairs[*one];
            let ttl = self.kept.note(item.keep);
            self.api.put(key, &item.bytes, Some(ttl), &metadata(item.version)).await?;
            return Ok(HashSet::new());
        }
        let failed = self.api.put_pairs(self.body(pairs, some).into()).await?;
        Ok(failed.into_iter().collect())
    }

    fn body(&self, pairs: &[Pair<'_>], some: &[usize]) -> Vec<u8> {
        let mut body = String::with_capacity(some.iter().map(|n| size(&pairs[*n])).sum::<usize>() + 2);
        for n in some {
            let Pair { key, item } = &pairs[*n];
            body.push(if body.is_empty() { '[' } else { ',' });
            body.push_str(r#"{"base64":true,"key":""#);
            // Printable ASCII; nothing else needs an escape.
            for letter in key.chars() {
                if matches!(letter, '"' | '\\') {
                    body.push('\\');
                }
                body.push(letter);
            }
            body.push_str(r#"","expiration_ttl":"#);
            body.push_str(&self.kept.note(item.keep).to_string());
            body.push_str(r#","metadata":"#);
            body.push_str(&metadata(item.version));
            body.push_str(r#","value":""#);
            STANDARD.encode_string(&item.bytes, &mut body);
            body.push_str(r#""}"#);
        }
        body.push(']');
        body.into_bytes()
    }

    async fn list(&self, start: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        let mut tries = Tries::new(self.back_off);
        loop {
            self.wait_for_turn().await;
            match self.api.list(start, cursor).await {
                Ok(page) => return Ok(page),
                Err(problem) => tries.again(problem).await?,
            }
        }
    }

    async fn version_there(&self, key: &str) -> Result<Option<Version>, StoreError> {
        let mut tries = Tries::new(self.back_off);
        loop {
            self.wait_for_turn().await;
            match entries::there(self.api, key).await {
                Ok(there) => return Ok(there),
                Err(problem) => tries.again(problem).await?,
            }
        }
    }

    /// Who writes many has time.
    async fn wait_for_turn(&self) {
        while let Some(time) = self.api.pace.wait(tokio::time::Instant::now()) {
            tokio::time::sleep(time).await;
        }
    }
}

/// How often something is tried, and the pauses in between.
struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    fn new(pause: Duration) -> Self {
        Self { left: TRIES - 1, pause }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    ///
    /// If there is none, or it would not help: why the last one failed.
    async fn again(&mut self, problem: StoreError) -> Result<(), StoreError> {
        let may_help = problem.is_transient() || problem.kind() == StoreErrorKind::Corrupt;
        if self.left == 0 || !may_help {
            return Err(problem);
        }
        self.left -= 1;
        tokio::time::sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2);
        Ok(())
    }
}

/// About what a pair takes in a request's body, and not less.
fn size(pair: &Pair<'_>) -> usize {
    pair.item.bytes.len().div_ceil(3) * 4 + 2 * pair.key.len() + 192
}

/// What the names of a kind begin with, all of them: `<namespace>:k:` at least.
fn common(names: &HashSet<&str>, kind: &str) -> Option<String> {
    let mut of_kind = names.iter().filter(|name| name.split(':').nth(1) == Some(kind));
    let first = *of_kind.next()?;
    let length = of_kind.fold(first.len(), |length, name| {
        first.bytes().zip(name.bytes()).take(length).take_while(|(a, b)| a == b).count()
    });
    // Names are ASCII.
    first.get(..length).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_looked_for_by_what_names_begin_with() {
        let names = HashSet::from(["isr:k:v1:one:/a", "isr:k:v1:one:/b", "isr:d:12", "isr:k:v1:one:/"]);
        assert_eq!(common(&names, "k").as_deref(), Some("isr:k:v1:one:/"));
        assert_eq!(common(&names, "d").as_deref(), Some("isr:d:12"));
        assert_eq!(common(&names, "x"), None);
    }
}
