//! Marks that land while a page is being made (I5): what is made is what counts, not what finishes first.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{DynamicRequest, Isr, Render, RouteConfig};
use common::{Gate, Handler, Taps, body, head, header, let_run, request, rest, seen, settled, state, until, waiting};
use http::StatusCode;

const MINUTE: Duration = Duration::from_secs(60);

fn plain() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// Renders that wait at a gate after they have read what they show.
fn gated(isr: &Isr, gate: &Gate) -> (Handler, Router) {
    let gate = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            format!("render {n}")
        }
    });
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain().tags(["t"])));
    (handler, app)
}

/// R27, CASES 108, 146: a mark during a first render. Who waits gets what came of it as what it is: stale, or not at all;
/// and it is never a HIT.
#[tokio::test]
async fn a_mark_during_a_first_render_wins() {
    let (isr, gate) = (Isr::builder().clock(ManualClock::new()).build().unwrap(), Gate::closed());
    let (handler, app) = gated(&isr, &gate);
    let early = waiting(&app, request("/")).await;
    until(|| handler.calls() == 1).await;
    isr.revalidate_tag("t").await.unwrap();
    let late = waiting(&app, request("/")).await;
    gate.admit(1);
    for answer in [early.await, late.await] {
        assert_eq!(
            (state(&answer), header(&answer, "cache-control")),
            ("STALE", "s-maxage=0, stale-while-revalidate=31536000")
        );
        assert_eq!(body(answer).await, "render 1");
    }
    until(|| handler.calls() == 2).await;
    gate.open();
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("HIT", "render 2".into()));
    assert_eq!(handler.calls(), 2, "a mark costs a key at most two renders");
}

#[tokio::test]
async fn a_page_expired_while_it_is_made_is_made_again_for_those_who_wait() {
    let (isr, gate) = (Isr::builder().build().unwrap(), Gate::closed());
    let (handler, app) = gated(&isr, &gate);
    let early = waiting(&app, request("/")).await;
    until(|| handler.calls() == 1).await;
    isr.expire_tag("t").await.unwrap();
    let late = waiting(&app, request("/")).await;
    gate.admit(1);
    let both = tokio::spawn(async move { (early.await, late.await) });
    until(|| handler.calls() == 2).await;
    gate.open();
    let (early, late) = both.await.unwrap();
    for answer in [early, late] {
        assert_ne!(state(&answer), "STALE");
        assert_eq!(body(answer).await, "render 2");
    }
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("HIT", "render 2".into()));
    assert_eq!(handler.calls(), 2);
}

/// R27, CASES 108: a mark during a regeneration; the old page is served as before, and the new one is not taken for new.
#[tokio::test]
async fn a_mark_during_a_regeneration_wins() {
    for expires in [false, true] {
        let (isr, gate) = (Isr::builder().build().unwrap(), Gate::closed());
        let (handler, app) = gated(&isr, &gate);
        gate.admit(1);
        assert_eq!(seen(&app, "/").await.0, "MISS");
        isr.revalidate_tag("t").await.unwrap();
        assert_eq!(seen(&app, "/").await.0, "STALE");
        until(|| handler.calls() == 2).await;
        let expected = if expires {
            isr.expire_tag("t").await.unwrap();
            let late = waiting(&app, request("/")).await;
            gate.admit(1);
            let late = tokio::spawn(late);
            until(|| handler.calls() == 3).await;
            gate.admit(1);
            body(late.await.unwrap()).await
        } else {
            isr.revalidate_tag("t").await.unwrap();
            gate.admit(1);
            settled(&isr).await;
            assert_eq!(seen(&app, "/").await, ("STALE", "render 2".into()));
            gate.admit(1);
            settled(&isr).await;
            seen(&app, "/").await.1
        };
        assert_eq!(expected, "render 3");
        assert_eq!((seen(&app, "/").await.0, handler.calls()), ("HIT", 3));
    }
}

/// Who comes after a mark is not streamed to by a render that began before it, HEAD or GET; who came before is.
#[tokio::test]
async fn who_comes_late_is_not_streamed_to() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let handler = taps.handler(&[]);
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
    let early = waiting(&app, request("/")).await;
    let first = taps.next().await;
    first.send("old");
    let mut early = early.await.into_body();
    isr.expire_path("/").await.unwrap();
    let late = waiting(&app, request("/")).await;
    let asks = waiting(&app, head("/")).await;
    let_run().await;
    first.send(" page");
    drop(first);
    assert_eq!(rest(&mut early).await.unwrap(), "old page");
    let late = tokio::spawn(late);
    let asks = tokio::spawn(asks);
    taps.next().await.send("new");
    let late = late.await.unwrap();
    assert_eq!((state(&late), body(late).await), ("MISS", "new".into()));
    assert_eq!(header(&asks.await.unwrap(), "content-length"), "3");
    assert_eq!(handler.calls(), 2);
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("HIT", "new".into()));
}

/// A render that breaks after a mark: who came late gets nothing of it.
#[tokio::test]
async fn who_comes_late_does_not_get_what_broke() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = Router::new().route("/", get(taps.handler(&[]))).route_layer(isr.layer(plain()));
    let early = waiting(&app, request("/")).await;
    let first = taps.next().await;
    first.send("old");
    let mut early = early.await.into_body();
    isr.revalidate_path("/").await.unwrap();
    let late = tokio::spawn(waiting(&app, request("/")).await);
    first.fail("broken");
    assert!(rest(&mut early).await.unwrap_err().contains("old"));
    taps.next().await.send("new");
    assert_eq!(body(late.await.unwrap()).await, "new");
}

/// A page that outgrows its limit is streamed to those who came before the mark; the others ask for themselves.
#[tokio::test]
async fn who_comes_late_does_not_read_along_what_is_not_kept() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let handler = taps.handler(&[]);
    let config = plain().max_body_bytes(10);
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(config));
    let early = waiting(&app, request("/")).await;
    let first = taps.next().await;
    first.send("old");
    let mut early = early.await.into_body();
    isr.revalidate_path("/").await.unwrap();
    let late = tokio::spawn(waiting(&app, request("/")).await);
    first.send(" and too large");
    drop(first);
    assert_eq!(rest(&mut early).await.unwrap(), "old and too large");
    taps.next().await.send("new");
    let late = late.await.unwrap();
    assert_eq!((state(&late), body(late).await), ("", "new".into()));
    assert_eq!(handler.calls(), 2);
}

/// Page after page is expired while it is made: after three, who waits asks for himself.
#[tokio::test]
async fn who_is_overtaken_again_and_again_asks_for_himself() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new({
        let isr = isr.clone();
        move |n, _| {
            let isr = isr.clone();
            async move {
                isr.expire_path("/").await.unwrap();
                format!("render {n}")
            }
        }
    });
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
    assert_eq!(seen(&app, "/").await, ("", "render 4".into()));
    settled(&isr).await;
    assert_eq!((handler.calls(), isr.stats().passes), (4, 1));
}

/// What was not shareable is looked at again at once, if a mark says that it has changed.
#[tokio::test]
async fn a_mark_ends_a_pass() {
    for expires in [true, false] {
        let draft = Arc::new(AtomicUsize::new(1));
        let isr = Isr::builder().clock(ManualClock::new()).build().unwrap();
        let shown = Arc::clone(&draft);
        let page = get(move |render: Render| {
            let shown = Arc::clone(&shown);
            async move {
                render.tag("post");
                if shown.load(Ordering::SeqCst) == 1 {
                    render.no_store();
                }
                "page"
            }
        });
        let visitors = get(|_: DynamicRequest| async { "mine" });
        let app = Router::new().route("/p", page).route("/me", visitors).route_layer(isr.layer(plain()));
        for path in ["/p", "/p", "/me"] {
            assert_eq!(seen(&app, path).await.0, "");
        }
        draft.store(0, Ordering::SeqCst);
        // Remembered for 10 s.
        isr.expire_tag("other").await.unwrap();
        assert_eq!(seen(&app, "/p").await.0, "");
        let done = if expires { isr.expire_tag("post").await } else { isr.revalidate_path("/p").await };
        done.unwrap();
        assert_eq!([seen(&app, "/p").await.0, seen(&app, "/p").await.0], ["MISS", "HIT"]);
        let before = isr.stats().renders;
        assert_eq!((seen(&app, "/me").await.0, isr.stats().renders), ("", before));
    }
}

/// A regeneration that failed waits, but not when there is something new.
#[tokio::test]
async fn a_mark_ends_a_back_off() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(|n, _| async move {
        if n == 2 { StatusCode::BAD_GATEWAY.into_response() } else { format!("render {n}").into_response() }
    });
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
    assert_eq!(seen(&app, "/").await.0, "MISS");
    isr.revalidate_path("/").await.unwrap();
    for _ in 0..3 {
        assert_eq!(seen(&app, "/").await, ("STALE", "render 1".into()));
        settled(&isr).await;
    }
    assert_eq!(handler.calls(), 2, "in its back-off");
    isr.revalidate_path("/other").await.unwrap();
    assert_eq!(seen(&app, "/").await.0, "STALE");
    settled(&isr).await;
    assert_eq!(handler.calls(), 2, "the mark was on something else");
    isr.revalidate_path("/").await.unwrap();
    assert_eq!(seen(&app, "/").await.0, "STALE");
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("HIT", "render 3".into()));
}

/// CASES 109: of two renders of one page the one that began later stays, whichever ends first.
#[tokio::test]
async fn what_began_earlier_does_not_replace_what_began_later() {
    let (isr, taps) = (Isr::builder().build().unwrap(), Taps::default());
    let app = Router::new().route("/", get(taps.handler(&[]))).route_layer(isr.layer(plain()));
    // A HEAD and a GET do not share their first render.
    let asks = tokio::spawn(waiting(&app, head("/")).await);
    let old = taps.next().await;
    isr.expire_path("/").await.unwrap();
    let get = tokio::spawn(waiting(&app, request("/")).await);
    taps.next().await.send("new");
    assert_eq!(body(get.await.unwrap()).await, "new");
    until(|| isr.stats().flights == 1).await;
    old.send("old");
    drop(old);
    asks.await.unwrap();
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("HIT", "new".into()));
}

/// I6: a page that drips to somebody who reads along does not keep those who came after a mark, even one on something
/// else: after the render timeout they ask for themselves.
#[tokio::test(start_paused = true)]
async fn who_comes_late_does_not_wait_for_a_page_that_drips() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(|n, _| async move {
        let drips = futures_util::stream::unfold(0_u32, |drop| async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Some((Ok::<_, std::convert::Infallible>("."), drop + 1))
        });
        let first = futures_util::stream::once(async move { Ok(if n == 1 { "old" } else { "new" }) });
        axum::body::Body::from_stream(futures_util::StreamExt::chain(first, drips))
    });
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
    let mut reader = common::fetch(&app, "/").await.into_body();
    assert_eq!(common::piece(&mut reader).await, "old");
    isr.expire_tag("something else").await.unwrap();
    let reading = tokio::spawn(async move { while !common::piece(&mut reader).await.is_empty() {} });
    let start = tokio::time::Instant::now();
    for (who, most) in [("the first", 30), ("who comes then", 0)] {
        let late = common::fetch(&app, "/").await;
        assert_eq!(state(&late), "", "{who}");
        assert_eq!(common::piece(&mut late.into_body()).await, "new", "{who}");
        assert!(start.elapsed() <= Duration::from_secs(30), "{who}: {:?}, at most {most} s", start.elapsed());
        let asks = common::send(&app, head("/")).await;
        assert_eq!((state(&asks), start.elapsed() <= Duration::from_secs(30)), ("", true), "{who}");
    }
    reading.abort();
}

/// Before its head is out a render has a limit of its own, and who waits for it gets its end and no run of his own; no
/// limit at all is a limit, too.
#[tokio::test(start_paused = true)]
async fn who_comes_late_to_a_render_that_hangs_gets_its_end() {
    for limit in [Duration::from_secs(3), Duration::MAX] {
        let isr = Isr::builder().render_timeout(limit).build().unwrap();
        let handler = Handler::new(|_, _| std::future::pending::<&str>());
        let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
        let early = waiting(&app, request("/")).await;
        // Its task does not run yet: its time begins later than the visitors'.
        tokio::time::advance(Duration::from_secs(2)).await;
        isr.expire_tag("t").await.unwrap();
        let late = common::crowd(&app, 100, |_| request("/")).await;
        if limit == Duration::MAX {
            continue;
        }
        for answer in std::iter::once(early).chain(late) {
            assert_eq!(answer.await.status(), StatusCode::GATEWAY_TIMEOUT);
        }
        assert_eq!(handler.calls(), 1);
    }
}
