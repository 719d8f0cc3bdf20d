//! What is in a key: whatever two requests say, one does not get the other's page unless all that the handler may see is
//! equal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use common::oracle::{LIFE, Seen, Site, mirror};
use common::{Handler, body, fetch, request, request_with, send, settled, state};
use http::HeaderName;
use proptest::prelude::*;

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

const VALUES: [&str; 6] = ["a", "aa", "ab", "b", "x-two", "a;two=b"];

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    namespace: &'static str,
    path: String,
    query: String,
    host: String,
    headers: Vec<(&'static str, &'static str)>,
    cookies: Vec<(&'static str, &'static str)>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let value = || prop::sample::select(&VALUES[..5]);
    let name = || prop::sample::select(&["x-one", "x-two", "x-none"][..]);
    let cookie = || prop::sample::select(&["one", "two", "none"][..]);
    (
        prop::sample::select(&["", "n", "na", "x-one"][..]),
        "/[ab]{1,2}(/[ab:;%&=]{0,2})?",
        "((n|na|m|%6e)=?[ab&=;+]{0,3}&?){0,3}",
        "[ab]{1,2}(:80|:8|\\.a)?",
        prop::collection::vec((name(), value()), 0..3),
        prop::collection::vec((cookie(), value()), 0..3),
    )
        .prop_map(|(namespace, path, query, host, headers, cookies)| {
            let path = path.replace('%', "%61");
            Asked { namespace, path, query, host, headers, cookies }
        })
}

impl Asked {
    fn request(&self) -> Request {
        let target = format!("{}?{}", self.path, self.query);
        let mut headers = vec![("host", self.host.as_str())];
        headers.extend(&self.headers);
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        headers.extend(cookies.iter().map(|cookie| ("cookie", cookie.as_str())));
        request_with(&target, &headers)
    }

    async fn page(&self, isr: &Isr, handler: &Handler) -> (&'static str, String) {
        let mut config = plain().query(["n", "na"]).host();
        for (header, cookie) in [("x-one", "one"), ("x-two", "two")] {
            config = config.header(HeaderName::from_static(header), VALUES).cookie(cookie, VALUES[..5].to_vec());
        }
        if !self.namespace.is_empty() {
            config = config.namespace(self.namespace);
        }
        let layer = isr.try_layer(config).unwrap();
        let app = Router::new().route("/{*path}", get(handler.clone())).route_layer(layer);
        let response = send(&app, self.request()).await;
        (state(&response), body(response).await)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// CASES 35: parts of a key cannot run into each other. The page of the second request is what it would be if the
    /// first had never been made; where it is the first one's, all that the handler sees is equal.
    #[test]
    fn no_input_reaches_the_page_of_another(first in asked(), second in asked()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (isr, handler) = (Isr::builder().build().unwrap(), mirror());
            let (_, one) = first.page(&isr, &handler).await;
            let (state, two) = second.page(&isr, &handler).await;
            let (_, alone) = second.page(&Isr::builder().build().unwrap(), &mirror()).await;
            prop_assert_eq!(&two, &alone);
            prop_assert_eq!(state == "HIT", one == two && first.namespace == second.namespace);
            Ok(())
        })?;
    }
}

/// CASES 13, 23: one router for several hosts, with the layer on a route, around the router, and around a nest. Undeclared,
/// the handler sees no host, or the configured one; declared, each host has its page; a target with an authority means
/// that host.
#[tokio::test]
async fn hosts_are_not_mixed() {
    type Place = fn(&Isr, Handler, RouteConfig) -> Router;
    let shows = || {
        Handler::new(|_, request: Request| async move {
            let host = request.headers().get("host").map_or("none", |v| v.to_str().unwrap()).to_owned();
            format!("host {host}, authority {:?}", request.uri().authority())
        })
    };
    let places: [(&str, Place); 3] = [
        ("route", |isr, handler, config| Router::new().route("/n/page", get(handler)).route_layer(isr.layer(config))),
        ("router", |isr, handler, config| {
            let inner = Router::new().route("/n/page", get(handler));
            Router::new().fallback_service(tower::Layer::layer(&isr.layer(config), inner))
        }),
        ("nest", |isr, handler, config| {
            Router::new().nest("/n", Router::new().route("/page", get(handler)).layer(isr.layer(config)))
        }),
    ];
    let of = |host: &str| request_with("/n/page", &[("host", host)]);
    for (place, app) in places {
        let site = Site::new(shows(), |isr, handler| app(isr, handler, plain()));
        for request in [of("a.example"), of("127.0.0.1:1"), request("http://c.example/n/page"), of("b.example")] {
            assert_eq!(body(send(&site.app, request).await).await, "host none, authority None", "{place}");
        }
        assert_eq!(site.handler.calls(), 1, "{place}");

        let origin = "https://site.example".parse().unwrap();
        let isr = Isr::builder().public_origin(origin).build().unwrap();
        let app_of_origin = app(&isr, shows(), plain());
        for host in ["a.example", "b.example"] {
            assert_eq!(
                body(send(&app_of_origin, of(host)).await).await,
                "host site.example, authority None",
                "{place}"
            );
        }

        let site = Site::new(shows(), |isr, handler| app(isr, handler, plain().host()));
        for (request, host, state) in [
            (of("a.example"), "a.example", "MISS"),
            (of("b.example"), "b.example", "MISS"),
            (of("A.Example:80"), "a.example", "HIT"),
            (request_with("/n/page", &[("x-forwarded-host", "c.example"), ("host", "a.example")]), "a.example", "HIT"),
            (request_with("http://b.example/n/page", &[("host", "a.example")]), "b.example", "HIT"),
            (of("a.example.evil"), "a.example.evil", "MISS"),
            (request("/n/page"), "none", "MISS"),
        ] {
            let seen = Seen::of(send(&site.app, request).await).await;
            assert_eq!((seen.state, seen.body), (state, format!("host {host}, authority None")), "{place}");
        }
        let mut two = of("a.example");
        two.headers_mut().append("host", "b.example".parse().unwrap());
        for odd in [two, of("a.example/b"), of("a@b"), of("")] {
            let stored = site.isr.stats().stored;
            send(&site.app, odd).await;
            settled(&site.isr).await;
            assert!(site.isr.stats().stored <= stored + 1, "{place}");
        }
        let seen = Seen::of(send(&site.app, of("a.example")).await).await;
        assert_eq!((seen.state, &*seen.body), ("HIT", "host a.example, authority None"), "{place}");
    }
}

/// R32, CASES 38, 128: the text under which a page would be stored begins with the version of the format and the deployment, and
/// differs with the deployment, so that what an older version left is not found.
#[tokio::test]
async fn a_stored_key_names_its_format_and_deployment() {
    let mut keys = BTreeSet::new();
    for id in ["", "d-1", "d-2"] {
        let isr = Isr::builder().deployment_id(id).build().unwrap();
        let app = Router::new().route("/page", get(|| async { "the page" })).route_layer(isr.layer(plain()));
        fetch(&app, "/page").await;
        let key = isr.explain("/page", &http::HeaderMap::new()).unwrap().key.unwrap();
        let digest = key.strip_prefix(&format!("v1:{id}:/page:")).unwrap_or_else(|| panic!("{key}")).to_owned();
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
        keys.insert(digest);
    }
    assert_eq!(keys.len(), 3);
}

/// DESIGN 2.7: below a nest a path may be as long as anywhere: what a nest leaves of it does not count again.
#[tokio::test]
async fn a_nested_path_counts_once() {
    let isr = Isr::builder().build().unwrap();
    let inner = Router::new().route("/{slug}", get(Handler::counting())).route_layer(isr.layer(plain()));
    let app = Router::new().nest("/n", inner);
    for (length, expected) in [(1_000, "MISS"), (1_030, "")] {
        assert_eq!(state(&fetch(&app, &format!("/n/{}", "x".repeat(length))).await), expected, "{length}");
    }
}
