//! The names of an export's files.

use std::collections::HashSet;

use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::layout::{checked_file, decoded};
use super::media;
use crate::key::hex;
use crate::prerender::Inputs;

/// What a page is taken for that does not say it.
const UNSAID: &str = "application/octet-stream";

/// The names that are taken, so that no two pages get one, nor one that a file system takes for the same.
///
/// Who comes first gets the plain name: the same pages in the same order get the same names.
#[derive(Debug)]
pub(crate) struct Names {
    trailing_slash: bool,
    files: HashSet<String>,
    folders: HashSet<String>,
}

impl Names {
    pub(crate) fn new(trailing_slash: bool) -> Self {
        Self { trailing_slash, files: HashSet::new(), folders: HashSet::new() }
    }

    /// A name for the file of a page, below the folder of pages.
    pub(crate) fn claim(&mut self, path: &str, headers: &HeaderMap, inputs: &Inputs) -> String {
        let content_type =
            headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(UNSAID);
        let variant = variant(path, inputs);
        let plain = file_for(path, content_type, variant.as_deref(), self.trailing_slash);
        if self.take(&plain) {
            return plain;
        }
        let mut digest = inputs_digest(path, inputs);
        loop {
            let file = format!("_/{}.{}", hex(&digest), media::extension_for(content_type));
            if self.take(&file) {
                return file;
            }
            digest = Sha256::digest(digest).into();
        }
    }

    /// Takes one name. Whether it was free: not a file of this name, nor a folder, nor a file in the place of one of its folders.
    pub(crate) fn take(&mut self, file: &str) -> bool {
        // Not every file system tells upper case from lower case.
        let file = file.to_lowercase();
        let folders = || file.match_indices('/').map(|(at, _)| &file[..at]);
        if self.folders.contains(&file) || folders().any(|folder| self.files.contains(folder)) {
            return false;
        }
        for folder in folders() {
            if !self.folders.contains(folder) {
                self.folders.insert(folder.to_owned());
            }
        }
        self.files.insert(file)
    }
}

/// Where a page's file would be if it were alone: as static servers look for it.
///
/// A `variant` stands before the extension. What may not be a name becomes a digest of it.
pub(crate) fn file_for(path: &str, content_type: &str, variant: Option<&str>, trailing_slash: bool) -> String {
    let usual = media::extension_for(content_type);
    let name = path.strip_prefix('/').unwrap_or(path);
    let own = media::extension(name).filter(|extension| media::fits(extension, content_type));
    let (stem, extension) = match own {
        Some(extension) => (name[..name.len() - extension.len() - 1].to_owned(), extension),
        None if name.is_empty() || name.ends_with('/') => (format!("{name}index"), usual),
        None if trailing_slash && usual == "html" => (format!("{name}/index"), usual),
        None => (name.to_owned(), usual),
    };
    let variant = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
    let file = format!("{stem}{variant}.{extension}");
    if checked_file(&file).is_ok() {
        return file;
    }
    format!("_/{}.{usual}", hex(&Sha256::digest(format!("{path}\0{variant}"))))
}

/// Eight digits that tell a page from others of its path, if more than its path is in its key.
pub(crate) fn variant(path: &str, inputs: &Inputs) -> Option<String> {
    let Inputs { namespace, nest, inner, query, host, headers, cookies } = inputs;
    let rewritten = nest.is_empty() && inner != path;
    let more = [namespace, query, host].iter().any(|text| !text.is_empty());
    let more = more || rewritten || !headers.is_empty() || !cookies.is_empty();
    more.then(|| hex(&inputs_digest(path, inputs))[..8].to_owned())
}

/// Every text with its length in front, so that no two inputs are taken for one.
fn inputs_digest(path: &str, inputs: &Inputs) -> [u8; 32] {
    let Inputs { namespace, nest, inner, query, host, headers, cookies } = inputs;
    let mut digest = Sha256::new();
    let mut put = |text: &str| {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    };
    [path, namespace, nest, inner, query, host].into_iter().for_each(&mut put);
    for pairs in [headers, cookies] {
        put(&pairs.len().to_string());
        for (name, value) in pairs {
            put(name);
            put(value);
        }
    }
    digest.finalize().into()
}

/// The name under which a plain file server looks for a file with escapes in its name, if that is another one and may be
/// one.
pub(crate) fn plain_name(file: &str) -> Option<String> {
    checked_file(file).ok()?;
    let plain = String::from_utf8(decoded(file.as_bytes())?).ok()?;
    checked_file(&plain).is_ok().then_some(plain)
}
