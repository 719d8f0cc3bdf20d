//! The folder that an export is written in, until it takes the place of the target.
//!
//! ```text
//! parent/
//!   site/                        the target
//!   .site.export-1f3a…/          one run's own, on the same file system
//!     lock                       locked as long as the run lives
//!     bodies/0, 1, 2, …          as they come
//!     new/                       what becomes the target; then what the target was, if both were exchanged
//!     old/                       what the target was, between two renames
//! ```
//!
//! What a run leaves behind that was killed has a lock that nobody holds: the next run removes it, after it has put `old` back
//! if there is no target.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::error::ExportError;
use crate::prerender::{MANIFEST, PAGES};

/// The file with the build id, beside the manifest.
pub(super) const BUILD_ID: &str = "BUILD_ID";

// What is in the folder of a run.
const LOCK: &str = "lock";
const BODIES: &str = "bodies";
const NEW: &str = "new";
const OLD: &str = "old";

/// The folder of one run. Dropped, it goes away, and the target is what it was.
pub(super) struct Work {
    target: PathBuf,
    folder: PathBuf,
    /// Locked.
    _lock: File,
}

impl Work {
    /// Makes it beside the target, after what others have left behind is gone.
    pub(super) fn begin(target: &Path) -> Result<Self, ExportError> {
        let target = located(target)?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(foreign(&target, "the root of a file system"));
        };
        fs::create_dir_all(parent).map_err(ExportError::io("make this folder", parent))?;
        let prefix = prefix(name);
        clear(parent, &prefix, &target);
        check(&target)?;
        let mut own = prefix;
        own.push(format!("{:016x}", RandomState::new().hash_one(std::process::id())));
        let folder = parent.join(own);
        make_private(&folder).map_err(ExportError::io("make this folder", &folder))?;
        let begun = lock(&folder).and_then(|lock| {
            fs::create_dir(folder.join(BODIES))?;
            fs::create_dir_all(folder.join(NEW).join(PAGES))?;
            Ok(lock)
        });
        match begun {
            Ok(lock) => Ok(Self { target, folder, _lock: lock }),
            Err(problem) => {
                // Nobody else has seen it.
                let _ = fs::remove_dir_all(&folder);
                Err(ExportError::io("write to this folder", &folder)(problem))
            }
        }
    }

    pub(super) fn body(&self, number: u64) -> PathBuf {
        self.folder.join(BODIES).join(number.to_string())
    }

    pub(super) fn new_folder(&self) -> PathBuf {
        self.folder.join(NEW)
    }

    /// Puts what was written in the place of the target.
    pub(super) fn publish(&self) -> Result<(), ExportError> {
        // While pages were rendered, somebody may have put something there.
        check(&self.target)?;
        let (new, old) = (self.new_folder(), self.folder.join(OLD));
        if let Ok(before) = fs::metadata(&self.target) {
            fs::set_permissions(&new, before.permissions()).map_err(ExportError::io("set the permissions", &new))?;
        }
        // Then what was there goes with this folder.
        if exchange(&new, &self.target) {
            return Ok(());
        }
        replace(&new, &self.target, &old)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        remove(&self.folder, &self.target);
    }
}

/// Both change places at once, so that nobody finds none. Whether they did: not every file system can, and there may be
/// nothing to exchange.
#[cfg(target_os = "linux")]
fn exchange(new: &Path, target: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_new: &Path, _target: &Path) -> bool {
    false
}

/// By two renames. If the second fails, what was there is put back when the folder of the run is removed.
fn replace(new: &Path, target: &Path, old: &Path) -> Result<(), ExportError> {
    match fs::rename(target, old) {
        Ok(()) => {}
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
        Err(problem) => return Err(ExportError::io("move this folder", target)(problem)),
    }
    fs::rename(new, target).map_err(ExportError::io("put an export here", target))
}

/// Removes the folder of a run; what it has taken from the target's place goes back there before.
fn remove(folder: &Path, target: &Path) {
    let old = folder.join(OLD);
    let taken = fs::symlink_metadata(&old).is_ok() && fs::symlink_metadata(target).is_err();
    if taken && let Err(problem) = fs::rename(&old, target) {
        let (old, target) = (old.display(), target.display());
        tracing::error!(target: "axum_isr", %old, %target, %problem, "an earlier export is not in its place");
        return;
    }
    if let Err(problem) = fs::remove_dir_all(folder)
        && problem.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(target: "axum_isr", folder = %folder.display(), %problem, "could not be removed");
    }
}

/// Removes what runs have left behind that are no more.
fn clear(parent: &Path, prefix: &OsStr, target: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !is_named(&entry.file_name(), prefix) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // Without a lock it has not begun yet.
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
            && is_of_a_run(&entry.path())
        {
            remove(&entry.path(), target);
        }
    }
}

/// Whether a folder is called as those of runs are.
fn is_named(name: &OsStr, prefix: &OsStr) -> bool {
    let digits = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')))
}

/// Whether nothing is in it but what runs write.
fn is_of_a_run(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.all(|entry| {
        entry.is_ok_and(|entry| match entry.file_name().to_str() {
            Some(LOCK) => entry.metadata().is_ok_and(|about| about.is_file() && about.len() == 0),
            Some(BODIES | NEW | OLD) => entry.file_type().is_ok_and(|kind| kind.is_dir()),
            _ => false,
        })
    })
}

/// A file has its name as a lock when it is locked, so that nobody finds one that is free.
fn lock(folder: &Path) -> io::Result<File> {
    let (first, name) = (folder.join("begins"), folder.join(LOCK));
    let lock = File::create_new(&first)?;
    lock.try_lock()?;
    fs::rename(first, name)?;
    Ok(lock)
}

fn prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".export-");
    prefix
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)
}

/// Where the target really is: a link stays, and what it leads to is replaced.
fn located(target: &Path) -> Result<PathBuf, ExportError> {
    match fs::canonicalize(target) {
        Ok(there) => Ok(there),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(target).is_ok() {
                return Err(foreign(target, "a link to nothing"));
            }
            std::path::absolute(target).map_err(ExportError::io("find this folder", target))
        }
        Err(problem) => Err(ExportError::io("find this folder", target)(problem)),
    }
}

/// Whether nothing is lost when the target is replaced.
fn check(target: &Path) -> Result<(), ExportError> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(problem) if problem.kind() == io::ErrorKind::NotADirectory => return Err(foreign(target, "a file")),
        Err(problem) => return Err(ExportError::io("read this folder", target)(problem)),
    };
    let (mut empty, mut manifest) = (true, false);
    for entry in entries {
        let entry = entry.map_err(ExportError::io("read this folder", target))?;
        let (name, kind) = (entry.file_name(), entry.file_type());
        let folder = kind.map_err(ExportError::io("read this folder", target))?.is_dir();
        empty = false;
        match name.to_str() {
            Some(MANIFEST) if !folder => manifest = true,
            Some(BUILD_ID) if !folder => {}
            Some(PAGES) if folder => {}
            _ => return Err(foreign(target, format!("one with {} in it", name.to_string_lossy().escape_debug()))),
        }
    }
    if empty || manifest { Ok(()) } else { Err(foreign(target, format!("one without {MANIFEST}"))) }
}

fn foreign(folder: &Path, found: impl Into<String>) -> ExportError {
    ExportError::Foreign { folder: folder.to_owned(), found: found.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// As on systems that cannot exchange two folders.
    #[test]
    fn two_renames_replace_a_folder_or_leave_it() {
        let parent = tempfile::tempdir().unwrap();
        let [run, target] = ["run", "site"].map(|name| parent.path().join(name));
        let [new, old] = [NEW, OLD].map(|name| run.join(name));
        let kept = target.join("name");
        for name in ["first", "second"] {
            fs::create_dir_all(&new).unwrap();
            fs::write(new.join("name"), name).unwrap();
            replace(&new, &target, &old).unwrap();
            assert_eq!(fs::read_to_string(&kept).unwrap(), name);
            remove(&run, &target);
            assert!(!run.exists());
        }
        // There is no new one: the one before comes back.
        fs::create_dir_all(&run).unwrap();
        assert!(matches!(replace(&new, &target, &old), Err(ExportError::Io { .. })));
        assert!(!target.exists());
        remove(&run, &target);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "second");
        // Something is in the way: it is not moved.
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(old.join("in/the/way")).unwrap();
        assert!(matches!(replace(&new, &target, &old), Err(ExportError::Io { .. })));
        remove(&run, &target);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "second");
    }
}
