//! Locks between processes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::files::{self, Identity};

/// Who holds a lock for longer than this was stopped, not slow. Nobody waits for ever, as a thread is spent on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether others may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Shared,
    Alone,
}

/// Takes the lock on a lock file, which ends with the value. The file is made if it is not there, and is never renamed
/// or removed by the store: two processes would hold two locks of one name.
pub(super) fn lock(path: &Path, hold: Hold) -> io::Result<File> {
    lock_until(path, hold, deadline())
}

/// Until when somebody waits who comes now.
pub(super) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// The same, tried at least once.
pub(super) fn lock_until(path: &Path, hold: Hold, until: Instant) -> io::Result<File> {
    loop {
        let (file, about) = files::open_or_make(path)?;
        wait(&file, hold, until)?;
        // Somebody may have emptied the folder meanwhile: then the lock of this name is another one.
        match fs::symlink_metadata(path) {
            Ok(now) if !Identity::of(&now).is_not(Identity::of(&about)) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Err(timed_out());
        }
    }
}

fn wait(file: &File, hold: Hold, until: Instant) -> io::Result<()> {
    let mut pause = Duration::from_micros(20);
    loop {
        let tried = match hold {
            Hold::Shared => file.try_lock_shared(),
            Hold::Alone => file.try_lock(),
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return Err(timed_out()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(1));
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "another process holds the lock and does not give it back")
}
