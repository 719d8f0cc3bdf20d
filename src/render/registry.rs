//! Who renders what, for work that no visitor asked for.
//!
//! Pages keep no service: a router is built anew for each connection, and each page would keep the one that rendered it.
//! Here is one for each kind of page, the latest. It is held for as long as the layer is there from which the next
//! connection's service will be made; a service that was built once and outlives its layer is found for as long as the
//! application has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::recipe::{Recipe, Renderer};
use crate::key::CacheKey;

/// Kinds of pages come from the application's routers; more than this many would be made up per request.
const MOST: usize = 10_000;

/// So few are looked through whenever there is a new one.
const FEW: usize = 64;

/// A layer, as what it renders refers to it.
#[derive(Clone, Debug)]
pub(crate) struct LayerId {
    number: u64,
    /// Nothing can be made from the layer any more.
    dropped: Arc<AtomicBool>,
}

impl LayerId {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, dropped: Arc::default() }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// What renders alike: everything that is in a key but path and query, of one layer; a HEAD may have a handler of its
/// own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    layer: u64,
    for_head: bool,
    key: Box<[u8]>,
}

impl Kind {
    fn new(layer: u64, for_head: bool, key: &CacheKey) -> Self {
        Self { layer, for_head, key: key.kind() }
    }
}

struct Known {
    recipe: Recipe<Weak<dyn Renderer>>,
    held: Option<Arc<dyn Renderer>>,
    /// Larger is later.
    noted: u64,
}

/// The latest recipe of each kind of page.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Kinds>);

#[derive(Default)]
struct Kinds {
    known: HashMap<Kind, Known>,
    notes: u64,
    /// No more than this need not be looked through for dead ones.
    swept: usize,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page was rendered by this recipe.
    pub(crate) fn note(&self, recipe: &Recipe, key: &CacheKey, for_head: bool) {
        let kind = Kind::new(recipe.layer.number(), for_head, key);
        let weak = recipe.with(Arc::downgrade(&recipe.renderer));
        let mut kinds = self.lock();
        kinds.notes += 1;
        // Under the lock, which whoever drops a layer takes after he has said so.
        let held = (!recipe.layer.dropped.load(Ordering::Relaxed)).then(|| Arc::clone(&recipe.renderer));
        let known = Known { recipe: weak, held, noted: kinds.notes };
        let replaced = kinds.known.insert(kind, known);
        let gone = if replaced.is_none() { kinds.make_room() } else { Vec::new() };
        drop(kinds);
        // A service is the application's code, whose drop may ask us something.
        drop((replaced, gone));
    }

    /// How to render a page again; `None` if nobody can without a visitor.
    pub(crate) fn recipe(&self, layer: u64, for_head: bool, key: &CacheKey) -> Option<Arc<Recipe>> {
        let kind = Kind::new(layer, for_head, key);
        let kinds = self.lock();
        let recipe = &kinds.known.get(&kind)?.recipe;
        let renderer = recipe.renderer.upgrade()?;
        Some(Arc::new(recipe.with(renderer)))
    }

    /// Nothing can be made from a layer any more: its services belong to the application alone.
    pub(crate) fn release(&self, layer: &LayerId) {
        layer.dropped.store(true, Ordering::Relaxed);
        let mut kinds = self.lock();
        let of_layer = kinds.known.iter_mut().filter(|(kind, _)| kind.layer == layer.number);
        let held: Vec<_> = of_layer.filter_map(|(_, known)| known.held.take()).collect();
        drop(kinds);
        drop(held);
        // What nobody but us had is gone by now.
        let gone = self.lock().take_dead();
        drop(gone);
    }

    pub(crate) fn clear(&self) {
        let known = std::mem::take(&mut self.lock().known);
        drop(known);
    }
}

impl Kinds {
    /// What nobody has any more, whose shared extensions would be kept. Not looked for each time where there are many.
    fn make_room(&mut self) -> Vec<Known> {
        if self.known.len() <= self.swept {
            return Vec::new();
        }
        let mut gone = self.take_dead();
        if self.known.len() > MOST {
            let oldest = self.known.values().map(|known| known.noted).min().unwrap_or_default();
            gone.extend(self.known.extract_if(|_, known| known.noted == oldest).map(|(_, known)| known));
        }
        // Up to twice as many next time.
        self.swept = if self.known.len() < FEW { 0 } else { (2 * self.known.len()).min(MOST) };
        gone
    }

    fn take_dead(&mut self) -> Vec<Known> {
        self.known.extract_if(|_, known| known.recipe.renderer.strong_count() == 0).map(|(_, known)| known).collect()
    }
}
