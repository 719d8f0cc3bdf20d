//! What this process knows of the files: how large they are and when they were last used.
//!
//! It is only a view: others may write to the same folder. What they did is found by the next scan.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// SHA-256 of the key.
pub(super) type Digest = [u8; 32];

/// After so long, another scan looks for what others have done.
const RESCAN: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
struct Known {
    bytes: u64,
    /// Microseconds since the Unix epoch.
    used: u64,
    /// The scan in or after which it was last seen.
    seen: u64,
}

/// Files by digest.
#[derive(Default)]
pub(super) struct Index(Mutex<Files>);

#[derive(Default)]
struct Files {
    known: HashMap<Digest, Known>,
    bytes: u64,
    /// Scans that have begun.
    scans: u64,
    scanned: Option<Instant>,
    scanning: bool,
    /// Bytes written since the last scan began.
    written: u64,
}

impl Files {
    fn set(&mut self, digest: Digest, bytes: u64, used: u64) {
        let new = Known { bytes, used, seen: self.scans };
        let old = self.known.insert(digest, new).map_or(0, |old| old.bytes);
        self.bytes = self.bytes - old + bytes;
    }

    fn forget(&mut self, digest: &Digest) {
        if let Some(known) = self.known.remove(digest) {
            self.bytes -= known.bytes;
        }
    }
}

impl Index {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, digest: Digest, bytes: u64, now: u64) {
        self.lock().set(digest, bytes, now);
    }

    pub(super) fn written(&self, digest: Digest, bytes: u64, now: u64) {
        let mut files = self.lock();
        files.set(digest, bytes, now);
        files.written = files.written.saturating_add(bytes);
    }

    pub(super) fn removed(&self, digest: &Digest) {
        self.lock().forget(digest);
    }

    /// Whether the files should be looked through now, of which there may be `max_bytes`. Then no other caller is told
    /// so until that has [ended](Self::scanned) or was [given up](Self::give_up).
    pub(super) fn begin_scan(&self, max_bytes: u64) -> bool {
        let mut files = self.lock();
        // Others write as much as we do, for all we know: the bound is kept to an eighth for each of them.
        let due = files.scanned.is_none_or(|at| at.elapsed() > RESCAN) || files.written > max_bytes / 8 + (1 << 20);
        if files.scanning || !due {
            return false;
        }
        files.scanning = true;
        files.scans += 1;
        files.written = 0;
        files.scanned = Some(Instant::now());
        true
    }

    /// A scan found a file. What this process has done meanwhile is newer.
    pub(super) fn found(&self, digest: Digest, bytes: u64, modified: u64) {
        let mut files = self.lock();
        let known = files.known.get(&digest).copied();
        match known {
            Some(known) if known.seen == files.scans => {}
            known => files.set(digest, bytes, known.map_or(modified, |known| known.used.max(modified))),
        }
    }

    /// A scan has seen all there is: what it has not seen is gone.
    pub(super) fn scanned(&self) {
        let mut files = self.lock();
        let scans = files.scans;
        let gone: Vec<Digest> = files.known.iter().filter(|(_, k)| k.seen < scans).map(|(digest, _)| *digest).collect();
        for digest in gone {
            files.forget(&digest);
        }
    }

    /// No scan is running any more.
    pub(super) fn give_up(&self) {
        self.lock().scanning = false;
    }

    /// If there are more bytes than may be: forgets those that were not used for longest, and returns them. A sixteenth
    /// more than necessary, so that not every write looks for them.
    pub(super) fn evict(&self, max_bytes: u64) -> Vec<Digest> {
        let mut files = self.lock();
        if files.bytes <= max_bytes {
            return Vec::new();
        }
        let mut by_use: Vec<(u64, Digest)> = files.known.iter().map(|(digest, known)| (known.used, *digest)).collect();
        by_use.sort_unstable();
        let most = max_bytes - max_bytes / 16;
        let mut evicted = Vec::new();
        for (_, digest) in by_use {
            if files.bytes <= most {
                break;
            }
            files.forget(&digest);
            evicted.push(digest);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_adds_what_others_wrote_and_forgets_what_is_gone() {
        let index = Index::default();
        index.written([1; 32], 10, 1);
        index.written([2; 32], 10, 1);
        assert!(index.begin_scan(1 << 30), "the first use");
        assert!(!index.begin_scan(1 << 30), "it is running");
        index.found([2; 32], 10, 0);
        index.found([3; 32], 10, 5);
        index.written([4; 32], 10, 6);
        index.scanned();
        index.give_up();
        let mut left = index.lock().known.keys().map(|digest| digest[0]).collect::<Vec<_>>();
        left.sort_unstable();
        assert_eq!(left, [2, 3, 4]);
        assert_eq!(index.lock().bytes, 30);
        assert!(!index.begin_scan(1 << 30), "nothing has happened since");
        index.written([5; 32], 1 << 28, 7);
        assert!(index.begin_scan(1 << 30), "much was written");
    }

    #[test]
    fn what_was_used_last_stays() {
        let index = Index::default();
        for n in 0..32_u8 {
            index.written([n; 32], 10, u64::from(n));
        }
        index.read([0; 32], 10, 100);
        assert!(index.evict(320).is_empty());
        assert_eq!(index.evict(310), [[1; 32], [2; 32], [3; 32]], "down to 291");
    }
}
