//! Who makes rounds: a task, every half of `coherence` and earlier on a hint; and whoever needs one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::attached::Backing;
use super::trust::Trust;
use super::turns::Turns;
use crate::isr::Shared;
use crate::store::{Cursor, Probe};

/// How long after a round hints are listened to, so that a store which gives one after the other is not asked all the
/// time.
const LISTEN_AFTER: Duration = Duration::from_millis(10);

/// What the task and those who wait for it share.
pub(super) struct Following {
    /// It is time for a round.
    pub(super) nudge: Notify,
    /// How many have ended, well or not.
    pub(super) rounds: watch::Sender<u64>,
    pub(super) running: AtomicBool,
    /// Up to where the ledger was read.
    pub(super) cursor: Mutex<Option<Cursor>>,
    /// There will be no more.
    pub(super) end: CancellationToken,
    /// At rounds.
    pub(super) turns: Arc<Turns>,
    /// At sending what is unsent.
    pub(super) sending: Arc<Turns>,
    /// How many rounds in a row have found another ledger than was known.
    pub(super) lost: AtomicU32,
}

impl Backing {
    /// Sees to it that the ledger is followed.
    pub(crate) fn follow(shared: &Arc<Shared>, runtime: &Handle) {
        let Some(backing) = &shared.backing else { return };
        let following = &backing.following;
        if following.end.is_cancelled() || following.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, shared) = (Running(Arc::clone(backing)), Arc::downgrade(shared));
        runtime.spawn(async move { run(&running, shared).await });
    }

    /// Sees to it that a round is made, here: the task that follows may be on a runtime that is at rest. Returns whether it
    /// begins now.
    fn drive(shared: &Arc<Shared>, backing: &Arc<Self>, runtime: &Handle) -> bool {
        let turn = if backing.following.end.is_cancelled() { None } else { backing.turn() };
        let Some(turn) = turn else { return false };
        let (shared, backing) = (Arc::clone(shared), Arc::clone(backing));
        runtime.spawn(async move { backing.round_of(turn, &shared).await });
        true
    }

    /// Waits for a round if what is known of the ledger is old, for no longer than a read may take; not at all if the
    /// last one failed.
    pub(crate) async fn verify(shared: &Arc<Shared>) -> Trust {
        let Some(backing) = &shared.backing else { return Trust::Verified };
        let trust = || backing.trust(shared.time.monotonic());
        let runtime = Handle::try_current().ok().filter(|runtime| shared.has_timers(runtime));
        match (trust(), &runtime) {
            (Trust::Old, Some(runtime)) => {
                Self::follow(shared, runtime);
                let mut rounds = backing.following.rounds.subscribe();
                let better = async {
                    loop {
                        Self::drive(shared, backing, runtime);
                        if rounds.changed().await.is_err() || trust() != Trust::Old {
                            return;
                        }
                    }
                };
                let _ = tokio::time::timeout(backing.guard.deadlines.read, better).await;
            }
            (Trust::CutOff { .. }, Some(runtime)) => Self::try_again(shared, backing, runtime),
            _ => {}
        }
        if trust() == Trust::Old {
            // The next one does not wait as well, until a round goes well.
            backing.verified.cut_off();
        }
        trust()
    }

    /// How far what is known of the ledger can be relied on, for somebody who does not wait; who asks while it cannot may
    /// start the next round. Before anything is judged by it.
    #[inline]
    pub(crate) fn consult(shared: &Arc<Shared>) -> Trust {
        let Some(backing) = &shared.backing else { return Trust::Verified };
        let trust = backing.trust(shared.time.monotonic());
        if let Trust::CutOff { now, .. } = trust
            && backing.verified.takes_look(now)
        {
            Self::look_again(shared, backing);
        }
        trust
    }

    #[cold]
    fn look_again(shared: &Arc<Shared>, backing: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current()
            && shared.has_timers(&runtime)
        {
            Self::try_again(shared, backing, &runtime);
        }
    }

    /// Sees to it that somebody looks whether the store is back, when it is time to.
    fn try_again(shared: &Arc<Shared>, backing: &Arc<Self>, runtime: &Handle) {
        Self::follow(shared, runtime);
        if backing.is_due() {
            Self::drive(shared, backing, runtime);
        }
    }

    /// Waits for a round that begins from now on, or until `enough`, but for no longer than `limit`.
    pub(super) async fn look(shared: &Arc<Shared>, limit: Duration, enough: impl Fn() -> bool) {
        let (Some(backing), Ok(runtime)) = (&shared.backing, Handle::try_current()) else { return };
        let mut rounds = backing.following.rounds.subscribe();
        let look = async {
            // One that somebody else makes may have begun before.
            for _ in 0..2 {
                if enough() {
                    return;
                }
                let begins = Self::drive(shared, backing, &runtime);
                if rounds.changed().await.is_err() || begins {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(limit, look).await;
    }

    /// It is time for a round.
    pub(crate) fn nudge(&self) {
        self.following.nudge.notify_one();
    }

    /// The handle has gone.
    pub(crate) fn stop_following(&self) {
        self.following.end.cancel();
    }

    /// Until the next round, if nobody needs one before.
    fn rest(&self) -> Duration {
        match self.guard.probe() {
            Probe::None => self.verified.coherence / 2,
            Probe::Due => Duration::from_millis(1),
            Probe::Later(time) => time,
        }
    }
}

/// The task that follows. When it ends, another may begin. It does not keep the handle.
struct Running(Arc<Backing>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.following.running.store(false, Ordering::Release);
    }
}

async fn run(Running(backing): &Running, shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        // What failed has been noted by the guard.
        let _ = backing.round(&shared).await;
        drop(shared);
        if wait(backing).await {
            return;
        }
    }
}

/// Waits until it is time for a round; `true` if there are no more.
async fn wait(backing: &Backing) -> bool {
    let mut enough = pin!(tokio::time::sleep(LISTEN_AFTER));
    let mut sleep = pin!(tokio::time::sleep(backing.rest()));
    let mut ended = pin!(backing.following.end.cancelled());
    let mut hint = pin!(backing.guard.hint());
    let mut nudge = pin!(backing.following.nudge.notified());
    let mut listens = false;
    poll_fn(|cx| {
        if ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        listens = listens || (!backing.guard.is_open() && enough.as_mut().poll(cx).is_ready());
        let hinted = listens && hint.as_mut().poll(cx).is_ready();
        if hinted || nudge.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}
