//! Entries: one file each.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::frame::{self, Content};
use super::index::{Digest, Index};
use super::lock::{self, Hold};
use super::problem::{failed, is_link};
use super::temp::{self, Temp};
use super::{MAX_ENTRY, files};
use crate::key::hex;
use crate::store::{Item, Put, StoreError, StoreErrorKind, StoreKey, Version};

/// In microseconds: so rarely is a use noted in the file's time, which is what other processes and the next start know of
/// it.
const NOTED: u64 = 3600 * 1_000_000;

/// Whether entries are durable when they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    Never,
    Always,
}

/// The folders of entries, of files being written, and of locks; and what is known of the files.
pub(super) struct Entries {
    files: PathBuf,
    temp: PathBuf,
    locks: PathBuf,
    turns: [Mutex<()>; 256],
    pub(super) index: Index,
}

impl Entries {
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let of = |name| folder.join(name);
        let new = Self {
            files: of("entries"),
            temp: of("tmp"),
            locks: of("locks"),
            turns: [const { Mutex::new(()) }; 256],
            index: Index::default(),
        };
        new.make_folders()?;
        // Whoever cannot write should learn it now and not with the first page.
        Temp::make(&new.temp).map_err(failed("write in", &new.temp))?;
        Ok(new)
    }

    fn make_folders(&self) -> Result<(), StoreError> {
        for folder in [&self.files, &self.temp, &self.locks] {
            files::make_folder(folder).map_err(failed("make the folder", folder))?;
        }
        Ok(())
    }

    pub(super) fn temp(&self) -> Result<Temp, StoreError> {
        match Temp::make(&self.temp) {
            // Somebody has emptied the store's folder.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make_folders().and_then(|()| Temp::make(&self.temp).map_err(failed("write in", &self.temp)))
            }
            made => made.map_err(failed("write in", &self.temp)),
        }
    }

    fn path(&self, key: &StoreKey) -> PathBuf {
        self.path_of(key.digest())
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        let hex = hex(digest);
        self.files.join(&hex[..2]).join(&hex[2..4]).join(hex)
    }

    /// Whoever compares an entry and then replaces or removes it is alone with it: a lock for each first byte of the
    /// digest, among threads and processes.
    ///
    /// Who waits for a file's lock asks for it again and again: of a process's threads one at a time does, or many would
    /// keep the machine from the one that has it.
    fn lock(&self, key: &StoreKey) -> Result<(File, MutexGuard<'_, ()>), StoreError> {
        let first = key.digest()[0];
        let path = self.locks.join(format!("{first:02x}"));
        let until = lock::deadline();
        let turn = self.turns[usize::from(first)].lock().unwrap_or_else(PoisonError::into_inner);
        let file = lock::lock_until(&path, Hold::Alone, until).map_err(failed("lock", &path))?;
        Ok((file, turn))
    }

    pub(super) fn get(&self, key: &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(key);
        let now = files::now();
        let Some((file, length)) = read(&path, now).map_err(failed("read", &path))? else {
            self.index.removed(key.digest());
            return Ok(None);
        };
        match frame::read(&file, now) {
            Content::Entry(entry) => {
                self.index.read(*key.digest(), length, now);
                Ok(Some(entry))
            }
            Content::Foreign => Ok(None),
            Content::Expired | Content::Damaged => {
                // It is not there, whether or not it can be removed.
                let _ = self.remove_if(key, |there| matches!(there, Content::Expired | Content::Damaged));
                Ok(None)
            }
        }
    }

    pub(super) fn put(&self, item: &Item, sync: Sync, most: usize) -> Result<Put, StoreError> {
        if item.bytes.len() > most {
            let text = format!("expected an entry of at most {most} bytes, got {}", item.bytes.len());
            return Err(StoreError::new(StoreErrorKind::TooLarge, text));
        }
        let path = self.path(&item.key);
        let mut temp = self.temp()?;
        let expires = files::now().saturating_add(crate::clock::micros(item.keep));
        let written = temp.write(&frame::head(expires, &item.bytes)).and_then(|()| temp.write(&item.bytes));
        let synced = written.and_then(|()| if sync == Sync::Always { temp.sync() } else { Ok(()) });
        synced.map_err(failed("write", &path))?;

        let alone = self.lock(&item.key)?;
        if has_newer(&path, item.version)? {
            return Ok(Put::KeptNewer);
        }
        let folder = path.parent().unwrap_or(&self.files);
        let moved = match temp.move_to(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                files::make_folder(folder).and_then(|()| temp.move_to(&path))
            }
            moved => moved,
        };
        moved.map_err(failed("write", &path))?;
        drop(alone);
        self.index.written(*item.key.digest(), (frame::LEN + item.bytes.len()) as u64, files::now());
        if sync == Sync::Always {
            files::sync_folder(folder).map_err(failed("sync", folder))?;
        }
        Ok(Put::Stored)
    }

    pub(super) fn remove(&self, key: &StoreKey, upto: Version) -> Result<(), StoreError> {
        self.remove_if(key, |there| match there {
            Content::Entry(entry) => !Version::read(entry).is_some_and(|there| there.is_newer_than(upto)),
            Content::Expired | Content::Damaged => true,
            // Another version of the crate looks after it.
            Content::Foreign => false,
        })
    }

    fn remove_if(&self, key: &StoreKey, unwanted: impl FnOnce(&Content) -> bool) -> Result<(), StoreError> {
        let path = self.path(key);
        let _alone = self.lock(key)?;
        let now = files::now();
        let Some((file, _)) = read(&path, now).map_err(failed("read", &path))? else {
            return Ok(());
        };
        if unwanted(&frame::read(&file, now)) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
                _ => self.index.removed(key.digest()),
            }
        }
        Ok(())
    }

    /// Removes what was not used for longest, as long as there is more than may be.
    pub(super) fn evict(&self, max_bytes: u64) {
        for digest in self.index.evict(max_bytes) {
            // Others may have been faster. What cannot be removed is found again by the next scan.
            let _ = fs::remove_file(self.path_of(&digest));
        }
    }

    /// Looks through all files, for as long as `go_on`; and sweeps what dead processes left.
    pub(super) fn scan(&self, go_on: impl Fn() -> bool) {
        temp::sweep(&self.temp);
        for folder in folders(&self.files).flat_map(|folder| folders(&folder)) {
            if !go_on() {
                return;
            }
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let digest = entry.file_name().to_str().and_then(digest);
                if let (Some(digest), Ok(about)) = (digest, entry.metadata()) {
                    self.index.found(digest, about.len(), files::modified(&about));
                }
            }
        }
        self.index.scanned();
    }
}

fn folders(of: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let found = fs::read_dir(of).into_iter().flatten().flatten();
    found.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Of a file's name.
fn digest(hex: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (n, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(digest)
}

/// Under the lock. What looks newer is read as a whole: what is damaged does not count.
fn has_newer(path: &Path, than: Version) -> Result<bool, StoreError> {
    let now = files::now();
    let mut start = [0; frame::LEN + Version::AT.end];
    let looks_newer = match files::open(path) {
        Ok((mut file, _)) => {
            file.read_exact(&mut start).is_ok()
                && frame::version(&start, now).is_some_and(|there| there.is_newer_than(than))
        }
        // It is replaced if that is possible.
        Err(_) => false,
    };
    let there = if looks_newer { read(path, now).map_err(failed("read", path))? } else { None };
    Ok(there.is_some_and(|(file, _)| matches!(frame::read(&file, now), Content::Entry(_))))
}

/// A whole file and its length; `None` if there is none that could be an entry.
fn read(path: &Path, now: u64) -> io::Result<Option<(Bytes, u64)>> {
    let (file, about) = match files::open(path) {
        Ok(opened) => opened,
        Err(error) if is_link(&error) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(length) = usize::try_from(about.len()).ok().filter(|length| *length <= frame::LEN + MAX_ENTRY) else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(length);
    (&file).take(about.len()).read_to_end(&mut bytes)?;
    if files::modified(&about).saturating_add(NOTED) < now {
        // Best effort: it only means that the file is taken for less used than it is.
        let _ = file.set_modified(files::time(now));
    }
    Ok(Some((bytes.into(), about.len())))
}
