//! The switchboard of a faulty store.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::store::{StoreError, StoreErrorKind, StoreKey};

/// A method of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `Store::get`.
    Get,
    /// `Store::put`.
    Put,
    /// `Store::put_many`, with all its items.
    PutMany,
    /// `Store::versions`.
    Versions,
    /// `Store::remove`.
    Remove,
    /// `Store::invalidate`.
    Invalidate,
    /// `Store::changes`.
    Changes,
    /// `Store::hint`.
    Hint,
    /// `Store::lease`.
    Lease,
    /// `Store::release`.
    Release,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Put,
        Self::PutMany,
        Self::Versions,
        Self::Remove,
        Self::Invalidate,
        Self::Changes,
        Self::Hint,
        Self::Lease,
        Self::Release,
    ];
}

/// What goes wrong with a call.
///
/// [`Operation::Hint`] has no answer that could be wrong: of [`Error`](Self::Error) and [`Forget`](Self::Forget) it
/// hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Error(StoreErrorKind),
    /// Nothing is done until [`Faults::clear`], or until the future is dropped. Once cleared, the call goes on.
    Hang,
    /// It is done later, by tokio's clock.
    Delay(Duration),
    /// Nothing is done, and it panics.
    Panic,
    /// What `get` returns has another byte in its middle. Others do as they should.
    Corrupt,
    /// `get` returns what was last got or put under another key, if something was. Others do as they should.
    Swap,
    /// Nothing is done, and the answer says that it was: `get` finds nothing, `changes` has passed over all marks that it
    /// should have told, `lease` grants.
    Forget,
    /// It is done, and then this happens, if it is an error, a hang, a delay or a panic.
    After(Box<Fault>),
}

impl Fault {
    /// It is done, but the answer gets lost: after the effect, the error is that it timed out.
    #[must_use]
    pub fn lost_answer() -> Self {
        Self::After(Box::new(Self::Error(StoreErrorKind::TimedOut)))
    }
}

/// Switches the faults of a [`FaultyStore`](super::FaultyStore) while it is in use, and counts its calls. Clones are the
/// same switchboard.
#[derive(Clone, Default)]
pub struct Faults(Arc<Board>);

#[derive(Default)]
struct Board {
    state: Mutex<State>,
    cleared: Notify,
}

#[derive(Default)]
struct State {
    lines: [Line; Operation::ALL.len()],
    in_flight: usize,
    /// How often faults were cleared.
    clears: u64,
    /// What was got or put last, and what before under another key.
    seen: VecDeque<(StoreKey, Bytes)>,
}

#[derive(Default)]
struct Line {
    standing: Option<Fault>,
    once: VecDeque<Fault>,
    calls: u64,
}

impl Faults {
    /// From now on, each call of an operation goes wrong like this.
    pub fn set(&self, operation: Operation, fault: Fault) {
        self.state().lines[operation as usize].standing = Some(fault);
    }

    /// From now on, each call of any operation goes wrong like this.
    pub fn set_all(&self, fault: &Fault) {
        for operation in Operation::ALL {
            self.set(operation, fault.clone());
        }
    }

    /// The next call of an operation goes wrong like this. Of several, each is for one call, in their order, and they go
    /// before what is [set](Self::set).
    pub fn once(&self, operation: Operation, fault: Fault) {
        self.state().lines[operation as usize].once.push_back(fault);
    }

    /// No faults any more. Calls that hang go on.
    pub fn clear(&self) {
        let mut state = self.state();
        for line in &mut state.lines {
            line.standing = None;
            line.once.clear();
        }
        state.clears += 1;
        drop(state);
        self.0.cleared.notify_waiters();
    }

    /// How often an operation was called, whatever came of it.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.state().lines[operation as usize].calls
    }

    /// Calls that have begun and neither returned nor been dropped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, operation: Operation) -> Call {
        let mut state = self.state();
        state.in_flight += 1;
        let line = &mut state.lines[operation as usize];
        line.calls += 1;
        let fault = line.once.pop_front().or_else(|| line.standing.clone());
        let clears = state.clears;
        drop(state);
        Call { faults: self.clone(), operation, fault, clears }
    }

    pub(super) fn saw(&self, key: &StoreKey, bytes: &Bytes) {
        let mut state = self.state();
        state.seen.retain(|(seen, _)| seen != key);
        state.seen.push_back((key.clone(), bytes.clone()));
        if state.seen.len() > 2 {
            state.seen.pop_front();
        }
    }

    async fn cleared_since(&self, clears: u64) {
        loop {
            let mut cleared = std::pin::pin!(self.0.cleared.notified());
            // Counts as waiting from here on, so that no `clear` falls in between.
            cleared.as_mut().enable();
            if self.state().clears != clears {
                return;
            }
            cleared.await;
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let set = Operation::ALL.iter().map(|operation| (operation, &state.lines[*operation as usize].standing));
        f.debug_map().entries(set).finish()
    }
}

/// A call that has begun.
pub(super) struct Call {
    faults: Faults,
    operation: Operation,
    fault: Option<Fault>,
    clears: u64,
}

/// Whether a call does what it should, or only says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Do,
    Pretend,
}

impl Call {
    pub(super) async fn before(&self) -> Result<Way, StoreError> {
        match &self.fault {
            Some(Fault::Forget) => Ok(Way::Pretend),
            Some(fault) => self.happen(fault).await.map(|()| Way::Do),
            None => Ok(Way::Do),
        }
    }

    pub(super) async fn after(&self) -> Result<(), StoreError> {
        match &self.fault {
            Some(Fault::After(fault)) => self.happen(fault).await,
            _ => Ok(()),
        }
    }

    /// Its own method, since a hint returns nothing that could say that it failed.
    pub(super) async fn hang(&self) {
        self.faults.cleared_since(self.clears).await;
    }

    #[allow(clippy::panic, reason = "a panic is what was ordered")]
    async fn happen(&self, fault: &Fault) -> Result<(), StoreError> {
        match fault {
            Fault::Error(kind) => {
                return Err(StoreError::new(*kind, format!("{:?} fails on purpose", self.operation)));
            }
            Fault::Hang => self.hang().await,
            Fault::Delay(delay) => tokio::time::sleep(*delay).await,
            Fault::Panic => panic!("{:?} panics on purpose", self.operation),
            Fault::Corrupt | Fault::Swap | Fault::Forget | Fault::After(_) => {}
        }
        Ok(())
    }

    /// What `get` says of what it found.
    pub(super) fn shown(&self, key: &StoreKey, found: Option<Bytes>) -> Option<Bytes> {
        match &self.fault {
            Some(Fault::Corrupt) => found.map(|bytes| {
                let mut bytes = bytes.to_vec();
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                }
                bytes.into()
            }),
            Some(Fault::Swap) => {
                let state = self.faults.state();
                let other = state.seen.iter().rev().find(|(seen, _)| seen != key).map(|(_, bytes)| bytes.clone());
                other.or(found)
            }
            _ => found,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.faults.state().in_flight -= 1;
    }
}
