//! Who renders what, for work that no visitor asked for.
//!
//! A page knows who rendered it, weakly: a router is built anew for each connection, and a page that kept the service
//! would keep several times its own size. Where that one has gone, there is the latest of its kind. It is held for as long
//! as the layer is there from which the next connection's service will be made; a service that was built once and outlives
//! its layer is found for as long as the application has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::extract::{MatchedPath, NestedPath};

use super::recipe::{Recipe, Renderer};
use crate::key::CacheKey;
use crate::policy::route::RouteConfig;
use crate::telemetry::Route;

/// Kinds of pages come from the application's routers and from what visitors choose, such as hosts. Beyond this many, some
/// are forgotten: their pages are rendered again by who rendered them, as long as that is there.
const MOST: usize = 10_000;

/// So few are looked through for dead ones whenever there is a new one.
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

/// Who rendered a page, and by which configuration.
pub(crate) struct Maker {
    renderer: Weak<dyn Renderer>,
    layer: LayerId,
    matched: Option<MatchedPath>,
    nested: Option<NestedPath>,
    route: RouteConfig,
    /// A configuration that came with the request and is nobody else's.
    given: bool,
    /// A HEAD may have a handler of its own: whoever makes pages for GETs does not leave them to it.
    for_head: bool,
    numbers: Arc<Route>,
}

impl Maker {
    pub(crate) fn new(recipe: &Recipe, for_head: bool) -> Self {
        Self {
            renderer: Arc::downgrade(&recipe.renderer),
            layer: recipe.layer.clone(),
            matched: recipe.matched.clone(),
            nested: recipe.nested.clone(),
            route: recipe.route.clone(),
            given: recipe.given,
            for_head,
            numbers: Arc::clone(&recipe.numbers),
        }
    }

    /// What is counted of its route.
    #[inline]
    pub(crate) fn numbers(&self) -> &Arc<Route> {
        &self.numbers
    }

    pub(crate) fn is_for_head(&self) -> bool {
        self.for_head
    }

    /// Bytes that it keeps besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.given { self.route.heap_bytes() } else { 0 }
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
    renderer: Weak<dyn Renderer>,
    held: Option<Arc<dyn Renderer>>,
}

/// The latest renderer of each kind of page.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Kinds>);

#[derive(Default)]
struct Kinds {
    known: HashMap<Kind, Known>,
    /// New ones since they were looked through for dead ones.
    new: usize,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page was rendered by this recipe.
    pub(crate) fn note(&self, recipe: &Recipe, key: &CacheKey, for_head: bool) {
        let kind = Kind::new(recipe.layer.number(), for_head, key);
        let mut kinds = self.lock();
        let gone = if kinds.known.contains_key(&kind) { Vec::new() } else { kinds.make_room() };
        // Under the lock, which whoever drops a layer takes after he has said so.
        let held = !recipe.layer.dropped.load(Ordering::Relaxed);
        let known =
            Known { renderer: Arc::downgrade(&recipe.renderer), held: held.then(|| Arc::clone(&recipe.renderer)) };
        let replaced = kinds.known.insert(kind, known);
        drop(kinds);
        // A service is the application's code, whose drop may ask us something.
        drop((replaced, gone));
    }

    /// How to render a page again; `None` if nobody can without a visitor.
    pub(crate) fn recipe(&self, maker: &Maker, key: &CacheKey) -> Option<Arc<Recipe>> {
        let kind = Kind::new(maker.layer.number(), maker.for_head, key);
        let latest = || self.lock().known.get(&kind).map(|known| Weak::clone(&known.renderer));
        let renderer = maker.renderer.upgrade().or_else(|| latest()?.upgrade())?;
        Some(Arc::new(Recipe {
            shared: renderer.shared(&kind.key)?,
            renderer,
            layer: maker.layer.clone(),
            // The page's own configuration: that of another page of its kind may have other tags.
            route: maker.route.clone(),
            given: maker.given,
            matched: maker.matched.clone(),
            nested: maker.nested.clone(),
            numbers: Arc::clone(&maker.numbers),
        }))
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
    /// Takes what nobody has any more. Not looked for each time where there are many: when there are twice as many as
    /// last time, and when it is full, after as many more as that.
    fn make_room(&mut self) -> Vec<Known> {
        self.new += 1;
        let mut gone = Vec::new();
        if self.known.len() <= FEW || self.new >= self.known.len() / 2 {
            self.new = 0;
            gone = self.take_dead();
        }
        if self.known.len() >= MOST {
            // Any one.
            gone.extend(self.known.extract_if(|_, _| true).next().map(|(_, known)| known));
        }
        gone
    }

    fn take_dead(&mut self) -> Vec<Known> {
        self.known.extract_if(|_, known| known.renderer.strong_count() == 0).map(|(_, known)| known).collect()
    }
}
