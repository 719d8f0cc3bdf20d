//! What explanations say of invalidations, failures and notes, while all of that changes: what would happen, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::stats::{Explanation, Miss, Pass, Reason, Stale};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Handler, fetch, settled, state};
use http::{HeaderMap, StatusCode};

const MINUTE: Duration = Duration::from_secs(60);

fn explain(isr: &Isr, path: &str) -> Explanation {
    isr.explain(path, &HeaderMap::new()).unwrap()
}

/// After a mark a page is tried again at once, whatever its back-off says; and so says the explanation.
#[tokio::test]
async fn a_mark_ends_the_wait_after_failures() {
    let (clock, works) = (ManualClock::new(), Arc::new(AtomicBool::new(true)));
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let inner = Arc::clone(&works);
    let handler = Handler::new(move |n, _: Request| {
        let works = inner.load(Ordering::SeqCst);
        async move { if works { Ok(format!("render {n}")) } else { Err(StatusCode::BAD_GATEWAY) } }
    });
    let app = Router::new()
        .route("/p/{slug}", get(handler.clone()))
        .route_layer(isr.layer(RouteConfig::revalidate(MINUTE).tags(["all"])));
    fetch(&app, "/p/a").await;
    works.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    for _ in 0..6 {
        fetch(&app, "/p/a").await;
        settled(&isr).await;
        clock.advance(Duration::from_millis(100));
    }
    assert_eq!(handler.calls(), 2);
    let waits = explain(&isr, "/p/a");
    assert_eq!(waits.reason, Some(Reason::Stale(Stale::Age)));
    assert!(!waits.text.contains("background"), "{}", waits.text);
    assert!(
        waits.text.contains("has failed once, the last time with status 502; it is tried again in "),
        "{}",
        waits.text
    );
    assert!(waits.entry.unwrap().retry_in.is_some());
    isr.revalidate_tag("all").await.unwrap();
    let marked = explain(&isr, "/p/a");
    assert_eq!(marked.reason, Some(Reason::Stale(Stale::Invalidated)));
    assert_eq!(marked.entry.as_ref().unwrap().retry_in, None);
    assert!(
        marked.text.contains("rendered again in the background: it was revalidated on demand (tag all)"),
        "{}",
        marked.text
    );
    assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
    settled(&isr).await;
    assert_eq!(handler.calls(), 3, "as was said");
}

/// The note that a page is not shared ends with a mark: then there is nothing, in the explanation as in the list.
#[tokio::test]
async fn a_note_that_was_invalidated_is_none() {
    let isr = Isr::builder().clock(ManualClock::new()).build().unwrap();
    let page = || async { ([("set-cookie", "a=1")], "own").into_response() };
    let app =
        Router::new().route("/own", get(page)).route_layer(isr.layer(RouteConfig::revalidate(MINUTE).tags(["all"])));
    fetch(&app, "/own").await;
    let passes = explain(&isr, "/own");
    assert_eq!(passes.reason, Some(Reason::Pass(Pass::SetCookie)));
    assert!(passes.text.contains("It is looked at again in 10 s."), "{}", passes.text);
    isr.revalidate_tag("all").await.unwrap();
    let gone = explain(&isr, "/own");
    assert_eq!(gone.reason, Some(Reason::Miss(Miss::Invalidated)));
    assert_eq!(gone.text, "The visitor waits for the page: what is in memory was invalidated on demand (tag all).");
    let entry = gone.entry.unwrap();
    assert_eq!((entry.kind, entry.state, entry.reason, entry.retry_in), ("pass", "expired", "invalidated", None));
}

/// Whatever a page was invalidated by is named: its path, a prefix, its route, everything.
#[tokio::test]
async fn what_a_page_was_invalidated_by_is_named() {
    let isr = Isr::builder().clock(ManualClock::new()).build().unwrap();
    let route = get(Handler::counting());
    let app = Router::new().route("/a/{b}/c", route).route_layer(isr.layer(RouteConfig::forever()));
    fetch(&app, "/a/b/c").await;
    assert_eq!(explain(&isr, "/a/b/c").marks, []);
    let mut named = Vec::new();
    isr.revalidate_path("/a/b/c").await.unwrap();
    isr.expire_prefix("/other").await.unwrap();
    for mark in ["path /a/b/c", "prefix /a", "route /a/{b}/c", "everything"] {
        match mark {
            "prefix /a" => drop(isr.revalidate_prefix("/a").await.unwrap()),
            "route /a/{b}/c" => drop(isr.revalidate_route("/a/{b}/c").await.unwrap()),
            "everything" => drop(isr.revalidate_all().await.unwrap()),
            _ => {}
        }
        named.push(mark);
        let found = explain(&isr, "/a/b/c");
        assert_eq!(found.marks.iter().map(|state| state.on.as_str()).collect::<Vec<_>>(), named);
        assert!(found.marks.iter().all(|state| state.revalidated_at.is_some() && state.expired_at.is_none()));
        assert!(found.text.contains(&format!("it was revalidated on demand ({mark})")), "{}", found.text);
    }
    isr.expire_prefix("/").await.unwrap();
    let expired = explain(&isr, "/a/b/c");
    assert_eq!(expired.reason, Some(Reason::Miss(Miss::Invalidated)));
    assert!(expired.marks.iter().any(|state| state.on == "prefix /" && state.expired_at.is_some()), "{expired:?}");
}

/// Two routers may name the parameters of one path differently: whichever has the page is meant.
#[tokio::test]
async fn routers_with_other_names_of_parameters_are_told_apart() {
    let isr = Isr::builder().build().unwrap();
    let router = |pattern: &str, namespace: &str| {
        let config = RouteConfig::forever().namespace(namespace);
        Router::new().route(pattern, get(Handler::counting())).route_layer(isr.layer(config))
    };
    let (one, two) = (router("/p/{slug}", "one"), router("/p/{name}", "two"));
    fetch(&one, "/p/x").await;
    fetch(&two, "/p/y").await;
    for (path, route) in [("/p/x", "/p/{slug}"), ("/p/y", "/p/{name}")] {
        let found = explain(&isr, path);
        assert_eq!((found.route.as_deref(), found.reason), (Some(route), Some(Reason::Hit)), "{path}");
    }
}
