//! Reads a key back into its fields.

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
        let mut rest = key;
        let mut parts = Self {
            namespace: field(&mut rest)?,
            pattern: field(&mut rest)?,
            nest: field(&mut rest)?,
            path: field(&mut rest)?,
            inner: field(&mut rest)?,
            query: field(&mut rest)?,
            host: field(&mut rest)?,
            headers: pairs(&mut rest)?,
            cookies: pairs(&mut rest)?,
        };
        if parts.inner.is_empty() {
            parts.inner = parts.path;
        }
        rest.is_empty().then_some(parts)
    }
}

fn field<'k>(rest: &mut &'k [u8]) -> Option<&'k str> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (bytes, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = tail;
    std::str::from_utf8(bytes).ok()
}

fn pairs<'k>(rest: &mut &'k [u8]) -> Option<Vec<(&'k str, &'k str)>> {
    let (count, tail) = rest.split_first()?;
    *rest = tail;
    (0..*count).map(|_| Some((field(rest)?, field(rest)?))).collect()
}
