//! Pages rendered again on demand, without a visitor.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_isr::config::RenderReason;
use axum_isr::{InvalidateError, Isr, Render, RouteConfig};
use common::{Gate, Handler, body, head, let_run, request_with, seen, send, settled, state, until};
use http::StatusCode;

const MINUTE: Duration = Duration::from_secs(60);

fn plain() -> RouteConfig {
    RouteConfig::revalidate(MINUTE)
}

/// Everything that is held and has the tag is rendered again, while visitors get the old pages; then they get HITs.
#[tokio::test]
async fn a_tag_is_rendered_again_while_old_pages_are_served() {
    let isr = Isr::builder().max_regenerations(4).build().unwrap();
    let (gate, running, most) = (Gate::closed(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let page = {
        let (gate, running, most) = (gate.clone(), Arc::clone(&running), Arc::clone(&most));
        get(move |render: Render| {
            let (gate, running, most) = (gate.clone(), Arc::clone(&running), Arc::clone(&most));
            async move {
                if render.reason() == RenderReason::Regeneration {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    gate.pass().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
                format!("{:?}", render.reason())
            }
        })
    };
    let other = Handler::counting();
    let app = Router::new()
        .route("/p/{n}", page.clone().layer(isr.layer(plain().tags(["t"]))))
        .route("/q", get(other.clone()).layer(isr.layer(plain())));
    for n in 0..7 {
        assert_eq!(seen(&app, &format!("/p/{n}")).await, ("MISS", "First".into()));
    }
    seen(&app, "/q").await;

    let mut work = isr.regenerate_tag("t").await.unwrap();
    assert_eq!((work.progress().total, work.progress().is_finished()), (7, false));
    until(|| running.load(Ordering::SeqCst) == 2).await;
    for n in 0..7 {
        // As many for visitors as there ever are, besides.
        assert_eq!(seen(&app, &format!("/p/{n}")).await, ("STALE", "First".into()));
    }
    let_run().await;
    assert_eq!(most.load(Ordering::SeqCst), 2 + 4);
    gate.open();
    let mut last = work.progress();
    while let Some(progress) = work.changed().await {
        assert!(progress.done >= last.done && progress.failed == 0);
        last = progress;
    }
    assert!(last.is_finished());
    let progress = work.finished().await;
    assert_eq!((progress.total, progress.done, progress.failed), (7, 7, 0));
    for n in 0..7 {
        assert_eq!(seen(&app, &format!("/p/{n}")).await, ("HIT", "Regeneration".into()));
    }
    assert_eq!((seen(&app, "/q").await.0, other.calls()), ("HIT", 1));
}

/// Whoever only wants it done drops the handle; a path has all of its variants.
#[tokio::test]
async fn it_goes_on_without_its_handle() {
    let isr = Isr::builder().build().unwrap();
    let handler = Handler::counting();
    let app = Router::new()
        .route("/", get(handler.clone()))
        .route("/other", get(Handler::counting()))
        .route_layer(isr.layer(plain().query(["page"])));
    for path in ["/", "/?page=2", "/other"] {
        seen(&app, path).await;
    }
    drop(isr.regenerate_path("/").await.unwrap());
    until(|| handler.calls() == 4).await;
    settled(&isr).await;
    for path in ["/", "/?page=2", "/other"] {
        assert_eq!(seen(&app, path).await.0, "HIT", "{path}");
    }
    let nothing = isr.regenerate_tag("nobody has it").await.unwrap();
    assert!(nothing.progress().is_finished());
    assert_eq!(nothing.finished().await.total, 0);
}

/// What fails is counted, and the old page stays; what is not shareable any more is removed.
#[tokio::test]
async fn failures_are_counted() {
    let isr = Isr::builder().build().unwrap();
    let fails = Handler::new(|n, _| async move {
        if n == 1 { "page".into_response() } else { StatusCode::BAD_GATEWAY.into_response() }
    });
    let turns = Handler::new(|n, _| async move {
        if n == 1 { "page".into_response() } else { ([("set-cookie", "a=1")], "mine").into_response() }
    });
    let app = Router::new()
        .route("/fails", get(fails))
        .route("/turns", get(turns))
        .route("/works", get(Handler::counting()))
        .route_layer(isr.layer(plain().tags(["t"])));
    for path in ["/fails", "/turns", "/works"] {
        assert_eq!(seen(&app, path).await.0, "MISS");
    }
    let progress = isr.regenerate_tag("t").await.unwrap().finished().await;
    assert_eq!((progress.total, progress.done, progress.failed), (3, 1, 2));
    assert_eq!(seen(&app, "/fails").await, ("STALE", "page".into()));
    assert_eq!(seen(&app, "/turns").await, ("", "mine".into()));
    assert_eq!(seen(&app, "/works").await, ("HIT", "render 2".into()));
}

/// A render that began before the call does not count for it.
#[tokio::test]
async fn a_render_that_began_before_is_not_enough() {
    let isr = Isr::builder().build().unwrap();
    let gate = Gate::closed();
    let handler = Handler::gated_again(&gate);
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(plain()));
    seen(&app, "/").await;
    isr.revalidate_path("/").await.unwrap();
    assert_eq!(seen(&app, "/").await.0, "STALE");
    until(|| handler.calls() == 2).await;
    let work = isr.regenerate_path("/").await.unwrap();
    let_run().await;
    assert_eq!(handler.calls(), 2);
    gate.open();
    let progress = work.finished().await;
    assert_eq!((progress.done, progress.failed), (1, 0));
    assert_eq!(seen(&app, "/").await, ("HIT", "render 3".into()));
}

/// Routers of several tenants that share a layer, a pattern and a path: each page is rendered by its own.
#[tokio::test]
async fn each_page_by_its_own_service() {
    async fn page(State(tenant): State<&'static str>, render: Render) -> String {
        format!("{tenant} {:?}", render.reason())
    }
    let isr = Isr::builder().build().unwrap();
    let layer = isr.layer(plain().host().tags(["t"]));
    let tenants = ["a.example", "b.example", "c.example"];
    let router = |tenant| Router::new().route("/", get(page)).route_layer(layer.clone()).with_state(tenant);
    let apps = tenants.map(|tenant| (tenant, router(tenant)));
    for round in ["MISS", "HIT"] {
        for (tenant, app) in &apps {
            assert_eq!(state(&send(app, request_with("/", &[("host", tenant)])).await), round);
        }
    }
    let progress = isr.regenerate_tag("t").await.unwrap().finished().await;
    assert_eq!((progress.done, progress.failed), (3, 0));
    for (tenant, app) in &apps {
        let response = send(app, request_with("/", &[("host", tenant)])).await;
        assert_eq!((state(&response), body(response).await), ("HIT", format!("{tenant} Regeneration")));
    }
}

/// Services are built anew for each connection; that none is open does not keep a page from being rendered. Where the
/// application has dropped the service, nobody can.
#[tokio::test]
async fn between_connections_and_after_the_application() {
    let isr = Isr::builder().build().unwrap();
    let layer = isr.layer(plain());
    let handler = Handler::counting();
    let app = Router::<()>::new().route("/", get(handler.clone())).route_layer(layer);
    let connection = app.clone().with_state::<()>(());
    assert_eq!(seen(&connection, "/").await.0, "MISS");
    drop(connection);
    assert_eq!(isr.regenerate_path("/").await.unwrap().finished().await.done, 1);
    assert_eq!(handler.calls(), 2);
    drop(app);
    let progress = isr.regenerate_path("/").await.unwrap().finished().await;
    assert_eq!((progress.done, progress.failed, handler.calls()), (0, 1, 2));
}

/// A page that a HEAD has made is rendered by the service of HEADs.
#[tokio::test]
async fn pages_of_heads() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain()));
    assert_eq!(state(&send(&app, head("/")).await), "MISS");
    assert_eq!(isr.regenerate_path("/").await.unwrap().finished().await.done, 1);
    assert_eq!(seen(&app, "/").await, ("HIT", "render 2".into()));
}

/// Without a runtime nothing can be rendered, and nothing is marked; after a shutdown there is nothing to do.
#[tokio::test]
async fn without_a_runtime_or_after_the_end() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain()));
    seen(&app, "/").await;
    let other = isr.clone();
    let refused = std::thread::spawn(move || {
        let call = std::pin::pin!(other.regenerate_path("/"));
        match call.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(result) => result.map(|_| ()),
            std::task::Poll::Pending => panic!("waits"),
        }
    });
    assert_eq!(refused.join().unwrap(), Err(InvalidateError::NoRuntime));
    assert!(matches!(isr.regenerate_tag("").await, Err(InvalidateError::Invalid(_))));
    assert_eq!(seen(&app, "/").await.0, "HIT");
    isr.shutdown(MINUTE).await;
    assert_eq!(isr.regenerate_path("/").await.unwrap().finished().await.total, 0);
}

/// A shutdown does not wait for what has not begun.
#[tokio::test]
async fn a_shutdown_ends_it() {
    let isr = Isr::builder().max_regenerations(1).build().unwrap();
    let gate = Gate::closed();
    let page = {
        let gate = gate.clone();
        get(move |render: Render| {
            let gate = gate.clone();
            async move {
                if render.reason() == RenderReason::Regeneration {
                    gate.pass().await;
                }
            }
        })
    };
    let app = Router::new().route("/{n}", page).route_layer(isr.layer(plain().tags(["t"])));
    for n in 0..5 {
        seen(&app, &format!("/{n}")).await;
    }
    let work = isr.regenerate_tag("t").await.unwrap();
    let_run().await;
    let end = tokio::spawn({
        let isr = isr.clone();
        async move { isr.shutdown(MINUTE).await }
    });
    let_run().await;
    gate.open();
    let report = end.await.unwrap();
    assert_eq!(report.abandoned, 0);
    let progress = work.finished().await;
    assert_eq!((progress.total, progress.done + progress.failed), (5, 5));
}

/// Pages of one kind whose configurations differ, by a middleware: each keeps its own tags and life.
#[tokio::test]
async fn each_page_by_its_own_configuration() {
    let isr = Isr::builder().build().unwrap();
    let blog = RouteConfig::revalidate(MINUTE).tags(["blog"]);
    let shop = RouteConfig::revalidate(60 * MINUTE).tags(["shop"]);
    let choose = axum::middleware::from_fn(move |mut request: axum::extract::Request, next: axum::middleware::Next| {
        let config = if request.uri().path().starts_with("/blog") { blog.clone() } else { shop.clone() };
        request.extensions_mut().insert(config);
        next.run(request)
    });
    let app = Router::new()
        .route("/{*path}", get(Handler::counting()))
        .layer(axum_isr::IsrLayer::new(isr.clone()))
        .layer(choose);
    for path in ["/blog/1", "/shop/1"] {
        assert_eq!(seen(&app, path).await.0, "MISS");
    }
    assert_eq!(isr.regenerate_path("/blog/1").await.unwrap().finished().await.done, 1);
    let response = common::fetch(&app, "/blog/1").await;
    assert_eq!(
        (state(&response), common::header(&response, "cache-control").split(',').next()),
        ("HIT", Some("s-maxage=60"))
    );
    isr.expire_tag("shop").await.unwrap();
    assert_eq!(seen(&app, "/blog/1").await.0, "HIT");
    isr.expire_tag("blog").await.unwrap();
    assert_eq!(seen(&app, "/blog/1").await.0, "MISS");
}

/// Two routers behind one dispatcher that share a layer and a pattern: each page by the one that rendered it.
#[tokio::test]
async fn each_page_by_who_rendered_it() {
    async fn page(State(tenant): State<&'static str>) -> &'static str {
        tenant
    }
    let isr = Isr::builder().build().unwrap();
    let layer = isr.layer(plain().tags(["t"])).share::<&'static str>();
    let router = |tenant: &'static str| {
        let router = Router::new().route("/{*path}", get(page)).route_layer(layer.clone()).with_state(tenant);
        router.layer(axum::Extension(tenant))
    };
    let (a, b): (Router, Router) = (router("secret of a"), router("secret of b"));
    for _ in 0..2 {
        assert_eq!((seen(&a, "/a/x").await.1, seen(&b, "/b/x").await.1), ("secret of a".into(), "secret of b".into()));
    }
    let progress = isr.regenerate_tag("t").await.unwrap().finished().await;
    assert_eq!((progress.done, progress.failed), (2, 0));
    assert_eq!(seen(&a, "/a/x").await, ("HIT", "secret of a".into()));
    assert_eq!(seen(&b, "/b/x").await, ("HIT", "secret of b".into()));
}

/// What other pages do meanwhile does not count, and what waits for somebody else's render is in nobody's way.
#[tokio::test]
async fn waiting_for_a_render_of_somebody_else() {
    let isr = Isr::builder().max_regenerations(2).build().unwrap();
    let gate = Gate::closed();
    let slow = Handler::new({
        let gate = gate.clone();
        move |n, _| {
            let gate = gate.clone();
            async move {
                if n == 2 {
                    gate.pass().await;
                }
                format!("render {n}")
            }
        }
    });
    let app = Router::new()
        .route("/slow", get(slow.clone()))
        .route("/{n}", get(Handler::counting()))
        .route_layer(isr.layer(plain()));
    seen(&app, "/slow").await;
    isr.revalidate_path("/slow").await.unwrap();
    assert_eq!(seen(&app, "/slow").await.0, "STALE");
    until(|| slow.calls() == 2).await;
    let work = isr.regenerate_path("/slow").await.unwrap();
    for n in 0..10 {
        assert_eq!(seen(&app, &format!("/{n}")).await.0, "MISS");
        settled_but_one(&isr).await;
    }
    let other = isr.regenerate_path("/1").await.unwrap().finished().await;
    assert_eq!((other.done, other.failed), (1, 0));
    assert!(!work.progress().is_finished());
    gate.open();
    let progress = work.finished().await;
    assert_eq!((progress.done, progress.failed), (1, 0));
    assert_eq!(seen(&app, "/slow").await, ("HIT", "render 3".into()));
}

async fn settled_but_one(isr: &Isr) {
    until(|| isr.stats().flights == 1).await;
}

/// A handler that waits for the regeneration of its own page does not wait for itself.
#[tokio::test]
async fn from_inside_of_the_page() {
    let isr = Isr::builder().build().unwrap();
    let page = {
        let isr = isr.clone();
        get(move |render: Render| async move {
            if render.reason() == RenderReason::Regeneration {
                return format!("{:?}", isr.regenerate_path("/").await.unwrap().finished().await.total);
            }
            "first".to_owned()
        })
    };
    let app = Router::new().route("/", page).route_layer(isr.layer(plain()));
    seen(&app, "/").await;
    isr.revalidate_path("/").await.unwrap();
    assert_eq!(seen(&app, "/").await.0, "STALE");
    settled(&isr).await;
    assert_eq!(seen(&app, "/").await, ("STALE", "0".into()));
}

/// Runtimes are asked one by one whether they have timers.
#[test]
fn a_runtime_without_timers_is_no_runtime_and_says_nothing_about_others() {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(plain()));
    let without = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let with = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..2 {
        let refused = without.block_on(isr.regenerate_path("/")).map(|_| ());
        assert_eq!(refused, Err(InvalidateError::NoRuntime));
        assert!(matches!(with.block_on(seen(&app, "/")).0, "MISS" | "HIT"));
        let data = without.block_on(async { isr.data("a").get_or_init(|| async { 1_u8 }).await });
        assert_eq!(data.unwrap(), 1);
    }
    assert_eq!(with.block_on(seen(&app, "/")).0, "HIT");
}

/// What is shared may differ by host, where the host is in the key: each page gets that of its own, whoever asked last.
#[tokio::test]
async fn what_is_shared_by_host() {
    #[derive(Clone)]
    struct Pool(String);
    let isr = Isr::builder().build().unwrap();
    let choose = axum::middleware::from_fn(|mut request: axum::extract::Request, next: axum::middleware::Next| {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        request.extensions_mut().insert(Pool(host));
        next.run(request)
    });
    let page = get(|axum::Extension(Pool(host)): axum::Extension<Pool>| async move { format!("pool of {host}") });
    let layer = isr.layer(plain().host().tags(["t"])).share::<Pool>();
    let app: Router = Router::new().route("/", page).route_layer(layer).layer(choose).with_state(());
    let ask = async |host: &'static str| {
        let response = send(&app, request_with("/", &[("host", host)])).await;
        (state(&response), body(response).await)
    };
    for host in ["a.example", "b.example"] {
        assert_eq!(ask(host).await, ("MISS", format!("pool of {host}")));
    }
    assert_eq!(isr.regenerate_tag("t").await.unwrap().finished().await.done, 2);
    for host in ["a.example", "b.example"] {
        assert_eq!(ask(host).await, ("HIT", format!("pool of {host}")));
    }
}
