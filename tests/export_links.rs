//! Exports (R34): paths that links and sitemaps lead to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::format_collect, reason = "tests")]

mod common;

use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Params, Request};
use axum::http::{StatusCode, header};
use axum::response::Html;
use axum::routing::get;
use axum_isr::prerender::{Export, Report};
use axum_isr::{DynamicRequest, Isr, RouteConfig};
use common::Handler;

fn route() -> RouteConfig {
    RouteConfig::revalidate(Duration::from_secs(60))
}

async fn report(export: Export) -> Report {
    let folder = tempfile::tempdir().unwrap();
    export.to(folder.path().join("site")).await.unwrap()
}

fn rendered(report: &Report) -> Vec<&str> {
    report.rendered.iter().map(|row| &*row.path).collect()
}

/// A page that links to others.
fn links(to: &'static [&'static str]) -> Handler {
    let page: String = to.iter().map(|href| format!("<a href=\"{href}\">x</a>")).collect();
    Handler::new(move |_, _| std::future::ready(Html(page.clone())))
}

#[tokio::test]
async fn links_are_followed_if_wanted() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new()
        .route("/", get(links(&["/a?utm=1", "b/", "/a#top", "https://elsewhere.example/x", "mailto:x@example.org"])))
        .route("/a", get(links(&["/", "/dead", "//example.org/c", "/list?page=2", "/me"])))
        .route("/b/", get(links(&["../a", "d"])))
        .route("/b/d", get(async || ([(header::CONTENT_TYPE, "text/plain")], "<a href=/no>")))
        .route("/c", get(links(&["?x=1"])))
        .route("/me", get(async |_: DynamicRequest| "me"))
        .layer(isr.layer(route()))
        .route("/list", get(links(&["?page=3", "?page=2&utm=2"])).layer(isr.layer(route().query(["page"]))));
    let none = report(Export::new(app.clone()).path("/")).await;
    assert_eq!(rendered(&none), ["/"], "only if wanted");
    let with = |host: &str| report(Export::new(app.clone()).path("/").follow_links(100).host(host));
    let all = with("example.org").await;
    let expected = ["/", "/a", "/b/", "/b/d", "/c", "/list?page=2", "/list?page=3"];
    assert_eq!(rendered(&all), expected, "{all}");
    let failed: Vec<_> = all.failed.iter().map(|row| (&*row.path, row.status)).collect();
    assert_eq!(failed, [("/dead", Some(StatusCode::NOT_FOUND))]);
    assert!(!all.truncated);
    // A site of another name has no page of its own there.
    assert!(!rendered(&with("other.example").await).contains(&"/c"));
}

#[tokio::test]
async fn the_public_origin_is_the_site() {
    let isr = Isr::builder().public_origin("https://example.org".parse().unwrap()).build().unwrap();
    let app = Router::new()
        .route("/", get(links(&["https://example.org/a", "https://other.example/b"])))
        .fallback(async || "page")
        .layer(isr.layer(route()));
    assert_eq!(rendered(&report(Export::new(app).path("/").follow_links(9)).await), ["/", "/a"]);
}

/// A site without an end: whatever is rendered first, the same pages are chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_bounded_and_the_bound_chooses_the_same_pages() {
    let isr = Isr::builder().build().unwrap();
    let handler = async |request: Request| {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        Html((0..10).map(|n| format!("<a href='{path}/{n}'>")).collect::<String>())
    };
    let app = Router::new().fallback(handler).layer(isr.layer(route()));
    let mut first = None;
    for concurrency in [1, 7] {
        let report = report(Export::new(app.clone()).path("/").follow_links(50).concurrency(concurrency)).await;
        assert_eq!((report.rendered.len(), report.truncated), (51, true));
        let paths = rendered(&report).join(" ");
        assert_eq!(*first.get_or_insert_with(|| paths.clone()), paths);
    }
    let few = report(Export::new(app.clone()).path("/").follow_links(50).max_pages(5)).await;
    assert_eq!((few.rendered.len(), few.truncated), (5, true));
    // As deep as it goes.
    let chain = async |Params(n): Params<u64>| Html(format!("<a href=/{}>", n + 1));
    let app = Router::new().route("/{n}", get(chain)).layer(isr.layer(route()));
    let deep = report(Export::new(app).path("/0").follow_links(10_000)).await;
    assert_eq!((deep.rendered.len(), deep.truncated), (65, true));
}

fn urlset(places: &[&str]) -> String {
    let places: String = places.iter().map(|place| format!("<url><loc>{place}</loc></url>")).collect();
    format!("<?xml version=\"1.0\"?><urlset>{places}</urlset>")
}

#[tokio::test]
async fn sitemaps_name_pages() {
    let isr = Isr::builder().build().unwrap();
    let xml = |text: String| ([(header::CONTENT_TYPE, "application/xml")], text);
    let index = "<sitemapindex><sitemap><loc>https://example.org/s/1.xml</loc></sitemap>\
                 <sitemap><loc>https://example.org/s/2.xml</loc></sitemap></sitemapindex>";
    let app = Router::new()
        .route("/a", get(async || "a"))
        .route("/b", get(async || "b"))
        .route("/sitemap.xml", get(async move || xml(index.to_owned())))
        .layer(isr.layer(route()))
        // Not cached: read all the same.
        .route("/s/1.xml", get(async move || xml(urlset(&["https://example.org/a", "https://other.example/c"]))))
        .route("/s/2.xml", get(async || StatusCode::SERVICE_UNAVAILABLE));
    let wanted = Export::new(app).host("example.org").sitemap("/sitemap.xml").sitemap("/none.xml");
    let report = report(wanted.sitemap_xml(urlset(&["/b", "nothing"])).sitemap_xml("<html>")).await;
    assert_eq!(rendered(&report), ["/a", "/b", "/sitemap.xml"], "{report}");
    assert_eq!(isr.stats().memory_items, 0);
    let problems: Vec<_> = report.failed.iter().map(|row| (&*row.path, row.reason)).collect();
    assert_eq!(
        problems,
        [
            ("", "sitemap"),
            ("/none.xml", "sitemap"),
            ("/none.xml", "status"),
            ("/s/2.xml", "sitemap"),
            ("/s/2.xml", "status"),
            ("nothing", "path"),
        ],
        "{report}"
    );
}

#[tokio::test]
async fn sitemaps_that_name_each_other_end() {
    let isr = Isr::builder().build().unwrap();
    let index = async |Params(n): Params<u64>| {
        let next = |n: u64| format!("<sitemap><loc>/maps/{n}</loc></sitemap>");
        format!("<sitemapindex>{}{}</sitemapindex>", next(n), next(n + 1))
    };
    let app = Router::new().route("/maps/{n}", get(index)).layer(isr.layer(route()));
    let report = report(Export::new(app).sitemap("/maps/0")).await;
    assert_eq!(rendered(&report), ["/maps/0", "/maps/1", "/maps/2"]);
    assert_eq!(report.failed.len(), 1, "{report}");
}
