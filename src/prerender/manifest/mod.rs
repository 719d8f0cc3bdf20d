//! The manifest of an export: what tells which pages were rendered, and where their files are.
//!
//! The JSON is that of vinext, with some keys more. What is kept of it is small: a site may have a hundred thousand pages,
//! and their manifest stays in memory as long as the process.
//!
//! - `read`, `json`, `check`: the JSON, one row of it, and what makes a record of a row.
//! - `ignored`: the other rows.
//! - `index`, `coding`, `strings`: what is kept, and how a page is found in it.
//! - `layout`, `media`: files as other tools lay them out, which names are allowed, what extensions say.
//! - `write`, `names`: a manifest of our own, and the names of its files.

mod check;
mod coding;
mod ignored;
mod index;
mod json;
mod layout;
mod media;
mod names;
mod read;
mod strings;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use index::Manifest;
pub(crate) use layout::checked_segment;
pub(crate) use names::{Names, plain_name};
pub(crate) use read::MAX_MANIFEST_BYTES;
pub(crate) use write::{Head, Row, write};
