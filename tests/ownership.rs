//! Who keeps what alive: the application owns its services, and pages keep one for each route.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use common::{body, fetch, head, let_run, send, settled, state};
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

/// `axum::serve` builds the services of a router anew for each connection. Pages keep the last one of their route, and
/// not each the one that rendered it, which would be several times their own size.
#[tokio::test]
async fn pages_do_not_keep_the_services_of_connections() {
    let isr = Isr::builder().build().unwrap();
    let owned = Owned(Arc::new(()));
    let app = Router::<()>::new()
        .route("/p/{slug}", handler(&owned))
        .nest("/n/{x}", Router::new().route("/q/{slug}", handler(&owned)))
        .layer(isr.layer(plain()));
    let without = owners(&owned);
    for n in 0..50 {
        let connection = app.clone().with_state::<()>(());
        for path in [format!("/p/{n}"), format!("/n/a/q/{n}")] {
            assert_eq!(state(&fetch(&connection, &path).await), "MISS", "{path}");
        }
        settled(&isr).await;
    }
    assert_eq!(isr.stats().memory_items, 100);
    let kept = owners(&owned) - without;
    assert!(kept <= 4, "100 pages keep {kept} handlers of 2 routes");
    // A page that is rendered again without a visitor's service, by the one that is kept.
    drop(app);
    assert!(owners(&owned) > 1, "nothing is kept to render the pages with");
}

/// CASES 75: a HEAD has a stale page rendered again by the service that its route keeps, whatever became of the
/// connection that rendered it first.
#[tokio::test]
async fn a_page_is_rendered_again_after_its_connection() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handlers = get(common::Handler::counting()).head(|| async { "of a HEAD" });
    let app = Router::<()>::new().route("/", handlers).layer(isr.layer(plain()));
    let connection = || app.clone().with_state::<()>(());
    assert_eq!(body(fetch(&connection(), "/").await).await, "render 1");
    clock.advance(MINUTE);
    assert_eq!(state(&send(&connection(), head("/")).await), "STALE");
    settled(&isr).await;
    let hit = fetch(&connection(), "/").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 2"));
}

/// A cache that goes out of scope without a shutdown takes the services with it; around a whole router, a router that
/// goes takes its services with it while the cache stays.
#[tokio::test]
async fn nothing_outlives_its_owner() {
    let owned = Owned(Arc::new(()));
    for around in [false, true] {
        let gone: Weak<()> = {
            let isr = Isr::builder().build().unwrap();
            let apart = Owned(Arc::new(()));
            let router = Router::<()>::new().route("/", handler(&apart)).route("/other", handler(&owned));
            let app = if around {
                Router::new().fallback_service(isr.layer(plain()).layer(router))
            } else {
                router.layer(isr.layer(plain()))
            };
            for path in ["/", "/other"] {
                assert_eq!(state(&fetch(&app, path).await), "MISS");
            }
            settled(&isr).await;
            drop(app);
            let_run().await;
            assert_eq!(owners(&owned) > 1, !around, "around: {around}");
            Arc::downgrade(&apart.0)
        };
        let_run().await;
        assert_eq!((gone.strong_count(), owners(&owned)), (0, 1), "around: {around}");
    }
}

/// CASES 75: without a pattern, axum makes even the service anew for each request, so a HEAD has a stale page rendered
/// by its own; what has no body then does not take the place of what has one.
#[tokio::test]
async fn a_head_does_not_empty_a_page_without_a_pattern() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let layer = isr.layer(plain());
    let handlers = get(common::Handler::counting()).head(|| async { [("x-own", "1")] });
    let app = Router::<()>::new().fallback(handlers.layer(layer));
    assert_eq!(body(fetch(&app, "/").await).await, "render 1");
    clock.advance(MINUTE);
    assert_eq!(state(&send(&app, head("/")).await), "STALE");
    settled(&isr).await;
    let stale = fetch(&app, "/").await;
    assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "render 1"));
}
