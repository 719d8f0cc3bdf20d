//! The faults of `FaultyStore` and the accidents of `MemoryStore`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use axum_isr::store::{
    Changes, Claim, Cursor, Item, Lease, Mark, Note, Put, Store, StoreError, StoreErrorKind, StoreKey, Verb, Version,
};
use axum_isr::testing::{Fault, Faults, FaultyStore, ManualClock, MemoryStore, Operation};
use bytes::Bytes;

const HOUR: Duration = Duration::from_secs(3_600);

fn expire() -> Mark {
    Mark::everything(Verb::Expire)
}

fn item(key: &str, stamp: u64) -> Item {
    let version = Version { epoch: 1, stamp, begun: 0 };
    let bytes = [&b"anything"[..], &version.to_bytes(), key.as_bytes()].concat().into();
    Item { key: StoreKey::of(key), version, bytes, keep: HOUR }
}

fn faulty() -> (MemoryStore, FaultyStore<MemoryStore>, Faults) {
    let memory = MemoryStore::new();
    let (store, faults) = FaultyStore::new(memory.clone());
    (memory, store, faults)
}

async fn get(store: &impl Store, key: &str) -> Result<Option<Bytes>, StoreError> {
    store.get(&StoreKey::of(key)).await
}

async fn all(store: &impl Store, after: Option<&Cursor>, fresh: u64) -> Changes {
    store.changes(after, fresh).await.unwrap()
}

/// Calls an operation, and says whether it went well.
async fn call(store: &impl Store, operation: Operation) -> Result<(), StoreErrorKind> {
    let (item, claim) = (item("k", 1), Claim { key: StoreKey::of("k"), token: 1, ttl: HOUR, waited: false });
    match operation {
        Operation::Get => store.get(&item.key).await.map(drop),
        Operation::Put => store.put(&item).await.map(drop),
        Operation::Versions => {
            store.versions(&[item.key.clone(), item.key]).await.into_iter().try_for_each(|got| got.map(drop))
        }
        Operation::PutMany => store.put_many(&[item.clone(), item]).await.into_iter().try_for_each(|put| put.map(drop)),
        Operation::Remove => store.remove(&item.key, item.version).await,
        Operation::Invalidate => store.invalidate(&[expire()], 7).await.map(drop),
        Operation::Changes => store.changes(None, 7).await.map(drop),
        Operation::Lease => store.lease(&claim).await.map(drop),
        Operation::Release => store.release(&claim.key, 1, Note::Stored, HOUR).await,
        _ => Ok(()),
    }
    .map_err(|error| error.kind())
}

#[tokio::test]
async fn an_error_is_of_its_operation_until_it_is_cleared() {
    let (_, store, faults) = faulty();
    for failing in Operation::ALL {
        faults.set(failing, Fault::Error(StoreErrorKind::Denied));
        for operation in Operation::ALL {
            let fails = operation == failing && operation != Operation::Hint;
            let expected = if fails { Err(StoreErrorKind::Denied) } else { Ok(()) };
            assert_eq!(call(&store, operation).await, expected, "{operation:?} while {failing:?} fails");
        }
        faults.clear();
    }
    faults.set_all(&Fault::Error(StoreErrorKind::Full));
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::Hint) {
        assert_eq!(call(&store, operation).await, Err(StoreErrorKind::Full), "{operation:?}");
        // Once for each that failed before, and this one.
        assert_eq!(faults.calls(operation), Operation::ALL.len() as u64 + 1, "{operation:?}");
    }
}

#[tokio::test]
async fn a_fault_for_once_goes_before_one_that_stays() {
    let (_, store, faults) = faulty();
    faults.set(Operation::Get, Fault::Error(StoreErrorKind::Full));
    faults.once(Operation::Get, Fault::Error(StoreErrorKind::Denied));
    faults.once(Operation::Get, Fault::Delay(Duration::ZERO));
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(call(&store, Operation::Get).await);
    }
    assert_eq!(results, [Err(StoreErrorKind::Denied), Ok(()), Err(StoreErrorKind::Full)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_when_it_is_cleared_or_dropped() {
    let (memory, store, faults) = faulty();
    faults.set(Operation::Put, Fault::Hang);
    let hanging = store.clone();
    let put = tokio::spawn(async move { hanging.put(&item("a", 1)).await });
    let dropped = item("b", 1);
    assert!(tokio::time::timeout(HOUR, store.put(&dropped)).await.is_err());
    assert_eq!((faults.in_flight(), faults.calls(Operation::Put), memory.entries()), (1, 2, 0));
    faults.clear();
    assert_eq!(put.await.unwrap().unwrap(), Put::Stored);
    assert_eq!((faults.in_flight(), memory.keys()), (0, vec!["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_by_tokios_clock() {
    let (memory, store, faults) = faulty();
    faults.set(Operation::Put, Fault::Delay(HOUR));
    let began = tokio::time::Instant::now();
    let item = item("a", 1);
    assert!(tokio::time::timeout(HOUR / 2, store.put(&item)).await.is_err());
    assert_eq!((memory.entries(), faults.in_flight()), (0, 0), "dropped before it was done");
    store.put(&item).await.unwrap();
    assert_eq!((memory.entries(), began.elapsed().as_secs()), (1, 3 * 1_800));
}

#[tokio::test]
async fn a_panic_reaches_the_caller_and_ends_the_call() {
    let (_, store, faults) = faulty();
    faults.once(Operation::Changes, Fault::Panic);
    let panicking = store.clone();
    assert!(tokio::spawn(async move { panicking.changes(None, 7).await }).await.unwrap_err().is_panic());
    assert_eq!(faults.in_flight(), 0);
    assert_eq!(all(&store, None, 7).await.epoch, 7);
}

#[tokio::test]
async fn got_bytes_are_corrupt_or_swapped() {
    let (memory, store, faults) = faulty();
    let (a, b) = (item("a", 1), item("b", 1));
    faults.set(Operation::Get, Fault::Swap);
    store.put(&a).await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), Some(a.bytes.clone()), "there is no other");
    store.put(&b).await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), Some(b.bytes.clone()));
    assert_eq!(get(&store, "b").await.unwrap(), Some(a.bytes.clone()));
    assert_eq!(get(&store, "none").await.unwrap(), Some(b.bytes));
    faults.set(Operation::Get, Fault::Corrupt);
    let corrupt = get(&store, "a").await.unwrap().unwrap();
    assert_eq!(corrupt.iter().zip(&a.bytes).filter(|(x, y)| x != y).count(), 1);
    assert_eq!(corrupt.len(), a.bytes.len());
    assert_eq!(get(&store, "none").await.unwrap(), None);
    assert_eq!(memory.entry("a"), Some(a.bytes), "what is stored is whole");
}

#[tokio::test]
async fn what_is_forgotten_is_said_to_be_done() {
    let (memory, store, faults) = faulty();
    let first = store.invalidate(&[expire()], 7).await.unwrap();
    store.put(&item("kept", 1)).await.unwrap();
    faults.set_all(&Fault::Forget);
    assert_eq!(store.put(&item("a", 1)).await.unwrap(), Put::Stored);
    assert_eq!(store.put_many(&[item("b", 1)]).await.len(), 1);
    store.remove(&StoreKey::of("kept"), item("kept", 9).version).await.unwrap();
    assert_eq!(memory.keys(), ["kept"]);
    assert_eq!(get(&store, "kept").await.unwrap(), None);
    let said = store.invalidate(&[expire()], 8).await.unwrap();
    assert!(said.epoch == 7 && said.stamp > first.stamp, "{said:?}");
    let passed = all(&store, None, 8).await;
    assert_eq!((passed.marks.len(), passed.stamp), (0, first.stamp));
    faults.clear();
    assert_eq!(all(&store, None, 8).await.marks, [(expire(), first.stamp)]);
    assert_eq!(all(&store, Some(&passed.cursor), 8).await.marks, []);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_lost_after_the_effect() {
    let (memory, store, faults) = faulty();
    faults.set_all(&Fault::lost_answer());
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::Hint) {
        assert_eq!(call(&store, operation).await, Err(StoreErrorKind::TimedOut), "{operation:?}");
    }
    assert_eq!(memory.entries(), 0, "put, and then removed");
    assert_eq!(all(&memory, None, 8).await.marks.len(), 1);
    faults.set(Operation::Put, Fault::After(Box::new(Fault::Hang)));
    assert!(tokio::time::timeout(HOUR, store.put(&item("a", 1))).await.is_err());
    assert_eq!(memory.keys(), ["a"], "done, though it never said so");
}

#[tokio::test]
async fn time_is_the_clocks() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let claim = |token, waited| Claim { key: StoreKey::of("k"), token, ttl: HOUR, waited };
    store.put(&item("a", 9)).await.unwrap();
    store.lease(&claim(1, false)).await.unwrap();
    let first = store.invalidate(&[expire()], 7).await.unwrap().stamp;
    assert_eq!(first, 1_767_225_600_000_000);
    clock.rewind(HOUR);
    assert_eq!(store.invalidate(&[expire()], 7).await.unwrap().stamp, first + 1);
    clock.advance(Duration::from_micros(3_599_999_999));
    assert_eq!((store.entries(), store.lease(&claim(2, true)).await.unwrap()), (1, Lease::Held));
    store.release(&StoreKey::of("k"), 1, Note::Pass, Duration::from_micros(2)).await.unwrap();
    clock.advance(Duration::from_micros(1));
    assert_eq!((store.entries(), get(&store, "a").await.unwrap()), (0, None));
    assert_eq!(store.put(&item("a", 1)).await.unwrap(), Put::Stored, "what was newer is gone");
    assert_eq!(store.lease(&claim(2, true)).await.unwrap(), Lease::Noted(Note::Pass));
    clock.advance(Duration::from_micros(1));
    assert_eq!(store.lease(&claim(2, true)).await.unwrap(), Lease::Mine);
}

#[tokio::test]
async fn a_lost_ledger_begins_again_and_entries_stay() {
    let store = MemoryStore::new();
    store.put(&item("a", 1)).await.unwrap();
    store.invalidate(&[expire()], 7).await.unwrap();
    let before = all(&store, None, 0).await;
    store.clone().lose_ledger();
    let after = all(&store, Some(&before.cursor), 8).await;
    assert_eq!((after.epoch, after.stamp, after.marks.len(), store.entries()), (8, 0, 0, 1));
    store.clear_entries();
    assert_eq!(store.entries(), 0);
}

#[tokio::test]
async fn an_old_ledger_comes_back() {
    let store = MemoryStore::new();
    let old = store.invalidate(&[Mark::from_text("eta")], 7).await.unwrap();
    let (snapshot, behind) = (store.ledger_snapshot(), all(&store, None, 0).await);
    store.invalidate(&[Mark::from_text("etb")], 7).await.unwrap();
    let ahead = all(&store, None, 0).await;
    store.restore_ledger(&snapshot);
    let restored = all(&store, Some(&behind.cursor), 8).await;
    assert_eq!((restored.epoch, restored.stamp, restored.marks.len()), (7, old.stamp, 0));
    let renewed = all(&store, Some(&ahead.cursor), 8).await;
    assert_eq!((renewed.epoch, renewed.stamp, renewed.marks.len()), (8, 0, 0));
}

#[tokio::test]
async fn entries_are_edited() {
    let store = MemoryStore::new();
    let (a, b) = (item("a", 5), item("b", 5));
    for item in [&a, &b] {
        store.put(item).await.unwrap();
    }
    // Its own closure may ask the store.
    store.edit(|key, bytes| (key == "a").then(|| store.entry("b")).flatten().filter(|other| other != bytes));
    assert_eq!((store.entry("a"), store.entry("b")), (Some(b.bytes.clone()), Some(b.bytes)));
    // Bytes without a version are replaced.
    store.edit(|key, _| (key == "a").then(|| Bytes::from_static(b"garbage")));
    assert_eq!(store.put(&item("a", 0)).await.unwrap(), Put::Stored);
    assert_eq!(store.keys(), ["a", "b"]);
}

/// Old marks are folded, and those on everything have a place of their own.
#[tokio::test]
async fn marks_are_bounded() {
    let store = MemoryStore::new().max_marks(2);
    let mut stamps = Vec::new();
    for text in ["eta", "rtb", "e*", "etc", "etd"] {
        stamps.push(store.invalidate(&[Mark::from_text(text)], 7).await.unwrap().stamp);
    }
    let marks: Vec<_> = all(&store, None, 7).await.marks.into_iter().map(|(mark, at)| (mark.to_text(), at)).collect();
    let expected = [("r*", stamps[1]), ("e*", stamps[2]), ("etc", stamps[3]), ("etd", stamps[4])];
    assert_eq!(marks, expected.map(|(text, at)| (text.to_owned(), at)));
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_wakes_those_who_wait_for_a_hint() {
    let (memory, store, faults) = faulty();
    let waits = |store: FaultyStore<MemoryStore>| {
        tokio::spawn(async move { tokio::time::timeout(HOUR, store.hint()).await.is_ok() })
    };
    for (fault, woken) in [(None, true), (Some(Fault::Forget), false), (Some(Fault::lost_answer()), false)] {
        faults.clear();
        if let Some(fault) = fault {
            faults.set(Operation::Hint, fault);
        }
        let waiting = [waits(store.clone()), waits(store.clone())];
        tokio::task::yield_now().await;
        memory.invalidate(&[expire()], 7).await.unwrap();
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), woken);
        }
    }
}
