//! Files that are being written, and what dead processes left of them.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::files;

/// A process that is looked for on another machine's or container's list of processes seems to be dead, and one whose
/// number was given to another seems to live: after this time, in microseconds, only the lock counts.
const OLD: u64 = 60 * 1_000_000;

/// A file under a name that nobody else has. It is removed again unless it was [moved](Self::move_to) to its place.
///
/// Its writer holds a lock on it for as long as it lives: so that it is not swept.
pub(super) struct Temp {
    path: PathBuf,
    file: File,
    moved: bool,
}

impl Temp {
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        // The seeds of the standard library's hasher are random.
        let random = RandomState::new().hash_one(files::now());
        let path = folder.join(format!("{}-{random:016x}", std::process::id()));
        let file = files::make(&path)?;
        let temp = Self { path, file, moved: false };
        temp.file.try_lock()?;
        Ok(temp)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives it its name: in one step, whatever was there. A link there is replaced, not followed.
    pub(super) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        // Elsewhere than on Unix a lock keeps others from reading what is locked.
        if !cfg!(unix) {
            self.file.unlock()?;
        }
        fs::rename(&self.path, path)?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.moved {
            // If this fails it is swept later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what dead processes left.
pub(super) fn sweep(folder: &Path) {
    let Ok(found) = fs::read_dir(folder) else {
        return;
    };
    let now = files::now();
    for entry in found.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        let old = files::modified(&about).saturating_add(OLD) < now;
        let dead = entry.file_name().to_str().is_some_and(is_of_a_dead_process);
        if !old && !dead {
            continue;
        }
        let path = entry.path();
        // A link is nobody's file: it is removed itself. What cannot be opened or locked may be being written.
        let abandoned =
            about.is_symlink() || about.is_file() && files::open(&path).is_ok_and(|(file, _)| file.try_lock().is_ok());
        if abandoned {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Known only where processes are listed as files.
fn is_of_a_dead_process(name: &str) -> bool {
    let Some((number, _)) = name.split_once('-') else { return false };
    let listed = Path::new("/proc");
    number.parse::<u32>().is_ok()
        && listed.join(std::process::id().to_string()).exists()
        && !listed.join(number).exists()
}
