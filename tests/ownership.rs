//! Who keeps what alive: the application owns its services, and pages keep none of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get};
use axum_isr::{Isr, RouteConfig};
use common::{fetch, let_run, settled, state};
use tower_layer::Layer as _;

const MINUTE: Duration = Duration::from_secs(60);

/// What a handler owns: one for each service that is built from it.
struct Owned(Arc<()>);

impl Clone for Owned {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

fn handler(owned: &Owned) -> MethodRouter {
    let owned = owned.clone();
    get(move || async move {
        let _ = &owned;
        "page"
    })
}

fn owners(owned: &Owned) -> usize {
    Arc::strong_count(&owned.0)
}

fn plain() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// `axum::serve` builds the services of a router anew for each connection. A page that kept the one that rendered it
/// would keep several times its own size, which nobody weighs.
#[tokio::test]
async fn pages_do_not_keep_the_services_of_connections() {
    let isr = Isr::builder().build().unwrap();
    let owned = Owned(Arc::new(()));
    let app = Router::<()>::new()
        .route("/p/{slug}", handler(&owned))
        .nest("/n/{x}", Router::new().route("/q/{slug}", handler(&owned)))
        .layer(isr.layer(plain()));
    let without = owners(&owned);
    // The latest service of each pattern, for work that no visitor asks for; not one for each page or connection.
    let kept = 2;
    for n in 0..50 {
        let connection = app.clone().with_state::<()>(());
        for path in [format!("/p/{n}"), format!("/n/a/q/{n}")] {
            assert_eq!(state(&fetch(&connection, &path).await), "MISS", "{path}");
        }
        settled(&isr).await;
        assert!(owners(&owned) <= without + 2 * kept + 2, "after {n}");
    }
    assert_eq!((isr.stats().memory_items, owners(&owned)), (100, without + kept));
    isr.shutdown(MINUTE).await;
    assert_eq!(owners(&owned), without);
}

/// So nothing of a service is dropped by the cache, under whichever of its locks: neither when a page is evicted nor at a
/// shutdown; and a cache that goes out of scope without a shutdown leaves nothing behind.
#[tokio::test]
async fn nothing_outlives_its_owner() {
    for around in [false, true] {
        let owned = Owned(Arc::new(()));
        let isr = Isr::builder().build().unwrap();
        let router = Router::<()>::new().route("/", handler(&owned));
        let app = if around {
            Router::new().fallback_service(isr.layer(plain()).layer(router))
        } else {
            router.layer(isr.layer(plain()))
        };
        for expected in ["MISS", "HIT"] {
            assert_eq!(state(&fetch(&app, "/").await), expected);
        }
        settled(&isr).await;
        let_run().await;
        drop(app);
        assert_eq!((owners(&owned), isr.stats().memory_items), (1, 1), "around: {around}");
    }
}

/// Applications that come and go on one handle, tenants for example: what they shared and built goes with them.
#[tokio::test]
async fn nothing_of_an_application_that_has_gone_is_kept() {
    let isr = Isr::builder().build().unwrap();
    let owned = Owned(Arc::new(()));
    for n in 0..200 {
        // A service that is built once, whose layer is gone by then, and a router that builds one for each connection.
        for around in [false, true] {
            let path = format!("/{n}/{around}");
            let router = Router::<()>::new().route(&path, handler(&owned));
            let layer = isr.layer(plain()).share::<Owned>();
            let app = if around { Router::new().fallback_service(layer.layer(router)) } else { router.layer(layer) };
            let app = app.layer(axum::Extension(owned.clone()));
            assert_eq!(state(&fetch(&app, &path).await), "MISS");
            settled(&isr).await;
            let_run().await;
        }
        assert!(owners(&owned) <= 1 + 1, "{} after {n}", owners(&owned));
    }
}

/// What is shared may hold the handle, as an application's state does: nothing keeps the two alive but their owner.
#[tokio::test]
async fn a_handle_in_what_is_shared_is_no_circle() {
    struct State(Owned, Isr);
    impl Clone for State {
        fn clone(&self) -> Self {
            Self(self.0.clone(), self.1.clone())
        }
    }
    let owned = Owned(Arc::new(()));
    for around in [false, true] {
        let isr = Isr::builder().build().unwrap();
        let router = Router::<()>::new().route("/", handler(&owned));
        let layer = isr.layer(plain()).share::<State>();
        let app = if around { Router::new().fallback_service(layer.layer(router)) } else { router.layer(layer) };
        let app = app.layer(axum::Extension(State(owned.clone(), isr.clone())));
        assert_eq!(state(&fetch(&app, "/").await), "MISS");
        settled(&isr).await;
        let_run().await;
    }
    assert_eq!(owners(&owned), 1);
}
