//! What frameworks and caches had advisories for, asked of responses: a veto beats the opt-in of the route.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use common::oracle::{LIFE, Seen, Site, text};
use common::{Gate, Handler, crowd, fetch, request, send, settled, state};
use futures_util::future::join_all;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

type Lines = Vec<(&'static str, Vec<u8>)>;

/// A page with these lines in its head, from the first render on or from when the switch is on; `call N`.
fn saying(lines: &Lines, switch: &Arc<AtomicBool>) -> Handler {
    let (lines, switch) = (lines.clone(), Arc::clone(switch));
    Handler::new(move |n, _| {
        let lines = if switch.load(Ordering::SeqCst) { lines.clone() } else { Lines::new() };
        async move {
            let mut response = format!("call {n}").into_response();
            for (name, value) in lines {
                let name = HeaderName::try_from(name).unwrap();
                response.headers_mut().append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            response
        }
    })
}

/// What stands in the fields of these names, in order.
fn said(seen: &Seen, lines: &Lines) -> Vec<String> {
    let names: HashSet<_> = lines.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    seen.headers.iter().filter(|(name, _)| names.contains(name)).map(|(_, value)| value.clone()).collect()
}

/// A page that says this is never kept, neither at first nor by a regeneration; what it says goes out as it is, and no
/// lifetime of ours beside it.
async fn is_a_veto(lines: Lines) {
    let expected: Vec<_> = lines.iter().map(|(_, value)| text(value)).collect();
    let on = Arc::new(AtomicBool::new(true));
    let site = Site::page(saying(&lines, &on), plain());
    let mut bodies = HashSet::new();
    for _ in 0..3 {
        let seen = Seen::of(fetch(&site.app, "/page").await).await;
        settled(&site.isr).await;
        assert_eq!((seen.status, seen.state, seen.header("age")), (200, "", ""), "{lines:?}");
        assert_eq!(said(&seen, &lines), expected, "changed on its way");
        assert!(
            lines.iter().any(|(n, _)| n.eq_ignore_ascii_case("cache-control"))
                || seen.header("cache-control").is_empty()
        );
        assert!(bodies.insert(seen.body), "{lines:?}: answered twice with the same call");
    }
    assert_eq!((site.isr.stats().stored, site.handler.calls()), (0, 4), "{lines:?}: one render, three own requests");

    let on = Arc::new(AtomicBool::new(false));
    let site = Site::page(saying(&lines, &on), plain());
    fetch(&site.app, "/page").await;
    site.clock.advance(LIFE);
    on.store(true, Ordering::SeqCst);
    assert_eq!(state(&fetch(&site.app, "/page").await), "STALE");
    settled(&site.isr).await;
    for call in 3..6 {
        let seen = Seen::of(fetch(&site.app, "/page").await).await;
        assert_eq!((seen.state, seen.body), ("", format!("call {call}")), "{lines:?}: after a regeneration");
    }
    assert_eq!(site.isr.stats().stored, 1, "{lines:?}");
}

fn line(name: &'static str, value: &str) -> Lines {
    vec![(name, value.as_bytes().to_vec())]
}

/// R8, CASES 21, 25: a handler that says anything about caching has taken it over, in whatever spelling.
#[tokio::test]
async fn a_handler_that_says_how_to_cache_is_obeyed() {
    for value in [
        "private",
        "no-store",
        "no-cache",
        "Private, max-age=60",
        "PRIVATE",
        "max-age=60, private",
        "max-age=0",
        "s-maxage=0",
        "public, max-age=31536000",
        "private=",
        "private=\"set-cookie\"",
        "private=\"",
        "no-cache=set-cookie",
        "no-store=1",
        "no-store;",
        ",,private,,",
        "private;max-age=60",
        "\"private\"",
        "max-age=99999999999999999999",
        "max-age=-1",
        "max-age",
        "",
        " ",
        "must-understand, no-store",
        "immutable",
        "stale-while-revalidate=5",
        "pri\tvate",
    ] {
        is_a_veto(line("cache-control", value)).await;
    }
    // RFC 9111 §5.3 and §5.4, RFC 9213, and what there was before it.
    for (name, value) in [
        ("expires", "0"),
        ("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("pragma", "no-cache"),
        ("cdn-cache-control", "no-store"),
        ("cloudflare-cdn-cache-control", "private"),
        ("surrogate-control", "no-store"),
    ] {
        is_a_veto(line(name, value)).await;
    }
    is_a_veto(vec![("cache-control", b"public".to_vec()), ("cache-control", b"no-store".to_vec())]).await;
    is_a_veto(vec![("Cache-Control", b"public, max-age=60".to_vec()), ("CACHE-CONTROL", b"private".to_vec())]).await;
    is_a_veto(vec![("cache-control", b"priv\xfe\xff".to_vec())]).await;
}

/// CASES 22: `Vary` on what the key lacks, in mixed case, on several lines, between commas.
#[tokio::test]
async fn what_varies_on_something_unkeyed_is_not_kept() {
    for value in [
        "*",
        "Cookie",
        "Authorization",
        "authorization,",
        "accept-encoding, COOKIE",
        ",, ,Origin",
        "accept-encoding,*",
        "Accept-Encoding , User-Agent ",
        "x-unknown",
        "host",
        "accept-encoding cookie",
        "cookie;q=1",
        "\"cookie\"",
    ] {
        is_a_veto(line("vary", value)).await;
    }
    is_a_veto(vec![("vary", b"accept-encoding".to_vec()), ("Vary", b"cookie".to_vec())]).await;
    is_a_veto(vec![("vary", b"\xff".to_vec())]).await;
    for harmless in ["", "accept-encoding", "Accept-Encoding, ,"] {
        let on = Arc::new(AtomicBool::new(true));
        let site = Site::page(saying(&line("vary", harmless), &on), plain());
        let states = [fetch(&site.app, "/page").await, fetch(&site.app, "/page").await];
        assert_eq!(states.each_ref().map(state), ["MISS", "HIT"], "{harmless:?}");
    }
}

/// CASES 29, 69: cookies that a handler sets, in any number and spelling, and what clears a browser.
#[tokio::test]
async fn what_changes_the_state_of_a_browser_is_not_kept() {
    is_a_veto(line("set-cookie", "a=1")).await;
    is_a_veto(line("Set-Cookie", "a=1; HttpOnly; Path=/")).await;
    is_a_veto(line("SET-COOKIE2", "a=1; Version=1")).await;
    is_a_veto(line("set-cookie", "")).await;
    is_a_veto(vec![("set-cookie", b"a=1".to_vec()), ("set-cookie", b"b=2".to_vec())]).await;
    is_a_veto(vec![("set-cookie", b"a=1".to_vec()), ("cache-control", b"public, max-age=60".to_vec())]).await;
    is_a_veto(vec![("set-cookie", b"a=\xff".to_vec())]).await;
    is_a_veto(line("clear-site-data", "\"cache\", \"cookies\"")).await;
    is_a_veto(line("clear-site-data", "*")).await;
    is_a_veto(line("content-range", "bytes 0-0/9")).await;
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// CASES 25: malformed `Cache-Control` with the names that forbid; no text of it is a reason to keep or to panic.
    #[test]
    fn no_malformed_prohibition_is_a_permission(
        before in "[a-z=\", ;]{0,8}", name in "(?i)private|no-store|no-cache", after in "[=\",; a-z0-9\\x80-\\xff]{0,8}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bytes: Vec<u8> = format!("{before}{name}").bytes().chain(after.chars().map(|c| u8::try_from(c).unwrap())).collect();
        prop_assume!(HeaderValue::from_bytes(&bytes).is_ok());
        runtime.block_on(is_a_veto(vec![("cache-control", bytes)]));
    }
}

/// CASES 8: a page with a nonce in its policy. Header and body of each answer agree, and no nonce comes twice.
#[tokio::test]
async fn a_nonce_is_used_once() {
    for name in ["content-security-policy", "content-security-policy-report-only"] {
        for policy in ["script-src 'nonce-#'", "default-src 'self'; script-src 'self' 'NONCE-#' 'strict-dynamic'"] {
            let handler = Handler::new(move |n, _| async move {
                let policy = policy.replace('#', &format!("n{n}"));
                ([(name, policy)], format!("<script nonce=n{n}>"))
            });
            let site = Site::page(handler, plain());
            let mut nonces = HashSet::new();
            for _ in 0..4 {
                let seen = Seen::of(fetch(&site.app, "/page").await).await;
                settled(&site.isr).await;
                let nonce = seen.body.trim_start_matches("<script nonce=").trim_end_matches('>').to_owned();
                assert!(seen.header(name).to_lowercase().contains(&format!("'nonce-{nonce}'")), "{seen:?}");
                assert_eq!(seen.state, "");
                assert!(nonces.insert(nonce), "twice: {seen:?}");
            }
            assert_eq!(site.isr.stats().stored, 0);
        }
    }
    let fixed = Handler::new(|_, _| async { ([(CONTENT_SECURITY_POLICY, "script-src 'sha256-nonce-'")], "") });
    let site = Site::page(fixed, plain());
    let states = [fetch(&site.app, "/page").await, fetch(&site.app, "/page").await];
    assert_eq!(states.each_ref().map(state), ["MISS", "HIT"], "a hash is not a nonce");
}

/// CASES 27: twenty visitors wait for a page that turns out to be personal: each gets his own, from his own request.
#[tokio::test]
async fn followers_do_not_get_the_private_answer_of_the_leader() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let held = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            ([(SET_COOKIE, format!("sid=secret-{n}"))], format!("secret-{n}"))
        }
    });
    let app = Router::new().route("/page", get(handler.clone())).route_layer(isr.layer(plain()));
    let visitors = crowd(&app, 20, |_| request("/page")).await;
    gate.open();
    let mut secrets = HashSet::new();
    for response in join_all(visitors).await {
        let seen = Seen::of(response).await;
        assert_eq!((seen.state, seen.header("set-cookie")), ("", &*format!("sid={}", seen.body)));
        assert!(secrets.insert(seen.body));
    }
    assert!(!secrets.contains("secret-1"), "somebody got what the render was given");
    assert_eq!((secrets.len(), handler.calls(), isr.stats().stored), (20, 21, 0));
}

/// Gives each request a session of its own, and refreshes it in each answer.
async fn session(State(next_id): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    let n = next_id.fetch_add(1, Ordering::SeqCst) + 1;
    let mut response = next.run(request).await;
    response.headers_mut().append(SET_COOKIE, HeaderValue::try_from(format!("sid=session-{n}")).unwrap());
    response
}

/// R3, CASES 29, 30: a session layer inside makes pages that are never kept, and each visitor has his own; outside, its
/// cookie is added to each HIT anew, and the page is kept as the handler made it.
#[tokio::test]
async fn a_session_layer_inside_is_never_stored_and_outside_is_added_anew() {
    for inside in [true, false] {
        let site = Site::new(Handler::counting(), |isr, handler| {
            let session = from_fn_with_state(Arc::<AtomicUsize>::default(), session);
            let router = Router::new().route("/page", get(handler));
            if inside {
                router.layer(session).layer(isr.layer(plain()))
            } else {
                router.layer(isr.layer(plain())).layer(session)
            }
        });
        let mut cookies = HashSet::new();
        for n in 0..5 {
            let seen = Seen::of(fetch(&site.app, "/page").await).await;
            settled(&site.isr).await;
            let cookie = seen.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, v)| v.clone());
            let cookie: Vec<_> = cookie.collect();
            assert_eq!(cookie.len(), 1, "{seen:?}");
            assert!(cookies.insert(cookie[0].clone()), "inside {inside}: somebody else's session");
            let expected = match (inside, n) {
                (true, _) => "",
                (false, 0) => "MISS",
                _ => "HIT",
            };
            assert_eq!(seen.state, expected);
        }
        assert_eq!((site.isr.stats().stored, site.handler.calls()), if inside { (0, 6) } else { (1, 1) });
    }
}

/// CASES 31: a form with a token against forged requests: the cookie that goes with it keeps the page from being shared.
#[tokio::test]
async fn no_two_visitors_get_the_same_token() {
    let form = Handler::new(|n, _| async move {
        let cookie = [(SET_COOKIE, format!("csrf=token-{n}; SameSite=Strict"))];
        (cookie, format!("<input type=hidden name=csrf value=token-{n}>"))
    });
    let site = Site::page(form, plain());
    let mut tokens = HashSet::new();
    for n in 0..6 {
        if n == 3 {
            site.clock.advance(LIFE);
        }
        let seen = Seen::of(send(&site.app, request("/form")).await).await;
        settled(&site.isr).await;
        let token = seen.header("set-cookie").trim_start_matches("csrf=").split(';').next().unwrap().to_owned();
        assert!(seen.body.contains(&format!("value={token}>")), "{seen:?}");
        assert!(tokens.insert(token), "{seen:?}");
    }
    assert_eq!(site.isr.stats().stored, 0);
}

/// CASES 21, 22, 29: where the veto comes from a layer between, not from the handler.
#[tokio::test]
async fn a_veto_of_a_layer_inside_counts_as_the_handlers() {
    for (name, value) in [(CACHE_CONTROL, "private"), (VARY, "cookie"), (SET_COOKIE, "a=1")] {
        let site = Site::new(Handler::counting(), |isr, handler| {
            let add = tower_http::set_header::SetResponseHeaderLayer::appending(
                name.clone(),
                HeaderValue::from_static(value),
            );
            Router::new().route("/page", get(handler)).layer(add).layer(isr.layer(plain()))
        });
        for call in 2..5 {
            let seen = Seen::of(fetch(&site.app, "/page").await).await;
            assert_eq!((seen.state, seen.header(name.as_str())), ("", value));
            assert_eq!(seen.body, format!("render {call}"));
        }
        assert_eq!(site.isr.stats().stored, 0, "{name}");
    }
}
