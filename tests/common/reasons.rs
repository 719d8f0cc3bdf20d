//! One request, and everything that tells what became of it: `Cache-Status`, metrics, events, numbers and explanations.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum_isr::stats::{Bypass, Explanation, Failed, Miss, Reason, RouteStats};
use futures_util::future::join;
use http::HeaderValue;
use http_body_util::BodyExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::case::{Answer, Case, Foreseen, Row};
use crate::common::{Logs, let_run, send, settled, state};

/// All that is told on this thread from now on.
pub struct Watch {
    logs: Logs,
    metrics: Snapshotter,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl Watch {
    /// Before the first use of a route: that is when it looks for an exporter.
    pub fn begin() -> Self {
        let recorder: &'static DebuggingRecorder = Box::leak(Box::default());
        Self {
            logs: Logs::capture(),
            metrics: recorder.snapshotter(),
            _recorder: metrics::set_default_local_recorder(recorder),
        }
    }

    /// What a counter has counted since it was asked last, by its labels.
    pub fn counted(&self, name: &str) -> BTreeMap<Vec<(String, String)>, u64> {
        let mut counted = BTreeMap::new();
        for (key, _, _, value) in self.metrics.snapshot().into_vec() {
            if let (true, DebugValue::Counter(value @ 1..)) = (key.key().name() == name, value) {
                let labels = key.key().labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
                counted.insert(labels.collect(), value);
            }
        }
        counted
    }

    /// So many lines are there.
    pub fn lines(&self) -> usize {
        self.logs.lines().len()
    }

    /// The lines after so many.
    pub fn since(&self, before: usize) -> Vec<String> {
        self.logs.lines().split_off(before)
    }
}

/// Each of the rows, on a runtime of its own.
pub fn all_agree(rows: Vec<Row>) {
    for row in rows {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        if row.timers {
            runtime.enable_all().start_paused(true);
        }
        let name = format!("{}: {}", row.reason, row.what);
        println!("{name}");
        runtime.build().unwrap().block_on(async {
            let watch = Watch::begin();
            let case = (row.prepare)().await;
            watch.agrees(row.reason, case, &name).await;
        });
    }
}

impl Watch {
    /// Sends the request, and everything that tells of it says the same.
    async fn agrees(&self, reason: Reason, mut case: Case, name: &str) {
        // So that the route is known, without a render and whatever the handler is.
        let mut stranger = (case.ask)();
        *stranger.method_mut() = http::Method::DELETE;
        *stranger.body_mut() = Body::empty();
        drop(send(&case.app, stranger).await);
        self.agrees_once(reason, &mut case, name).await;
        if let Some(again) = case.again {
            case.foreseen = again;
            self.agrees_once(reason, &mut case, &format!("{name}, again")).await;
        }
    }

    async fn agrees_once(&self, reason: Reason, case: &mut Case, name: &str) {
        let request = (case.ask)();
        let explained = explained(case, &request, reason, name);
        let numbers = numbers(case);
        let lines = self.lines();
        drop(self.metrics.snapshot());

        let meanwhile = case.meanwhile.take().unwrap_or_else(|| Box::pin(std::future::ready(())));
        let path = request.uri().path().to_owned();
        let visit = async {
            let (head, body) = send(&case.app, request).await.into_parts();
            // Of some there is a part, and then an error.
            drop(body.collect().await);
            Response::from_parts(head, Body::empty())
        };
        let (response, ()) = join(visit, meanwhile).await;
        if case.settles {
            settled(&case.isr).await;
        } else {
            let_run().await;
        }

        headers_agree(reason, case, response, explained.as_ref(), name);
        let mut all = case.also.clone();
        all.push(reason);
        let words = |reason: &Reason| (reason.state().to_owned(), reason.reason().to_owned());
        let mut expected = BTreeMap::<_, u64>::new();
        for reason in &all {
            *expected.entry(words(reason)).or_default() += 1;
        }
        assert_eq!(self.requests(case.route), expected, "{name}: metrics");
        let told = self.since(lines);
        let mut events = BTreeMap::<_, u64>::new();
        for (event, why) in told.iter().filter_map(|line| event(line, case.route)) {
            *events.entry((event, why)).or_default() += 1;
        }
        assert_eq!(events, expected, "{name}: events {told:#?}");
        // Of a path that is long, as much as is shown.
        let shown: String = path.chars().take(256).collect();
        let ours = |line: &&String| {
            event(line, case.route) == Some(words(&reason)) && line.contains(&format!("path={shown} "))
        };
        assert!(told.iter().any(|line| ours(&line)), "{name}: {path} {told:#?}");
        let after = self::numbers(case);
        let count = |state: &str| all.iter().filter(|reason| reason.state() == state).count() as u64;
        let counted: [u64; 6] = std::array::from_fn(|at| after[at] - numbers[at]);
        let states = ["hit", "stale", "miss", "bypass", "pass", "failed"];
        assert_eq!(counted, states.map(count), "{name}: numbers of {states:?}");
        if let (Reason::Miss(_), Answer::Got) = (reason, &case.answer) {
            let collapsed = told.iter().any(|line| line.contains("MISS") && line.contains("collapsed=true"));
            assert_eq!(collapsed, case.collapsed, "{name}: {told:#?}");
        }
    }

    /// Requests of a route by state and reason.
    fn requests(&self, route: &str) -> BTreeMap<(String, String), u64> {
        let of = |mut labels: Vec<(String, String)>| {
            labels.sort_unstable();
            let names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["reason", "route", "state"]);
            let [reason, route, state] = [0, 1, 2].map(|at| labels[at].1.clone());
            (route, (state, reason))
        };
        let counted = self.counted("isr_requests_total").into_iter().map(|(labels, count)| (of(labels), count));
        counted.filter(|((of, _), _)| of == route).map(|((_, words), count)| (words, count)).collect()
    }
}

/// The answer says the same, in a field that is one.
fn headers_agree(reason: Reason, case: &Case, response: Response, explained: Option<&Explanation>, name: &str) {
    let response = match &case.answer {
        Answer::Got => response,
        Answer::Inside(answer) => answer.lock().unwrap().take().unwrap(),
        Answer::Unwound => {
            assert_eq!(response.headers().get("cache-status"), None, "{name}: who has written it?");
            return;
        }
    };
    let state = match reason {
        // It has no state header.
        Reason::Miss(Miss::Development) => "",
        Reason::Hit => "HIT",
        Reason::Stale(_) => "STALE",
        // What breaks begins as a page does.
        Reason::Miss(_) | Reason::Failed(Failed::Broken) => "MISS",
        _ => "",
    };
    assert_eq!(self::state(&response), state, "{name}");
    let status = status(&response);
    let token = |text: &str| Some(BareItem::Token(text.to_owned().try_into().unwrap()));
    let get = |key: &str| status.params.get(key).cloned();
    assert_eq!(Some(status.bare_item.clone()), token("axum-isr"), "{name}");
    let forwarded = match reason {
        Reason::Hit | Reason::Stale(_) => None,
        Reason::Bypass(Bypass::Method) => token("method"),
        Reason::Bypass(_) | Reason::Pass(_) => token("bypass"),
        _ => token("miss"),
    };
    let hit = forwarded.is_none().then_some(BareItem::Boolean(true));
    assert_eq!((get("hit"), get("fwd")), (hit, forwarded), "{name}: {status:?}");
    assert_eq!(get("detail"), token(reason.reason()), "{name}: {status:?}");
    assert_eq!(get("collapsed").is_some(), case.collapsed, "{name}: {status:?}");
    if let Some(BareItem::Integer(ttl)) = get("ttl") {
        let fresh = !matches!(reason, Reason::Stale(_));
        assert_eq!(i64::from(ttl) > 0, fresh, "{name}: {status:?}");
    } else {
        assert!(!matches!(reason, Reason::Hit | Reason::Stale(_)), "{name}: {status:?}");
    }
    assert_eq!(get("stored").is_some(), get("ttl").is_some() && state == "MISS", "{name}: {status:?}");
    let key = explained.and_then(|explained| explained.key.clone());
    if let (Some(BareItem::String(told)), Some(key)) = (get("key"), &key) {
        assert_eq!(told.as_str() == key, case.keyed, "{name}: {told:?} {key}");
    } else {
        assert!(get("key").is_none() || key.is_none(), "{name}: {status:?} {key:?}");
    }
}

/// What `Isr::explain` says before the request, which is what is foreseen; and nothing happens by asking for it.
fn explained(case: &Case, request: &Request, reason: Reason, name: &str) -> Option<Explanation> {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let before = case.isr.stats();
    let explained = case.isr.explain(path, request.headers());
    assert_eq!(case.isr.stats(), before, "{name}: to explain is to do");
    let expected = match case.foreseen {
        Foreseen::Same => reason,
        Foreseen::Otherwise(otherwise) => otherwise,
        Foreseen::Refused => {
            explained.unwrap_err();
            return None;
        }
    };
    let explained = explained.unwrap();
    assert_eq!((explained.known, explained.reason), (true, Some(expected)), "{name}: {}", explained.text);
    assert_eq!(explained.route.as_deref(), Some(case.route), "{name}");
    assert!(explained.text.ends_with('.'), "{name}: {}", explained.text);
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!((&json["state"], &json["reason"]), (&expected.state().into(), &expected.reason().into()), "{name}");
    let then = match expected {
        Reason::Bypass(_) => vec!["handler"],
        Reason::Pass(_) => vec!["memory", "handler"],
        Reason::Miss(Miss::Development) => vec!["render"],
        Reason::Miss(_) => [&["memory"], case.behind, &["render"]].concat(),
        _ => vec!["memory"],
    };
    assert_eq!(explained.then, then, "{name}");
    Some(explained)
}

/// What our cache says in `Cache-Status`, which is a list of all that the response went through.
pub fn status(response: &Response) -> Item {
    let lines: Vec<_> = response.headers().get_all("cache-status").iter().map(HeaderValue::as_bytes).collect();
    let list: List = Parser::new(&lines.join(&b", "[..])).parse().unwrap();
    match list.last() {
        Some(ListEntry::Item(item)) => item.clone(),
        _ => panic!("no cache: {list:?}"),
    }
}

/// Hits, stale ones, misses, bypasses, passes and failures of a route.
fn numbers(case: &Case) -> [u64; 6] {
    let stats = case.isr.stats();
    let none = RouteStats::default();
    let route = stats.routes.iter().find(|route| route.route == case.route).unwrap_or(&none);
    [route.hits, route.stale, route.misses, route.bypasses, route.passes, route.failed]
}

/// The state and the reason that a line of the log tells of a request of a route.
fn event(line: &str, route: &str) -> Option<(String, String)> {
    // A nested render is logged inside of its spans.
    let said = line.rsplit_once("axum_isr: ")?.1;
    let (event, fields) = said.split_once(' ')?;
    let state = match event {
        "HIT" => "hit",
        "STALE" => "stale",
        "MISS" => "miss",
        "bypass" => "bypass",
        "pass" => "pass",
        "failure" => "failed",
        _ => return None,
    };
    if fields.split_once("route=")?.1.split(" path=").next()? != route {
        return None;
    }
    let why = fields.split_once("reason=\"")?.1.split_once('"')?.0;
    Some((state.to_owned(), why.to_owned()))
}
