//! `invalidate`: stamps, epochs, and that marks come back as they were.

use super::nodes::{Setup, Works, mark, now, tags};
use super::reader::{NOT_EMPTY, Reader, stamped};
use crate::store::{Mark, Verb};

/// By how much the clocks of store and test may differ.
const CLOCKS: u64 = 60_000_000;

/// `changes`: an empty ledger begins with the epoch of the first who asks, and has no marks; others find that epoch.
pub(super) async fn an_empty_ledger_begins_with_fresh(setup: Setup) {
    let nodes = setup.nodes().await;
    // Epochs are any number.
    let epoch = u64::MAX - 5;
    let first = nodes.a.changes(None, epoch).await.works("changes");
    assert_eq!((first.epoch, first.marks.len(), first.more), (epoch, 0, false), "an empty ledger");
    if !nodes.exact() {
        return;
    }
    assert_eq!(first.stamp, 0, "the newest stamp of a ledger without marks");
    for store in nodes.both() {
        let second = store.changes(None, 12).await.works("changes");
        assert_eq!(second.epoch, epoch, "the epoch that has begun, not `fresh`");
        let third = store.changes(Some(&first.cursor), 13).await.works("changes");
        assert_eq!((third.epoch, third.marks.len()), (epoch, 0), "nothing has happened since");
    }
    let noted = nodes.b.invalidate(&tags("t", 1), 14).await.works("invalidate");
    assert_eq!(noted.epoch, epoch, "the epoch that has begun, not `fresh`");
}

/// `invalidate`: on an empty ledger it begins the epoch `fresh`.
pub(super) async fn an_invalidation_begins_an_empty_ledger(setup: Setup) {
    let nodes = setup.nodes().await;
    let marks = tags("t", 1);
    let epoch = 1 << 63;
    let noted = nodes.a.invalidate(&marks, epoch).await.works("invalidate");
    assert_eq!(noted.epoch, epoch, "an empty ledger begins with `fresh`");
    if nodes.exact() {
        let again = nodes.b.invalidate(&marks, 12).await.works("invalidate");
        assert_eq!(again.epoch, epoch, "the epoch that has begun, not `fresh`");
        let changes = nodes.b.changes(None, 13).await.works("changes");
        assert_eq!((changes.epoch, changes.stamp), (epoch, again.stamp), "epoch and newest stamp");
    }
}

/// `invalidate`: stamps ascend strictly over calls and handles, and are the time in microseconds, give or take a minute.
pub(super) async fn stamps_ascend_and_follow_the_time(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut last = 0;
    for round in 0..20 {
        for store in nodes.both() {
            let began = now();
            let stamp = store.invalidate(&tags("t", 1 + round % 3), 7).await.works("invalidate").stamp;
            assert!(!nodes.exact() || stamp > last, "a stamp of {stamp} after {last}");
            assert!(stamp >= began - CLOCKS, "a stamp of {stamp} is before the time in µs, {began}");
            assert!(stamp <= now() + CLOCKS, "a stamp of {stamp} is after the time in µs, {}", now());
            last = stamp;
        }
    }
}

/// `invalidate`: all marks of a call have the stamp that it returns.
pub(super) async fn marks_of_one_call_have_one_stamp(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut reader = Reader::new(&nodes.b);
    let marks = [tags("t", 30), vec![mark("rp/a"), mark("ex/a"), mark("ru/a/{b}")]].concat();
    let noted = nodes.a.invalidate(&marks, 7).await.works("invalidate");
    reader.is_told(&nodes, &stamped(&marks, noted), "marks of one call").await;
}

/// `invalidate` and `changes`: marks of each verb on each kind of thing, with whatever text, are told as they were made.
pub(super) async fn marks_of_all_kinds_come_back(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut texts = vec!["*".to_owned()];
    let names =
        ["a", "A", " ", "a b", "a\tb", "a\nb", "a\r\nb", "a\0b", "{a}", "\"a\"", "\\", "%", "é", "\u{1F980}", "*"];
    texts.extend(names.map(|name| format!("t{name}")));
    texts.push(format!("t{}", "x".repeat(256)));
    texts.push(format!("t{}", "\u{1F980}".repeat(64)));
    texts.push(format!("t{}", "\n".repeat(256)));
    texts.extend(
        ["p/", "p/a", "p/%C3%A9/a%20b", "x/", "x/a", "u/", "u/posts/{slug}", "u/{*rest}", "u/a b\n"].map(String::from),
    );
    texts.push(format!("p/{}", "long/".repeat(800) + "x"));
    texts.push(format!("x{}", "/segment".repeat(32)));
    let marks: Vec<_> =
        ["r", "e"].iter().flat_map(|verb| texts.iter().map(move |text| mark(&format!("{verb}{text}")))).collect();

    let mut together = Reader::new(&nodes.b);
    let noted = nodes.a.invalidate(&marks, 7).await.works("invalidate");
    together.is_told(&nodes, &stamped(&marks, noted), "marks of all kinds, in one call").await;
    for mark in &marks {
        let noted = nodes.a.invalidate(std::slice::from_ref(mark), 7).await.works("invalidate");
        together.is_told(&nodes, &[(mark.clone(), noted.stamp)], "one mark").await;
    }
}

/// `invalidate`: the same mark twice in a call is told once.
pub(super) async fn a_mark_twice_in_a_call_is_one(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut reader = Reader::new(&nodes.b);
    let [a, b] = [mark("eta"), mark("rta")];
    let twice = [a.clone(), b.clone(), a.clone(), a.clone(), b.clone()];
    let noted = nodes.a.invalidate(&twice, 7).await.works("invalidate");
    reader.is_told(&nodes, &stamped(&[a, b], noted), "a mark named twice in a call").await;
    let everything = [Mark::everything(Verb::Expire), Mark::everything(Verb::Expire)];
    let noted = nodes.a.invalidate(&everything, NOT_EMPTY).await.works("invalidate");
    reader.is_told(&nodes, &stamped(&everything[..1], noted), "everything named twice in a call").await;
}

/// `profile`: always the same, and for all handles.
pub(super) async fn the_profile_is_constant(setup: Setup) {
    let nodes = setup.nodes().await;
    nodes.stores(&nodes.item("k", super::nodes::version(1, 1, 1), b"x"), "nothing was there").await;
    nodes.a.invalidate(&tags("t", 1), 7).await.works("invalidate");
    for store in nodes.both() {
        assert_eq!(store.profile(), nodes.profile, "the profile has changed, or differs between handles");
    }
    assert!(!nodes.profile.name.is_empty(), "the profile has no name");
}
