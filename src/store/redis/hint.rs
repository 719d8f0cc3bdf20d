//! Hints: that the ledger may have changed.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Rings for whoever waits. What rang while nobody did is kept for the next who does.
#[derive(Default)]
pub(super) struct Hint {
    rang: AtomicBool,
    waiting: Notify,
}

impl Hint {
    pub(super) fn ring(&self) {
        self.rang.store(true, Ordering::SeqCst);
        self.waiting.notify_waiters();
    }

    pub(super) async fn wait(&self) {
        let woken = self.waiting.notified();
        // `woken` is there before this look: nothing is missed in between.
        if self.rang.swap(false, Ordering::SeqCst) {
            return;
        }
        woken.await;
        self.rang.store(false, Ordering::SeqCst);
    }
}
