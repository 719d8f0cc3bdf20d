//! Errors and redirects: which of them become pages that others get, and which never.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect};
use axum_isr::{Isr, Render, RouteConfig};
use common::oracle::{Attack, LIFE, MARK, Seen, Site};
use common::{Handler, body, fetch, header, request, request_with, send, settled, state};
use http::StatusCode;

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

/// A handler that always answers with this status, and that says how long the page lives if it is told to.
fn always(status: u16, lifetime: bool) -> Handler {
    Handler::new(move |n, request: Request| async move {
        let (mut parts, _) = request.into_parts();
        let render = Render::from_request_parts(&mut parts, &()).await.unwrap();
        if lifetime {
            render.revalidate(LIFE);
        }
        (StatusCode::from_u16(status).unwrap(), format!("answer {n}"))
    })
}

/// CASES 67: an error that an attacker can cause by a header, a cookie or a parameter is not the page of others.
#[tokio::test]
async fn an_error_that_a_visitor_causes_is_nobody_elses() {
    for status in [400, 401, 403, 404, 405, 413, 429, 431, 500, 501, 502, 503, 504] {
        let handler = || {
            Handler::new(move |_, request: Request| async move {
                let evil = request.headers().contains_key("x-evil")
                    || request.headers().contains_key("cookie")
                    || request.uri().query().is_some();
                if evil {
                    (StatusCode::from_u16(status).unwrap(), MARK).into_response()
                } else {
                    "the page".into_response()
                }
            })
        };
        let requests = || {
            let target = format!("/page?{MARK}");
            vec![
                request_with("/page", &[("x-evil", MARK)]),
                request_with("/page", &[("cookie", &format!("a={MARK}"))]),
                request(&target),
            ]
        };
        let site = || Site::page(handler(), plain());
        let victim = || request("/page");
        let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails("error").await;
        assert_eq!((after.victims[0].state, after.victims[0].status), ("HIT", 200), "{status}");
    }
}

/// CASES 67: which statuses are kept: by themselves, with a lifetime that the handler gives, and where the route lists
/// them. Only the route decides; and one that says that the page could not be made it cannot list.
#[tokio::test]
async fn an_error_is_kept_only_where_the_route_says_so() {
    for status in [400, 401, 403, 404, 405, 410, 418, 429, 451, 500, 502, 503] {
        for lifetime in [false, true] {
            for listed in [false, true] {
                let code = StatusCode::from_u16(status).unwrap();
                let config = if listed { plain().statuses([code]) } else { plain() };
                let refused = matches!(status, 401 | 403 | 429 | 500..);
                if listed && refused {
                    let problem = Isr::builder().build().unwrap().try_layer(config).unwrap_err();
                    assert!(problem.to_string().starts_with("statuses: expected final statuses"), "{problem}");
                    continue;
                }
                let site = Site::page(always(status, lifetime), config);
                let name = format!("{status}, lifetime {lifetime}, listed {listed}");
                let kept = listed || matches!(status, 404 | 410);
                let mut bodies = std::collections::HashSet::new();
                for n in 0..3 {
                    let response = fetch(&site.app, "/page").await;
                    let expected = if kept { ["MISS", "HIT", "HIT"][n] } else { "" };
                    assert_eq!((response.status(), state(&response)), (code, expected), "{name}");
                    assert_eq!(header(&response, "cache-control").contains("s-maxage"), kept, "{name}");
                    bodies.insert(body(response).await);
                    settled(&site.isr).await;
                }
                assert_eq!((bodies.len(), site.isr.stats().stored), if kept { (1, 1) } else { (3, 0) }, "{name}");
            }
        }
    }
}

/// CASES 67: a 404 of an address that no route has is not kept, wherever the layer stands: anybody can make them up.
#[tokio::test]
async fn an_address_that_nobody_has_leaves_nothing() {
    let handler = Handler::counting();
    let site = Site::new(handler, |isr, handler| {
        let layer = isr.layer(plain());
        axum::Router::new().route("/page", axum::routing::get(handler)).layer(layer)
    });
    for path in ["/none", "/none", "/page/none", "/Page"] {
        let response = fetch(&site.app, path).await;
        assert_eq!((response.status().as_u16(), state(&response)), (404, ""), "{path}");
    }
    assert_eq!((site.isr.stats().stored, site.handler.calls()), (0, 0));
}

/// CASES 2, 67: a regeneration that ends with an error keeps the page or, where it says that not everybody may see it,
/// removes it; the error itself is never kept.
#[tokio::test]
async fn an_error_of_a_regeneration_is_not_the_new_page() {
    for status in [204, 205, 206, 304, 400, 401, 402, 403, 405, 407, 408, 409, 429, 451, 500, 502, 503] {
        let now = Arc::new(AtomicU16::new(200));
        let current = Arc::clone(&now);
        let handler = Handler::new(move |_, _| {
            let status = StatusCode::from_u16(current.load(Ordering::SeqCst)).unwrap();
            async move { (status, if status == 200 { "the page" } else { "" }).into_response() }
        });
        let site = Site::page(handler, plain());
        fetch(&site.app, "/page").await;
        site.clock.advance(LIFE);
        now.store(status, Ordering::SeqCst);
        let stale = Seen::of(fetch(&site.app, "/page").await).await;
        assert_eq!((stale.state, &*stale.body), ("STALE", "the page"), "{status}");
        settled(&site.isr).await;
        let next = Seen::of(fetch(&site.app, "/page").await).await;
        if matches!(status, 401 | 403 | 407 | 451) {
            assert_eq!((next.state, next.status), ("", status), "{status}: removed");
        } else {
            assert_eq!((next.state, &*next.body), ("STALE", "the page"), "{status}: kept");
            assert_eq!(site.isr.stats().failures, 1, "{status}: counted");
        }
        assert_eq!(site.isr.stats().stored, 1, "{status}");
    }
}

/// CASES 2: answers without a body of their own are never pages, as first renders and where a route lists all that it can.
#[tokio::test]
async fn an_empty_answer_is_not_a_page() {
    for status in [204, 205, 206, 304] {
        let code = StatusCode::from_u16(status).unwrap();
        let site = Site::page(always(status, true), plain());
        for _ in 0..3 {
            let response = fetch(&site.app, "/page").await;
            assert_eq!((response.status(), state(&response)), (code, ""));
        }
        assert_eq!(site.isr.stats().stored, 0, "{status}");
        assert!(site.isr.try_layer(plain().statuses([code])).is_err(), "{status} can be listed");
    }
}

fn login(status: u16) -> Handler {
    Handler::new(move |_, request: Request| async move {
        let next = request.uri().path().to_owned();
        let cookie = request.headers().get("cookie").map(|v| v.to_str().unwrap().to_owned());
        match cookie {
            Some(user) => format!("hello {user}").into_response(),
            None => {
                (StatusCode::from_u16(status).unwrap(), [("location", format!("/login?next={next}"))]).into_response()
            }
        }
    })
}

/// CASES 7, 68: a redirect to the login is for who is not logged in, and for nobody else, in whatever order they come.
#[tokio::test]
async fn a_redirect_to_the_login_is_not_shared() {
    for status in [302, 303, 307] {
        for order in [[false, true, false, true], [true, false, true, false]] {
            let site = Site::page(login(status), plain());
            for user in order {
                let headers: &[_] = if user { &[("cookie", "user=a")] } else { &[] };
                let seen = Seen::of(send(&site.app, request_with("/account", headers)).await).await;
                settled(&site.isr).await;
                let expected = if user { (200, "") } else { (status, "/login?next=/account") };
                assert_eq!((seen.status, seen.header("location")), expected, "{order:?}");
                assert_eq!((seen.state, seen.body.contains("user=a")), ("", user), "{order:?}");
            }
            assert_eq!(site.isr.stats().stored, 0);
        }
    }
    let listed = Site::page(login(302), plain().statuses([StatusCode::FOUND]));
    let states = [fetch(&listed.app, "/account").await, fetch(&listed.app, "/account").await];
    assert_eq!(states.each_ref().map(state), ["MISS", "HIT"], "a route that asks for it has it kept");
}

/// CASES 7, 68: where a redirect leads depends on nothing but the key: neither on the host that an attacker names nor on an
/// undeclared `next`. Permanent ones are kept, temporary ones are each visitor's own.
#[tokio::test]
async fn a_redirect_does_not_lead_where_somebody_else_wants() {
    for (status, kept) in [(301, true), (308, true), (302, false), (303, false), (307, false)] {
        let handler = || {
            Handler::new(move |_, request: Request| async move {
                let host = request.headers().get("x-forwarded-host").or_else(|| request.headers().get("host"));
                let host = host.map_or(String::new(), |v| format!("https://{}", v.to_str().unwrap()));
                let next = request.uri().query().unwrap_or("home");
                let mut response = Redirect::to(&format!("{host}/{next}")).into_response();
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            })
        };
        let site = || Site::page(handler(), plain());
        let evil = format!("{MARK}.example");
        let requests = || {
            vec![
                request_with("/go", &[("host", &evil)]),
                request_with("/go", &[("host", "site.example"), ("x-forwarded-host", &evil)]),
                request(&format!("/go?next=//{evil}")),
            ]
        };
        let victim = || request_with("/go", &[("host", "site.example")]);
        let attack = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 };
        let after = attack.fails(&status.to_string()).await;
        let expected = if kept { ("HIT", "/home") } else { ("", "https://site.example/home") };
        assert_eq!((after.victims[0].state, after.victims[0].header("location")), expected, "{status}");
    }
}
