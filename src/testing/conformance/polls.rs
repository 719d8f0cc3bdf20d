//! `changes` and `hint`: what readers are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::nodes::{Nodes, Setup, Works, mark, tags};
use super::reader::{NOT_EMPTY, Reader, stamped};
use crate::store::{Mark, Store};

/// `changes`: after a cursor come the marks that are new since, once.
pub(super) async fn changes_are_what_is_new(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut readers = [Reader::at_end(&nodes.a, 7).await, Reader::at_end(&nodes.b, 7).await];
    for round in 0..6 {
        let mut expected = Vec::new();
        // More and more calls between two polls, none in the first.
        for call in 0..round {
            let marks = tags(&format!("{round}:{call}"), 2);
            let noted = nodes.both()[call % 2].invalidate(&marks, NOT_EMPTY).await.works("invalidate");
            expected.extend(stamped(&marks, noted));
        }
        for reader in &mut readers {
            reader.is_told(&nodes, &expected, "what is new since the last poll").await;
            reader.is_told(&nodes, &[], "nothing is new").await;
        }
    }
}

/// `changes`: a mark that is made again is told again, with its new stamp and that alone.
pub(super) async fn a_mark_made_again_is_new_again(setup: Setup) {
    let nodes = setup.nodes().await;
    let (again, once) = (mark("etagain"), mark("etonce"));
    let first = nodes.a.invalidate(&[again.clone(), once.clone()], 7).await.works("invalidate");
    let mut late = Reader::new(&nodes.b);
    let mut early = Reader::at_end(&nodes.b, 7).await;
    if !nodes.exact() {
        // Logs of a late store may hold a mark twice.
        return;
    }
    let second = nodes.b.invalidate(std::slice::from_ref(&again), 7).await.works("invalidate");
    let third = nodes.a.invalidate(std::slice::from_ref(&again), 7).await.works("invalidate");
    assert!(first.stamp < second.stamp && second.stamp < third.stamp, "stamps do not ascend");
    early.is_told(&nodes, &[(again.clone(), third.stamp)], "a mark made again, twice").await;
    late.is_told(&nodes, &[(once, first.stamp), (again, third.stamp)], "all marks, one of them made again").await;
}

/// `changes`: a reader without a cursor is told all marks.
pub(super) async fn without_a_cursor_all_marks_are_told(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut all = Vec::new();
    for call in 0..5 {
        let marks = tags(&call.to_string(), 3);
        all.extend(stamped(&marks, nodes.a.invalidate(&marks, 7).await.works("invalidate")));
    }
    for store in nodes.both() {
        Reader::new(store).is_told(&nodes, &all, "all marks").await;
        Reader::new(store).is_told(&nodes, &all, "all marks, to another reader").await;
    }
}

/// `changes`: a reader whose cursor is of another epoch is told all marks.
pub(super) async fn a_cursor_of_another_epoch_gets_all_marks(setup: Setup) {
    let (other, nodes) = (setup.nodes().await, setup.nodes().await);
    if !nodes.exact() {
        return;
    }
    let marks = tags("t", 3);
    let noted = nodes.a.invalidate(&marks, 7).await.works("invalidate");
    // Of an empty ledger, and of one that is ahead.
    for invalidations in [0, 5] {
        let mut reader = Reader::at_end(&other.a, 8).await;
        for _ in 0..invalidations {
            other.a.invalidate(&tags("other", 9), 8).await.works("invalidate");
        }
        reader.news(8).await;
        let mut here = Reader::at(&nodes.b, reader.cursor);
        here.is_told(&nodes, &stamped(&marks, noted), "all marks, since the cursor is of another epoch").await;
        assert_eq!(here.epoch, 7, "the ledger's own epoch: the reader knows more of another one, not of this");
    }
}

/// `changes`: a cursor beyond the newest stamp, which an old dump has brought about, makes the ledger empty and gives it
/// the epoch `fresh`. The cursor comes from another namespace with the same epoch.
pub(super) async fn a_reader_ahead_renews_the_epoch(setup: Setup) {
    let (ahead, nodes) = (setup.nodes().await, setup.nodes().await);
    if !nodes.exact() {
        return;
    }
    let old = nodes.a.invalidate(&tags("kept", 1), 7).await.works("invalidate");
    let mut behind = Reader::at_end(&nodes.b, NOT_EMPTY).await;
    let cursor = loop {
        let newer = ahead.a.invalidate(&tags("lost", 9), 7).await.works("invalidate");
        assert_eq!(newer.epoch, 7, "an empty ledger begins with `fresh`");
        if newer.stamp > old.stamp {
            break ahead.a.changes(None, NOT_EMPTY).await.works("changes").cursor;
        }
    };
    let renewed = nodes.a.changes(Some(&cursor), 70).await.works("changes");
    assert_eq!((renewed.epoch, renewed.marks.len(), renewed.more), (70, 0, false), "an empty ledger of epoch `fresh`");
    let once = nodes.a.changes(Some(&renewed.cursor), 71).await.works("changes");
    assert_eq!(once.epoch, 70, "it was renewed already");
    behind.is_told(&nodes, &[], "the ledger is empty").await;
    assert_eq!(behind.epoch, 70, "other readers learn of the epoch");
    let marks = tags("after", 2);
    let noted = nodes.b.invalidate(&marks, 72).await.works("invalidate");
    assert_eq!(noted.epoch, 70, "marks go on in the new epoch");
    behind.is_told(&nodes, &stamped(&marks, noted), "marks of the new epoch").await;
}

/// `invalidate` and `changes`: of invalidations that overlap none is lost, and readers in between see each once.
pub(super) async fn no_concurrent_mark_is_lost(setup: Setup) {
    const TASKS: usize = 8;
    const CALLS: usize = 25;
    let nodes = setup.nodes().await;
    let mut readers = [Reader::at_end(&nodes.a, 7).await, Reader::at_end(&nodes.b, 7).await];
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            tokio::spawn(invalidate_one_by_one(Arc::clone(nodes.both()[task % 2]), tags(&task.to_string(), CALLS)))
        })
        .collect();
    let mut told = [Vec::new(), Vec::new()];
    while tasks.iter().any(|task| !task.is_finished()) {
        for (reader, told) in readers.iter_mut().zip(&mut told) {
            told.extend(reader.news(NOT_EMPTY).await);
        }
        tokio::task::yield_now().await;
    }
    let mut made = HashMap::new();
    for task in tasks {
        made.extend(task.await.unwrap());
    }
    let calls: std::collections::HashSet<_> = made.values().collect();
    assert!(!nodes.exact() || calls.len() == TASKS * CALLS, "{} stamps of {} calls", calls.len(), TASKS * CALLS);
    for (reader, mut told) in readers.into_iter().zip(told) {
        finish(&nodes, reader, &mut told, made.len()).await;
        for (mark, stamp) in told {
            let made = made.get(&mark.to_text()).copied();
            assert!(made.is_some(), "a mark was told that nobody made: {}", mark.to_text());
            assert!(!nodes.exact() || made == Some(stamp), "{}: told with {stamp}, made with {made:?}", mark.to_text());
        }
    }
}

async fn invalidate_one_by_one(store: Arc<dyn Store>, marks: Vec<Mark>) -> Vec<(String, u64)> {
    let mut made = Vec::new();
    for mark in marks {
        let noted = store.invalidate(std::slice::from_ref(&mark), NOT_EMPTY).await.works("invalidate");
        made.push((mark.to_text(), noted.stamp));
        tokio::task::yield_now().await;
    }
    made
}

/// Reads the rest; then each of so many marks was told once.
async fn finish(nodes: &Nodes, mut reader: Reader, told: &mut Vec<(Mark, u64)>, marks: usize) {
    told.extend(reader.news(NOT_EMPTY).await);
    if !nodes.exact() {
        nodes
            .until("all marks are told", async || {
                told.extend(reader.news(NOT_EMPTY).await);
                (told.len() >= marks).then_some(())
            })
            .await;
    }
    let different: std::collections::HashSet<_> = told.iter().map(|(mark, _)| mark.to_text()).collect();
    assert_eq!((different.len(), told.len()), (marks, marks), "different marks, and marks, that a reader was told");
}

/// `Changes::more`: many marks are told completely, however many answers it takes.
pub(super) async fn many_marks_arrive_complete(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut early = Reader::at_end(&nodes.b, 7).await;
    let marks = tags("with a name that is somewhat longer", 25_000);
    for chunk in marks.chunks(500) {
        nodes.a.invalidate(chunk, NOT_EMPTY).await.works("invalidate");
    }
    let mut told = early.news(NOT_EMPTY).await;
    finish(&nodes, early, &mut told, marks.len()).await;
    finish(&nodes, Reader::new(&nodes.a), &mut Vec::new(), marks.len()).await;
}

/// `hint`: it may return or not; it does not panic, and the ledger is as it was.
pub(super) async fn a_hint_does_no_harm(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut reader = Reader::at_end(&nodes.b, 7).await;
    let store = Arc::clone(&nodes.b);
    let hint = tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(2), store.hint()).await.is_ok() });
    tokio::task::yield_now().await;
    let marks = tags("t", 1);
    let noted = nodes.a.invalidate(&marks, NOT_EMPTY).await.works("invalidate");
    assert!(hint.await.is_ok(), "`hint` panicked");
    reader.is_told(&nodes, &stamped(&marks, noted), "whatever the hint says").await;
    // Quiet: a store that has nothing to say does not keep a node busy.
    let mut hints = 0_u32;
    let counting = async {
        loop {
            nodes.b.hint().await;
            hints += 1;
            tokio::task::yield_now().await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(300), counting).await;
    assert!(hints < 1_000, "`hint` returned {hints} times in 300 ms while nothing happened");
}
