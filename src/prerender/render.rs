//! One page, rendered in process through the layers of its router.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tower::ServiceExt;

use crate::contained::contained;
use crate::flight::{Exporting, Prerendered, Prerendering, Told, by_status};
use crate::key::CacheKey;

/// Renders the page that a request asks for, by the layer's own render request, and keeps nothing. With its key, if a layer
/// made one.
///
/// Layers outside of the first `IsrLayer` with a configuration see the request, and may answer it.
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
    poll_fn(|cx| {
        if listens {
            match Pin::new(&mut told).poll(cx) {
                Poll::Ready(Ok(what)) => return Poll::Ready(known(what)),
                // No layer was reached, or one has forgotten to tell.
                Poll::Ready(Err(_)) => listens = false,
                Poll::Pending => {}
            }
        }
        response.as_mut().poll(cx).map(|response| match response {
            Err(_) => known(Prerendered::Failed("panicked", None)),
            // It may have been told by what was polled just now.
            Ok(Ok(response)) => told.try_recv().map_or(Asked::Answered(response), known),
        })
    })
    .await
}
