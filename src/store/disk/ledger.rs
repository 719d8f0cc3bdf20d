//! The ledger: a log that is appended to, compacted and replaced under one lock.
//!
//! Who reads takes the lock too, shared: nobody ever sees a record that is being written. One that is cut off was left by
//! a process that died, before it could say that the marks are noted; the next one who writes takes it away.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::entries::{Entries, Sync};
use super::files::{self, Identity};
use super::lock::{Hold, lock};
use super::marks::Marks;
use super::problem::failed;
use super::record::{self, Act, Flaw};
use crate::store::{Changes, Cursor, Mark, Stamped, StoreError, StoreErrorKind};

/// An answer is cut after so many marks.
const MOST: usize = 10_000;

/// A log is compacted when it has twice the bytes of its marks and so many more.
const SPARE: u64 = 16 << 10;

/// What is known of the log's file.
struct Log {
    file: File,
    identity: Identity,
    /// When it was last changed.
    modified: u64,
    /// All of it, with what was cut off.
    length: u64,
    /// Where the last whole record ends.
    end: u64,
    epoch: u64,
    marks: Marks,
}

/// The ledger of a folder, as far as this process has read it.
pub(super) struct Ledger {
    folder: PathBuf,
    path: PathBuf,
    lock: PathBuf,
    log: Option<Log>,
}

/// How marks are noted.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) max_marks: usize,
    pub(super) sync: Sync,
}

impl Ledger {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), path: folder.join("ledger"), lock: folder.join("ledger.lock"), log: None }
    }

    pub(super) fn invalidate(
        &mut self,
        marks: &[Mark],
        fresh: u64,
        rules: Rules,
        entries: &Entries,
    ) -> Result<Stamped, StoreError> {
        let _alone = self.lock(Hold::Alone)?;
        let mut log = match self.catch_up()? {
            Some(log) => log,
            None => self.begin(fresh, rules.sync, entries)?,
        };
        // From here on the log is forgotten if something fails: what is in the file is then found by reading it.
        let stamp = log.marks.newest().checked_add(1).ok_or_else(|| {
            StoreError::new(StoreErrorKind::Corrupt, format!("the ledger {} has no stamps left", self.path.display()))
        })?;
        let stamp = stamp.max(files::now());
        let texts: Vec<String> = marks.iter().map(Mark::to_text).collect();
        let noted = texts.iter().map(|text| (Act::Noted, text.as_str()));
        log.marks.apply(stamp, noted.clone());
        let beyond = log.marks.beyond(rules.max_marks);
        let folded = beyond.iter().map(|text| (Act::Folded, &**text));
        log.marks.apply(stamp, folded.clone());
        let mut bytes = Vec::new();
        record::write(&mut bytes, stamp, noted.chain(folded)).ok_or_else(|| {
            let text = format!("expected marks of at most {} bytes in one call, got more", record::MAX_RECORD);
            StoreError::new(StoreErrorKind::TooLarge, text)
        })?;
        log.append(&bytes, rules.sync).map_err(failed("write the ledger", &self.path))?;
        let stamped = Stamped { epoch: log.epoch, stamp };
        if log.end > 2 * log.marks.bytes() + SPARE {
            // The marks are noted, whatever becomes of this. Tried again by the next call.
            log = match self.replace(log.epoch, &mut log.marks, rules.sync, entries) {
                Ok(new) => new,
                Err(_) => return Ok(stamped),
            };
        }
        self.log = Some(log);
        Ok(stamped)
    }

    pub(super) fn changes(
        &mut self,
        after: Option<&Cursor>,
        fresh: u64,
        rules: Rules,
        entries: &Entries,
    ) -> Result<Changes, StoreError> {
        let place = after.and_then(Cursor::place);
        if !self.is_unchanged()? {
            let shared = self.lock(Hold::Shared)?;
            self.log = self.catch_up()?;
            drop(shared);
        }
        let usable = |log: &Log| !place.is_some_and(|(epoch, stamp)| epoch == log.epoch && stamp > log.marks.newest());
        if !self.log.as_ref().is_some_and(usable) {
            // Once more, alone: somebody else may have been faster.
            let _alone = self.lock(Hold::Alone)?;
            let log = match self.catch_up()? {
                Some(log) if usable(&log) => log,
                lost => {
                    if lost.is_some() {
                        tracing::warn!(path = %self.path.display(), "the ledger has lost its end: it begins anew");
                    }
                    self.begin(fresh, rules.sync, entries)?
                }
            };
            self.log = Some(log);
        }
        let Some(log) = &self.log else {
            return Err(StoreError::new(StoreErrorKind::Internal, "the ledger was read and is not there"));
        };
        let after = place.filter(|(epoch, _)| *epoch == log.epoch).map_or(0, |(_, stamp)| stamp);
        let (marks, more) = log.marks.after(after, MOST);
        let cut = marks.last().filter(|_| more).map(|(_, stamp)| *stamp);
        let stamp = cut.unwrap_or(log.marks.newest());
        Ok(Changes { epoch: log.epoch, stamp, marks, cursor: Cursor::at(log.epoch, stamp), more })
    }

    fn lock(&self, hold: Hold) -> Result<File, StoreError> {
        match lock(&self.lock, hold) {
            // Somebody has removed the store's folder.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                files::make_folder(&self.folder).and_then(|()| lock(&self.lock, hold))
            }
            locked => locked,
        }
        .map_err(failed("lock", &self.lock))
    }

    /// Whether the file is as it was read. One look at it, which reads nothing.
    fn is_unchanged(&self) -> Result<bool, StoreError> {
        let Some(log) = &self.log else { return Ok(false) };
        match fs::symlink_metadata(&self.path) {
            Ok(about) => Ok(log.is_whole() && log.is(&about)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read the ledger", &self.path)(error)),
        }
    }

    /// Reads what is new, or all of it if the file is another one or not like before. `None` if there is none, or if it
    /// is damaged, or older than what was read. Under the lock.
    fn catch_up(&mut self) -> Result<Option<Log>, StoreError> {
        let known = self.log.take();
        let seen = known.as_ref().map(|log| (log.epoch, log.marks.newest()));
        let (file, about) = match files::open_to_write(&self.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read the ledger", &self.path)(error)),
        };
        let read = match known {
            Some(log) if log.is_whole() && log.is(&about) => return Ok(Some(log)),
            // Longer by what was appended. Where the rest was changed too, whoever reads it from its beginning finds it.
            Some(log) if log.identity.is(Identity::of(&about)) && log.end <= about.len() => log.read_on(&about),
            _ => Log::read(file, &about),
        };
        match read {
            // Before anything is added that would hide it.
            Ok(log) if seen.is_some_and(|(epoch, newest)| epoch == log.epoch && newest > log.marks.newest()) => {
                tracing::warn!(path = %self.path.display(), "the ledger is an older one: it begins anew");
                Ok(None)
            }
            Ok(log) => Ok(Some(log)),
            Err(Flaw::Damaged) => {
                tracing::warn!(path = %self.path.display(), "the ledger is damaged: it begins anew");
                Ok(None)
            }
            Err(Flaw::Format(found)) => {
                let text = format!("expected the ledger {} in format 1, got format {found}", self.path.display());
                Err(StoreError::new(StoreErrorKind::Corrupt, text))
            }
            Err(Flaw::Io(error)) => Err(failed("read the ledger", &self.path)(error)),
        }
    }

    /// An empty ledger in place of what is there. Under the lock, alone.
    fn begin(&self, epoch: u64, sync: Sync, entries: &Entries) -> Result<Log, StoreError> {
        self.replace(epoch, &mut Marks::default(), sync, entries)
    }

    /// A ledger with these marks in place of what is there: in one step, for those who read and for a loss of power.
    fn replace(&self, epoch: u64, marks: &mut Marks, sync: Sync, entries: &Entries) -> Result<Log, StoreError> {
        let mut bytes = record::header(epoch);
        marks.write(&mut bytes).ok_or_else(|| {
            StoreError::new(StoreErrorKind::TooLarge, "the ledger has a record that is longer than may be")
        })?;
        let mut temp = entries.temp()?;
        let written = temp.write(&bytes).and_then(|()| if sync == Sync::Always { temp.sync() } else { Ok(()) });
        written.and_then(|()| temp.move_to(&self.path)).map_err(failed("write the ledger", &self.path))?;
        if sync == Sync::Always {
            files::sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        }
        let (file, about) = files::open_to_write(&self.path).map_err(failed("read the ledger", &self.path))?;
        let end = bytes.len() as u64;
        let mut log = Log::of(file, &about, epoch, end);
        log.marks = std::mem::take(marks);
        Ok(log)
    }
}

impl Log {
    fn of(file: File, about: &Metadata, epoch: u64, end: u64) -> Self {
        let (identity, modified) = (Identity::of(about), files::modified(about));
        Self { file, identity, modified, length: about.len(), end, epoch, marks: Marks::default() }
    }

    /// What was cut off may be replaced by as many bytes of something else.
    fn is_whole(&self) -> bool {
        self.length == self.end
    }

    /// The file is held open, so that no other can be given its number.
    fn is(&self, about: &Metadata) -> bool {
        self.identity.is(Identity::of(about)) && self.length == about.len() && self.modified == files::modified(about)
    }

    fn read(file: File, about: &Metadata) -> Result<Self, Flaw> {
        let epoch = record::read_header(&mut &file)?;
        Self::of(file, about, epoch, record::HEADER).read_on(about)
    }

    fn read_on(mut self, about: &Metadata) -> Result<Self, Flaw> {
        // Changed in its place by somebody else than a store: what is known of it is not what is there.
        if self.length == about.len() && self.is_whole() && self.modified != files::modified(about) {
            self.file.seek(SeekFrom::Start(0))?;
            self.epoch = record::read_header(&mut &self.file)?;
            (self.end, self.marks) = (record::HEADER, Marks::default());
        }
        (self.length, self.modified) = (about.len(), files::modified(about));
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut from = BufReader::new(&self.file);
        while let Some((record, taken)) = record::read(&mut from, self.length - self.end)? {
            if record.stamp <= self.marks.newest() {
                return Err(Flaw::Damaged);
            }
            self.marks.apply(record.stamp, record.marks().ok_or(Flaw::Damaged)?);
            self.end += taken;
        }
        Ok(self)
    }

    fn append(&mut self, bytes: &[u8], sync: Sync) -> io::Result<()> {
        if !self.is_whole() {
            self.file.set_len(self.end)?;
        }
        self.file.seek(SeekFrom::Start(self.end))?;
        let written = self.file.write_all(bytes).and_then(|()| match sync {
            Sync::Always => self.file.sync_data(),
            Sync::Never => Ok(()),
        });
        if let Err(error) = written {
            // What is left of it would be taken away by the next one; but the disk may be full.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += bytes.len() as u64;
        let about = self.file.metadata()?;
        (self.length, self.modified) = (about.len(), files::modified(&about));
        Ok(())
    }
}
