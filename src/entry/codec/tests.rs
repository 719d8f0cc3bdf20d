#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::{Damage, Frame, Kind, Made, PageRecord, SigningKeys, ValueRecord};
use crate::clock::WallTime;
use crate::ledger::Place;
use crate::policy::freshness::{Revalidate, Window};
use crate::policy::life::{CacheLife, Life};
use crate::policy::tag::Tag;
use crate::store::Version;

const KEY: &[u8] = b"a key";

fn made() -> Made {
    Made { place: Place { epoch: 1 << 63 | 5, stamp: 1_767_225_600_000_001 }, begun: 1_767_225_600_000_002 }
}

fn page() -> PageRecord {
    let mut headers = HeaderMap::new();
    headers.append("content-type", HeaderValue::from_static("text/html"));
    headers.append("link", HeaderValue::from_static("</a>"));
    headers.append("link", HeaderValue::from_bytes(b"</\xe9>").unwrap());
    let mut secret = HeaderValue::from_static("s");
    secret.set_sensitive(true);
    headers.append("x-secret", secret);
    let after = Revalidate::After(Duration::from_secs(60));
    PageRecord {
        window: Window::new(WallTime(1_767_225_600_000_003), after, Duration::from_secs(600)),
        tags: vec![Tag::new("post:1").unwrap(), Tag::new("é").unwrap()],
        status: StatusCode::NOT_FOUND,
        headers,
        for_head: false,
    }
}

fn sealed(body: &Bytes, keys: &SigningKeys) -> Bytes {
    let record = page().write("scope", KEY).unwrap();
    Frame { kind: Kind::Page, made: made(), record, body: body.clone() }.seal("scope", KEY, keys).unwrap()
}

fn open(bytes: &Bytes, keys: &SigningKeys) -> Result<(Frame, PageRecord), Damage> {
    let frame = Frame::open(bytes, "scope", KEY, keys)?;
    let record = PageRecord::read(&frame.record, "scope", KEY)?;
    Ok((frame, record))
}

fn keys(keys: &[&str]) -> SigningKeys {
    SigningKeys::new(&keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>()).unwrap()
}

const ONE: &str = "a key of 16 bytes, or more";
const OTHER: &str = "another key of 16 bytes";

#[test]
fn an_entry_is_read_back_as_it_was() {
    let body = Bytes::from_static(b"<h1>gone</h1>");
    for signing in [SigningKeys::default(), keys(&[ONE])] {
        let bytes = sealed(&body, &signing);
        let (frame, record) = open(&bytes, &signing).unwrap();
        assert_eq!((frame.kind, frame.made, &frame.body), (Kind::Page, made(), &body));
        assert_eq!(record, page());
        assert!(record.headers["x-secret"].is_sensitive());
        // What a store compares is where it looks for it.
        let version = Version { epoch: made().place.epoch, stamp: made().place.stamp, begun: made().begun };
        assert_eq!(Version::read(&bytes), Some(version));
    }
}

#[test]
fn a_value_is_read_back_as_it_was() {
    for life in [Life::LONGEST, CacheLife::HOURS.into()] {
        let window = Window::new(WallTime(7), life.revalidate, life.expire);
        let value =
            ValueRecord { window, tags: vec![Tag::new("t").unwrap()], type_name: "alloc::string::String".into(), life };
        let record = value.write("scope", KEY).unwrap();
        assert_eq!(ValueRecord::read(&record, "scope", KEY), Ok(value));
        assert_eq!(ValueRecord::read(&record, "scope", b"another"), Err(Damage::Key));
        assert_eq!(ValueRecord::read(&record, "another", KEY), Err(Damage::Key));
        assert_eq!(PageRecord::read(&record, "scope", KEY), Err(Damage::Record));
    }
}

/// No copy: the body is a part of the bytes that came.
#[test]
fn the_body_is_not_copied() {
    let body = Bytes::from(vec![7; 100 << 10]);
    let bytes = sealed(&body, &SigningKeys::default());
    let (frame, _) = open(&bytes, &SigningKeys::default()).unwrap();
    assert_eq!(frame.body, body);
    assert_eq!(frame.body.as_ptr() as usize, bytes.as_ptr() as usize + bytes.len() - body.len());
}

/// CASES 117: every truncation, and every bit that is flipped, is a miss, or the same entry.
#[test]
fn whatever_is_damaged_is_a_miss() {
    for signing in [SigningKeys::default(), keys(&[ONE])] {
        let whole = sealed(&Bytes::from_static(b"a body"), &signing);
        let good = open(&whole, &signing).unwrap();
        for end in 0..whole.len() {
            assert!(open(&whole.slice(..end), &signing).is_err(), "cut at {end}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert_eq!(open(&longer.into(), &signing), Err(Damage::Length));
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = open(&flipped.into(), &signing) {
                assert_eq!(read, good, "bit {bit}");
            }
        }
    }
}

/// CASES 121: what another version has written is told from what is damaged.
#[test]
fn another_format_is_not_taken_for_damage() {
    let mut bytes = sealed(&Bytes::new(), &SigningKeys::default()).to_vec();
    bytes[4] = 2;
    assert_eq!(open(&bytes.into(), &SigningKeys::default()), Err(Damage::Format));
}

#[test]
fn an_entry_of_another_key_is_a_miss() {
    let bytes = sealed(&Bytes::new(), &SigningKeys::default());
    let frame = Frame::open(&bytes, "scope", b"another", &SigningKeys::default()).unwrap();
    assert_eq!(PageRecord::read(&frame.record, "scope", b"another"), Err(Damage::Key));
}

#[test]
fn keys_are_rotated() {
    let body = Bytes::from_static(b"a body");
    let (old, both, new) = (keys(&[ONE]), keys(&[OTHER, ONE]), keys(&[OTHER]));
    assert!(open(&sealed(&body, &old), &both).is_ok());
    assert!(open(&sealed(&body, &both), &new).is_ok());
    assert_eq!(open(&sealed(&body, &old), &new), Err(Damage::Signature));
    assert_eq!(open(&sealed(&body, &SigningKeys::default()), &new), Err(Damage::Signature));
    // Who has no keys reads what others have signed.
    assert!(open(&sealed(&body, &old), &SigningKeys::default()).is_ok());
    // For one key and one scope.
    let bytes = sealed(&body, &old);
    for (scope, key) in [("other", KEY), ("scope", b"another")] {
        assert_eq!(Frame::open(&bytes, scope, key, &old), Err(Damage::Signature));
    }
    let problem = SigningKeys::new(&[b"short".to_vec()]).err().unwrap();
    assert_eq!(problem.to_string(), "signing_keys: expected keys of at least 16 bytes, got 5 bytes");
    assert_eq!(format!("{old:?}"), "1 signing keys");
}

/// CASES 119: what could not have come from a handler does not come from a store.
#[test]
fn headers_are_checked() {
    let record = |name: &str, value: &[u8]| {
        // As the record is written, with a header that `http` would not make.
        let good = page().write("scope", KEY).unwrap();
        let (from, to) = (
            b"\xa8x-secret\xc4\x01s",
            [
                &[0xa0 | u8::try_from(name.len()).unwrap()],
                name.as_bytes(),
                &[0xc4, u8::try_from(value.len()).unwrap()],
                value,
            ]
            .concat(),
        );
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        Bytes::from([&good[..at], &to, &good[at + from.len()..]].concat())
    };
    assert!(PageRecord::read(&record("x-secret", b"s"), "scope", KEY).is_ok());
    for (name, value) in [("x y", &b"v"[..]), ("", b"v"), ("x\n", b"v"), ("x", b"a\r\nb"), ("x", b"\0"), ("é", b"v")] {
        assert_eq!(PageRecord::read(&record(name, value), "scope", KEY), Err(Damage::Record), "{name:?} {value:?}");
    }
}

proptest! {
    /// CASES 117: whatever the bytes are, reading ends, and does not panic.
    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let bytes = Bytes::from(bytes);
        let _ = open(&bytes, &SigningKeys::default());
        let _ = PageRecord::read(&bytes, "scope", KEY);
        let _ = ValueRecord::read(&bytes, "scope", KEY);
    }

    /// With a checksum that fits, so that the record is read too.
    #[test]
    fn any_record_is_read_to_an_end(record in prop::collection::vec(any::<u8>(), 0..256)) {
        let frame = Frame { kind: Kind::Page, made: made(), record: record.into(), body: Bytes::new() };
        let _ = open(&frame.seal("scope", KEY, &SigningKeys::default()).unwrap(), &SigningKeys::default());
    }

    /// Counts that are not true cost nothing.
    #[test]
    fn a_mutated_record_is_read_to_an_end(at in 0..80_usize, byte in any::<u8>()) {
        let mut record = page().write("scope", KEY).unwrap().to_vec();
        let at = at % record.len();
        record[at] = byte;
        let _ = PageRecord::read(&Bytes::from(record), "scope", KEY);
    }
}
