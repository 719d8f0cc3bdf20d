//! One render per key, however many ask: stampedes, storms, failures under load, and pages that change their mind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Render, RouteConfig};
use common::{Gate, Handler, body, crowd, fetch, head, header, let_run, request, settled, state, until, waiting};
use futures_util::future::join_all;
use http::StatusCode;

const MINUTE: Duration = Duration::from_secs(60);

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)))
}

fn gated(gate: &Gate) -> Handler {
    let gate = gate.clone();
    Handler::new(move |n, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            format!("render {n}")
        }
    })
}

/// R12, CASES 101: five hundred first requests are one render and equal bodies, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_visitors_at_a_barrier_cause_one_render() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|n, _| async move {
        tokio::task::yield_now().await;
        format!("render {n}")
    });
    let app = app(&isr, &handler);
    let barrier = Arc::new(tokio::sync::Barrier::new(500));
    let visitors = (0..500).map(|_| {
        let (app, barrier) = (app.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            let response = fetch(&app, "/p/a").await;
            assert!(matches!(state(&response), "MISS" | "HIT"));
            body(response).await
        })
    });
    for got in join_all(visitors).await {
        assert_eq!(got.unwrap(), "render 1");
    }
    assert_eq!(handler.calls(), 1);
}

/// R12, CASES 101: who waits for somebody else's render says so, and gets the same page.
#[tokio::test]
async fn those_who_wait_for_one_render_all_get_it() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = gated(&gate);
    let app = app(&isr, &handler);
    let visitors = crowd(&app, 500, |_| request("/p/a")).await;
    assert_eq!(isr.stats().flights, 1);
    gate.admit(1);
    let mut collapsed = 0;
    for response in join_all(visitors).await {
        assert_eq!(state(&response), "MISS");
        collapsed += usize::from(header(&response, "cache-status") == "axum-isr; fwd=miss; collapsed");
        assert_eq!(body(response).await, "render 1");
    }
    assert_eq!((collapsed, handler.calls()), (499, 1));
}

/// R12, CASES 102: while a stale page is rendered again, everybody gets the old one at once.
#[tokio::test]
async fn readers_of_a_stale_page_cause_one_regeneration_and_do_not_wait() {
    let (clock, gate) = (ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = gated(&gate);
    let app = app(&isr, &handler);
    gate.admit(1);
    fetch(&app, "/p/a").await;
    clock.advance(MINUTE);
    for _ in 0..200 {
        let stale = fetch(&app, "/p/a").await;
        assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "render 1"));
    }
    let_run().await;
    assert_eq!(handler.calls(), 2);
    gate.admit(1);
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 2"));
}

/// R12: a regeneration is allowed again after the last one, and one key does not wait for another.
#[tokio::test]
async fn keys_are_regenerated_again_and_independently() {
    let (clock, gate) = (ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |n, request: Request| {
        let gate = inner.clone();
        async move {
            if n > 2 && request.uri().path() == "/p/slow" {
                gate.pass().await;
            }
            format!("render {n}")
        }
    });
    let app = app(&isr, &handler);
    fetch(&app, "/p/slow").await;
    fetch(&app, "/p/a").await;
    clock.advance(MINUTE);
    assert_eq!(state(&fetch(&app, "/p/slow").await), "STALE");
    for round in 0..3 {
        assert_eq!(state(&fetch(&app, "/p/a").await), "STALE", "round {round}");
        let_run().await;
        let hit = fetch(&app, "/p/a").await;
        assert_eq!((state(&hit), body(hit).await), ("HIT", format!("render {}", 4 + round)));
        clock.advance(MINUTE);
    }
    assert_eq!(isr.stats().flights, 1, "the slow one is still in the air");
    gate.open();
    settled(&isr).await;
    assert_eq!(handler.calls(), 6);
}

/// CASES 103: two thousand pages turn stale at once; renders at the same time are bounded, everybody is served, and in
/// the end every page is new.
#[tokio::test]
async fn a_storm_of_stale_keys_is_regenerated_a_few_at_a_time() {
    const KEYS: usize = 2_000;
    const AT_ONCE: usize = 5;
    let (clock, gate) = (ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(AT_ONCE).build().unwrap();
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let handler = {
        let (running, gate) = (Arc::clone(&running), gate.clone());
        Handler::new(move |n, _| {
            let (running, gate) = (Arc::clone(&running), gate.clone());
            async move {
                if n > KEYS {
                    let now = running.0.fetch_add(1, Ordering::SeqCst) + 1;
                    running.1.fetch_max(now, Ordering::SeqCst);
                    gate.pass().await;
                    tokio::task::yield_now().await;
                    running.0.fetch_sub(1, Ordering::SeqCst);
                }
                format!("render {n}")
            }
        })
    };
    let app = app(&isr, &handler);
    let paths: Vec<_> = (0..KEYS).map(|n| format!("/p/{n}")).collect();
    for path in &paths {
        fetch(&app, path).await;
    }
    clock.advance(MINUTE);
    for path in &paths {
        assert_eq!(state(&fetch(&app, path).await), "STALE");
    }
    until(|| running.0.load(Ordering::SeqCst) == AT_ONCE).await;
    let_run().await;
    assert_eq!((handler.calls(), isr.stats().flights), (KEYS + AT_ONCE, AT_ONCE));
    gate.open();
    let mut left = paths;
    for _ in 0..KEYS {
        let mut stale = Vec::new();
        for path in left.drain(..left.len().min(4 * AT_ONCE)) {
            if state(&fetch(&app, &path).await) == "STALE" {
                stale.push(path);
            }
        }
        left.extend(stale);
        let_run().await;
    }
    assert!(left.is_empty(), "{} pages stay stale", left.len());
    assert_eq!(running.1.load(Ordering::SeqCst), AT_ONCE, "never more, and as many as may");
    assert_eq!(handler.calls(), 2 * KEYS, "each once");
}

/// CASES 105: followers of a render that fails get its failure: they neither try all at once nor wait for ever.
#[tokio::test]
async fn followers_share_a_failure() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let inner = gate.clone();
    let handler = Handler::new(move |n, request: Request| {
        let gate = inner.clone();
        async move {
            if request.uri().path() == "/p/good" {
                return "good".into_response();
            }
            gate.pass().await;
            (StatusCode::INTERNAL_SERVER_ERROR, [("x-try", "1")], format!("failure {n}")).into_response()
        }
    });
    let app = app(&isr, &handler);
    // The pattern has rendered well: a failure is believed.
    fetch(&app, "/p/good").await;
    let visitors = crowd(&app, 50, |_| request("/p/bad")).await;
    gate.open();
    for response in join_all(visitors).await {
        assert_eq!((response.status().as_u16(), state(&response), header(&response, "x-try")), (500, "", "1"));
        assert_eq!(body(response).await, "failure 2");
    }
    assert_eq!((handler.calls(), isr.stats().flights), (2, 0));
    let again = fetch(&app, "/p/bad").await;
    assert_eq!((again.status().as_u16(), body(again).await.as_str()), (500, "failure 3"), "nothing is remembered");
}

/// CASES 109: two renders of one page can run at once (a HEAD's and a GET's); the one that began first does not replace
/// what the later one brought.
#[tokio::test]
async fn an_older_render_does_not_replace_a_newer_page() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let inner = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = inner.clone();
        async move {
            let seen = format!("what was true at {n}");
            if n == 1 {
                gate.pass().await;
            }
            seen
        }
    });
    let app = app(&isr, &handler);
    let early = waiting(&app, head("/p/a")).await;
    until(|| handler.calls() == 1).await;
    assert_eq!(body(fetch(&app, "/p/a").await).await, "what was true at 2");
    gate.open();
    early.await;
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "what was true at 2"));
}

async fn render(request: Request) -> Render {
    let (mut parts, _) = request.into_parts();
    Render::from_request_parts(&mut parts, &()).await.unwrap()
}

type Change = fn(&Render) -> Response;

/// CASES 110, R7: a regeneration that is not shareable any more removes the page: nobody gets the old one, and each
/// visitor's own request goes to the handler.
#[tokio::test]
async fn a_regeneration_that_opts_out_removes_the_page() {
    let changes: [(&str, Change); 7] = [
        ("cache-control", |_| ([("cache-control", "private")], "new").into_response()),
        ("set-cookie", |_| ([("set-cookie", "a=1")], "new").into_response()),
        ("vary", |_| ([("vary", "cookie")], "new").into_response()),
        ("forbidden", |_| (StatusCode::FORBIDDEN, "new").into_response()),
        ("no_store", |render| {
            render.no_store();
            "new".into_response()
        }),
        ("zero", |render| {
            render.revalidate(Duration::ZERO);
            Json("new").into_response()
        }),
        ("tags", |render| {
            (0..129).for_each(|n| render.tag(format!("tag {n}")));
            "new".into_response()
        }),
    ];
    for (name, change) in changes {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let handler = Handler::new(move |n, request| async move {
            let render = render(request).await;
            if n == 1 { "old".into_response() } else { change(&render) }
        });
        let app = app(&isr, &handler);
        fetch(&app, "/p/a").await;
        clock.advance(MINUTE);
        assert_eq!(body(fetch(&app, "/p/a").await).await, "old", "{name}");
        settled(&isr).await;
        for calls in 3..6 {
            let own = fetch(&app, "/p/a").await;
            assert_eq!((state(&own), handler.calls()), ("", calls), "{name}");
            assert!(body(own).await.contains("new"), "{name}");
        }
        assert_eq!(isr.stats().memory_items, 1, "{name}: the pass alone is remembered");
    }
}

/// CASES 110: the lifetime of the latest render counts, not that of the one before.
#[tokio::test]
async fn a_regeneration_with_another_lifetime_replaces_the_old_one() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(|n, request| async move {
        let render = render(request).await;
        if n == 2 {
            render.revalidate(Duration::from_secs(5));
            render.expire(Duration::from_secs(8));
        }
        format!("render {n}")
    });
    let app = app(&isr, &handler);
    let miss = fetch(&app, "/p/a").await;
    assert_eq!(header(&miss, "cache-control"), "s-maxage=60, stale-while-revalidate=31535940");
    clock.advance(MINUTE);
    fetch(&app, "/p/a").await;
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), header(&hit, "cache-control")), ("HIT", "s-maxage=5, stale-while-revalidate=3"));
    clock.advance(Duration::from_secs(8));
    let miss = fetch(&app, "/p/a").await;
    assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", "render 3"), "expired");
}

/// I6: beyond ten thousand waiters a visitor does not wait: its own request goes to the handler.
#[tokio::test]
async fn who_comes_after_ten_thousand_does_not_wait() {
    let gate = Gate::closed();
    let isr = Isr::builder().headers(axum_isr::config::ResponseHeaders::shared().debug()).build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = inner.clone();
        async move {
            if n == 1 {
                gate.pass().await;
            }
            format!("render {n}")
        }
    });
    let app = app(&isr, &handler);
    let mut visitors = crowd(&app, 10_000, |_| request("/p/a")).await;
    until(|| handler.calls() == 1).await;
    let own = fetch(&app, "/p/a").await;
    assert!(header(&own, "cache-status").starts_with("axum-isr;fwd=bypass;detail=waiters;key="));
    assert_eq!(body(own).await, "render 2");
    drop(visitors.pop());
    let last = waiting(&app, request("/p/a")).await;
    gate.open();
    assert_eq!(body(last.await).await, "render 1", "a place that becomes free is taken");
    assert_eq!(handler.calls(), 2);
}
