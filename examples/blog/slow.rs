//! A page that takes three seconds, and shows what it has in the meantime.

use std::time::Duration;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::date;
use crate::error::AppError;
use crate::page::{Page, Part};

const STEPS: usize = 6;
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Template)]
#[template(path = "slow.html", config = "examples/blog/askama.toml")]
struct SlowTemplate<'a> {
    page: &'a Page,
}

/// `/slow`: the first visitors watch it grow, all of them the same render; later ones get it at once from memory.
pub(crate) async fn slow(page: Page) -> Response {
    // An error ends the body early. The cache then keeps nothing: complete or not at all.
    let chunks = stream::unfold(0, move |step| {
        let page = page.clone();
        async move { if step > STEPS + 1 { None } else { Some((chunk(&page, step).await, step + 1)) } }
    });
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], Body::from_stream(chunks)).into_response()
}

/// The opening at once, then one line after each pause, then the rest of the page.
async fn chunk(page: &Page, step: usize) -> Result<Bytes, AppError> {
    let html = match step {
        0 => SlowTemplate { page: &page.part(Part::Opening) }.render()?,
        1..=STEPS => {
            tokio::time::sleep(PAUSE).await;
            let now = date::now();
            format!("<li>Part {step} of {STEPS}, made at <time datetime=\"{now}\">{now}</time></li>\n")
        }
        _ => {
            tracing::info!(path = "/slow", "rendered to the end");
            SlowTemplate { page: &page.part(Part::Closing) }.render()?
        }
    };
    Ok(Bytes::from(html))
}
