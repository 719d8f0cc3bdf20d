//! Whoever joins a render or a computation that was begun before something was invalidated elsewhere, with what is known of
//! the ledger being old.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use axum_isr::testing::{Fault, Operation};
use axum_isr::{Isr, Render, RouteConfig};
use common::{header, let_run, seen, send};
use nodes::Source;
use trouble::{Cluster, SECOND};

const MILLI: Duration = Duration::from_millis(1);

/// A node that is not told of anything before it asks.
fn unhinted(cluster: &Cluster) -> Isr {
    cluster.faults.set(Operation::Hint, Fault::Hang);
    let builder = Isr::builder().clock(cluster.clock.clone()).store(cluster.faulty.clone());
    builder.deployment_id("one").build().unwrap()
}

/// The version, which is slow to read as long as it is the first.
async fn read(source: Source) -> usize {
    let version = source.version();
    if version == 0 {
        tokio::time::sleep(400 * MILLI).await;
    }
    version
}

/// R27: a GET, or a HEAD whose render is one of its own.
#[tokio::test(start_paused = true)]
async fn no_render_is_joined_that_is_older_than_what_was_expired_elsewhere() {
    for method in ["GET", "HEAD"] {
        let cluster = Cluster::new();
        let (isr, source) = (unhinted(&cluster), cluster.source.clone());
        let page = move |render: Render| {
            let source = source.clone();
            async move {
                render.tag("far");
                [("x-version", read(source).await.to_string())]
            }
        };
        let config = RouteConfig::revalidate(60 * SECOND);
        let app = Router::new().route("/far", get(page)).route("/warm", get(|| async { "warm" }));
        let app = app.route_layer(isr.layer(config));
        seen(&app, "/warm").await;
        let_run().await;
        let ask = || {
            let request = Request::builder().method(method).uri("/far").body(Body::empty()).unwrap();
            let app = app.clone();
            async move { header(&send(&app, request).await, "x-version").to_owned() }
        };
        let first = tokio::spawn(ask());
        tokio::time::sleep(5 * MILLI).await;
        assert_eq!(isr.stats().flights, 1);
        cluster.source.publish();
        cluster.healthy().isr.expire_tag("far").await.unwrap();
        cluster.clock.advance(2 * SECOND);
        assert_eq!(ask().await, "1", "{method}");
        first.await.unwrap();
    }
}

/// R27, R28: the same for data.
#[tokio::test(start_paused = true)]
async fn no_computation_is_joined_that_is_older_than_what_was_expired_elsewhere() {
    let cluster = Cluster::new();
    let isr = unhinted(&cluster);
    let ask = || {
        let (isr, source) = (isr.clone(), cluster.source.clone());
        async move { isr.data("far").tag("far").get_or_init(move || read(source)).await.unwrap() }
    };
    let warm: u8 = isr.data("warm").get_or_init(|| async { 1 }).await.unwrap();
    let_run().await;
    let first = tokio::spawn(ask());
    tokio::time::sleep(5 * MILLI).await;
    cluster.source.publish();
    cluster.healthy().isr.expire_tag("far").await.unwrap();
    cluster.clock.advance(2 * SECOND);
    assert_eq!((ask().await, warm), (1, 1));
    first.await.unwrap();
}
