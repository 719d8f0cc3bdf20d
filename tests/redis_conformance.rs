//! What every store promises, of a real server and of a real cluster.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/redis.rs"]
mod servers;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum_isr::testing::conformance::Fixture;
use axum_isr::testing::store_conformance;
use servers::{Cluster, Server, patient, unused_namespace};

/// The server that runs, for as long as a check uses it: what a `static` owned would never be stopped.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// The same of the cluster.
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// What runs already, or else is started.
fn running<T>(shared: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *shared = Arc::downgrade(&started);
        started
    })
}

async fn on_a_server(max_marks: usize) -> Fixture {
    let server = running(&SERVER, Server::start);
    let options = patient().namespace(unused_namespace()).max_marks(max_marks);
    let one = options.clone().connect(&server.url()).await.unwrap();
    let other = options.connect(&server.url()).await.unwrap();
    Fixture::new(vec![Arc::new(one), Arc::new(other)]).keep(server)
}

async fn on_a_cluster(max_marks: usize) -> Fixture {
    let cluster = running(&CLUSTER, Cluster::start);
    let options = patient().namespace(unused_namespace()).max_marks(max_marks);
    let one = options.clone().connect_cluster(cluster.urls()).await.unwrap();
    let other = options.connect_cluster(cluster.urls()).await.unwrap();
    Fixture::new(vec![Arc::new(one), Arc::new(other)]).keep(cluster)
}

store_conformance!(server, on_a_server);
store_conformance!(cluster, on_a_cluster);
