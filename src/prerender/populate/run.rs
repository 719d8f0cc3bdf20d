//! Batches, a few at once, and what is tried again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};

use super::options::Populate;
use super::plan::{Plan, Planned};
use super::report::{PopulateError, Populated};
use crate::backing::fresh_epoch;
use crate::ledger::Place;
use crate::prerender::Record;
use crate::store::{Item, Put, Store, StoreError, StoreErrorKind};

/// Pages of a batch, and bytes: it is held in memory.
const MOST_PAGES: usize = 500;
const MOST_BYTES: u64 = 16 << 20;

/// So many files are read at once for a batch.
const READS: usize = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Of a ledger that does not come to an end.
const MOST_ANSWERS: usize = 1_000;

pub(super) struct Run<'s, S> {
    options: Populate,
    plan: Plan,
    store: &'s S,
    done: AtomicUsize,
}

impl<'s, S: Store> Run<'s, S> {
    pub(super) fn new(options: Populate, plan: Plan, store: &'s S) -> Self {
        Self { options, plan, store, done: AtomicUsize::new(0) }
    }

    pub(super) async fn run(mut self) -> Result<Populated, PopulateError> {
        let start = Instant::now();
        self.read_ledger().await?;
        let mut report = Populated::new(self.plan.sown.manifest.len(), self.options.dry_run);
        let batches = Batches { records: self.plan.sown.manifest.records().peekable() };
        let reports = stream::iter(batches).map(|batch| self.batch(batch)).buffer_unordered(self.options.batches);
        let mut reports = std::pin::pin!(reports);
        while let Some(batch) = reports.next().await {
            report.add(batch);
            if report.is_hopeless() {
                // The rest would fail too.
                break;
            }
        }
        drop(reports);
        report.elapsed = start.elapsed();
        report.sort();
        Ok(report)
    }

    /// The ledger's epoch, and its marks: a page that one of them hits is not worth writing.
    async fn read_ledger(&mut self) -> Result<(), PopulateError> {
        let fresh = fresh_epoch();
        let (mut cursor, mut marks) = (None, Vec::new());
        for _ in 0..MOST_ANSWERS {
            let changes = self.again(async || self.store.changes(cursor.as_ref(), fresh).await).await?;
            marks.extend(changes.marks);
            if !changes.more {
                self.plan.learn(Place { epoch: changes.epoch, stamp: changes.stamp }, &marks);
                return Ok(());
            }
            cursor = Some(changes.cursor);
        }
        let problem = "expected a ledger that comes to an end";
        Err(PopulateError::Store(StoreError::new(StoreErrorKind::Corrupt, problem)))
    }

    async fn batch(&self, records: Vec<Record>) -> Populated {
        let mut report = Populated::default();
        let pages = records.len();
        let mut planned = Vec::with_capacity(pages);
        for record in records {
            let path = record.path.clone();
            match self.plan.page(record) {
                Ok(page) => planned.push(page),
                Err(reason) => report.skip(path, reason),
            }
        }
        let planned = self.missing(planned, &mut report).await;
        let profile = self.store.profile();
        let keep = self.options.retention.max(profile.min_keep);
        let read = stream::iter(planned)
            .map(|page| async {
                let body = self.options.seeds.body(&page.record, usize::MAX).await;
                (page, body)
            })
            .buffered(READS);
        let mut read = std::pin::pin!(read);
        let mut items: Vec<(String, Item)> = Vec::new();
        while let Some((page, body)) = read.next().await {
            let path = page.record.path.clone();
            match body {
                Ok(Some(body)) => match self.plan.entry(&page, body) {
                    Some(bytes) if bytes.len() <= profile.max_bytes => {
                        items.push((path, Item { key: page.store_key, version: page.version, bytes, keep }));
                    }
                    Some(bytes) => {
                        report.fail(path, format!("{} bytes, the store takes {}", bytes.len(), profile.max_bytes))
                    }
                    None => report.fail(path, "it has more headers than can be read".to_owned()),
                },
                Ok(None) => report.fail(path, "its file is not there".to_owned()),
                Err(problem) => report.fail(path, problem.to_string()),
            }
        }
        self.write(items, &mut report).await;
        let done = self.done.fetch_add(pages, Ordering::Relaxed) + pages;
        if let Some(tell) = &self.options.progress {
            tell(done, self.plan.sown.manifest.len());
        }
        report
    }

    /// Those that the store does not have, or has older. What cannot be asked is written.
    async fn missing(&self, planned: Vec<Planned>, report: &mut Populated) -> Vec<Planned> {
        let keys: Vec<_> = planned.iter().map(|page| page.store_key.clone()).collect();
        let there = self.store.versions(&keys).await;
        let mut missing = Vec::with_capacity(planned.len());
        for (page, there) in planned.into_iter().zip(there) {
            match there {
                Ok(Some(there)) if there == page.version || there.is_newer_than(page.version) => {
                    report.skip(page.record.path, "there already");
                }
                _ => missing.push(page),
            }
        }
        missing
    }

    async fn write(&self, mut items: Vec<(String, Item)>, report: &mut Populated) {
        let mut pause = FIRST_PAUSE;
        for attempt in 0..=self.options.retries {
            if items.is_empty() {
                return;
            }
            if self.options.dry_run {
                items.iter().for_each(|(_, item)| report.written(item.bytes.len()));
                return;
            }
            let (paths, batch): (Vec<_>, Vec<_>) = std::mem::take(&mut items).into_iter().unzip();
            let results = self.store.put_many(&batch).await;
            for ((path, item), result) in paths.into_iter().zip(batch).zip(results) {
                match result {
                    Ok(Put::Stored) => report.written(item.bytes.len()),
                    Ok(Put::KeptNewer) => report.skip(path, "there already"),
                    Err(problem) if attempt < self.options.retries && problem.is_transient() => {
                        items.push((path, item))
                    }
                    Err(problem) => report.refused(path, &problem),
                }
            }
            if !items.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// The same call, until it goes well or is not worth it.
    async fn again<T>(&self, call: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            match call().await {
                Err(problem) if attempt < self.options.retries && problem.is_transient() => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}

/// Records, so many at a time that their bodies have room.
struct Batches<I: Iterator> {
    records: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = Record>> Iterator for Batches<I> {
    type Item = Vec<Record>;

    fn next(&mut self) -> Option<Vec<Record>> {
        // What does not say how large it is counts as an ordinary page.
        let bytes = |record: &Record| record.bytes.unwrap_or(32 << 10);
        let mut batch = vec![self.records.next()?];
        let mut sum = bytes(&batch[0]);
        while batch.len() < MOST_PAGES
            && let Some(record) = self.records.next_if(|record| sum.saturating_add(bytes(record)) <= MOST_BYTES)
        {
            sum += bytes(&record);
            batch.push(record);
        }
        Some(batch)
    }
}
