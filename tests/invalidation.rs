//! Marks: what they hit, what they leave alone, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{InvalidateError, Invalidated, Isr, Render, RouteConfig, Verb};
use common::{Handler, Logs, body, fetch, head, header, request_with, seen, send, settled, state};
use http::{HeaderName, StatusCode};

const MINUTE: Duration = Duration::from_secs(60);

fn plain() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// A page with a tag; `render N` counts the renders of all pages of the handler.
fn tagged(tag: &'static str, handler: Handler) -> axum::routing::MethodRouter {
    get(move |render: Render, request: axum::extract::Request| {
        render.tag(tag);
        axum::handler::Handler::call(handler.clone(), request, ())
    })
}

type Done = Pin<Box<dyn Future<Output = Result<Invalidated, InvalidateError>> + Send>>;
type Act = (&'static str, fn(Isr) -> Done);

const EXPIRE: [Act; 6] = [
    ("tag", |isr| Box::pin(async move { isr.expire_tag("t:a").await })),
    ("tags", |isr| Box::pin(async move { isr.expire_tags(["none", "t:a"]).await })),
    ("path", |isr| Box::pin(async move { isr.expire_path("/p/a").await })),
    ("prefix", |isr| Box::pin(async move { isr.expire_prefix("/p").await })),
    ("route", |isr| Box::pin(async move { isr.expire_route("/p/{slug}").await })),
    ("all", |isr| Box::pin(async move { isr.expire_all().await })),
];

const REVALIDATE: [Act; 6] = [
    ("tag", |isr| Box::pin(async move { isr.revalidate_tag("t:a").await })),
    ("tags", |isr| Box::pin(async move { isr.revalidate_tags(["none", "t:a"]).await })),
    ("path", |isr| Box::pin(async move { isr.revalidate_path("/p/a").await })),
    ("prefix", |isr| Box::pin(async move { isr.revalidate_prefix("/p").await })),
    ("route", |isr| Box::pin(async move { isr.revalidate_route("/p/{slug}").await })),
    ("all", |isr| Box::pin(async move { isr.revalidate_all().await })),
];

/// R25, R26: each verb on each kind of thing. An expired page is a MISS, a revalidated one is served stale while it is
/// rendered again; what is not named stays a HIT; a mark costs one render.
#[tokio::test]
async fn each_verb_on_each_kind() {
    for (verb, acts) in [(Verb::Expire, EXPIRE), (Verb::Revalidate, REVALIDATE)] {
        for (name, act) in acts {
            let isr = Isr::builder().build().unwrap();
            let (handler, other) = (Handler::counting(), Handler::counting());
            let app = Router::new()
                .route("/p/{slug}", tagged("t:a", handler.clone()))
                .route("/q/{slug}", tagged("t:b", other.clone()))
                .route_layer(isr.layer(plain()));
            for path in ["/p/a", "/q/a"] {
                assert_eq!(seen(&app, path).await, ("MISS", "render 1".into()), "{name}");
                assert_eq!(seen(&app, path).await.0, "HIT", "{name}");
            }
            let report = act(isr.clone()).await.unwrap();
            assert_eq!((report.verb, report.marks), (verb, if name == "tags" { 2 } else { 1 }));
            assert!(report.stamp > 0);
            report.everywhere().await;
            if verb == Verb::Expire {
                assert_eq!(seen(&app, "/p/a").await, ("MISS", "render 2".into()), "{name}");
            } else {
                assert_eq!(seen(&app, "/p/a").await, ("STALE", "render 1".into()), "{name}");
                settled(&isr).await;
            }
            for _ in 0..2 {
                assert_eq!(seen(&app, "/p/a").await, ("HIT", "render 2".into()), "{name}");
            }
            let expected = if name == "all" { if verb == Verb::Expire { "MISS" } else { "STALE" } } else { "HIT" };
            assert_eq!(seen(&app, "/q/a").await.0, expected, "{name}");
            settled(&isr).await;
            assert_eq!((handler.calls(), other.calls()), (2, 1 + usize::from(name == "all")), "{name}");
        }
    }
}

/// R25: tags of the route and of the handler count alike, said early or late; a tag that no page has hits nothing.
#[tokio::test]
async fn tags_of_the_route_and_of_the_handler() {
    let isr = Isr::builder().build().unwrap();
    let page = get(|render: Render| async move {
        render.tag("early");
        let chunks = futures_util::stream::once(async move {
            tokio::task::yield_now().await;
            render.tag("late");
            Ok::<_, std::convert::Infallible>("page")
        });
        axum::body::Body::from_stream(chunks)
    });
    let app = Router::new().route("/", page).route_layer(isr.layer(plain().tags(["route"])));
    for tag in ["route", "early", "late"] {
        seen(&app, "/").await;
        settled(&isr).await;
        assert_eq!(seen(&app, "/").await.0, "HIT", "{tag}");
        isr.expire_tag("lat").await.unwrap();
        isr.expire_tag("/").await.unwrap();
        assert_eq!(seen(&app, "/").await.0, "HIT", "{tag}");
        isr.expire_tag(tag).await.unwrap();
        assert_eq!(seen(&app, "/").await.0, "MISS", "{tag}");
        settled(&isr).await;
    }
}

/// R26: a prefix covers itself and what lies below it, on segment borders, in any spelling.
#[tokio::test]
async fn prefixes_end_at_segment_borders() {
    let paths = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/%61/b", "/a%2Fb", "/caf%C3%A9/x", "/A"];
    let hit = |hits: &[usize]| (0..paths.len()).map(|n| hits.contains(&n)).collect::<Vec<_>>();
    for (prefix, expected) in [
        ("/", hit(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("/a", hit(&[1, 2, 3, 4, 6])),
        ("/a/", hit(&[1, 2, 3, 4, 6])),
        ("/%61", hit(&[1, 2, 3, 4, 6])),
        ("/a/b", hit(&[3, 4, 6])),
        ("/a/b/c/d", hit(&[])),
        ("/ab", hit(&[5])),
        ("/a%2fb", hit(&[7])),
        ("/café", hit(&[8])),
        ("/caf%c3%a9/x/", hit(&[8])),
    ] {
        let isr = Isr::builder().build().unwrap();
        let handler = Handler::counting();
        let app = Router::new()
            .route("/", get(handler.clone()))
            .route("/{*rest}", get(handler.clone()))
            .route_layer(isr.layer(plain()));
        for path in paths {
            assert_eq!(seen(&app, path).await.0, "MISS", "{path}");
        }
        isr.expire_prefix(prefix).await.unwrap();
        let mut got = Vec::new();
        for path in paths {
            got.push(seen(&app, path).await.0 == "MISS");
        }
        assert_eq!(got, expected, "{prefix}: {paths:?}");
    }
}

/// R26: one path is all of its spellings, queries, variants and hosts, of nested routers the whole path, and nothing
/// below it.
#[tokio::test]
async fn one_path_is_all_of_its_pages() {
    let isr = Isr::builder().build().unwrap();
    let config = plain().query(["page"]).host().header(HeaderName::from_static("hx-request"), ["true"]);
    let inner =
        Router::new().route("/{slug}", get(Handler::counting())).route("/{slug}/more", get(Handler::counting()));
    let app = Router::new().nest("/posts", inner).layer(isr.layer(config));
    let pages = [
        ("/posts/a", vec![]),
        ("/posts/%61", vec![]),
        ("/posts/a?page=2", vec![]),
        ("/posts/a", vec![("hx-request", "true")]),
        ("/posts/a", vec![("host", "b.example")]),
    ];
    for round in ["MISS", "HIT"] {
        for (path, headers) in &pages {
            assert_eq!(state(&send(&app, request_with(path, headers)).await), round, "{path} {headers:?}");
        }
        assert_eq!(seen(&app, "/posts/a/more").await.0, round);
    }
    isr.expire_path("/posts/a/?page=7").await.unwrap();
    for (path, headers) in &pages {
        assert_eq!(state(&send(&app, request_with(path, headers)).await), "MISS", "{path} {headers:?}");
    }
    assert_eq!(seen(&app, "/posts/a/more").await.0, "HIT");
    // Kinds do not mix: a prefix is no path, a tag no pattern.
    isr.expire_tag("/posts/a").await.unwrap();
    isr.expire_route("/posts/a").await.unwrap();
    isr.expire_path("/posts").await.unwrap();
    assert_eq!(seen(&app, "/posts/a/more").await.0, "HIT");
}

/// CASES 144: what cannot be is an error that says what was expected, and nothing is invalidated.
#[tokio::test]
async fn what_cannot_be_named_is_refused() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain().tags(["t"])));
    assert_eq!(seen(&app, "/").await.0, "MISS");
    let long = "x".repeat(257);
    let deep = "/x".repeat(33);
    let refused = [
        (isr.expire_tag("").await, "tag: expected 1 to 256 bytes, got 0 bytes"),
        (isr.revalidate_tag(&long).await, "tag: expected 1 to 256 bytes, got 257 bytes"),
        (isr.expire_tags(["t", ""]).await, "tag: expected 1 to 256 bytes, got 0 bytes"),
        (isr.revalidate_tags([&long]).await, "tag: expected 1 to 256 bytes, got 257 bytes"),
        (isr.expire_path("posts").await, "path: expected a path that begins with /, got \"posts\""),
        (isr.revalidate_path("").await, "path: expected a path that begins with /, got \"\""),
        (isr.expire_path("https://example.com/").await, "got \"https://example.com/\""),
        (isr.expire_prefix("*").await, "prefix: expected a path that begins with /, got \"*\""),
        (isr.expire_prefix("/?a=b").await, "prefix: expected a path without a query, got \"/?a=b\""),
        (isr.revalidate_prefix(&deep).await, "prefix: expected at most 32 segments, got 33"),
        (isr.expire_route("").await, "route: expected a path that begins with /, got \"\""),
    ];
    for (result, expected) in refused {
        let problem = result.unwrap_err();
        assert!(matches!(problem, InvalidateError::Invalid(_)));
        assert!(problem.to_string().contains(expected), "{problem}");
    }
    assert_eq!((seen(&app, "/").await.0, isr.stats().invalidations, isr.stats().marks), ("HIT", 0, 0));
    // No tag at all is nothing to do.
    assert_eq!(isr.expire_tags(Vec::<String>::new()).await.unwrap().marks, 0);
    assert_eq!(seen(&app, "/").await.0, "HIT");
    // Whatever a visitor writes into a tag is a tag: there is no wildcard and no separator.
    for tag in ["*", "t*", "t,t", "t\nt", "T", " t"] {
        isr.expire_tag(tag).await.unwrap();
        assert_eq!(seen(&app, "/").await.0, "HIT", "{tag:?}");
    }
}

/// CASES 144: a render that names a bad tag, or too many, is not kept: an entry that lacks a tag would outlive its
/// invalidation. One warning names the route.
#[tokio::test]
async fn a_render_with_a_bad_tag_is_not_kept() {
    let logs = Logs::capture();
    for bad in ["empty", "long", "many"] {
        let isr = Isr::builder().build().unwrap();
        let page = move |render: Render| async move {
            match bad {
                "empty" => render.tag(""),
                "long" => render.tag("x".repeat(257)),
                _ => (0..128).for_each(|n| render.tag(format!("t{n}"))),
            }
            "page"
        };
        let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(plain().tags(["route"])));
        for path in ["/p/a", "/p/b", "/p/a"] {
            let response = fetch(&app, path).await;
            assert_eq!((state(&response), response.status()), ("", StatusCode::OK), "{bad}");
        }
        settled(&isr).await;
        assert_eq!((isr.stats().stored, isr.stats().passes), (0, 3), "{bad}");
    }
    assert_eq!(logs.count(&["WARN", "/p/{slug}", "not cached: a tag has 1 to 256 bytes"]), 3);
    // As many as may be: the route's included.
    let isr = Isr::builder().build().unwrap();
    let page = |render: Render| async move { (0..127).for_each(|n| render.tag(format!("t{n}"))) };
    let app = Router::new().route("/", get(page)).route_layer(isr.layer(plain().tags(["route"])));
    assert_eq!([seen(&app, "/").await.0, seen(&app, "/").await.0], ["MISS", "HIT"]);
    isr.expire_tag("t126").await.unwrap();
    assert_eq!(seen(&app, "/").await.0, "MISS");
}

/// CASES 145: a million distinct tags leave the ledger at its cap; what was folded can only hit too much.
#[tokio::test]
async fn a_million_tags_are_bounded() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain().tags(["first"])));
    assert_eq!(seen(&app, "/").await.0, "MISS");
    isr.revalidate_tag("first").await.unwrap();
    for start in (0..1_000_000).step_by(10_000) {
        isr.revalidate_tags((start..start + 10_000).map(|n| format!("t{n}"))).await.unwrap();
        assert!(isr.stats().marks <= 65_536);
    }
    assert_eq!(isr.stats().marks, 65_536);
    // The mark on its tag is long gone, and still in effect.
    assert_eq!(seen(&app, "/").await, ("STALE", "render 1".into()));
    settled(&isr).await;
    // And what is rendered from now on is as good as ever.
    assert_eq!([seen(&app, "/").await.0, seen(&app, "/").await.0], ["HIT", "HIT"]);
}

/// R26: the verbs need no runtime and no request: any thread may call them.
#[test]
fn from_any_thread() {
    let isr = Isr::builder().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain()));
    assert_eq!(runtime.block_on(seen(&app, "/")).0, "MISS");
    let other = isr.clone();
    std::thread::spawn(move || {
        let done = std::pin::pin!(other.expire_path("/"));
        let polled = done.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(matches!(polled, std::task::Poll::Ready(Ok(_))));
    })
    .join()
    .unwrap();
    assert_eq!(runtime.block_on(seen(&app, "/")).0, "MISS");
}

/// A page that is fresh for ever is fresh until it is invalidated; stale by a mark, it goes out with the headers of what
/// is stale.
#[tokio::test]
async fn a_revalidated_page_is_advertised_as_stale() {
    for (config, left) in [
        (RouteConfig::forever(), "s-maxage=0, stale-while-revalidate=2147483648"),
        (plain().expire(2 * MINUTE), "s-maxage=0, stale-while-revalidate=110"),
    ] {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(config));
        assert_eq!(seen(&app, "/").await.0, "MISS");
        clock.advance(Duration::from_secs(10));
        isr.revalidate_path("/").await.unwrap();
        let response = fetch(&app, "/").await;
        assert_eq!((state(&response), header(&response, "age")), ("STALE", "10"));
        assert_eq!(header(&response, "cache-control"), left);
    }
}

/// A client's copy is confirmed from what may be served, and from nothing else.
#[tokio::test]
async fn a_copy_of_an_expired_page_is_not_confirmed() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain()));
    let etag = header(&fetch(&app, "/").await, "etag").to_owned();
    let again = || request_with("/", &[("if-none-match", &etag)]);
    assert_eq!(send(&app, again()).await.status(), StatusCode::NOT_MODIFIED);
    isr.expire_path("/").await.unwrap();
    let response = send(&app, again()).await;
    assert_eq!((response.status(), state(&response)), (StatusCode::OK, "MISS"));
    assert_eq!(body(response).await, "render 2");
    isr.revalidate_path("/").await.unwrap();
    let response = send(&app, head("/")).await;
    assert_eq!(state(&response), "STALE");
}

/// CASES 142: a flood of purges costs one render at a time, and the site answers from what it has.
#[tokio::test]
async fn a_flood_of_revalidations_is_one_render_at_a_time() {
    let isr = Isr::builder().build().unwrap();
    let gate = common::Gate::closed();
    let handler = Handler::gated_again(&gate);
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
    assert_eq!(seen(&app, "/").await.0, "MISS");
    for _ in 0..1_000 {
        isr.revalidate_all().await.unwrap();
        assert_eq!(seen(&app, "/").await, ("STALE", "render 1".into()));
    }
    common::let_run().await;
    assert_eq!(handler.calls(), 2);
    gate.open();
    settled(&isr).await;
    // That render began before the last of them.
    assert_eq!(seen(&app, "/").await, ("STALE", "render 2".into()));
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("HIT", "render 3".into()));
    assert_eq!((isr.stats().invalidations, isr.stats().marks), (1_000, 0));
}

/// What was invalidated is said aloud, cut and on one line.
#[tokio::test]
async fn an_invalidation_is_an_event() {
    let logs = Logs::capture();
    let isr = Isr::builder().build().unwrap();
    isr.expire_tags(["post:42", "b"]).await.unwrap();
    isr.revalidate_path("/a\nb").await.unwrap();
    assert_eq!(logs.count(&["INFO", "invalidated", "verb=expire", "marks=2", "target=tag post:42"]), 1);
    assert_eq!(logs.count(&["INFO", "invalidated", "verb=revalidate", "marks=1", "target=path /a%0Ab"]), 1);
    let stats = isr.stats();
    assert_eq!((stats.invalidations, stats.marks), (2, 3));
}
