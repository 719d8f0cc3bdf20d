//! Marks, without anything that happens in one step: each process that marks has a log, which it alone writes, and the
//! others read.
//!
//! Stamps are times of the service, see `service_time`: a mark has one that is not earlier than it was made, a render one
//! that is not later than it began. So a mark hits what began before it, whoever made either, and whenever anybody hears
//! of it; and, at worst, what began some seconds after it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::answer::Listed;
use super::api::Api;
use super::entries::{Kept, ttl};
use super::error::corrupt;
use super::keys::Keys;
use super::log::{self, Log, News};
use super::seen::{Others, Place};
use crate::ledger::{Mark, Verb};
use crate::store::changes::{Changes, Cursor, Stamped};
use crate::store::error::StoreError;

/// So many logs are read for one answer; the rest comes with the next.
const LOGS_AT_ONCE: usize = 16;

/// So many pages of a list are read: a thousand logs each.
const MOST_PAGES: usize = 20;

/// Marks are kept for so much longer than entries.
const LONGER: Duration = Duration::from_secs(86_400);

pub(super) fn random() -> u64 {
    // Keyed by the operating system's randomness.
    RandomState::new().build_hasher().finish()
}

/// What can be set about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) max_marks: usize,
    pub(super) retention: Duration,
    pub(super) late: Duration,
    pub(super) write_every: Duration,
}

pub(super) struct Ledger {
    settings: Settings,
    writer: u64,
    log: Mutex<Log>,
    /// One write after the other.
    written: tokio::sync::Mutex<Written>,
    known: Mutex<Known>,
    /// One begins an epoch.
    opening: tokio::sync::Mutex<()>,
}

struct Written {
    /// The last change that is in KV, and since when.
    change: u64,
    at: Option<Instant>,
    /// When the log may be written again.
    next: tokio::time::Instant,
}

#[derive(Default)]
struct Known {
    epoch: Option<u64>,
    /// When this process has found or begun the epoch, and which one that has replaced: for a while lists may not have
    /// it.
    opened: Option<(Instant, Option<u64>)>,
    others: Others,
}

/// What a list says of the epoch.
enum Epoch {
    Is(u64),
    Unlisted,
    /// A log is gone, and with it marks of this one.
    Lost(u64),
}

/// A log that is listed.
struct There {
    writer: u64,
    change: u64,
}

impl Ledger {
    /// For how long marks are kept.
    pub(super) fn retention(&self) -> Duration {
        self.settings.retention
    }

    pub(super) fn new(settings: Settings) -> Self {
        let written = Written { change: 0, at: None, next: tokio::time::Instant::now() };
        Self {
            settings,
            writer: random(),
            log: Mutex::new(Log::new(settings.max_marks)),
            written: tokio::sync::Mutex::new(written),
            known: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn writer(&self) -> u64 {
        self.writer
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn invalidate(
        &self,
        api: &Api,
        keys: &Keys,
        kept: &Kept,
        marks: &[Mark],
        fresh: u64,
    ) -> Result<Stamped, StoreError> {
        let began = Instant::now();
        let known = self.known().epoch;
        let epoch = match known {
            Some(epoch) => epoch,
            None => self.open(api, keys, fresh, None).await?,
        };
        let time = api.time.latest(began).ok_or_else(undated)?;
        let (stamp, change) = self.log().note(marks, time);
        self.write(api, keys, kept, change).await?;
        Ok(Stamped { epoch, stamp })
    }

    /// Sees to it that a change is in KV. What was noted meanwhile goes with it: a key takes one write a second.
    async fn write(&self, api: &Api, keys: &Keys, kept: &Kept, change: u64) -> Result<(), StoreError> {
        let mut written = self.written.lock().await;
        if written.change >= change {
            return Ok(());
        }
        self.put_log(api, keys, kept, &mut written).await
    }

    async fn put_log(&self, api: &Api, keys: &Keys, kept: &Kept, written: &mut Written) -> Result<(), StoreError> {
        sleep_until(written.next).await;
        written.next = tokio::time::Instant::now() + self.settings.write_every;
        let keep = self.settings.retention.max(Duration::from_secs(kept.longest())).saturating_add(LONGER);
        let ttl = ttl(keep);
        let (change, bytes) = {
            let mut log = self.log();
            let now = api.time.earliest(Instant::now()).unwrap_or_default();
            log.forget(now.saturating_sub(ttl.saturating_mul(1_000_000)));
            (log.change(), log.write()?)
        };
        api.put(&keys.log(self.writer), &bytes, Some(ttl), &format!(r#"{{"s":{change}}}"#)).await?;
        (written.change, written.at) = (change, Some(Instant::now()));
        Ok(())
    }

    pub(super) async fn changes(
        &self,
        api: &Arc<Api>,
        keys: &Keys,
        kept: &Kept,
        after: Option<&Cursor>,
        fresh: u64,
    ) -> Result<Changes, StoreError> {
        let asked = Instant::now();
        let listed = list(api, keys).await?;
        let now = api.time.earliest(asked).ok_or_else(undated)?;
        let logs = logs(keys, &listed);
        let epoch = match self.epoch(keys, &listed, &logs, now) {
            Epoch::Is(epoch) => epoch,
            Epoch::Unlisted => self.open(api, keys, fresh, None).await?,
            Epoch::Lost(epoch) => self.open(api, keys, fresh, Some(epoch)).await?,
        };
        self.repeat(api, keys, kept, &logs).await;

        let before = Place::read(after, epoch);
        let mut place = before.clone();
        let (marks, more) = self.news(api, keys, &logs, &mut place).await?;
        if !more {
            place.stamp = place.stamp.max(now);
            place.tidy(|writer| writer == self.writer || logs.iter().any(|(log, _)| log.writer == writer));
        }
        Ok(Changes { epoch, stamp: place.stamp, marks, cursor: place.cursor(), more })
    }

    /// What the logs have that is new, and whether there is more.
    async fn news(
        &self,
        api: &Arc<Api>,
        keys: &Keys,
        logs: &[(There, u64)],
        place: &mut Place,
    ) -> Result<(Vec<(Mark, u64)>, bool), StoreError> {
        let mut marks = {
            // One's own is known better here than there.
            let log = self.log();
            let own = log.since(place.change(self.writer));
            if log.change() > 0 {
                place.changes.insert(self.writer, log.change());
            }
            own
        };
        let others = logs.iter().filter(|(log, _)| log.writer != self.writer);
        let mut new: Vec<_> =
            others.filter(|(log, _)| log.change > place.change(log.writer)).map(|(log, _)| log).collect();
        // The same ones in whatever order they are listed.
        new.sort_unstable_by_key(|log| log.writer);
        let more = new.len() > LOGS_AT_ONCE;
        new.truncate(LOGS_AT_ONCE);
        let since: HashMap<u64, u64> = new.iter().map(|log| (log.writer, place.change(log.writer))).collect();
        let mut reads = JoinSet::new();
        for log in new {
            let (api, name, writer, listed) = (Arc::clone(api), keys.log(log.writer), log.writer, log.change);
            reads.spawn(async move { (writer, listed, api.get(&name).await) });
        }
        while let Some(read) = reads.join_next().await {
            let (writer, listed, read) = read.map_err(|_| corrupt("the runtime ends"))?;
            // The list may be newer than what can be read: then it is read again.
            let Some(bytes) = read? else { continue };
            let since = since.get(&writer).copied().unwrap_or_default();
            let news = log::read(&bytes, since).unwrap_or_else(|| {
                // What cannot be understood must not be missed.
                let now = api.time.latest(Instant::now()).unwrap_or_default();
                News { change: listed, marks: vec![(Mark::everything(Verb::Expire), now)] }
            });
            if news.change > since {
                place.changes.insert(writer, news.change);
                marks.extend(news.marks);
            }
        }
        marks.sort_by_key(|(_, stamp)| *stamp);
        Ok((marks, more))
    }

    /// The ledger's epoch, by what is listed.
    fn epoch(&self, keys: &Keys, listed: &[Listed], logs: &[(There, u64)], now: u64) -> Epoch {
        let others: Vec<_> = logs
            .iter()
            .filter(|(log, _)| log.writer != self.writer)
            .map(|(log, expires)| (log.writer, log.change, *expires))
            .collect();
        let mut known = self.known();
        let lost = known.others.listed(&others, Instant::now(), now / 1_000_000, self.settings.late);
        let there = listed.iter().find(|listed| listed.name == keys.epoch);
        let there = there.and_then(|listed| listed.metadata.e.as_deref()?.parse().ok());
        if lost && let Some(epoch) = there.or(known.epoch) {
            tracing::warn!(target: "axum_isr", "cloudflare-kv: another process's log is gone: the ledger begins anew");
            *known = Known::default();
            return Epoch::Lost(epoch);
        }
        if let (Some((at, replaced)), Some(epoch)) = (known.opened, known.epoch)
            && (there.is_none() || there == replaced)
            && at.elapsed() <= self.settings.late.saturating_mul(2)
        {
            return Epoch::Is(epoch);
        }
        (known.epoch, known.opened) = (there, None);
        there.map_or(Epoch::Unlisted, Epoch::Is)
    }

    /// Looks for the epoch, where it may be seen earlier than in a list, and begins one if there is none, or the one that
    /// is to be replaced.
    async fn open(&self, api: &Api, keys: &Keys, fresh: u64, replaced: Option<u64>) -> Result<u64, StoreError> {
        let _one_at_a_time = self.opening.lock().await;
        let known = self.known().epoch;
        if let Some(epoch) = known {
            return Ok(epoch);
        }
        let there = api.get(&keys.epoch).await?;
        let there = there.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        let epoch = match there {
            Some(epoch) if Some(epoch) != replaced => epoch,
            _ => {
                let text = fresh.to_string();
                api.put(&keys.epoch, text.as_bytes(), None, &format!(r#"{{"e":"{text}"}}"#)).await?;
                fresh
            }
        };
        let mut known = self.known();
        known.epoch = Some(epoch);
        known.opened = Some((Instant::now(), replaced));
        Ok(epoch)
    }

    /// Writes this process's log again if KV does not have it after all: a write that was given up may have come after
    /// the one that followed it, or somebody has removed it.
    async fn repeat(&self, api: &Api, keys: &Keys, kept: &Kept, logs: &[(There, u64)]) {
        let Ok(mut written) = self.written.try_lock() else { return };
        let listed = logs.iter().find(|(log, _)| log.writer == self.writer).map_or(0, |(log, _)| log.change);
        let is_old = written.at.is_some_and(|at| at.elapsed() > self.settings.late.saturating_mul(2));
        if listed >= written.change || !is_old {
            return;
        }
        if let Err(problem) = self.put_log(api, keys, kept, &mut written).await {
            let problem = problem.chain();
            tracing::debug!(target: "axum_isr", problem = %problem.escape_debug(), "cloudflare-kv: its log is not there");
        }
    }
}

async fn list(api: &Api, keys: &Keys) -> Result<Vec<Listed>, StoreError> {
    let (mut listed, mut cursor) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let page = api.list(&keys.ledger, cursor.as_deref()).await?;
        listed.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(listed);
        }
    }
    Err(corrupt("the list of logs does not come to an end"))
}

/// The logs among what is listed, and the ends of their lives.
fn logs(keys: &Keys, listed: &[Listed]) -> Vec<(There, u64)> {
    let logs = listed.iter().filter_map(|listed| {
        let writer = keys.writer(&listed.name)?;
        // Without a number it is none of ours, or damaged: it is read, and then known.
        let change = listed.metadata.s.unwrap_or(u64::MAX);
        Some((There { writer, change }, listed.expiration.unwrap_or(u64::MAX)))
    });
    logs.collect()
}

fn undated() -> StoreError {
    corrupt("expected answers with a date, by which marks are ordered, got none")
}
