//! A site with three pages and the admin router, and how its callers ask.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use axum_isr::admin::AdminConfig;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig, admin};

use crate::common::{Handler, body, fetch, header, send, state};

pub const TOKEN: &str = "correct-horse-battery-staple";
pub const BEARER: (&str, &str) = ("authorization", "Bearer correct-horse-battery-staple");
pub const OURS: (&str, &str) = ("x-axum-isr", "1");
pub const EVERYTHING: &str = r#"{"all":true}"#;

/// Every call below `/api`, and what it takes.
pub const CALLS: [(&str, &str, &str); 7] = [
    ("GET", "/api/stats", ""),
    ("GET", "/api/entries", ""),
    ("GET", "/api/explain?path=/a", ""),
    ("GET", "/api/explain?tag=a", ""),
    ("POST", "/api/revalidate", EVERYTHING),
    ("POST", "/api/expire", EVERYTHING),
    ("POST", "/api/regenerate", r#"{"tag":"a"}"#),
];

#[derive(Clone)]
pub struct Site {
    pub isr: Isr,
    pub clock: ManualClock,
    pub app: Router,
}

impl Site {
    /// With `/a`, `/b/c` and `/d`, tagged `a`, `b` and `d`, and the admin router at `/_isr`.
    pub fn new() -> Self {
        Self::with(AdminConfig::new(TOKEN))
    }

    pub fn with(config: AdminConfig) -> Self {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let app = pages(&isr).nest("/_isr", admin::router(config).unwrap()).with_state(isr.clone());
        Self { isr, clock, app }
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
        send(&self.app, call("POST", path, headers, body)).await
    }

    /// The state of each page.
    pub async fn states(&self) -> [&'static str; 3] {
        let app = &self.app;
        [state(&fetch(app, "/a").await), state(&fetch(app, "/b/c").await), state(&fetch(app, "/d").await)]
    }

    /// The cookie of a login, as a browser sends it.
    pub async fn login(&self) -> String {
        login(&self.app, "/_isr", TOKEN).await
    }
}

pub fn pages(isr: &Isr) -> Router<Isr> {
    let page = |tag: &'static str| get(Handler::counting()).layer(isr.layer(RouteConfig::forever().tags([tag])));
    Router::new().route("/a", page("a")).route("/b/c", page("b")).route("/d", page("d"))
}

pub fn call(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).unwrap()
}

pub fn credentials(token: &str) -> String {
    serde_json::json!({ "token": token }).to_string()
}

pub async fn login(app: &Router, base: &str, token: &str) -> String {
    let response = send(app, call("POST", &format!("{base}/login"), &[OURS], credentials(token))).await;
    assert_eq!(response.status(), 204, "{base}");
    header(&response, "set-cookie").split(';').next().unwrap().to_owned()
}

/// What `{"error": …}` says.
pub async fn error(response: Response) -> String {
    assert_eq!(header(&response, "content-type"), "application/json");
    let value: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 1, "{value}");
    value["error"].as_str().unwrap().to_owned()
}
