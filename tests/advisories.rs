//! What frameworks and caches had advisories for, asked of requests: what a visitor sends opts nothing in, forces nothing,
//! and does not choose what others get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use axum_isr::{Dynamic, Isr, IsrLayer, Render, RouteConfig};
use common::oracle::{Attack, HEADERS, LIFE, MARK, Site, User, mirror};
use common::{Handler, body, fetch, request, request_with, send, settled, state};
use http::{HeaderName, header};

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

fn victim() -> Request {
    request("/page")
}

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

/// R9, CASES 1, 17: a route that did not opt in is not cached, whatever comes: it stands beside the layer, has no
/// configuration, or one that says no. Its handler cannot opt in by itself either.
#[tokio::test]
async fn nothing_in_a_request_opts_a_route_in() {
    let eager = || {
        Handler::new(|n, request: Request| async move {
            let (mut parts, _) = request.into_parts();
            let render = Render::from_request_parts(&mut parts, &()).await.unwrap();
            render.revalidate(LIFE);
            render.tag("mine");
            format!("call {n}")
        })
    };
    let beside = |isr: &Isr, handler: Handler| {
        let cached = Router::new().route("/", get(|| async { "home" })).route_layer(isr.layer(plain()));
        cached.route("/page", get(handler))
    };
    let with = |layer: fn(&Isr) -> IsrLayer| {
        move |isr: &Isr, handler: Handler| Router::new().route("/page", get(handler)).layer(layer(isr))
    };
    let sites = [
        Site::new(eager(), beside),
        Site::new(eager(), with(|isr| IsrLayer::new(isr.clone()))),
        Site::new(eager(), with(|isr| isr.layer(RouteConfig::dynamic()))),
        Site::new(eager(), with(|isr| isr.layer(RouteConfig::revalidate(std::time::Duration::ZERO)))),
        Site::new(eager(), with(|isr| isr.layer(plain().mode(Dynamic::ForceDynamic)))),
    ];
    let queries = ["?__nextDataReq=1", "?isr=1", "?revalidate=60", "?_rsc=1", "?x-isr=1", "?__pathname=/", ""];
    for (n, site) in sites.iter().enumerate() {
        let mut sent = 0;
        for header in HEADERS {
            let query = queries[sent % queries.len()];
            for value in ["1", "HIT", "prefetch", "s-maxage=60"] {
                let target = format!("/page{query}");
                let response = send(&site.app, request_with(&target, &[(header, value)])).await;
                sent += 1;
                let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
                assert_eq!(names, ["content-type", "content-length"], "site {n}, {header}: {value}");
                assert_eq!(body(response).await, format!("call {sent}"), "site {n}, {header}: {value}");
            }
        }
        let stats = site.isr.stats();
        assert_eq!((stats.stored, stats.renders, stats.memory_items), (0, 0, 0), "site {n}");
    }
}

/// CASES 3: a handler that answers with a fragment where a header asks for it. Undeclared, nobody gets the fragment;
/// declared, both have entries of their own; said in `Vary` but not declared, each visitor's own request is answered.
#[tokio::test]
async fn a_second_representation_does_not_replace_the_page() {
    const SWITCHES: [(&str, &str); 5] = [
        ("hx-request", "true"),
        ("rsc", "1"),
        ("x-requested-with", "XMLHttpRequest"),
        ("accept", "text/x-component"),
        ("x-nextjs-data", "1"),
    ];
    let handler = |vary: bool| {
        Handler::new(move |_, request: Request| async move {
            let asked = SWITCHES.iter().any(|(name, value)| request.headers().get(*name).is_some_and(|v| v == value));
            let mut response = if asked { format!("fragment {MARK}") } else { "full page".into() }.into_response();
            if vary {
                response
                    .headers_mut()
                    .insert(header::VARY, "HX-Request, RSC, X-Requested-With, Accept, X-NextJS-Data".parse().unwrap());
            }
            response
        })
    };
    for (switch, value) in SWITCHES {
        let requests = || vec![request_with("/page", &[(switch, value)])];
        let blind = || Site::page(handler(false), plain());
        let attack = Attack { site: &blind, requests: &requests, victim: &victim, extra: 0 };
        let after = attack.fails(switch).await;
        assert_eq!((&*after.attacker[0].body, after.victims[0].state), ("full page", "HIT"), "{switch}");

        let varying = || Site::page(handler(true), plain());
        let attack = Attack { site: &varying, requests: &requests, victim: &victim, extra: 0 };
        let after = attack.fails(switch).await;
        assert_eq!((after.attacker[0].holds(MARK), after.victims[0].state), (true, ""), "{switch}");

        let declared = || Site::page(handler(false), plain().header(name(switch), [value]));
        let attack = Attack { site: &declared, requests: &requests, victim: &victim, extra: 2 };
        let after = attack.fails(switch).await;
        assert_eq!((after.attacker[0].state, after.attacker[0].holds(MARK)), ("MISS", true), "{switch}");
        assert_eq!(after.victims[0].header("vary"), switch);
    }
}

/// CASES 5, 18: cookies, credentials and 200 other headers, shown by a page that streams more than is read before its head
/// goes out.
#[tokio::test]
async fn a_page_that_shows_its_visitor_is_anonymous() {
    let handler = || {
        Handler::new(|_, request: Request| async move {
            let shown = format!("{:?}", request.headers());
            let pieces = ["x".repeat(48 << 10), "y".repeat(48 << 10), shown];
            let pieces = pieces.map(Ok::<_, std::convert::Infallible>);
            axum::body::Body::from_stream(futures_util::stream::iter(pieces))
        })
    };
    let site = || Site::page(handler(), plain());
    let requests = || {
        let cookie = format!("sid={MARK}; theme=dark");
        let bearer = format!("Bearer {MARK}");
        let every: Vec<_> = HEADERS.iter().map(|name| (*name, MARK)).collect();
        vec![
            request_with("/page", &[("cookie", &cookie)]),
            request_with("/page", &[("authorization", &bearer), ("cookie", &cookie)]),
            request_with("/page", &every),
        ]
    };
    let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails("stream").await;
    assert!(after.attacker.iter().all(|seen| !seen.holds(MARK)), "the attacker gets the anonymous page too");
    assert!(after.victims[0].body.ends_with("y{}"), "the handler saw headers");
}

/// CASES 10: pages with long keys and many headers count with all they take; distinct ones do not grow beyond the bound.
#[tokio::test]
async fn a_flood_of_distinct_pages_stays_within_its_bytes() {
    const BOUND: u64 = 16 << 20;
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let handler = Handler::new(|_, _| async { ([("x-long", "h".repeat(2_000))], "b".repeat(8_000)) });
    let layer = isr.layer(plain().query(["q"]));
    let app = Router::new().route("/{*path}", get(handler.clone())).route_layer(layer);
    let mut least = 0;
    for n in 0..4_000 {
        fetch(&app, &format!("/{n}/{}?q={}", "p".repeat(400), "q".repeat(400))).await;
        settled(&isr).await;
        let stats = isr.stats();
        assert!(stats.memory_bytes <= BOUND, "{stats:?}");
        if n == 999 {
            least = stats.memory_bytes;
        }
    }
    assert!(least >= 1_000 * (8_000 + 2_000 + 1_200), "a thousand pages weigh {least}");
    assert_eq!((handler.calls(), isr.stats().captured_bytes), (4_000, 0));
}

/// All texts in the crate's sources that could be the name of a header.
fn names_in_sources() -> BTreeSet<String> {
    fn read(folder: &Path, names: &mut BTreeSet<String>) {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                read(&path, names);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let literals = text.split('"').skip(1).step_by(2).chain(text.split('"').step_by(2));
                let constants = text
                    .split("header::")
                    .skip(1)
                    .map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap_or_default());
                let literals =
                    literals.filter(|l| l.bytes().all(|b| b.is_ascii_lowercase() || b"-0123456789".contains(&b)));
                names.extend(literals.map(str::to_owned));
                names.extend(constants.map(|constant| constant.to_ascii_lowercase().replace('_', "-")));
            }
        }
    }
    let mut names = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    names.retain(|name| (2..40).contains(&name.len()) && HeaderName::try_from(name).is_ok());
    names
}

/// CASES 11, 12: no header steers the cache. Every word of the sources that could be a header's name is sent from outside,
/// with values that could mean something; the answer, the page of others and the renders stay what they are. The seven
/// that ask for something else than the page have tests of their own.
#[tokio::test]
async fn no_word_of_the_sources_is_a_header_that_steers() {
    const ASK_FOR_MORE: [&str; 7] =
        ["range", "upgrade", "if-match", "if-unmodified-since", "content-length", "transfer-encoding", "if-none-match"];
    let names = names_in_sources();
    for known in ["x-vinext-cache", "cache-control", "set-cookie", "cdn-cache-control", "dynamic", "x-request-id"] {
        assert!(names.contains(known), "{known} was not found in the sources");
    }
    assert!(names.len() > 100, "{names:?}");
    for name in names.iter().filter(|name| !ASK_FOR_MORE.contains(&name.as_str())) {
        let requests = || {
            let values = ["1", "HIT", "MISS", "skip", "no-store", "render", MARK];
            values.iter().map(|value| request_with("/page", &[(name, value)])).collect()
        };
        let site = || Site::page(mirror(), plain());
        let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails(name).await;
        let hit = &after.victims[0];
        assert_eq!(after.attacker[0].state, "MISS", "{name}");
        assert!(after.attacker[1..7].iter().all(|seen| seen == hit), "{name}: {:#?}", after.attacker);
        assert_eq!(after.site.isr.stats().stored, 2, "{name}");
    }
}

async fn log_in(mut request: Request, next: Next) -> Response {
    if let Some(user) = request.headers().get("x-user").cloned() {
        request.extensions_mut().insert(User(user.to_str().unwrap().to_owned()));
    }
    request.extensions_mut().insert(String::from("pool"));
    next.run(request).await
}

/// CASES 14: who somebody is, as a layer outside found out, is not visible in a render; a handler that cannot do without
/// answers each visitor by himself. Only what the application names is carried over.
#[tokio::test]
async fn an_identity_from_a_layer_outside_is_in_no_page() {
    fn show(request: &Request, needs_user: bool) -> Response {
        let extensions = request.extensions();
        match (extensions.get::<User>(), extensions.get::<String>()) {
            (None, _) if needs_user => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (user, pool) => format!("user {user:?}, pool {pool:?}").into_response(),
        }
    }
    for needs_user in [false, true] {
        for share in [false, true] {
            let site = || {
                let handler = Handler::new(move |_, request| std::future::ready(show(&request, needs_user)));
                Site::new(handler, |isr, handler| {
                    let layer = isr.layer(plain());
                    let layer = if share { layer.share::<String>() } else { layer };
                    Router::new().route("/page", get(handler)).layer(layer).layer(from_fn(log_in))
                })
            };
            let evil = || vec![request_with("/page", &[("x-user", MARK)])];
            let bob = || request_with("/page", &[("x-user", "bob")]);
            let after = Attack { site: &site, requests: &evil, victim: &bob, extra: 0 }.fails("user").await;
            let (seen, stored) = (&after.victims[0], after.site.isr.stats().stored);
            let name = format!("needs user {needs_user}, shares {share}");
            assert_eq!(after.attacker[0].holds(MARK), needs_user, "{name}");
            assert_eq!(
                (seen.holds("bob"), seen.holds("pool Some"), stored > 0),
                (needs_user, share || needs_user, !needs_user),
                "{name}"
            );
        }
    }
    // The extractor that applications use for it.
    let site = Site::new(Handler::counting(), |isr, _| {
        let whoami = |Extension(user): Extension<User>| async move { user.0 };
        Router::new().route("/me", get(whoami)).layer(isr.layer(plain())).layer(from_fn(log_in))
    });
    for user in ["a", "b", "a"] {
        let response = send(&site.app, request_with("/me", &[("x-user", user)])).await;
        assert_eq!((state(&response), body(response).await.as_str()), ("", user));
        settled(&site.isr).await;
    }
    assert_eq!(site.isr.stats().stored, 0);
}

/// CASES 16: which route is cached is what axum's own routing says: there is no second matcher that sees it otherwise.
#[tokio::test]
async fn a_route_in_other_letters_is_another_route() {
    let site = Site::new(Handler::counting(), |isr, handler| {
        let shared = Router::new().route("/Private", get(handler)).route_layer(isr.layer(plain()));
        shared.route("/private", get(|headers: http::HeaderMap| async move { format!("{:?}", headers.get("cookie")) }))
    });
    let evil = || request_with("/private", &[("cookie", MARK)]);
    assert_eq!(state(&send(&site.app, evil()).await), "");
    assert_eq!(body(fetch(&site.app, "/private").await).await, "None");
    for (path, states) in [
        ("/Private", ["MISS", "HIT"]),
        ("/private", ["", ""]),
        ("/PRIVATE", ["", ""]),
        ("/%50rivate", ["", ""]),
        ("/Private/", ["", ""]),
    ] {
        let answers = [fetch(&site.app, path).await, fetch(&site.app, path).await];
        assert_eq!(answers.each_ref().map(state), states, "{path}");
    }
    assert_eq!((site.isr.stats().stored, site.handler.calls()), (1, 1));
}

/// CASES 17: no parameter is ours. Undeclared ones are not seen; beside a declared one they change nothing either.
#[tokio::test]
async fn no_parameter_steers() {
    for parameter in [
        "__pathname=/admin",
        "path=/admin",
        "isr=1",
        "isr=0",
        "revalidate=0",
        "_method=POST",
        "__nextDataReq=1",
        "_rsc=1",
        "x-vinext-cache=HIT",
        "no-cache",
        "nocache=1",
        "cb=1",
        "purge=1",
        "preview=1",
        "__proto__=1",
        "host=evil",
        "utm=%3Cscript%3E",
        "n",
        "n[]=2",
        "N=2",
        "%6E%5B%5D=2",
        ";n=2",
        "a;n=2",
        "&&&",
        "=n",
        "%",
    ] {
        let page = || Site::page(mirror(), plain());
        let requests =
            || vec![request(&format!("/page?{parameter}&x={MARK}")), request(&format!("/page?x={MARK}&{parameter}"))];
        let after = Attack { site: &page, requests: &requests, victim: &victim, extra: 0 }.fails(parameter).await;
        assert_eq!(after.victims[0].state, "HIT", "{parameter}");

        let declared = || Site::page(mirror(), plain().query(["n", "sort"]));
        let victim = || request("/page?n=1");
        let requests = || vec![request(&format!("/page?x={MARK}&n=1&{}", parameter.replacen('n', "m", 1)))];
        let after = Attack { site: &declared, requests: &requests, victim: &victim, extra: 0 }.fails(parameter).await;
        assert_eq!(after.victims[0].state, "HIT", "{parameter}");
    }
}
