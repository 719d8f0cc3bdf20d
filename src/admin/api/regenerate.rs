//! `POST api/regenerate`: pages rendered again, now.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::access::Authorized;
use crate::admin::answer::{Refusal, json};
use crate::admin::body::parse;
use crate::error::ConfigError;

/// How long a caller waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    path: Option<String>,
    tag: Option<String>,
}

#[derive(Serialize)]
struct Report {
    total: usize,
    done: usize,
    failed: usize,
    finished: bool,
    /// Other processes could not be told yet.
    local_only: bool,
}

pub(super) async fn regenerate(Authorized(isr): Authorized, body: Body) -> Result<Response, Refusal> {
    let running = match parse(body).await? {
        Call { path: Some(path), tag: None } => isr.regenerate_path(path).await?,
        Call { path: None, tag: Some(tag) } => isr.regenerate_tag(tag).await?,
        Call { path, .. } => {
            let got = if path.is_some() { "both" } else { "neither" };
            return Err(ConfigError::new("body", "a path or a tag", got).into());
        }
    };
    let local_only = running.is_local_only();
    let waited = tokio::time::timeout(PATIENCE, running.clone().finished()).await;
    let progress = waited.unwrap_or_else(|_| running.progress());
    let report = Report {
        total: progress.total,
        done: progress.done,
        failed: progress.failed,
        finished: progress.is_finished(),
        local_only,
    };
    Ok(json(StatusCode::OK, &report))
}
