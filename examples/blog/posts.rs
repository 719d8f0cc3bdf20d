//! The posts: files in a folder.
//!
//! A file is `slug.md`: a line `---`, lines `key: value` (`title` and `date` are needed, `tags` and `summary` are not),
//! a line `---`, then Markdown.

use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::error::AppError;
use crate::slug::{is_slug, slugify};

/// Words a minute of quiet reading.
const READING_SPEED: usize = 220;

/// What a post is about: its name for people and its slug for paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) slug: String,
    pub(crate) name: String,
}

/// One file of the folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) date: Date,
    pub(crate) tags: Vec<Tag>,
    pub(crate) summary: String,
    /// The Markdown.
    pub(crate) body: String,
}

impl Post {
    /// How long reading takes, in minutes, at least one.
    pub(crate) fn minutes(&self) -> usize {
        self.body.split_whitespace().count().div_ceil(READING_SPEED).max(1)
    }

    fn parse(slug: &str, text: &str) -> Result<Self, String> {
        let (head, body) = split(text).ok_or("expected front matter between two lines `---`")?;
        let (mut title, mut date, mut tags, mut summary) = (None, None, Vec::new(), String::new());
        for line in head.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or_else(|| format!("expected `key: value`, got {line:?}"))?;
            let value = unquoted(value.trim());
            match key.trim() {
                "title" => title = Some(value.to_owned()),
                "date" => date = Some(value.parse()?),
                "tags" => tags = parse_tags(value),
                "summary" => value.clone_into(&mut summary),
                // Other tools may have keys of their own.
                _ => {}
            }
        }
        Ok(Self {
            slug: slug.to_owned(),
            title: title.filter(|title| !title.is_empty()).ok_or("expected a title")?,
            date: date.ok_or("expected a date")?,
            tags,
            summary,
            body: body.to_owned(),
        })
    }
}

/// Front matter and body; both may have either kind of line ends.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().filter(|line| line.trim_end() == "---")?;
    let start = first.len();
    let mut end = start;
    for line in lines {
        if line.trim_end() == "---" {
            return Some((text.get(start..end)?, text.get(end + line.len()..)?));
        }
        end += line.len();
    }
    None
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// `Rust, axum`; names that are alike as slugs are one tag.
fn parse_tags(value: &str) -> Vec<Tag> {
    let mut tags: Vec<Tag> = Vec::new();
    for name in value.trim_matches(['[', ']']).split(',').map(str::trim) {
        let slug = slugify(name);
        if !slug.is_empty() && tags.iter().all(|tag| tag.slug != slug) {
            tags.push(Tag { slug, name: name.to_owned() });
        }
    }
    tags
}

/// What decides where a post is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) slug: String,
    pub(crate) date: Date,
    pub(crate) tags: Vec<Tag>,
}

impl From<Post> for Listed {
    fn from(post: Post) -> Self {
        Self { slug: post.slug, date: post.date, tags: post.tags }
    }
}

/// All posts, the newest first. One that cannot be understood is left out with a warning: a draft that is just being
/// written must not take the index down.
pub(crate) async fn list(folder: &Arc<Path>) -> Result<Vec<Listed>, AppError> {
    let folder = Arc::clone(folder);
    // One trip to the thread pool for the whole folder, where `tokio::fs` would take one for each call.
    let read = tokio::task::spawn_blocking(move || {
        Ok::<_, io::Error>(files(&folder)?.filter_map(|(slug, path)| listed(&slug, &path)).collect::<Vec<_>>())
    });
    let mut posts = read.await.map_err(AppError::Task)?.map_err(AppError::Io)?;
    posts.sort_by(|a, b| (Reverse(a.date), &a.slug).cmp(&(Reverse(b.date), &b.slug)));
    Ok(posts)
}

/// The post of that name, which [`is_slug`], if there is one.
///
/// # Errors
///
/// Here a post that cannot be understood is an error.
pub(crate) async fn one(folder: &Path, slug: &str) -> Result<Option<Post>, AppError> {
    match tokio::fs::read_to_string(folder.join(format!("{slug}.md"))).await {
        Ok(text) => match Post::parse(slug, &text) {
            Ok(post) => Ok(Some(post)),
            Err(problem) => Err(AppError::Post { slug: slug.to_owned(), problem }),
        },
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(AppError::Io(problem)),
    }
}

/// The files of a folder that may be posts.
pub(crate) fn files(folder: &Path) -> io::Result<impl Iterator<Item = (String, PathBuf)> + use<>> {
    Ok(std::fs::read_dir(folder)?.filter_map(|file| {
        let path = file.ok()?.path();
        let slug = path.file_stem()?.to_str().filter(|stem| is_slug(stem))?.to_owned();
        (path.extension()? == "md").then_some((slug, path))
    }))
}

/// How a file is listed, if it can be understood.
pub(crate) fn listed(slug: &str, path: &Path) -> Option<Listed> {
    let read = std::fs::read_to_string(path).map_err(|problem| problem.to_string());
    match read.and_then(|text| Post::parse(slug, &text)) {
        Ok(post) => Some(post.into()),
        // Also: renamed or deleted since the folder was listed, or not text.
        Err(problem) => {
            tracing::warn!(slug, problem, "left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_front_matter_and_a_body() {
        let text = "---\ntitle: Caches: a story\ndate: 2026-07-01\ntags: Rust, axum, rust\nsummary: \"Short\"\n---\n# Hi\n---\n";
        for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
            let post = Post::parse("a", &text).unwrap();
            assert_eq!((post.title.as_str(), post.summary.as_str()), ("Caches: a story", "Short"));
            assert_eq!(post.tags.iter().map(|tag| tag.slug.as_str()).collect::<Vec<_>>(), ["rust", "axum"]);
            assert_eq!(post.body.lines().collect::<Vec<_>>(), ["# Hi", "---"]);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        for (text, problem) in [
            ("", "front matter"),
            ("---\ntitle: A\n", "front matter"),
            ("---\ntitle A\n---\n", "key: value"),
            ("---\ndate: 2026-07-01\n---\n", "title"),
            ("---\ntitle: A\n---\n", "date"),
            ("---\ntitle: A\ndate: yesterday\n---\n", "2026-07-01"),
        ] {
            let said = Post::parse("a", text).unwrap_err();
            assert!(said.contains(problem), "{text:?}: {said}");
        }
    }
}
