//! What visitors get when a render fails: whether it is believed, who decides, and how long a pass is remembered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use axum_isr::config::ResponseHeaders;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{
    Gate, Handler, Logs, body, crowd, fetch, header, let_run, request, request_with, send, settled, state, until,
    waiting,
};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use http::StatusCode;
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_layer::Layer as _;

fn plain() -> RouteConfig {
    RouteConfig::revalidate(Duration::from_secs(60))
}

fn app(isr: &Isr, handler: &Handler) -> Router {
    Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(plain()))
}

/// What a page does that was asked for without its visitor.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Status(u16),
    Panic,
    BodyPanic,
}

/// Works with `x-user`, fails without; `/p/good` needs nobody. Renders and failing own requests wait at the gate.
fn needs_user(failing: Failing, gate: &Gate) -> Handler {
    let gate = gate.clone();
    Handler::new(move |n, request: Request| {
        let gate = gate.clone();
        async move {
            if request.uri().path() == "/p/good" {
                return "good".into_response();
            }
            if let Some(user) = request.headers().get("x-user") {
                return format!("hello {}", user.to_str().unwrap()).into_response();
            }
            gate.pass().await;
            match failing {
                Failing::Status(code) => (StatusCode::from_u16(code).unwrap(), format!("failure {n}")).into_response(),
                Failing::Panic => panic!("failure {n}"),
                Failing::BodyPanic => Body::from_stream(futures_util::stream::poll_fn(
                    move |_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> { panic!("failure {n}") },
                ))
                .into_response(),
            }
        }
    })
}

fn user(name: &str) -> Request {
    request_with("/p/a", &[("x-user", name)])
}

/// DESIGN 2.2, CASES 94: a first render that fails is not believed. The starter's own request works: everybody's own
/// request goes to the handler, the key is a pass, and one warning names what happened. Panics count as failures.
#[tokio::test]
async fn where_the_own_request_works_the_page_needs_its_visitor() {
    for (failing, rendered) in [
        (Failing::Status(500), "500"),
        (Failing::Status(429), "429"),
        (Failing::Panic, "500"),
        (Failing::BodyPanic, "500"),
    ] {
        let logs = Logs::capture();
        let isr = Isr::builder().headers(ResponseHeaders::shared().debug()).build().unwrap();
        let gate = Gate::closed();
        let handler = needs_user(failing, &gate);
        let app = app(&isr, &handler);
        let visitors = crowd(&app, 6, |n| user(&n.to_string())).await;
        gate.open();
        for (n, response) in join_all(visitors).await.into_iter().enumerate() {
            assert_eq!((response.status().as_u16(), state(&response)), (200, ""), "{failing:?}");
            assert_eq!(body(response).await, format!("hello {n}"), "{failing:?}");
        }
        assert_eq!(handler.calls(), 7, "{failing:?}: one render and six own requests");
        let again = send(&app, user("x")).await;
        let status = header(&again, "cache-status");
        assert!(status.starts_with("axum-isr;fwd=bypass;detail=needs-visitor;key="), "{failing:?}: {status}");
        send(&app, request_with("/p/b", &[("x-user", "y")])).await;
        let warning = ["WARN", "route=/p/{slug}", "visitor=200", "share::<T>()", &format!("rendered={rendered}")];
        assert_eq!((logs.count(&warning), logs.count(&["WARN"])), (1, 1), "{failing:?}: once for the pattern");
    }
}

/// R24: a handler that fails for everybody is a failure from its first request on, not a page that needs its visitor.
#[tokio::test]
async fn a_handler_that_always_fails_is_told_as_that() {
    let logs = Logs::capture();
    let isr = Isr::builder().headers(ResponseHeaders::shared().debug()).build().unwrap();
    let handler = Handler::new(|_, _| async { StatusCode::INTERNAL_SERVER_ERROR });
    let app = app(&isr, &handler);
    let response = fetch(&app, "/p/a").await;
    let told = header(&response, "cache-status");
    assert!(told.starts_with("axum-isr;fwd=miss;fwd-status=500;detail=status;key="), "{told}");
    let stats = isr.stats();
    assert_eq!((response.status().as_u16(), stats.failed, stats.passes, handler.calls()), (500, 1, 0, 2));
    assert_eq!((logs.count(&["axum_isr: failure", "reason=\"status\""]), logs.count(&["axum_isr: pass"])), (1, 0));
}

/// DESIGN 2.2: the own request fails too: the others get the failure, without asking once more each.
#[tokio::test]
async fn where_the_own_request_fails_too_the_others_get_the_failure() {
    let logs = Logs::capture();
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = needs_user(Failing::Status(503), &gate);
    let app = app(&isr, &handler);
    let visitors = crowd(&app, 20, |_| request("/p/a")).await;
    gate.open();
    let mut bodies = Vec::new();
    for response in join_all(visitors).await {
        assert_eq!((response.status().as_u16(), state(&response)), (503, ""));
        bodies.push(body(response).await);
    }
    assert_eq!(bodies.remove(0), "failure 2", "the starter's own");
    assert!(bodies.iter().all(|body| body == "failure 1"), "{bodies:?}");
    assert_eq!((handler.calls(), isr.stats().memory_items, logs.count(&["WARN"])), (2, 0, 0));
}

/// DESIGN 2.2: it is the starter who is asked, not a follower that happens to be polled first.
#[tokio::test]
async fn a_follower_does_not_decide_while_the_starter_waits() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = needs_user(Failing::Status(500), &gate);
    let app = app(&isr, &handler);
    let starter = waiting(&app, user("starter")).await;
    let mut follower = waiting(&app, request("/p/a")).await;
    until(|| handler.calls() == 1).await;
    gate.open();
    let_run().await;
    assert!(futures_util::poll!(follower.as_mut()).is_pending(), "the follower was asked");
    assert_eq!(body(starter.await).await, "hello starter");
    assert_eq!(follower.await.status(), StatusCode::INTERNAL_SERVER_ERROR, "its own");
    assert_eq!(handler.calls(), 3);
}

/// DESIGN 2.2: a starter that leaves, before it is asked or while its own request runs, is replaced.
#[tokio::test]
async fn another_visitor_is_asked_when_the_starter_leaves() {
    for leaves_while_asked in [false, true] {
        let isr = Isr::builder().build().unwrap();
        let (gate, own) = (Gate::closed(), Gate::closed());
        let inner = own.clone();
        let needs = needs_user(Failing::Status(500), &gate);
        let handler = Handler::new(move |n, request: Request| {
            let (own, user) = (inner.clone(), request.headers().contains_key("x-user"));
            let answer = axum::handler::Handler::call(needs.clone(), request, ());
            async move {
                if n == 2 && user && leaves_while_asked {
                    own.pass().await;
                }
                answer.await
            }
        });
        let app = app(&isr, &handler);
        let mut starter = waiting(&app, user("starter")).await;
        let mut followers = Vec::new();
        for _ in 0..4 {
            followers.push(waiting(&app, user("follower")).await);
        }
        until(|| handler.calls() == 1).await;
        if leaves_while_asked {
            gate.open();
            let_run().await;
            assert!(futures_util::poll!(starter.as_mut()).is_pending());
            assert_eq!(handler.calls(), 2, "the starter was asked");
        }
        drop(starter);
        gate.open();
        for response in join_all(followers).await {
            assert_eq!(body(response).await, "hello follower");
        }
        assert_eq!(handler.calls(), 5 + usize::from(leaves_while_asked));
        assert_eq!((isr.stats().memory_items, isr.stats().flights), (1, 0), "the pass");
    }
}

/// DESIGN 2.2: when nobody is left to ask, the failure ends the flight and nothing is remembered.
#[tokio::test]
async fn a_doubt_without_visitors_ends() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = needs_user(Failing::Status(500), &gate);
    let app = app(&isr, &handler);
    let visitor = waiting(&app, user("a")).await;
    until(|| handler.calls() == 1).await;
    gate.open();
    let_run().await;
    drop(visitor);
    settled(&isr).await;
    assert_eq!((handler.calls(), isr.stats().memory_items, isr.stats().failures), (1, 0, 1));
}

/// DESIGN 2.2: a pattern that has rendered well is believed: no own requests.
#[tokio::test]
async fn a_pattern_that_has_rendered_well_is_believed() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = needs_user(Failing::Status(500), &gate);
    let app = app(&isr, &handler);
    fetch(&app, "/p/good").await;
    let visitors = crowd(&app, 5, |_| user("a")).await;
    gate.open();
    for response in join_all(visitors).await {
        assert_eq!((response.status().as_u16(), body(response).await.as_str()), (500, "failure 2"));
    }
    assert_eq!(handler.calls(), 2);
}

/// CASES 94: a panic goes on unwinding in each waiter, with its message, so that a layer outside that catches panics
/// answers as it would without the cache; the key is free at once.
#[tokio::test]
async fn a_panic_unwinds_in_everybody_who_waits() {
    for believed in [true, false] {
        let isr = Isr::builder().build().unwrap();
        let gate = Gate::closed();
        let handler = needs_user(Failing::Panic, &gate);
        let bare = app(&isr, &handler);
        let app = bare.clone().layer(CatchPanicLayer::new());
        if believed {
            fetch(&app, "/p/good").await;
        }
        let before = handler.calls();
        let visitors = crowd(&app, 4, |_| request("/p/a")).await;
        let unwinding = AssertUnwindSafe(waiting(&bare, request("/p/a")).await).catch_unwind();
        gate.open();
        let (caught, unwound) = join(join_all(visitors), unwinding).await;
        for response in caught {
            assert_eq!((response.status().as_u16(), state(&response)), (500, ""), "{believed}");
        }
        let panic = unwound.unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("failure {}", before + 1), "{believed}");
        assert_eq!(handler.calls() - before, if believed { 1 } else { 2 }, "the starter's own panics as well");
        assert_eq!((isr.stats().flights, fetch(&app, "/p/a").await.status().as_u16()), (0, 500));
    }
}

/// DESIGN 2.2, I6: a render that takes too long is a 504 for everybody; a slow page is not asked for again by each.
#[tokio::test(start_paused = true)]
async fn a_render_that_takes_too_long_is_a_504_for_all() {
    let isr = Isr::builder().render_timeout(Duration::from_secs(7)).build().unwrap();
    let handler = Handler::new(|_, _| std::future::pending::<Response>());
    let app = app(&isr, &handler);
    let began = tokio::time::Instant::now();
    let visitors = crowd(&app, 5, |_| request("/p/a")).await;
    for response in join_all(visitors).await {
        assert_eq!((response.status().as_u16(), state(&response)), (504, ""));
        assert_eq!(header(&response, "cache-control"), "");
    }
    assert_eq!((began.elapsed().as_secs(), handler.calls()), (7, 1));
    assert_eq!((isr.stats().flights, isr.stats().memory_items, isr.stats().failures), (0, 0, 1));
}

/// DESIGN 2.2: a pass is remembered for ten seconds; then visitors' own requests go straight on, and one render in the
/// background looks again, which may find a page.
#[tokio::test]
async fn a_pass_is_looked_at_again_after_ten_seconds() {
    let (clock, gate, shared) = (ManualClock::new(), Gate::closed(), Arc::new(AtomicBool::new(false)));
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let (inner, shareable) = (gate.clone(), Arc::clone(&shared));
    let handler = Handler::new(move |n, request: Request| {
        let (gate, shareable) = (inner.clone(), Arc::clone(&shareable));
        async move {
            if !request.headers().contains_key("x-user") {
                gate.pass().await;
            }
            let text = format!("call {n}");
            if shareable.load(Ordering::SeqCst) {
                text.into_response()
            } else {
                ([("set-cookie", "a=1")], text).into_response()
            }
        }
    });
    let app = app(&isr, &handler);
    gate.admit(1);
    assert_eq!(header(&send(&app, user("a")).await, "set-cookie"), "a=1");
    assert_eq!(handler.calls(), 2, "a render and the own request");
    for round in 0..3 {
        clock.advance(Duration::from_micros(9_999_999));
        send(&app, user("a")).await;
        let_run().await;
        assert_eq!((handler.calls(), isr.stats().flights), (3 + 8 * round, 0), "round {round}: not yet");
        clock.advance(Duration::from_micros(1));
        shared.store(round == 2, Ordering::SeqCst);
        for _ in 0..5 {
            let own = send(&app, user("a")).await;
            assert_eq!((own.status().as_u16(), state(&own)), (200, ""), "nobody waits for the look");
            let_run().await;
        }
        assert_eq!((handler.calls(), isr.stats().flights), (9 + 8 * round, 1), "round {round}: one looks");
        gate.admit(1);
        settled(&isr).await;
        if round < 2 {
            send(&app, user("a")).await;
            assert_eq!(handler.calls(), 10 + 8 * round, "round {round}: remembered again");
        }
    }
    assert_eq!(state(&send(&app, user("a")).await), "HIT");
}

/// I3: a page that asks for itself, directly, while its body is made, or through another page, does not wait for itself.
#[tokio::test(start_paused = true)]
async fn a_page_that_asks_for_itself_does_not_wait_for_itself() {
    for kind in ["direct", "body", "other"] {
        let isr = Isr::builder().build().unwrap();
        let router: Arc<OnceLock<Router>> = Arc::default();
        let inner = Arc::clone(&router);
        let handler = Handler::new(move |n, request: Request| {
            let router = inner.get().unwrap().clone();
            async move {
                let other = request.uri().path() == "/p/other";
                let next = if kind == "other" && !other { "/p/other" } else { "/p/a" };
                let part = async move { format!("{n} {}", body(fetch(&router, next).await).await) };
                match n {
                    1 if kind == "body" => {
                        let part = part.map(|text| Ok::<_, std::io::Error>(Bytes::from(text)));
                        Body::from_stream(futures_util::stream::once(part)).into_response()
                    }
                    1 => part.await.into_response(),
                    2 if other => part.await.into_response(),
                    _ => format!("{n}").into_response(),
                }
            }
        });
        let app = app(&isr, &handler);
        router.set(app.clone()).unwrap();
        let began = tokio::time::Instant::now();
        let miss = fetch(&app, "/p/a").await;
        let expected = if kind == "other" { "1 2 3" } else { "1 2" };
        assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", expected), "{kind}");
        assert_eq!(began.elapsed(), Duration::ZERO, "{kind}");
        settled(&isr).await;
        let hit = fetch(&app, "/p/a").await;
        assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", expected), "{kind}");
    }
}

#[derive(Clone)]
struct User(&'static str);

/// `/a` needs nobody; `/b` needs somebody outside to say who asks.
fn two_pages() -> Router {
    Router::new()
        .route("/a", get(|| async { "a" }))
        .route("/b", get(|Extension(user): Extension<User>| async move { user.0 }))
}

/// DESIGN 2.2: behind a nest or a wildcard there may be a whole router: that one page of it rendered well does not turn
/// the failure of another one into an answer for all.
#[tokio::test]
async fn a_page_says_nothing_about_others_behind_a_wildcard() {
    type Place = fn(&Isr) -> Router;
    let places: [(&str, Place); 3] = [
        ("nest", |isr| Router::new().nest_service("/site", isr.layer(plain()).layer(two_pages()))),
        ("wildcard", |isr| {
            Router::new()
                .route_service("/site/{*rest}", isr.layer(plain()).layer(Router::new().nest("/site", two_pages())))
        }),
        ("around", |isr| {
            Router::new().fallback_service(isr.layer(plain()).layer(Router::new().nest("/site", two_pages())))
        }),
    ];
    for (name, place) in places {
        let isr = Isr::builder().build().unwrap();
        let app = place(&isr).layer(Extension(User("bob")));
        assert_eq!(state(&fetch(&app, "/site/a").await), "MISS", "{name}");
        for _ in 0..3 {
            let response = fetch(&app, "/site/b").await;
            assert_eq!((response.status(), state(&response)), (StatusCode::OK, ""), "{name}");
            assert_eq!(body(response).await, "bob", "{name}");
        }
    }
}

/// DESIGN 2.2: nor where the host, or a declared header, says which handler it is.
#[tokio::test]
async fn a_page_says_nothing_about_another_host_or_variant() {
    let x_kind = http::HeaderName::from_static("x-kind");
    for (name, config) in [("host", plain().host()), ("x-kind", plain().header(x_kind.clone(), ["admin", "public"]))] {
        let isr = Isr::builder().build().unwrap();
        let layer = isr.layer(config);
        let public = Router::new().route("/", get(|| async { "public" })).route_layer(layer.clone());
        let admin = Router::new()
            .route("/", get(|Extension(user): Extension<User>| async move { user.0 }))
            .route_layer(layer)
            .layer(Extension(User("bob")));
        let app = Router::new().fallback(move |request: Request| {
            let asked = if request.headers()[name] == "admin" { admin.clone() } else { public.clone() };
            asked.oneshot(request)
        });
        let ask = |value| send(&app, request_with("/", &[(name, value)]));
        assert_eq!(state(&ask("public").await), "MISS", "{name}");
        let response = ask("admin").await;
        assert_eq!((response.status(), body(response).await.as_str()), (StatusCode::OK, "bob"), "{name}");
    }
}

/// I6: the page of another cache may have the same key: to ask for it is no recursion.
#[tokio::test]
async fn the_same_page_of_another_cache_is_another_page() {
    let clock = ManualClock::new();
    let [outer, inner] = [0; 2].map(|_| Isr::builder().clock(clock.clone()).build().unwrap());
    let handler = Handler::counting();
    let hour = RouteConfig::revalidate(Duration::from_secs(3_600));
    let asked = Router::new().route("/", get(handler.clone())).route_layer(inner.layer(hour));
    let page = move || {
        let asked = asked.clone();
        async move { body(fetch(&asked, "/").await).await }
    };
    let app = Router::new().route("/", get(page)).route_layer(outer.layer(plain()));
    for _ in 0..3 {
        assert_eq!(body(fetch(&app, "/").await).await, "render 1");
        settled(&outer).await;
        clock.advance(Duration::from_secs(60));
    }
    assert_eq!((handler.calls(), inner.stats().bypasses), (1, 0));
}

/// CASES 94: the visitor who started the render gets the panic itself, for a layer outside that knows its type.
#[tokio::test]
async fn a_panic_keeps_its_payload() {
    #[derive(Clone, Copy)]
    struct Teapot(u16);
    let isr = Isr::builder().build().unwrap();
    let handler = |Path(slug): Path<String>| async move {
        if slug == "bad" {
            std::panic::panic_any(Teapot(418));
        }
        slug
    };
    let answer = |payload: Box<dyn std::any::Any + Send>| {
        let code = payload.downcast_ref::<Teapot>().map_or(500, |teapot| teapot.0);
        http::Response::builder().status(code).body(Body::empty()).unwrap()
    };
    let app = Router::new()
        .route("/p/{slug}", get(handler))
        .route_layer(isr.layer(plain()))
        .layer(CatchPanicLayer::custom(answer));
    assert_eq!(state(&fetch(&app, "/p/good").await), "MISS");
    assert_eq!(fetch(&app, "/p/bad").await.status(), StatusCode::IM_A_TEAPOT);
}

/// DESIGN 2.2: the same pattern in another namespace is another handler.
#[tokio::test]
async fn a_page_says_nothing_about_another_namespace() {
    let isr = Isr::builder().build().unwrap();
    let public =
        Router::new().route("/", get(|| async { "public" })).route_layer(isr.layer(plain().namespace("public")));
    let admin = Router::new()
        .route("/", get(|Extension(user): Extension<User>| async move { user.0 }))
        .route_layer(isr.layer(plain().namespace("admin")))
        .layer(Extension(User("bob")));
    assert_eq!(state(&fetch(&public, "/").await), "MISS");
    let response = fetch(&admin, "/").await;
    assert_eq!((response.status(), body(response).await.as_str()), (StatusCode::OK, "bob"));
}
