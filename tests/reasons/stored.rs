//! What the store says of a page, which nobody knows before it is asked.

use std::time::Duration;

use axum_isr::IsrBuilder;
use axum_isr::config::ResponseHeaders;
use axum_isr::stats::{Miss, Reason, Stale};
use axum_isr::store::StoreErrorKind;
use axum_isr::testing::{Fault, Operation};

use crate::case::{Case, Row, row};
use crate::common::{let_run, seen};
use crate::nodes::Node;
use crate::planted::Planted;
use crate::reasons::all_agree;
use crate::trouble::{Cluster, SECOND, written};

const DOWN: Fault = Fault::Error(StoreErrorKind::Unavailable);

#[test]
fn what_is_told_of_a_store_agrees() {
    all_agree(rows());
}

fn debug(builder: IsrBuilder) -> IsrBuilder {
    builder.headers(ResponseHeaders::shared().debug())
}

/// A cluster whose store has `/p/a`, and the process that has put it there.
pub(crate) async fn filled() -> (Cluster, Node) {
    let cluster = Cluster::new();
    let node = cluster.healthy_with(debug);
    seen(&node.app, "/p/a").await;
    written(&node).await;
    (cluster, node)
}

/// A cold process with faults.
pub(crate) fn cold(cluster: &Cluster) -> Node {
    cluster.troubled_with(debug)
}

/// Asked of a process that has nothing under the key.
fn case(cluster: Cluster, node: &Node) -> Case {
    Case::new(&node.isr, &node.app).with_store().holding(cluster)
}

/// What the store has under the key is something else.
fn edit(cluster: &Cluster, change: impl Fn(&mut Planted)) {
    cluster.memory.edit(|_, bytes| {
        let mut planted = Planted::open(bytes);
        change(&mut planted);
        Some(planted.seal())
    });
}

pub(crate) fn rows() -> Vec<Row> {
    let miss = Reason::Miss;
    vec![
        row(miss(Miss::Cold), "the store has none either", async || {
            let cluster = Cluster::new();
            let node = cold(&cluster);
            case(cluster, &node)
        }),
        row(Reason::Hit, "the store has a fresh one", async || {
            let (cluster, _) = filled().await;
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(Reason::Stale(Stale::Age), "the store has an old one", async || {
            let (cluster, _) = filled().await;
            cluster.clock.advance(60 * SECOND);
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(Reason::Stale(Stale::Invalidated), "the store has one that was revalidated since", async || {
            let (cluster, other) = filled().await;
            other.isr.revalidate_tag("p:a").await.unwrap();
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::Expired), "the store has one that is too old", async || {
            let (cluster, _) = filled().await;
            // It keeps it for a while, in case its clock is wrong.
            edit(&cluster, |planted| planted.record.window[2] = planted.record.window[1]);
            cluster.clock.advance(60 * SECOND);
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::Invalidated), "the store has one that was expired since", async || {
            let (cluster, other) = filled().await;
            other.isr.expire_tag("p:a").await.unwrap();
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::Unknown), "the ledger was lost", async || {
            let (cluster, _) = filled().await;
            cluster.memory.lose_ledger();
            cluster.clock.advance(SECOND);
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::Damaged), "a byte of it is another", async || {
            let (cluster, _) = filled().await;
            let node = cold(&cluster);
            cluster.faults.set(Operation::Get, Fault::Corrupt);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::Damaged), "it has a header that no page has", async || {
            let (cluster, _) = filled().await;
            edit(&cluster, |planted| planted.record.header("set-cookie", b"a=1"));
            let node = cold(&cluster);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::Damaged), "nobody of us has signed it", async || {
            let (cluster, _) = filled().await;
            let node = cluster.troubled_with(|builder| debug(builder).signing_keys([[7; 32]]));
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::StoreFailed), "the store says that it cannot", async || {
            let (cluster, _) = filled().await;
            let node = cold(&cluster);
            cluster.faults.set(Operation::Get, DOWN);
            case(cluster, &node).looks_cold()
        }),
        row(miss(Miss::StoreFailed), "the store does not answer", async || {
            let (cluster, _) = filled().await;
            let node = cold(&cluster);
            cluster.faults.set(Operation::Get, Fault::Hang);
            case(cluster, &node).looks_cold().goes_on()
        }),
        row(miss(Miss::StoreFailed), "its ledger cannot be read", async || {
            let (cluster, _) = filled().await;
            let node = cold(&cluster);
            cluster.faults.set(Operation::Changes, DOWN);
            case(cluster, &node).looks_cold()
        }),
        row(Reason::Stale(Stale::Unverified), "cut off from the ledger for longer than it counts", async || {
            let cluster = Cluster::new();
            let node = cluster.troubled_with(|builder| debug(builder).max_unverified(5 * SECOND));
            seen(&node.app, "/p/a").await;
            written(&node).await;
            let_run().await;
            cluster.faults.set_all(&DOWN);
            cluster.pass(8 * SECOND).await;
            seen(&node.app, "/p/other").await;
            cluster.pass(Duration::from_millis(100)).await;
            case(cluster, &node)
        }),
    ]
}
