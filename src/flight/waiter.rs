//! A visitor's place in a flight.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body::{End, Piece};
use super::outcome::{Head, Outcome};
use super::running::{Flight, Verdict, Wants};
use crate::key::CacheKey;
use crate::ledger::Since;
use crate::policy::reason::Miss;
use crate::testing::rules::{Rule, holds};

/// A visitor who waits for a flight or reads along. Dropping it leaves; the last one to leave wakes the leader.
pub(crate) struct Waiter {
    flight: Arc<Flight>,
    place: usize,
    starter: bool,
    /// Something was marked between the begin of the render and the request.
    late: bool,
}

/// What a visitor does next.
pub(crate) enum Step {
    /// Goes on with this head and reads along.
    Stream(Arc<Head>),
    /// Goes to the handler with its own request, and tells what came of it.
    Ask,
    /// Its bytes are not kept for it.
    NotCaptured,
    Ended(Outcome),
}

impl Waiter {
    /// `None` if `most` wait already. The bytes of a body are kept for a waiter from here on. `arrived`: when the
    /// request came.
    pub(super) fn join(flight: &Arc<Flight>, most: usize, starter: bool, arrived: Since) -> Option<Self> {
        let place = flight.join(most, starter)?;
        Some(Self {
            flight: Arc::clone(flight),
            place,
            starter,
            late: arrived.generation > flight.began().generation && holds(Rule::LateWaits),
        })
    }

    /// Whether somebody else's request started the render.
    pub(crate) fn is_follower(&self) -> bool {
        !self.starter
    }

    /// Whether what this flight streams may be older than an invalidation that was over when the request came.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    /// Until when to wait where nothing may be read before the end, since that may be far away: somebody else may read
    /// along for as long as he likes.
    pub(crate) fn patience(&self, limit: Duration) -> Option<Instant> {
        if self.late { self.flight.started().checked_add(limit) } else { None }
    }

    /// Why there is no page, if the flight has found out more than the memory tier knew.
    pub(crate) fn why(&self) -> Option<Miss> {
        self.flight.why()
    }

    pub(crate) fn key(&self) -> &CacheKey {
        self.flight.key()
    }

    /// Whether the head is out.
    pub(crate) fn is_streaming(&self) -> bool {
        self.flight.is_streaming()
    }

    /// Waits for the next step. `whole`: for the whole page, not for its head.
    pub(crate) async fn step(&self, whole: bool) -> Step {
        let wants = match (self.late, whole) {
            (true, _) => Wants::Verdict,
            (false, true) => Wants::Whole,
            (false, false) => Wants::Head,
        };
        poll_fn(|cx| self.flight.poll_step(self.place, wants, self.starter, cx)).await
    }

    /// After `Step::Ask`.
    pub(crate) fn volunteer(&self) -> Volunteer {
        Volunteer { flight: Arc::clone(&self.flight), answered: false }
    }

    /// A body that reads along; `length`: what the handler declared.
    pub(crate) fn read_along(self, length: Option<u64>) -> ReadAlong {
        ReadAlong { waiter: self, left: length, ended: false }
    }
}

/// A flight that is in no table, and its only waiter (development mode).
pub(crate) fn lone_flight(key: CacheKey, began: Since) -> Option<(Arc<Flight>, Waiter)> {
    let flight = Flight::new(key, began);
    let waiter = Waiter::join(&flight, 1, true, began)?;
    Some((flight, waiter))
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.flight.leave(self.place, self.starter);
    }
}

/// The visitor whose own request decides whether a failed render was the fault of the narrowed request. Dropped
/// without an answer, somebody else is asked; dropped by a panic of the handler, the request failed too.
pub(crate) struct Volunteer {
    flight: Arc<Flight>,
    answered: bool,
}

impl Volunteer {
    pub(crate) fn answer(mut self, verdict: Verdict) {
        self.answered = true;
        self.flight.answer_doubt(Some(verdict));
    }
}

impl Drop for Volunteer {
    fn drop(&mut self) {
        if !self.answered {
            self.flight.answer_doubt(std::thread::panicking().then_some(Verdict::FailsToo));
        }
    }
}

/// The body of a render that is still running, as its visitors read it.
pub(crate) struct ReadAlong {
    waiter: Waiter,
    /// Bytes still to come, where the handler declared a length.
    left: Option<u64>,
    /// The trailers have gone out.
    ended: bool,
}

impl Body for ReadAlong {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let place = this.waiter.place;
        let piece = this.waiter.flight.read(|body| {
            let piece = body.read(place);
            if matches!(piece, Piece::NotYet) {
                body.wake_on_change(place, cx.waker());
            }
            piece
        });
        match piece {
            Piece::Chunk(chunk) => {
                this.left = this.left.map(|left| left.saturating_sub(chunk.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Piece::End(End::Trailers(trailers)) if !this.ended => {
                this.ended = true;
                Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::clone(&trailers)))))
            }
            Piece::End(End::Clean | End::Trailers(_)) => Poll::Ready(None),
            Piece::End(End::Broken(message)) => Poll::Ready(Some(Err(message.as_ref().into()))),
            Piece::Cut => Poll::Ready(Some(Err("the reader of an unstored page was too slow".into()))),
            Piece::NotYet => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        let place = self.waiter.place;
        self.waiter.flight.lock().body.is_read(place)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
