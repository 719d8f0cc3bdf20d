//! One page, rendered in process through the layers of its router.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::Either;
use tower::ServiceExt;

use crate::contained::contained;
use crate::flight::{BACKGROUND_RENDERS, Exporting, Prerendered, Prerendering, Told, by_status};
use crate::key::CacheKey;

/// Renders the page that a request asks for, by the layer's own render request, and keeps nothing. With its key, if a layer
/// made one.
///
/// Layers outside of the first `IsrLayer` with a configuration see the request, and may answer it; they see the page too, and
/// may refuse it.
pub(crate) async fn render(router: Router, request: Request, export: &Exporting) -> (Prerendered, Option<CacheKey>) {
    match ask(router, request, export).await {
        Asked::Told(told, key) => (told, key),
        Asked::Answered(response) => (by_status(response.status()), None),
    }
}

/// Who has answered a request for a page.
pub(crate) enum Asked {
    /// A layer with a configuration.
    Told(Prerendered, Option<CacheKey>),
    /// Something that no such layer is around, or outside of it.
    Answered(Response),
}

/// As [`render`]; what no layer has made is at hand too.
pub(crate) async fn ask(router: Router, mut request: Request, export: &Exporting) -> Asked {
    let Told { what: mut told, key } = Prerendering::mark(&mut request, export);
    let mut response = pin!(contained(router.oneshot(request)));
    let mut listens = true;
    let known = |what| Asked::Told(what, key.get().cloned());
    let first = poll_fn(|cx| {
        if listens {
            match Pin::new(&mut told).poll(cx) {
                Poll::Ready(Ok(what)) => return Poll::Ready(Either::Left(what)),
                // No layer was reached, or one has forgotten to tell.
                Poll::Ready(Err(_)) => listens = false,
                Poll::Pending => {}
            }
        }
        // It may have been told by what was polled just now.
        response.as_mut().poll(cx).map(|answer| Either::Right((told.try_recv().ok(), answer)))
    })
    .await;
    let (what, answer) = match first {
        Either::Right(answered) => answered,
        // A visitor gets a page only if the layers outside let it through.
        Either::Left(Prerendered::Page(page)) => {
            let limit = page.shared.render_timeout.saturating_mul(BACKGROUND_RENDERS);
            match tokio::time::timeout(limit, response).await {
                Ok(answer) => (Some(Prerendered::Page(page)), answer),
                Err(_) => return known(Prerendered::Failed("timed-out", None)),
            }
        }
        Either::Left(what) => return known(what),
    };
    match (what, answer) {
        (_, Err(_)) => known(Prerendered::Failed("panicked", None)),
        (Some(Prerendered::Page(page)), Ok(Ok(response))) if response.status() != page.page.entry.status() => {
            known(Prerendered::Skipped("refused-outside"))
        }
        (Some(what), Ok(Ok(_))) => known(what),
        (None, Ok(Ok(response))) => Asked::Answered(response),
    }
}
