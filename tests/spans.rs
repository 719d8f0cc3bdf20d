//! Spans: a render has one of its own, which follows from the request that caused it; and of what a visitor has sent, the
//! path alone is in any log.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use axum_isr::testing::{ManualClock, MemoryStore};
use axum_isr::{DynamicRequest, Isr, RouteConfig};
use common::{Handler, Logs, body, fetch, request_with, send, settled, state, until};
use http::HeaderName;
use tracing::span::{Attributes, Id};
use tracing::{Event, Instrument, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const MINUTE: Duration = Duration::from_secs(60);

/// What there was to see of spans, a line each.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl Spans {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let parent = ctx.span(id).and_then(|span| span.parent()).map_or("none", |parent| parent.name());
        self.note(format!("{} under {parent}: {}", attributes.metadata().name(), attributes.values()));
    }

    fn on_follows_from(&self, span: &Id, follows: &Id, ctx: Context<'_, S>) {
        let name = |id| ctx.span(id).unwrap().name();
        self.note(format!("{} follows from {}", name(span), name(follows)));
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if event.metadata().target() == "spans" {
            let span = ctx.lookup_current().map_or("none", |span| span.name());
            self.note(format!("the handler speaks in {span}"));
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        self.note(format!("{} closes", ctx.span(&id).unwrap().name()));
    }
}

/// R24: a render and a regeneration are spans with route and path; they are nobody's children, since they may outlive the
/// request that caused them, and follow from it. What the handler says is inside.
#[tokio::test]
async fn a_render_is_a_span_that_follows_from_its_request() {
    let (spans, clock) = (Spans::default(), ManualClock::new());
    // Not alone: see there.
    let _more = Logs::capture();
    let filter = tracing_subscriber::filter::LevelFilter::INFO;
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone().with_filter(filter)));
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let page = Handler::new(|n, _| async move {
        tracing::info!(target: "spans", "rendering");
        format!("render {n}")
    });
    let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    let visit = async |name: &'static str| {
        let span = if name == "first" { info_span!("first") } else { info_span!("second") };
        let visited = state(&fetch(&app, "/p/a").instrument(span).await);
        settled(&isr).await;
        // The task itself ends a little later.
        tokio::task::yield_now().await;
        visited
    };
    assert_eq!(visit("first").await, "MISS");
    let seen = spans.take();
    let expected = [
        "render under none: {route: /p/{slug}, path: /p/a, purpose: \"first\"}",
        "render follows from first",
        "the handler speaks in render",
        "render closes",
    ];
    for line in expected {
        assert_eq!(seen.iter().filter(|seen| *seen == line).count(), 1, "{line}: {seen:#?}");
    }
    clock.advance(MINUTE);
    assert_eq!(visit("second").await, "STALE");
    let seen = spans.take();
    for line in [
        "regenerate under none: {route: /p/{slug}, path: /p/a}",
        "regenerate follows from second",
        "the handler speaks in regenerate",
        "regenerate closes",
    ] {
        assert_eq!(seen.iter().filter(|seen| *seen == line).count(), 1, "{line}: {seen:#?}");
    }
    // A HIT has none.
    assert_eq!(visit("second").await, "HIT");
    assert!(!spans.take().iter().any(|line| line.contains("render") || line.contains("regenerate")));
}

/// CASES 151: of what a visitor has sent, the path alone is logged, at any level: neither query nor host, cookies, other
/// headers or body, whether they are part of the key or not.
#[tokio::test]
async fn nothing_of_a_visitor_is_logged_but_the_path() {
    let (logs, clock) = (Logs::capture(), ManualClock::new());
    let isr = Isr::builder().clock(clock.clone()).store(MemoryStore::new()).deployment_id("one").build().unwrap();
    let config = RouteConfig::revalidate(MINUTE)
        .query(["q"])
        .host()
        .header(HeaderName::from_static("x-kind"), ["5ecret-kind"])
        .cookie("team", ["5ecret-team"]);
    let fails = Handler::new(|n, _: Request| async move {
        match n {
            1 => Ok("page"),
            _ => Err(http::StatusCode::BAD_GATEWAY),
        }
    });
    let app = Router::new()
        .route("/page", get(Handler::counting()).post(async || "posted"))
        .route("/fails", get(fails))
        .route("/own", get(async |asked: DynamicRequest| format!("{:?}", asked.uri())))
        .route_layer(isr.layer(config));
    let headers = [
        ("host", "5ecret-host.example"),
        ("x-kind", "5ecret-kind"),
        ("cookie", "team=5ecret-team; sid=5ecret-sid"),
        ("authorization", "Bearer 5ecret-token"),
        ("x-other", "5ecret-other"),
        ("user-agent", "5ecret-agent"),
    ];
    for round in 0..3 {
        for path in ["/page", "/fails", "/own"] {
            send(&app, request_with(&format!("{path}?q=5ecret-q&other=5ecret-rest"), &headers)).await;
        }
        let mut post = request_with("/page?q=5ecret-q", &headers);
        *post.method_mut() = http::Method::POST;
        *post.body_mut() = "5ecret-body".into();
        assert_eq!(body(send(&app, post).await).await, "posted");
        settled(&isr).await;
        until(|| isr.stats().waiting_writes == 0).await;
        if round > 0 {
            clock.advance(2 * MINUTE);
        }
    }
    isr.revalidate_path("/page").await.unwrap();
    send(&app, request_with("/page?q=5ecret-q", &headers)).await;
    settled(&isr).await;
    let lines = logs.lines();
    let told = |event: &str| lines.iter().any(|line| line.contains(event));
    for event in ["MISS", "HIT", "STALE", "stored", "written", "pass", "bypass", "regeneration failed", "regenerated"] {
        assert!(told(event), "{event} is missing: {lines:#?}");
    }
    let secret = lines.iter().find(|line| line.contains("5ecret"));
    assert!(secret.is_none(), "{}", secret.unwrap());
}
