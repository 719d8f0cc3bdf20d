//! How many series there are.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::{Isr, Render, RouteConfig};

use crate::common::{Handler, fetch, request_with, send, settled};
use crate::watch::Watch;

const HOUR: Duration = Duration::from_secs(3_600);

/// CASES 152: what visitors choose is no label.
#[tokio::test]
async fn ten_thousand_paths_hosts_queries_and_tags_are_as_many_series_as_ten() {
    let watch = Watch::new();
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let page = async |axum::extract::Path(slug): axum::extract::Path<String>, render: Render| {
        render.tag(format!("p:{slug}"));
        slug
    };
    let config = RouteConfig::revalidate(HOUR).query(["page"]).host();
    let app = Router::new().route("/p/{slug}", get(page)).route_layer(isr.layer(config));
    // What has no pattern.
    let app = app.merge(Router::new().fallback(get(async || "page")).layer(isr.layer(RouteConfig::revalidate(HOUR))));
    let visit = async |n: usize| {
        let (path, host, tag) = (format!("/p/{n}?page={n}"), format!("h{n}.example"), format!("p:{n}"));
        for _ in 0..2 {
            send(&app, request_with(&path, &[("host", &host)])).await;
        }
        isr.revalidate_tag(&tag).await.unwrap();
        isr.expire_path(format!("/p/{n}")).await.unwrap();
        isr.data(&format!("d{n}")).get_or_init(|| async { 1 }).await.unwrap();
        fetch(&app, &format!("/q/{n}")).await;
        settled(&isr).await;
    };
    for n in 0..10 {
        visit(n).await;
    }
    let few = watch.series();
    for n in 10..10_000 {
        visit(n).await;
    }
    assert_eq!(watch.series(), few);
    let routes: BTreeSet<_> = few.iter().filter_map(|series| series.split("route=").nth(1)).collect();
    let routes: BTreeSet<_> = routes.into_iter().map(|rest| rest.split([',']).next().unwrap()).collect();
    assert_eq!(routes.len(), 4, "with and without more labels after it: {routes:?}");
    assert_eq!(watch.count("isr_requests_total{route=/p/{slug},state=hit,reason=fresh}"), 10_000);
    assert_eq!(watch.count("isr_requests_total{route=,state=miss,reason=cold}"), 10_000);
}

/// CASES 152: nor are there more than a thousand patterns and one for all others.
#[tokio::test]
async fn patterns_beyond_a_thousand_count_together() {
    let watch = Watch::new();
    let isr = Isr::builder().build().unwrap();
    let mut app = Router::new();
    for n in 0..1_100 {
        app = app.route(&format!("/{n}/{{slug}}"), get(Handler::counting()));
    }
    let app = app.route_layer(isr.layer(RouteConfig::revalidate(HOUR)));
    for n in 0..1_100 {
        fetch(&app, &format!("/{n}/a")).await;
    }
    let counts = watch.counts("isr_requests_total");
    assert_eq!(counts.len(), 1_001);
    assert_eq!(watch.count("isr_requests_total{route=(others),state=miss,reason=cold}"), 100);
    assert_eq!(watch.samples("isr_render_seconds{route=(others)}").len(), 100);
}
