//! What this process has learned about its handlers.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::key::CacheKey;
use crate::render::Recipe;

/// Handlers come from the application's routers; more than this many would be made up per request.
const MOST: usize = 10_000;

/// Handlers that have rendered well, and warnings that were given.
#[derive(Default)]
pub(crate) struct Beliefs {
    /// By the hash of what tells them apart, keyed at random.
    rendered: Mutex<HashSet<u64>>,
    hasher: RandomState,
    warned: Warnings,
}

/// Warnings that were given.
#[derive(Default)]
pub(crate) struct Warnings(Mutex<HashSet<(Box<str>, &'static str)>>);

impl Warnings {
    /// Whether a warning of this kind is the first about something.
    pub(crate) fn first(&self, about: &str, kind: &'static str) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MOST && warned.insert((about.into(), kind))
    }
}

impl Beliefs {
    /// A page of this handler rendered well: a failure is a failure from now on.
    pub(crate) fn rendered_well(&self, recipe: &Recipe, key: &CacheKey) {
        let Some(handler) = self.handler(recipe, key) else {
            return;
        };
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if rendered.len() < MOST {
            rendered.insert(handler);
        }
    }

    /// Whether a failing first render may be taken at its word.
    pub(crate) fn believes(&self, recipe: &Recipe, key: &CacheKey) -> bool {
        let handler = self.handler(recipe, key);
        let rendered = || self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        handler.is_some_and(|handler| rendered().contains(&handler))
    }

    /// A pattern in one layer; in another namespace, for another host or another variant it may be another handler. None
    /// where there may be several behind the pattern (a wildcard) or no pattern is known (around a whole router): there
    /// one page says nothing about another.
    fn handler(&self, recipe: &Recipe, key: &CacheKey) -> Option<u64> {
        let matched = recipe.matched.as_ref()?;
        (!matched.as_str().contains("{*")).then(|| self.hasher.hash_one((recipe.layer.number(), key.kind())))
    }

    /// Whether a warning of this kind is the first for the pattern.
    pub(crate) fn first_warning(&self, pattern: &str, kind: &'static str) -> bool {
        self.warned.first(pattern, kind)
    }
}
