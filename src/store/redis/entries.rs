//! Entries, and leases on making them.

use std::time::Duration;

use redis::RedisResult;
use redis::aio::ConnectionLike;
use tokio::runtime::Handle;

use super::dial::{Entries as Connection, OneServer, WholeCluster};
use super::error::corrupt;
use super::keys::{self, Keys};
use super::link::{Link, random};
use super::script::{self, By};
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::item::{Item, Put, StoreKey, Version};
use crate::store::lease::{Claim, Lease, Note};

/// The most that a server takes as one value.
pub(super) const MAX_BYTES: usize = 512 * 1024 * 1024;
/// An entry that is being written has this long to be moved to its place.
const TEMPORARY_MS: u64 = 10_000;
/// Longer than anybody keeps a page, and far from what a server takes.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// Where entries are.
pub(super) enum Entries {
    One(Link<OneServer>),
    Cluster(Link<WholeCluster>),
}

impl Entries {
    pub(super) async fn on_server(dial: OneServer, runtime: &Handle) -> Self {
        Self::One(Link::start(dial, runtime).await)
    }

    pub(super) async fn on_cluster(dial: WholeCluster, runtime: &Handle) -> Self {
        Self::Cluster(Link::start(dial, runtime).await)
    }

    fn held(&self) -> Result<(Connection, u64), StoreError> {
        Ok(match self {
            Self::One(link) => {
                let held = link.held()?;
                (Connection::One(held.connection), held.generation)
            }
            Self::Cluster(link) => {
                let held = link.held()?;
                (Connection::Cluster(held.connection), held.generation)
            }
        })
    }

    fn judge<T>(&self, generation: u64, result: RedisResult<T>) -> Result<T, StoreError> {
        match self {
            Self::One(link) => link.judge(generation, result),
            Self::Cluster(link) => link.judge(generation, result),
        }
    }

    pub(super) async fn get(&self, keys: &Keys, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreError> {
        let (mut connection, generation) = self.held()?;
        let got = redis::cmd("GET").arg(keys.entry(key)).query_async(&mut connection).await;
        self.judge(generation, got)
    }

    pub(super) async fn version(&self, keys: &Keys, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let (mut connection, generation) = self.held()?;
        let end = Version::AT.end - 1;
        let got = redis::cmd("GETRANGE").arg(keys.entry(key)).arg(0).arg(end).query_async(&mut connection).await;
        let start: Vec<u8> = self.judge(generation, got)?;
        Ok(Version::read(&start))
    }

    pub(super) async fn put(&self, keys: &Keys, item: &Item) -> Result<Put, StoreError> {
        if item.bytes.len() > MAX_BYTES {
            let problem = format!("expected at most {MAX_BYTES} bytes, got {}", item.bytes.len());
            return Err(StoreError::new(StoreErrorKind::TooLarge, problem));
        }
        let (mut connection, generation) = self.held()?;
        let put = put(&mut connection, &keys.entry(&item.key), item).await;
        match self.judge(generation, put)? {
            1 => Ok(Put::Stored),
            0 => Ok(Put::KeptNewer),
            // Only a server that is short of memory, or very slow, forgets it so soon.
            _ => Err(StoreError::new(StoreErrorKind::Full, "the server has dropped the entry while it was written")),
        }
    }

    pub(super) async fn remove(&self, keys: &Keys, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        let (mut connection, generation) = self.held()?;
        let removed: RedisResult<i64> =
            script::REMOVE.run(&mut connection, &[&keys.entry(key)], &[&upto.to_bytes()]).await;
        self.judge(generation, removed).map(drop)
    }

    pub(super) async fn lease(&self, keys: &Keys, claim: &Claim) -> Result<Lease, StoreError> {
        let (mut connection, generation) = self.held()?;
        let entry = keys.entry(&claim.key);
        let (token, ttl) = (claim.token.to_string(), milliseconds(claim.ttl).to_string());
        let waited: &[u8] = if claim.waited { b"1" } else { b"0" };
        let names = [&*keys::lease(&entry), &*keys::note(&entry)];
        let said = script::LEASE.run(&mut connection, &names, &[token.as_bytes(), ttl.as_bytes(), waited]).await;
        let said: String = self.judge(generation, said)?;
        match &*said {
            "mine" => Ok(Lease::Mine),
            "held" => Ok(Lease::Held),
            "stored" => Ok(Lease::Noted(Note::Stored)),
            "pass" => Ok(Lease::Noted(Note::Pass)),
            "failed" => Ok(Lease::Noted(Note::Failed)),
            _ => Err(corrupt("expected a note of this crate, got another text")),
        }
    }

    pub(super) async fn release(
        &self,
        keys: &Keys,
        key: &StoreKey,
        token: u64,
        note: Note,
        keep: Duration,
    ) -> Result<(), StoreError> {
        let (mut connection, generation) = self.held()?;
        let entry = keys.entry(key);
        let (token, keep) = (token.to_string(), milliseconds(keep).to_string());
        let note: &[u8] = match note {
            Note::Stored => b"stored",
            Note::Pass => b"pass",
            Note::Failed => b"failed",
        };
        let names = [&*keys::lease(&entry), &*keys::note(&entry)];
        let released: RedisResult<i64> =
            script::RELEASE.run(&mut connection, &names, &[token.as_bytes(), note, keep.as_bytes()]).await;
        self.judge(generation, released).map(drop)
    }
}

/// Writes the body under another key, and lets a script move it: in one round trip, and the body stays out of Lua.
async fn put(connection: &mut impl ConnectionLike, entry: &str, item: &Item) -> RedisResult<i64> {
    let temporary = keys::temporary(entry, random());
    let keep = milliseconds(item.keep).to_string();
    let version = item.version.to_bytes();
    let (names, arguments) = ([entry, &*temporary], [&version[..], keep.as_bytes()]);
    let moved: RedisResult<(i64,)> = redis::pipe()
        .cmd("SET")
        .arg(&temporary)
        .arg(&*item.bytes)
        .arg("PX")
        .arg(TEMPORARY_MS)
        .ignore()
        .add_command(script::PUT.command(By::Hash, &names, &arguments))
        .query_async(connection)
        .await;
    match moved {
        Ok((moved,)) => Ok(moved),
        Err(error) if script::is_unknown(&error) => {
            script::PUT.command(By::Code, &names, &arguments).query_async(connection).await
        }
        Err(error) => Err(error),
    }
}

/// As the server counts time: never zero, which it does not take.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST_MS).clamp(1, LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_such_that_a_server_takes() {
        assert_eq!(milliseconds(Duration::ZERO), 1);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_micros(1_001)), 2);
        assert_eq!(milliseconds(Duration::from_secs(2)), 2_000);
        assert_eq!(milliseconds(Duration::MAX), LONGEST_MS);
    }
}
