//! A manifest as it is kept, and how the page of a request is found in it.
//!
//! ```text
//! index: hash of what identifies a page (u32), where its entry begins (u32)      sorted
//!                                               │
//! bytes: entry entry entry …  ◄─────────────────┘
//! ```
//!
//! The hash only says where to look: what identifies a page is compared in full.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, header};

use super::check::Entry;
use super::coding;
use super::ignored::{Ignored, Reason};
use super::media;
use super::strings::{Reader, Strings, Writer};
use crate::key::Parts;
use crate::ledger::CanonicalPath;
use crate::prerender::Record;

/// The content type of what a client of vinext asks for instead of a page.
const DATA: &str = "text/x-component";

/// Pages that were rendered at build time.
#[derive(Debug)]
pub(crate) struct Manifest {
    head: Top,
    bytes: Box<[u8]>,
    strings: Strings,
    index: Box<[(u32, u32)]>,
    /// Keyed, so that nobody can make many pages have one hash.
    hasher: RandomState,
    ignored: Ignored,
}

/// What a manifest says of itself.
#[derive(Debug, Default)]
pub(super) struct Top {
    pub(super) build_id: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) built_at: Option<u64>,
    pub(super) trailing_slash: bool,
}

/// Takes the rows of a manifest one after the other.
#[derive(Default)]
pub(super) struct Builder {
    out: Writer,
    index: Vec<(u32, u32)>,
    hasher: RandomState,
    pub(super) ignored: Ignored,
}

impl Builder {
    pub(super) fn add(&mut self, entry: &Entry) {
        let Ok(at) = u32::try_from(self.out.bytes.len()) else {
            // A manifest of the greatest size does not come near.
            return self.ignored.add(Reason::Shape, &entry.record.path, "the manifest is too large");
        };
        self.index.push((hash(&self.hasher, &entry.record), at));
        coding::write(&mut self.out, entry);
    }

    pub(super) fn finish(mut self, head: Top) -> Manifest {
        // Of equal hashes, the earlier row comes first.
        self.index.sort_unstable();
        let (bytes, strings) = self.out.finish();
        let mut manifest =
            Manifest { head, bytes, strings, index: Box::default(), hasher: self.hasher, ignored: self.ignored };
        let mut kept: Vec<(u32, u32)> = Vec::with_capacity(self.index.len());
        for (hash, at) in self.index {
            let same = kept.iter().rev().take_while(|(other, _)| *other == hash);
            let duplicate = same.into_iter().any(|(_, other)| manifest.same_page(*other, at));
            if !duplicate {
                kept.push((hash, at));
            } else if let Some(path) = manifest.path_at(at).map(str::to_owned) {
                manifest.ignored.add(Reason::Duplicate, &path, "the first row of this page is used");
            }
        }
        manifest.index = kept.into();
        manifest
    }
}

impl Manifest {
    pub(crate) fn build_id(&self) -> Option<&str> {
        self.head.build_id.as_deref()
    }

    /// Of the keys in the store of the site that made it.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.head.scope.as_deref()
    }

    pub(crate) fn built_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.head.built_at?))
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Rows that are not used.
    pub(crate) fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let texts = [&self.head.build_id, &self.head.scope].map(|text| text.as_ref().map_or(0, String::capacity));
        let kept = self.bytes.len() + self.strings.heap_bytes() + size_of_val(&*self.index);
        texts.iter().sum::<usize>() + kept + self.ignored.heap_bytes()
    }

    /// All pages, in the order of the manifest.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let mut places = self.index.iter().map(|(_, at)| *at).collect::<Vec<_>>();
        places.sort_unstable();
        places.into_iter().filter_map(|at| Some(self.complete(self.entry_at(at)?)))
    }

    /// The page of a request whose key has these parts.
    ///
    /// R40: one of our own is found by all of its key. One of another tool by its path alone, so a key with more in it is
    /// not its own: but the two headers by which a client asks for a page's data instead.
    pub(crate) fn find(&self, parts: &Parts<'_>) -> Option<Record> {
        let own = |entry: &Entry| self::parts(&entry.record).is_some_and(|other| other == *parts);
        if let Some(entry) = self.matching(hash_parts(&self.hasher, parts), own) {
            return Some(self.complete(entry));
        }
        if !is_plain(parts) {
            return None;
        }
        match parts.headers[..] {
            [] => self.by_path(parts.path).map(|entry| self.complete(entry)).or_else(|| {
                let page = match parts.path.strip_suffix(".rsc")? {
                    "/index" => "/",
                    page if page.ends_with('/') => return None,
                    page => page,
                };
                self.data(self.by_path(page)?)
            }),
            [("rsc", "1") | ("accept", DATA)] => self.data(self.by_path(parts.path)?),
            _ => None,
        }
    }

    fn by_path(&self, path: &str) -> Option<Entry> {
        // A path with a slash at its end is another one, unless the tool says that all have it; `//` never is the root.
        let slash = path.len() > 1 && path.ends_with('/');
        if !path.starts_with('/') || slash && (!self.head.trailing_slash || path.ends_with("//")) {
            return None;
        }
        let path = CanonicalPath::new(path);
        let same = |entry: &Entry| entry.record.inputs.is_none() && CanonicalPath::new(&entry.record.path) == path;
        self.matching(hash_path(&self.hasher, &path), same)
    }

    fn matching(&self, hash: u32, is_it: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let first = self.index.partition_point(|(other, _)| *other < hash);
        let same = self.index.get(first..)?.iter().take_while(|(other, _)| *other == hash);
        same.filter_map(|(_, at)| self.entry_at(*at)).find(is_it)
    }

    fn same_page(&self, one: u32, other: u32) -> bool {
        match (self.entry_at(one), self.entry_at(other)) {
            (Some(Entry { record: one, .. }), Some(Entry { record: other, .. })) => {
                match (parts(&one), parts(&other)) {
                    (Some(one), Some(other)) => one == other,
                    (None, None) => CanonicalPath::new(&one.path) == CanonicalPath::new(&other.path),
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn reader(&self, at: u32) -> Option<Reader<'_>> {
        Some(Reader { bytes: self.bytes.get(at as usize..)?, strings: &self.strings })
    }

    fn path_at(&self, at: u32) -> Option<&str> {
        coding::path(self.reader(at)?)
    }

    fn entry_at(&self, at: u32) -> Option<Entry> {
        coding::read(self.reader(at)?)
    }

    /// With its file, and what that says.
    fn complete(&self, Entry { mut record, layout }: Entry) -> Record {
        if record.file.is_empty() {
            record.file = layout.file(&record.path, self.head.trailing_slash);
        }
        // One of our own has all of its headers: a page without a type stays one, and its validator fits.
        if record.inputs.is_none() {
            let file = record.file.strip_suffix(".route").unwrap_or(&record.file);
            let content_type = HeaderValue::from_static(media::of_file(file));
            record.headers.entry(header::CONTENT_TYPE).or_insert(content_type);
        }
        record
    }

    /// What a client asks for instead of this page, of which the manifest says nothing but that it is there.
    fn data(&self, entry: Entry) -> Option<Record> {
        if !entry.record.file.is_empty() {
            return None;
        }
        let file = entry.layout.data(&entry.record.path)?;
        let mut record = self.complete(entry);
        record.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(DATA));
        Some(Record { file, bytes: None, digest: None, ..record })
    }
}

/// Whether nothing but path and headers tells this key from others: neither what a tool that knows only paths cannot
/// know, nor a rewrite, which makes another page of a path. A nest takes its prefix off.
fn is_plain(parts: &Parts<'_>) -> bool {
    let Parts { namespace, pattern: _, nest, path, inner, query, host, headers: _, cookies } = parts;
    let nested = !nest.is_empty() && (*inner == "/" || path.ends_with(inner));
    [namespace, query, host].iter().all(|part| part.is_empty()) && cookies.is_empty() && (inner == path || nested)
}

/// The key of one of our own, without its bytes.
fn parts(record: &Record) -> Option<Parts<'_>> {
    let inputs = record.inputs.as_ref()?;
    Some(Parts {
        namespace: &inputs.namespace,
        pattern: &record.route,
        nest: &inputs.nest,
        path: &record.path,
        inner: &inputs.inner,
        query: &inputs.query,
        host: &inputs.host,
        headers: inputs.headers.iter().map(|(name, value)| (&**name, &**value)).collect(),
        cookies: inputs.cookies.iter().map(|(name, value)| (&**name, &**value)).collect(),
    })
}

fn hash(hasher: &RandomState, record: &Record) -> u32 {
    match parts(record) {
        Some(parts) => hash_parts(hasher, &parts),
        None => hash_path(hasher, &CanonicalPath::new(&record.path)),
    }
}

fn hash_parts(hasher: &RandomState, parts: &Parts<'_>) -> u32 {
    let Parts { namespace, pattern, nest, path, inner, query, host, headers, cookies } = parts;
    half(hasher.hash_one(((namespace, pattern, nest), (path, inner), (query, host, headers, cookies))))
}

fn hash_path(hasher: &RandomState, path: &CanonicalPath) -> u32 {
    half(hasher.hash_one(path.as_str()))
}

fn half(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
