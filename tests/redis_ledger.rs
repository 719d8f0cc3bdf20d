//! The ledger in a real server: marks, their order, folding, and what is lost.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/redis.rs"]
mod servers;

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use axum_isr::store::{Changes, Cursor, Mark, RedisStore, Store, StoreErrorKind, Verb};
use servers::{Server, connect, eventually, marks, patient, tag, tags};

const LEDGER: &str = "{isr}:ledger";

#[tokio::test]
async fn an_empty_ledger_begins_with_the_epoch_that_is_given() {
    let server = Server::start();
    let store = connect(&server).await;
    let empty = store.changes(None, u64::MAX).await.unwrap();
    assert_eq!((empty.epoch, empty.stamp, empty.marks.len(), empty.more), (u64::MAX, 0, 0, false));
    // Only the first one counts.
    assert_eq!(store.changes(Some(&empty.cursor), 7).await.unwrap(), empty);
    assert_eq!(store.invalidate(&[tag("a")], 8).await.unwrap().epoch, u64::MAX);
    server.run::<()>(&["DEL", LEDGER]);
    assert_eq!(store.invalidate(&[tag("a")], 9).await.unwrap().epoch, 9);
    assert_eq!(server.run::<i64>(&["PTTL", LEDGER]), -1, "it is never evicted for its age");
}

#[tokio::test]
async fn the_marks_of_one_call_have_one_stamp_and_later_ones_a_larger() {
    let server = Server::start();
    let store = connect(&server).await;
    let before = micros();
    let first = store.invalidate(&tags(0..3), 1).await.unwrap();
    assert!((before..before + 60_000_000).contains(&first.stamp), "the time in microseconds");
    let after_first = store.changes(None, 1).await.unwrap();
    assert_eq!((after_first.stamp, after_first.more), (first.stamp, false));
    assert_eq!(set(&after_first), tags(0..3).into_iter().map(|mark| (mark, first.stamp)).collect());
    // One of them again: it is told again, with its new stamp, and the others are not.
    let second = store.invalidate(&[tag("2"), tag("2"), Mark::everything(Verb::Revalidate)], 1).await.unwrap();
    assert!(second.stamp > first.stamp);
    let news = store.changes(Some(&after_first.cursor), 1).await.unwrap();
    assert_eq!(set(&news), [(tag("2"), second.stamp), (Mark::everything(Verb::Revalidate), second.stamp)].into());
    let all = store.changes(None, 1).await.unwrap();
    let stamps: Vec<u64> = all.marks.iter().map(|(_, stamp)| *stamp).collect();
    assert_eq!(stamps, [first.stamp, first.stamp, second.stamp, second.stamp], "oldest first");
    assert_eq!(all.cursor, news.cursor);
    assert!(store.changes(Some(&all.cursor), 1).await.unwrap().marks.is_empty());
    // A cursor of another epoch, or another store: all of them.
    for foreign in [Cursor::new(vec![7; 16]), Cursor::new("x"), Cursor::new("")] {
        assert_eq!(store.changes(Some(&foreign), 1).await.unwrap(), all);
    }
}

#[tokio::test]
async fn no_mark_at_all_changes_nothing() {
    let server = Server::start();
    let store = connect(&server).await;
    let stamped = store.invalidate(&[tag("a")], 1).await.unwrap();
    assert_eq!(store.invalidate(&[], 1).await.unwrap(), stamped);
    assert_eq!(marks(&store).await, [tag("a")]);
}

#[tokio::test]
async fn stamps_rise_even_when_the_clock_does_not() {
    let server = Server::start();
    let store = connect(&server).await;
    store.invalidate(&[tag("a")], 1).await.unwrap();
    // Written when the clock was a year ahead.
    let ahead = micros() + 365 * 24 * 3_600 * 1_000_000;
    server.run::<()>(&["ZADD", LEDGER, &ahead.to_string(), "m:etb"]);
    for n in 1..4 {
        assert_eq!(store.invalidate(&[tag("a")], 1).await.unwrap().stamp, ahead + n);
    }
}

/// From many processes at once: no mark is lost, and each call has a stamp of its own.
#[tokio::test]
async fn no_acknowledged_mark_is_missed_by_a_reader() {
    let server = Server::start();
    let (reader, mut writers) = (connect(&server).await, Vec::new());
    for writer in 0..4 {
        let store = connect(&server).await;
        writers.push(tokio::spawn(async move {
            let mut stamped = HashMap::new();
            for n in 0..100 {
                let mark = tag(&format!("{writer}-{n}"));
                let stamp = store.invalidate(std::slice::from_ref(&mark), 1).await.unwrap().stamp;
                stamped.insert(mark, stamp);
            }
            stamped
        }));
    }
    let mut cursor: Option<Cursor> = None;
    let mut seen = Vec::new();
    while seen.len() < 400 {
        let changes = reader.changes(cursor.as_ref(), 1).await.unwrap();
        seen.extend(changes.marks);
        cursor = Some(changes.cursor);
    }
    assert!(seen.is_sorted_by_key(|(_, stamp)| *stamp));
    assert_eq!(seen.iter().map(|(_, stamp)| stamp).collect::<HashSet<_>>().len(), 400);
    for writer in writers {
        for (mark, stamp) in writer.await.unwrap() {
            assert!(seen.contains(&(mark, stamp)));
        }
    }
}

#[tokio::test]
async fn the_oldest_marks_are_folded_into_their_verb() {
    let server = Server::start();
    let store = patient().max_marks(3).connect(&server.url()).await.unwrap();
    let revalidate = |name: &str| Mark::from_text(&format!("rt{name}"));
    let mut stamps = Vec::new();
    for mark in [revalidate("0"), tag("1"), revalidate("2"), tag("3"), tag("4"), tag("5")] {
        stamps.push(store.invalidate(&[mark], 1).await.unwrap().stamp);
    }
    let all = store.changes(None, 1).await.unwrap();
    let expected = [
        (Mark::everything(Verb::Expire), stamps[1]),
        (Mark::everything(Verb::Revalidate), stamps[2]),
        (tag("3"), stamps[3]),
        (tag("4"), stamps[4]),
        (tag("5"), stamps[5]),
    ];
    assert_eq!(all.marks, expected);
    // A reader who had not seen what was folded sees that everything is marked.
    let at = |stamp: u64| Cursor::new([1_u64.to_be_bytes(), stamp.to_be_bytes()].concat());
    assert_eq!(store.changes(Some(&at(stamps[0])), 1).await.unwrap().marks, expected);
    assert_eq!(store.changes(Some(&at(stamps[1])), 1).await.unwrap().marks, expected[1..]);
    // A mark on everything is not weakened by what is folded later.
    let everything = store.invalidate(&[Mark::everything(Verb::Expire)], 1).await.unwrap().stamp;
    store.invalidate(&tags(6..9), 1).await.unwrap();
    assert!(set(&store.changes(None, 1).await.unwrap()).contains(&(Mark::everything(Verb::Expire), everything)));
    // More at once than are kept: everything, and the newest stamp stays.
    let many = store.invalidate(&tags(10..20), 1).await.unwrap();
    let all = store.changes(None, 1).await.unwrap();
    assert_eq!(all.stamp, many.stamp);
    assert_eq!(all.marks.last(), Some(&(Mark::everything(Verb::Expire), many.stamp)));
}

#[tokio::test]
async fn many_marks_are_told_in_parts_that_split_no_stamp() {
    let server = Server::start();
    let store = connect(&server).await;
    let mut stamps = Vec::new();
    for from in [0, 6_000, 12_000] {
        stamps.push(store.invalidate(&tags(from..from + 6_000), 1).await.unwrap().stamp);
    }
    // More than one answer holds, with one stamp.
    stamps.push(store.invalidate(&tags(20_000..32_000), 1).await.unwrap().stamp);
    let mut cursor = None;
    let mut seen = Vec::new();
    for (n, stamp) in stamps.into_iter().enumerate() {
        let changes = store.changes(cursor.as_ref(), 1).await.unwrap();
        assert_eq!((changes.stamp, changes.more), (stamp, n < 3), "{n}");
        assert_eq!(changes.marks.len(), if n < 3 { 6_000 } else { 12_000 });
        seen.extend(changes.marks);
        cursor = Some(changes.cursor);
    }
    assert_eq!(seen.iter().map(|(mark, _)| mark).collect::<HashSet<_>>().len(), 30_000);
    assert!(seen.is_sorted_by_key(|(_, stamp)| *stamp));
    assert!(store.changes(cursor.as_ref(), 1).await.unwrap().marks.is_empty());
}

/// As many as the default keeps, in one call.
#[tokio::test]
async fn folding_works_at_the_default_size() {
    let server = Server::start();
    let store = connect(&server).await;
    store.invalidate(&tags(0..65_536), 1).await.unwrap();
    store.invalidate(&tags(70_000..80_000), 1).await.unwrap();
    assert_eq!(server.run::<usize>(&["ZCARD", LEDGER]), 65_536 + 2);
}

#[tokio::test]
async fn a_reader_ahead_of_the_ledger_renews_it() {
    let server = Server::start();
    let store = connect(&server).await;
    store.invalidate(&[tag("a")], 1).await.unwrap();
    server.save();
    store.invalidate(&[tag("b")], 1).await.unwrap();
    let seen = store.changes(None, 1).await.unwrap();
    // A raw reader, which has no marks of its own to repeat.
    let mut server = server;
    server.restart();
    let reader = connect(&server).await;
    let renewed = reader.changes(Some(&seen.cursor), 2).await.unwrap();
    assert_eq!((renewed.epoch, renewed.stamp, renewed.marks.len(), renewed.more), (2, 0, 0, false));
    // Only once: who comes later finds the new one.
    let again = connect(&server).await.changes(Some(&seen.cursor), 3).await.unwrap();
    assert_eq!(again, renewed);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_has_another_epoch() {
    let mut server = Server::start();
    let store = connect(&server).await;
    let before = store.changes(None, 1).await.unwrap();
    server.restart_empty();
    let after = eventually("it is connected again", async || store.changes(Some(&before.cursor), 2).await.ok()).await;
    assert_eq!((before.epoch, after.epoch), (1, 2));
}

/// What a failover loses: acknowledged marks that had not reached the new primary.
#[tokio::test]
async fn own_marks_are_repeated_after_a_connection_was_lost() {
    let mut server = Server::start();
    let (store, idle) = (connect(&server).await, connect(&server).await);
    store.invalidate(&[tag("kept")], 1).await.unwrap();
    server.save();
    let lost = store.invalidate(&[tag("lost"), Mark::everything(Verb::Revalidate)], 1).await.unwrap();
    server.restart();
    assert_eq!(server.run::<Option<String>>(&["ZSCORE", LEDGER, "m:etlost"]), None, "it was lost");
    // The reader is ahead of nothing: only the mark itself, repeated, can tell.
    let changes = eventually("it is connected again", async || store.changes(None, 2).await.ok()).await;
    assert_eq!(changes.epoch, 1);
    let seen: HashMap<Mark, u64> = changes.marks.into_iter().collect();
    assert!(seen[&tag("lost")] > lost.stamp && seen[&Mark::everything(Verb::Revalidate)] > lost.stamp);
    // Who has made none repeats none; and they are repeated once for each connection.
    let changes = eventually("the other too", async || idle.changes(Some(&changes.cursor), 2).await.ok()).await;
    assert!(changes.marks.is_empty(), "{:?}", changes.marks);
    assert!(store.changes(Some(&changes.cursor), 2).await.unwrap().marks.is_empty());
    // Before a new mark, too: the stamps of two marks keep their order.
    server.restart_empty();
    let newer = eventually("and again", async || store.invalidate(&[tag("new")], 3).await.ok()).await;
    assert_eq!(newer.epoch, 3);
    let seen: HashMap<Mark, u64> = store.changes(None, 4).await.unwrap().marks.into_iter().collect();
    assert_eq!(seen.len(), 4);
    assert!(seen[&tag("kept")] < newer.stamp && seen[&tag("lost")] < newer.stamp && seen[&tag("new")] == newer.stamp);
}

/// Neither own marks that are repeated nor new ones hide that what was seen of the ledger is lost.
#[tokio::test]
async fn a_ledger_that_has_lost_what_was_seen_is_renewed_before_it_is_added_to() {
    for made in [&[][..], &[tag("own")]] {
        for marks_first in [true, false] {
            let mut server = Server::start();
            let store = connect(&server).await;
            let other = connect(&server).await;
            other.invalidate(&[tag("kept")], 1).await.unwrap();
            server.save();
            other.invalidate(&[tag("lost")], 1).await.unwrap();
            let seen = store.changes(None, 1).await.unwrap();
            drop(other);
            store.invalidate(made, 1).await.unwrap();
            server.restart();
            let mut expected: HashSet<Mark> = made.iter().cloned().collect();
            if marks_first {
                let new = [tag("new")];
                let stamped = eventually("connected", async || store.invalidate(&new, 2).await.ok()).await;
                assert_eq!(stamped.epoch, 2, "{made:?}");
                expected.extend(new);
            }
            let after = Some(&seen.cursor);
            let changes = eventually("connected", async || store.changes(after, 2).await.ok()).await;
            assert_eq!(changes.epoch, 2, "{made:?} {marks_first}");
            let told: HashSet<Mark> = changes.marks.into_iter().map(|(mark, _)| mark).collect();
            assert_eq!(told, expected, "{marks_first}");
        }
    }
}

#[tokio::test]
async fn what_is_no_ledger_is_corrupt_and_left_alone() {
    for foreign in [
        &["SET", LEDGER, "x"][..],
        &["ZADD", LEDGER, "5", "m:eta"],
        &["ZADD", LEDGER, "0", "e:1", "0", "e:2"],
        &["ZADD", LEDGER, "0", "e:1", "-1", "x"],
        &["ZADD", LEDGER, "0", "e:x", "5", "m:eta"],
        &["ZADD", LEDGER, "0", "e:1", "5", "x"],
        &["ZADD", LEDGER, "0", "e:1", "5.5", "m:eta"],
    ] {
        let server = Server::start();
        let store = connect(&server).await;
        server.run::<()>(foreign);
        let before: Vec<u8> = server.run(&["DUMP", LEDGER]);
        for _ in 0..2 {
            let corrupt = store.changes(None, 9).await.unwrap_err();
            assert_eq!(corrupt.kind(), StoreErrorKind::Corrupt, "{foreign:?}: {corrupt:?}");
        }
        assert_eq!(server.run::<Vec<u8>>(&["DUMP", LEDGER]), before, "{foreign:?}");
    }
}

/// What another version has written, or nobody.
#[tokio::test]
async fn a_mark_that_cannot_be_read_expires_everything() {
    let server = Server::start();
    let store = connect(&server).await;
    store.invalidate(&[tag("a")], 1).await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    for unreadable in [&b"m:zz-new"[..], b"m:", b"m:et\xff"] {
        redis::cmd("ZADD").arg(LEDGER).arg(5).arg(unreadable).exec(&mut connection).unwrap();
        let seen = marks(&store).await;
        assert_eq!(seen, [Mark::everything(Verb::Expire), tag("a")], "{unreadable:?}");
        redis::cmd("ZREM").arg(LEDGER).arg(unreadable).exec(&mut connection).unwrap();
    }
}

#[tokio::test]
async fn a_mark_waits_for_as_many_replicas_as_it_has_to() {
    let server = Server::with(&["--repl-diskless-sync-delay", "0"]);
    let options = || patient().response_timeout(std::time::Duration::from_secs(1)).replicas(1);
    let store = options().connect(&server.url()).await.unwrap();
    // On a busy machine the server may say so too late.
    eventually("there is no replica", async || {
        let alone = store.invalidate(&[tag("a")], 1).await.unwrap_err();
        (alone.kind() == StoreErrorKind::Unavailable).then_some(())
    })
    .await;
    let replica = Server::with(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    eventually("the replica follows", async || store.invalidate(&[tag("b")], 1).await.ok()).await;
    assert!(replica.run::<Option<String>>(&["ZSCORE", LEDGER, "m:etb"]).is_some());
    replica.freeze();
    assert!(store.invalidate(&[tag("c")], 1).await.is_err());
    replica.thaw();
    let lone: RedisStore = options().replicas(2).connect(&server.url()).await.unwrap();
    assert!(lone.invalidate(&[tag("d")], 1).await.is_err());
}

fn set(changes: &Changes) -> HashSet<(Mark, u64)> {
    changes.marks.iter().cloned().collect()
}

fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}
