//! Pages that were rendered at build time, for their first visitors.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/seeded.rs"]
mod seeded;
#[path = "common/seeds.rs"]
mod seeds;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, IsrBuilder, Mode, RouteConfig};
use common::{Gate, Handler, Logs, body, fetch, head, header, request_with, seen, send, settled, state};
use seeded::{NOW, Site, about, two_pages};
use seeds::{Fault, Folder, MANIFEST, row, row_with};
use serde_json::json;

/// R35: and it looks as if it had been rendered when it was built.
#[tokio::test]
async fn a_seed_is_a_hit_for_its_first_visitor() {
    let site = Site::new(&two_pages());
    let first = fetch(&site.app, "/about").await;
    assert_eq!((first.status().as_u16(), state(&first), header(&first, "age")), (200, "HIT", "10"));
    assert_eq!(header(&first, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&first, "cache-control"), "s-maxage=60, stale-while-revalidate=3540");
    assert_eq!(header(&first, "content-length"), "14");
    assert!(header(&first, "etag").starts_with("W/\""));
    assert_eq!(body(first).await, "<h1>About</h1>");
    assert_eq!(site.renders(), 0);
    let stats = site.isr.stats();
    assert_eq!((stats.seeded, stats.seed_failures, stats.hits, stats.misses, stats.renders), (1, 0, 1, 0, 0));
    assert!(stats.seed_pages == 2 && stats.seed_bytes > 0, "{stats:?}");
}

/// R35: neither at start, nor for a page that is in memory.
#[tokio::test]
async fn each_file_is_read_once_and_when_it_is_missing() {
    let site = Site::new(&two_pages());
    assert_eq!(site.folder.reads(), [""; 0]);
    for _ in 0..3 {
        assert_eq!(seen(&site.app, "/about").await, ("HIT", "<h1>About</h1>".into()));
    }
    assert_eq!(site.folder.reads(), [MANIFEST, "prerendered-routes/about.html"]);
    assert_eq!(seen(&site.app, "/").await, ("HIT", "<h1>Home</h1>".into()));
    assert_eq!(site.folder.reads()[2..], ["prerendered-routes/index.html"]);
}

/// R36, R37: also when the source really yields.
#[tokio::test]
async fn concurrent_cold_requests_share_one_load() {
    let folder = two_pages();
    let (manifest, page) = (Gate::closed(), Gate::closed());
    folder.fault(MANIFEST, Fault::Waits(manifest.clone()));
    folder.fault("prerendered-routes/about.html", Fault::Waits(page.clone()));
    let site = Site::new(&folder);
    let visits: Vec<_> = (0..40)
        .map(|n| {
            let app = site.app.clone();
            tokio::spawn(async move { seen(&app, if n % 2 == 0 { "/about" } else { "/" }).await })
        })
        .collect();
    common::let_run().await;
    assert_eq!(folder.reads(), [MANIFEST]);
    manifest.open();
    common::until(|| folder.reads().len() == 3).await;
    page.open();
    for (n, visit) in visits.into_iter().enumerate() {
        let expected = if n % 2 == 0 { "<h1>About</h1>" } else { "<h1>Home</h1>" };
        assert_eq!(visit.await.unwrap(), ("HIT", expected.into()));
    }
    assert_eq!((folder.reads().len(), site.renders()), (3, 0));
}

/// R36.
#[tokio::test]
async fn a_path_that_is_not_in_the_manifest_costs_no_fetch() {
    let site = Site::new(&two_pages());
    assert_eq!(seen(&site.app, "/contact").await, ("MISS", "render 1".into()));
    assert_eq!(seen(&site.app, "/about.html").await, ("MISS", "render 2".into()));
    assert_eq!(seen(&site.app, "/about/more").await, ("MISS", "render 3".into()));
    assert_eq!(site.folder.reads(), [MANIFEST]);
    assert_eq!(site.isr.stats().seed_failures, 0);
}

/// The build id is compared only if there are two.
#[tokio::test]
async fn an_export_of_this_build_is_used() {
    for set in [|builder: IsrBuilder| builder.build_id("b1"), |builder: IsrBuilder| builder.deployment_id("any")] {
        let site = Site::with(&two_pages(), set);
        assert_eq!(seen(&site.app, "/about").await.0, "HIT");
    }
}

/// R38: whatever goes wrong with a page, it is rendered; one is told of.
#[tokio::test(start_paused = true)]
async fn a_seed_that_fails_is_rendered() {
    for (what, fault) in [
        ("unavailable", Some(Fault::Unavailable)),
        ("refused", Some(Fault::Refused)),
        ("hangs", Some(Fault::Hangs)),
        ("is not there", None),
    ] {
        let logs = Logs::capture();
        let folder = two_pages();
        match fault {
            Some(fault) => folder.fault("prerendered-routes/about.html", fault),
            None => folder.remove("prerendered-routes/about.html"),
        }
        folder.fault("prerendered-routes/index.html", Fault::Refused);
        let site = Site::new(&folder);
        assert_eq!(seen(&site.app, "/about").await, ("MISS", "render 1".into()), "{what}");
        assert_eq!(seen(&site.app, "/").await, ("MISS", "render 2".into()), "{what}");
        assert_eq!(seen(&site.app, "/about").await, ("HIT", "render 1".into()), "{what}");
        let told: Vec<_> = logs.lines().into_iter().filter(|line| line.contains("WARN")).collect();
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert_eq!(site.isr.stats().seed_failures, 2, "{what}");
    }
}

/// R39: the predicate of live responses decides about seeds too.
#[tokio::test]
async fn a_seed_obeys_the_vetoes_of_live_responses() {
    for (what, fields) in [
        ("a cookie", json!({ "headers": { "set-cookie": "session=1" } })),
        ("a variant that nobody declared", json!({ "headers": { "vary": "accept-language" } })),
        ("a nonce", json!({ "headers": { "content-security-policy": "script-src 'nonce-abc'" } })),
        ("its own word on caches", json!({ "headers": { "expires": "0" } })),
        ("a failure", json!({ "responseStatus": 500 })),
        ("a refusal", json!({ "responseStatus": 403 })),
        ("a page that is never fresh", json!({ "revalidate": 0 })),
        ("a bad tag", json!({ "tags": [""] })),
    ] {
        let site = Site::new(&about(fields));
        assert_eq!(seen(&site.app, "/about").await, ("MISS", "render 1".into()), "{what}");
        assert_eq!(site.isr.stats().seeded, 0, "{what}");
    }
    let status = |response: axum::response::Response| (state(&response), response.status().as_u16());
    for (expected, fields) in [(404, json!({ "responseStatus": 404 })), (308, json!({ "responseStatus": 308 }))] {
        let site = Site::new(&about(fields));
        assert_eq!(status(fetch(&site.app, "/about").await), ("HIT", expected));
    }
}

/// R39: what a live response would have lost.
#[tokio::test]
async fn headers_of_one_exchange_are_not_served() {
    let headers = json!({ "x-mine": "kept", "date": "Thu, 01 Jan 1970 00:00:00 GMT", "connection": "close, x-hop", "x-hop": "1",
        "x-vinext-cache": "MISS", "link": ["</a>", "</b>"] });
    let site = Site::new(&about(json!({ "headers": headers })));
    let hit = fetch(&site.app, "/about").await;
    assert_eq!((state(&hit), header(&hit, "x-mine")), ("HIT", "kept"));
    assert_eq!(hit.headers().get_all("link").iter().count(), 2);
    for name in ["date", "connection", "x-hop"] {
        assert!(!hit.headers().contains_key(name), "{name}");
    }
}

/// R39: not from the start of the process.
#[tokio::test]
async fn age_counts_from_the_build() {
    let folder = Folder::built(NOW - 100, json!([row("/about"), row_with("/", json!({ "expire": 90 }))]));
    folder.page("about.html", "old");
    folder.page("index.html", "too old");
    let site = Site::new(&folder);
    let stale = fetch(&site.app, "/about").await;
    assert_eq!((state(&stale), header(&stale, "age")), ("STALE", "100"));
    assert_eq!(body(stale).await, "old");
    settled(&site.isr).await;
    assert_eq!(seen(&site.app, "/about").await, ("HIT", "render 1".into()));
    assert_eq!(seen(&site.app, "/").await, ("MISS", "render 2".into()));

    // The application knows better.
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let isr = Isr::builder().clock(ManualClock::new()).seeds(folder.seeds().built_at(at(NOW - 1))).build().unwrap();
    let app = Router::new().route("/about", get(Handler::counting())).route_layer(isr.layer(RouteConfig::forever()));
    assert_eq!(header(&fetch(&app, "/about").await, "age"), "1");
    // A foreign manifest is as old as its file.
    let foreign = Folder::default();
    foreign.manifest(json!({ "buildId": "b", "routes": [row("/about")] }));
    foreign.page("about.html", "x");
    foreign.modified(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - 7));
    assert_eq!(header(&fetch(&Site::new(&foreign).app, "/about").await, "age"), "7");
}

/// A clock that is a little ahead is none: its pages are as old as can be.
#[tokio::test]
async fn a_build_that_is_a_little_ahead_is_now() {
    let folder = Folder::built(NOW + 299, json!([row("/about")]));
    folder.page("about.html", "x");
    let site = Site::new(&folder);
    let hit = fetch(&site.app, "/about").await;
    assert_eq!((state(&hit), header(&hit, "age")), ("HIT", "0"));
}

/// `revalidate: false`.
#[tokio::test]
async fn a_page_may_be_fresh_for_ever() {
    let site = Site::new(&about(json!({ "revalidate": false })));
    site.clock.advance(Duration::from_secs(400 * 24 * 3_600));
    let hit = fetch(&site.app, "/about").await;
    assert_eq!((state(&hit), header(&hit, "cache-control")), ("HIT", "s-maxage=31536000"));
}

/// R39: whatever it names, and whichever verb; a mark on something else does nothing.
#[tokio::test]
async fn a_mark_that_is_newer_than_the_build_hits_a_seed() {
    for (mark, hits) in [
        ("tag", true),
        ("route's tag", true),
        ("path", true),
        ("prefix", true),
        ("all", true),
        ("revalidate", true),
        ("another tag", false),
        ("another path", false),
    ] {
        let config = RouteConfig::revalidate(Duration::from_secs(60)).tags(["pages"]);
        let site = Site::of(&two_pages(), |builder| builder, config);
        let isr = &site.isr;
        match mark {
            "tag" => isr.expire_tag("t:/about").await,
            "route's tag" => isr.expire_tag("pages").await,
            "path" => isr.expire_path("/about").await,
            "prefix" => isr.expire_prefix("/").await,
            "all" => isr.expire_all().await,
            "revalidate" => isr.revalidate_tag("t:/about").await,
            "another tag" => isr.expire_tag("t:/").await,
            _ => isr.expire_path("/abou").await,
        }
        .unwrap();
        let expected = if hits { ("MISS", "render 1") } else { ("HIT", "<h1>About</h1>") };
        assert_eq!(seen(&site.app, "/about").await, (expected.0, expected.1.into()), "{mark}");
        assert_eq!(seen(&site.app, "/about").await, ("HIT", expected.1.into()), "{mark}: from memory");
        // And for ever: the seed does not come back when the page has gone.
        isr.expire_path("/about").await.unwrap();
        assert_eq!(seen(&site.app, "/about").await.0, "MISS", "{mark}");
    }
}

/// R39: the mark is made while the file is read.
#[tokio::test]
async fn a_mark_that_is_made_while_a_seed_is_read_hits_it() {
    let folder = two_pages();
    let gate = Gate::closed();
    folder.fault("prerendered-routes/about.html", Fault::Waits(gate.clone()));
    let site = Site::new(&folder);
    let app = site.app.clone();
    let visit = tokio::spawn(async move { seen(&app, "/about").await });
    common::until(|| folder.reads().len() == 2).await;
    site.isr.expire_tag("t:/about").await.unwrap();
    gate.open();
    assert_eq!(visit.await.unwrap(), ("MISS", "render 1".into()));
}

/// R40: they are not pages of ours.
#[tokio::test]
async fn records_of_other_kinds_are_ignored() {
    for fields in [
        json!({ "status": "skipped", "reason": "dynamic" }),
        json!({ "status": "error", "error": "it broke" }),
        json!({ "router": "edge" }),
        json!({ "fallback": true }),
        json!({ "status": 7 }),
        json!({ "path": 7 }),
    ] {
        let site = Site::new(&about(fields.clone()));
        assert_eq!(seen(&site.app, "/about").await, ("MISS", "render 1".into()), "{fields}");
        assert_eq!(site.folder.reads(), [MANIFEST], "{fields}");
    }
}

/// CASES 147: a body of another build, in the middle of a copy.
#[tokio::test]
async fn a_body_that_is_not_the_one_of_the_manifest_is_not_served() {
    for fields in [json!({ "bytes": 15 }), json!({ "sha256": "00".repeat(32) }), json!({ "bytes": 1_000_000_000 })] {
        let site = Site::new(&about(fields.clone()));
        assert_eq!(seen(&site.app, "/about").await, ("MISS", "render 1".into()), "{fields}");
        assert_eq!(site.isr.stats().seed_failures, 1);
    }
    let digest = "d73455ae728b8500aa5b1966ede10466347436a2e94c1d6ad377e41317d1bc2f";
    let site = Site::new(&about(json!({ "bytes": 14, "sha256": digest })));
    assert_eq!(seen(&site.app, "/about").await.0, "HIT");
}

/// The limit of its route.
#[tokio::test]
async fn a_seed_that_is_too_large_is_rendered() {
    let folder = two_pages();
    let config = RouteConfig::revalidate(Duration::from_secs(60)).max_body_bytes(13);
    let site = Site::of(&folder, |builder| builder, config);
    assert_eq!(seen(&site.app, "/about").await.1, "render 1");
    assert_eq!(seen(&site.app, "/").await, ("HIT", "<h1>Home</h1>".into()));
}

/// R39: the key function of requests. Another tool's record knows nothing of variants.
#[tokio::test]
async fn a_seed_of_a_path_is_not_used_for_its_variants() {
    let config = RouteConfig::revalidate(Duration::from_secs(60))
        .query(["page"])
        .header(http::HeaderName::from_static("hx-request"), ["true"])
        .cookie("theme", ["dark"]);
    let site = Site::of(&two_pages(), |builder| builder, config);
    assert_eq!(seen(&site.app, "/about?page=2").await.1, "render 1");
    let variant = |headers| send(&site.app, request_with("/about", headers));
    assert_eq!(body(variant(&[("hx-request", "true")]).await).await, "render 2");
    assert_eq!(body(variant(&[("cookie", "theme=dark")]).await).await, "render 3");
    assert_eq!(seen(&site.app, "/about?other=2").await, ("HIT", "<h1>About</h1>".into()));
    assert_eq!(seen(&site.app, "/about/").await.1, "render 4");
}

#[tokio::test]
async fn a_head_finds_a_seed() {
    let site = Site::new(&two_pages());
    let hit = send(&site.app, head("/about")).await;
    assert_eq!((state(&hit), header(&hit, "content-length")), ("HIT", "14"));
    assert_eq!(body(hit).await, "");
    assert_eq!(seen(&site.app, "/about").await, ("HIT", "<h1>About</h1>".into()));
    assert_eq!(site.renders(), 0);
}

/// What is shown in development is what the handler says now.
#[tokio::test]
async fn development_uses_no_seeds() {
    let site = Site::with(&two_pages(), |builder| builder.mode(Mode::Development));
    assert_eq!(seen(&site.app, "/about").await.1, "render 1");
    assert_eq!(site.folder.reads(), [""; 0]);
}

/// A page that has turned stale is rendered again, not seeded again.
#[tokio::test]
async fn a_seed_is_regenerated_by_the_handler() {
    let site = Site::new(&two_pages());
    assert_eq!(seen(&site.app, "/about").await.0, "HIT");
    site.clock.advance(Duration::from_secs(61));
    assert_eq!(seen(&site.app, "/about").await, ("STALE", "<h1>About</h1>".into()));
    settled(&site.isr).await;
    assert_eq!(seen(&site.app, "/about").await, ("HIT", "render 1".into()));
    assert_eq!(site.folder.reads_of("prerendered-routes/about.html"), 1);
}
