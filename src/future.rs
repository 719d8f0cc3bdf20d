//! The response future.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

pin_project! {
    /// The future of [`IsrService`](crate::IsrService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Request>> {
        #[pin]
        state: State<S>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S: Service<Request>> {
        /// The visitor's own request, in the inner service.
        Own { #[pin] inner: Oneshot<S, Request>, note: Option<HeaderValue> },
        /// Answered from memory.
        Ready { response: Option<Response> },
        /// Waits for a render.
        Flow { flow: Pin<Box<dyn Future<Output = Response> + Send>> },
    }
}

impl<S: Service<Request>> ResponseFuture<S> {
    /// `note`: what to say in `Cache-Status`.
    pub(crate) fn own(inner: Oneshot<S, Request>, note: Option<HeaderValue>) -> Self {
        Self { state: State::Own { inner, note } }
    }

    pub(crate) fn ready(response: Response) -> Self {
        Self { state: State::Ready { response: Some(response) } }
    }

    pub(crate) fn flow(flow: Pin<Box<dyn Future<Output = Response> + Send>>) -> Self {
        Self { state: State::Flow { flow } }
    }
}

impl<S> Future for ResponseFuture<S>
where
    S: Service<Request>,
    S::Response: IntoResponse,
    S::Error: Into<Infallible>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project().state.project() {
            StateProj::Own { inner, note } => {
                let Ok(response) = ready!(inner.poll(cx)).map_err(Into::<Infallible>::into);
                let mut response = response.into_response();
                if let Some(note) = note.take() {
                    response.headers_mut().append("cache-status", note);
                }
                response
            }
            StateProj::Ready { response } => match response.take() {
                Some(response) => response,
                // Polled again after it was ready, which the contract of futures leaves open.
                None => return Poll::Pending,
            },
            StateProj::Flow { flow } => ready!(flow.as_mut().poll(cx)),
        }))
    }
}

impl<S: Service<Request>> std::fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Own { .. } => "ResponseFuture::Own",
            State::Ready { .. } => "ResponseFuture::Ready",
            State::Flow { .. } => "ResponseFuture::Flow",
        })
    }
}
