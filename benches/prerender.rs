//! What seeds cost and bring, and how fast an export fills a store. Compare the rows of one block: they were measured in
//! turns.
//!
//! `cargo bench --bench prerender --features redis`. Needs `redis-server`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run has nothing to say")]

mod cases;
#[path = "../tests/common/redis.rs"]
mod servers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum_isr::prerender::{Export, SeedError, SeedFile, SeedSource, Seeds, populate};
use axum_isr::store::Store;
use axum_isr::testing::MemoryStore;
use axum_isr::{CacheStatus, Isr};
use bytes::Bytes;
use cases::Many;
use http_body_util::BodyExt;
use servers::Server;
use tower::ServiceExt;

const PAGE: usize = 10 << 10;
/// Pages that a cold process finds, and processes.
const PAGES: usize = 200;
const PROCESSES: usize = 10;
const MISSES: usize = 2_000;
/// Entries of a store, their bodies, and how often it is filled.
const ENTRIES: usize = 10_000;
const ENTRY: usize = 2 << 10;
const FILLS: usize = 7;
const ROUTES: usize = 100_000;
const MANIFESTS: usize = 11;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // As a server does, in a task: what it spawns begins on the same worker.
    runtime.block_on(async { tokio::spawn(measure()).await.unwrap() });
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    println!("ratios to the first row of each block");
    first_visitors(&folder.path().join("pages")).await;
    misses(&folder.path().join("pages")).await;
    manifests().await;
    fills(&folder.path().join("entries")).await;
}

/// `/0`, `/1`, … in a folder. The files of their pages.
async fn exported(folder: &Path, pages: usize, bytes: usize) -> Vec<PathBuf> {
    let isr = Isr::builder().deployment_id("bench").build().unwrap();
    let export = Export::new(cases::many(&isr, bytes)).paths((0..pages).map(|n| format!("/{n}")));
    let report = export.to(folder).await.unwrap();
    assert!(report.is_complete() && report.rendered.len() == pages, "{report}");
    (0..pages).map(|n| folder.join(format!("prerendered-routes/{n}.html"))).collect()
}

fn process(seeds: Option<Seeds>, bytes: usize) -> Router {
    let builder = Isr::builder().deployment_id("bench");
    let builder = match seeds {
        Some(seeds) => builder.seeds(seeds),
        None => builder,
    };
    cases::many(&builder.build().unwrap(), bytes)
}

/// From the request until all of the answer is there.
async fn timed(app: &Router, page: usize, expected: CacheStatus) -> Duration {
    let (app, request) = (app.clone(), Many::request(page));
    let start = Instant::now();
    let Ok(response) = app.oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let time = start.elapsed();
    assert_eq!(CacheStatus::of(&head.headers), Some(expected));
    drop(body);
    time
}

/// What was measured in turns.
struct Block {
    rows: Vec<(&'static str, Vec<Duration>)>,
}

impl Block {
    fn new(title: &str) -> Self {
        println!("\n{title:<48} {:>10} {:>10} {:>10} {:>8}", "least", "median", "p99", "ratio");
        Self { rows: Vec::new() }
    }

    fn note(&mut self, name: &'static str, time: Duration) {
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(time),
            None => self.rows.push((name, vec![time])),
        }
    }

    fn print(mut self) {
        let mut first = None;
        for (name, times) in &mut self.rows {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            let ratio = at(50).as_secs_f64() / *first.get_or_insert(at(50).as_secs_f64());
            println!("{name:<48} {:>10.2?} {:>10.2?} {:>10.2?} {ratio:>8.3}", at(0), at(50), at(99));
        }
    }
}

/// Pages that are not in memory, of a manifest that is.
async fn first_visitors(folder: &Path) {
    let files = exported(folder, PAGES + 1, PAGE).await;
    let mut block = Block::new("the first visitor of a page of 10 KiB");
    for _ in 0..PROCESSES {
        let app = process(Some(Seeds::dir(folder)), PAGE);
        timed(&app, PAGES, CacheStatus::Hit).await;
        for (page, file) in files.iter().take(PAGES).enumerate() {
            let start = Instant::now();
            let read = std::fs::read(file).unwrap();
            block.note("std::fs::read of its file", start.elapsed());
            assert_eq!(read.len(), PAGE);
            let start = Instant::now();
            let read = tokio::fs::read(file).await.unwrap();
            block.note("tokio::fs::read of its file", start.elapsed());
            assert_eq!(read.len(), PAGE);
            block.note("seed (aim: 300 µs more than the first)", timed(&app, page, CacheStatus::Hit).await);
            block.note("the second visitor", timed(&app, page, CacheStatus::Hit).await);
        }
    }
    block.print();
}

/// Pages that have to be rendered, with seeds or without.
async fn misses(folder: &Path) {
    let without = process(None, PAGE);
    let with = process(Some(Seeds::dir(folder)), PAGE);
    for app in [&without, &with] {
        timed(app, PAGES + MISSES + 1, CacheStatus::Miss).await;
    }
    let mut block = Block::new("a page that nobody has rendered");
    for n in 1..=MISSES {
        let turns = [("MISS, without seeds", &without), ("MISS, seeds that do not have it", &with)];
        // Whoever comes first may pay for what was there before: not always the same.
        for (name, app) in [turns[n % 2], turns[(n + 1) % 2]] {
            block.note(name, timed(app, PAGES + n, CacheStatus::Miss).await);
        }
    }
    block.rows.sort_by_key(|(name, _)| name.len());
    block.print();
}

/// A manifest in memory, and nothing else.
struct Memory(Bytes);

#[async_trait::async_trait]
impl SeedSource for Memory {
    async fn read(&self, path: &str, _max: usize) -> Result<Option<SeedFile>, SeedError> {
        let is_manifest = path == "vinext-prerender.json";
        Ok(is_manifest.then(|| SeedFile { bytes: self.0.clone(), modified: None }))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// As vinext writes a site with many posts, one in ten of them with a page of its own.
fn manifest() -> String {
    let mut json = String::from(r#"{"buildId":"large","trailingSlash":false,"builtAt":1767225600,"routes":["#);
    for n in 0..ROUTES {
        let (route, path, layouts) = if n % 10 == 0 {
            let path = format!("/pages/chapter-{}/of-the-tide-{n}", n / 1_000);
            (path.clone(), path.clone(), format!(r#""_N_T_{path}/layout","_N_T_{path}/page""#))
        } else {
            let layouts = r#""_N_T_/posts/layout","_N_T_/posts/[slug]/layout","_N_T_/posts/[slug]/page""#;
            ("/posts/:slug".to_owned(), format!("/posts/what-the-tide-left-{n}"), layouts.to_owned())
        };
        let comma = if n == 0 { "" } else { "," };
        let head = format!(r#""route":"{route}","status":"rendered","revalidate":300,"expire":86400,"router":"app""#);
        let tags = format!(r#""tags":["{path}","_N_T_{path}","_N_T_/layout",{layouts}]"#);
        write!(json, r#"{comma}{{{head},{tags},"path":"{path}"}}"#).unwrap();
    }
    json.push_str("]}");
    json
}

/// The first request of a process, which reads the manifest of a large site.
async fn manifests() {
    let json = Bytes::from(manifest());
    let mut block = Block::new("a manifest of 100,000 routes");
    for _ in 0..MANIFESTS {
        let start = Instant::now();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        block.note("serde_json::Value of it", start.elapsed());
        assert_eq!(value["routes"].as_array().unwrap().len(), ROUTES);
        drop(value);
        let app = {
            let isr = Isr::builder().seeds(Seeds::source(Memory(json.clone()))).build().unwrap();
            cases::many(&isr, 0)
        };
        let first = timed(&app, 0, CacheStatus::Miss).await;
        let second = timed(&app, 1, CacheStatus::Miss).await;
        block.note("first MISS less second (aim: 500 ms)", first.saturating_sub(second));
        block.note("second MISS", second);
    }
    block.print();
    println!("{} bytes of JSON a route", json.len() / ROUTES);
}

/// Stores that have nothing, and then all of an export.
async fn fills(folder: &Path) {
    let files = exported(folder, ENTRIES, ENTRY).await;
    let (seeds, server) = (Seeds::dir(folder), Server::start());
    let mut block = Block::new("a store filled with 10,000 pages of 2 KiB");
    for round in 0..FILLS {
        let start = Instant::now();
        let bytes: usize = files.iter().map(|file| std::fs::read(file).unwrap().len()).sum();
        block.note("std::fs::read of all files", start.elapsed());
        assert_eq!(bytes, ENTRIES * ENTRY);
        let memory = MemoryStore::new();
        block.note("into testing::MemoryStore", fill(&seeds, &memory, ENTRIES).await);
        let redis = servers::patient().namespace(format!("fill-{round}")).connect(&server.url()).await.unwrap();
        block.note("into Redis (aim: 2 s)", fill(&seeds, &redis, ENTRIES).await);
        block.note("into Redis, where all is there", fill(&seeds, &redis, 0).await);
    }
    block.print();
}

async fn fill(seeds: &Seeds, store: &impl Store, written: usize) -> Duration {
    let start = Instant::now();
    let report = populate(seeds, store).await.unwrap();
    let time = start.elapsed();
    assert!(report.is_complete() && report.written == written && report.pages == ENTRIES, "{report}");
    time
}
