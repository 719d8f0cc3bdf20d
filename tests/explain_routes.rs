//! Which route an explained request belongs to, and what of it is part of the key.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "common/explained.rs"]
mod explained;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use axum_isr::config::ResponseHeaders;
use axum_isr::stats::{Bypass, Reason};
use axum_isr::{Isr, IsrLayer, RouteConfig};
use common::{Handler, fetch, header, request_with, send, settled, state};
use explained::{COLD, MINUTE, Site, because, explain, inputs, plain};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_layer::Layer as _;

/// Routes are the router's: a layer learns of one when somebody comes.
#[tokio::test]
async fn nothing_is_known_of_a_route_before_its_first_request() {
    let site = Site::new(plain().tags(["t"]));
    let before = site.explain("/p/a?x=1");
    assert_eq!((before.known, before.reason, before.route.as_deref()), (false, None, None));
    assert_eq!(before.path, "/p/a?x=1");
    assert!(before.text.starts_with("No request for a route of this path has come") && before.text.ends_with('.'));
    assert_eq!((before.inputs.len(), before.tags.len(), before.then.len()), (0, 0, 0));
    // One that is not even looked up is enough, and then it is known of all pages of the route.
    send(&site.app, request_with("/p/b", &[("range", "bytes=0-0")])).await;
    let after = site.explain("/p/a?x=1");
    assert_eq!((after.known, because(&after), after.route.as_deref()), (true, COLD, Some("/p/{slug}")));
    assert!(!site.explain("/q/a").known && !site.explain("/p/a/b").known, "there is no such route");
}

#[tokio::test]
async fn what_is_part_of_the_key_is_told_from_what_is_not() {
    let kind = HeaderName::from_static("x-kind");
    let config = plain().query(["page", "sort"]).header(kind, ["a", "b"]).cookie("theme", ["dark"]).host();
    let site = Site::new(config.namespace("shop"));
    let headers =
        [("host", "Shop.Example"), ("x-kind", "b"), ("cookie", "theme=dark; sid=1"), ("accept-language", "de")];
    send(&site.app, request_with("/p/a?page=2&utm=x&sort", &headers)).await;
    settled(&site.isr).await;
    let explained = explain(&site.isr, "/p/a?page=2&utm=x&sort", &headers);
    assert_eq!(because(&explained), Reason::Hit, "the same key");
    let expected = [
        ("cookie", "sid", "1", false),
        ("cookie", "theme", "dark", true),
        ("header", "accept-language", "de", false),
        ("header", "x-kind", "b", true),
        ("host", "", "shop.example", true),
        ("namespace", "", "shop", true),
        ("query", "page", "2", true),
        ("query", "sort", "", true),
        ("query", "utm", "x", false),
    ];
    assert_eq!(inputs(&explained), expected);
    // What makes the page a variant is what counts.
    let entry = explained.entry.as_ref().unwrap();
    let counts: Vec<_> = explained.inputs.iter().filter(|input| input.counts).cloned().collect();
    assert_eq!(entry.inputs, counts);
    let other = explain(&site.isr, "/p/a?page=3", &headers);
    assert_eq!((because(&other), other.entry), (COLD, None), "another page");
    // A value that is not declared is none, and an undeclared host does not count.
    let other = explain(&site.isr, "/p/a", &[("host", "shop.example"), ("x-kind", "zzz"), ("cookie", "theme=red")]);
    let others = inputs(&other);
    assert!(others.contains(&("header", "x-kind", "zzz", false)), "{others:?}");
    assert!(others.contains(&("cookie", "theme", "red", false)), "{others:?}");
    let plain = Site::new(plain());
    plain.visit("/p/a").await;
    let undeclared = explain(&plain.isr, "/p/a?page=2", &[("host", "a.example")]);
    assert_eq!(because(&undeclared), Reason::Hit);
    assert_eq!(inputs(&undeclared), [("host", "", "a.example", false), ("query", "page", "2", false)]);
}

type Place = fn(&Isr) -> Router;

/// Wherever a layer stands, what is explained is what it will do: the key is the one that the answer names.
#[tokio::test]
async fn wherever_the_layer_stands_it_is_known_what_it_will_do() {
    fn page() -> Router {
        Router::new().route("/{slug}", get(Handler::counting()))
    }
    let places: [(&str, Place, &str, &str); 11] = [
        ("route", |isr| page().route_layer(isr.layer(plain())), "/", "/{slug}"),
        ("router", |isr| page().layer(isr.layer(plain())), "/", "/{slug}"),
        ("nest", |isr| Router::new().nest("/n", page().route_layer(isr.layer(plain()))), "/n/", "/n/{slug}"),
        ("around a nest", |isr| Router::new().nest("/n", page()).layer(isr.layer(plain())), "/n/", "/n/{slug}"),
        (
            "nest with a parameter",
            |isr| Router::new().nest("/u/{user}", page().route_layer(isr.layer(plain()))),
            "/u/ada/",
            "/u/{user}/{slug}",
        ),
        (
            "nest in a nest",
            |isr| {
                let inner = Router::new().nest("/{b}/c", page().route_layer(isr.layer(plain())));
                Router::new().nest("/a", inner)
            },
            "/a/b/c/",
            "/a/{b}/c/{slug}",
        ),
        (
            "nested service",
            |isr| Router::new().nest_service("/s", page().route_layer(isr.layer(plain()))),
            "/s/",
            "/s/{slug}",
        ),
        (
            "around a nested service",
            |isr| Router::new().nest_service("/s", isr.layer(plain()).layer(page())),
            "/s/",
            "/s",
        ),
        ("fallback", |isr| Router::new().fallback(get(Handler::counting())).layer(isr.layer(plain())), "/x/", ""),
        ("around all", |isr| Router::new().fallback_service(isr.layer(plain()).layer(page())), "/", ""),
        (
            "wildcard",
            |isr| Router::new().route("/w/{*rest}", get(Handler::counting())).route_layer(isr.layer(plain())),
            "/w/x/",
            "/w/{*rest}",
        ),
    ];
    for (name, place, under, route) in places {
        let isr = Isr::builder().headers(ResponseHeaders::shared().debug()).build().unwrap();
        let app = place(&isr);
        let path = |slug: &str| format!("{under}{slug}?q=1");
        let miss = fetch(&app, &path("a")).await;
        assert_eq!(state(&miss), "MISS", "{name}");
        settled(&isr).await;
        let there = explain(&isr, &path("a"), &[]);
        assert_eq!((because(&there), there.route.as_deref()), (Reason::Hit, Some(route)), "{name}");
        let key = there.key.unwrap();
        assert!(header(&miss, "cache-status").ends_with(&format!("key=\"{key}\"")), "{name}: {key}");
        // And of its neighbour, which nobody has asked for.
        let other = explain(&isr, &path("b"), &[]);
        assert_eq!((because(&other), other.route.as_deref()), (COLD, Some(route)), "{name}");
        let miss = fetch(&app, &path("b")).await;
        assert!(header(&miss, "cache-status").ends_with(&format!("key=\"{}\"", other.key.unwrap())), "{name}");
    }
}

/// Of patterns that a path matches the router takes the most special one.
#[tokio::test]
async fn of_several_patterns_the_one_that_the_router_takes_is_meant() {
    let isr = Isr::builder().build().unwrap();
    let page = |config: RouteConfig| get(Handler::counting()).layer(isr.layer(config));
    let app = Router::new()
        .route("/p/{slug}", page(plain()))
        .route("/p/new", page(RouteConfig::dynamic()))
        .route("/{*rest}", page(plain().tags(["rest"])));
    for path in ["/p/a", "/p/new", "/else/where"] {
        fetch(&app, path).await;
    }
    for (path, route, reason) in [
        ("/p/a", "/p/{slug}", Reason::Hit),
        ("/p/b", "/p/{slug}", COLD),
        ("/p/new", "/p/new", Reason::Bypass(Bypass::Dynamic)),
        ("/else/where", "/{*rest}", Reason::Hit),
        ("/p/a/b", "/{*rest}", COLD),
    ] {
        let explained = explain(&isr, path, &[]);
        assert_eq!((explained.route.as_deref(), because(&explained)), (Some(route), reason), "{path}");
    }
}

/// One pattern in several routers: the one whose page is there.
#[tokio::test]
async fn of_several_layers_with_one_pattern_the_one_that_has_the_page_is_meant() {
    let isr = Isr::builder().build().unwrap();
    let of = |namespace: &str| {
        let layer = isr.layer(plain().namespace(namespace).tags([namespace]));
        Router::new().route("/", get(Handler::counting())).route_layer(layer)
    };
    let (public, admin) = (of("public"), of("admin"));
    send(&public, request_with("/", &[("range", "bytes=0-0")])).await;
    fetch(&admin, "/").await;
    let explained = explain(&isr, "/", &[]);
    assert_eq!(because(&explained), Reason::Hit);
    assert_eq!(inputs(&explained), [("namespace", "", "admin", true)]);
    assert_eq!(explained.tags.len(), 1);
    assert_eq!(explained.tags[0].tag, "admin");

    let isr = Isr::builder().build().unwrap();
    let of = |hosted: RouteConfig| Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(hosted));
    let (one, other) = (of(plain().host()), of(plain().host().expire(2 * MINUTE)));
    send(&one, request_with("/", &[("host", "one.example")])).await;
    send(&other, request_with("/", &[("host", "other.example")])).await;
    for (host, expire) in [("one.example", 60), ("other.example", 2)] {
        let explained = explain(&isr, "/", &[("host", host)]);
        assert_eq!(because(&explained), Reason::Hit, "{host}");
        assert_eq!(inputs(&explained), [("host", "", host, true)]);
        assert_eq!(explained.entry.unwrap().kept_for, Some(expire * MINUTE), "{host}");
    }
}

/// What a middleware puts into requests is known as it was put into the last one.
#[tokio::test]
async fn the_configuration_of_the_last_request_counts() {
    let isr = Isr::builder().build().unwrap();
    let choose = async |mut request: Request, next: Next| {
        match request.headers().get("x-choose").map(HeaderValue::as_bytes) {
            Some(b"cached") => drop(request.extensions_mut().insert(plain())),
            Some(b"dynamic") => drop(request.extensions_mut().insert(RouteConfig::dynamic())),
            _ => {}
        }
        next.run(request).await
    };
    let app = Router::new()
        .route("/", get(Handler::counting()))
        .route_layer(IsrLayer::new(isr.clone()))
        .layer(from_fn(choose));
    for (chosen, reason, mode) in [
        ("nothing", Reason::Bypass(Bypass::NoConfig), None),
        ("cached", Reason::Hit, Some("auto")),
        ("dynamic", Reason::Bypass(Bypass::Dynamic), Some("force-dynamic")),
    ] {
        send(&app, request_with("/", &[("x-choose", chosen)])).await;
        let explained = explain(&isr, "/", &[]);
        assert_eq!((because(&explained), explained.mode), (reason, mode), "{chosen}");
    }
}

#[tokio::test]
async fn what_is_no_path_is_an_error() {
    let site = Site::new(plain());
    site.visit("/p/a").await;
    for path in ["", "p/a", "*", "?x=1", "http://a.example/p/a", "/p/a b", "/p/\n", "/\u{1f980}\u{7f}"] {
        let problem = site.isr.explain(path, &HeaderMap::new()).unwrap_err().to_string();
        assert!(problem.starts_with("path: expected a path with or without a query that begins with /"), "{problem}");
    }
    let too_long = "x".repeat(257);
    for tag in ["", too_long.as_str()] {
        site.isr.explain_tag(tag).unwrap_err();
    }
}

/// A layer without a configuration says nothing about what one further in does.
#[tokio::test]
async fn of_layers_around_each_other_the_one_with_a_configuration_is_meant() {
    let isr = Isr::builder().build().unwrap();
    let inner = Router::new().route("/{slug}", get(Handler::counting())).route_layer(isr.layer(plain()));
    let app = inner.layer(IsrLayer::new(isr.clone()));
    assert_eq!(state(&fetch(&app, "/a").await), "MISS");
    settled(&isr).await;
    for (path, reason) in [("/a", Reason::Hit), ("/b", COLD)] {
        assert_eq!(because(&explain(&isr, path, &[])), reason, "{path}");
    }
}
