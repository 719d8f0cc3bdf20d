//! Names that pages carry so that they can be invalidated together.

use std::fmt;

use crate::error::ConfigError;

/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 256;

/// The most tags one entry may carry. Path, pattern and everything are implied by the key and do not count.
pub(crate) const MAX_TAGS: usize = 128;

/// A name that entries carry so that they can be invalidated together, for example `post:42`.
///
/// 1 to 256 bytes of any text. Tags are compared byte for byte; there is no wildcard and no hierarchy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

impl Tag {
    /// Checks and makes a tag.
    ///
    /// # Errors
    ///
    /// When the name is empty or longer than 256 bytes.
    pub fn new(name: impl AsRef<str>) -> Result<Self, ConfigError> {
        let name = name.as_ref();
        if (1..=MAX_TAG_BYTES).contains(&name.len()) {
            Ok(Self(name.into()))
        } else {
            Err(ConfigError::new("tag", "1 to 256 bytes", format_args!("{} bytes", name.len())))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Bytes that several of them keep.
    pub(crate) fn heap_bytes(tags: &[Self]) -> usize {
        tags.iter().map(|tag| size_of::<Self>() + tag.as_str().len()).sum()
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0.into()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<&str> for Tag {
    type Error = ConfigError;

    fn try_from(name: &str) -> Result<Self, ConfigError> {
        Self::new(name)
    }
}

impl TryFrom<String> for Tag {
    type Error = ConfigError;

    fn try_from(name: String) -> Result<Self, ConfigError> {
        Self::new(name)
    }
}
