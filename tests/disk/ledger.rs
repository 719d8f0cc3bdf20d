//! Marks: noted once, kept through everything, and told in their order.

use std::fs;
use std::path::Path;

use axum_isr::store::{Cursor, DiskStore, Store, StoreErrorKind};

use crate::{FRESH, all, folder, marks, names};

fn ledger(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("ledger")).unwrap()
}

fn texts(all: &[(String, u64)]) -> Vec<&str> {
    all.iter().map(|(text, _)| text.as_str()).collect()
}

#[tokio::test]
async fn marks_are_told_once_and_in_order() {
    let dir = folder();
    let (one, two) = (DiskStore::open(dir.path()).unwrap(), DiskStore::open(dir.path()).unwrap());
    let empty = one.changes(None, 5).await.unwrap();
    assert_eq!((empty.epoch, empty.stamp, empty.marks.len(), empty.more), (5, 0, 0, false));
    let first = two.invalidate(&marks(&["eta", "rp/x"]), 6).await.unwrap();
    assert_eq!(first.epoch, 5, "it has begun");
    let second = one.invalidate(&marks(&["etb"]), 6).await.unwrap();
    assert!(second.stamp > first.stamp);
    let told = two.changes(Some(&empty.cursor), 6).await.unwrap();
    let expected = [("eta", first.stamp), ("rp/x", first.stamp), ("etb", second.stamp)];
    assert_eq!(
        told.marks.iter().map(|(mark, stamp)| (mark.to_text(), *stamp)).collect::<Vec<_>>(),
        expected.map(|(text, stamp)| (text.to_owned(), stamp))
    );
    assert_eq!((told.epoch, told.stamp), (5, second.stamp));
    let nothing = one.changes(Some(&told.cursor), 6).await.unwrap();
    assert_eq!((nothing.marks.len(), &nothing.cursor), (0, &told.cursor));
    // A mark that is made again is told again, at its new place alone.
    let third = one.invalidate(&marks(&["eta"]), 6).await.unwrap();
    assert_eq!(two.changes(Some(&told.cursor), 6).await.unwrap().marks, [(marks(&["eta"])[0].clone(), third.stamp)]);
    assert_eq!(texts(&all(&one).await), ["rp/x", "etb", "eta"]);
    // Other cursors are told everything.
    for cursor in ["", "x", "a cursor of another store", "0123456789abcdef"] {
        let cursor = Cursor::new(cursor);
        let told = one.changes(Some(&cursor), 6).await.unwrap();
        assert_eq!((told.epoch, told.marks.len()), (5, 3));
    }
}

/// CASES 131: an old ledger is put back under a running process. Whoever has read a newer one begins anew, whether it asks
/// first or notes a mark.
#[tokio::test]
async fn an_old_ledger_that_is_put_back_is_noticed_before_anything_is_added() {
    for notes_first in [false, true] {
        let dir = folder();
        let store = DiskStore::open(dir.path()).unwrap();
        store.invalidate(&marks(&["eta"]), 5).await.unwrap();
        let old = ledger(dir.path());
        store.invalidate(&marks(&["etb"]), 5).await.unwrap();
        let known = store.changes(None, 5).await.unwrap();
        fs::write(dir.path().join("old"), old).unwrap();
        fs::rename(dir.path().join("old"), dir.path().join("ledger")).unwrap();
        if notes_first {
            let stamped = store.invalidate(&marks(&["etc"]), 6).await.unwrap();
            assert_eq!(stamped.epoch, 6);
        }
        let told = store.changes(Some(&known.cursor), 6).await.unwrap();
        assert_eq!((told.epoch, told.marks.len()), (6, usize::from(notes_first)), "notes first: {notes_first}");
    }
}

#[tokio::test]
async fn a_call_without_marks_makes_a_stamp() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let stamped = store.invalidate(&[], 5).await.unwrap();
    let changes = DiskStore::open(dir.path()).unwrap().changes(None, 6).await.unwrap();
    assert_eq!((changes.epoch, changes.stamp, changes.marks.len()), (5, stamped.stamp, 0));
}

/// The newest record at every length: the marks before it are kept, the epoch too.
#[tokio::test]
async fn a_record_that_was_cut_off_is_as_if_it_had_not_been_written() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    // Longer than what is written in its place: nothing of it may be left behind that.
    let long = format!("rt{}", "c".repeat(60));
    store.invalidate(&marks(&["eta"]), 5).await.unwrap();
    let before = ledger(dir.path());
    store.invalidate(&marks(&["etb", &long]), 6).await.unwrap();
    let after = ledger(dir.path());
    for length in before.len()..after.len() {
        fs::write(dir.path().join("ledger"), &after[..length]).unwrap();
        let [reader, writer] = [(); 2].map(|()| DiskStore::open(dir.path()).unwrap().unsynced_ledger());
        assert_eq!(texts(&all(&reader).await), ["eta"], "{length}");
        assert_eq!(ledger(dir.path()).len(), length, "who reads does not write");
        assert_eq!(writer.invalidate(&marks(&["etd"]), 6).await.unwrap().epoch, 5);
        assert_eq!(texts(&all(&reader).await), ["eta", "etd"], "{length}");
        assert_eq!(texts(&all(&DiskStore::open(dir.path()).unwrap()).await), ["eta", "etd"], "{length}");
    }
}

/// As many bytes as were cut off may be something else the next time.
#[tokio::test]
async fn a_record_in_the_place_of_one_that_was_cut_off_is_seen() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.invalidate(&marks(&["eta"]), 5).await.unwrap();
    let whole = ledger(dir.path());
    store.invalidate(&marks(&["et1234567890"]), 5).await.unwrap();
    let cut = ledger(dir.path());
    let short = whole.len() + 12 + 8 + 5 + 3;
    fs::write(dir.path().join("ledger"), &cut[..short]).unwrap();
    let (reader, writer) = (DiskStore::open(dir.path()).unwrap(), DiskStore::open(dir.path()).unwrap());
    assert_eq!(texts(&all(&reader).await), ["eta"]);
    let path = dir.path().join("ledger");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    writer.invalidate(&marks(&["etb"]), 5).await.unwrap();
    assert_eq!(ledger(dir.path()).len(), short);
    // As with clocks that do not tell the two times apart.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(texts(&all(&reader).await), ["eta", "etb"]);
}

#[tokio::test]
async fn damage_means_a_new_epoch() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let stamped = store.invalidate(&marks(&["eta"]), 5).await.unwrap();
    let known = store.changes(None, 5).await.unwrap();
    for text in ["etb", "etc"] {
        store.invalidate(&marks(&[text]), 5).await.unwrap();
    }
    let whole = ledger(dir.path());
    let last = whole.len() - 28;
    // The header, but for its format; each byte of a record in front of others, its length too; and within the last one.
    for at in (0..8).chain(12..28).chain(28..56).chain([last + 1, last + 15, whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(dir.path().join("ledger"), &bytes).unwrap();
        if at % 2 == 0 {
            let (one, two) = (DiskStore::open(dir.path()).unwrap(), DiskStore::open(dir.path()).unwrap());
            let told = one.changes(Some(&known.cursor), 6).await.unwrap();
            assert_eq!((told.epoch, told.stamp, told.marks.len()), (6, 0, 0), "byte {at}");
            assert_eq!(two.changes(None, 7).await.unwrap().epoch, 6, "byte {at}");
        } else {
            let again = DiskStore::open(dir.path()).unwrap().invalidate(&marks(&["etd"]), 6).await.unwrap();
            assert_eq!(again.epoch, 6, "byte {at}");
            assert!(again.stamp > stamped.stamp);
        }
        assert_eq!(store.changes(Some(&known.cursor), 7).await.unwrap().epoch, 6, "byte {at}: others learn of it");
    }
    // Less than a header is no ledger either.
    for length in 0..28 {
        fs::write(dir.path().join("ledger"), &whole[..length]).unwrap();
        assert_eq!(DiskStore::open(dir.path()).unwrap().changes(None, 8).await.unwrap().epoch, 8);
    }
}

/// By somebody who keeps its length.
#[tokio::test]
async fn damage_is_seen_by_who_has_read_it_before() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.invalidate(&marks(&["eta"]), 5).await.unwrap();
    store.invalidate(&marks(&["etb"]), 5).await.unwrap();
    let mut bytes = ledger(dir.path());
    bytes[50] ^= 1;
    let path = dir.path().join("ledger");
    fs::write(&path, bytes).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(store.changes(None, 6).await.unwrap().epoch, 6);
}

#[tokio::test]
async fn a_reader_ahead_of_the_ledger_means_a_new_epoch() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.invalidate(&marks(&["eta"]), 5).await.unwrap();
    let backup = ledger(dir.path());
    store.invalidate(&marks(&["etb"]), 5).await.unwrap();
    let ahead = store.changes(None, 5).await.unwrap();
    fs::write(dir.path().join("ledger"), backup).unwrap();
    let other = DiskStore::open(dir.path()).unwrap();
    assert_eq!(other.changes(None, 6).await.unwrap().epoch, 5, "nobody can know");
    let told = store.changes(Some(&ahead.cursor), 6).await.unwrap();
    assert_eq!((told.epoch, told.stamp, told.marks.len()), (6, 0, 0));
    assert_eq!(store.changes(Some(&ahead.cursor), 7).await.unwrap().epoch, 6, "once");
    assert_eq!(other.changes(None, 7).await.unwrap().epoch, 6);
}

#[tokio::test]
async fn a_ledger_that_is_gone_begins_anew() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    store.invalidate(&marks(&["eta"]), 5).await.unwrap();
    fs::remove_file(dir.path().join("ledger")).unwrap();
    let told = store.changes(None, 6).await.unwrap();
    assert_eq!((told.epoch, told.marks.len()), (6, 0));
}

/// A newer process has written it: an older one must not wipe it.
#[tokio::test]
async fn a_ledger_of_another_format_is_left_alone() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap();
    let mut bytes = b"isrmarks\0\0\0\x02".to_vec();
    bytes.extend(crc32fast_of(&bytes).to_be_bytes());
    bytes.extend(b"whatever that format has");
    fs::write(dir.path().join("ledger"), &bytes).unwrap();
    for error in [store.invalidate(&[], 5).await.unwrap_err(), store.changes(None, 5).await.unwrap_err()] {
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("format 1") && text.contains("format 2"), "{text}");
    }
    assert_eq!(ledger(dir.path()), bytes);
}

/// CRC-32 (IEEE), bit by bit: the layout is checked by something else than what writes it.
fn crc32fast_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[tokio::test]
async fn the_oldest_marks_are_folded_into_marks_on_everything() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap().max_marks(3);
    let mut stamps = Vec::new();
    for text in ["eta", "rtb", "etc", "etd", "ete"] {
        stamps.push(store.invalidate(&marks(&[text]), FRESH).await.unwrap().stamp);
    }
    let is = |text: &str, n: usize| (text.to_owned(), stamps[n]);
    let expected = [is("e*", 0), is("r*", 1), is("etc", 2), is("etd", 3), is("ete", 4)];
    assert_eq!(all(&store).await, expected);
    assert_eq!(all(&DiskStore::open(dir.path()).unwrap()).await, expected, "as it is in the file");
    // In one call, and of that call itself.
    let many = store.invalidate(&marks(&["et1", "et2", "et3", "et4", "et5"]), FRESH).await.unwrap();
    let told = all(&DiskStore::open(dir.path()).unwrap()).await;
    assert_eq!(texts(&told), ["r*", "et3", "et4", "et5", "e*"]);
    assert!(told[1..].iter().all(|(_, stamp)| *stamp == many.stamp));
    // None is kept apart.
    let none = DiskStore::open(dir.path()).unwrap().max_marks(0);
    let last = none.invalidate(&marks(&["rtx"]), FRESH).await.unwrap();
    assert_eq!(texts(&all(&store).await), ["e*", "r*"]);
    assert_eq!(store.changes(None, FRESH).await.unwrap().stamp, last.stamp);
}

#[tokio::test]
async fn more_marks_than_an_answer_has_come_in_several() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap().unsynced_ledger();
    let many: Vec<_> = (0..12_000).map(|n| format!("et{n}")).collect();
    for some in many.chunks(1_500) {
        let some: Vec<_> = some.iter().map(String::as_str).collect();
        store.invalidate(&marks(&some), FRESH).await.unwrap();
    }
    let first = store.changes(None, FRESH).await.unwrap();
    assert!(first.more && first.marks.len() == 10_500, "{}", first.marks.len());
    assert_eq!(first.stamp, first.marks.last().unwrap().1);
    let told = all(&store).await;
    assert_eq!(told.len(), 12_000);
    assert!(told.is_sorted_by_key(|(_, stamp)| *stamp));
}

/// The log is compacted again and again meanwhile: each call names tags whose earlier records are worth nothing then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_mark_is_lost_between_writers_and_compaction() {
    let dir = folder();
    let filler: Vec<String> = (0..10).map(|n| format!("rt{n}{}", "x".repeat(200))).collect();
    let writers = ["a", "b"].map(|name| {
        let (store, filler) = (DiskStore::open(dir.path()).unwrap().unsynced_ledger(), filler.clone());
        tokio::spawn(async move {
            let mut done = Vec::new();
            for n in 0..400 {
                let text = format!("et{name}{n}");
                let texts: Vec<&str> = filler.iter().map(String::as_str).chain([text.as_str()]).collect();
                let stamped = store.invalidate(&marks(&texts), FRESH).await.unwrap();
                assert_eq!(stamped.epoch, FRESH);
                done.push((text, stamped.stamp));
            }
            done
        })
    });
    let reader = DiskStore::open(dir.path()).unwrap();
    let (mut told, mut cursor, mut done) = (Vec::new(), None, Vec::new());
    for writer in writers {
        while !writer.is_finished() {
            let changes = reader.changes(cursor.as_ref(), FRESH).await.unwrap();
            assert_eq!(changes.epoch, FRESH);
            told.extend(changes.marks.into_iter().map(|(mark, stamp)| (mark.to_text(), stamp)));
            cursor = Some(changes.cursor);
        }
        done.extend(writer.await.unwrap());
    }
    let rest = reader.changes(cursor.as_ref(), FRESH).await.unwrap();
    told.extend(rest.marks.into_iter().map(|(mark, stamp)| (mark.to_text(), stamp)));
    assert!(told.is_sorted_by_key(|(_, stamp)| *stamp));
    told.retain(|(text, _)| text.starts_with("et"));
    done.sort_by_key(|(_, stamp)| *stamp);
    assert_eq!(done.len(), 800);
    assert_eq!(told, done, "who reads all the time has seen each once");
    let mut kept = all(&DiskStore::open(dir.path()).unwrap()).await;
    kept.retain(|(text, _)| text.starts_with("et"));
    assert_eq!(kept, done, "who comes later sees each");
    let written = 800 * 2_100;
    assert!(ledger(dir.path()).len() < written / 4, "it was compacted");
    assert_eq!(names(&dir.path().join("tmp")), Vec::<String>::new());
}

/// What compaction keeps: marks, stamps, the epoch, readers' places.
#[tokio::test]
async fn compaction_changes_nothing_that_is_told() {
    let dir = folder();
    let store = DiskStore::open(dir.path()).unwrap().unsynced_ledger();
    store.invalidate(&marks(&["eta", "rp/x", "eu/{y}"]), 5).await.unwrap();
    let place = store.changes(None, 5).await.unwrap();
    let long = format!("ep/{}", "x".repeat(2_000));
    let (mut largest, mut compacted) = (0, false);
    let mut stamp = 0;
    while !compacted {
        stamp = store.invalidate(&marks(&[&long]), 5).await.unwrap().stamp;
        let length = ledger(dir.path()).len();
        compacted = length < largest;
        largest = length.max(largest);
        assert!(largest < 100_000);
    }
    for store in [&store, &DiskStore::open(dir.path()).unwrap()] {
        assert_eq!(texts(&all(store).await), ["eta", "rp/x", "eu/{y}", &long]);
        let told = store.changes(Some(&place.cursor), 6).await.unwrap();
        assert_eq!((told.epoch, told.stamp), (5, stamp));
        assert_eq!(
            told.marks.iter().map(|(mark, stamp)| (mark.to_text(), *stamp)).collect::<Vec<_>>(),
            [(long.clone(), stamp)]
        );
    }
}
