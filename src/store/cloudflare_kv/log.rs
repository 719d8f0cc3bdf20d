//! The marks of one process: the newest of each, in JSON.
//!
//! ```json
//! {"format": 1, "change": 7, "marks": [["etpost:1", 1795315666000000, 7], …]}
//! ```
//!
//! A mark has its text, its stamp, and the number of the change that it came with: readers are told what has come since
//! the change that they know.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::error::corrupt;
use crate::ledger::{Mark, Verb};
use crate::store::error::StoreError;

const FORMAT: u8 = 1;

/// Less than the service takes as one value, and not too much to be written again with each change.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Of a mark, besides its text: two numbers, and what stands between.
const BESIDES: usize = 48;

#[derive(Clone, Copy)]
struct Noted {
    stamp: u64,
    change: u64,
}

/// What this process has marked.
pub(super) struct Log {
    most: usize,
    change: u64,
    newest: u64,
    bytes: usize,
    marks: HashMap<String, Noted>,
    order: BTreeSet<(u64, String)>,
}

#[derive(Deserialize, Serialize)]
struct Written {
    format: u8,
    change: u64,
    marks: Vec<(String, u64, u64)>,
}

/// What another process has marked since a change.
pub(super) struct News {
    pub(super) change: u64,
    pub(super) marks: Vec<(Mark, u64)>,
}

impl Log {
    pub(super) fn new(most: usize) -> Self {
        Self { most, change: 0, newest: 0, bytes: 0, marks: HashMap::new(), order: BTreeSet::new() }
    }

    /// The number of the last change.
    pub(super) fn change(&self) -> u64 {
        self.change
    }

    /// Notes marks, all with the same stamp: the time, or one more than the last one. Returns it, and the change.
    pub(super) fn note(&mut self, marks: &[Mark], time: u64) -> (u64, u64) {
        self.change += 1;
        self.newest = time.max(self.newest.saturating_add(1));
        for mark in marks {
            self.raise(mark.to_text(), self.newest);
        }
        while self.kept_apart() > self.most || self.bytes > MOST_BYTES {
            if !self.fold() {
                break;
            }
        }
        (self.newest, self.change)
    }

    /// Forgets what is older than every entry that there can be.
    pub(super) fn forget(&mut self, before: u64) {
        while let Some((stamp, text)) = self.order.first().cloned()
            && stamp < before
        {
            self.drop_mark(stamp, &text);
        }
    }

    /// What has come since a change, oldest first.
    pub(super) fn since(&self, change: u64) -> Vec<(Mark, u64)> {
        let is_new = |text: &String| self.marks.get(text).is_some_and(|noted| noted.change > change);
        let new = self.order.iter().filter(|(_, text)| is_new(text));
        new.map(|(stamp, text)| (Mark::from_text(text), *stamp)).collect()
    }

    pub(super) fn write(&self) -> Result<Vec<u8>, StoreError> {
        let marks = self.order.iter().filter_map(|(stamp, text)| {
            let noted = self.marks.get(text)?;
            Some((text.clone(), *stamp, noted.change))
        });
        let written = Written { format: FORMAT, change: self.change, marks: marks.collect() };
        serde_json::to_vec(&written).map_err(|problem| corrupt(format!("a log cannot be written: {problem}")))
    }

    /// What is a mark on everything is not folded, and does not count.
    fn kept_apart(&self) -> usize {
        let verbs = [Verb::Revalidate, Verb::Expire];
        let everything = verbs.iter().filter(|verb| self.marks.contains_key(&Mark::everything(**verb).to_text()));
        self.marks.len() - everything.count()
    }

    /// The oldest becomes one on everything of its verb.
    fn fold(&mut self) -> bool {
        let oldest = self.order.iter().find(|(_, text)| !Mark::from_text(text).is_everything()).cloned();
        let Some((stamp, text)) = oldest else { return false };
        self.drop_mark(stamp, &text);
        self.raise(Mark::everything(Mark::from_text(&text).verb()).to_text(), stamp);
        true
    }

    fn raise(&mut self, text: String, stamp: u64) {
        let change = self.change;
        match self.marks.get_mut(&text) {
            Some(noted) if noted.stamp > stamp => {}
            Some(noted) => {
                self.order.remove(&(noted.stamp, text.clone()));
                *noted = Noted { stamp, change };
                self.order.insert((stamp, text));
            }
            None => {
                self.bytes += size(&text);
                self.marks.insert(text.clone(), Noted { stamp, change });
                self.order.insert((stamp, text));
            }
        }
    }

    fn drop_mark(&mut self, stamp: u64, text: &str) {
        self.order.remove(&(stamp, text.to_owned()));
        self.marks.remove(text);
        self.bytes -= size(text);
    }
}

/// About what a mark takes: what JSON escapes takes more than it is long.
fn size(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')).count();
    text.len() + 5 * escaped + BESIDES
}

/// Reads a log of another process; `None` if it cannot be understood.
pub(super) fn read(bytes: &[u8], since: u64) -> Option<News> {
    let written: Written = serde_json::from_slice(bytes).ok().filter(|written: &Written| written.format == FORMAT)?;
    let new = written.marks.into_iter().filter(|(_, _, change)| *change > since);
    let marks = new.map(|(text, stamp, _)| (Mark::from_text(&text), stamp)).collect();
    Some(News { change: written.change, marks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(text: &str) -> Mark {
        Mark::from_text(text)
    }

    fn news(log: &Log, since: u64) -> Vec<(String, u64)> {
        let read = read(&log.write().expect("it can be written"), since).expect("it can be read");
        assert_eq!(read.change, log.change());
        assert_eq!(read.marks, log.since(since));
        read.marks.into_iter().map(|(mark, stamp)| (mark.to_text(), stamp)).collect()
    }

    #[test]
    fn readers_are_told_what_has_come_since() {
        let mut log = Log::new(100);
        assert_eq!(log.note(&[mark("eta"), mark("rp/a"), mark("eta")], 50), (50, 1));
        assert_eq!(log.note(&[mark("etb\n\"")], 40), (51, 2));
        assert_eq!(news(&log, 0), [("eta".into(), 50), ("rp/a".into(), 50), ("etb\n\"".into(), 51)]);
        log.note(&[mark("eta")], 60);
        assert_eq!(news(&log, 1), [("etb\n\"".into(), 51), ("eta".into(), 60)]);
        assert_eq!(news(&log, 3), []);
        log.forget(51);
        assert_eq!(news(&log, 0), [("etb\n\"".into(), 51), ("eta".into(), 60)]);
    }

    #[test]
    fn what_is_folded_counts_as_everything() {
        let mut log = Log::new(2);
        for n in 1..=4 {
            log.note(&[mark(&format!("rt{n}"))], n * 10);
        }
        log.note(&[mark("ep/")], 50);
        // Whoever knew the first four is told of everything.
        assert_eq!(news(&log, 4), [("r*".into(), 30), ("ep/".into(), 50)]);
        assert_eq!(news(&log, 0), [("r*".into(), 30), ("rt4".into(), 40), ("ep/".into(), 50)]);
    }

    /// However long marks are and whatever is in them, a log stays smaller than the service takes.
    #[test]
    fn a_log_is_bounded_in_bytes() {
        let mut log = Log::new(1_000_000);
        let controls = "\u{1}".repeat(200);
        for n in 0..10 {
            let marks: Vec<_> = (0..1_000).map(|m| mark(&format!("et{n}:{m}:{controls}"))).collect();
            log.note(&marks, n);
        }
        let written = log.write().expect("it can be written").len();
        assert!((MOST_BYTES / 2..2 * MOST_BYTES).contains(&written), "{written}");
        assert!(log.since(0).iter().any(|(mark, _)| mark.is_everything()));
        while log.fold() {}
        assert_eq!(log.bytes, size("e*"));
    }

    #[test]
    fn what_is_no_log_is_not_understood() {
        for other in ["", "{}", r#"{"format":2,"change":1,"marks":[]}"#, r#"{"format":1,"change":1,"marks":[[1]]}"#] {
            assert!(read(other.as_bytes(), 0).is_none(), "{other}");
        }
        let of_another_version = br#"{"format":1,"change":1,"marks":[["zz",7,1]]}"#;
        assert_eq!(read(of_another_version, 0).expect("a log").marks, [(Mark::everything(Verb::Expire), 7)]);
    }
}
