//! Batches, a few at once, and what is tried again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered, StreamExt};

use super::options::Populate;
use super::plan::{Plan, Planned};
use super::report::{PopulateError, Populated};
use crate::backing::fresh_epoch;
use crate::ledger::Place;
use crate::prerender::{Record, Unusable};
use crate::store::{Changes, Cursor, Item, Put, Store, StoreError, StoreErrorKind};

/// Pages of a batch, and bytes: it is held in memory.
const MOST_PAGES: usize = 500;
const MOST_BYTES: u64 = 16 << 20;

/// A body with more is no page.
const MOST_BODY: usize = 256 << 20;

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
        let mut report = {
            let manifest = &self.plan.sown.manifest;
            Populated::new(manifest.len(), manifest.ignored().unusable(), self.options.dry_run)
        };
        let mut batches = Batches { records: self.plan.sown.manifest.records().peekable() };
        let mut running = FuturesUnordered::new();
        loop {
            // Where the store does not let us write, the rest would fail too.
            while running.len() < self.options.batches && !report.denied {
                let Some(batch) = batches.next() else { break };
                running.push(self.batch(batch));
            }
            let Some(batch) = running.next().await else { break };
            report.add(batch);
        }
        drop(running);
        drop(batches);
        report.elapsed = start.elapsed();
        report.sort();
        Ok(report)
    }

    /// The ledger's epoch, and its marks: a page that one of them hits is not worth writing.
    async fn read_ledger(&mut self) -> Result<(), PopulateError> {
        let fresh = fresh_epoch();
        let (mut cursor, mut marks) = (None, Vec::new());
        for _ in 0..MOST_ANSWERS {
            let changes = self.changes(cursor.as_ref(), fresh).await?;
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

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        let mut pauses = self.pauses();
        loop {
            match self.store.changes(after, fresh).await {
                Err(problem) if problem.is_transient() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(problem),
                },
                answer => return answer,
            }
        }
    }

    /// One before each try but the first.
    fn pauses(&self) -> impl Iterator<Item = Duration> + use<S> {
        let next = |pause: &Duration| Some((*pause * 2).min(LONGEST_PAUSE));
        let retries = usize::try_from(self.options.retries).unwrap_or(usize::MAX);
        std::iter::successors(Some(FIRST_PAUSE), next).take(retries)
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
        let reads: Vec<_> = planned.into_iter().map(|page| self.read(page)).collect();
        let mut read = stream::iter(reads).buffered(READS);
        let mut items: Vec<(String, Item)> = Vec::new();
        let mut held = 0;
        while let Some((page, body)) = read.next().await {
            let path = page.record.path.clone();
            match body {
                Ok(Some(body)) => match self.plan.entry(&page, body) {
                    Some(bytes) if bytes.len() <= profile.max_bytes => {
                        held += bytes.len() as u64;
                        items.push((path, Item { key: page.store_key, version: page.version, bytes, keep }));
                        if held > MOST_BYTES {
                            self.write(std::mem::take(&mut items), &mut report).await;
                            held = 0;
                        }
                    }
                    Some(bytes) => {
                        let problem = format!("{} bytes, the store takes {}", bytes.len(), profile.max_bytes);
                        report.fail(path, problem);
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

    async fn read(&self, page: Planned) -> (Planned, Result<Option<Bytes>, Unusable>) {
        let body = self.options.seeds.body(&page.record, self.store.profile().max_bytes.min(MOST_BODY)).await;
        (page, body)
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
        if self.options.dry_run {
            for (_, item) in &items {
                report.written(item.bytes.len());
            }
            return;
        }
        let mut pauses = self.pauses();
        while !items.is_empty() {
            let pause = pauses.next();
            let (paths, batch): (Vec<_>, Vec<_>) = std::mem::take(&mut items).into_iter().unzip();
            let results = self.store.put_many(&batch).await;
            for ((path, item), result) in paths.into_iter().zip(batch).zip(results) {
                match result {
                    Ok(Put::Stored) => report.written(item.bytes.len()),
                    Ok(Put::KeptNewer) => report.skip(path, "there already"),
                    Err(problem) if pause.is_some() && problem.is_transient() => items.push((path, item)),
                    Err(problem) => report.refused(path, &problem),
                }
            }
            if let Some(pause) = pause.filter(|_| !items.is_empty()) {
                tokio::time::sleep(pause).await;
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
