//! The ledger: one sorted set of marks by their stamps.
//!
//! | member | score |
//! |---|---|
//! | `e:` and the epoch, decimal | 0 |
//! | `m:` and a mark's text | its stamp |
//!
//! It has no time to live, and nothing but scripts writes to it. See `scripts/open.lua`, `invalidate.lua`, `changes.lua`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};
use tokio::runtime::Handle;

use super::dial::Primary;
use super::error::corrupt;
use super::keys::Keys;
use super::link::{Held, Link};
use super::recent::Recent;
use super::script;
use crate::ledger::{Mark, Verb};
use crate::store::changes::{Changes, Cursor, Stamped};
use crate::store::error::{StoreError, StoreErrorKind};

/// About how many marks are read at once.
const READ: &[u8] = b"10000";

pub(super) struct Ledger {
    link: Link<Primary>,
    max_marks: usize,
    /// How many replicas have to know of a mark, and how long they have for that.
    replicas: (usize, Duration),
    recent: Mutex<Recent>,
    /// Epoch and newest stamp that it has told. Not those of this process's own marks, which are repeated.
    seen: Mutex<Option<(u64, u64)>>,
    /// The last connection over which this process's recent marks were repeated. The first has none to repeat.
    repeated: AtomicU64,
    repeating: tokio::sync::Mutex<()>,
}

impl Ledger {
    pub(super) async fn start(dial: Primary, max_marks: usize, replicas: (usize, Duration), runtime: &Handle) -> Self {
        Self {
            link: Link::start(dial, runtime).await,
            max_marks,
            replicas,
            recent: Mutex::default(),
            seen: Mutex::default(),
            repeated: AtomicU64::new(0),
            repeating: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn hint(&self) {
        self.link.dial().hint.wait().await;
    }

    pub(super) async fn invalidate(&self, keys: &Keys, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        let mut held = self.ready(keys, fresh).await?;
        // Before they are sent: a connection that is lost right after the answer finds them here.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).note(marks, Instant::now());
        self.note(&mut held, keys, marks, fresh).await
    }

    pub(super) async fn changes(&self, keys: &Keys, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        let mut held = self.ready(keys, fresh).await?;
        let (epoch, stamp) = match after.and_then(Cursor::place) {
            Some((epoch, stamp)) => (epoch.to_string(), stamp.to_string()),
            None => (String::new(), String::new()),
        };
        let fresh = fresh.to_string();
        let arguments = [fresh.as_bytes(), epoch.as_bytes(), stamp.as_bytes(), READ];
        let said = script::CHANGES.run(&mut held.connection, &[&keys.ledger], &arguments).await;
        let changes = read_changes(self.link.judge(held.generation, said)?)?;
        self.saw(changes.epoch, changes.stamp);
        Ok(changes)
    }

    /// A connection over which this process's recent marks are known to the ledger.
    async fn ready(&self, keys: &Keys, fresh: u64) -> Result<Held<MultiplexedConnection>, StoreError> {
        let mut held = self.link.held()?;
        if self.repeated.load(Ordering::Acquire) >= held.generation {
            return Ok(held);
        }
        let _one_at_a_time = self.repeating.lock().await;
        if self.repeated.load(Ordering::Acquire) < held.generation {
            self.look(&mut held, keys, fresh).await?;
            let marks = self.recent.lock().unwrap_or_else(PoisonError::into_inner).marks(Instant::now());
            if !marks.is_empty() {
                tracing::info!(target: "axum_isr", marks = marks.len(), "redis: repeats the marks of the last minute");
                self.note(&mut held, keys, &marks, fresh).await?;
            }
            self.repeated.fetch_max(held.generation, Ordering::AcqRel);
        }
        Ok(held)
    }

    /// Whether the ledger has lost what this process has seen of it: then it begins anew, before anything is added that
    /// would hide it.
    async fn look(&self, held: &mut Held<MultiplexedConnection>, keys: &Keys, fresh: u64) -> Result<(), StoreError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((epoch, stamp)) = seen {
            let arguments = [fresh.to_string(), epoch.to_string(), stamp.to_string(), "1".to_owned()];
            let arguments = arguments.each_ref().map(String::as_bytes);
            let said = script::CHANGES.run(&mut held.connection, &[&keys.ledger], &arguments).await;
            read_changes(self.link.judge(held.generation, said)?)?;
        }
        Ok(())
    }

    fn saw(&self, epoch: u64, stamp: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = seen.filter(|(known, _)| *known == epoch).map_or(stamp, |(_, known)| known.max(stamp));
        *seen = Some((epoch, newest));
    }

    async fn note(
        &self,
        held: &mut Held<MultiplexedConnection>,
        keys: &Keys,
        marks: &[Mark],
        fresh: u64,
    ) -> Result<Stamped, StoreError> {
        let members = members(marks, self.max_marks);
        let (fresh, most) = (fresh.to_string(), self.max_marks.to_string());
        let mut arguments = vec![fresh.as_bytes(), most.as_bytes(), keys.hint.as_bytes()];
        arguments.extend(members.iter().map(String::as_bytes));
        let said = script::INVALIDATE.run(&mut held.connection, &[&keys.ledger], &arguments).await;
        let (epoch, stamp) = read(self.link.judge(held.generation, said)?)?;
        self.wait_for_replicas(held).await?;
        Ok(Stamped { epoch, stamp })
    }

    async fn wait_for_replicas(&self, held: &mut Held<MultiplexedConnection>) -> Result<(), StoreError> {
        let (wanted, time) = self.replicas;
        if wanted == 0 {
            return Ok(());
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let know: RedisResult<usize> =
            redis::cmd("WAIT").arg(wanted).arg(millis).query_async(&mut held.connection).await;
        let know = self.link.judge(held.generation, know)?;
        if know >= wanted {
            return Ok(());
        }
        let problem = format!("expected {wanted} replicas to know of a mark within {millis} ms, got {know}");
        Err(StoreError::new(StoreErrorKind::Unavailable, problem))
    }
}

/// Each mark once. More than the ledger keeps are folded before they are sent: the newest stamp has to stay.
fn members(marks: &[Mark], most: usize) -> HashSet<String> {
    let members: HashSet<String> = marks.iter().map(member).collect();
    if members.len() <= most {
        return members;
    }
    let verbs = [Verb::Revalidate, Verb::Expire].into_iter();
    verbs
        .filter(|verb| marks.iter().any(|mark| mark.verb() == *verb))
        .map(|verb| member(&Mark::everything(verb)))
        .collect()
}

fn member(mark: &Mark) -> String {
    let mut member = mark.to_text();
    member.insert_str(0, "m:");
    member
}

/// A mark that is not text is read as one that is not understood.
fn mark(member: &[u8]) -> Result<Mark, StoreError> {
    let Some(text) = member.strip_prefix(b"m:") else {
        return Err(corrupt("expected a mark in the ledger, got something else"));
    };
    Ok(std::str::from_utf8(text).map_or(Mark::everything(Verb::Expire), Mark::from_text))
}

/// Not by the client's own conversion, which takes a wrong type for a broken connection.
fn read<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|problem| corrupt(format!("expected a ledger's answer: {problem}")))
}

fn read_changes(said: Value) -> Result<Changes, StoreError> {
    let (epoch, newest, more, members): (u64, u64, u8, Vec<Vec<u8>>) = read(said)?;
    let mut marks = Vec::with_capacity(members.len() / 2);
    for pair in members.chunks_exact(2) {
        let stamp = std::str::from_utf8(&pair[1]).ok().and_then(|text| text.parse().ok());
        let stamp: u64 = stamp.ok_or_else(|| corrupt("expected a whole number as a mark's stamp"))?;
        marks.push((mark(&pair[0])?, stamp));
    }
    let more = more == 1;
    let stamp = match marks.last() {
        Some((_, last)) if more => *last,
        _ => newest,
    };
    Ok(Changes { epoch, stamp, marks, cursor: Cursor::at(epoch, stamp), more })
}
