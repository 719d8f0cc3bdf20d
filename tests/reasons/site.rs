//! Sites with one page.

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::config::ResponseHeaders;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, IsrBuilder, Render, RouteConfig};

use crate::case::{Case, PATTERN};
use crate::common::Handler;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Fresh for a minute, and kept for an hour.
pub(crate) fn plain() -> RouteConfig {
    RouteConfig::revalidate(MINUTE).expire(60 * MINUTE)
}

/// What a page is by its number, the first being 1.
pub(crate) type Page = fn(usize, Render) -> Response;

pub(crate) struct Site {
    pub(crate) isr: Isr,
    pub(crate) clock: ManualClock,
    pub(crate) handler: Handler,
    pub(crate) app: Router,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::of(plain(), Handler::counting())
    }

    pub(crate) fn of(config: RouteConfig, handler: Handler) -> Self {
        Self::with(config, handler, |builder| builder)
    }

    pub(crate) fn with(config: RouteConfig, handler: Handler, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Self {
        let clock = ManualClock::new();
        let builder = Isr::builder().clock(clock.clone()).headers(ResponseHeaders::shared().debug());
        let isr = set(builder).build().unwrap();
        let app = Router::new().route(PATTERN, get(handler.clone())).route_layer(isr.layer(config));
        Self { isr, clock, handler, app }
    }

    pub(crate) fn case(&self) -> Case {
        Case::new(&self.isr, &self.app)
    }
}

/// A handler that makes a page by its number.
pub(crate) fn making(page: impl Fn(usize, Render) -> Response + Clone + Send + Sync + 'static) -> Handler {
    Handler::new(move |n, request: Request| {
        let page = page.clone();
        async move {
            let (mut parts, _) = request.into_parts();
            let Ok(render) = Render::from_request_parts(&mut parts, &()).await;
            page(n, render)
        }
    })
}

/// `render N`, and what is made of it from the second on.
pub(crate) fn then(page: impl Fn(Render) -> Response + Clone + Send + Sync + 'static) -> Handler {
    making(move |n, render| if n == 1 { "render 1".into_response() } else { page(render) })
}
