//! The data cache by itself: keys, one computation at a time, stale values, marks.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use axum_isr::testing::ManualClock;
use axum_isr::{CacheLife, Isr};
use common::data::{Source, quiet};
use common::{Gate, let_run, until};
use serde::{Deserialize, Serialize};

/// R28: computed once for a name and its arguments.
#[tokio::test]
async fn a_name_and_its_arguments_are_the_key() {
    #[derive(Serialize)]
    struct Query<'q> {
        page: u32,
        filter: Option<&'q str>,
    }
    let isr = Isr::builder().build().unwrap();
    let source = Source::default();
    let get = |name: &'static str, query: Query<'static>, more: &'static [&'static str]| {
        let (isr, source) = (isr.clone(), source.clone());
        async move {
            let data = more.iter().fold(isr.data(name).arg(&query), axum_isr::data::Data::arg);
            data.get_or_init(move || async move { source.next() }).await.unwrap()
        }
    };
    let asks = || {
        [
            get("posts", Query { page: 1, filter: None }, &[]),
            get("posts", Query { page: 2, filter: None }, &[]),
            get("posts", Query { page: 1, filter: Some("") }, &[]),
            get("post", Query { page: 1, filter: None }, &[]),
            get("posts", Query { page: 1, filter: None }, &["a"]),
            get("posts", Query { page: 1, filter: None }, &["a", "b"]),
            get("posts", Query { page: 1, filter: None }, &["ab"]),
            get("posts", Query { page: 1, filter: None }, &["b", "a"]),
        ]
    };
    for _ in 0..2 {
        for (n, ask) in asks().into_iter().enumerate() {
            assert_eq!(ask.await, n + 1);
        }
    }
    let stats = isr.stats();
    assert_eq!((stats.data_misses, stats.data_hits, stats.memory_items), (8, 8, 8));
    // The same map, however it iterates.
    for n in 0..10 {
        let map: HashMap<_, _> = (0..50).map(|key| ((key + n) % 50, key)).map(|(key, _)| (key, key)).collect();
        let value = isr.data("map").arg(&map).get_or_init(|| async { String::from("one") }).await.unwrap();
        assert_eq!(value, "one");
    }
    assert_eq!(isr.stats().data_hits, 8 + 9);
}

/// What goes in comes out: from the computation and from the cache alike.
#[tokio::test]
async fn values_of_any_shape_come_back() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        Tuple(i64, Option<String>),
        Fields { a: Vec<u8>, b: HashMap<String, f64> },
    }
    let isr = Isr::builder().build().unwrap();
    let fields = Kind::Fields { a: vec![0, 255], b: HashMap::from([("π".to_owned(), 3.25)]) };
    let value = vec![Kind::Unit, Kind::Tuple(-1, None), Kind::Tuple(i64::MAX, Some(String::new())), fields];
    for _ in 0..2 {
        let copy = value.clone();
        let got: Vec<Kind> = isr.data("kinds").get_or_init(|| async move { copy }).await.unwrap();
        assert_eq!(got, value);
    }
    isr.data("unit").get_or_init(|| async {}).await.unwrap();
    assert_eq!(isr.data("none").get_or_init(|| async { None::<u8> }).await.unwrap(), None);
}

/// R28: one computation at a time, however many ask; whose starter goes away, goes on.
#[tokio::test]
async fn a_crowd_computes_once() {
    let isr = Isr::builder().build().unwrap();
    let (gate, source) = (Gate::closed(), Source::default());
    let ask = || {
        let (isr, gate, source) = (isr.clone(), gate.clone(), source.clone());
        tokio::spawn(async move {
            isr.data("slow")
                .get_or_init(move || async move {
                    let n = source.next();
                    gate.pass().await;
                    n
                })
                .await
                .unwrap()
        })
    };
    let first = ask();
    until(|| source.calls() == 1).await;
    let others: Vec<_> = (0..50).map(|_| ask()).collect();
    let_run().await;
    assert_eq!((source.calls(), isr.stats().computations), (1, 1));
    first.abort();
    let_run().await;
    gate.open();
    for other in others {
        assert_eq!(other.await.unwrap(), 1);
    }
    assert_eq!((source.calls(), isr.stats().computations), (1, 0));
}

/// R28: a stale value is used while it is computed again, once; an expired one is waited for.
#[tokio::test]
async fn a_stale_value_is_used_while_it_is_computed_again() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let (gate, source) = (Gate::closed(), Source::default());
    let ask = || {
        let (isr, gate, source) = (isr.clone(), gate.clone(), source.clone());
        async move {
            isr.data("news")
                .life(CacheLife::MINUTES)
                .get_or_init(move || async move {
                    gate.pass().await;
                    source.next()
                })
                .await
                .unwrap()
        }
    };
    gate.admit(1);
    assert_eq!(ask().await, 1);
    clock.advance(Duration::from_secs(59));
    assert_eq!((ask().await, isr.stats().data_hits), (1, 1));
    clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(ask().await, 1);
    }
    assert_eq!((isr.stats().data_stale, isr.stats().computations), (3, 1));
    gate.admit(1);
    quiet(&isr).await;
    assert_eq!((ask().await, source.calls()), (2, 2));
    clock.advance(Duration::from_secs(3_600));
    gate.open();
    assert_eq!((ask().await, source.calls()), (3, 3));
}

/// Marks: an expired value is computed while one waits, a revalidated one behind his back. Data has tags, and no path.
#[tokio::test]
async fn marks_hit_values_by_tag_and_by_everything() {
    let isr = Isr::builder().build().unwrap();
    let source = Source::default();
    assert_eq!(source.get(&isr, "a").await, 1);
    for other in ["u", "a", "/"] {
        isr.expire_tag(other).await.unwrap();
    }
    isr.expire_prefix("/").await.unwrap();
    isr.expire_path("/").await.unwrap();
    isr.expire_route("/").await.unwrap();
    assert_eq!(source.get(&isr, "a").await, 1);
    isr.expire_tag("t").await.unwrap();
    assert_eq!(source.get(&isr, "a").await, 2);
    isr.revalidate_tag("t").await.unwrap();
    assert_eq!(source.get(&isr, "a").await, 2);
    quiet(&isr).await;
    assert_eq!(source.get(&isr, "a").await, 3);
    isr.expire_all().await.unwrap();
    assert_eq!(source.get(&isr, "a").await, 4);
    isr.revalidate_all().await.unwrap();
    assert_eq!(source.get(&isr, "a").await, 4);
    quiet(&isr).await;
    for _ in 0..2 {
        assert_eq!(source.get(&isr, "a").await, 5);
    }
    assert_eq!(source.calls(), 5, "a mark costs one computation");
}

/// A mark that lands while a value is computed wins: who asks after it does not get what was computed before.
#[tokio::test]
async fn a_mark_during_a_computation_wins() {
    for expires in [true, false] {
        let isr = Isr::builder().build().unwrap();
        let (gate, source) = (Gate::closed(), Source::default());
        let ask = || {
            let (isr, gate, source) = (isr.clone(), gate.clone(), source.clone());
            tokio::spawn(async move {
                let compute = move || async move {
                    let n = source.next();
                    gate.pass().await;
                    n
                };
                isr.data("a").tag("t").get_or_init(compute).await.unwrap()
            })
        };
        let early = ask();
        until(|| source.calls() == 1).await;
        let done = if expires { isr.expire_tag("t").await } else { isr.revalidate_tag("t").await };
        done.unwrap();
        let late = ask();
        let_run().await;
        gate.admit(1);
        assert_eq!(early.await.unwrap(), 1);
        gate.open();
        // Revalidated, the old value may be used while the new one is computed.
        assert_eq!(late.await.unwrap(), if expires { 2 } else { 1 });
        quiet(&isr).await;
        ask().await.unwrap();
        quiet(&isr).await;
        assert_eq!((ask().await.unwrap(), source.calls()), (2, 2));
    }
}

fn computed() {
    panic!("computed");
}

/// What cannot be asked for says what was expected and what came, and computes nothing.
#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    struct Locked;
    impl Serialize for Locked {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("poisoned"))
        }
    }
    let isr = Isr::builder().build().unwrap();
    let (long, tags) = ("x".repeat(257), (0..129).map(|n| format!("t{n}")).collect::<Vec<_>>());
    let secs = Duration::from_secs;
    let refused = [
        (isr.data(""), "data: expected a name of 1 to 256 bytes, got 0 bytes"),
        (isr.data(&long), "data: expected a name of 1 to 256 bytes, got 257 bytes"),
        (isr.data("a").tag("ok").tag(""), "tag: expected 1 to 256 bytes, got 0 bytes"),
        (tags.iter().fold(isr.data("a"), axum_isr::data::Data::tag), "tags: expected at most 128, got 129"),
        (
            isr.data("a").life(CacheLife::new(secs(2), secs(1))),
            "expire: expected at least the 2s of revalidate, got 1s",
        ),
        (isr.data("a").revalidate(secs(2)).expire(secs(1)), "expire: expected at least the 2s of revalidate, got 1s"),
        (
            isr.data("a").arg(&1).arg(&Locked),
            "data \"a\": argument 2, a data::what_cannot_be_asked_for_is_refused::Locked, does not serialize: poisoned",
        ),
    ];
    for (data, expected) in refused {
        let problem = data.get_or_init(|| async { computed() }).await.unwrap_err();
        assert!(problem.to_string().replace("::{{closure}}", "").contains(expected), "{problem}");
    }
    assert_eq!(isr.stats().data_misses, 0);
    // As many as may be, and one of them twice.
    let most = tags[..128].iter().chain(&tags[..1]).fold(isr.data("a"), axum_isr::data::Data::tag);
    assert_eq!(most.get_or_init(|| async { 1 }).await.unwrap(), 1);
    // The longest name.
    let name = "x".repeat(256);
    for _ in 0..2 {
        isr.data(&name).get_or_init(|| async { 1 }).await.unwrap();
    }
    assert_eq!((isr.stats().data_misses, isr.stats().data_hits), (2, 1));
}

/// A name that stands for two types: each gets its own, never what the other has written.
#[tokio::test]
async fn another_type_is_a_miss() {
    let isr = Isr::builder().build().unwrap();
    for _ in 0..2 {
        assert_eq!(isr.data("n").get_or_init(|| async { 7_u32 }).await.unwrap(), 7);
        assert_eq!(isr.data("n").get_or_init(|| async { 8_u64 }).await.unwrap(), 8);
        assert_eq!(isr.data("n").get_or_init(|| async { String::from("7") }).await.unwrap(), "7");
    }
    assert_eq!((isr.stats().data_hits, isr.stats().data_misses), (0, 6));
    // Also where the other one is on its way.
    let gate = Gate::closed();
    let (theirs, wait) = (isr.clone(), gate.clone());
    let theirs =
        tokio::spawn(async move { theirs.data("m").get_or_init(move || async move { wait.pass().await }).await });
    let_run().await;
    let ours = isr.clone();
    let ours = tokio::spawn(async move { ours.data("m").get_or_init(|| async { 9_u8 }).await });
    let_run().await;
    gate.open();
    assert_eq!((theirs.await.unwrap().unwrap(), ours.await.unwrap().unwrap()), ((), 9));
}
