//! The response future.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CACHE_STATUS;
use pin_project_lite::pin_project;
use tower::ServiceExt;
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
        Own { #[pin] inner: S::Future, note: Option<Box<HeaderValue>> },
        /// The same, while the inner service is not ready.
        Waiting { #[pin] inner: Oneshot<S, Request>, note: Option<Box<HeaderValue>> },
        /// Answered from memory.
        Ready { response: Option<Response> },
        /// Waits for a render.
        Flow { flow: Pin<Box<dyn Future<Output = Response> + Send>> },
    }
}

impl<S: Service<Request>> ResponseFuture<S> {
    /// Sends a visitor's own request to a clone of the inner service. `note`: what `Cache-Status` is to say, if anything.
    pub(crate) fn own(mut inner: S, request: Request, note: Option<Box<HeaderValue>>) -> Self {
        // Most services are always ready: then the request moves once. If this one is not, it is asked again with the
        // task's own waker.
        let state = match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => State::Own { inner: inner.call(request), note },
            _ => State::Waiting { inner: inner.oneshot(request), note },
        };
        Self { state }
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
            StateProj::Own { inner, note } => answered(ready!(inner.poll(cx)), note),
            StateProj::Waiting { inner, note } => answered(ready!(inner.poll(cx)), note),
            StateProj::Ready { response } => match response.take() {
                Some(response) => response,
                // Polled again after it was ready, which the contract of futures leaves open.
                None => return Poll::Pending,
            },
            StateProj::Flow { flow } => ready!(flow.as_mut().poll(cx)),
        }))
    }
}

fn answered<R, E>(result: Result<R, E>, note: &mut Option<Box<HeaderValue>>) -> Response
where
    R: IntoResponse,
    E: Into<Infallible>,
{
    let Ok(response) = result.map_err(Into::<Infallible>::into);
    let mut response = response.into_response();
    if let Some(note) = note.take() {
        // The handler may be behind caches of its own.
        response.headers_mut().append(CACHE_STATUS, *note);
    }
    response
}

impl<S: Service<Request>> std::fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Own { .. } | State::Waiting { .. } => "ResponseFuture::Own",
            State::Ready { .. } => "ResponseFuture::Ready",
            State::Flow { .. } => "ResponseFuture::Flow",
        })
    }
}
