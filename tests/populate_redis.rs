//! From an export to a server of Redis, and from there to the first visitors of a new process.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/redis.rs"]
mod redis_servers;
#[path = "common/site.rs"]
mod site;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Path as Params;
use axum::response::Html;
use axum::routing::get;
use axum_isr::prerender::{Export, Populate, Populated, Seeds, populate};
use axum_isr::store::{RedisStore, Store};
use axum_isr::{Isr, RouteConfig};
use common::{Handler, fetch, state};
use redis_servers::{PATIENCE, Server, connect, patient};
use site::{HOST, Site};
use tempfile::TempDir;

/// A little before now, in whole seconds.
fn built() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - 10)
}

fn numbers(report: &Populated) -> (usize, usize, usize, usize) {
    (report.pages, report.written, report.skipped.len(), report.failed.len())
}

/// A process without seeds.
fn process(store: impl Store) -> Site {
    Site::new(|builder| builder.store(store).store_deadlines(PATIENCE, PATIENCE, PATIENCE))
}

/// R43, R45: binary, empty, unicode, variants, nests: all of it is what the second process reads.
#[tokio::test]
async fn a_process_finds_every_page_of_an_export_in_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let report = Site::new(|builder| builder).export(&folder.path().join("site"), built(), false).await;
    let (server, pages) = (Server::start(), report.rendered.len());
    let seeds = Seeds::dir(folder.path().join("site"));
    let first = populate(&seeds, &connect(&server).await).await.unwrap();
    assert_eq!((numbers(&first), first.is_complete()), ((pages, pages, 0, 0), true), "{first}");
    // Another connection, as another process has.
    let again = populate(&seeds, &connect(&server).await).await.unwrap();
    assert_eq!((numbers(&again), again.is_complete()), ((pages, 0, pages, 0), true), "{again}");
    assert!(again.skipped.iter().all(|page| page.reason == "there already"), "{again}");

    let (second, other) = (process(connect(&server).await), Site::new(|builder| builder));
    for page in &report.rendered {
        let found = second.ask(page).await;
        assert_eq!(found.state, "HIT", "{page:?}");
        other.ask(page).await;
        assert_eq!(found.page(), other.ask(page).await.page(), "{page:?}");
    }
    let stats = second.isr.stats();
    assert_eq!((second.handled(), stats.renders, stats.store_hits), (0, 0, pages as u64));

    // What they are tagged with came along.
    let third = process(connect(&server).await);
    third.isr.expire_tag("posts").await.unwrap();
    for (path, state) in [("/", "MISS"), ("/gone", "HIT")] {
        let page = report.rendered.iter().find(|page| page.path == path).unwrap();
        assert_eq!(third.ask(page).await.state, state, "{path}");
    }
    let after = populate(&seeds, &connect(&server).await).await.unwrap();
    assert_eq!((after.written, after.failed.len()), (0, 0), "{after}");
}

/// `/0`, `/1`, … in a folder.
struct Many {
    folder: TempDir,
    pages: usize,
}

impl Many {
    async fn new(pages: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let isr = Isr::builder().deployment_id("one").build().unwrap();
        let export = Export::new(Self::app(&isr, get(page))).host(HOST).built_at(built());
        let export = export.paths((0..pages).map(|n| format!("/{n}")));
        let report = export.to(folder.path().join("site")).await.unwrap();
        assert!(report.is_complete() && report.rendered.len() == pages, "{report}");
        Self { folder, pages }
    }

    fn app(isr: &Isr, handler: axum::routing::MethodRouter) -> Router {
        Router::new().route("/{n}", handler).route_layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(3_600))))
    }

    /// One batch after the other.
    fn populate(&self) -> Populate {
        Populate::new(&Seeds::dir(self.site())).batches(1)
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// A process without seeds finds all of them, and renders none.
    async fn are_there(&self, store: RedisStore) {
        let handler = Handler::counting();
        let backed = Isr::builder().deployment_id("one").store(store).store_deadlines(PATIENCE, PATIENCE, PATIENCE);
        let isr = backed.build().unwrap();
        let app = Self::app(&isr, get(handler.clone()));
        for n in 0..self.pages {
            let response = fetch(&app, &format!("/{n}")).await;
            assert_eq!(state(&response), "HIT", "{n}: {:?}", isr.stats());
            assert_eq!(common::body(response).await, page(Params(n)).await.0);
        }
        assert_eq!((handler.calls(), isr.stats().store_hits), (0, self.pages as u64));
    }
}

async fn page(Params(n): Params<usize>) -> Html<String> {
    Html(format!("<h1>{n}</h1>{}", "<p>a paragraph</p>".repeat(n % 7)))
}

/// R44: as many as one call of the largest service takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pages_are_all_there() {
    let (many, server) = (Many::new(10_000).await, Server::start());
    let report = populate(&Seeds::dir(many.site()), &connect(&server).await).await.unwrap();
    assert_eq!(numbers(&report), (10_000, 10_000, 0, 0), "{report}");
    many.are_there(connect(&server).await).await;
}

/// A connection of its own.
async fn again(server: &Mutex<Server>) -> RedisStore {
    let url = server.lock().unwrap().url();
    patient().connect(&url).await.unwrap()
}

/// Goes down after so many pages, with what it has by then, or without.
fn goes_down(server: &Arc<Mutex<Server>>, after: usize, saves: bool) -> impl Fn(usize, usize) + Send + Sync + 'static {
    let server = Arc::clone(server);
    move |done, _| {
        if done == after {
            let mut server = server.lock().unwrap();
            if saves {
                server.save();
            }
            server.kill();
        }
    }
}

/// R44: a server that goes down in the middle and comes back is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_in_the_middle_is_waited_for() {
    let many = Many::new(2_000).await;
    let server = Arc::new(Mutex::new(Server::start()));
    let store = again(&server).await;
    let (down, back) = (goes_down(&server, 1_000, true), Arc::clone(&server));
    let populate = many.populate().retries(8).on_progress(move |done, all| {
        down(done, all);
        if done == 1_000 {
            let back = Arc::clone(&back);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                back.lock().unwrap().restart();
            });
        }
    });
    let report = populate.into_store(&store).await.unwrap();
    assert_eq!((numbers(&report), report.is_complete()), ((2_000, 2_000, 0, 0), true), "{report}");
    let store = again(&server).await;
    many.are_there(store).await;
}

/// R44, R47: one that does not come back in time is told of, and the next call does the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_broken_off_is_completed_by_the_next_call() {
    let many = Many::new(2_000).await;
    for saves in [true, false] {
        let server = Arc::new(Mutex::new(Server::start()));
        let store = again(&server).await;
        let first = many.populate().retries(1).on_progress(goes_down(&server, 1_000, saves));
        let first = first.into_store(&store).await.unwrap();
        assert_eq!((numbers(&first), first.is_complete()), ((2_000, 1_000, 0, 1_000), false), "{first}");
        assert!(first.failed.iter().all(|page| !page.reason.is_empty() && page.reason.len() <= 500), "{first}");
        server.lock().unwrap().restart();
        // Over the same connection, which has to be made anew: what cannot be asked for meanwhile is written once more.
        let second = many.populate().into_store(&store).await.unwrap();
        let there = if saves { 1_000 } else { 0 };
        assert!(second.is_complete() && second.written + second.skipped.len() == 2_000, "{second}");
        assert!(second.skipped.len() <= there, "{second}");
        let store = again(&server).await;
        many.are_there(store).await;
    }
}

/// A server that comes back without its ledger has a new one, and what was written before is not used by mistake: it is
/// written again by the next call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_lost_everything_in_the_middle_is_filled_by_the_next_call() {
    let many = Many::new(1_500).await;
    let server = Arc::new(Mutex::new(Server::start()));
    let store = again(&server).await;
    let lost = Arc::clone(&server);
    let first = many.populate().on_progress(move |done, _| {
        if done == 500 {
            lost.lock().unwrap().restart_empty();
        }
    });
    let first = first.into_store(&store).await.unwrap();
    assert_eq!(first.pages, 1_500);
    let second = many.populate().into_store(&store).await.unwrap();
    assert!(second.is_complete(), "{first} {second}");
    let store = again(&server).await;
    many.are_there(store).await;
}
