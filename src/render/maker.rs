//! How pages that are there are rendered again without a visitor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::extract::{MatchedPath, NestedPath};

use super::recipe::{Recipe, Renderer, Site};

/// How the pages of one route are rendered: as the last one of them was.
///
/// Pages share it, because axum makes services anew for each connection: a page that kept the one that rendered it
/// would keep several times its own size alive, which nobody weighs.
#[derive(Default)]
pub(crate) struct Maker(Mutex<Option<Kept>>);

enum Kept {
    /// With a pattern: the service that came last stands for those before it.
    Service(Recipe),
    /// Without one: no other service is known to make the same pages. This one lives as long as the application has
    /// it.
    Own(Weak<dyn Renderer>, Arc<Site>),
}

impl Kept {
    fn is_there(&self) -> bool {
        match self {
            Self::Service(_) => true,
            Self::Own(renderer, _) => renderer.strong_count() > 0,
        }
    }

    fn recipe(&self) -> Option<Recipe> {
        match self {
            Self::Service(recipe) => Some(recipe.clone()),
            Self::Own(renderer, site) => Some(Recipe { renderer: renderer.upgrade()?, site: Arc::clone(site) }),
        }
    }
}

impl Maker {
    /// `None` if no render has come back, or if the service is gone.
    pub(crate) fn recipe(&self) -> Option<Recipe> {
        lock(&self.0).as_ref()?.recipe()
    }

    /// A page was rendered like this. `head`: for a HEAD, perhaps by a handler of its own, which is better than none.
    pub(crate) fn renew(&self, recipe: &Recipe, head: bool) {
        let mut kept = lock(&self.0);
        if head && kept.as_ref().is_some_and(Kept::is_there) {
            return;
        }
        let new = if recipe.site.matched.is_some() {
            Kept::Service(recipe.clone())
        } else {
            Kept::Own(Arc::downgrade(&recipe.renderer), Arc::clone(&recipe.site))
        };
        let old = kept.replace(new);
        drop(kept);
        // A service is the application's: it may do what it likes when it is dropped.
        drop(old);
    }
}

/// The makers of the routes of one layer, or of one service where no pattern is known. They live as long as a page of
/// theirs.
#[derive(Default)]
pub(crate) struct Makers(Mutex<HashMap<String, Weak<Maker>>>);

impl Makers {
    pub(crate) fn of(&self, site: &Site) -> Arc<Maker> {
        let parts = [
            &*site.route.settings().namespace,
            site.matched.as_ref().map_or("", MatchedPath::as_str),
            site.nested.as_ref().map_or("", NestedPath::as_str),
        ];
        let name = parts.join("\n");
        let mut makers = lock(&self.0);
        if let Some(maker) = makers.get(&name).and_then(Weak::upgrade) {
            return maker;
        }
        // Namespaces may come with requests; those without pages are let go.
        if makers.len() >= 64 && makers.len().is_power_of_two() {
            makers.retain(|_, maker| maker.strong_count() > 0);
        }
        let maker = Arc::default();
        makers.insert(name, Arc::downgrade(&maker));
        maker
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
