//! Renders that go wrong in ways that could hold a visitor, a place or a good page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Render, RouteConfig};
use common::{Fragile, Gate, Handler, body, crowd, fetch, let_run, request, settled, state, waiting};
use http::StatusCode;
use http_body_util::BodyExt;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)))
}

/// So many visits get the page that was rendered first.
async fn stays_stale(app: &Router, isr: &Isr, visits: usize) {
    for _ in 0..visits {
        let stale = fetch(app, "/p/a").await;
        assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "render 1"));
        settled(isr).await;
    }
}

/// A body that says something every so often and never ends.
fn dripping(every: Duration) -> Body {
    Body::from_stream(futures_util::stream::unfold((), move |()| async move {
        tokio::time::sleep(every).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b".")), ()))
    }))
}

/// I4: a handler that says `no_store`, or names a tag that is none, and then fails, has failed: the page stays.
#[tokio::test]
async fn what_a_handler_says_while_it_fails_does_not_take_the_page() {
    let says: [fn(&Render); 3] =
        [Render::no_store, |render| render.tag(""), |render| render.revalidate(Duration::ZERO)];
    for say in says {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let handler = Handler::new(move |n, request: Request| async move {
            if n != 2 {
                return format!("render {n}").into_response();
            }
            let Ok(render) = Render::from_request_parts(&mut request.into_parts().0, &()).await;
            say(&render);
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        });
        let app = app(&isr, &handler);
        fetch(&app, "/p/a").await;
        clock.advance(2 * MINUTE);
        stays_stale(&app, &isr, 3).await;
        assert_eq!((handler.calls(), isr.stats().failures), (2, 1), "and it backs off");
        clock.advance(MINUTE);
        fetch(&app, "/p/a").await;
        settled(&isr).await;
        assert_eq!(body(fetch(&app, "/p/a").await).await, "render 3");
    }
}

/// R13, CASES 96: a regeneration that drips for ever is given up, and its place goes to others.
#[tokio::test(start_paused = true)]
async fn a_dripping_regeneration_frees_its_place() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(1).build().unwrap();
    let handler = Handler::new(|n, request: Request| async move {
        match request.uri().path() {
            "/p/drips" if n > 2 => dripping(20 * SECOND).into_response(),
            _ => format!("render {n}").into_response(),
        }
    });
    let app = app(&isr, &handler);
    for path in ["/p/drips", "/p/other"] {
        fetch(&app, path).await;
    }
    clock.advance(2 * MINUTE);
    for path in ["/p/drips", "/p/other"] {
        assert_eq!(state(&fetch(&app, path).await), "STALE");
        let_run().await;
    }
    assert_eq!((handler.calls(), isr.stats().flights), (3, 1), "the only place is taken");
    tokio::time::sleep(121 * SECOND).await;
    assert_eq!((isr.stats().flights, isr.stats().failures), (0, 1), "four times the limit of a render");
    assert_eq!(body(fetch(&app, "/p/drips").await).await, "render 1");
    assert_eq!(state(&fetch(&app, "/p/other").await), "STALE");
    settled(&isr).await;
    assert_eq!(state(&fetch(&app, "/p/other").await), "HIT");
}

/// DESIGN 2.7: a background render for which a visitor waits by now, however slow he is, does not hold one of the
/// background places once it has taken its next step.
#[tokio::test]
async fn a_regeneration_that_somebody_waits_for_frees_its_place() {
    let (clock, gate) = (ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(1).build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |n, request: Request| {
        let gate = inner.clone();
        async move {
            if n > 2 && request.uri().path() == "/p/slow" {
                gate.pass().await;
                gate.pass().await;
            }
            format!("render {n}")
        }
    });
    let expiring = RouteConfig::revalidate(MINUTE).expire(3 * MINUTE);
    let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(expiring));
    for path in ["/p/slow", "/p/other"] {
        fetch(&app, path).await;
        clock.advance(MINUTE);
    }
    assert_eq!(state(&fetch(&app, "/p/slow").await), "STALE");
    let_run().await;
    fetch(&app, "/p/other").await;
    let_run().await;
    assert_eq!(handler.calls(), 3, "the only place is taken");
    clock.advance(MINUTE);
    let visitor = waiting(&app, request("/p/slow")).await;
    gate.admit(1);
    let_run().await;
    assert_eq!(state(&fetch(&app, "/p/other").await), "STALE");
    let_run().await;
    assert_eq!(state(&fetch(&app, "/p/other").await), "HIT");
    gate.open();
    let miss = visitor.await;
    assert_eq!((state(&miss), body(miss).await.as_str(), handler.calls()), ("MISS", "render 3", 4));
}

/// R13, CASES 97: a panic where nothing can contain it, in the drop of a body, is a failed regeneration like any other.
#[tokio::test]
async fn a_panic_in_a_drop_counts_as_a_failure() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::new(|n, _| async move {
        match n {
            1 => "render 1".into_response(),
            _ => Response::new(Body::new(Fragile(Some(Bytes::from_static(b"render"))))),
        }
    });
    let app = app(&isr, &handler);
    fetch(&app, "/p/a").await;
    clock.advance(2 * MINUTE);
    stays_stale(&app, &isr, 5).await;
    assert_eq!((handler.calls(), isr.stats().failures), (2, 1));
}

/// I8: a failure whose body does not end holds nobody: a stream that never does goes to each visitor as it is, and what is
/// collected for all has one limit in all.
#[tokio::test(start_paused = true)]
async fn a_failure_without_an_end_holds_nobody() {
    for (content_type, limit) in [("text/event-stream", SECOND), ("text/plain", 31 * SECOND)] {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::new(move |_, _| async move {
            (StatusCode::SERVICE_UNAVAILABLE, [("content-type", content_type)], dripping(15 * SECOND))
        });
        let app = app(&isr, &handler);
        let answer = tokio::time::timeout(limit, fetch(&app, "/p/a")).await.expect("a head");
        assert_eq!((answer.status(), state(&answer)), (StatusCode::SERVICE_UNAVAILABLE, ""));
        let first = answer.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, ".");
    }
}

/// I3, DESIGN 2.2: what an error page has to be small enough for to be shared is more than error pages are.
#[tokio::test]
async fn a_large_error_page_is_shared() {
    let gate = Gate::closed();
    let inner = gate.clone();
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::new(move |n, _| {
        let gate = inner.clone();
        async move {
            if n == 1 {
                return "well".into_response();
            }
            gate.pass().await;
            (StatusCode::INTERNAL_SERVER_ERROR, "x".repeat(1 << 20)).into_response()
        }
    });
    let app = app(&isr, &handler);
    fetch(&app, "/p/a").await;
    let visitors = crowd(&app, 20, |_| request("/p/b")).await;
    gate.open();
    for visitor in visitors {
        let failed = visitor.await;
        assert_eq!((failed.status(), body(failed).await.len()), (StatusCode::INTERNAL_SERVER_ERROR, 1 << 20));
    }
    assert_eq!(handler.calls(), 2);
}
