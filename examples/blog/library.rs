//! The posts through the cache: each file is read once, until it changes.
//!
//! What a page uses of these tags the page: `post:<slug>` for each post that it shows, `posts` for the list of them. So
//! whoever expires `post:hello` expires exactly the pages on which that post is to be seen.

use std::sync::Arc;

use axum_isr::Isr;

use crate::Site;
use crate::error::AppError;
use crate::posts::{self, Listed, Post};
use crate::slug::is_slug;

/// The tag of the list of posts: which there are, when they are from, what they are about.
pub(crate) const LIST: &str = "posts";

/// The tag of one post.
pub(crate) fn tag_of(slug: &str) -> String {
    format!("post:{slug}")
}

impl Site {
    fn isr(&self) -> &Isr {
        &self.isr
    }

    /// The post of that name, if there is one. The name may come from a visitor as it is.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or understood.
    pub(crate) async fn post(&self, slug: &str) -> Result<Option<Post>, AppError> {
        // What cannot be a file is not worth a place in memory.
        if !is_slug(slug) {
            return Ok(None);
        }
        let (folder, name) = (Arc::clone(&self.posts), slug.to_owned());
        let read = move || async move { posts::one(&folder, &name).await };
        // "There is none" is data too, and has the tag: a file that appears expires the page that says so.
        Ok(self.isr().data("post").arg(slug).tag(tag_of(slug)).get_or_try_init(read).await?)
    }

    /// All posts as they are listed, the newest first.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, AppError> {
        let folder = Arc::clone(&self.posts);
        let read = move || async move { posts::list(&folder).await };
        Ok(self.isr().data("list").tag(LIST).get_or_try_init(read).await?)
    }

    /// The posts of a part of the list.
    pub(crate) async fn posts(&self, listed: &[Listed]) -> Result<Vec<Post>, AppError> {
        let mut posts = Vec::with_capacity(listed.len());
        for one in listed {
            // Gone since the list was made: it will be made again.
            posts.extend(self.post(&one.slug).await?);
        }
        Ok(posts)
    }
}
