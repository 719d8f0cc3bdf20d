//! An export in a folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::manifest::checked_segment;
use super::{SeedError, SeedErrorKind, SeedFile, SeedSource};

/// What is taken of a file's word for its own size before it is read.
const MAX_RESERVED: usize = 1 << 20;

/// Files below a folder. The folder itself may be a symbolic link, and is looked up anew for every file; links below it
/// are not followed (R41).
pub(crate) struct Dir {
    root: Arc<Path>,
}

impl Dir {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().into() }
    }
}

#[async_trait]
impl SeedSource for Dir {
    async fn read(&self, path: &str, max: usize) -> Result<Option<SeedFile>, SeedError> {
        let (root, path) = (Arc::clone(&self.root), path.to_owned());
        let unavailable = |why: &'static str| SeedError::new(SeedErrorKind::Unavailable, why);
        let runtime = Handle::try_current().map_err(|_| unavailable("there is no tokio runtime here"))?;
        let read = runtime.spawn_blocking(move || read(&root, &path, max)).await;
        read.map_err(|_| unavailable("the runtime shuts down"))?
    }

    fn name(&self) -> String {
        self.root.display().to_string()
    }
}

fn read(root: &Path, path: &str, max: usize) -> Result<Option<SeedFile>, SeedError> {
    let segments = path.split('/').collect::<Vec<_>>();
    for segment in &segments {
        checked_segment(segment).map_err(|why| SeedError::new(SeedErrorKind::Refused, why))?;
    }
    let too_large = || SeedError::new(SeedErrorKind::TooLarge, format!("expected at most {max} bytes, got more"));
    let file = match open(root, &segments) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(error(why)),
    };
    let about = file.metadata().map_err(error)?;
    if !about.is_file() {
        return Err(SeedError::new(SeedErrorKind::Refused, "expected a file, got something else"));
    }
    let size = usize::try_from(about.len()).unwrap_or(usize::MAX);
    if size > max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(size.min(MAX_RESERVED) + 1);
    file.take((max as u64).saturating_add(1)).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() > max {
        return Err(too_large());
    }
    if bytes.capacity() - bytes.len() > bytes.len() / 16 {
        // It stays in memory as it is.
        bytes.shrink_to_fit();
    }
    Ok(Some(SeedFile { bytes: Bytes::from(bytes), modified: about.modified().ok() }))
}

fn error(why: io::Error) -> SeedError {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, PermissionDenied, Unsupported};
    let refused = matches!(why.kind(), PermissionDenied | NotADirectory | IsADirectory | InvalidFilename | Unsupported);
    let kind = if refused || is_link(&why) { SeedErrorKind::Refused } else { SeedErrorKind::Unavailable };
    SeedError::new(kind, why)
}

/// Whether a symbolic link, or what cannot be opened like a file, was in the way.
fn is_link(why: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        // The second is what some systems say of a link, the third what they say of a socket.
        let known = [Errno::LOOP, Errno::MLINK, Errno::NXIO, Errno::OPNOTSUPP].map(Errno::raw_os_error);
        why.raw_os_error().is_some_and(|code| known.contains(&code))
    }
    #[cfg(not(unix))]
    {
        let _ = why;
        false
    }
}

/// Opens one folder after the other, each in the one before: what is opened is what was looked at, whoever changes the
/// tree meanwhile.
#[cfg(unix)]
fn open(root: &Path, segments: &[&str]) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, openat};

    let folder = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, folder, Mode::empty())?;
    let Some((file, folders)) = segments.split_last() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    for name in folders {
        at = openat(&at, *name, folder | OFlags::NOFOLLOW, Mode::empty())?;
    }
    // Without NONBLOCK, a pipe in a file's place would keep the thread for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(&at, *file, flags, Mode::empty())?))
}

/// Opens what is below the folder once all links are followed. Somebody who may write there could make a link in between.
#[cfg(not(unix))]
fn open(root: &Path, segments: &[&str]) -> io::Result<File> {
    let root = root.canonicalize()?;
    let path = segments.iter().fold(root.clone(), |path, segment| path.join(segment)).canonicalize()?;
    if !path.starts_with(&root) || !path.is_file() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "expected a file below the folder"));
    }
    File::open(path)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    const MAX: usize = 1 << 20;

    async fn kind(dir: &Dir, path: &str) -> SeedErrorKind {
        match dir.read(path, MAX).await {
            Err(why) => why.kind(),
            Ok(file) => panic!("{path}: {file:?}"),
        }
    }

    /// R41, CASES 147: whatever lies in a folder or is asked of it, nothing outside is read, and nothing waits.
    #[tokio::test]
    async fn nothing_outside_of_the_folder_is_read() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("export");
        let outside = place.path().join("outside");
        fs::create_dir_all(root.join("pages/folder.html")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret.html"), "secret").unwrap();
        fs::write(root.join("pages/a.html"), "page").unwrap();
        symlink(outside.join("secret.html"), root.join("pages/link.html")).unwrap();
        symlink("a.html", root.join("pages/inside.html")).unwrap();
        symlink(&outside, root.join("pages/out")).unwrap();
        symlink("nowhere", root.join("pages/dangling.html")).unwrap();
        symlink(outside.join("secret.html"), root.join("vinext-prerender.json")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pages/pipe.html"), 0o600.into()).unwrap();
        let _socket = UnixListener::bind(root.join("pages/socket.html")).unwrap();
        let dir = Dir::new(&root);

        let found = dir.read("pages/a.html", MAX).await.unwrap().unwrap();
        assert_eq!(found.bytes, "page");
        assert_eq!(found.modified, fs::metadata(root.join("pages/a.html")).unwrap().modified().ok());
        for path in [
            "pages/link.html",
            "pages/inside.html",
            "pages/dangling.html",
            "pages/out/secret.html",
            "pages/folder.html",
            "pages/pipe.html",
            "pages/socket.html",
            "pages/a.html/x",
            "vinext-prerender.json",
            "../outside/secret.html",
            "pages/../../outside/secret.html",
            "pages/./a.html",
            "pages//a.html",
            "pages/a.html/",
            "",
            "pages\\a.html",
            "C:/x",
            "pages/a\0.html",
            outside.join("secret.html").to_str().unwrap(),
        ] {
            assert_eq!(kind(&dir, path).await, SeedErrorKind::Refused, "{path}");
        }
        for path in ["none.html", "pages/none.html", "none/a.html", "pages/%2e%2e/a.html"] {
            assert!(dir.read(path, MAX).await.unwrap().is_none(), "{path}");
        }
        assert!(Dir::new(place.path().join("none")).read("a", MAX).await.unwrap().is_none());

        // A deployment may exchange what the folder is.
        let current = place.path().join("current");
        symlink(&root, &current).unwrap();
        assert_eq!(Dir::new(&current).read("pages/a.html", MAX).await.unwrap().unwrap().bytes, "page");
    }

    /// R41: sizes are bounded, whatever a file says of its own.
    #[tokio::test]
    async fn no_more_is_read_than_is_allowed() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("five"), "12345").unwrap();
        fs::write(root.path().join("empty"), "").unwrap();
        fs::File::create(root.path().join("huge")).unwrap().set_len(2 << 30).unwrap();
        let dir = Dir::new(root.path());
        assert_eq!(dir.read("five", 5).await.unwrap().unwrap().bytes, "12345");
        assert_eq!(dir.read("five", usize::MAX).await.unwrap().unwrap().bytes, "12345");
        assert_eq!(dir.read("five", 4).await.unwrap_err().kind(), SeedErrorKind::TooLarge);
        assert!(dir.read("empty", 0).await.unwrap().unwrap().bytes.is_empty());
        assert_eq!(kind(&dir, "huge").await, SeedErrorKind::TooLarge);
    }

    /// Files of the kernel say that they are empty.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_that_hides_its_size_is_bounded_too() {
        let dir = Dir::new("/proc/self");
        assert!(!dir.read("status", MAX).await.unwrap().unwrap().bytes.is_empty());
        assert_eq!(dir.read("status", 10).await.unwrap_err().kind(), SeedErrorKind::TooLarge);
    }

    /// R38: without a runtime there is an error, no panic.
    #[test]
    fn without_a_runtime_nothing_is_read() {
        let dir = Dir::new(".");
        let mut read = dir.read("Cargo.toml", MAX);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(why)) = read.as_mut().poll(&mut cx) else { panic!("it went on") };
        assert_eq!(why.kind(), SeedErrorKind::Unavailable);
    }
}
