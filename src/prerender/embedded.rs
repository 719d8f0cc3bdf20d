//! An export that is part of the executable.

use async_trait::async_trait;
use bytes::Bytes;

use super::{SeedError, SeedErrorKind, SeedFile, SeedSource};

/// Files that a function finds by their name: what `include_dir` and the like make of a folder.
pub(crate) struct Embedded<F> {
    find: F,
}

impl<F> Embedded<F>
where
    F: Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static,
{
    pub(crate) fn new(find: F) -> Self {
        Self { find }
    }
}

#[async_trait]
impl<F> SeedSource for Embedded<F>
where
    F: Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static,
{
    async fn read(&self, path: &str, max: usize) -> Result<Option<SeedFile>, SeedError> {
        let Some(bytes) = (self.find)(path) else {
            return Ok(None);
        };
        if bytes.len() > max {
            let why = format!("expected at most {max} bytes, got {}", bytes.len());
            return Err(SeedError::new(SeedErrorKind::TooLarge, why));
        }
        Ok(Some(SeedFile { bytes: Bytes::from_static(bytes), modified: None }))
    }

    fn name(&self) -> String {
        "files in the executable".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn files_are_those_that_the_function_finds() {
        let embedded = Embedded::new(|path| (path == "a/b.html").then_some(&b"page"[..]));
        assert_eq!(embedded.read("a/b.html", 4).await.unwrap().unwrap().bytes, "page");
        assert!(embedded.read("a", 4).await.unwrap().is_none());
        assert_eq!(embedded.read("a/b.html", 3).await.unwrap_err().kind(), SeedErrorKind::TooLarge);
    }
}
