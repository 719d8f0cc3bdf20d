//! One page, rendered in process through the layers of its router.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use axum::Router;
use axum::extract::Request;
use http::StatusCode;
use tower::ServiceExt;

use crate::contained::contained;
use crate::flight::{Prerendered, Prerendering};

/// Renders the page that a request asks for, by the layer's own render request, and keeps nothing.
///
/// Layers outside of the first `IsrLayer` with a configuration see the request, and may answer it.
pub(crate) async fn render(router: Router, mut request: Request) -> Prerendered {
    let mut told = Prerendering::mark(&mut request);
    let mut response = pin!(contained(router.oneshot(request)));
    let mut listens = true;
    poll_fn(|cx| {
        if listens {
            match std::pin::Pin::new(&mut told).poll(cx) {
                Poll::Ready(Ok(told)) => return Poll::Ready(told),
                // No layer was reached, or one has forgotten to tell.
                Poll::Ready(Err(_)) => listens = false,
                Poll::Pending => {}
            }
        }
        response.as_mut().poll(cx).map(|response| match response {
            Err(_) => Prerendered::Failed("panicked", None),
            // It may have been told by what was polled just now.
            Ok(Ok(response)) => told.try_recv().unwrap_or_else(|_| answered_outside(response.status())),
        })
    })
    .await
}

/// No layer with a configuration was reached.
fn answered_outside(status: StatusCode) -> Prerendered {
    match status.as_u16() {
        300..=399 => Prerendered::Skipped("redirect"),
        400.. => Prerendered::Failed("status", Some(status)),
        _ => Prerendered::Skipped("not-cached"),
    }
}
