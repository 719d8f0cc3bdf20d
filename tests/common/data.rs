//! A source of data that counts.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum_isr::Isr;

use super::until;

/// Counts computations; the n-th is n.
#[derive(Clone, Default)]
pub struct Source(Arc<AtomicUsize>);

impl Source {
    pub fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn calls(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Asks for it by a name.
    pub async fn get(&self, isr: &Isr, name: &str) -> usize {
        let source = self.clone();
        isr.data(name)
            .revalidate(Duration::from_secs(60))
            .tag("t")
            .get_or_init(move || async move { source.next() })
            .await
            .unwrap()
    }
}

/// No computation runs.
pub async fn quiet(isr: &Isr) {
    until(|| isr.stats().computations == 0).await;
}
