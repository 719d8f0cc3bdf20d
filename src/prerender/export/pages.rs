//! Which paths are rendered, and which not any more.

use std::collections::{BTreeSet, HashSet};

use super::target::Target;

/// The paths of one level of links after the other.
pub(super) struct Pages {
    known: HashSet<Target>,
    /// What is to be rendered now.
    level: Vec<Target>,
    /// What the pages of this level lead to. Of too many the first by name stay, so that it does not matter which page was
    /// rendered first.
    next: BTreeSet<Target>,
    max: usize,
    /// How many more may be found by links.
    links: usize,
    pub(super) truncated: bool,
}

impl Pages {
    pub(super) fn new(max: usize, links: usize) -> Self {
        Self { known: HashSet::new(), level: Vec::new(), next: BTreeSet::new(), max, links, truncated: false }
    }

    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    /// A path that was given; `false` if there are enough.
    pub(super) fn give(&mut self, target: Target) -> bool {
        if self.known.contains(&target) {
            return true;
        }
        if self.known.len() >= self.max {
            self.truncated = true;
            return false;
        }
        self.level.push(target.clone());
        self.known.insert(target)
    }

    /// A path that a page leads to.
    pub(super) fn link(&mut self, target: Target) {
        if self.known.contains(&target) || !self.next.insert(target) {
            return;
        }
        if self.next.len() > self.links.min(self.max.saturating_sub(self.known.len())) {
            self.next.pop_last();
            self.truncated = true;
        }
    }

    pub(super) fn level(&mut self) -> Vec<Target> {
        std::mem::take(&mut self.level)
    }

    /// From this level to the next.
    pub(super) fn descend(&mut self) {
        let next = std::mem::take(&mut self.next);
        self.links -= next.len().min(self.links);
        for target in next {
            self.known.insert(target.clone());
            self.level.push(target);
        }
    }
}
