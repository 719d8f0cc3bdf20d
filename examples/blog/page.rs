//! What all pages have in common: the frame, the fragment without it, and the line at the foot.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use axum_isr::Render;
use axum_isr::config::RenderReason;

use crate::Site;
use crate::error::AppError;

/// How much of the frame (`base.html`) goes around the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// `<main>` alone, for scripts that exchange it in place (`HX-Request: true`).
    Fragment,
    /// All before the content, for a page that is sent bit by bit.
    Opening,
    /// All after it.
    Closing,
}

/// The page that a handler is making. Extract it first: its stopwatch starts there.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    part: Part,
    path: String,
    /// Which process makes it. With a store one render serves them all.
    by: Option<Arc<str>>,
    reason: RenderReason,
    began: Instant,
}

impl FromRequestParts<Site> for Page {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Infallible> {
        let began = Instant::now();
        let render = Render::from_request_parts(parts, site).await?;
        let fragment = parts.headers.get("hx-request").is_some_and(|value| value == "true");
        let part = if fragment { Part::Fragment } else { Part::Whole };
        let by = Some(Arc::clone(&site.name));
        Ok(Self { part, path: parts.uri.path().to_owned(), by, reason: render.reason(), began })
    }
}

/// For the templates.
impl Page {
    pub(crate) fn has_head(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Opening)
    }

    pub(crate) fn has_foot(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Closing)
    }

    pub(crate) fn opens_main(&self) -> bool {
        self.part != Part::Closing
    }

    pub(crate) fn closes_main(&self) -> bool {
        self.part != Part::Opening
    }

    pub(crate) fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    /// How long making the page has taken up to the foot.
    pub(crate) fn took(&self) -> String {
        display(self.began.elapsed())
    }

    /// Why the page was made, as a visitor would say it.
    pub(crate) fn occasion(&self) -> &'static str {
        match self.reason {
            RenderReason::First => "for the first visitor who asked",
            RenderReason::Regeneration => "in the background",
            RenderReason::Prerender => "ahead of time",
            _ => "for this visit alone",
        }
    }
}

impl Page {
    /// Stands in where the request is out of reach.
    pub(crate) fn failed() -> Self {
        let (part, reason, began) = (Part::Whole, RenderReason::Visitor, Instant::now());
        Self { part, path: String::new(), by: None, reason, began }
    }

    /// The same page, another part of the frame.
    pub(crate) fn part(&self, part: Part) -> Self {
        Self { part, ..self.clone() }
    }

    /// Fills in a template.
    pub(crate) fn html(&self, template: &impl Template) -> Result<Response, AppError> {
        let html = template.render()?;
        // Once a render, not once a visit: with the cache in front this line is rare.
        tracing::info!(path = self.path, reason = ?self.reason, took = self.took(), "rendered");
        Ok(Html(html).into_response())
    }

    /// There is no such page: a real 404, which the cache keeps as any other page.
    pub(crate) fn not_found(&self) -> Result<Response, AppError> {
        let page = self.html(&NotFoundTemplate { page: self })?;
        Ok((StatusCode::NOT_FOUND, page).into_response())
    }
}

#[derive(Template)]
#[template(path = "not_found.html", config = "examples/blog/askama.toml")]
struct NotFoundTemplate<'a> {
    page: &'a Page,
}

/// `40 µs`, `1.3 ms`, `3.0 s`.
fn display(took: Duration) -> String {
    if took < Duration::from_millis(1) {
        format!("{} µs", took.as_micros())
    } else if took < Duration::from_secs(1) {
        format!("{:.1} ms", took.as_secs_f64() * 1_000.0)
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}
