//! The state that a leader and its waiters share.

use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::body::{End, Growing};
use super::outcome::{Head, Outcome};
use super::sync::{Mutex, MutexGuard};
use super::waiter::Step;
use crate::key::CacheKey;
use crate::ledger::Since;
use crate::policy::reason::Miss;

/// One running render.
pub(crate) struct Flight {
    key: CacheKey,
    /// Marks up to this one do not hit what it brings.
    began: Since,
    started: Instant,
    /// Why what the store has is of no use.
    why: OnceLock<Miss>,
    state: Mutex<State>,
}

pub(super) struct State {
    phase: Phase,
    pub(super) body: Growing,
    leader: Option<Waker>,
    /// Whether the visitor who started the flight is still here.
    starter: bool,
    /// The leader has said its last word.
    landed: bool,
}

enum Phase {
    Rendering,
    /// The head is out. `starter_only`: there was no room to keep bytes for others.
    Streaming {
        head: Arc<Head>,
        starter_only: bool,
    },
    /// The render failed, and nobody knows yet whether a visitor's own request would have.
    Doubt {
        asked: bool,
        verdict: Option<Verdict>,
    },
    Ended(Outcome),
}

/// What became of the visitor's own request after the render had failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It went well, with this status: the handler needs the visitor.
    Works(StatusCode),
    FailsToo,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// The head, to read along from there.
    Head,
    /// The whole page, for its length, or nothing of it.
    Whole,
    /// The whole page, to judge it: something was marked between the begin of the render and the request.
    Verdict,
}

impl Flight {
    pub(super) fn new(key: CacheKey, began: Since) -> Arc<Self> {
        Arc::new(Self {
            key,
            began,
            started: Instant::now(),
            why: OnceLock::new(),
            state: Mutex::new(State {
                phase: Phase::Rendering,
                body: Growing::default(),
                leader: None,
                starter: false,
                landed: false,
            }),
        })
    }

    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    pub(crate) fn began(&self) -> Since {
        self.began
    }

    /// Why there is no page, if the store has said.
    pub(super) fn why(&self) -> Option<Miss> {
        self.why.get().copied()
    }

    /// Before anybody is answered; what is said first counts.
    pub(super) fn because(&self, why: Miss) {
        let _ = self.why.set(why);
    }

    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.lock().phase, Phase::Streaming { .. })
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everybody who waits for a change, after the lock is released.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let wakers = state.body.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub(super) fn is_watched(&self) -> bool {
        self.lock().body.watchers() > 0
    }

    // What the leader does.

    /// Publishes the head: waiters go on with it and read along.
    pub(super) fn publish(&self, head: &Arc<Head>, starter_only: bool) {
        self.change(|state| {
            state.phase = Phase::Streaming { head: Arc::clone(head), starter_only };
        });
    }

    pub(super) fn push(&self, chunk: Bytes) {
        self.change(|state| state.body.push(chunk));
    }

    /// From here on bytes are kept only until everybody has read them.
    pub(super) fn overflow(&self) {
        self.change(|state| state.body.overflow());
    }

    /// The body's end, for those who read along.
    pub(super) fn end_body(&self, end: End) {
        self.change(|state| state.body.end(end));
    }

    /// The flight's end, for those who have not seen a head.
    pub(super) fn end(&self, outcome: Outcome) {
        self.change(|state| {
            // A page that is passed on was rendered for those who are here, also for those who have not looked yet.
            let passed_on = matches!(state.phase, Phase::Streaming { .. }) && state.body.overflows();
            let stays = state.landed || (passed_on && matches!(outcome, Outcome::Pass(_)));
            if !stays {
                state.phase = Phase::Ended(outcome);
            }
            state.landed = true;
        });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().landed
    }

    pub(super) fn doubt(&self) {
        self.change(|state| state.phase = Phase::Doubt { asked: false, verdict: None });
    }

    /// The verdict of a visitor's own request; `None` once nobody is left who could ask.
    pub(super) fn poll_verdict(&self, cx: &mut Context<'_>) -> Poll<Option<Verdict>> {
        let mut state = self.lock();
        match state.phase {
            Phase::Doubt { verdict: Some(verdict), .. } => Poll::Ready(Some(verdict)),
            Phase::Doubt { .. } if state.body.watchers() > 0 => {
                state.leader = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }

    /// Ready when nobody waits or reads any more.
    pub(super) fn poll_unwatched(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.body.watchers() == 0 {
            return Poll::Ready(());
        }
        state.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when the leader may go on reading: `false` once there is nobody to read for. Only after `overflow`.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.body.watchers() == 0 {
            return Poll::Ready(false);
        }
        if state.body.has_room() {
            return Poll::Ready(true);
        }
        state.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How far the slowest reader is.
    pub(super) fn slowest(&self) -> Option<usize> {
        self.lock().body.slowest()
    }

    /// Cuts those who have not read on since they were at `stalled`, if somebody waits for them.
    pub(super) fn cut(&self, stalled: usize) -> usize {
        self.change(|state| state.body.cut(stalled))
    }

    // What a waiter does.

    /// What a waiter has to do next.
    pub(super) fn poll_step(&self, place: usize, wants: Wants, starter: bool, cx: &Context<'_>) -> Poll<Step> {
        let mut state = self.lock();
        let overflowing = state.body.overflows();
        let may_answer = starter || !state.starter;
        let step = match &mut state.phase {
            Phase::Ended(outcome) => Step::Ended(outcome.clone()),
            Phase::Streaming { starter_only: true, .. } if !starter => Step::NotCaptured,
            Phase::Streaming { .. } if overflowing && wants == Wants::Verdict => Step::NotCaptured,
            Phase::Streaming { head, .. } if overflowing || wants == Wants::Head => Step::Stream(Arc::clone(head)),
            // The one who started it; others only once that one has left.
            Phase::Doubt { asked, verdict: None } if !*asked && may_answer => {
                *asked = true;
                Step::Ask
            }
            _ => {
                state.body.wake_on_change(place, cx.waker());
                return Poll::Pending;
            }
        };
        Poll::Ready(step)
    }

    pub(super) fn answer_doubt(&self, answer: Option<Verdict>) {
        let leader = self.change(|state| {
            if let Phase::Doubt { asked, verdict } = &mut state.phase {
                *verdict = answer;
                // Without a verdict, somebody else is asked.
                *asked = answer.is_some();
            }
            state.leader.take()
        });
        if let Some(leader) = leader {
            leader.wake();
        }
    }

    pub(super) fn join(&self, most: usize, starter: bool) -> Option<usize> {
        let mut state = self.lock();
        state.starter |= starter;
        (state.body.watchers() < most).then(|| state.body.join())
    }

    pub(super) fn leave(&self, place: usize, starter: bool) {
        if starter {
            // Somebody else may be asked now.
            self.change(|state| state.starter = false);
        }
        self.read(|body| body.leave(place));
    }

    /// Reads from the body, which may make room for the leader.
    pub(super) fn read<R>(&self, read: impl FnOnce(&mut Growing) -> R) -> R {
        let mut state = self.lock();
        let result = read(&mut state.body);
        let wake = state.body.watchers() == 0 || (state.body.overflows() && state.body.has_room());
        let leader = if wake { state.leader.take() } else { None };
        drop(state);
        if let Some(leader) = leader {
            leader.wake();
        }
        result
    }
}
