//! A blog over a folder of Markdown files, with axum-isr in front of the pages that are the same for everybody.
//!
//! `cargo run --example blog -- [serve] [--port N] [--posts DIR]`, then open a post, edit its file and reload: the pages
//! that show it are rendered anew, all others come from memory as before.
//!
//! `… -- export dist` renders all pages to files, and `… -- serve --seeds dist` starts with them.
//!
//! With `--store DIR` the pages survive a restart. With `--redis URL` (and the feature `redis`) every process that is
//! told the same has the same pages; the foot of each says who rendered it, by `--name`. `examples/cluster` shows it.
//!
//! With the feature `admin` there is a dashboard at `/_isr`, with a token that is printed at the start; with `BLOG_TOKEN` in the
//! environment that is the token, and a `POST` to `/hooks/revalidate` invalidates from afar.

mod date;
mod error;
mod export;
mod feed;
mod hooks;
mod kept;
mod library;
mod markdown;
mod options;
mod page;
mod pages;
mod personal;
mod posts;
mod slow;
mod slug;
mod watch;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::prerender::Seeds;
use axum_isr::{Isr, RouteConfig};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::{Level, Span};

use options::{Command, Options};
use watch::Watch;

/// What handlers get through axum's `State`: the same for every visitor, so renders may use it freely.
#[derive(Clone)]
struct Site {
    isr: Isr,
    /// Scheme and authority for absolute links. Configured, never taken from a request's `Host`.
    origin: Arc<str>,
    /// Who renders, for the foot of the pages.
    name: Arc<str>,
    /// The folder of Markdown files.
    posts: Arc<Path>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(Level::INFO).with_target(false).init();
    let options = Options::from_environment()?;
    match options.command.clone() {
        Command::Serve { seeds } => serve(options, seeds).await,
        Command::Export { folder } => {
            let isr = options.kept.builder().await?.build()?;
            let site = Site::new(&isr, &format!("http://localhost:{}", options.port), "an export", &options.posts);
            export::export(pages_of(&isr, options.fresh).with_state(site), &folder).await?;
            Ok(())
        }
    }
}

async fn serve(options: Options, seeds: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
    // Asked for, not assembled: with port 0 the system chooses one.
    let address = listener.local_addr()?;
    let origin = format!("http://{address}");

    let mut builder = options.kept.builder().await?;
    if let Some(folder) = &seeds {
        builder = builder.seeds(Seeds::dir(folder));
    }
    let isr = builder.build()?;
    let name = options.name.unwrap_or_else(|| address.to_string());
    let site = Site::new(&isr, &origin, &name, &options.posts);
    // Before the first page: what changes from here on is noticed, and what has changed since somebody looked last, or
    // since the seeds were made.
    let since = seeds.map(|folder| folder.join("vinext-prerender.json").metadata()?.modified()).transpose()?;
    let watch = Watch::begin(isr.clone(), Arc::clone(&site.posts), since).await?;
    tokio::spawn(watch.go_on());
    let span = DefaultMakeSpan::new().level(Level::INFO);
    let log = TraceLayer::new_for_http().make_span_with(span).on_response(answered);
    let site_posts = Arc::clone(&site.posts);
    let (hooks, dashboard) = hooks::router(options.token.as_deref())?;
    // Not in the log of visits: an open dashboard asks all the time.
    let app = pages_of(&isr, options.fresh).layer(log).merge(hooks).with_state(site);

    println!("\n  {origin}/\n\n  Try each twice, then again after ten seconds:\n");
    println!("    curl -si {origin}/ | grep -iE '^(HTTP|x-vinext|cache-|age|etag)'");
    println!("    curl -si {origin}/ -H 'HX-Request: true' | head -20");
    println!("    curl -N  {origin}/slow\n");
    println!("  Edit a file in {} and reload.\n", site_posts.display());
    println!("  See what is cached, and why: {origin}{dashboard}\n");

    axum::serve(listener, app).with_graceful_shutdown(ctrl_c()).await?;
    // Renders that nobody waits for any longer still run; they get the time to finish.
    isr.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// Everything that a visitor can see.
fn pages_of(isr: &Isr, fresh: Duration) -> Router<Site> {
    cached(isr, fresh).merge(uncached()).fallback(pages::not_found)
}

/// The pages that are rendered once for everybody.
fn cached(isr: &Isr, fresh: Duration) -> Router<Site> {
    let article = RouteConfig::revalidate(fresh)
        // Handlers see this header because it is part of the key, and no value of it but this one.
        .header(HeaderName::from_static("hx-request"), ["true"]);
    let listing = article.clone().query(["page"]);
    let minute = RouteConfig::revalidate(fresh.max(Duration::from_secs(60)));

    Router::new()
        .route("/", get(pages::index).layer(isr.layer(listing)))
        .route("/posts/{slug}", get(pages::post).layer(isr.layer(article.clone())))
        .route("/tags", get(pages::tags).layer(isr.layer(article.clone())))
        .route("/tags/{tag}", get(pages::tag).layer(isr.layer(article)))
        .merge(
            Router::new()
                .route("/feed.xml", get(feed::feed))
                .route("/slow", get(slow::slow))
                // Under the layer on purpose: it sets a cookie, so the layer must refuse to keep it.
                .route("/welcome", get(personal::welcome))
                .route_layer(isr.layer(minute)),
        )
}

/// What belongs to one visitor, and the stylesheet, which needs no cache in front of it.
fn uncached() -> Router<Site> {
    Router::new().route("/account", get(personal::account)).route("/style.css", get(style))
}

impl Site {
    fn new(isr: &Isr, origin: &str, name: &str, posts: &Path) -> Self {
        Self { isr: isr.clone(), origin: origin.into(), name: name.into(), posts: posts.into() }
    }
}

impl FromRef<Site> for Isr {
    fn from_ref(site: &Site) -> Self {
        site.isr.clone()
    }
}

async fn style() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=60")];
    (headers, include_str!("style.css"))
}

/// The log line of a visit. Renders have lines of their own, and fewer of them.
fn answered(response: &Response, took: Duration, _: &Span) {
    let cache = response.headers().get("x-vinext-cache").and_then(|state| state.to_str().ok()).unwrap_or("-");
    tracing::info!(status = response.status().as_u16(), cache, ?took, "answered");
}

async fn ctrl_c() {
    if let Err(problem) = tokio::signal::ctrl_c().await {
        tracing::error!(%problem, "cannot listen for ctrl-c; end the process by other means");
        std::future::pending::<()>().await;
    }
}
