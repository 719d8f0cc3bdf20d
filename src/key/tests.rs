//! What the builder writes is what `Parts` reads and what a store would be asked for.

use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use http::HeaderName;
use proptest::prelude::*;
use std::time::Duration;

use super::{CacheKey, KeyBuffer, Parts, build};
use crate::policy::request::Bypass;
use crate::policy::route::RouteConfig;

fn route() -> RouteConfig {
    RouteConfig::revalidate(Duration::from_secs(1))
        .query(["a", "b"])
        .header(HeaderName::from_static("x-b"), ["1", "2"])
        .header(HeaderName::from_static("x-a"), ["1", "2"])
        .cookie("c", ["1", "2"])
        .host()
}

fn key(request: &Request, route: &RouteConfig) -> Result<CacheKey, Bypass> {
    build(&mut KeyBuffer::new(), request, route).map(CacheKey::new)
}

fn get(target: &str, headers: &[(&str, &str)]) -> Request {
    let request = Request::builder().uri(target);
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .body(Body::empty())
        .expect("valid")
}

fn plain(target: &str) -> CacheKey {
    key(&get(target, &[]), &RouteConfig::forever()).expect("a key")
}

/// R20: every field comes back as it went in, in canonical form; what the route did not declare is not in it.
#[test]
fn a_key_is_read_back() {
    let request = get(
        "/a%2Fb?b=2&x=9&a=1+1",
        &[("x-a", "2"), ("x-b", "9"), ("cookie", "d=1; c=2"), ("host", "Example.COM:443"), ("accept", "*/*")],
    );
    let key = key(&request, &route().namespace("shop")).expect("a key");
    let expected = Parts {
        namespace: "shop",
        pattern: "",
        nest: "",
        path: "/a%2Fb",
        inner: "/a%2Fb",
        query: "a=1%201&b=2",
        host: "example.com",
        headers: vec![("x-a", "2")],
        cookies: vec![("c", "2")],
    };
    assert_eq!(Parts::read(key.as_bytes()), Some(expected));
}

/// CASES 39, 43: the path is that of the original URI, an authority counts as the host, and a path that was changed on
/// the way makes a key of its own.
#[test]
fn the_path_is_the_one_that_was_asked_for() {
    let route = RouteConfig::forever();
    let mut nested = get("/x", &[]);
    nested.extensions_mut().insert(OriginalUri("/a/x".parse().expect("valid")));
    let inner = key(&nested, &route).expect("a key");
    assert_eq!((inner.parts().path, inner.parts().inner), ("/a/x", "/x"));
    assert_ne!(inner, plain("/a/x"));
    assert_ne!(inner, plain("/x"));
    assert_eq!(plain("http://other.example/p"), plain("/p"));
    assert_eq!(plain("/p?q=1"), plain("/p"));
    assert_eq!(plain("/p#x"), plain("/p"));

    let host = RouteConfig::forever().host();
    let absolute = key(&get("http://A.example:80/p", &[("host", "b.example")]), &host).expect("a key");
    assert_eq!(absolute, key(&get("/p", &[("host", "a.example")]), &host).expect("a key"));
    assert_eq!(key(&get("*", &[]), &route), Err(Bypass::Path));
}

/// CASES 40, 42, 44, 46, 47: the bytes of the path decide; nothing is folded, decoded or cut.
#[test]
fn paths_that_differ_are_different_pages() {
    let paths = [
        "/p",
        "/p/",
        "/P",
        "//p",
        "/p//",
        "/./p",
        "/a/../p",
        "/a/%2e%2e/p",
        "/p;v=1",
        "/p.css",
        "/p%0A.css",
        "/p%23.css",
        "/p%3f.css",
        "/p%3F.css",
        "/%70",
        "/p%20",
        "/p+",
        "/%c3%a9",
        "/%C3%A9",
        "/e%CC%81",
        "/%2561",
        "/%61",
        "/p%00",
        "/%EF%BC%90",
        "/%F0%9F%98%80",
        "/%ED%A0%80",
        "/%E2%80%AE",
        "//evil.example/p",
        "/p&a=1",
        "/p=1",
        "/p:80",
    ];
    for (i, one) in paths.iter().enumerate() {
        for other in &paths[i + 1..] {
            assert_ne!(plain(one), plain(other), "{one} {other}");
        }
    }
}

/// CASES 52: the limit of a key is exact, and a longer one is refused, not cut.
#[test]
fn a_key_has_a_limit() {
    let route = RouteConfig::forever();
    assert!(key(&get(&format!("/{}", "x".repeat(1_023)), &[]), &route).is_ok());
    for length in [1_024, 60_000] {
        assert_eq!(key(&get(&format!("/{}", "x".repeat(length)), &[]), &route), Err(Bypass::KeyTooLong));
    }
}

/// R19, CASES 6, 38: the text names format and scope, stays readable, and hashes a path that makes it too long,
/// measured on the whole of it.
#[test]
fn the_stored_form_is_readable() {
    let digest = |text: &str| text.rsplit(':').next().map_or(0, str::len);
    let short = plain("/posts/a:b").storage_key("v7");
    assert!(short.starts_with("v1:v7:/posts/a%3Ab:"), "{short}");
    assert_eq!(digest(&short), 64);

    let request = get("/p?a={}&b=%", &[("x-a", "2"), ("cookie", "c=1"), ("host", "h")]);
    let full = key(&request, &route().namespace("my shop")).expect("a key").storage_key("");
    assert!(full.starts_with("v1::my%20shop!/p?a=%257B%257D&b=%2525@h;x-a=2;cookie.c=1:"), "{full}");

    // 6 bytes of "v1:v7:" and 194 of path are 200.
    let fits = format!("/{}", "x".repeat(193));
    assert!(plain(&fits).storage_key("v7").starts_with(&format!("v1:v7:{fits}:")));
    let hashed = plain(&format!("{fits}x")).storage_key("v7");
    assert_eq!(hashed.len(), "v1:v7:".len() + 64 + 1 + 64, "{hashed}");
    assert!(plain(&fits).storage_key("v77").len() < 200, "a longer scope leaves less for the path");

    let query = key(&get(&format!("/p?a={}", "y".repeat(300)), &[]), &route()).expect("a key").storage_key("");
    assert!(query.len() <= 200 + 65 && query.contains('#'), "{query}");
    assert_ne!(plain("/p").storage_key("a"), plain("/p").storage_key("b"));
}

fn request() -> impl Strategy<Value = Request> {
    let pair = (prop::sample::select(&["a", "b", "c"][..]), "[ab1%&= ]{0,3}");
    let header = (
        prop::sample::select(&["x-a", "x-b", "x-c", "cookie", "host"][..]),
        prop::sample::select(&["1", "2", "3", "c=1", "c=2; d=1", "a.example", "b.example:80"][..]),
    );
    ("/[ab/]{0,3}", prop::collection::vec(pair, 0..4), prop::collection::vec(header, 0..4)).prop_map(
        |(path, query, headers)| {
            let query: Vec<_> = query.iter().map(|(n, v)| format!("{n}={}", v.replace(' ', "+"))).collect();
            get(&format!("{path}?{}", query.join("&")), &headers)
        },
    )
}

proptest! {
    /// R20: two requests have the same key exactly when everything that a handler would see of them is the same, and the
    /// same key has one stored form.
    #[test]
    fn a_key_is_injective(one in request(), other in request()) {
        let (Ok(one), Ok(other)) = (key(&one, &route()), key(&other, &route())) else {
            return Ok(());
        };
        let read = Parts::read(one.as_bytes());
        prop_assert!(read.is_some());
        prop_assert_eq!(read == Parts::read(other.as_bytes()), one == other);
        prop_assert_eq!(one.storage_key("s") == other.storage_key("s"), one == other);
    }

    /// The reader takes any bytes.
    #[test]
    fn any_bytes_are_a_key_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Parts::read(&bytes);
    }
}
