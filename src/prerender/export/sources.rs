//! Paths that are not known yet: a task looks for them and hands them over one by one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::target::{Params, Pattern, Target};
use crate::contained::contained;

/// What came of one path that a source named.
type Named = Result<Target, (String, String)>;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Takes the paths that [`Export::paths_from`](super::Export::paths_from) is to render.
pub struct Paths(mpsc::Sender<Named>);

impl Paths {
    /// One more path. Waits while the export has not taken those before; if it wants no more
    /// ([`Export::max_pages`](super::Export::max_pages)), the task ends here.
    pub async fn push(&self, path: impl Into<String>) {
        let path = path.into();
        send(&self.0, Target::new(&path).map_err(|problem| (path, problem))).await;
    }
}

/// Takes the parameters of the paths that [`Export::pattern_from`](super::Export::pattern_from) is to render.
pub struct PathsOf(mpsc::Sender<Named>, Pattern);

impl PathsOf {
    /// The path with these parameters; otherwise as [`Paths::push`].
    pub async fn push(&self, params: impl Into<Params>) {
        let path = self.1.fill(&params.into()).map_err(|problem| (self.1.as_str().to_owned(), problem));
        send(&self.0, path).await;
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paths").finish_non_exhaustive()
    }
}

impl fmt::Debug for PathsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PathsOf").field(&self.1.as_str()).finish()
    }
}

async fn send(to: &mpsc::Sender<Named>, path: Named) {
    if to.send(path).await.is_err() {
        // Nobody will take it: whoever looks for paths without end is stopped here.
        std::future::pending::<()>().await;
    }
}

type Look = Box<dyn FnOnce(mpsc::Sender<Named>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send>;

/// Looks for paths.
pub(super) struct Source {
    /// For people: the pattern, or nothing.
    pub(super) of: String,
    look: Look,
}

impl Source {
    pub(super) fn paths<F, E>(look: impl FnOnce(Paths) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::new(String::new(), move |to| look(Paths(to)))
    }

    pub(super) fn pattern<F, E>(pattern: Pattern, look: impl FnOnce(PathsOf) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::new(pattern.as_str().to_owned(), move |to| look(PathsOf(to, pattern)))
    }

    fn new<F, E>(of: String, look: impl FnOnce(mpsc::Sender<Named>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let look: Look = Box::new(move |to| Box::pin(async move { look(to).await.map_err(Into::into) }));
        Self { of, look }
    }

    /// Hands over paths until there are no more, or `take` says that they are enough.
    pub(super) async fn run(self, mut take: impl FnMut(Named) -> bool) -> Result<(), String> {
        let (to, mut paths) = mpsc::channel(64);
        // Ends with this.
        let mut task = JoinSet::new();
        let look = self.look;
        task.spawn(contained(async move { look(to).await }));
        while let Some(path) = paths.recv().await {
            if !take(path) {
                return Ok(());
            }
        }
        match task.join_next().await {
            None | Some(Ok(Ok(Ok(())))) => Ok(()),
            Some(Ok(Ok(Err(problem)))) => Err(problem.to_string()),
            Some(Ok(Err(panic))) => Err(format!("panicked with {:?}", panic.message())),
            Some(Err(problem)) => Err(problem.to_string()),
        }
    }
}
