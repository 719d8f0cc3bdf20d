//! The handler sees the same routing in a visitor's request, in a first render and in a regeneration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, NestedPath, OriginalUri, Path, RawPathParams, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{body, fetch, settled, state};
use http::Uri;
use tower::Layer;

const MINUTE: Duration = Duration::from_secs(60);

/// Everything that axum's routing tells a handler.
async fn report(
    uri: Uri,
    OriginalUri(original): OriginalUri,
    matched: Option<MatchedPath>,
    params: RawPathParams,
    request: Request,
) -> String {
    let nested = request.extensions().get::<NestedPath>().map(NestedPath::as_str);
    let matched = matched.as_ref().map(MatchedPath::as_str);
    let params: Vec<_> = params.iter().collect();
    format!("{uri} {original} {matched:?} {nested:?} {params:?}")
}

fn handler() -> MethodRouter {
    get(report)
}

/// A router, with `wrap` around the routes that are deepest inside.
type Site = fn(wrap: &dyn Fn(Router) -> Router) -> Router;

const SEGMENTS: [&str; 9] = ["a", "a%2Fb", "%C3%A9", "a%20b", "a+b", "%2561", "a;v=1", "%00", "..%2f"];

/// What is built, and paths that lead to its handler; `*` stands for each of the segments.
fn sites() -> Vec<(&'static str, Site, Vec<&'static str>)> {
    vec![
        ("static", |wrap| wrap(Router::new().route("/a/b", handler())), vec!["/a/b"]),
        ("root", |wrap| wrap(Router::new().route("/", handler())), vec!["/"]),
        ("trailing slash", |wrap| wrap(Router::new().route("/a/", handler())), vec!["/a/"]),
        ("parameter", |wrap| wrap(Router::new().route("/{x}", handler())), vec!["/*"]),
        ("two parameters", |wrap| wrap(Router::new().route("/{x}/b/{y}", handler())), vec!["/*/b/c"]),
        ("prefix and suffix", |wrap| wrap(Router::new().route("/v{x}", handler())), vec!["/v*"]),
        ("wildcard", |wrap| wrap(Router::new().route("/w/{*rest}", handler())), vec!["/w/*", "/w/x//y/", "/w/x/*"]),
        ("escaped brace", |wrap| wrap(Router::new().route("/{{x}}", handler())), vec!["/{x}"]),
        ("nest", |wrap| Router::new().nest("/n", wrap(Router::new().route("/{x}", handler()))), vec!["/n/*"]),
        ("nested root", |wrap| Router::new().nest("/n", wrap(Router::new().route("/", handler()))), vec!["/n"]),
        (
            "nest with slash",
            |wrap| Router::new().nest("/n/", wrap(Router::new().route("/{x}", handler()))),
            vec!["/n/a"],
        ),
        (
            "nest with parameter",
            |wrap| Router::new().nest("/u/{id}", wrap(Router::new().route("/{x}", handler()))),
            vec!["/u/7/*", "/u/%C3%A9/a"],
        ),
        (
            "nest twice",
            |wrap| {
                let inner = wrap(Router::new().route("/{x}", handler()).route("/w/{*rest}", handler()));
                Router::new().nest("/n", Router::new().nest("/m", inner))
            },
            vec!["/n/m/*", "/n/m/w/*/b"],
        ),
        (
            "nest_service",
            |wrap| Router::new().nest_service("/s", wrap(Router::new().route("/{x}", handler()))),
            vec!["/s/*"],
        ),
        (
            "nest_service with parameter",
            |wrap| Router::new().nest_service("/s/{id}", wrap(Router::new().route("/{x}", handler()))),
            vec!["/s/7/*"],
        ),
        (
            "merge",
            |wrap| Router::new().route("/other", handler()).merge(wrap(Router::new().route("/{x}/y", handler()))),
            vec!["/*/y"],
        ),
        ("fallback", |wrap| wrap(Router::new().route("/a", handler()).fallback(report)), vec!["/x/*", "/x"]),
        (
            "nested fallback",
            |wrap| Router::new().nest("/n", wrap(Router::new().route("/a", handler()).fallback(report))),
            vec!["/n/x", "/n/x/*"],
        ),
        ("odd names", |wrap| wrap(Router::new().without_v07_checks().route("/:x/*y", handler())), vec!["/:x/%y"]),
    ]
}

fn paths(patterns: &[&str]) -> Vec<String> {
    let fill = |pattern: &&str| -> Vec<String> {
        if pattern.contains('*') {
            SEGMENTS.iter().map(|segment| pattern.replace('*', segment)).collect()
        } else {
            vec![pattern.replace("%y", "*y")]
        }
    };
    patterns.iter().flat_map(fill).collect()
}

/// R16, CASES 39: in a table of patterns, nests, wildcards, escapes and fallbacks, with the layer inside, and around
/// the whole router: a first render, a HIT and a regeneration say what the bare router says.
#[tokio::test]
async fn routing_is_the_same_in_every_render() {
    let mut seen = 0;
    for (name, site, patterns) in sites() {
        let bare = site(&|router| router);
        for path in paths(&patterns) {
            let expected = body(fetch(&bare, &path).await).await;
            assert!(expected.starts_with('/'), "{name} {path}: {expected}");
            let clock = ManualClock::new();
            // Handles of their own: without a pattern, the layer inside and the one around have the same keys.
            let isrs = [0; 2].map(|_| Isr::builder().clock(clock.clone()).build().unwrap());
            let [inner, outer] = isrs.each_ref().map(|isr| isr.layer(RouteConfig::revalidate(MINUTE)));
            let inside = site(&|router| router.layer(inner.clone()));
            let around = outer.layer(site(&|router| router));
            for (expected_state, wait) in [("MISS", 0), ("HIT", 0), ("STALE", 60), ("HIT", 0)] {
                clock.advance(Duration::from_secs(wait));
                let (inside, around) = (fetch(&inside, &path).await, fetch(&around, &path).await);
                assert_eq!((state(&inside), state(&around)), (expected_state, expected_state), "{name} {path}");
                assert_eq!(body(inside).await, expected, "{name} {path}, inside, {expected_state}");
                assert_eq!(body(around).await, expected, "{name} {path}, around, {expected_state}");
                for isr in &isrs {
                    settled(isr).await;
                }
            }
            assert_eq!(isrs.map(|isr| isr.stats().renders), [2, 2], "{name} {path}");
            seen += 1;
        }
    }
    assert!(seen >= 100, "{seen} paths");
}

/// R16: around one handler, and on a route, as well.
#[tokio::test]
async fn a_layer_around_one_handler_sees_the_same_routing() {
    let isr = Isr::builder().build().unwrap();
    let layer = isr.layer(RouteConfig::revalidate(MINUTE));
    let bare = Router::new().nest("/n", Router::new().route("/{x}", handler()));
    let handled = Router::new().nest("/n", Router::new().route("/{x}", get(report).layer(layer.clone())));
    let routed = Router::new().nest("/n", Router::new().route("/{x}", handler()).route_layer(layer));
    for path in ["/n/a", "/n/%C3%A9"] {
        let expected = body(fetch(&bare, path).await).await;
        for app in [&handled, &routed] {
            assert_eq!(body(fetch(app, path).await).await, expected);
        }
    }
}

async fn rewrite(mut request: Request, next: Next) -> Response {
    if request.headers().contains_key("x-rewrite") {
        *request.uri_mut() = "/elsewhere".parse().unwrap();
    }
    next.run(request).await
}

/// DESIGN 2.3: a layer between the router and us that rewrites the path from what is not keyed. The page works, is not
/// shared, and does not meet the one of the visitors who were not rewritten.
#[tokio::test]
async fn a_page_whose_path_was_rewritten_is_not_shared() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new()
        .route("/{x}", handler())
        .layer(isr.layer(RouteConfig::revalidate(MINUTE)))
        .layer(middleware::from_fn(rewrite));
    let plain = body(fetch(&app, "/a").await).await;
    for _ in 0..2 {
        let rewritten = common::send(&app, common::request_with("/a", &[("x-rewrite", "1")])).await;
        assert_eq!(state(&rewritten), "");
        assert!(body(rewritten).await.starts_with("/elsewhere /a"));
        let hit = fetch(&app, "/a").await;
        assert_eq!((state(&hit), body(hit).await), ("HIT", plain.clone()));
    }
}

/// R16: outside of a nested service, and of a nested router's fallback, axum tells a layer the parameters of the prefix
/// but not the pattern they come from: such pages are not shared, rather than made without their parameters.
#[tokio::test(start_paused = true)]
async fn parameters_without_a_pattern_are_not_lost() {
    async fn tenant(Path(all): Path<HashMap<String, String>>) -> String {
        format!("{all:?}")
    }
    let inner = Router::new().route("/posts/{slug}", get(tenant));
    let sites = [
        ("service", Router::new().nest_service("/{tenant}", inner.clone()), "/acme/posts/hello"),
        ("fallback", Router::new().nest("/t/{tenant}", Router::new().fallback(tenant)), "/t/acme/else"),
    ];
    let logs = common::Logs::capture();
    for (name, site, path) in sites {
        let isr = Isr::builder().build().unwrap();
        let app = site.clone().layer(isr.layer(RouteConfig::revalidate(MINUTE)));
        let mut expected: Vec<_> = body(fetch(&site, path).await).await.into_bytes();
        expected.sort_unstable();
        for _ in 0..3 {
            let response = tokio::time::timeout(MINUTE, fetch(&app, path)).await.expect("it waits for nobody");
            assert_eq!(state(&response), "", "{name}");
            let mut got = body(response).await.into_bytes();
            got.sort_unstable();
            assert_eq!(got, expected, "{name}");
        }
        assert_eq!((isr.stats().bypasses, isr.stats().renders, isr.stats().flights), (3, 0, 0), "{name}");
    }
    assert_eq!(logs.count(&["WARN", "outside of a nested service"]), 2, "once for each handle");
    // What the remedy says.
    let isr = Isr::builder().build().unwrap();
    let inside = Router::new().nest_service("/{tenant}", inner.layer(isr.layer(RouteConfig::revalidate(MINUTE))));
    for expected in ["MISS", "HIT"] {
        let response = fetch(&inside, "/acme/posts/hello").await;
        assert_eq!(state(&response), expected);
        assert!(body(response).await.contains("acme"));
    }
}
