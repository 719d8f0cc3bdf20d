//! Marks in Cloudflare KV: a log for each process.
#![cfg(feature = "cloudflare-kv")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/kv.rs"]
mod kv;
#[path = "common/kv_proxy.rs"]
mod proxy;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use axum_isr::store::{Changes, CloudflareKv, CloudflareKvOptions, Cursor, Mark, Store, StoreErrorKind, Verb};
use kv::{Gateway, PATIENCE, tag, unused_namespace};
use proxy::{Fault, Proxy};

/// Of the lists that may be old.
const LATE: Duration = Duration::from_millis(50);

struct Kv {
    gateway: Arc<Gateway>,
    namespace: String,
}

impl Kv {
    fn new() -> Self {
        Self { gateway: Gateway::shared(), namespace: unused_namespace() }
    }

    fn options(&self) -> CloudflareKvOptions {
        self.gateway.options().namespace(&self.namespace)
    }

    /// As another process has it.
    fn store(&self) -> CloudflareKv {
        self.options().late(LATE).build().unwrap()
    }

    async fn logs(&self) -> Vec<String> {
        let names = self.gateway.names(&format!("{}%3Aledger%3A", self.namespace)).await;
        names.into_iter().filter(|name| !name.ends_with(":epoch")).collect()
    }

    async fn remove(&self, name: &str) {
        assert!(self.gateway.raw("DELETE", &format!("values/{}", name.replace(':', "%3A")), b"").await.is_some());
    }

    /// Past all stores.
    async fn put(&self, name: &str, value: &str, metadata: &str) {
        let body = format!(
            "--b\r\ncontent-disposition: form-data; name=\"value\"; filename=\"v\"\r\n\r\n{value}\r\n--b\r\n\
             content-disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n--b--\r\n"
        );
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
        let request = axum::http::Request::put(format!("{}/values/{}", self.gateway.url(), name.replace(':', "%3A")))
            .header("authorization", format!("Bearer {}", kv::TOKEN))
            .header("content-type", "multipart/form-data; boundary=b")
            .body(axum::body::Body::from(body))
            .unwrap();
        assert!(client.build_http().request(request).await.unwrap().status().is_success());
    }
}

async fn changes(store: &CloudflareKv, after: Option<&Cursor>) -> Changes {
    store.changes(after, 7).await.unwrap()
}

fn texts(changes: &Changes) -> Vec<String> {
    changes.marks.iter().map(|(mark, _)| mark.to_text()).collect()
}

/// Microseconds since the Unix epoch.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// Until lists cannot be that old any more.
async fn pass_lateness() {
    tokio::time::sleep(3 * LATE).await;
}

/// A process that is gone has left its marks; the next one has a log of its own.
#[tokio::test]
async fn marks_outlive_their_process() {
    let kv = Kv::new();
    for name in ["a", "b"] {
        kv.store().invalidate(&[tag(name)], 7).await.unwrap();
    }
    assert_eq!(kv.logs().await.len(), 2);
    let all = changes(&kv.store(), None).await;
    assert_eq!((all.epoch, texts(&all)), (7, vec!["eta".to_owned(), "etb".to_owned()]));
}

/// I5: a mark is not older than what began before it, and what begins some seconds later is not older than the mark.
#[tokio::test]
async fn marks_and_renders_are_ordered_by_the_time_at_the_service() {
    let kv = Kv::new();
    let (marks, renders) = (kv.store(), kv.store());
    let mut newest = 0;
    for n in 0..20 {
        let began = changes(&renders, None).await.stamp;
        // The service is on this machine.
        let between = now();
        let marked = marks.invalidate(&[tag(&n.to_string())], 7).await.unwrap().stamp;
        assert!(began <= between, "a render of {began} that began before {between}");
        assert!(marked >= between, "a mark of {marked} that was made after {between}");
        assert!(began < marked, "a render of {began} is not hit by a mark of {marked} that was made later");
        newest = marked;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while changes(&renders, None).await.stamp < newest {
        assert!(Instant::now() < deadline, "what is rendered now is still older than the mark");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// KV takes one write a second to a key: what is marked meanwhile is written together.
#[tokio::test]
async fn marks_that_come_together_are_written_together() {
    let kv = Kv::new();
    let proxy = Proxy::start(Arc::clone(&kv.gateway)).await;
    let every = Duration::from_millis(200);
    let store = proxy.gateway().namespace(&kv.namespace).write_every(every).build().unwrap();
    store.invalidate(&[tag("first")], 7).await.unwrap();
    proxy.calls();
    let began = Instant::now();
    let calls = (0..50).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.invalidate(&[tag(&n.to_string())], 7).await.unwrap().stamp })
    });
    let mut stamps = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        stamps.push(call.await.unwrap());
    }
    let writes = proxy.calls().iter().filter(|call| call.method == Method::PUT).count();
    let most = began.elapsed().as_millis() / every.as_millis() + 1;
    assert!(writes >= 1 && writes as u128 <= most.min(25), "{writes} writes of 50 marks in {:?}", began.elapsed());
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), 50, "each call has a stamp of its own");
    assert_eq!(changes(&kv.store(), None).await.marks.len(), 51);
}

/// After an error the mark may be there or not, and a repetition does no harm.
#[tokio::test]
async fn a_write_that_fails_is_an_error_and_can_be_repeated() {
    let kv = Kv::new();
    let proxy = Proxy::start(Arc::clone(&kv.gateway)).await;
    let store = proxy.rest().namespace(&kv.namespace).build().unwrap();
    let reader = kv.store();
    let began = changes(&reader, None).await;
    let refused = r#"{"success":false,"errors":[{"code":10001,"message":"KV PUT failed: 429"}]}"#;
    proxy.next(Method::PUT, "values", Fault::Says(429, Vec::new(), refused.to_owned()));
    let problem = store.invalidate(&[tag("a")], 7).await.unwrap_err();
    assert_eq!(problem.kind(), StoreErrorKind::Unavailable);
    assert_eq!(texts(&changes(&reader, Some(&began.cursor)).await), [""; 0]);
    let noted = store.invalidate(&[tag("a")], 7).await.unwrap();
    let told = changes(&reader, Some(&began.cursor)).await;
    assert_eq!(told.marks, [(tag("a"), noted.stamp)]);
    // What was refused is written with what comes next.
    proxy.next(Method::PUT, "values", Fault::CutAnswer);
    assert!(store.invalidate(&[tag("b")], 7).await.is_err());
    store.invalidate(&[tag("c")], 7).await.unwrap();
    let mut texts = texts(&changes(&reader, Some(&told.cursor)).await);
    texts.sort();
    assert_eq!(texts, ["etb", "etc"]);
}

/// Its own log is written again when it is gone, or an old one has come in its place.
#[tokio::test]
async fn a_process_sees_to_its_own_log() {
    let kv = Kv::new();
    let store = kv.store();
    store.invalidate(&[tag("a")], 7).await.unwrap();
    let log = kv.logs().await.remove(0);
    for broken in [None, Some((r#"{"format":1,"change":0,"marks":[]}"#, r#"{"s":0}"#))] {
        match broken {
            None => kv.remove(&log).await,
            Some((value, metadata)) => kv.put(&log, value, metadata).await,
        }
        pass_lateness().await;
        let epoch = changes(&store, None).await.epoch;
        assert_eq!(epoch, 7, "its own log is no reason to begin anew");
        assert_eq!(texts(&changes(&kv.store(), None).await), ["eta"]);
    }
}

/// Marks of others that are gone before their time might have hit anything.
#[tokio::test]
async fn a_ledger_that_has_lost_a_log_begins_anew() {
    let kv = Kv::new();
    let (one, other) = (kv.store(), kv.store());
    one.invalidate(&[tag("a")], 7).await.unwrap();
    let known = changes(&other, None).await;
    assert_eq!(texts(&known), ["eta"]);
    kv.remove(&kv.logs().await[0]).await;
    let at_once = other.changes(Some(&known.cursor), 8).await.unwrap();
    assert_eq!(at_once.epoch, 7, "a list may be old");
    pass_lateness().await;
    let renewed = other.changes(Some(&known.cursor), 8).await.unwrap();
    assert_eq!((renewed.epoch, texts(&renewed)), (8, Vec::new()));
    // Once, for everybody.
    pass_lateness().await;
    assert_eq!(other.changes(Some(&renewed.cursor), 9).await.unwrap().epoch, 8);
    let others = one.changes(None, 10).await.unwrap();
    assert_eq!((others.epoch, texts(&others)), (8, vec!["eta".to_owned()]));
}

/// So does one without an epoch, and no mark is lost with it.
#[tokio::test]
async fn a_ledger_that_has_lost_its_epoch_begins_anew() {
    let kv = Kv::new();
    let (one, other) = (kv.store(), kv.store());
    one.invalidate(&[tag("a")], 7).await.unwrap();
    let known = changes(&other, None).await;
    kv.remove(&format!("{}:ledger:epoch", kv.namespace)).await;
    pass_lateness().await;
    let anew = other.changes(Some(&known.cursor), 8).await.unwrap();
    assert_eq!((anew.epoch, texts(&anew)), (8, vec!["eta".to_owned()]));
    assert_eq!(one.changes(None, 9).await.unwrap().epoch, 8);
}

/// What cannot be understood must not be missed, and is told once.
#[tokio::test]
async fn a_damaged_log_counts_as_a_mark_on_everything() {
    let kv = Kv::new();
    let store = kv.store();
    for (name, metadata) in [("00000000000000aa", r#"{"s":3}"#), ("00000000000000bb", "null")] {
        kv.put(&format!("{}:ledger:{name}", kv.namespace), "not a log", metadata).await;
    }
    // Of no process.
    kv.put(&format!("{}:ledger:notes", kv.namespace), "by a person", "null").await;
    let told = changes(&store, None).await;
    let everything: Vec<_> = told.marks.iter().map(|(mark, _)| mark.clone()).collect();
    assert_eq!(everything, [Mark::everything(Verb::Expire), Mark::everything(Verb::Expire)]);
    assert!(told.marks.iter().all(|(_, stamp)| *stamp > told.stamp), "they hit what was rendered before");
    assert_eq!(changes(&store, Some(&told.cursor)).await.marks, []);
}

/// More logs than are read for one answer: all marks come, each once, and no render is newer than a mark that is still to
/// come.
#[tokio::test]
async fn many_logs_are_read_in_several_answers() {
    let kv = Kv::new();
    for n in 0..40 {
        kv.store().invalidate(&[tag(&n.to_string())], 7).await.unwrap();
    }
    let reader = kv.store();
    let (mut told, mut answers, mut cursor) = (Vec::new(), 0, None);
    loop {
        let answer = changes(&reader, cursor.as_ref()).await;
        answers += 1;
        assert_eq!(answer.stamp == 0, answer.more, "{answer:?}");
        told.extend(texts(&answer));
        cursor = Some(answer.cursor);
        if !answer.more {
            break;
        }
    }
    assert!(answers > 1 && told.len() == 40, "{} marks in {answers} answers", told.len());
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 40);
}

/// A mark stays for as long as what it hits may.
#[tokio::test]
async fn logs_live_longer_than_entries() {
    let kv = Kv::new();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let store = kv.options().retention(days(2)).build().unwrap();
    let expiration = async || {
        let prefix = format!("keys?prefix={}%3Aledger%3A", kv.namespace);
        let listed: serde_json::Value =
            serde_json::from_slice(&kv.gateway.raw("GET", &prefix, b"").await.unwrap()).unwrap();
        let ends: Vec<_> = listed["result"].as_array().unwrap().iter().map(|key| key["expiration"].as_u64()).collect();
        let now = now() / 1_000_000;
        let mut in_days: Vec<_> = ends.iter().map(|end| end.map(|end| (end + 3_600 - now) / 86_400)).collect();
        in_days.sort_unstable();
        in_days
    };
    store.invalidate(&[tag("a")], 7).await.unwrap();
    // The epoch stays.
    assert_eq!(expiration().await, [None, Some(3)]);
    let mut item = kv::item("k", kv::version(7, 1, 1), b"");
    item.keep = days(10);
    store.put(&item).await.unwrap();
    store.invalidate(&[tag("b")], 7).await.unwrap();
    assert_eq!(expiration().await, [None, Some(11)]);
}
