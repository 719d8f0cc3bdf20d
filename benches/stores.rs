//! What a store behind the memory tier costs and brings, against the real engines on this machine. Compare the rows of
//! one block: they were measured in turns.
//!
//! `cargo bench --bench stores --features redis`. Needs `redis-server`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run has nothing to say")]

mod cases;
#[path = "../tests/common/redis.rs"]
mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum_isr::store::{DiskStore, RedisStore, Store};
use axum_isr::testing::MemoryStore;
use axum_isr::{CacheStatus, Isr};
use bytes::Bytes;
use cases::Many;
use http_body_util::{BodyExt, Collected};
use servers::Server;
use tower::ServiceExt;

const PAGE: usize = 10 << 10;
/// Pages that a cold process finds, and processes.
const PAGES: usize = 100;
const PROCESSES: usize = 10;
/// HITs between two looks at the clock, and how often.
const BATCH: usize = 100;
const BATCHES: usize = 500;
const MISSES: usize = 200;
const MARKS: usize = 200;
/// Longer than a block takes: so the ledger is asked once, and not in the middle.
const LONG: Duration = Duration::from_secs(600);
/// A block that is not through by then says what it has.
const LIMIT: Duration = Duration::from_secs(12);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // As a server does, in a task: what it spawns begins on the same worker.
    runtime.block_on(async { tokio::spawn(measure()).await.unwrap() });
}

async fn measure() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    println!("pages of {} KiB; medians; ratios to the first row of each block", PAGE >> 10);
    cold_from_disk(&folder.path().join("cold")).await;
    cold_from_redis(&server).await;
    misses(&server, &folder.path().join("misses")).await;
    marks(&server, folder.path()).await;
    hits(&server).await;
    hits_without_server(&mut server).await;
}

/// A process, and what it answers.
struct Process {
    isr: Isr,
    app: Router,
}

impl Process {
    fn alone() -> Self {
        Self::of(Isr::builder().build().unwrap())
    }

    fn over(store: impl Store) -> Self {
        let backed = Isr::builder().store(store).deployment_id("bench").coherence(LONG);
        // A busy machine may take its time.
        let patience = servers::PATIENCE;
        Self::of(backed.store_deadlines(patience, patience, patience).build().unwrap())
    }

    fn of(isr: Isr) -> Self {
        Self { app: cases::many(&isr, PAGE), isr }
    }

    async fn ask(&self, page: usize, expected: CacheStatus) {
        let (app, request) = self.client(page);
        answered(app, request).await.is(expected);
    }

    /// From the request until all of the answer is there; what makes the one and drops the other is a client's.
    async fn timed(&self, page: usize, expected: CacheStatus) -> Duration {
        let (app, request) = self.client(page);
        let start = Instant::now();
        let answer = answered(app, request).await;
        let time = start.elapsed();
        answer.is(expected);
        time
    }

    fn client(&self, page: usize) -> (Router, Request) {
        (self.app.clone(), Many::request(page))
    }

    /// One HIT, on average.
    async fn batch(&self) -> Duration {
        let start = Instant::now();
        for _ in 0..BATCH {
            self.ask(0, CacheStatus::Hit).await;
        }
        start.elapsed() / u32::try_from(BATCH).unwrap()
    }

    /// Until the store has what was rendered.
    async fn written(&self) {
        let deadline = Instant::now() + servers::PATIENCE;
        loop {
            let stats = self.isr.stats();
            if stats.store_writes == stats.stored {
                return;
            }
            assert!(Instant::now() < deadline && stats.store_unwritten == 0, "pages were not written: {stats:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Renders all pages that cold processes are to find.
    async fn fill(self) {
        for page in 0..=PAGES {
            self.ask(page, CacheStatus::Miss).await;
        }
        self.written().await;
    }

    /// One that has asked the ledger, and knows none of the pages below `PAGES`.
    async fn cold(store: impl Store) -> Self {
        let process = Self::over(store);
        process.ask(PAGES, CacheStatus::Hit).await;
        process
    }
}

/// All of an answer.
struct Answer(HeaderMap, Collected<Bytes>);

async fn answered(app: Router, request: Request) -> Answer {
    let Ok(response) = app.oneshot(request).await;
    let (head, body) = response.into_parts();
    Answer(head.headers, body.collect().await.unwrap())
}

impl Answer {
    fn is(self, expected: CacheStatus) {
        assert_eq!(CacheStatus::of(&self.0), Some(expected));
        assert_eq!(self.1.to_bytes().len(), PAGE);
    }
}

/// What was measured in turns.
struct Block {
    deadline: Instant,
    rows: Vec<(&'static str, Vec<Duration>)>,
}

impl Block {
    fn new(title: &str) -> Self {
        println!("\n{title:<44} {:>10} {:>10} {:>8}", "median", "p99", "ratio");
        Self { deadline: Instant::now() + LIMIT, rows: Vec::new() }
    }

    fn note(&mut self, name: &'static str, time: Duration) {
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(time),
            None => self.rows.push((name, vec![time])),
        }
    }

    fn print(mut self) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let mut first = None;
        for (name, times) in &mut self.rows {
            times.sort_unstable();
            let at = |percent: usize| micros(times[(times.len() - 1) * percent / 100]);
            let ratio = at(50) / *first.get_or_insert(at(50));
            println!("{name:<44} {:>7.2} µs {:>7.2} µs {ratio:>8.3}", at(50), at(99));
        }
    }
}

fn in_time(deadline: Instant) -> bool {
    Instant::now() < deadline
}

async fn cold_from_disk(folder: &Path) {
    let store = DiskStore::open(folder).unwrap();
    Process::over(store.clone()).fill().await;
    let files = files(&folder.join("entries"));
    assert_eq!(files.len(), PAGES + 1);
    let mut block = Block::new("a page on the disk");
    let deadline = block.deadline;
    for _ in 0..PROCESSES {
        let process = Process::cold(DiskStore::open(folder).unwrap()).await;
        for (page, file) in files.iter().take(PAGES).enumerate().take_while(|_| in_time(deadline)) {
            let start = Instant::now();
            let read = tokio::fs::read(file).await.unwrap();
            block.note("tokio::fs::read of its file", start.elapsed());
            assert!(read.len() > PAGE);
            block.note("cold HIT (aim: 150 µs)", process.timed(page, CacheStatus::Hit).await);
        }
    }
    block.print();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let inside = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

async fn cold_from_redis(server: &Server) {
    let store = servers::connect(server).await;
    Process::over(store.clone()).fill().await;
    let mut keys: Vec<String> = server.run(&["KEYS", "*bench*"]);
    keys.retain(|key| key.matches('{').count() == 1);
    assert_eq!(keys.len(), PAGES + 1);
    let client = redis::Client::open(server.url()).unwrap();
    let mut bare = client.get_multiplexed_async_connection().await.unwrap();
    let mut block = Block::new("a page in Redis");
    let deadline = block.deadline;
    for _ in 0..PROCESSES {
        let process = Process::cold(store.clone()).await;
        for (page, key) in keys.iter().take(PAGES).enumerate().take_while(|_| in_time(deadline)) {
            let get = redis::Cmd::get(key);
            let start = Instant::now();
            let got: Vec<u8> = get.query_async(&mut bare).await.unwrap();
            block.note("GET of its bytes", start.elapsed());
            assert!(got.len() > PAGE);
            block.note("cold HIT (aim: 1.5)", process.timed(page, CacheStatus::Hit).await);
        }
    }
    block.print();

    let process = Process::cold(store).await;
    let before = commands(server);
    for page in 0..PAGES {
        process.ask(page, CacheStatus::Hit).await;
    }
    let mut sent = commands(server);
    sent.retain(|name, calls| {
        *calls -= before.get(name).unwrap_or(&0);
        *calls > 0
    });
    println!("commands for {PAGES} cold HITs: {sent:?}");
}

/// How often which command was called, besides those by which one asks for that.
fn commands(server: &Server) -> BTreeMap<String, usize> {
    let stats: String = server.run(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    let asks = ["info", "client", "hello"];
    calls.filter(|(name, _)| !asks.iter().any(|ask| name.starts_with(ask))).collect()
}

/// A first render: what it reads and claims before.
async fn misses(server: &Server, folder: &Path) {
    let store = servers::patient().namespace("misses").connect(&server.url()).await.unwrap();
    let alone = Process::alone();
    let backed = [
        ("MISS, testing::MemoryStore", Process::over(MemoryStore::new())),
        ("MISS, disk", Process::over(DiskStore::open(folder).unwrap())),
        ("MISS, Redis", Process::over(store)),
    ];
    for (_, process) in &backed {
        process.ask(MISSES, CacheStatus::Miss).await;
    }
    let mut block = Block::new("a page that nobody has rendered");
    let deadline = block.deadline;
    for page in (0..MISSES).take_while(|_| in_time(deadline)) {
        block.note("MISS, memory alone", alone.timed(page, CacheStatus::Miss).await);
        for (name, process) in &backed {
            block.note(name, process.timed(page, CacheStatus::Miss).await);
            process.written().await;
        }
    }
    block.print();
}

/// Until the ledger has a mark.
async fn marks(server: &Server, folder: &Path) {
    let redis = servers::patient().namespace("marks").connect(&server.url()).await.unwrap();
    let disk = |name| DiskStore::open(folder.join(name)).unwrap();
    let processes = [
        ("expire_tag, memory alone", Process::alone()),
        ("expire_tag, testing::MemoryStore", Process::over(MemoryStore::new())),
        ("expire_tag, Redis", Process::over(redis)),
        ("expire_tag, disk", Process::over(disk("marks"))),
        ("expire_tag, disk, not synced", Process::over(disk("unsynced").unsynced_ledger())),
    ];
    let mut block = Block::new("a mark in the ledger");
    let deadline = block.deadline;
    for n in (0..MARKS).take_while(|_| in_time(deadline)) {
        for (name, process) in &processes {
            let tag = format!("tag {n}");
            let start = Instant::now();
            process.isr.expire_tag(tag).await.unwrap();
            block.note(name, start.elapsed());
        }
    }
    block.print();
}

/// HITs of pages that are in memory, in batches and in turns.
async fn turns(block: &mut Block, processes: &[(&'static str, Process)]) {
    let deadline = block.deadline;
    for turn in (0..BATCHES).take_while(|_| in_time(deadline)) {
        for n in 0..processes.len() {
            // Whoever comes first may pay for what was there before: not always the same.
            let (name, process) = &processes[(n + turn) % processes.len()];
            let time = process.batch().await;
            block.note(name, time);
        }
    }
    block.rows.sort_by_key(|(name, _)| processes.iter().position(|(known, _)| known == name));
}

async fn hits(server: &Server) {
    let redis = servers::patient().namespace("hits").connect(&server.url()).await.unwrap();
    let processes = [
        ("HIT, memory alone", Process::alone()),
        ("HIT, testing::MemoryStore (aim: 1.05)", Process::over(MemoryStore::new())),
        ("HIT, Redis (aim: 1.05)", Process::over(redis)),
    ];
    for (_, process) in &processes {
        process.ask(0, CacheStatus::Miss).await;
        process.batch().await;
    }
    let mut block = Block::new("a page in memory");
    turns(&mut block, &processes).await;
    block.print();
}

/// The server is killed while processes run; measured from three seconds later on.
async fn hits_without_server(server: &mut Server) {
    // As in production: short enough to notice.
    let store = RedisStore::options().namespace("killed").connect(&server.url()).await.unwrap();
    let isr = Isr::builder().store(store).deployment_id("bench").build().unwrap();
    let processes = [("HIT, memory alone", Process::alone()), ("HIT, Redis killed (aim: 1.11)", Process::of(isr))];
    for (_, process) in &processes {
        process.ask(0, CacheStatus::Miss).await;
    }
    server.kill();
    let killed = Instant::now();
    let mut longest = Duration::ZERO;
    while killed.elapsed() < Duration::from_secs(3) {
        longest = longest.max(processes[1].1.timed(0, CacheStatus::Hit).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut block = Block::new("a page in memory, the server is gone");
    turns(&mut block, &processes).await;
    block.print();
    println!(
        "the longest HIT of the first 3 s: {longest:.2?}; circuit open: {}",
        processes[1].1.isr.stats().store_circuit_open
    );
}
