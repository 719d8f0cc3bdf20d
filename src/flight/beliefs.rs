//! What this process has learned about its patterns.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::render::Site;

/// Patterns come from the application's routers; more than this many would be made up per request.
const MOST: usize = 10_000;

/// Patterns that have rendered well, and warnings that were given.
#[derive(Default)]
pub(crate) struct Beliefs {
    /// By namespace: the same pattern in another one is another handler.
    rendered: Mutex<HashMap<String, HashSet<String>>>,
    warned: Mutex<HashSet<(Box<str>, &'static str)>>,
}

impl Beliefs {
    /// A page of this handler rendered well: a failure is a failure from now on.
    pub(crate) fn rendered_well(&self, site: &Site) {
        let (Some(pattern), false) = (site.handler_pattern(), self.believes(site)) else {
            return;
        };
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if rendered.values().map(HashSet::len).sum::<usize>() < MOST {
            rendered.entry(site.route.settings().namespace.clone()).or_default().insert(pattern.to_owned());
        }
    }

    /// Whether a failing first render may be taken at its word. Where the pattern of the handler is not known (around a
    /// whole router, behind a wildcard), one page says nothing about another.
    pub(crate) fn believes(&self, site: &Site) -> bool {
        let rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let patterns = rendered.get(&site.route.settings().namespace);
        site.handler_pattern().is_some_and(|pattern| patterns.is_some_and(|known| known.contains(pattern)))
    }

    /// Whether a warning of this kind is the first for the pattern.
    pub(crate) fn first_warning(&self, pattern: &str, kind: &'static str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MOST && warned.insert((pattern.into(), kind))
    }
}
