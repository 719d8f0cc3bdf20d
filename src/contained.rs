//! Panics of what is not ours as values.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

/// What something panicked with: the payload for one who waits, its message for the others.
#[derive(Clone)]
pub(crate) struct Panic(Arc<(Arc<str>, Mutex<Option<Payload>>)>);

type Payload = Box<dyn Any + Send>;

impl Panic {
    pub(crate) fn new(payload: Payload) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
            (*text).into()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.as_str().into()
        } else {
            "the handler panicked".into()
        };
        Self(Arc::new((message, Mutex::new(Some(payload)))))
    }

    pub(crate) fn message(&self) -> Arc<str> {
        Arc::clone(&self.0.0)
    }

    /// To unwind with. `first`: for the visitor who started the render.
    pub(crate) fn payload(&self, first: bool) -> Payload {
        let payload = || self.0.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        let payload = if first { payload() } else { None };
        payload.unwrap_or_else(|| Box::new(self.0.0.to_string()))
    }
}

/// A future whose panics are values.
pub(crate) async fn contained<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => Poll::Ready(Err(Panic::new(payload))),
    })
    .await
}
