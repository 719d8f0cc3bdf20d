//! What every store promises, of two processes' handles onto one folder.

use std::sync::Arc;

use axum_isr::store::DiskStore;
use axum_isr::testing::conformance::Fixture;
use axum_isr::testing::store_conformance;

/// Opened twice: nothing that is known in memory is shared.
async fn opened_twice(max_marks: usize) -> Fixture {
    let dir = crate::folder();
    let open = || Arc::new(DiskStore::open(dir.path()).unwrap().max_marks(max_marks));
    Fixture::new(vec![open(), open()]).keep(dir)
}

/// One process: what is known in memory is shared.
async fn cloned(max_marks: usize) -> Fixture {
    let dir = crate::folder();
    let store = DiskStore::open(dir.path()).unwrap().max_marks(max_marks).unsynced_ledger();
    Fixture::new(vec![Arc::new(store.clone()), Arc::new(store)]).keep(dir)
}

store_conformance!(two_processes, opened_twice);
store_conformance!(one_process, cloned);
