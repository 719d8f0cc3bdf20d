//! A render belongs to nobody who waits for it: visitors leave, runtimes end, the process shuts down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::routing::get;
use axum_isr::config::ResponseHeaders;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler, body, fetch, header, let_run, request, settled, state, until, waiting};
use futures_util::FutureExt;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use tower_layer::Layer as _;

const MINUTE: Duration = Duration::from_secs(60);

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)))
}

/// Renders wait at the gate and count how many of them were dropped there.
fn gated(gate: &Gate, dropped: &Arc<AtomicUsize>) -> Handler {
    struct Running(Option<Arc<AtomicUsize>>);
    impl Drop for Running {
        fn drop(&mut self) {
            if let Some(dropped) = &self.0 {
                dropped.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    impl Running {
        fn finish(mut self) {
            self.0 = None;
        }
    }
    let (gate, dropped) = (gate.clone(), Arc::clone(dropped));
    Handler::new(move |n, _| {
        let (gate, running) = (gate.clone(), Running(Some(Arc::clone(&dropped))));
        async move {
            gate.pass().await;
            running.finish();
            format!("render {n}")
        }
    })
}

/// The render that comes first never ends; visitors' own requests do.
fn first_hangs() -> Handler {
    Handler::new(|n, _| async move {
        if n == 1 {
            std::future::pending::<()>().await;
        }
        format!("render {n}")
    })
}

/// I3, CASES 88: the visitor who started a render goes away; the others get it.
#[tokio::test]
async fn a_dropped_leader_does_not_fail_followers() {
    let (gate, dropped) = (Gate::closed(), Arc::default());
    let isr = Isr::builder().max_regenerations(1).build().unwrap();
    let handler = gated(&gate, &dropped);
    let app = app(&isr, &handler);
    let starter = waiting(&app, request("/p/a")).await;
    let mut followers = Vec::new();
    for _ in 0..10 {
        followers.push(waiting(&app, request("/p/a")).await);
    }
    until(|| handler.calls() == 1).await;
    drop(starter);
    let_run().await;
    drop(followers.split_off(5));
    let_run().await;
    gate.open();
    for response in join_all(followers).await {
        assert_eq!((state(&response), body(response).await.as_str()), ("MISS", "render 1"));
    }
    assert_eq!((handler.calls(), dropped.load(Ordering::SeqCst)), (1, 0));
}

/// I3: when the last visitor has left, the render goes on and its page is kept.
#[tokio::test]
async fn a_render_that_nobody_waits_for_any_more_goes_on() {
    let (gate, dropped) = (Gate::closed(), Arc::default());
    let isr = Isr::builder().max_regenerations(1).build().unwrap();
    let handler = gated(&gate, &dropped);
    let app = app(&isr, &handler);
    let visitor = waiting(&app, request("/p/a")).await;
    until(|| handler.calls() == 1).await;
    drop(visitor);
    let_run().await;
    assert_eq!(isr.stats().flights, 1);
    let joins = waiting(&app, request("/p/a")).await;
    gate.open();
    assert_eq!(header(&joins.await, "cache-status"), "axum-isr; fwd=miss; collapsed");
    assert_eq!(state(&fetch(&app, "/p/a").await), "HIT");
    assert_eq!((handler.calls(), dropped.load(Ordering::SeqCst)), (1, 0));
}

/// I3: orphans beyond the limit, half of that of regenerations, are cancelled: asking and hanging up is not amplified.
#[tokio::test]
async fn an_orphan_without_a_slot_is_cancelled() {
    let (gate, dropped) = (Gate::closed(), Arc::<AtomicUsize>::default());
    let isr = Isr::builder().max_regenerations(4).build().unwrap();
    let handler = gated(&gate, &dropped);
    let app = app(&isr, &handler);
    for n in 0..300 {
        let visitor = waiting(&app, request(&format!("/p/{n}"))).await;
        until(|| handler.calls() == n + 1).await;
        drop(visitor);
        let_run().await;
        assert_eq!(isr.stats().flights, (n + 1).min(2), "after {n}");
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 298);
    // Who waits is not an orphan, and needs no slot.
    let visitor = waiting(&app, request("/p/200")).await;
    until(|| handler.calls() == 301).await;
    gate.open();
    assert_eq!(body(visitor.await).await, "render 301");
    settled(&isr).await;
    assert_eq!(state(&fetch(&app, "/p/0").await), "HIT", "an orphan within the limit");
    assert_eq!(state(&fetch(&app, "/p/5").await), "MISS", "a cancelled one left nothing");
    // The slots are free again.
    assert_eq!(isr.stats().flights, 0);
}

/// I3, I4: a reader that goes away in the middle of a body neither cuts it for others nor for the entry.
#[tokio::test]
async fn a_reader_that_leaves_does_not_truncate_the_page() {
    let gate = Gate::closed();
    let isr = Isr::builder().build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |_, _| {
        let gate = inner.clone();
        async move {
            let chunks = futures_util::stream::unfold(0, move |n| {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    (n < 4).then(|| (Ok::<_, std::io::Error>(Bytes::from(format!("chunk {n} "))), n + 1))
                }
            });
            Body::from_stream(chunks)
        }
    });
    let app = app(&isr, &handler);
    let (early, late) = (waiting(&app, request("/p/a")).await, waiting(&app, request("/p/a")).await);
    gate.admit(1);
    let mut early = early.await.into_body();
    assert_eq!(early.frame().await.unwrap().unwrap().into_data().unwrap(), "chunk 0 ");
    drop(early);
    gate.open();
    let whole = "chunk 0 chunk 1 chunk 2 chunk 3 ";
    assert_eq!(body(late.await).await, whole);
    settled(&isr).await;
    let hit = fetch(&app, "/p/a").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", whole));
    assert_eq!(handler.calls(), 1);
}

/// R22: a regeneration goes on after the request that caused it.
#[tokio::test]
async fn a_regeneration_outlives_its_request() {
    let (clock, gate, dropped) = (ManualClock::new(), Gate::closed(), Arc::default());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = gated(&gate, &dropped);
    let app = app(&isr, &handler);
    gate.admit(1);
    fetch(&app, "/p/a").await;
    clock.advance(MINUTE);
    drop(fetch(&app, "/p/a").await);
    let_run().await;
    gate.open();
    settled(&isr).await;
    assert_eq!(body(fetch(&app, "/p/a").await).await, "render 2");
}

/// R22: shutdown waits for what runs, starts nothing new, and says what it saw through.
#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_runs_and_starts_nothing() {
    let (clock, gate, dropped) = (ManualClock::new(), Gate::closed(), Arc::default());
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = gated(&gate, &dropped);
    let app = app(&isr, &handler);
    gate.admit(1);
    fetch(&app, "/p/a").await;
    clock.advance(MINUTE);
    assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
    let visitor = waiting(&app, request("/p/b")).await;
    let_run().await;
    let mut shutdown = Box::pin(isr.shutdown(Duration::from_secs(10)));
    assert!(futures_util::poll!(shutdown.as_mut()).is_pending());
    gate.open();
    // From now on every request is the handler's, even where there is a page.
    let own = fetch(&app, "/p/a").await;
    assert_eq!((state(&own), body(own).await.as_str()), ("", "render 4"));
    let report = shutdown.await;
    assert_eq!((report.finished, report.abandoned), (2, 0));
    let response = visitor.await;
    assert_eq!((response.status().as_u16(), body(response).await.as_str()), (200, "render 3"));
    assert_eq!((isr.stats().memory_items, isr.stats().flights, dropped.load(Ordering::SeqCst)), (0, 0, 0));
}

/// R22, CASES 99: what does not end in time is given up and reported; who waits for it is served all the same.
#[tokio::test(start_paused = true)]
async fn shutdown_gives_up_after_its_limit() {
    let isr = Isr::builder().build().unwrap();
    let handler = first_hangs();
    let app = app(&isr, &handler);
    let visitor = waiting(&app, request("/p/a")).await;
    until(|| handler.calls() == 1).await;
    let report = isr.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.finished, report.abandoned), (0, 1));
    let own = visitor.await;
    assert_eq!((state(&own), body(own).await.as_str()), ("", "render 2"));
    assert_eq!(isr.stats().flights, 0);
    let report = isr.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.finished, report.abandoned), (0, 0), "again, with nothing left to do");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// CASES 88, 100: the runtime that runs the render ends; visitors on another one go to the handler themselves, and the
/// key is free again.
#[test]
fn followers_on_another_runtime_survive_the_end_of_the_leaders() {
    let isr = Isr::builder().build().unwrap();
    let handler = first_hangs();
    let app = app(&isr, &handler);
    let (theirs, ours) = (runtime(), runtime());
    let mut visitors = Vec::new();
    theirs.block_on(async {
        visitors.push(waiting(&app, request("/p/a")).await);
        until(|| handler.calls() == 1).await;
    });
    ours.block_on(async {
        for _ in 0..3 {
            visitors.push(waiting(&app, request("/p/a")).await);
        }
    });
    drop(theirs);
    ours.block_on(async {
        for response in join_all(visitors).await {
            assert_eq!((response.status().as_u16(), state(&response)), (200, ""));
        }
        assert_eq!((handler.calls(), isr.stats().flights), (5, 0));
        let miss = fetch(&app, "/p/a").await;
        assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", "render 6"));
        assert_eq!(state(&fetch(&app, "/p/a").await), "HIT");
    });
}

/// CASES 100: the runtime of a regeneration ends; the old page stays, and the next request tries again.
#[test]
fn a_regeneration_whose_runtime_ends_leaves_the_key_free() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(1).build().unwrap();
    let handler = Handler::new(|n, _| async move {
        if n == 2 {
            std::future::pending::<()>().await;
        }
        format!("render {n}")
    });
    let app = app(&isr, &handler);
    let theirs = runtime();
    theirs.block_on(async {
        fetch(&app, "/p/a").await;
        clock.advance(MINUTE);
        assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
        until(|| handler.calls() == 2).await;
    });
    drop(theirs);
    runtime().block_on(async {
        assert_eq!(isr.stats().flights, 0);
        assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
        settled(&isr).await;
        assert_eq!(body(fetch(&app, "/p/a").await).await, "render 3");
    });
}

/// CASES 100, I6: without a runtime a page is the handler's; what is in memory is served all the same.
#[test]
fn without_a_runtime_the_handler_answers_and_pages_are_served() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).headers(ResponseHeaders::shared().debug()).build().unwrap();
    let handler = Handler::counting();
    let app = app(&isr, &handler);
    let get = |path: &'static str| fetch(&app, path).now_or_never().expect("answered at once");
    let text = |response| body(response).now_or_never().unwrap();

    let own = get("/p/a");
    assert!(header(&own, "cache-status").starts_with("axum-isr;fwd=bypass;detail=no-runtime;key="));
    assert_eq!((state(&own), text(own).as_str()), ("", "render 1"));
    runtime().block_on(fetch(&app, "/p/a"));
    let hit = get("/p/a");
    assert_eq!((state(&hit), text(hit).as_str()), ("HIT", "render 2"));
    clock.advance(MINUTE);
    let stale = get("/p/a");
    assert_eq!((state(&stale), text(stale).as_str()), ("STALE", "render 2"));
    assert_eq!((handler.calls(), isr.stats().flights), (2, 0));
}

/// CASES 100: where the only thread runs the handler, a page that asks for other pages and starts tasks is rendered.
#[tokio::test]
async fn one_thread_is_enough_for_pages_made_of_pages() {
    let isr = Isr::builder().max_regenerations(1).build().unwrap();
    let router: Arc<std::sync::OnceLock<Router>> = Arc::default();
    let inner = Arc::clone(&router);
    let handler = Handler::new(move |_, request: Request| {
        let router = inner.get().unwrap().clone();
        async move {
            let depth: usize = request.uri().path().rsplit('/').next().unwrap().parse().unwrap();
            if depth == 0 {
                return "0".to_owned();
            }
            let next = format!("/p/{}", depth - 1);
            let part = tokio::spawn(async move { body(fetch(&router, &next).await).await });
            format!("{depth} {}", part.await.unwrap())
        }
    });
    let app = app(&isr, &handler);
    router.set(app.clone()).unwrap();
    assert_eq!(
        body(fetch(&app, "/p/20").await).await,
        (0..=20).rev().map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
    );
    assert_eq!(handler.calls(), 21);
}

/// I3, CASES 88: what an application shares panics when it is cloned for the first render: this
/// request goes to the handler, and nobody waits for a render that never began.
#[tokio::test(start_paused = true)]
async fn a_panic_before_the_render_holds_nobody() {
    #[derive(Debug)]
    struct Flaky(Arc<AtomicUsize>);
    impl Clone for Flaky {
        fn clone(&self) -> Self {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "the first clone");
            Self(Arc::clone(&self.0))
        }
    }
    let clones = Arc::new(AtomicUsize::new(0));
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::counting();
    let app = Router::new()
        .route("/", get(handler.clone()))
        .route_layer(isr.layer(RouteConfig::revalidate(MINUTE)).share::<Flaky>());
    let ask = || {
        let mut request = request("/");
        request.extensions_mut().insert(Flaky(Arc::clone(&clones)));
        let app = app.clone();
        async move { common::send(&app, request).await }
    };
    for expected in ["", "MISS", "HIT"] {
        assert_eq!(state(&ask().await), expected);
    }
}

/// I6: a stale page is served, whatever comes of rendering it again: a copy of what is shared, or, around a whole router,
/// of all extensions, which is looked through for path parameters.
#[tokio::test]
async fn a_panic_before_a_regeneration_takes_no_page() {
    struct Armed(Arc<AtomicBool>);
    impl Clone for Armed {
        fn clone(&self) -> Self {
            assert!(!self.0.load(Ordering::SeqCst), "armed");
            Self(Arc::clone(&self.0))
        }
    }
    for around in [false, true] {
        let (clock, armed) = (ManualClock::new(), Arc::new(AtomicBool::new(false)));
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let (layer, router) =
            (isr.layer(RouteConfig::revalidate(MINUTE)), Router::new().route("/", get(Handler::counting())));
        let app = if around {
            Router::new().fallback_service(layer.layer(router))
        } else {
            router.route_layer(layer.share::<Armed>())
        };
        let ask = async || {
            let mut request = request("/");
            request.extensions_mut().insert(Armed(Arc::clone(&armed)));
            let response = common::send(&app, request).await;
            (state(&response), body(response).await)
        };
        assert_eq!(ask().await, ("MISS", "render 1".into()));
        clock.advance(MINUTE);
        armed.store(true, Ordering::SeqCst);
        for armed_before in [true, false] {
            assert_eq!(ask().await, ("STALE", "render 1".into()), "around: {around}, armed: {armed_before}");
            settled(&isr).await;
            armed.store(false, Ordering::SeqCst);
        }
        assert_eq!(ask().await, ("HIT", "render 2".into()), "around: {around}");
    }
}

/// I6: orphans have places of their own: slow pages that visitors ask for and leave do not keep others stale.
#[tokio::test]
async fn orphans_leave_room_for_regenerations() {
    let (clock, gate) = (ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(1).build().unwrap();
    let held = gate.clone();
    let handler = Handler::new(move |n, request: Request| {
        let gate = held.clone();
        async move {
            if request.uri().path() == "/p/slow" {
                gate.pass().await;
            }
            format!("render {n}")
        }
    });
    let app = app(&isr, &handler);
    fetch(&app, "/p/a").await;
    let visitor = waiting(&app, request("/p/slow")).await;
    until(|| handler.calls() == 2).await;
    drop(visitor);
    clock.advance(MINUTE);
    assert_eq!(state(&fetch(&app, "/p/a").await), "STALE");
    until(|| isr.stats().flights == 1).await;
    assert_eq!(body(fetch(&app, "/p/a").await).await, "render 3");
    gate.open();
}

/// I6: a runtime without timers, which bare axum runs on: requests go to the handler, and a log line says why.
#[test]
fn a_runtime_without_timers_bypasses() {
    let logs = common::Logs::capture();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::counting();
        let app = app(&isr, &handler);
        for n in 1..=3 {
            let asked = if n == 2 { common::head("/p/a") } else { request("/p/a") };
            let response = common::send(&app, asked).await;
            assert_eq!((response.status().as_u16(), state(&response)), (200, ""), "{n}");
        }
        assert_eq!((handler.calls(), isr.stats().bypasses), (3, 3));
    });
    assert_eq!(logs.count(&["ERROR", "no timers"]), 1);
}
