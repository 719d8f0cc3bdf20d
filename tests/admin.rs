//! Invalidation over HTTP.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, FaultyStore, MemoryStore, Operation};
use axum_isr::{Isr, RouteConfig, admin};
use common::{Handler, body, fetch, header, send, settled, state, until};

const TOKEN: &str = "s3cret-token";

fn site() -> (Isr, Router) {
    let isr = Isr::builder().build().unwrap();
    let page = |tag: &'static str| get(Handler::counting()).layer(isr.layer(RouteConfig::forever().tags([tag])));
    let app = Router::new()
        .route("/a", page("a"))
        .route("/b/c", page("b"))
        .route("/d", page("d"))
        .nest("/hooks/revalidate", admin::revalidation_router(TOKEN).unwrap())
        .with_state(isr.clone());
    (isr, app)
}

fn call(authorization: &[&str], text: impl Into<Body>) -> Request {
    let request = Request::builder().method("POST").uri("/hooks/revalidate");
    let request = authorization.iter().fold(request, |request, value| request.header("authorization", *value));
    request.body(text.into()).unwrap()
}

fn authorized(text: impl Into<Body>) -> Request {
    call(&["Bearer s3cret-token"], text)
}

async fn states(app: &Router) -> [&'static str; 3] {
    [state(&fetch(app, "/a").await), state(&fetch(app, "/b/c").await), state(&fetch(app, "/d").await)]
}

/// What is named is revalidated, or expired if that is said; the answer is the same whether there are such pages or not.
#[tokio::test]
async fn what_is_named_is_invalidated() {
    for (text, expected, marks) in [
        (r#"{"tags":["a"]}"#, ["STALE", "HIT", "HIT"], 1),
        (r#"{"tags":["a"],"verb":"expire"}"#, ["MISS", "HIT", "HIT"], 1),
        (r#"{"paths":["/a","/b"],"verb":"expire"}"#, ["MISS", "HIT", "HIT"], 2),
        (r#"{"prefixes":["/b"],"verb":"revalidate"}"#, ["HIT", "STALE", "HIT"], 1),
        (r#"{"tags":["a"],"paths":["/b/c"],"prefixes":["/x"]}"#, ["STALE", "STALE", "HIT"], 3),
        (r#"{"routes":["/b/c"],"verb":"expire"}"#, ["HIT", "MISS", "HIT"], 1),
        (r#"{"all":true}"#, ["STALE", "STALE", "STALE"], 1),
        (r#"{"all":true,"tags":["a"],"verb":"expire"}"#, ["MISS", "MISS", "MISS"], 2),
        (r#"{"tags":["unknown"]}"#, ["HIT", "HIT", "HIT"], 1),
    ] {
        let (isr, app) = site();
        states(&app).await;
        let response = send(&app, authorized(text)).await;
        assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (200, "no-store"), "{text}");
        assert_eq!(header(&response, "content-type"), "application/json");
        let report: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
        let verb = if text.contains("expire") { "expire" } else { "revalidate" };
        assert_eq!((&report["verb"], &report["marks"]), (&verb.into(), &marks.into()), "{text}");
        assert!(report["stamp"].as_u64().unwrap() > 0 && report.as_object().unwrap().len() == 3);
        assert_eq!(states(&app).await, expected, "{text}");
        settled(&isr).await;
    }
}

/// CASES 141: without exactly the token, nothing; and no answer says how near it was.
#[tokio::test]
async fn without_the_token_nothing_happens() {
    let (isr, app) = site();
    states(&app).await;
    let everything = r#"{"tags":["a","b","d"],"verb":"expire"}"#;
    let huge = format!("Bearer {}", "x".repeat(100_000));
    let bad = [
        &[][..],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &["Bearer wrong"],
        &["Bearer s3cret-toke"],
        &["Bearer s3cret-token2"],
        &["Bearer S3CRET-TOKEN"],
        &["Basic s3cret-token"],
        &["Bearers3cret-token"],
        &["s3cret-token"],
        &["Bearer s3cret-token", "Bearer s3cret-token"],
        &["Bearer wrong", "Bearer s3cret-token"],
        &[&huge],
    ];
    let refused = r#"{"error":"authorization: expected the token, got none or another"}"#;
    for authorization in bad {
        let response = send(&app, call(authorization, everything)).await;
        let seen =
            (response.status().as_u16(), header(&response, "www-authenticate"), header(&response, "cache-control"));
        assert_eq!(seen, (401, "Bearer", "no-store"), "{authorization:?}");
        assert_eq!(body(response).await, refused);
    }
    // Never from the query string, and not by a GET.
    let mut query = call(&[], everything);
    *query.uri_mut() = "/hooks/revalidate?token=s3cret-token&secret=s3cret-token".parse().unwrap();
    assert_eq!(send(&app, query).await.status(), 401);
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let mut request = authorized(everything);
        *request.method_mut() = method.parse().unwrap();
        let response = send(&app, request).await;
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "POST"), "{method}");
        assert_eq!(header(&response, "cache-control"), "no-store");
    }
    assert_eq!((states(&app).await, isr.stats().invalidations), (["HIT"; 3], 0));
    // The scheme is of any case (RFC 9110 §11.1).
    for good in ["bearer s3cret-token", "BEARER  s3cret-token"] {
        assert_eq!(send(&app, call(&[good], r#"{"tags":["a"]}"#)).await.status(), 200, "{good}");
    }
}

/// A body that is not what it should be says what was expected, and invalidates nothing.
#[tokio::test]
async fn bodies_are_bounded_and_checked() {
    let (isr, app) = site();
    let many = format!(r#"{{"tags":["a"],"paths":[{}"/"]}}"#, r#""/x","#.repeat(1_000));
    for (text, expected) in [
        ("", "EOF"),
        ("tags=a", "expected"),
        ("[]", "expected an object, got a list"),
        (r#" [["a"]]"#, "expected an object, got a list"),
        ("{}", "body: expected 1 to 1000 tags, paths, prefixes and routes, or all, got 0"),
        (r#"{"tags":[],"all":false}"#, "got 0"),
        (&many, "got 1002"),
        (
            r#"{"tag":["a"]}"#,
            "unknown field `tag`, expected one of `tags`, `paths`, `prefixes`, `routes`, `all`, `verb`",
        ),
        (r#"{"tags":"a"}"#, "expected a sequence"),
        (r#"{"tags":["a"],"verb":"purge"}"#, "unknown variant `purge`, expected `revalidate` or `expire`"),
        (r#"{"tags":["a",""]}"#, "tag: expected 1 to 256 bytes, got 0 bytes"),
        (r#"{"tags":["a"],"paths":["b"]}"#, "path: expected a path that begins with /"),
        (r#"{"tags":["a"],"prefixes":["/?"]}"#, "prefix: expected a path without a query"),
        (r#"{"tags":["a"],"routes":["b"]}"#, "route: expected a path that begins with /"),
        (r#"{"all":"yes"}"#, "expected a boolean"),
    ] {
        let response = send(&app, authorized(text.to_owned())).await;
        assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (400, "no-store"), "{text}");
        let error: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
        assert!(error["error"].as_str().unwrap().contains(expected), "{error} {expected}");
    }
    let large = format!(r#"{{"tags":["{}"]}}"#, "x".repeat(64 << 10));
    let response = send(&app, authorized(large)).await;
    assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (413, "no-store"));
    assert_eq!(body(response).await, r#"{"error":"body: expected at most 65536 bytes, got more"}"#);
    assert_eq!(isr.stats().invalidations, 0);
    let most = format!(r#"{{"paths":[{}"/"]}}"#, r#""/x","#.repeat(999));
    assert_eq!(send(&app, authorized(most)).await.status(), 200);
}

/// A caller learns that others do not know of it yet, and may call again; here it is in effect.
#[tokio::test]
async fn a_store_out_of_reach_is_503() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let isr = Isr::builder().deployment_id("one").store(store).build().unwrap();
    let app = Router::new()
        .route("/a", get(Handler::counting()).layer(isr.layer(RouteConfig::forever())))
        .nest("/hooks/revalidate", admin::revalidation_router(TOKEN).unwrap())
        .with_state(isr.clone());
    fetch(&app, "/a").await;
    faults.set(Operation::Invalidate, Fault::Error(StoreErrorKind::Unavailable));
    let text = r#"{"paths":["/a"],"verb":"expire"}"#;
    let response = send(&app, authorized(text)).await;
    assert_eq!((response.status().as_u16(), header(&response, "cache-control")), (503, "no-store"));
    let error: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("invalidated in this process only, because "), "{error}");
    assert_eq!(state(&fetch(&app, "/a").await), "MISS");
    faults.clear();
    assert_eq!(send(&app, authorized(text)).await.status(), 200);
    until(|| isr.stats().unsent_marks == 0).await;
}

/// CASES 141: an empty token is an error when the router is made, and no error shows a token.
#[test]
fn a_token_that_cannot_be_is_refused() {
    for token in ["", " ", "two words", "caf\u{e9}", "line\n"] {
        let problem = admin::revalidation_router::<Isr>(token).unwrap_err();
        assert_eq!(problem.setting(), "token");
        assert!(token.trim().is_empty() || !problem.to_string().contains(token), "{problem}");
    }
    let router = format!("{:?}", admin::revalidation_router::<Isr>(TOKEN).unwrap());
    assert!(!router.contains(TOKEN));
}

/// Off unless it is mounted; an application's own state may hold the handle.
#[tokio::test]
async fn it_is_where_it_is_mounted() {
    #[derive(Clone, axum::extract::FromRef)]
    struct App {
        isr: Isr,
    }
    let isr = Isr::builder().build().unwrap();
    let page = get(Handler::counting());
    let app: Router = Router::new()
        .route("/", page)
        .route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))))
        .merge(Router::new().nest("/purge", admin::revalidation_router(TOKEN).unwrap()))
        .with_state(App { isr: isr.clone() });
    fetch(&app, "/").await;
    let mut request = authorized(r#"{"paths":["/"],"verb":"expire"}"#);
    *request.uri_mut() = "/purge".parse().unwrap();
    assert_eq!(send(&app, request).await.status(), 200);
    assert_eq!(state(&fetch(&app, "/").await), "MISS");
    assert_eq!(send(&app, authorized("{}")).await.status(), 404);
}
