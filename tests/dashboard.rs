//! The dashboard in a real browser: Debian's chromium, driven by the scripts in `tests/browser`.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/shelves.rs"]
mod shelves;

use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::{get, post};
use axum_isr::admin::{self, AdminConfig};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Render, RouteConfig};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;

use crate::shelves::Shelves;

const TOKEN: &str = "the-token-of-the-browser-test";

/// A run takes half a minute where nothing else runs, and is not asked to be fast.
const PATIENCE: Duration = Duration::from_secs(540);

const MISSING: &str = "node, chromium or npm's playwright-core is not there: run scripts/install chromium chromium and \
                       scripts/install playwright (they need node 18 or later and npm)";

#[derive(Deserialize)]
struct Advance {
    secs: u64,
}

#[derive(Deserialize)]
struct Gate {
    open: u8,
}

/// What a person sees and does, from a wrong token to logging out: see the steps in the script. The pictures are in
/// `target/dashboard`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_works_in_a_browser() {
    let (clock, gate) = (ManualClock::new(), watch::Sender::new(true));
    let site = serve(site(&clock, &gate)).await;
    let control = serve(control(&clock, &gate)).await;
    play("dashboard.mjs", site, &[format!("http://{control}")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_works_with_a_hundred_thousand_entries() {
    let Shelves { isr, pages } = Shelves::filled().await;
    let app = pages.nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap()).with_state(isr);
    play("many.mjs", serve(app).await, &[]).await;
}

/// Runs a script of `tests/browser` against a site whose dashboard is at `/_isr`.
async fn play(script: &str, site: SocketAddr, more: &[String]) {
    let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join("target/playwright");
    assert!(modules.join("node_modules/playwright-core/package.json").exists(), "{MISSING}");
    let run = Command::new("node")
        .arg(root.join("tests/browser").join(script))
        .arg(&modules)
        .args([format!("http://{site}/_isr"), TOKEN.to_owned(), format!("http://{site}")])
        .arg(root.join("target/dashboard"))
        .args(more)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("not done after {PATIENCE:?}"));
    let output = ended.unwrap_or_else(|problem| panic!("node: {problem}: {MISSING}"));
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{told}");
}

/// `/posts/{slug}`, fresh for a minute, whose renders wait at the gate.
fn site(clock: &ManualClock, gate: &watch::Sender<bool>) -> Router {
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let gate = gate.clone();
    let page = move |Path(slug): Path<String>, render: Render| {
        let mut gate = gate.subscribe();
        async move {
            render.tag(format!("post:{slug}"));
            gate.wait_for(|open| *open).await.unwrap();
            format!("the page {slug}")
        }
    };
    let config = RouteConfig::revalidate(Duration::from_secs(60)).expire(Duration::from_secs(86_400));
    Router::new()
        .route("/posts/{slug}", get(page))
        .route_layer(isr.layer(config))
        .nest("/_isr", admin::router(AdminConfig::new(TOKEN)).unwrap())
        .with_state(isr)
}

fn control(clock: &ManualClock, gate: &watch::Sender<bool>) -> Router {
    let (clock, gate) = (clock.clone(), gate.clone());
    let advance =
        move |Query(Advance { secs }): Query<Advance>| async move { clock.advance(Duration::from_secs(secs)) };
    let turn = move |Query(Gate { open }): Query<Gate>| async move {
        gate.send_replace(open == 1);
    };
    Router::new().route("/advance", post(advance)).route("/gate", post(turn))
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}
