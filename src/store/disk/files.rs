//! Files and folders as this store opens and makes them: for its own user alone, and never through a symbolic link.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::Time;

/// Options that do not follow a link and make nothing that others can read.
#[cfg(unix)]
fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    // Without NONBLOCK, a pipe in a file's place would keep the thread for ever.
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

#[cfg(not(unix))]
fn private() -> OpenOptions {
    OpenOptions::new()
}

/// A file to read, with what is known of it. What is not a file is an error.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    checked(private().read(true).open(path)?)
}

/// A file to read and write.
pub(super) fn open_to_write(path: &Path) -> io::Result<(File, Metadata)> {
    checked(private().read(true).write(true).open(path)?)
}

/// A file that is made if it is not there, and never written to.
pub(super) fn open_or_make(path: &Path) -> io::Result<(File, Metadata)> {
    checked(private().read(true).write(true).create(true).truncate(false).open(path)?)
}

/// A file that was not there before.
pub(super) fn make(path: &Path) -> io::Result<File> {
    private().read(true).write(true).create_new(true).open(path)
}

fn checked(file: File) -> io::Result<(File, Metadata)> {
    let about = file.metadata()?;
    if about.is_file() {
        return Ok((file, about));
    }
    Err(io::Error::new(io::ErrorKind::IsADirectory, "expected a file, got something else"))
}

/// A folder and those above it, as far as they are not there.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Makes the names in a folder durable. Only Unix has that.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Tells a file from another that has taken its name. Only Unix has that: elsewhere a file is never known to be the same,
/// and read anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    #[cfg(unix)]
    numbers: (u64, u64),
}

impl Identity {
    pub(super) fn of(about: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Self { numbers: (about.dev(), about.ino()) }
        }
        #[cfg(not(unix))]
        {
            let _ = about;
            Self {}
        }
    }

    /// Whether it is the same file for certain.
    pub(super) fn is(self, other: Self) -> bool {
        #[cfg(unix)]
        return self.numbers == other.numbers;
        #[cfg(not(unix))]
        {
            let _ = other;
            false
        }
    }

    /// Whether it is another file for certain.
    pub(super) fn is_not(self, other: Self) -> bool {
        cfg!(unix) && !self.is(other)
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    Time::system().wall().0
}

/// When a file was changed, in microseconds since the Unix epoch; zero if that is not known.
pub(super) fn modified(about: &Metadata) -> u64 {
    let since = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, crate::clock::micros)
}

/// The time that [`modified`] then tells.
pub(super) fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_micros(micros)
}
