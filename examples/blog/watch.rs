//! Watches the folder of posts. Saving a file expires the pages that show it, and no others.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_isr::{CacheLife, DataError, InvalidateError, Isr};
use serde::{Deserialize, Serialize};

use crate::error::AppError;
use crate::library::{LIST, tag_of};
use crate::posts::{self, Listed};

/// Looking is cheap: names and times, no contents.
const EVERY: Duration = Duration::from_millis(250);

/// What was seen last: the name of the data, and its tag.
const SEEN: &str = "seen";

/// The files of a folder, as they were when somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder(HashMap<String, File>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    modified: SystemTime,
    length: u64,
    /// As it stands in the list of posts; none if it cannot be understood.
    listed: Option<Listed>,
}

impl Folder {
    /// Looks again. Files that have not changed are not read.
    pub(crate) fn look(&self, folder: &Path) -> io::Result<Self> {
        let mut files = HashMap::new();
        for (slug, path) in posts::files(folder)? {
            // Gone since the folder was listed.
            let Ok(about) = path.metadata() else { continue };
            let (modified, length) = (about.modified()?, about.len());
            let known = self.0.get(&slug).filter(|known| known.modified == modified && known.length == length);
            let file = known.cloned().unwrap_or_else(|| File { modified, length, listed: posts::listed(&slug, &path) });
            files.insert(slug, file);
        }
        Ok(Self(files))
    }

    /// What has not changed since then.
    fn older(folder: &Path, since: SystemTime) -> io::Result<Self> {
        let mut now = Self::default().look(folder)?;
        now.0.retain(|_, file| file.modified <= since);
        Ok(now)
    }

    /// The tags of what is different now: of each file that has changed, come or gone; and of the list if what it says
    /// of a post has.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let slugs: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let mut tags = Vec::new();
        let mut relisted = false;
        for slug in slugs {
            let (before, after) = (self.0.get(slug), now.0.get(slug));
            if before != after {
                tags.push(tag_of(slug));
                relisted |= before.and_then(|file| file.listed.as_ref()) != after.and_then(|file| file.listed.as_ref());
            }
        }
        tags.extend(relisted.then(|| LIST.to_owned()));
        tags
    }
}

/// The folder that is watched.
pub(crate) struct Watch {
    isr: Isr,
    folder: Arc<Path>,
    known: Folder,
}

impl Watch {
    /// Goes on from what was seen last. That is cached data as everything else: with a store it outlives the process, so
    /// that a post which was edited while no blog was running is noticed. Where nobody has seen anything, all counts
    /// as changed, but for what is older than the seeds (`since`).
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(crate) async fn begin(isr: Isr, folder: Arc<Path>, since: Option<SystemTime>) -> Result<Self, AppError> {
        let path = Arc::clone(&folder);
        let older = move || since.map_or_else(|| Ok(Folder::default()), |since| Folder::older(&path, since));
        let older = tokio::task::spawn_blocking(older).await.map_err(AppError::Task)?.map_err(AppError::Io)?;
        let known = seen(&isr, older).await?;
        let mut watch = Self { isr, folder, known };
        watch.look().await?;
        Ok(watch)
    }

    /// Looks again and again.
    pub(crate) async fn go_on(mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(problem) = self.look().await {
                // Not forgotten: the next look finds the same difference.
                tracing::error!(%problem, "cannot look for changes");
            }
        }
    }

    async fn look(&mut self) -> Result<(), AppError> {
        let (before, path) = (self.known.clone(), Arc::clone(&self.folder));
        let now = tokio::task::spawn_blocking(move || before.look(&path)).await.map_err(AppError::Task)?;
        let now = now.map_err(AppError::Io)?;
        let mut tags = self.known.changes(&now);
        if !tags.is_empty() {
            tags.push(SEEN.to_owned());
            match self.isr.expire_tags(&tags).await {
                // What is noted before everybody knows of the change counts as older than it.
                Ok(done) => done.everywhere().await,
                // In effect here; the others are told when the store is back.
                Err(problem @ InvalidateError::LocalOnly { .. }) => tracing::warn!(%problem, "posts have changed"),
                Err(problem) => return Err(AppError::Invalidation(problem)),
            }
            self.known = now;
        }
        // In this order: what is noted as seen was expired before. And each time: the store may have lost it.
        seen(&self.isr, self.known.clone()).await?;
        Ok(())
    }
}

/// What was seen last; `now` if that is not known.
async fn seen(isr: &Isr, now: Folder) -> Result<Folder, DataError> {
    isr.data(SEEN).life(CacheLife::MAX).tag(SEEN).get_or_init(move || async move { now }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: u64, date: Option<&str>) -> File {
        let listed = date.map(|date| Listed { slug: "a".into(), date: date.parse().unwrap(), tags: Vec::new() });
        File { modified: SystemTime::UNIX_EPOCH, length, listed }
    }

    fn folder(files: &[(&str, File)]) -> Folder {
        Folder(files.iter().map(|(slug, file)| ((*slug).to_owned(), file.clone())).collect())
    }

    #[test]
    fn what_has_changed_and_nothing_else() {
        let day = Some("2026-07-01");
        let before = folder(&[("a", file(1, day)), ("b", file(1, day))]);
        for (after, expected) in [
            (before.clone(), &[][..]),
            (folder(&[("a", file(2, day)), ("b", file(1, day))]), &["post:a"]),
            (folder(&[("a", file(2, Some("2026-07-02"))), ("b", file(1, day))]), &["post:a", "posts"]),
            (folder(&[("a", file(2, None)), ("b", file(1, day))]), &["post:a", "posts"]),
            (folder(&[("b", file(1, day))]), &["post:a", "posts"]),
            (folder(&[("a", file(1, day)), ("b", file(1, day)), ("c", file(1, day))]), &["post:c", "posts"]),
            (folder(&[("a", file(1, day)), ("b", file(1, day)), ("c", file(1, None))]), &["post:c"]),
        ] {
            assert_eq!(before.changes(&after), expected, "{after:?}");
        }
    }
}
