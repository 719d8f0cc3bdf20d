//! The store under test.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;

/// Handles onto one namespace that is empty and that nobody else uses, and what has to live as long.
pub struct Fixture {
    // Dropped first: a store may need what is kept until then.
    pub(super) stores: Vec<Arc<dyn Store>>,
    pub(super) patience: Duration,
    kept: Vec<Box<dyn Any + Send>>,
}

impl Fixture {
    /// Of two handles at least, each as another process would have it: with a connection or an opened folder of its own.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    #[must_use]
    pub fn new(stores: Vec<Arc<dyn Store>>) -> Self {
        assert!(stores.len() >= 2, "expected two handles or more onto one namespace, got {}", stores.len());
        Self { stores, patience: Duration::from_secs(20), kept: Vec::new() }
    }

    /// How much longer than it should something may take before it counts as not happening: what ends soon, or
    /// arrives [late](crate::store::Profile::late). 20 seconds by default, for busy machines; less finds a broken store
    /// sooner.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Keeps something until the check has ended: a folder, a server's process.
    #[must_use]
    pub fn keep(mut self, kept: impl Any + Send) -> Self {
        self.kept.push(Box::new(kept));
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.stores.first().map(|store| store.profile().name);
        f.debug_struct("Fixture").field("name", &name).field("stores", &self.stores.len()).finish_non_exhaustive()
    }
}
