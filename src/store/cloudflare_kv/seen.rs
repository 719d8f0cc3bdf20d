//! What a reader has seen: its cursor, and what this process knows of other processes' logs.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::store::changes::Cursor;

/// A cursor that knows of more logs forgets those that are gone.
const MOST_WRITERS: usize = 4_096;

/// A reader's place: the ledger's epoch, the time that renders were given last, and the last change of each log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: u64,
    pub(super) stamp: u64,
    pub(super) changes: BTreeMap<u64, u64>,
}

impl Place {
    pub(super) fn begin(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Of this epoch; else, and if it is none of this store, the reader has seen nothing.
    pub(super) fn read(cursor: Option<&Cursor>, epoch: u64) -> Self {
        let read = cursor.and_then(|cursor| Self::parse(cursor.as_bytes()));
        read.filter(|place| place.epoch == epoch).unwrap_or_else(|| Self::begin(epoch))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks(8).map(|eight| Some(u64::from_be_bytes(eight.try_into().ok()?)));
        let (epoch, stamp) = (numbers.next()??, numbers.next()??);
        let mut changes = BTreeMap::new();
        while let Some(writer) = numbers.next() {
            changes.insert(writer?, numbers.next()??);
        }
        Some(Self { epoch, stamp, changes })
    }

    pub(super) fn change(&self, writer: u64) -> u64 {
        self.changes.get(&writer).copied().unwrap_or_default()
    }

    pub(super) fn cursor(&self) -> Cursor {
        let changes = self.changes.iter().flat_map(|(writer, change)| [*writer, *change]);
        let numbers = [self.epoch, self.stamp].into_iter().chain(changes);
        Cursor::new(numbers.flat_map(u64::to_be_bytes).collect::<Vec<u8>>())
    }

    /// Logs that are not listed may come back, since lists are late.
    pub(super) fn tidy(&mut self, is_listed: impl Fn(u64) -> bool) {
        if self.changes.len() > MOST_WRITERS {
            self.changes.retain(|writer, _| is_listed(*writer));
        }
    }
}

/// The logs of others, as they were listed: to see that one is lost.
#[derive(Default)]
pub(super) struct Others(HashMap<u64, Other>);

struct Other {
    change: u64,
    /// Seconds since the Unix epoch at the service.
    expires: u64,
    /// Since when less is listed than was.
    behind: Option<Instant>,
}

impl Others {
    /// What is listed now: writer, change, end of its life. Returns whether marks that were there have been gone for longer
    /// than `late`, before the end of their life (`time`, seconds): lists may be old for a while, but not that old.
    pub(super) fn listed(&mut self, logs: &[(u64, u64, u64)], now: Instant, time: u64, late: Duration) -> bool {
        let mut lost = false;
        let listed: HashMap<u64, (u64, u64)> =
            logs.iter().map(|(writer, change, ends)| (*writer, (*change, *ends))).collect();
        self.0.retain(|writer, other| {
            let is_there = listed.get(writer).is_some_and(|(change, _)| *change >= other.change);
            if is_there {
                other.behind = None;
            } else {
                let behind = *other.behind.get_or_insert(now);
                lost = lost || now.saturating_duration_since(behind) > late.saturating_mul(2);
            }
            // What has ended may be gone.
            is_there || time < other.expires.saturating_sub(late.as_secs().saturating_mul(2))
        });
        for (writer, (change, expires)) in listed {
            let known = self.0.entry(writer).or_insert(Other { change, expires, behind: None });
            known.change = known.change.max(change);
            known.expires = known.expires.max(expires);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(60);

    #[test]
    fn a_place_is_read_back_from_its_cursor() {
        let place = Place { epoch: u64::MAX, stamp: 7, changes: [(1, 2), (u64::MAX, 3)].into() };
        assert_eq!(Place::read(Some(&place.cursor()), u64::MAX), place);
        assert_eq!((place.change(1), place.change(9)), (2, 0));
        for other in [Some(place.cursor()), Some(Cursor::new(&b"other"[..])), Some(Cursor::new(vec![0; 24])), None] {
            assert_eq!(Place::read(other.as_ref(), 5), Place::begin(5), "{other:?}");
        }
    }

    #[test]
    fn a_log_that_is_gone_for_long_is_lost() {
        let (mut others, start) = (Others::default(), Instant::now());
        let mut listed = |logs: &[(u64, u64, u64)], after: u64| {
            others.listed(logs, start + Duration::from_secs(after), 1_000 + after, LATE)
        };
        assert!(!listed(&[(1, 5, 9_000), (2, 1, 1_300)], 0));
        // An old list.
        assert!(!listed(&[(1, 4, 9_000)], 10) && !listed(&[], 129));
        assert!(!listed(&[(1, 5, 9_000), (2, 1, 1_300)], 130));
        // One has come to its end; the other has lost a change.
        assert!(!listed(&[(1, 4, 9_000)], 250) && !listed(&[(1, 4, 9_000)], 370));
        assert!(listed(&[(1, 4, 9_000)], 371));
        assert!(!listed(&[(1, 6, 9_000)], 372));
    }
}
