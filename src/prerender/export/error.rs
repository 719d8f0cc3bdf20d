//! Why there is no export.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::Report;
use crate::error::ConfigError;

/// Why nothing was exported; what was at the target before is still there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A setting cannot work: which, what was expected and what came.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// Pages can only be rendered where a tokio runtime with timers is.
    #[error("there is no tokio runtime with timers here, which it takes to render pages")]
    NoRuntime,
    /// There is something at the target that is not an earlier export, and would be lost.
    #[error("{}: expected no folder, an empty one or an earlier export, got {found}", folder.display())]
    Foreign {
        /// The target.
        folder: PathBuf,
        /// What is there.
        found: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Not one page could be rendered, and some have failed: an empty export would take the place of a good one.
    #[error("not one page could be rendered: {} failed", .0.failed.len())]
    Nothing(Box<Report>),
}

impl ExportError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |problem| Self::Io { action, path, source: Arc::new(problem) }
    }
}
