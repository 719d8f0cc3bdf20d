//! What this process has learned about its handlers.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::key::CacheKey;
use crate::render::Site;

/// Handlers come from the application's routers; more than this many would be made up per request.
const MOST: usize = 10_000;

/// Handlers that have rendered well, and warnings that were given.
#[derive(Default)]
pub(crate) struct Beliefs {
    /// By the hash of what tells them apart, keyed at random.
    rendered: Mutex<HashSet<u64>>,
    hasher: RandomState,
    warned: Mutex<HashSet<(Box<str>, &'static str)>>,
}

impl Beliefs {
    /// A page of this handler rendered well: a failure is a failure from now on.
    pub(crate) fn rendered_well(&self, site: &Site, key: &CacheKey) {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if site.is_one_handler() && rendered.len() < MOST {
            rendered.insert(self.handler(site, key));
        }
    }

    /// Whether a failing first render may be taken at its word. Where the pattern of the handler is not known (around a
    /// whole router, behind a wildcard), one page says nothing about another.
    pub(crate) fn believes(&self, site: &Site, key: &CacheKey) -> bool {
        let rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        site.is_one_handler() && rendered.contains(&self.handler(site, key))
    }

    /// A pattern in one layer; in another namespace, for another host or another variant it may be another handler.
    fn handler(&self, site: &Site, key: &CacheKey) -> u64 {
        let key = key.parts();
        self.hasher.hash_one((site.layer, key.namespace, key.pattern, key.nest, key.host, key.headers, key.cookies))
    }

    /// Whether a warning of this kind is the first for the pattern.
    pub(crate) fn first_warning(&self, pattern: &str, kind: &'static str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MOST && warned.insert((pattern.into(), kind))
    }
}
