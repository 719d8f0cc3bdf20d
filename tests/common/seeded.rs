//! A site with seeds, whose clock stands still.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]
#![allow(clippy::needless_pass_by_value, reason = "as `json!` makes it")]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, IsrBuilder, RouteConfig};
use serde_json::{Value, json};

use crate::common::Handler;
use crate::seeds::{Folder, row, row_with};

/// When the tests' clock starts.
pub const NOW: u64 = 1_767_225_600;

pub type Set = fn(IsrBuilder) -> IsrBuilder;

pub struct Site {
    pub clock: ManualClock,
    pub folder: Folder,
    pub isr: Isr,
    pub app: Router,
    pub handler: Handler,
}

impl Site {
    pub fn new(folder: &Folder) -> Self {
        Self::with(folder, |builder| builder)
    }

    pub fn with(folder: &Folder, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Self {
        Self::of(folder, set, RouteConfig::revalidate(Duration::from_secs(60)))
    }

    pub fn of(folder: &Folder, set: impl FnOnce(IsrBuilder) -> IsrBuilder, config: RouteConfig) -> Self {
        let clock = ManualClock::new();
        let isr = set(Isr::builder().clock(clock.clone()).seeds(folder.seeds())).build().unwrap();
        let handler = Handler::counting();
        let app = Router::new()
            .route("/{*path}", get(handler.clone()))
            .route("/", get(handler.clone()))
            .route_layer(isr.layer(config));
        Self { clock, folder: folder.clone(), isr, app, handler }
    }

    pub fn renders(&self) -> usize {
        self.handler.calls()
    }
}

/// `/about` and `/`, built ten seconds ago.
pub fn two_pages() -> Folder {
    let folder = Folder::built(NOW - 10, json!([row("/about"), row("/")]));
    folder.page("about.html", "<h1>About</h1>");
    folder.page("index.html", "<h1>Home</h1>");
    folder
}

/// One page at `/about` with other fields.
pub fn about(fields: Value) -> Folder {
    let folder = Folder::built(NOW - 10, json!([row_with("/about", fields)]));
    folder.page("about.html", "<h1>About</h1>");
    folder
}
