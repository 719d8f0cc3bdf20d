//! What is said of a page before it is asked for: why, for how long, and what went wrong. That each reason is foreseen is
//! in `reasons`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "common/explained.rs"]
mod explained;

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::stats::{Miss, Pass, Reason, Stale};
use axum_isr::testing::{FaultyStore, ManualClock, MemoryStore, Operation};
use axum_isr::{Dynamic, Isr, Mode, Render, RouteConfig};
use common::{Gate, Handler, fetch, let_run, request, request_with, send, settled, until};
use explained::{COLD, MINUTE, SECOND, Site, because, explain, plain};
use http::StatusCode;
use serde_json::{Value, json};

#[tokio::test]
async fn the_sentence_names_the_cause() {
    let site = Site::new(plain().tags(["t"]));
    let says = |path: &str, parts: &[&str]| {
        let text = site.explain(path).text;
        assert!(text.ends_with('.') && parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    };
    site.visit("/p/a").await;
    says("/p/a", &["Answered from memory", "fresh", "for 60 s more."]);
    says("/p/b", &["The visitor waits", "there is none in memory."]);
    site.clock.advance(MINUTE);
    says("/p/a", &["the old page", "rendered again in the background", "older than its time to revalidate."]);
    site.isr.revalidate_tag("t").await.unwrap();
    says("/p/a", &["the old page", "revalidated on demand (tag t)."]);
    site.isr.expire_tag("t").await.unwrap();
    says("/p/a", &["The visitor waits", "invalidated on demand (tag t)."]);
    site.clock.advance(60 * MINUTE);
    says("/p/a", &["The visitor waits", "older than its time to expire."]);
    let range = site.isr.explain("/p/a", request_with("/", &[("range", "bytes=0-0")]).headers()).unwrap();
    assert!(range.text.contains("without a look: it has a Range header."), "{}", range.text);
    let forever = Site::new(RouteConfig::forever());
    forever.visit("/p/a").await;
    assert_eq!(forever.explain("/p/a").text, "Answered from memory: the page is fresh until it is invalidated.");
    site.isr.shutdown(MINUTE).await;
    says("/p/a", &["the handle is shutting down."]);
}

/// A pass is remembered for ten seconds, and then looked at again.
#[tokio::test]
async fn a_pass_says_when_it_is_looked_at_again() {
    let site = Site::of(plain(), Handler::new(|_, _| async { ([("set-cookie", "a=1")], "x") }));
    site.visit("/p/a").await;
    site.clock.advance(3 * SECOND);
    let pass = site.explain("/p/a");
    assert_eq!(because(&pass), Reason::Pass(Pass::SetCookie));
    let text =
        "The visitor's own request goes to the handler: its response sets a cookie. It is looked at again in 7 s.";
    assert_eq!(pass.text, text);
    let entry = pass.entry.unwrap();
    assert_eq!((entry.kind, entry.state, entry.reason), ("pass", "pass", "set-cookie"));
    assert_eq!((entry.retry_in, entry.route.as_str(), entry.path.as_str()), (Some(7 * SECOND), "/p/{slug}", "/p/a"));
    site.clock.advance(7 * SECOND);
    let pass = site.explain("/p/a");
    assert!(pass.text.ends_with("sets a cookie. The next visitor causes another look."), "{}", pass.text);
    assert_eq!(pass.entry.unwrap().retry_in, None);
}

#[tokio::test]
async fn tags_say_when_they_were_invalidated() {
    let handler = Handler::new(|_, request: Request| async move {
        let Ok(render) = Render::from_request_parts(&mut request.into_parts().0, &()).await;
        render.tag("own");
        "page"
    });
    let site = Site::of(plain().tags(["route"]), handler);
    site.visit("/p/a").await;
    let tags = |path: &str| {
        let tags = site.explain(path).tags.into_iter();
        tags.map(|state| (state.tag, state.revalidated_at, state.expired_at)).collect::<Vec<_>>()
    };
    assert_eq!(tags("/p/a"), [("route".to_owned(), None, None), ("own".to_owned(), None, None)]);
    assert_eq!(tags("/p/b"), [("route".to_owned(), None, None)], "what its handler will say is not known");
    let wall = || {
        let since = axum_isr::config::Clock::wall(&site.clock).duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    };
    site.clock.advance(SECOND);
    site.isr.revalidate_tag("own").await.unwrap();
    let revalidated = wall();
    site.clock.advance(SECOND);
    site.isr.expire_tag("route").await.unwrap();
    let expired = wall();
    let [route, own] = &tags("/p/a")[..] else { panic!("two tags") };
    assert_eq!((own.1, own.2, route.1, route.2), (Some(revalidated), None, None, Some(expired)));
    let tag = site.isr.explain_tag("own").unwrap();
    assert_eq!((tag.state.revalidated_at, tag.state.expired_at), (Some(revalidated), None));
}

/// Those of the route, of the page, and what is left of them.
#[tokio::test]
async fn lives_are_those_of_the_route_and_of_the_page() {
    let handler = Handler::new(|_, request: Request| async move {
        let short = request.uri().path() == "/p/short";
        let Ok(render) = Render::from_request_parts(&mut request.into_parts().0, &()).await;
        if short {
            render.revalidate(5 * SECOND);
            render.expire(8 * SECOND);
        }
        "page"
    });
    let site = Site::of(plain().mode(Dynamic::ForceStatic), handler);
    site.visit("/p/a").await;
    site.visit("/p/short").await;
    site.clock.advance(2 * SECOND);
    for (path, fresh, kept) in [("/p/a", MINUTE, 60 * MINUTE), ("/p/short", 5 * SECOND, 8 * SECOND)] {
        let explained = site.explain(path);
        assert_eq!((explained.revalidate, explained.expire), (Some(MINUTE), Some(60 * MINUTE)), "{path}");
        assert_eq!(explained.mode, Some("force-static"));
        let entry = explained.entry.unwrap();
        assert_eq!((entry.fresh_for, entry.kept_for, entry.age), (Some(fresh), Some(kept), Some(2 * SECOND)), "{path}");
        assert_eq!((entry.kind, entry.status, entry.body_bytes), ("page", Some(200), 4));
        assert!(entry.bytes > 4 && entry.state == "fresh" && entry.reason == "fresh");
    }
    let forever = Site::new(RouteConfig::forever());
    forever.visit("/p/a").await;
    let explained = forever.explain("/p/a");
    assert_eq!((explained.revalidate, explained.expire), (None, None));
    assert_eq!(explained.entry.unwrap().fresh_for, None);
}

#[tokio::test]
async fn the_last_error_and_the_next_try_are_told() {
    let handler = Handler::new(|n, _| async move {
        match n {
            1 => "page".into_response(),
            2 => StatusCode::BAD_GATEWAY.into_response(),
            3 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => "page again".into_response(),
        }
    });
    let site = Site::of(plain(), handler);
    site.visit("/p/a").await;
    site.clock.advance(MINUTE);
    for (times, error, more) in [("once", "status 502", 1), ("2 times", "status 503", 2)] {
        assert_eq!(site.visit("/p/a").await, "STALE");
        let explained = site.explain("/p/a");
        let entry = explained.entry.unwrap();
        assert_eq!((entry.failures, entry.last_error.as_deref()), (more, Some(error)));
        let wait = entry.retry_in.unwrap();
        assert!(wait > Duration::ZERO && wait <= 10 * MINUTE, "{wait:?}");
        let text = format!("To render it again has failed {times}, the last time with {error}; it is tried again in ");
        assert!(explained.text.contains(&text) && explained.text.ends_with('.'), "{}", explained.text);
        site.clock.advance(wait);
        let explained = site.explain("/p/a");
        assert_eq!(explained.entry.unwrap().retry_in, None);
        assert!(explained.text.ends_with(&format!("the last time with {error}.")), "{}", explained.text);
    }
    assert_eq!(site.visit("/p/a").await, "STALE");
    let explained = site.explain("/p/a");
    let entry = explained.entry.unwrap();
    assert_eq!((explained.reason, entry.failures, entry.last_error), (Some(Reason::Hit), 0, None));
}

#[tokio::test]
async fn a_page_that_is_being_rendered_again_says_so() {
    let gate = Gate::closed();
    let site = Site::of(plain(), Handler::gated_again(&gate));
    site.visit("/p/a").await;
    assert!(!site.explain("/p/a").entry.unwrap().rendering);
    site.clock.advance(MINUTE);
    fetch(&site.app, "/p/a").await;
    until(|| site.handler.calls() == 2).await;
    let explained = site.explain("/p/a");
    assert_eq!(because(&explained), Reason::Stale(Stale::Age));
    assert!(explained.text.ends_with(". It is being rendered now.") && explained.entry.unwrap().rendering);
    gate.open();
    settled(&site.isr).await;
    assert!(!site.explain("/p/a").entry.unwrap().rendering);
}

/// Nothing is rendered, counted or asked of a store, however often and of whatever is explained.
#[tokio::test(start_paused = true)]
async fn to_explain_is_not_to_do() {
    let clock = ManualClock::new();
    let (store, faults) = FaultyStore::new(MemoryStore::new().clock(clock.clone()));
    let isr = Isr::builder().clock(clock.clone()).store(store).deployment_id("one").build().unwrap();
    let handler = Handler::counting();
    let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(plain().tags(["t"])));
    for path in ["/p/a", "/p/a", "/p/gone"] {
        fetch(&app, path).await;
    }
    settled(&isr).await;
    until(|| isr.stats().store_writes == 2).await;
    isr.expire_path("/p/gone").await.unwrap();
    let_run().await;
    // What is known of the ledger is old by then: whoever came now would ask.
    clock.advance(2 * MINUTE);
    let calls = || Operation::ALL.map(|operation| faults.calls(operation));
    let hits = || explain(&isr, "/p/a", &[]).entry.unwrap().hits;
    assert_eq!(hits(), 1);
    let before = (isr.stats(), calls(), handler.calls());
    for _ in 0..100 {
        for (path, reason) in
            [("/p/a", Reason::Stale(Stale::Age)), ("/p/gone", Reason::Miss(Miss::Invalidated)), ("/p/none", COLD)]
        {
            let explained = explain(&isr, path, &[]);
            assert_eq!(because(&explained), reason, "{path}");
        }
        isr.explain_tag("t").unwrap();
        assert!(!explain(&isr, "/else", &[]).known);
    }
    let_run().await;
    assert_eq!((isr.stats(), calls(), handler.calls()), before);
    assert_eq!(hits(), 1);
    assert_eq!(explain(&isr, "/p/none", &[]).then, ["memory", "store", "render"]);
}

#[tokio::test]
async fn of_a_tag_it_is_told_what_it_would_touch() {
    let isr = Isr::builder().build().unwrap();
    let data = isr.clone();
    let page = move |request: Request| {
        let isr = data.clone();
        async move {
            let path = request.uri().path().to_owned();
            let Ok(render) = Render::from_request_parts(&mut request.into_parts().0, &()).await;
            render.tag("page");
            if path == "/p/data" {
                let numbers = isr.data("numbers").tag("numbers");
                numbers.get_or_init(|| async { 1_u64 }).await.unwrap();
            }
            if path == "/p/own" {
                render.no_store();
            }
            path
        }
    };
    let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(plain().tags(["all"])));
    for path in ["/p/a", "/p/b", "/p/data", "/p/own"] {
        fetch(&app, path).await;
        settled(&isr).await;
    }
    let told = |tag: &str| {
        let told = isr.explain_tag(tag).unwrap();
        assert_eq!((told.bytes > 0, told.state.tag.as_str()), (told.pages + told.data > 0, tag));
        (told.pages, told.data)
    };
    assert_eq!((told("all"), told("page"), told("nothing")), ((4, 0), (4, 0), (0, 0)));
    assert_eq!(told("numbers"), (1, 1), "the value, and the page that is made from it");
    let sum = isr.explain_tag("all").unwrap().bytes + isr.explain_tag("numbers").unwrap().bytes;
    let page = explain(&isr, "/p/data", &[]).entry.unwrap().bytes;
    assert_eq!(sum - page, isr.stats().memory_bytes, "all there is, with one page twice");
    let json = serde_json::to_value(isr.explain_tag("numbers").unwrap()).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["bytes", "data", "expired_at_ms", "pages", "revalidated_at_ms", "tag"]);
}

/// The shape of the JSON is what a dashboard relies on.
#[tokio::test]
async fn an_explanation_is_json_with_its_state_and_reason_beside_the_rest() {
    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }
    let site = Site::new(plain().query(["q"]).tags(["t"]));
    let unknown = serde_json::to_value(site.explain("/p/a")).unwrap();
    let all = ["entry", "expire_ms", "inputs", "key", "known", "marks", "mode", "path", "revalidate_ms", "route"];
    let all = [&all[..], &["tags", "text", "then"]].concat();
    assert_eq!(keys(&unknown), all, "neither state nor reason");
    assert_eq!((&unknown["known"], &unknown["key"], &unknown["then"]), (&json!(false), &Value::Null, &json!([])));
    site.visit("/p/a?q=1").await;
    site.clock.advance(Duration::from_millis(1_500));
    let known = serde_json::to_value(site.explain("/p/a?q=1&x=2")).unwrap();
    let mut expected = [&all[..], &["reason", "state"]].concat();
    expected.sort_unstable();
    assert_eq!(keys(&known), expected);
    assert_eq!((&known["state"], &known["reason"]), (&json!("hit"), &json!("fresh")));
    assert_eq!((&known["revalidate_ms"], &known["expire_ms"]), (&json!(60_000), &json!(3_600_000)));
    assert_eq!(known["tags"], json!([{ "tag": "t", "revalidated_at_ms": null, "expired_at_ms": null }]));
    let inputs = json!([
        { "kind": "query", "name": "q", "value": "1", "counts": true },
        { "kind": "query", "name": "x", "value": "2", "counts": false },
    ]);
    assert_eq!(known["inputs"], inputs);
    let entry = &known["entry"];
    let mut fields = vec!["age_ms", "body_bytes", "bytes", "expire_ms", "failures", "fresh_ms", "hits", "id"];
    fields.extend(["inputs", "kind", "last_error", "path", "reason", "render_ms", "rendering", "retry_ms"]);
    fields.extend(["route", "state", "status", "tags"]);
    assert_eq!(keys(entry), fields);
    assert_eq!((&entry["age_ms"], &entry["hits"], &entry["retry_ms"]), (&json!(1_500), &json!(0), &Value::Null));
    assert!(entry["id"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()));
}

/// Whoever develops is told that nothing is kept, and what is known besides.
#[tokio::test]
async fn in_development_every_request_is_rendered() {
    let isr = Isr::builder().mode(Mode::Development).build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain()));
    send(&app, request("/")).await;
    let explained = explain(&isr, "/", &[]);
    assert_eq!((because(&explained), explained.then.as_slice()), (Reason::Miss(Miss::Development), &["render"][..]));
    assert_eq!(explained.text, "The visitor waits for the page: in development mode every request is rendered.");
    assert_eq!((explained.entry, explained.revalidate), (None, Some(MINUTE)));
}
