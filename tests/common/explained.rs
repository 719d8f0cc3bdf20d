//! A site with one page, and what is explained of it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::config::ResponseHeaders;
use axum_isr::stats::{Explanation, Input, Miss, Reason};
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};

use crate::common::{Handler, fetch, request_with, settled, state};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const COLD: Reason = Reason::Miss(Miss::Cold);

pub fn plain() -> RouteConfig {
    RouteConfig::revalidate(MINUTE).expire(60 * MINUTE)
}

pub struct Site {
    pub isr: Isr,
    pub clock: ManualClock,
    pub handler: Handler,
    pub app: Router,
}

impl Site {
    pub fn new(config: RouteConfig) -> Self {
        Self::of(config, Handler::counting())
    }

    pub fn of(config: RouteConfig, handler: Handler) -> Self {
        let clock = ManualClock::new();
        let headers = ResponseHeaders::shared().debug();
        let isr = Isr::builder().clock(clock.clone()).headers(headers).build().unwrap();
        let app = Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(config));
        Self { isr, clock, handler, app }
    }

    pub async fn visit(&self, path: &str) -> &'static str {
        let state = state(&fetch(&self.app, path).await);
        settled(&self.isr).await;
        state
    }

    pub fn explain(&self, path: &str) -> Explanation {
        explain(&self.isr, path, &[])
    }
}

pub fn explain(isr: &Isr, path: &str, headers: &[(&str, &str)]) -> Explanation {
    let request = request_with("/", headers);
    isr.explain(path, request.headers()).unwrap()
}

pub fn because(explained: &Explanation) -> Reason {
    explained.reason.unwrap_or_else(|| panic!("nothing is known: {explained:?}"))
}

/// Kind, name, value, and whether it counts; in that order.
pub fn inputs(explained: &Explanation) -> Vec<(&str, &str, &str, bool)> {
    let mut inputs: Vec<_> = explained
        .inputs
        .iter()
        .map(|Input { kind, name, value, counts, .. }| (*kind, name.as_str(), value.as_str(), *counts))
        .collect();
    inputs.sort_unstable();
    inputs
}
