//! Data that pages are made from: what is said of the data holds for the page.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use axum_isr::data::carry;
use axum_isr::testing::ManualClock;
use axum_isr::{CacheLife, DataError, DynamicRequest, Isr, Mode, Render, RouteConfig};
use common::{Gate, Logs, body, fetch, header, let_run, request, seen, send, settled, state, until, waiting};
use futures_util::stream;

const HOUR: Duration = Duration::from_secs(3_600);

/// A source of data: what it says is its version.
#[derive(Clone, Default)]
struct Source {
    version: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
}

impl Source {
    fn publish(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn read(&self) -> usize {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.version.load(Ordering::SeqCst)
    }

    async fn get(&self, isr: &Isr, name: &'static str, life: CacheLife) -> usize {
        let source = self.clone();
        isr.data(name).tag(name).life(life).get_or_init(move || async move { source.read() }).await.unwrap()
    }

    /// A page that shows it.
    fn page(&self, isr: &Isr, name: &'static str, life: CacheLife) -> MethodRouter {
        let (source, isr) = (self.clone(), isr.clone());
        get(move || async move { format!("{name} {}", source.get(&isr, name, life).await) })
    }
}

fn app(isr: &Isr, page: MethodRouter) -> Router {
    Router::new().route("/{n}", page).route_layer(isr.layer(RouteConfig::forever()))
}

/// R28: the tags of data are tags of the page, whether the page computed the data or found it.
#[tokio::test]
async fn tags_flow_into_pages_on_a_miss_and_on_a_hit() {
    let (isr, source) = (Isr::builder().build().unwrap(), Source::default());
    let app = app(&isr, source.page(&isr, "posts", CacheLife::DAYS));
    assert_eq!(seen(&app, "/computes").await, ("MISS", "posts 0".into()));
    assert_eq!(seen(&app, "/finds").await, ("MISS", "posts 0".into()));
    assert_eq!((source.reads(), isr.stats().data_hits), (1, 1));
    source.publish();
    isr.expire_tag("posts").await.unwrap();
    for path in ["/computes", "/finds"] {
        assert_eq!(seen(&app, path).await, ("MISS", "posts 1".into()), "{path}");
        assert_eq!(seen(&app, path).await.0, "HIT", "{path}");
    }
    source.publish();
    isr.revalidate_tag("posts").await.unwrap();
    for path in ["/computes", "/finds"] {
        assert_eq!(seen(&app, path).await, ("STALE", "posts 1".into()), "{path}");
        settled(&isr).await;
        assert_eq!(seen(&app, path).await, ("HIT", "posts 2".into()), "{path}");
    }
    assert_eq!(source.reads(), 3);
}

/// R28: a page lives no longer than its data, whether it computed the data or found it; and not longer than its route
/// says either.
#[tokio::test]
async fn the_shorter_life_flows_into_pages() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let source = Source::default();
    let (hours, short) = (source.page(&isr, "h", CacheLife::HOURS), RouteConfig::revalidate(Duration::from_secs(60)));
    let seconds = source.page(&isr, "s", CacheLife::SECONDS);
    let both = {
        let (source, isr) = (source.clone(), isr.clone());
        get(move || async move {
            let (h, d) = (source.get(&isr, "h", CacheLife::HOURS).await, source.get(&isr, "d", CacheLife::DAYS).await);
            format!("{h} {d}")
        })
    };
    let app = Router::new()
        .route("/hours/{n}", hours.clone().layer(isr.layer(RouteConfig::forever())))
        .route("/both/{n}", both.layer(isr.layer(RouteConfig::revalidate(2 * HOUR).expire(3 * HOUR))))
        .route("/short/{n}", hours.layer(isr.layer(short.clone())))
        .route("/seconds/{n}", seconds.layer(isr.layer(short)));
    for (path, lifetime) in [
        ("/hours", "s-maxage=3600, stale-while-revalidate=82800"),
        ("/both", "s-maxage=3600, stale-while-revalidate=7200"),
        ("/short", "s-maxage=60, stale-while-revalidate=86340"),
        ("/seconds", "s-maxage=1, stale-while-revalidate=59"),
    ] {
        for n in ["computes", "finds"] {
            let response = fetch(&app, &format!("{path}/{n}")).await;
            assert_eq!(header(&response, "cache-control"), lifetime, "{path}/{n}");
        }
    }
    clock.advance(HOUR);
    assert_eq!(seen(&app, "/hours/finds").await.0, "STALE");
    settled(&isr).await;
    clock.advance(24 * HOUR);
    assert_eq!(seen(&app, "/hours/finds").await.0, "MISS");
}

/// Inside a render a value is never stale: a page that is rendered because its data is old shows the new one. Outside of
/// renders the old one will do.
#[tokio::test]
async fn nothing_new_is_made_from_something_old() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let source = Source::default();
    let app = app(&isr, source.page(&isr, "news", CacheLife::MINUTES));
    assert_eq!(seen(&app, "/").await.0, "");
    assert_eq!(seen(&app, "/a").await.1, "news 0");
    source.publish();
    clock.advance(Duration::from_secs(60));
    assert_eq!(seen(&app, "/a").await, ("STALE", "news 0".into()));
    settled(&isr).await;
    assert_eq!(seen(&app, "/a").await, ("HIT", "news 1".into()));
    source.publish();
    clock.advance(Duration::from_secs(60));
    assert_eq!(seen(&app, "/first").await, ("MISS", "news 2".into()));
    source.publish();
    clock.advance(Duration::from_secs(60));
    assert_eq!(source.get(&isr, "news", CacheLife::MINUTES).await, 2);
}

/// R27: a mark on data that lands while the page renders, after it has read the data.
#[tokio::test]
async fn a_mark_on_data_wins_against_the_page() {
    let isr = Isr::builder().build().unwrap();
    let (source, gate) = (Source::default(), Gate::closed());
    let page = {
        let (source, gate, isr) = (source.clone(), gate.clone(), isr.clone());
        get(move || async move {
            let shown = source.get(&isr, "posts", CacheLife::DAYS).await;
            gate.pass().await;
            format!("posts {shown}")
        })
    };
    let app = app(&isr, page);
    let early = waiting(&app, request("/a")).await;
    until(|| source.reads() == 1).await;
    let_run().await;
    source.publish();
    isr.revalidate_tag("posts").await.unwrap();
    gate.open();
    let early = early.await;
    assert_eq!((state(&early), body(early).await), ("STALE", "posts 0".into()));
    settled(&isr).await;
    assert_eq!(seen(&app, "/a").await, ("HIT", "posts 1".into()));
}

/// R27: a computation that began before a mark is joined by a render that began after it: its value will not do.
#[tokio::test]
async fn a_joined_computation_is_judged_when_it_ends() {
    for expires in [false, true] {
        let isr = Isr::builder().build().unwrap();
        let (source, gate) = (Source::default(), Gate::closed());
        let ask = {
            let (source, gate, isr) = (source.clone(), gate.clone(), isr.clone());
            move || {
                let (source, gate, isr) = (source.clone(), gate.clone(), isr.clone());
                async move {
                    let compute = move || async move {
                        let version = source.read();
                        gate.pass().await;
                        version
                    };
                    isr.data("posts").tag("posts").get_or_init(compute).await.unwrap()
                }
            }
        };
        let page = {
            let ask = ask.clone();
            get(move || async move { format!("posts {}", ask().await) })
        };
        let app = app(&isr, page);
        let outside = tokio::spawn(ask());
        until(|| source.reads() == 1).await;
        source.publish();
        let done = if expires { isr.expire_tag("posts").await } else { isr.revalidate_tag("posts").await };
        done.unwrap();
        let page = tokio::spawn(waiting(&app, request("/a")).await);
        let_run().await;
        gate.admit(1);
        assert_eq!(outside.await.unwrap(), 0);
        gate.open();
        let page = page.await.unwrap();
        assert_eq!((state(&page), body(page).await), ("MISS", "posts 1".into()));
        assert_eq!(seen(&app, "/a").await, ("HIT", "posts 1".into()));
        assert_eq!(source.reads(), 2);
    }
}

/// Data flows through whatever is awaited in the render's task: `join!`, and the body while it is polled.
#[tokio::test]
async fn joined_futures_and_bodies_belong_to_the_page() {
    for way in ["join", "body", "carry"] {
        let (isr, source) = (Isr::builder().build().unwrap(), Source::default());
        let page = {
            let (source, isr) = (source.clone(), isr.clone());
            get(move || async move {
                match way {
                    "join" => {
                        let (posts, ()) =
                            tokio::join!(source.get(&isr, "posts", CacheLife::DAYS), tokio::task::yield_now());
                        format!("posts {posts}").into_response()
                    }
                    "body" => Body::from_stream(stream::once(async move {
                        tokio::task::yield_now().await;
                        let posts = source.get(&isr, "posts", CacheLife::DAYS).await;
                        Ok::<_, DataError>(format!("posts {posts}"))
                    }))
                    .into_response(),
                    _ => {
                        let ask = async move { source.get(&isr, "posts", CacheLife::DAYS).await };
                        format!("posts {}", tokio::spawn(carry(ask)).await.unwrap()).into_response()
                    }
                }
            })
        };
        let app = app(&isr, page);
        assert_eq!(seen(&app, "/a").await, ("MISS", "posts 0".into()), "{way}");
        settled(&isr).await;
        source.publish();
        isr.expire_tag("posts").await.unwrap();
        assert_eq!(seen(&app, "/a").await, ("MISS", "posts 1".into()), "{way}");
    }
}

/// A task of its own that does not take the render along: nothing flows; and carried where nothing is rendered, nothing
/// either.
#[tokio::test]
async fn a_spawned_task_is_a_world_of_its_own() {
    let (isr, source) = (Isr::builder().build().unwrap(), Source::default());
    let page = {
        let (source, isr) = (source.clone(), isr.clone());
        get(move || async move {
            let ask = async move { source.get(&isr, "posts", CacheLife::DAYS).await };
            format!("posts {}", tokio::spawn(ask).await.unwrap())
        })
    };
    let app = app(&isr, page);
    assert_eq!(seen(&app, "/a").await.0, "MISS");
    isr.expire_tag("posts").await.unwrap();
    assert_eq!(seen(&app, "/a").await.0, "HIT");
    assert_eq!(tokio::spawn(carry(async { 1 })).await.unwrap(), 1);
}

/// Values that are made from values: tags, lives and marks flow through, also where the outer one is found.
#[tokio::test]
async fn values_of_values() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let source = Source::default();
    let page = {
        let (source, isr) = (source.clone(), isr.clone());
        get(move || async move {
            let (inner_isr, inner) = (isr.clone(), source.clone());
            let sum = isr
                .data("sum")
                .life(CacheLife::DAYS)
                .tag("sum")
                .get_or_init(move || async move { inner.get(&inner_isr, "posts", CacheLife::HOURS).await });
            format!("sum {}", sum.await.unwrap())
        })
    };
    let app = app(&isr, page);
    for path in ["/computes", "/finds"] {
        let response = fetch(&app, path).await;
        assert_eq!(header(&response, "cache-control"), "s-maxage=3600, stale-while-revalidate=82800", "{path}");
    }
    source.publish();
    isr.expire_tag("posts").await.unwrap();
    for path in ["/computes", "/finds"] {
        assert_eq!(seen(&app, path).await, ("MISS", "sum 1".into()), "{path}");
    }
    isr.expire_tag("sum").await.unwrap();
    assert_eq!(seen(&app, "/computes").await.0, "MISS");
    assert_eq!((seen(&app, "/finds").await, source.reads()), (("MISS", "sum 1".into()), 2));
    source.publish();
    clock.advance(HOUR);
    assert_eq!(seen(&app, "/computes").await.0, "STALE");
    settled(&isr).await;
    assert_eq!(seen(&app, "/computes").await, ("HIT", "sum 2".into()));
}

/// R29: pages may have named lives too, of their route or of the handler.
#[tokio::test]
async fn named_lives_of_pages() {
    let isr = Isr::builder().build().unwrap();
    let said = get(|render: Render| async move { render.life(CacheLife::SECONDS) });
    let app = Router::new()
        .route("/route", get(|| async {}))
        .route("/handler", said)
        .route_layer(isr.layer(RouteConfig::life(CacheLife::DAYS)));
    for (path, lifetime) in [
        ("/route", "s-maxage=86400, stale-while-revalidate=518400"),
        ("/handler", "s-maxage=1, stale-while-revalidate=59"),
    ] {
        assert_eq!(header(&fetch(&app, path).await, "cache-control"), lifetime, "{path}");
    }
}

/// A computation that fails fails the page: the old one stays.
#[tokio::test]
async fn a_failed_computation_keeps_the_old_page() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let source = Source::default();
    let page = {
        let (source, isr) = (source.clone(), isr.clone());
        get(move || async move {
            let compute = move || async move { if source.read() == 0 { Ok("fine".to_owned()) } else { Err("down") } };
            match isr.data("posts").life(CacheLife::MINUTES).get_or_try_init(compute).await {
                Ok(text) => text.into_response(),
                Err(problem) => (http::StatusCode::BAD_GATEWAY, problem.to_string()).into_response(),
            }
        })
    };
    let app = app(&isr, page);
    assert_eq!(seen(&app, "/a").await, ("MISS", "fine".into()));
    source.publish();
    clock.advance(Duration::from_secs(61));
    for _ in 0..3 {
        assert_eq!(seen(&app, "/a").await, ("STALE", "fine".into()));
        settled(&isr).await;
    }
    assert_eq!(source.reads(), 2);
}

/// What is not kept is not kept in a page either: a life of zero, or more tags than there may be.
#[tokio::test]
async fn a_page_of_data_that_is_not_kept_is_not_kept() {
    let logs = Logs::capture();
    let isr = Isr::builder().build().unwrap();
    let zero = {
        let isr = isr.clone();
        get(move || async move {
            isr.data("zero").expire(Duration::ZERO).get_or_init(|| async { 1 }).await.unwrap().to_string()
        })
    };
    let many = {
        let isr = isr.clone();
        get(move || async move {
            let inner = isr.clone();
            let outer = (0..100).fold(isr.data("outer"), |data, n| data.tag(format!("outer {n}")));
            let compute = move || async move {
                let inner = (0..100).fold(inner.data("inner"), |data, n| data.tag(format!("inner {n}")));
                inner.get_or_init(|| async { 1 }).await
            };
            outer.get_or_try_init(compute).await.unwrap().to_string()
        })
    };
    let app = Router::new().route("/zero", zero).route("/many", many).route_layer(isr.layer(RouteConfig::forever()));
    for path in ["/zero", "/many", "/zero", "/many"] {
        assert_eq!(seen(&app, path).await, ("", "1".into()), "{path}");
    }
    settled(&isr).await;
    assert_eq!(logs.count(&["WARN", "data is not kept", "outer", "tags"]), 1);
    assert_eq!(logs.count(&["WARN", "not cached: a tag has", "/many"]), 1);
}

/// In development data is computed each time, and the page shows what production would say of it.
#[tokio::test]
async fn in_development() {
    let isr = Isr::builder().clock(ManualClock::new()).mode(Mode::Development).build().unwrap();
    let source = Source::default();
    let app = app(&isr, source.page(&isr, "posts", CacheLife::HOURS));
    for _ in 0..2 {
        let response = fetch(&app, "/a").await;
        assert_eq!(header(&response, "cache-control"), "s-maxage=3600, stale-while-revalidate=82800");
    }
    assert_eq!(source.reads(), 2);
}

/// Data of another handle is what it is; its tags are not this one's.
#[tokio::test]
async fn data_of_another_handle() {
    let (isr, other) = (Isr::builder().build().unwrap(), Isr::builder().build().unwrap());
    let source = Source::default();
    let app = app(&isr, source.page(&other, "posts", CacheLife::HOURS));
    assert_eq!(header(&fetch(&app, "/a").await, "cache-control"), "s-maxage=31536000");
    isr.expire_tag("posts").await.unwrap();
    assert_eq!(seen(&app, "/a").await.0, "HIT");
    assert_eq!((other.stats().data_misses, isr.stats().data_misses), (1, 0));
}

/// A page that its own data asks for is not waited for: the visitor's way through the handler ends in the cycle.
#[tokio::test]
async fn data_that_asks_for_its_page() {
    let isr = Isr::builder().build().unwrap();
    let site: Arc<std::sync::OnceLock<Router>> = Arc::default();
    let page = {
        let (isr, site) = (isr.clone(), Arc::clone(&site));
        get(move || async move {
            let compute = move || async move {
                let app = site.get().unwrap().clone();
                body(send(&app, request("/a")).await).await
            };
            match isr.data("page").get_or_init(compute).await {
                Ok(text) => format!("outer {text}"),
                Err(problem) => problem.to_string(),
            }
        })
    };
    let app = app(&isr, page);
    site.set(app.clone()).unwrap();
    let (_, text) = seen(&app, "/a").await;
    assert_eq!(text, "outer data \"page\" is needed to compute itself");
}

/// A visitor's own request is nobody's page: there a stale value will do.
#[tokio::test]
async fn a_visitors_own_request_uses_what_there_is() {
    let (isr, source) = (Isr::builder().build().unwrap(), Source::default());
    let page = {
        let (source, isr) = (source.clone(), isr.clone());
        get(
            move |_: DynamicRequest| async move { format!("posts {}", source.get(&isr, "posts", CacheLife::HOURS).await) },
        )
    };
    let app = app(&isr, page);
    assert_eq!(seen(&app, "/a").await, ("", "posts 0".into()));
    source.publish();
    isr.revalidate_tag("posts").await.unwrap();
    assert_eq!(seen(&app, "/a").await, ("", "posts 0".into()));
    until(|| isr.stats().computations == 0).await;
    assert_eq!(seen(&app, "/a").await, ("", "posts 1".into()));
    assert_eq!(isr.stats().data_stale, 1);
}
