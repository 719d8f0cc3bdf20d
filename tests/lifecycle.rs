//! MISS, HIT, STALE.

mod common;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use common::{Handler, body, fetch, state};

const MINUTE: Duration = Duration::from_secs(60);

/// R1: MISS, HIT, STALE with the old body at once, HIT with the new one.
#[tokio::test]
async fn a_page_goes_from_miss_to_hit_to_stale_to_hit() {
    let clock = axum_isr::testing::ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let handler = Handler::counting();
    let app = Router::new().route("/", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));

    let miss = fetch(&app, "/").await;
    assert_eq!((state(&miss), body(miss).await.as_str()), ("MISS", "render 1"));
    let hit = fetch(&app, "/").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 1"));
    clock.advance(MINUTE);
    let stale = fetch(&app, "/").await;
    assert_eq!((state(&stale), body(stale).await.as_str()), ("STALE", "render 1"));
    common::settled(&isr).await;
    let hit = fetch(&app, "/").await;
    assert_eq!((state(&hit), body(hit).await.as_str()), ("HIT", "render 2"));
    assert_eq!(handler.calls(), 2);
}
