//! What the file system said, as a store's error.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::store::{StoreError, StoreErrorKind};

/// What was not possible, and with which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
struct Problem {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Of a call that failed: `doing` completes "cannot … this path".
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::new(kind(&source), Problem { doing, path, source })
}

fn kind(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        ErrorKind::FileTooLarge => StoreErrorKind::TooLarge,
        ErrorKind::TimedOut => StoreErrorKind::TimedOut,
        // What no repetition mends: somebody has to change permissions, or what is in the way.
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::Unsupported
        | ErrorKind::InvalidInput => StoreErrorKind::Denied,
        _ if is_link(error) => StoreErrorKind::Denied,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Whether a file was not opened because it is a symbolic link.
pub(super) fn is_link(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(libc::ELOOP);
    #[cfg(not(unix))]
    return {
        let _ = error;
        false
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_one_that_refuses() {
        let of = |kind: ErrorKind| failed("write", Path::new("/x"))(kind.into()).kind();
        assert_eq!(of(ErrorKind::StorageFull), StoreErrorKind::Full);
        assert_eq!(of(ErrorKind::QuotaExceeded), StoreErrorKind::Full);
        assert_eq!(of(ErrorKind::PermissionDenied), StoreErrorKind::Denied);
        assert_eq!(of(ErrorKind::ReadOnlyFilesystem), StoreErrorKind::Denied);
        assert_eq!(of(ErrorKind::NotFound), StoreErrorKind::Unavailable);
    }

    #[cfg(unix)]
    #[test]
    fn what_the_system_says_is_understood() {
        let of = |number| failed("write", Path::new("/x"))(io::Error::from_raw_os_error(number)).kind();
        assert_eq!(of(libc::ENOSPC), StoreErrorKind::Full);
        assert_eq!(of(libc::EDQUOT), StoreErrorKind::Full);
        assert_eq!(of(libc::ELOOP), StoreErrorKind::Denied);
        assert_eq!(of(libc::EIO), StoreErrorKind::Unavailable);
    }
}
