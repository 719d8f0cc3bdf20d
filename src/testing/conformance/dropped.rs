//! Futures that are dropped before they have ended.

use std::pin::pin;
use std::task::{Context, Waker};

use super::nodes::{Setup, Works, tags, version};
use super::reader::{NOT_EMPTY, Reader, stamped};
use crate::store::Put;

/// Polls a future once, lets others run, and drops it.
async fn begin<T>(future: impl Future<Output = T>) {
    {
        let mut future = pin!(future);
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
}

/// Cancel safety of `put`: all of the entry is there or nothing, and it can be put again.
pub(super) async fn a_dropped_put_can_be_repeated(setup: Setup) {
    let nodes = setup.nodes().await;
    let room = nodes.profile.max_bytes.saturating_sub(32).min(1 << 20);
    for n in 0..10_u8 {
        let item = nodes.item(&format!("k{n}"), version(1, 1, 0), &vec![n; room]);
        begin(nodes.a.put(&item)).await;
        if nodes.exact() {
            let there = nodes.b.get(&item.key).await.works("get");
            let whole = there
                .as_ref()
                .is_none_or(|bytes| bytes.len() == item.bytes.len() && bytes[32..].windows(2).all(|w| w[0] == w[1]));
            assert!(whole, "a part of an entry is there after its put was dropped");
        }
        assert_eq!(nodes.a.put(&item).await.works("put after a dropped put"), Put::Stored);
        nodes.find(&item.key, Some(&item.bytes), "put again after it was dropped").await;
        begin(nodes.a.get(&item.key)).await;
        begin(nodes.a.remove(&item.key, version(1, 0, 0))).await;
        nodes.find(&item.key, Some(&item.bytes), "a get and a remove of what is older were dropped").await;
    }
}

/// Cancel safety of `invalidate`: the marks are noted or not, and the next call works.
pub(super) async fn a_dropped_invalidation_can_be_repeated(setup: Setup) {
    let nodes = setup.nodes().await;
    let mut reader = Reader::at_end(&nodes.b, 7).await;
    for n in 0..10 {
        let marks = tags(&n.to_string(), 3);
        begin(nodes.a.invalidate(&marks, NOT_EMPTY)).await;
        let noted = nodes.a.invalidate(&marks, NOT_EMPTY).await.works("invalidate after a dropped one");
        if nodes.exact() {
            // What was dropped may take effect later than what was done after it: then it is told with a newer stamp.
            let told = reader.news(NOT_EMPTY).await;
            for mark in &marks {
                let known = told.iter().any(|(told, stamp)| told == mark && *stamp >= noted.stamp);
                assert!(known, "{:?} was not told", mark.to_text());
            }
        }
    }
    let marks = tags("last", 2);
    let noted = nodes.b.invalidate(&marks, NOT_EMPTY).await.works("invalidate");
    let told = if nodes.exact() { reader.news(NOT_EMPTY).await } else { return };
    assert!(stamped(&marks, noted).iter().all(|mark| told.contains(mark)), "the ledger goes on: {told:?}");
}

/// Cancel safety of `changes`: no mark is lost.
pub(super) async fn a_dropped_poll_can_be_repeated(setup: Setup) {
    let nodes = setup.nodes().await;
    begin(nodes.a.changes(None, 7)).await;
    let mut reader = Reader::at_end(&nodes.a, 7).await;
    for n in 0..10 {
        let marks = tags(&n.to_string(), 3);
        let noted = nodes.b.invalidate(&marks, NOT_EMPTY).await.works("invalidate");
        begin(nodes.a.changes(reader.cursor.as_ref(), NOT_EMPTY)).await;
        begin(nodes.a.hint()).await;
        reader.is_told(&nodes, &stamped(&marks, noted), "after a poll that was dropped").await;
    }
}
