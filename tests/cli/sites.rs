//! `axum-isr revalidate` and `axum-isr expire`: the real program and a real site on loopback.

use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, FaultyStore, MemoryStore, Operation};
use axum_isr::{Isr, Render, RouteConfig, admin};
use http::StatusCode;

use crate::common::{Handler, fetch, state};
use crate::program::{Ended, run};

const TOKEN: &str = "s3cret-token";

/// Where it listens.
async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

/// Pages `/p/a`, with the tag `a`, and so on.
fn site(isr: &Isr) -> Router {
    let page = |axum::extract::Path(slug): axum::extract::Path<String>, render: Render| async move {
        render.tag(slug);
        "page"
    };
    let layer = isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600)));
    Router::new()
        .route("/p/{slug}", get(page).layer(layer))
        .nest("/hook", admin::revalidation_router(TOKEN).unwrap())
        .with_state(isr.clone())
}

async fn states(app: &Router) -> [String; 3] {
    let state = async |path| state(&fetch(app, path).await).to_owned();
    [state("/p/a").await, state("/p/b").await, state("/p/c").await]
}

async fn call(verb: &str, url: &str, more: &[&str], token: &str) -> Ended {
    run([verb, "--url", url].iter().chain(more), &[("ISR_TOKEN", token)]).await
}

/// One call names tags, paths and prefixes, and they are in effect when the program ends.
#[tokio::test]
async fn pages_of_a_site_are_invalidated() {
    let isr = Isr::builder().build().unwrap();
    let app = site(&isr);
    let url = serve(app.clone()).await;
    states(&app).await;
    assert_eq!(states(&app).await, ["HIT"; 3]);
    let done = call("revalidate", &url, &["--tag", "a", "--path", "/p/b"], TOKEN).await;
    assert_eq!((done.code, &*done.err), (0, ""), "{}", done.out);
    assert!(done.out.starts_with("revalidate: 2 marks, stamp "), "{}", done.out);
    assert_eq!(states(&app).await, ["STALE", "STALE", "HIT"]);
    let done = call("expire", &url, &["--prefix", "/p", "--json"], TOKEN).await;
    assert_eq!((done.code, &done.json()["verb"], &done.json()["marks"]), (0, &"expire".into(), &1.into()));
    assert_eq!(states(&app).await, ["MISS"; 3]);
    assert!(!done.says(TOKEN));
}

/// A token for this machine does not leave it.
#[tokio::test]
async fn a_proxy_does_not_get_what_is_for_this_machine() {
    let proxy = Handler::counting();
    let through = serve(Router::new().fallback(proxy.clone())).await.replace("/hook", "");
    let isr = Isr::builder().build().unwrap();
    let url = serve(site(&isr)).await;
    let variables =
        [("ISR_TOKEN", TOKEN), ("ISR_SEEDS_TOKEN", TOKEN), ("http_proxy", &through), ("all_proxy", &through)];
    let done = run(["expire", "--url", &url, "--tag", "a"], &variables).await;
    assert_eq!((done.code, proxy.calls()), (0, 0), "{}", done.err);
    let done = run(["inspect", &url], &variables).await;
    assert_eq!((done.code, proxy.calls()), (1, 0), "{}", done.err);
}

/// What the site says no to is said, with what to do; the token is in no output.
#[tokio::test]
async fn a_site_that_says_no_is_an_error() {
    let isr = Isr::builder().build().unwrap();
    let url = serve(site(&isr)).await;
    let missing = url.replace("/hook", "/nothing");
    for (url, more, token, expected) in [
        (&url, &["--tag", "a"][..], "wr0ng-token", "said 401"),
        (&url, &["--path", "no-slash"], TOKEN, "expected a path that begins with /"),
        (&missing, &["--tag", "a"], TOKEN, "said 404"),
    ] {
        let done = call("expire", url, more, token).await;
        assert_eq!((done.code, &*done.out), (1, ""), "{expected}: {}", done.err);
        assert!(done.err.starts_with("error: ") && done.err.contains(expected), "{}", done.err);
        assert!(done.err.lines().count() == 2 && !done.says(token), "{}", done.err);
    }
    assert_eq!(isr.stats().invalidations, 0);
}

/// In effect in one process only: it is worth calling again, and has a code of its own.
#[tokio::test]
async fn a_store_that_is_down_is_worth_another_try() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let isr = Isr::builder().deployment_id("one").store(store).build().unwrap();
    let url = serve(site(&isr)).await;
    faults.set(Operation::Invalidate, Fault::Error(StoreErrorKind::Unavailable));
    let done = call("expire", &url, &["--tag", "a"], TOKEN).await;
    assert_eq!(done.code, 3, "{}", done.err);
    assert!(done.err.contains("invalidated in this process only"), "{}", done.err);
}

#[tokio::test]
async fn a_site_that_is_down_is_out_of_reach() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    drop(listener);
    let done = call("revalidate", &url, &["--tag", "a"], TOKEN).await;
    assert_eq!((done.code, &*done.out), (3, ""), "{}", done.err);
    assert!(done.err.contains("nothing is invalidated") && !done.says(TOKEN), "{}", done.err);
    let slow = Router::new().route("/hook", any(std::future::pending::<StatusCode>));
    let done = call("revalidate", &serve(slow).await, &["--tag", "a", "--timeout", "1s"], TOKEN).await;
    assert_eq!(done.code, 3, "{}", done.err);
}

/// R47, CASES 151: what a server says is short, on one line, without what steers a terminal, and without the token that it
/// was sent.
#[tokio::test]
async fn a_hostile_answer_writes_nothing_on_the_terminal() {
    let said = format!("\x1b[2J\r\nerror: {TOKEN} \u{9b}2J{}", "x".repeat(100_000));
    for (code, expected) in [(500, 3), (400, 1), (200, 1), (418, 1)] {
        let text = said.clone();
        let app = Router::new().route("/hook", any(move || async move { (StatusCode::from_u16(code).unwrap(), text) }));
        let done = call("expire", &serve(app).await, &["--tag", "a"], TOKEN).await;
        assert_eq!((done.code, &*done.out), (expected, ""), "{code}: {}", done.err);
        assert!(!done.says(TOKEN) && !done.err.contains(['\x1b', '\u{9b}', '\r']), "{code}: {:?}", done.err);
        assert_eq!(done.err.lines().count(), 2, "{}", done.err);
        assert!(done.err.lines().next().unwrap().chars().count() <= 510, "{}", done.err);
    }
    let endless = || {
        let body = futures_util::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(vec![b'x'; 1 << 16]));
        (StatusCode::BAD_REQUEST, axum::body::Body::from_stream(body)).into_response()
    };
    let app = Router::new().route("/hook", any(move || async move { endless() }));
    assert_eq!(call("expire", &serve(app).await, &["--tag", "a"], TOKEN).await.code, 1);
}

/// CASES 148: the token goes to the URL that was given, and nowhere else.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let handler = Handler::counting();
    let other = serve(Router::new().route("/hook", any(handler.clone()))).await;
    for code in [301, 302, 303, 307, 308] {
        let to = other.clone();
        let redirect = move || async move { (StatusCode::from_u16(code).unwrap(), [("location", to)]) };
        let url = serve(Router::new().route("/hook", any(redirect))).await;
        let done = call("expire", &url, &["--tag", "a"], TOKEN).await;
        assert_eq!(done.code, 1, "{}", done.err);
        assert!(done.err.contains("redirects are not followed"), "{}", done.err);
    }
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn a_call_that_cannot_be_is_wrong_usage() {
    for (url, more, token) in [
        ("https://a.example/hook", &["--tag", "a"][..], ""),
        ("https://a.example/hook", &["--tag", "a"], "two\nlines"),
        ("https://a.example/hook", &[], TOKEN),
        ("http://a.example/hook", &["--tag", "a"], TOKEN),
        ("ftp://a.example/hook", &["--tag", "a"], TOKEN),
        ("https://:hunter2@a.example/hook", &["--tag", "a"], TOKEN),
        ("https://a.example/hook?token=hunter2", &["--tag", "a"], TOKEN),
        ("hunter2", &["--tag", "a"], TOKEN),
    ] {
        let done = call("expire", url, more, token).await;
        assert_eq!((done.code, &*done.out), (2, ""), "{url} {more:?}: {}", done.err);
        assert!(!done.says("hunter2") && !done.says(TOKEN), "{url}: {}", done.err);
    }
}
