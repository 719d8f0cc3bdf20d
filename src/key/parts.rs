//! Reads a key back into its fields.

use super::{FIELDS, START};

/// The fields of a key, borrowed from it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts<'k> {
    pub(crate) namespace: &'k str,
    pub(crate) pattern: &'k str,
    pub(crate) nest: &'k str,
    pub(crate) path: &'k str,
    /// The path that the inner service must see.
    pub(crate) inner: &'k str,
    pub(crate) query: &'k str,
    pub(crate) host: &'k str,
    pub(crate) headers: Vec<(&'k str, &'k str)>,
    pub(crate) cookies: Vec<(&'k str, &'k str)>,
}

impl<'k> Parts<'k> {
    /// `None` where the bytes are not a key.
    pub(crate) fn read(key: &'k [u8]) -> Option<Self> {
        let (start, mut rest) = key.split_first_chunk::<START>()?;
        let mut fields = [""; FIELDS];
        for (field, length) in fields.iter_mut().zip(start.chunks_exact(2)) {
            *field = text(&mut rest, [length[0], length[1]])?;
        }
        let [namespace, pattern, nest, path, inner, query, host] = fields;
        let headers = pairs(&mut rest, start[START - 2])?;
        let cookies = pairs(&mut rest, start[START - 1])?;
        let mut parts = Self { namespace, pattern, nest, path, inner, query, host, headers, cookies };
        if parts.inner.is_empty() {
            parts.inner = parts.path;
        }
        rest.is_empty().then_some(parts)
    }
}

/// The path of a page's key, or the name in that of data, without reading the rest.
#[cfg(feature = "admin")]
pub(crate) fn shown_path(key: &[u8]) -> &str {
    if let Some(name) = super::data::name(key) {
        return name;
    }
    let length = |field: usize| Some(usize::from(u16::from_be_bytes([*key.get(2 * field)?, *key.get(2 * field + 1)?])));
    let path = || {
        let from = START + length(0)? + length(1)? + length(2)?;
        key.get(from..from + length(3)?)
    };
    path().and_then(|path| std::str::from_utf8(path).ok()).unwrap_or_default()
}

fn text<'k>(rest: &mut &'k [u8], length: [u8; 2]) -> Option<&'k str> {
    let (bytes, tail) = rest.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
    *rest = tail;
    std::str::from_utf8(bytes).ok()
}

fn field<'k>(rest: &mut &'k [u8]) -> Option<&'k str> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail;
    text(rest, *length)
}

fn pairs<'k>(rest: &mut &'k [u8], count: u8) -> Option<Vec<(&'k str, &'k str)>> {
    (0..count).map(|_| Some((field(rest)?, field(rest)?))).collect()
}
