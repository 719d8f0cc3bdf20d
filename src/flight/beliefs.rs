//! What this process has learned about its patterns.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Patterns come from the application's routers; more than this many would be made up per request.
const MOST: usize = 10_000;

/// Patterns that have rendered well, and warnings that were given.
#[derive(Default)]
pub(crate) struct Beliefs {
    rendered: Mutex<HashSet<Box<str>>>,
    warned: Mutex<HashSet<(Box<str>, &'static str)>>,
}

impl Beliefs {
    /// A page of this pattern rendered well: a failure is a failure from now on.
    pub(crate) fn rendered_well(&self, pattern: &str) {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if !pattern.is_empty() && rendered.len() < MOST && !rendered.contains(pattern) {
            rendered.insert(pattern.into());
        }
    }

    /// Whether a failing first render may be taken at its word. Where no pattern is known (around a whole router), one
    /// page says nothing about another.
    pub(crate) fn believes(&self, pattern: &str) -> bool {
        self.rendered.lock().unwrap_or_else(PoisonError::into_inner).contains(pattern)
    }

    /// Whether a warning of this kind is the first for the pattern.
    pub(crate) fn first_warning(&self, pattern: &str, kind: &'static str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MOST && warned.insert((pattern.into(), kind))
    }
}
