//! A process is killed a hundred times while it writes.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use axum_isr::store::{DiskStore, Store};

use crate::{FRESH, body, folder, item, marks, names, until, version};

const FOLDER: &str = "DISK_TEST_FOLDER";
const ROUND: &str = "DISK_TEST_ROUND";

/// Different ones on the same keys, so that they replace each other.
const KEYS: u64 = 40;

fn open(dir: &Path) -> DiskStore {
    // Syncing changes nothing for a process that is killed, and takes most of the time.
    DiskStore::open(dir).unwrap().unsynced_ledger().max_marks(1_000)
}

/// Says itself what it is: a number, and that many bytes derived from it.
fn page(number: u64) -> Vec<u8> {
    let length = 100 + number.wrapping_mul(2_654_435_761) % 60_000;
    let mut page = number.to_be_bytes().to_vec();
    page.extend((0..length).map(|at| u8::try_from((number ^ at.wrapping_mul(31)) & 0xff).unwrap()));
    page
}

/// What is killed. By itself, without the folder, it does nothing.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = open(&dir);
    let mut out = std::io::stdout();
    let filler = format!("rt{}", "x".repeat(250));
    for n in 0.. {
        let number = round * 1_000_000 + n;
        store.put(&item(&format!("page {}", n % KEYS), version(round, n), &page(number))).await.unwrap();
        let text = format!("et{number}");
        let stamped = store.invalidate(&marks(&[&text, &filler]), FRESH + 1 + round).await.unwrap();
        writeln!(out, "\nnoted {text} {} {}", stamped.stamp, stamped.epoch).unwrap();
        out.flush().unwrap();
    }
}

fn noted(line: &str) -> Option<(String, u64, u64)> {
    let mut words = line.strip_prefix("noted ")?.split(' ');
    let text = words.next()?.to_owned();
    Some((text, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Runs it until it has noted `most` marks and `more` has passed.
fn run_and_kill(dir: &Path, round: u64, most: u64, more: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_that_is_killed", "--nocapture"])
        .env(FOLDER, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut left = most;
    while left > 0 {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it has ended by itself");
        if line.starts_with("noted") {
            left -= 1;
        }
        lines.push(line);
    }
    // Into the middle of whatever it does then.
    std::thread::sleep(more);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.extend(reader.lines().map_while(Result::ok));
    lines
}

/// CASES 127.
#[tokio::test]
async fn a_hundred_kills_lose_no_mark_and_leave_no_half_entry() {
    let dir = folder();
    let first = open(dir.path()).changes(None, FRESH).await.unwrap();
    assert_eq!(first.epoch, FRESH);
    let mut acknowledged = HashMap::new();
    for round in 0..100 {
        let (most, more) = (1 + round % 7, Duration::from_micros(round * 137 % 3_000));
        for line in run_and_kill(dir.path(), round, most, more) {
            // A line that was cut off was not acknowledged, for all we know.
            if let Some((text, stamp, epoch)) = noted(line.trim_end()) {
                assert_eq!(epoch, FRESH, "round {round}");
                acknowledged.insert(text, stamp);
            }
        }
    }
    assert!(acknowledged.len() >= 300, "{}", acknowledged.len());

    let store = open(dir.path());
    let changes = store.changes(None, FRESH + 1_000).await.unwrap();
    assert_eq!(changes.epoch, FRESH, "nothing looked damaged");
    let told: HashMap<String, u64> = changes.marks.iter().map(|(mark, stamp)| (mark.to_text(), *stamp)).collect();
    let folded = told.get("e*").copied().unwrap_or(0);
    for (text, stamp) in &acknowledged {
        assert!(told.get(text).is_some_and(|at| at >= stamp) || folded >= *stamp, "{text} at {stamp} is lost");
    }
    let mut whole = 0;
    for key in 0..KEYS {
        let Some(found) = body(&store, &format!("page {key}")).await else { continue };
        let number = u64::from_be_bytes(found[..8].try_into().unwrap());
        assert_eq!(found, page(number), "page {key}");
        whole += 1;
    }
    assert!(whole >= 5, "{whole}");
    // What they were writing is swept: at once where it is known that they are dead.
    if cfg!(target_os = "linux") {
        until(|| names(&dir.path().join("tmp")).is_empty()).await;
    }
}
