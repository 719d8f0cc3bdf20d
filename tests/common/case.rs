//! A request whose reason is known before, and what it takes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::Response;
use axum_isr::Isr;
use axum_isr::stats::{Miss, Reason};
use tower::Service;
use tower::util::BoxCloneService;

use crate::common::request_with;

/// The pattern of the routes here, if nothing else is said.
pub const PATTERN: &str = "/p/{slug}";

pub type Later<T = ()> = Pin<Box<dyn Future<Output = T>>>;

/// What `Isr::explain` says right before the request.
#[derive(Clone, Copy, Debug)]
pub enum Foreseen {
    /// What becomes of it.
    Same,
    /// Only the store, the handler or other visitors will say it: this is what it says instead.
    Otherwise(Reason),
    /// It is no path that could be explained.
    Refused,
}

/// Where the answer is that `Cache-Status` is in.
pub enum Answer {
    /// What the visitor gets.
    Got,
    /// Nowhere: a panic goes on unwinding through the layer.
    Unwound,
    /// The handler has it: it asked for the page itself.
    Inside(Arc<Mutex<Option<Response>>>),
}

/// A site that is prepared, and the request that comes next.
pub struct Case {
    pub isr: Isr,
    pub app: BoxCloneService<Request, Response, Infallible>,
    pub ask: Box<dyn Fn() -> Request>,
    pub route: &'static str,
    pub foreseen: Foreseen,
    /// Who would be asked besides the memory and the handler.
    pub behind: &'static [&'static str],
    pub also: Vec<Reason>,
    pub collapsed: bool,
    pub meanwhile: Option<Later>,
    pub answer: Answer,
    /// What was found out is remembered: what is foreseen when the same is asked again.
    pub again: Option<Foreseen>,
    /// Of what is explained and what is asked the keys are the same.
    pub keyed: bool,
    pub settles: bool,
    pub held: Vec<Box<dyn Any>>,
}

impl Case {
    pub fn new<S>(isr: &Isr, app: &S) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
    {
        Self {
            isr: isr.clone(),
            app: BoxCloneService::new(app.clone()),
            ask: Box::new(|| request_with("/p/a", &[])),
            route: PATTERN,
            foreseen: Foreseen::Same,
            behind: &[],
            also: Vec::new(),
            collapsed: false,
            meanwhile: None,
            answer: Answer::Got,
            again: None,
            keyed: true,
            settles: true,
            held: Vec::new(),
        }
    }

    /// Sent to another app of the same handle.
    pub fn on<S>(self, app: &S) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
    {
        Self { app: BoxCloneService::new(app.clone()), ..self }
    }

    pub fn path(self, path: &'static str) -> Self {
        self.asking(move || request_with(path, &[]))
    }

    pub fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.asking(move || request_with("/p/a", headers))
    }

    pub fn asking(self, ask: impl Fn() -> Request + 'static) -> Self {
        Self { ask: Box::new(ask), ..self }
    }

    pub fn route(self, route: &'static str) -> Self {
        Self { route, ..self }
    }

    /// Only the request itself finds it out: by what is known, there is no page.
    pub fn looks_cold(self) -> Self {
        self.looks(Reason::Miss(Miss::Cold))
    }

    /// Only the request itself finds it out: by what is known, it is this.
    pub fn looks(self, otherwise: Reason) -> Self {
        Self { foreseen: Foreseen::Otherwise(otherwise), ..self }
    }

    pub fn cannot_be_explained(self) -> Self {
        Self { foreseen: Foreseen::Refused, ..self }
    }

    /// There is a store, which would be asked.
    pub fn with_store(self) -> Self {
        Self { behind: &["store"], ..self }
    }

    /// What becomes of others meanwhile.
    pub fn also(self, also: impl IntoIterator<Item = Reason>) -> Self {
        Self { also: also.into_iter().collect(), ..self }
    }

    /// Somebody else's request has started the render.
    pub fn collapsed(self) -> Self {
        Self { collapsed: true, ..self }
    }

    pub fn meanwhile(self, work: impl Future<Output = ()> + 'static) -> Self {
        Self { meanwhile: Some(Box::pin(work)), ..self }
    }

    pub fn answered(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }

    /// Asked again, the explanation agrees, too.
    pub fn remembered(self) -> Self {
        Self { again: Some(Foreseen::Same), ..self }
    }

    /// Remembered, but of requests that cannot be explained.
    pub fn remembered_unseen(self) -> Self {
        Self { again: Some(self.foreseen), ..self }
    }

    /// The explanation is of another key.
    pub fn unkeyed(self) -> Self {
        Self { keyed: false, ..self }
    }

    /// Others are still waiting when all is told.
    pub fn goes_on(self) -> Self {
        Self { settles: false, ..self }
    }

    /// Has to live as long as the case.
    pub fn holding(mut self, held: impl Any) -> Self {
        self.held.push(Box::new(held));
        self
    }
}

/// A reason, and how it comes about.
pub struct Row {
    pub reason: Reason,
    pub what: &'static str,
    pub prepare: Box<dyn FnOnce() -> Later<Case>>,
    pub timers: bool,
}

pub fn row<F: AsyncFnOnce() -> Case + 'static>(reason: Reason, what: &'static str, prepare: F) -> Row {
    Row { reason, what, prepare: Box::new(move || Box::pin(prepare())), timers: true }
}

impl Row {
    /// On a runtime without timers.
    pub fn without_timers(self) -> Self {
        Self { timers: false, ..self }
    }
}
