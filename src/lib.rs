//! Incremental static regeneration for [axum]: a page is rendered once, served from memory, and rendered again in the
//! background when it is older than its `revalidate` time.
//!
//! # A cached page
//!
//! ```no_run
//! use std::time::Duration;
//! use axum::{Router, extract::Path, response::Html, routing::get};
//! use axum_isr::{Isr, Render, RouteConfig};
//!
//! async fn post(Path(slug): Path<String>, render: Render) -> Html<String> {
//!     render.tag(format!("post:{slug}"));
//!     Html(format!("<h1>{slug}</h1>"))        // slow, in real life
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let isr = Isr::builder().build()?;
//!     let pages = RouteConfig::revalidate(Duration::from_secs(60)).query(["page"]);
//!     let app = Router::new()
//!         .route("/posts/{slug}", get(post))
//!         .route_layer(isr.layer(pages))                             // the routes above
//!         .route("/account", get(|| async { "never cached" }));      // not this one
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
//!     axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
//!     isr.shutdown(Duration::from_secs(10)).await;
//!     Ok(())
//! }
//! ```
//!
//! # The way of a request
//!
//! ```text
//! request ─► may it use the cache? ──no──────────────────────────────► handler (the visitor's request)
//!                  │ key
//!                  ▼
//!            memory tier (no wait)
//!              fresh ──► HIT            stale ──► STALE, and a render in the background
//!              missing, expired ──► join the flight of this page, or start it
//!                  │
//!                  ▼
//!            flight: one task per page
//!              store, if there is one: an entry that no mark of its ledger hits ──► memory tier, HIT
//!                  │ nothing; here, or by lease in one process of all
//!                  ▼
//!              seeds, if there are any: a page that was rendered at build time, and that no mark hits ──► memory tier, HIT
//!                  │ nothing
//!                  ▼
//!              render request ─► handler ─► may it be kept? ─► memory tier ─► store, in the background
//!                  │
//!                  ▼
//!            everybody who waits gets the head as soon as it is there, and the body as it grows
//! ```
//!
//! # What is kept, and what never is
//!
//! A page is rendered from a *render request*: a `GET` with the path and those query parameters, headers, cookies or the
//! host that its route declared ([`RouteConfig`]). The handler sees nothing else of the visitor, so nothing else can
//! end up in a shared page. Responses with `Set-Cookie`, with a `Cache-Control` of their own, with a `Vary` on something
//! that was not declared, with a nonce in their CSP, incomplete ones, errors, and pages whose handler asked for the
//! visitor's request ([`DynamicRequest`]) are never kept; every visitor's own request then goes to the handler. Other
//! methods than `GET` and `HEAD`, `Range`, and requests with a body go there anyway.
//!
//! # Beyond one process
//!
//! Without a store everything ends with the process. [`IsrBuilder::store`] takes a [`store::DiskStore`], a
//! `store::RedisStore` (feature `redis`), a `store::CloudflareKv` (feature `cloudflare-kv`), or any other
//! [`store::Store`]: entries are found again after a restart, and by every process that shares the store, and so are
//! invalidations.
//!
//! ```no_run
//! use axum_isr::{Isr, store::DiskStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let isr = Isr::builder().store(DiskStore::open("cache")?).deployment_id("2026-11-21").build()?;
//! # drop(isr); Ok(())
//! # }
//! ```
//!
//! # Before the first visitor
//!
//! [`prerender::Export`] renders the pages of a router to a folder, at build time; [`IsrBuilder::seeds`] takes such a folder,
//! and each page is then a HIT for its first visitor. [`prerender::populate`], and the command `axum-isr populate`, fill a
//! store with it, for every process that shares it.
//!
//! # Guarantees and limits
//!
//! - One running render per page in a process, however many ask; no visitor's disconnect cancels it for others. (A
//!   `HEAD` does not share the first render of a `GET` that comes later: it may have a handler of its own. Such a
//!   handler answers without a body; what has one is taken for the page. And a `HEAD` leaves a stale page that a `GET`
//!   has made to the next `GET`.)
//! - Only a body that ended cleanly, within its limit and as long as it said, is kept. A failed regeneration keeps the
//!   old page and is tried again after 1 s, 2 s, … 60 s.
//! - Everything is bounded: bytes in memory (128 MiB), body (2 MiB), bytes being captured (a quarter of the memory),
//!   regenerations (2 × cores) and renders whose visitors have left (half as many), waiters for a page (10,000), time of
//!   a render (30 s to its head, 30 s between two frames, 2 min in all when nobody waits), key (1,024 bytes).
//! - When a verb of invalidation ([`Isr::expire_tag`], …) has returned, it is in effect in this process: an expired page is
//!   not served any more, a revalidated one neither as a HIT nor as a MISS that others may keep, and what was being
//!   rendered counts as old. Who has been overtaken three times in a row gets his own request answered.
//! - With a store it is then in the store's ledger too, and in effect in every process that shares it
//!   [`coherence`](IsrBuilder::coherence) later (1 s; [`Invalidated::everywhere`] waits for that). If the ledger cannot be
//!   reached it is in effect in this process alone, the call says so ([`InvalidateError::LocalOnly`]), and it is sent
//!   when the ledger is back; if the process ends before, it is lost ([`ShutdownReport::unsent_marks`]).
//! - A store that is down, slow or damaged costs a page, or a value, at most 100 ms for a look at the ledger and 150 ms for
//!   one at the entry ([`store_deadlines`](IsrBuilder::store_deadlines)), and after three failures in a row nothing until
//!   it is back. What
//!   memory has is served; what is fresh counts as stale when the ledger could not be asked for 30 s
//!   ([`max_unverified`](IsrBuilder::max_unverified)).
//! - A ledger that is lost, or has lost its end, is noticed, and nothing stored before is used as if nothing had been
//!   invalidated ([`on_unknown`](IsrBuilder::on_unknown)). Entries may vanish, be damaged or be swapped: then they are
//!   rendered. What was acknowledged by a server that then lost it, together with the process that made it, is lost.
//! - A store that grants leases (Redis) has a page rendered in one process at a time, if it can be reached, and nobody
//!   waits for another process longer than 5 s; with other stores each process renders for itself. Writing is best
//!   effort, in the background, and waits within a quarter of the memory.
//! - Deployments that share a store never read each other's entries ([`IsrBuilder::deployment_id`]); their invalidations
//!   reach all.
//! - A seed is used for its first visitor by the rules of live responses and by the marks: one that was made after the build,
//!   by clocks that differ by up to five minutes, beats it; without a store those of this process. Its age counts from the build. A
//!   source that fails costs a visitor its timeout (1 s a page, 10 s for the manifest), and less and less often.
//! - One running computation of a cached value in a process, however many ask (up to 10,000 wait; others compute for
//!   themselves), within the time of a render; as many without anybody who waits as renders whose visitors have left.
//!   A failed one is tried again as a page is. Data of another handle ([`Isr`]), and what a page gets by asking its own
//!   site for another page, does not count for the page.
//! - At most 65,536 marks are kept apart; older ones count as marks on everything.
//! - Until a pattern has rendered well once, a first render that fails is tried again with the visitor's own request,
//!   which may have what the render lacked. Around a whole router, and behind a wildcard, one page says nothing about
//!   another: there every first render that fails runs the handler twice.
//! - What a page makes of itself is its own business: a handler whose page differs by a value that it draws at random
//!   shows everybody the same value until the page is rendered again.
//! - Routers that share a handle share its pages: give equal paths of different sites a [`RouteConfig::namespace`].
//! - A handler that asks its own site for the page that it renders gets it from itself, not from the cache; but not when
//!   it asks from a task that it spawned, or over a socket: then it waits for itself, until the render timeout.
//! - Without a store the cache ends with the process. It does not reach CDNs and browsers, which obey the headers they
//!   got.
//!
//! # Features
//!
//! | feature | cost |
//! |---|---|
//! | (none) | the default, with [`store::DiskStore`]: axum without its server, tokio's `rt`, `sync` and `time`, `MessagePack` and `serde_json`; 74 crates |
//! | `admin` | `admin::router`: a dashboard and its API; `admin::revalidation_router`: invalidation over HTTP; 1 crate more |
//! | `metrics` | [counts and times](stats#metrics) for the facade `metrics`, and with it for Prometheus and others; 3 crates more |
//! | `redis` | `store::RedisStore`: Redis and Valkey, clusters too; the client `redis` with tokio's network, 47 crates more |
//! | `redis-tls` | the same over TLS (`rediss://`), with the system's certificates; `rustls` and `ring`, which is built with a C compiler, 10 crates more than `redis` |
//! | `cloudflare-kv` | `store::CloudflareKv`: Cloudflare KV, over a gateway Worker or the REST API; the client `reqwest` (HTTP/1.1) with `rustls` and `ring`, `base64`, 53 crates more |
//! | `http` | `prerender::Seeds::http`: seeds from a server; `reqwest` with `rustls`, `ring` and the system's certificates, 53 crates more |
//! | `cli` | the program `axum-isr`, `prerender::Export::progress_bar`; `clap`, `indicatif` and what `http` takes, 65 crates more |
//!
//! Crates by `cargo tree -e normal` on Linux; an application with axum has many of them anyway.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | fresh, stale, expired | younger than `revalidate`; younger than `expire`; neither |
//! | `HIT`, `STALE`, `MISS` | answered from a fresh page; from a stale one; rendered while the request waited |
//! | entry, key, key input, variant | a kept page; what identifies it; what a route declares beyond the path; one value of that |
//! | render, flight, leader, follower | making a page; doing so for everybody who asks; the task; those who joined |
//! | regenerate | to render a stale page again in the background |
//! | revalidate, expire | the verbs of invalidation: serve the old page while a new one is rendered; do not serve it any more |
//! | data, value | what pages are made from, computed once and kept; one of it |
//! | tag, mark | a name that pages carry; one invalidation of one thing |
//! | store | what keeps entries beyond the process, and the ledger |
//! | ledger | all marks in their order; with a store that of all who share it, else this process's own |
//! | stamp, epoch | a mark's place in the ledger; which ledger it is, another one after it was lost |
//! | lease | one process's right to render a page, for a time |
//! | scope | what keeps the entries of deployments apart |
//! | bypass | the request was not looked up |
//! | pass | looked up, but the page is not shared: the visitor's own request went to the handler |
//!
//! [axum]: https://docs.rs/axum

#[cfg(feature = "admin")]
pub mod admin;
mod backing;
mod clock;
pub mod config;
mod contained;
pub mod data;
mod entry;
mod error;
mod explain;
mod flight;
mod future;
mod isr;
mod key;
mod layer;
mod ledger;
mod memory;
mod policy;
pub mod prerender;
mod render;
mod service;
pub mod stats;
pub mod store;
mod telemetry;
pub mod testing;
mod web;

pub use error::{ConfigError, DataError, InvalidateError};
pub use future::ResponseFuture;
pub use isr::{Invalidated, Isr, IsrBuilder, Mode, Progress, Regeneration, ShutdownReport};
pub use layer::IsrLayer;
pub use ledger::Verb;
pub use policy::life::CacheLife;
pub use policy::route::{Dynamic, RouteConfig};
pub use policy::status::CacheStatus;
pub use policy::tag::Tag;
pub use render::{DynamicRequest, Render};
pub use service::IsrService;

/// What the README shows compiles. Some of it is about Redis and Cloudflare KV.
#[cfg(all(doctest, feature = "redis", feature = "cloudflare-kv"))]
#[doc = include_str!("../README.md")]
struct Readme;
