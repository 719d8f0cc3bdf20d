//! The body of a render, with everything that can go wrong contained.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;

use crate::contained::Panic;

/// What came out of a body.
pub(super) enum Next {
    Chunk(Bytes),
    Trailers(HeaderMap),
    End,
    Error(Arc<str>),
    Panicked(Panic),
    TimedOut,
}

/// Frames without a byte in a row.
const MAX_EMPTY: usize = 10_000;

pub(super) struct Source {
    body: Body,
    empty: usize,
    /// Between two frames.
    timeout: Duration,
}

impl Source {
    pub(super) fn new(body: Body, timeout: Duration) -> Self {
        Self { body, empty: 0, timeout }
    }

    /// What is there now; `None` if the body has to be waited for.
    pub(super) async fn now(&mut self) -> Option<Next> {
        poll_fn(|cx| {
            // A stream that is always ready must not keep the thread: frames cost of the task's budget, and when it is
            // used up this task yields without taking the body for one that waits.
            let budget = ready!(tokio::task::coop::poll_proceed(cx));
            budget.made_progress();
            Poll::Ready(match self.poll(cx) {
                Poll::Ready(next) => Some(next),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Known without asking for another frame: a body made of one piece.
    pub(super) fn has_ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next frame, within the time limit.
    pub(super) async fn next(&mut self) -> Next {
        let timeout = self.timeout;
        let next = poll_fn(|cx| {
            let budget = ready!(tokio::task::coop::poll_proceed(cx));
            let next = ready!(self.poll(cx));
            budget.made_progress();
            Poll::Ready(next)
        });
        tokio::time::timeout(timeout, next).await.unwrap_or(Next::TimedOut)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        Poll::Ready(match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(None)) => Next::End,
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                let says = frame.data_ref().is_some_and(|chunk| !chunk.is_empty());
                self.empty = if says { 0 } else { self.empty + 1 };
                match frame.into_data() {
                    // Always ready and never a byte: neither a limit nor a timeout would end it.
                    _ if self.empty > MAX_EMPTY => Next::Error("the page does nothing but begin".into()),
                    Ok(chunk) => Next::Chunk(chunk),
                    Err(frame) => Next::Trailers(frame.into_trailers().unwrap_or_default()),
                }
            }
            Ok(Poll::Ready(Some(Err(error)))) => Next::Error(error.to_string().into()),
            Err(payload) => Next::Panicked(Panic::new(payload)),
        })
    }
}
