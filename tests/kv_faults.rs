//! A KV service that is slow, refuses, lies, or ends in the middle.
#![cfg(feature = "cloudflare-kv")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/kv.rs"]
mod kv;
#[path = "common/kv_proxy.rs"]
mod proxy;

use std::error::Error as _;
use std::time::{Duration, Instant};

use axum::http::Method;
use axum_isr::store::{CloudflareKv, Item, Put, Store, StoreError, StoreErrorKind as Kind, StoreKey};
use kv::{Gateway, TOKEN, item, tag, unused_namespace, version};
use proxy::{API_TOKEN, Fault, Proxy};

const OTHER: &str = r#"{"success":false,"errors":[{"code":10001,"message":"another time"}],"result":null}"#;

async fn api() -> (Proxy, CloudflareKv) {
    let proxy = Proxy::start(Gateway::shared()).await;
    let store = proxy.rest().namespace(unused_namespace()).build().unwrap();
    (proxy, store)
}

fn says(status: u16, text: &str) -> Fault {
    Fault::Says(status, Vec::new(), text.to_owned())
}

fn kind<T>(result: Result<T, StoreError>) -> Result<T, Kind> {
    result.map_err(|problem| problem.kind())
}

/// All that somebody can be shown of an error.
fn shown(problem: &StoreError) -> String {
    format!("{problem} {problem:?} {}", problem.source().unwrap())
}

fn many(count: usize) -> Vec<Item> {
    (0..count).map(|n| item(&format!("n{n}-"), version(1, 1, 1), format!("body {n}").as_bytes())).collect()
}

async fn are_there(store: &CloudflareKv, items: &[Item]) {
    for item in items {
        assert_eq!(store.get(&item.key).await.unwrap().as_ref(), Some(&item.bytes), "{:?}", item.key);
    }
}

/// R44
#[tokio::test]
async fn a_failure_with_status_200_is_a_failure() {
    let (proxy, store) = api().await;
    let one = item("one", version(1, 1, 1), b"1");
    for what in ["values", "metadata"] {
        let method = if what == "values" { Method::PUT } else { Method::GET };
        proxy.next(method, what, says(200, OTHER));
        assert_eq!(kind(store.put(&one).await), Err(Kind::Unavailable), "{what}");
        assert_eq!(store.get(&one.key).await.unwrap(), None);
    }
    proxy.next(Method::GET, "keys", says(200, OTHER));
    assert_eq!(kind(store.changes(None, 7).await), Err(Kind::Unavailable));
    // A batch is tried again.
    let items = many(6);
    proxy.next(Method::PUT, "bulk", says(200, OTHER));
    assert!(store.put_many(&items).await.iter().all(|put| matches!(put, Ok(Put::Stored))));
    are_there(&store, &items).await;
}

/// R44: those that were not written, and only those, and each result stays with its item.
#[tokio::test]
async fn what_a_batch_has_not_written_is_tried_again() {
    let (proxy, store) = api().await;
    let items = many(12);
    proxy.next(Method::PUT, "bulk", Fault::Unsuccessful("n1"));
    let results = store.put_many(&items).await;
    assert!(results.iter().all(|put| matches!(put, Ok(Put::Stored))), "{results:?}");
    are_there(&store, &items).await;
    let pairs: Vec<_> = proxy.calls().iter().filter(|call| call.path == "/bulk").map(|call| call.pairs).collect();
    // n1, n10 and n11.
    assert_eq!(pairs, [12, 3]);

    let newer: Vec<_> = (0..12).map(|n| item(&format!("n{n}-"), version(1, 2, 1), b"newer")).collect();
    for _ in 0..6 {
        proxy.next(Method::PUT, "bulk", Fault::Unsuccessful("n1"));
    }
    let results = store.put_many(&newer).await;
    for (n, result) in results.into_iter().enumerate() {
        let expected = if matches!(n, 1 | 10 | 11) { Err(Kind::Unavailable) } else { Ok(Put::Stored) };
        assert_eq!(kind(result), expected, "{n}");
    }
}

/// R44: an item that is refused, and a key that comes twice, do not shift the results of others.
#[tokio::test]
async fn results_are_in_the_order_of_their_items() {
    let (_proxy, store) = api().await;
    let there = item("k3", version(1, 9, 9), b"newer");
    assert_eq!(store.put(&there).await.unwrap(), Put::Stored);
    let mut items: Vec<_> = (0..9).map(|n| item(&format!("k{n}"), version(1, 5, 5), b"a")).collect();
    items.insert(2, item("huge", version(1, 1, 1), &vec![0; 25 << 20]));
    items.push(item("k0", version(1, 4, 4), b"older"));
    items.push(item("k1", version(1, 6, 6), b"newest"));
    let results: Vec<_> = store.put_many(&items).await.into_iter().map(kind).collect();
    let mut expected = vec![Ok(Put::Stored); items.len()];
    expected[2] = Err(Kind::TooLarge);
    expected[4] = Ok(Put::KeptNewer);
    expected[10] = Ok(Put::KeptNewer);
    assert_eq!(results, expected);
    are_there(&store, &[there, items[0].clone(), items[11].clone()]).await;
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_of_a_batch_is_made_again() {
    let (proxy, store) = api().await;
    let items = many(10);
    proxy.next(Method::PUT, "bulk", Fault::CutInTheMiddle);
    proxy.next(Method::PUT, "bulk", Fault::DoneBut(502, "<html>bad gateway".to_owned()));
    proxy.next(Method::PUT, "bulk", Fault::CutAnswer);
    let results = store.put_many(&items).await;
    assert!(results.iter().all(|put| matches!(put, Ok(Put::Stored))), "{results:?}");
    are_there(&store, &items).await;
}

/// R44: at most 10,000 pairs and 95 MB.
#[tokio::test]
async fn batches_are_as_large_as_the_api_takes_and_not_larger() {
    let (proxy, store) = api().await;
    let done = r#"{"success":true,"errors":[],"result":{"unsuccessful_keys":[]}}"#;
    let bulk = |proxy: &Proxy| {
        let calls = proxy.calls().into_iter().filter(|call| call.path == "/bulk");
        calls.map(|call| (call.pairs, call.bytes)).collect::<Vec<_>>()
    };
    let put = async |items: Vec<Item>| {
        for _ in 0..3 {
            proxy.next(Method::PUT, "bulk", says(200, done));
        }
        let results = store.put_many(&items).await;
        proxy.forget_faults();
        assert!(results.iter().all(Result::is_ok));
        bulk(&proxy)
    };
    let calls = put(many(20_007)).await;
    assert_eq!(calls.iter().map(|call| call.0).collect::<Vec<_>>(), [10_000, 10_000, 7]);
    // 20 MiB are 28 MB in base64.
    let large = (0..5).map(|n| item(&n.to_string(), version(1, 1, 1), &vec![n; 20 << 20])).collect();
    let calls = put(large).await;
    assert_eq!(calls.iter().map(|call| call.0).collect::<Vec<_>>(), [3, 2]);
    assert!(calls.iter().all(|call| call.1 <= 95_000_000), "{calls:?}");
}

/// A gateway takes less at once, and all of it arrives.
#[tokio::test]
async fn many_entries_arrive_over_a_gateway() {
    let gateway = Gateway::shared();
    let proxy = Proxy::start(std::sync::Arc::clone(&gateway)).await;
    let store = proxy.gateway().namespace(unused_namespace()).build().unwrap();
    let mut items = many(700);
    items.push(item("large", version(1, 1, 1), &vec![9; 20 << 20]));
    assert!(store.put_many(&items).await.iter().all(Result::is_ok));
    are_there(&store, &[items[0].clone(), items[499].clone(), items[500].clone(), items[700].clone()]).await;
    let written: Vec<_> = proxy.calls().into_iter().filter(|call| call.method == Method::PUT).collect();
    assert_eq!(written.iter().map(|call| call.pairs).collect::<Vec<_>>(), [500, 200, 0]);
}

/// Calls in a pause fail at once, whatever they ask for, and are not made. Who writes many waits.
#[tokio::test]
async fn a_pause_is_kept_by_all_calls() {
    let (proxy, store) = api().await;
    let key = StoreKey::of("k");
    let pause = Fault::Says(429, vec![("retry-after", "1".to_owned())], OTHER.to_owned());
    proxy.next(Method::GET, "values", pause.clone());
    assert_eq!(kind(store.get(&key).await), Err(Kind::Unavailable));
    let began = Instant::now();
    proxy.calls();
    assert_eq!(kind(store.get(&key).await), Err(Kind::Unavailable));
    assert_eq!(kind(store.put(&item("k", version(1, 1, 1), b"")).await), Err(Kind::Unavailable));
    let problem = store.invalidate(&[tag("t")], 7).await.unwrap_err();
    assert!(shown(&problem).contains("pause"), "{}", shown(&problem));
    if began.elapsed() < Duration::from_millis(900) {
        assert_eq!(proxy.calls().len(), 0, "calls were made in the pause");
    }
    let items = many(6);
    assert!(store.put_many(&items).await.iter().all(Result::is_ok));
    are_there(&store, &items).await;
    // In the middle of it, too.
    proxy.next(Method::PUT, "bulk", pause);
    let began = Instant::now();
    assert!(store.put_many(&many(7)).await.iter().all(Result::is_ok));
    assert!(began.elapsed() >= Duration::from_millis(900), "it did not wait: {:?}", began.elapsed());
}

/// 300 calls at once, and then no more than the API takes for ever.
#[tokio::test]
async fn calls_of_the_api_are_counted() {
    let (proxy, store) = api().await;
    let mut made = 0;
    let problem = loop {
        match store.get(&StoreKey::of("k")).await {
            Ok(_) => made += 1,
            Err(problem) => break problem,
        }
        assert!(made < 5_000, "they are not counted");
    };
    assert_eq!((problem.kind(), proxy.calls().len()), (Kind::Unavailable, made));
    assert!(made >= 300 && shown(&problem).contains("1,200 calls"), "{made}, {}", shown(&problem));
}

#[tokio::test]
async fn answers_that_are_none_are_errors() {
    let (proxy, store) = api().await;
    let one = item("one", version(1, 1, 1), &vec![7; 100_000]);
    store.put(&one).await.unwrap();
    for (fault, expected) in [
        (Fault::CutAnswer, Kind::Unavailable),
        (Fault::Giant(64 << 20), Kind::Corrupt),
        (says(500, "<html>"), Kind::Unavailable),
        (says(504, ""), Kind::TimedOut),
        (says(404, "<html>no such site"), Kind::Denied),
        (says(403, OTHER), Kind::Denied),
    ] {
        proxy.next(Method::GET, "values", fault.clone());
        assert_eq!(kind(store.get(&one.key).await), Err(expected), "{fault:?}");
    }
    for fault in [Fault::Giant(64 << 20), says(200, "<html>"), says(200, ""), says(200, "{}"), says(200, "[[[[[")] {
        for (method, what) in [(Method::PUT, "values"), (Method::GET, "metadata"), (Method::GET, "keys")] {
            proxy.next(method, what, fault.clone());
            let answer = if what == "keys" {
                kind(store.changes(None, 7).await).map(|_| ())
            } else {
                kind(store.put(&one).await).map(|_| ())
            };
            assert_eq!(answer, Err(Kind::Corrupt), "{what}: {fault:?}");
        }
    }
    are_there(&store, &[one]).await;
}

#[tokio::test]
async fn a_slow_answer_takes_no_longer_than_it_may() {
    let proxy = Proxy::start(Gateway::shared()).await;
    let store = proxy.rest().response_timeout(Duration::from_millis(100)).build().unwrap();
    proxy.next(Method::GET, "values", Fault::Delay(Duration::from_secs(60)));
    assert_eq!(kind(store.get(&StoreKey::of("k")).await), Err(Kind::TimedOut));
}

/// R47: what the service says is cut, and shows no token, whoever repeats it.
#[tokio::test]
async fn no_error_shows_the_token() {
    let (proxy, store) = api().await;
    let echo = format!("you said Bearer {API_TOKEN}; {}", "x".repeat(5_000));
    for (status, text) in [
        (400, echo.clone()),
        (200, echo.clone()),
        (403, format!(r#"{{"success":false,"errors":[{{"code":1,"message":"{echo}"}}]}}"#)),
    ] {
        proxy.next(Method::GET, "keys", says(status, &text));
        let problem = store.changes(None, 7).await.unwrap_err();
        let source = problem.source().unwrap().to_string();
        assert!(source.chars().count() <= 500 && !shown(&problem).contains(API_TOKEN), "{}", shown(&problem));
    }
    let options = proxy.rest();
    assert!(!format!("{options:?} {store:?}").contains(API_TOKEN));
    for bad in ["", "two\nlines", "ü\u{1}"] {
        let problem = CloudflareKv::rest("account", "kv", bad).build().unwrap_err();
        assert!(problem.kind() == Kind::Denied && (bad.is_empty() || !shown(&problem).contains(bad)), "{problem:?}");
    }
}

/// A token that is refused is an error of every call, and no batch is tried again with it.
#[tokio::test]
async fn a_wrong_token_is_refused() {
    let gateway = Gateway::shared();
    let proxy = Proxy::start(std::sync::Arc::clone(&gateway)).await;
    let rest = kv::patient(CloudflareKv::rest("account", "kv", "another").api_base(proxy.base())).build().unwrap();
    let direct = kv::patient(CloudflareKv::gateway(gateway.url(), format!("{TOKEN}x"))).build().unwrap();
    for store in [rest, direct] {
        assert_eq!(kind(store.get(&StoreKey::of("k")).await), Err(Kind::Denied));
        assert_eq!(kind(store.changes(None, 7).await), Err(Kind::Denied));
        assert_eq!(kind(store.invalidate(&[tag("t")], 7).await), Err(Kind::Denied));
        assert_eq!(kind(store.remove(&StoreKey::of("k"), version(1, 1, 1)).await), Err(Kind::Denied));
        assert!(store.put_many(&many(6)).await.into_iter().all(|put| kind(put) == Err(Kind::Denied)));
    }
    // Of an account or a namespace that is not there: nothing is absent.
    let other = CloudflareKv::rest("account", "other", API_TOKEN).api_base(proxy.base()).build().unwrap();
    assert_eq!(kind(other.get(&StoreKey::of("k")).await), Err(Kind::Denied));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (proxy, store) = api().await;
    for status in [301, 302, 307, 308] {
        let elsewhere = vec![("location", "elsewhere".to_owned())];
        proxy.next(Method::GET, "values", Fault::Says(status, elsewhere, String::new()));
        assert_eq!(kind(store.get(&StoreKey::of("k")).await), Err(Kind::Denied), "{status}");
    }
    assert!(proxy.calls().iter().all(|call| !call.path.contains("elsewhere")));
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let gateway = || CloudflareKv::gateway("https://kv.example.com", "token");
    assert!(gateway().build().is_ok());
    let refused = [
        (gateway().namespace("a:b").build(), "namespace"),
        (gateway().namespace("").build(), "namespace"),
        (gateway().namespace("n".repeat(65)).build(), "namespace"),
        (gateway().max_marks(0).build(), "max_marks"),
        (gateway().response_timeout(Duration::ZERO).build(), "timeouts"),
        (CloudflareKv::gateway("http://kv.example.com", "token").build(), "https://"),
        (CloudflareKv::gateway("https://user:hunter2@kv.example.com", "token").build(), "https://"),
        (CloudflareKv::gateway("https://kv.example.com?hunter2", "token").build(), "https://"),
        (CloudflareKv::gateway("hunter2", "token").build(), "https://"),
        (CloudflareKv::rest("a/b", "c", "token").build(), "account_id"),
        (CloudflareKv::rest("a", "", "token").build(), "namespace_id"),
        (CloudflareKv::rest("a", "b", "token").api_base("ftp://x").build(), "api_base"),
    ];
    for (built, says) in refused {
        let problem = built.unwrap_err();
        assert!(shown(&problem).contains(says) && !shown(&problem).contains("hunter2"), "{says}: {problem:?}");
    }
}

/// The gateway does what the store asks for, and nothing else.
#[tokio::test]
async fn the_gateway_is_no_open_door() {
    let gateway = Gateway::shared();
    assert!(gateway.raw("GET", "keys?prefix=x", b"").await.is_some());
    for (method, path) in [("POST", "bulk"), ("GET", ""), ("GET", "values/"), ("DELETE", "keys"), ("GET", "values/a/b")]
    {
        assert_eq!(gateway.raw(method, path, b"").await, None, "{method} {path}");
    }
    for broken in [&b""[..], b"{}", b"null", b"[{}]"] {
        let answer = gateway.raw("PUT", "bulk", broken).await;
        let wrote =
            answer.is_some_and(|answer| String::from_utf8_lossy(&answer).contains(r#""successful_key_count":1"#));
        assert!(!wrote, "{broken:?}");
    }
}
