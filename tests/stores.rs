//! The conformance suite on the stores for tests, and that it can fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum_isr::store::{
    Changes, Claim, Cursor, Item, Lease, Mark, Note, Profile, Put, Stamped, Store, StoreError, StoreKey, Verb, Version,
};
use axum_isr::testing::conformance::{self, Fixture};
use axum_isr::testing::{FaultyStore, MemoryStore, store_conformance};
use bytes::Bytes;

async fn memory(max_marks: usize) -> Fixture {
    let store = MemoryStore::new().max_marks(max_marks);
    Fixture::new(vec![Arc::new(store.clone()), Arc::new(store)])
}

async fn bounded(max_marks: usize) -> Fixture {
    let store = MemoryStore::new().max_marks(max_marks).max_bytes(4_096);
    Fixture::new(vec![Arc::new(store.clone()), Arc::new(store)])
}

async fn faultless(max_marks: usize) -> Fixture {
    let store = MemoryStore::new().max_marks(max_marks);
    let (one, other) = (FaultyStore::new(store.clone()).0, FaultyStore::new(store).0);
    Fixture::new(vec![Arc::new(one), Arc::new(other)])
}

async fn shared(max_marks: usize) -> Fixture {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new().max_marks(max_marks));
    Fixture::new(vec![Arc::new(Arc::clone(&store)), store])
}

/// What promises no more than it has to.
async fn modest(max_marks: usize) -> Fixture {
    let store = Flawed { store: MemoryStore::new().max_marks(max_marks), flaw: Flaw::IsModest };
    Fixture::new(vec![Arc::new(store.clone()), Arc::new(store)])
}

store_conformance!(memory_store, memory);
store_conformance!(bounded_memory_store, bounded);
store_conformance!(faulty_store, crate::faultless);
store_conformance!(shared_store, shared);
store_conformance!(modest_store, modest);

/// A store that breaks one promise.
#[derive(Clone)]
struct Flawed {
    store: MemoryStore,
    flaw: Flaw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// None: it promises neither an exact ledger, nor that the newest wins, nor leases.
    IsModest,
    LosesAMark,
    ForgetsWithoutFolding,
    FoldsIntoExpire,
    StampsEachMark,
    RepeatsMarks,
    NewestFirst,
    BeginsItsOwnEpoch,
    KeepsTheEpoch,
    SkipsAllOfAnotherEpoch,
    CutsAtAnyMark,
    StampsInSeconds,
    MixesUpCase,
    LosesAByte,
    ForgetsKeep,
    TakesAnySize,
    IgnoresVersions,
    ReadsThenWrites,
    ComparesEpochs,
    RemovesAnything,
    ReversesResults,
    ReversesVersions,
    GrantsTwice,
    NeverProlongs,
    TellsNotesToAll,
    KeepsNotesForever,
    HintsWithoutEnd,
}

impl Flawed {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn key(&self, key: &StoreKey) -> StoreKey {
        if self.has(Flaw::MixesUpCase) { StoreKey::of(&key.as_str().to_lowercase()) } else { key.clone() }
    }
}

/// Epoch and stamp of a memory store's cursor.
fn place(cursor: &Cursor) -> (u64, u64) {
    let at = |n: usize| u64::from_be_bytes(cursor.as_bytes()[n..n + 8].try_into().unwrap());
    (at(0), at(8))
}

#[async_trait::async_trait]
impl Store for Flawed {
    fn profile(&self) -> Profile {
        let profile = self.store.profile();
        match self.flaw {
            Flaw::IsModest => {
                Profile::new("modest").with_late(Duration::from_millis(50)).with_min_keep(Duration::from_secs(60))
            }
            Flaw::TakesAnySize => profile.with_max_bytes(1_000),
            _ => profile,
        }
    }

    async fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let found = self.store.get(&self.key(key)).await?;
        let short = usize::from(self.has(Flaw::LosesAByte));
        Ok(found.map(|bytes| bytes.slice(..bytes.len() - short)))
    }

    async fn put(&self, item: &Item) -> Result<Put, StoreError> {
        let mut item = Item { key: self.key(&item.key), ..item.clone() };
        if self.has(Flaw::ForgetsKeep) {
            item.keep *= 1_000;
        }
        if self.has(Flaw::ComparesEpochs) {
            let there = self.store.get(&item.key).await?.and_then(|bytes| Version::read(&bytes));
            if there.is_some_and(|there| there.epoch > item.version.epoch) {
                return Ok(Put::KeptNewer);
            }
        }
        if self.has(Flaw::ReadsThenWrites) {
            let there = self.store.get(&item.key).await?.and_then(|bytes| Version::read(&bytes));
            tokio::task::yield_now().await;
            if there.is_some_and(|there| there.is_newer_than(item.version)) {
                return Ok(Put::KeptNewer);
            }
        }
        if self.has(Flaw::IgnoresVersions) || self.has(Flaw::ReadsThenWrites) {
            self.store.clear_entries();
        }
        self.store.put(&item).await
    }

    async fn put_many(&self, items: &[Item]) -> Vec<Result<Put, StoreError>> {
        let mut results = self.store.put_many(items).await;
        if self.has(Flaw::ReversesResults) {
            results.reverse();
        }
        results
    }

    async fn versions(&self, keys: &[StoreKey]) -> Vec<Result<Option<Version>, StoreError>> {
        let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let mut versions = self.store.versions(&keys).await;
        if self.has(Flaw::ReversesVersions) {
            versions.reverse();
        }
        versions
    }

    async fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        let all = Version { stamp: u64::MAX, begun: u64::MAX, ..upto };
        self.store.remove(&self.key(key), if self.has(Flaw::RemovesAnything) { all } else { upto }).await
    }

    async fn invalidate(&self, marks: &[Mark], fresh: u64) -> Result<Stamped, StoreError> {
        match self.flaw {
            Flaw::LosesAMark => self.store.invalidate(&marks[..marks.len() - 1], fresh).await,
            Flaw::BeginsItsOwnEpoch => self.store.invalidate(marks, 1).await,
            Flaw::StampsEachMark => {
                let mut stamped = self.store.invalidate(&marks[..1], fresh).await?;
                for mark in &marks[1..] {
                    stamped = self.store.invalidate(std::slice::from_ref(mark), fresh).await?;
                }
                Ok(stamped)
            }
            Flaw::StampsInSeconds => {
                let stamped = self.store.invalidate(marks, fresh).await?;
                Ok(Stamped { stamp: stamped.stamp / 1_000_000, ..stamped })
            }
            _ => self.store.invalidate(marks, fresh).await,
        }
    }

    async fn changes(&self, after: Option<&Cursor>, fresh: u64) -> Result<Changes, StoreError> {
        if self.has(Flaw::KeepsTheEpoch) {
            let mut all = self.store.changes(None, fresh).await?;
            all.marks.retain(|(_, stamp)| after.is_none_or(|after| *stamp > place(after).1));
            return Ok(all);
        }
        let fresh = if self.has(Flaw::BeginsItsOwnEpoch) { 2 } else { fresh };
        let mut changes = self.store.changes(after, fresh).await?;
        match self.flaw {
            Flaw::ForgetsWithoutFolding => changes.marks.retain(|(mark, _)| !mark.is_everything()),
            Flaw::FoldsIntoExpire => {
                for (mark, _) in changes.marks.iter_mut().filter(|(mark, _)| mark.is_everything()) {
                    *mark = Mark::everything(Verb::Expire);
                }
            }
            Flaw::RepeatsMarks => changes.cursor = after.cloned().unwrap_or(changes.cursor),
            Flaw::NewestFirst => changes.marks.reverse(),
            Flaw::SkipsAllOfAnotherEpoch if after.is_some_and(|after| place(after).0 != changes.epoch) => {
                changes.marks.clear();
            }
            // It says that it has told a stamp of which marks are still to come.
            Flaw::CutsAtAnyMark if changes.marks.len() > 1 => {
                changes.marks.pop();
                let seen = changes.stamp - 1;
                changes.cursor = Cursor::new([changes.epoch.to_be_bytes(), seen.to_be_bytes()].concat());
                changes.more = true;
            }
            _ => {}
        }
        Ok(changes)
    }

    async fn hint(&self) {
        if !self.has(Flaw::HintsWithoutEnd) {
            self.store.hint().await;
        }
    }

    async fn lease(&self, claim: &Claim) -> Result<Lease, StoreError> {
        let claim = Claim { waited: claim.waited || self.has(Flaw::TellsNotesToAll), ..claim.clone() };
        let lease = self.store.lease(&claim).await?;
        Ok(match lease {
            _ if self.has(Flaw::IsModest) => Lease::Mine,
            Lease::Held if self.has(Flaw::GrantsTwice) => Lease::Mine,
            Lease::Mine if self.has(Flaw::NeverProlongs) => {
                let taken = Claim { token: 77, ..claim.clone() };
                self.store.release(&claim.key, claim.token, Note::Failed, Duration::ZERO).await?;
                self.store.lease(&taken).await?
            }
            lease => lease,
        })
    }

    async fn release(&self, key: &StoreKey, token: u64, note: Note, keep: Duration) -> Result<(), StoreError> {
        let keep = if self.has(Flaw::KeepsNotesForever) { keep * 1_000 } else { keep };
        self.store.release(key, token, note, keep).await
    }
}

/// For checks that have nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(20);

fn keeps(flaw: Flaw, promise: &str, patience: Duration) -> bool {
    let fixture = move |max_marks| async move {
        let store = Flawed { store: MemoryStore::new().max_marks(max_marks), flaw };
        Fixture::new(vec![Arc::new(store.clone()), Arc::new(store)]).patience(patience)
    };
    catch_unwind(AssertUnwindSafe(|| conformance::check(promise, fixture))).is_ok()
}

/// Each flaw is found by the promises that it breaks, and not by one that it keeps.
#[test]
fn the_suite_finds_broken_stores() {
    let unbroken = "what_was_never_put_is_not_there";
    for (flaw, promises) in [
        (Flaw::LosesAMark, &["changes_are_what_is_new", "no_concurrent_mark_is_lost"][..]),
        (Flaw::ForgetsWithoutFolding, &["folding_covers_what_it_forgets", "folding_covers_more_marks_than_fit"]),
        (Flaw::FoldsIntoExpire, &["folding_of_one_verb_spares_the_other"]),
        (Flaw::StampsEachMark, &["marks_of_one_call_have_one_stamp"]),
        (Flaw::RepeatsMarks, &["changes_are_what_is_new", "no_concurrent_mark_is_lost"]),
        (Flaw::NewestFirst, &["without_a_cursor_all_marks_are_told"]),
        (Flaw::BeginsItsOwnEpoch, &["an_empty_ledger_begins_with_fresh", "an_invalidation_begins_an_empty_ledger"]),
        (Flaw::KeepsTheEpoch, &["a_reader_ahead_renews_the_epoch"]),
        (Flaw::SkipsAllOfAnotherEpoch, &["a_cursor_of_another_epoch_gets_all_marks"]),
        (Flaw::CutsAtAnyMark, &["many_marks_arrive_complete"]),
        (Flaw::StampsInSeconds, &["stamps_ascend_and_follow_the_time"]),
        (Flaw::MixesUpCase, &["keys_stay_apart"]),
        (Flaw::LosesAByte, &["entries_come_back_byte_for_byte"]),
        (Flaw::TakesAnySize, &["entries_that_are_too_large_are_refused"]),
        (Flaw::IgnoresVersions, &["the_newest_of_an_epoch_stays", "the_newest_of_concurrent_puts_stays"]),
        (Flaw::ReadsThenWrites, &["the_newest_of_concurrent_puts_stays"]),
        (Flaw::ComparesEpochs, &["another_epoch_replaces"]),
        (Flaw::RemovesAnything, &["removing_spares_what_is_newer"]),
        (Flaw::ReversesResults, &["many_are_put_in_their_order"]),
        (Flaw::ReversesVersions, &["versions_are_told_in_order"]),
        (Flaw::GrantsTwice, &["a_lease_is_granted_once", "a_stranger_releases_nothing"]),
        (Flaw::NeverProlongs, &["a_lease_is_granted_once"]),
        (Flaw::TellsNotesToAll, &["a_note_is_for_those_who_wait"]),
        (Flaw::HintsWithoutEnd, &["a_hint_does_no_harm"]),
    ] {
        for promise in promises {
            assert!(!keeps(flaw, promise, PATIENCE), "{flaw:?} is not found by {promise}");
        }
        assert!(keeps(flaw, unbroken, PATIENCE), "{flaw:?} is found by {unbroken}");
    }
}

/// The same, of what is waited for: it should end after a third of a second.
#[test]
fn the_suite_finds_what_never_ends() {
    let checks = [(Flaw::ForgetsKeep, "entries_vanish_after_keep"), (Flaw::KeepsNotesForever, "a_note_ends")];
    std::thread::scope(|scope| {
        for (flaw, promise) in checks {
            scope.spawn(move || {
                assert!(!keeps(flaw, promise, Duration::from_secs(3)), "{flaw:?} is not found by {promise}");
            });
        }
    });
}
