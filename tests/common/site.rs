//! A site with every kind of page that can be exported, and its export.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as Params, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum_isr::prerender::{Export, Rendered, Report};
use axum_isr::{CacheLife, Isr, IsrBuilder, Render, RouteConfig};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::common::send;

pub const HOST: &str = "example.org";

/// Extensions of variants, and the header of each.
pub const VARIANTS: [(&str, &str, &str); 2] = [("hx-request", "true", "part"), ("cookie", "theme=dark", "dark")];

/// A process that serves the site. What its pages show is its version.
pub struct Site {
    pub isr: Isr,
    pub app: Router,
    handled: Arc<AtomicUsize>,
}

impl Site {
    pub fn new(set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Self {
        Self::version(1, set)
    }

    pub fn version(version: usize, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Self {
        let isr = set(Isr::builder().deployment_id("one")).build().unwrap();
        let handled = Arc::default();
        Self { app: app(&isr, version, &handled), isr, handled }
    }

    /// How many requests have reached a handler.
    pub fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    /// What a page of an export is asked for by.
    pub async fn ask(&self, page: &Rendered) -> Answer {
        let mut request = Request::builder().uri(&page.path).header("host", HOST);
        for (name, value, extension) in VARIANTS {
            if page.variant.as_deref() == Some(extension) {
                request = request.header(name, value);
            }
        }
        Answer::of(send(&self.app, request.body(Body::empty()).unwrap()).await).await
    }

    pub async fn export(&self, folder: &Path, built_at: SystemTime, trailing_slash: bool) -> Report {
        let export = Export::new(self.app.clone())
            .paths([
                "/",
                "/list",
                "/list?page=2",
                "/list?page=%C3%A4+b",
                "/variants",
                "/hosted",
                "/same",
                "/other/same",
            ])
            .paths(["/shop", "/shop/rope", "/u/ada/posts/tide", "/u/bob/posts/tide", "/outer/a/b", "/spaces"])
            .pattern("/docs/{*rest}", ["a", "a/b c", "deep/er/still"])
            .pattern("/words/{word}", ["größe", "🦀", "a b", "a%2Fb", "a/b", "100%", "a+b", "A", "a", "index"])
            .paths([
                "/gone",
                "/never-was",
                "/moved",
                "/data.json",
                "/blob",
                "/logo.png",
                "/empty",
                "/untyped",
                "/large",
            ])
            .paths(["/feed.xml", "/headers", "/own-etag", "/forever", "/docs/x/", "/slash/", "/version"])
            .host(HOST)
            .trailing_slash(trailing_slash)
            .built_at(built_at);
        let export =
            VARIANTS.iter().fold(export, |export, (name, value, extension)| export.variant(name, value, *extension));
        let report = export.to(folder).await.unwrap();
        assert!(report.is_complete() && report.skipped.is_empty(), "{report}");
        assert_eq!(report.rendered.len(), 45, "{report:#?}");
        report
    }
}

/// All of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub state: String,
    pub age: String,
    pub status: StatusCode,
    /// Sorted, without state and age.
    pub headers: Vec<(String, HeaderValue)>,
    pub body: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (mut head, body) = response.into_parts();
        let mut take = |name| head.headers.remove(name).map_or(String::new(), |v| v.to_str().unwrap().to_owned());
        let (state, age) = (take("x-vinext-cache"), take("age"));
        let pairs = head.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
        let mut headers: Vec<_> = pairs.collect();
        headers.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { state, age, status: head.status, headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.to_str().unwrap())
    }

    /// Without state and age, of which only processes know.
    pub fn page(&self) -> (StatusCode, &[(String, HeaderValue)], &Bytes) {
        (self.status, &self.headers, &self.body)
    }
}

/// The rows of a manifest that were rendered, each with the file that it names.
pub fn rows(folder: &Path) -> Vec<Value> {
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("vinext-prerender.json")).unwrap()).unwrap();
    manifest["routes"].as_array().unwrap().iter().filter(|row| row["status"] == "rendered").cloned().collect()
}

/// The tags of a page.
pub fn tags(rows: &[Value], page: &Rendered) -> Vec<String> {
    let row = rows.iter().find(|row| row["file"] == *page.file).unwrap_or_else(|| panic!("no row of {}", page.file));
    let tags = row["tags"].as_array().cloned().unwrap_or_default();
    tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

fn route() -> RouteConfig {
    RouteConfig::revalidate(Duration::from_secs(3_600)).expire(Duration::from_secs(86_400))
}

async fn shown(request: Request) -> Html<String> {
    let seen = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
    let [host, part, cookie] = ["host", "hx-request", "cookie"].map(seen);
    Html(format!("<p>{}</p><p>{host} {part} {cookie}</p>", request.uri()))
}

fn headers() -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/plain;charset=utf-8"),
        ("content-language", "de, en"),
        ("link", "</a.css>; rel=preload"),
        ("link", "</b.css>; rel=preload"),
        ("x-empty", ""),
        ("x-quoted", r#"a "b" \c"#),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.append("x-unicode", HeaderValue::from_bytes("größe".as_bytes()).unwrap());
    (headers, "with headers")
}

fn app(isr: &Isr, version: usize, handled: &Arc<AtomicUsize>) -> Router {
    let count = {
        let handled = Arc::clone(handled);
        from_fn(move |request: Request, next: Next| {
            handled.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut response = next.run(request).await;
                response.headers_mut().insert("x-version", HeaderValue::from(version));
                response
            }
        })
    };
    let cached = |router: Router, config| router.route_layer(count.clone()).route_layer(isr.layer(config));
    let home = {
        let isr = isr.clone();
        async move |render: Render| {
            render.tag("home");
            let posts = isr.data("posts").tag("posts").life(CacheLife::DAYS);
            let posts: usize = posts.get_or_init(|| async { 3 }).await.unwrap();
            Html(format!("<h1>{posts} posts</h1>"))
        }
    };
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let png = Bytes::from_static(b"\x89PNG\r\n\x1a\n\0\xff");
    let typed = |value: &'static str| [(header::CONTENT_TYPE, value)];
    let plain = Router::new()
        .route("/", get(home))
        .route("/spaces", get(shown))
        .route("/slash/", get(shown))
        .route("/docs/{*rest}", get(async |Params(rest): Params<String>| format!("docs {rest}")))
        .route("/words/{word}", get(async |Params(word): Params<String>| Html(word)))
        .route("/gone", get(async || (StatusCode::NOT_FOUND, Html("<h1>gone</h1>"))))
        .route("/never-was", get(async || StatusCode::GONE))
        .route("/moved", get(async || Redirect::permanent("/words/gr%C3%B6%C3%9Fe")))
        .route("/data.json", get(async || axum::Json(json!({ "a": [1, null, "ü"] }))))
        .route("/blob", get(move || async move { binary }))
        .route("/logo.png", get(move || async move { (typed("image/png"), png) }))
        .route("/empty", get(async || Html("")))
        .route("/untyped", get(async || Response::new(Body::from("<p>what is it"))))
        .route("/large", get(async || Html("large ".repeat(50_000))))
        .route("/feed.xml", get(move || async move { (typed("application/rss+xml"), "<rss version=\"2.0\"/>") }))
        .route("/headers", get(async || headers()))
        .route("/own-etag", get(async || ([(header::ETAG, "\"mine\"")], Html("validated"))))
        .route("/version", get(async move || format!("version {version}")))
        .route("/same", get(async || Html("plain")));
    let plain = cached(plain, route().tags(["site", "größe, and more"]));
    let forever = cached(Router::new().route("/forever", get(shown)), RouteConfig::forever().tags(["forever"]));
    let list = cached(Router::new().route("/list", get(shown)), route().query(["page"]));
    let declared = route().header(HeaderName::from_static("hx-request"), ["true"]).cookie("theme", ["dark"]);
    let variants = cached(Router::new().route("/variants", get(shown)), declared);
    let hosted = cached(Router::new().route("/hosted", get(shown)), route().host());
    let other = Router::new().route("/same", get(async || Html("of another router")));
    let other = cached(other, route().namespace("other"));
    let shop = Router::new()
        .route("/", get(async || Html("shop")))
        .route("/{item}", get(async |Params(item): Params<String>| Html(item)));
    let shop = cached(shop, route().tags(["shop"]));
    let user = async |Params((user, slug)): Params<(String, String)>, render: Render| {
        render.tag(format!("user:{user}"));
        format!("{slug} of {user}")
    };
    let user = cached(Router::new().route("/posts/{slug}", get(user)), route());
    // With the layer outside of the nest.
    let outer = cached(Router::new().nest("/outer", Router::new().route("/{a}/{b}", get(shown))), route());
    plain
        .merge(forever)
        .merge(list)
        .merge(variants)
        .merge(hosted)
        .nest("/other", other)
        .nest("/shop", shop)
        .nest("/u/{user}", user)
        .merge(outer)
}
