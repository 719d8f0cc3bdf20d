//! An entry as bytes.
//!
//! ```text
//! entry = flags (number); path; what of the rest the flags say, in the order of the flags
//! ```

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::check::Entry;
use super::layout::Layout;
use super::strings::{Reader, Writer};
use crate::policy::freshness::Revalidate;
use crate::policy::tag::Tag;
use crate::prerender::{Inputs, Record};

const DATA: u64 = 1;
const ROUTE_FILE: u64 = 1 << 1;
/// The pattern is another text than the path.
const PATTERN: u64 = 1 << 2;
const INPUTS: u64 = 1 << 3;
const INNER: u64 = 1 << 4;
const FILE: u64 = 1 << 5;
const REVALIDATE: u64 = 1 << 6;
const TAGS: u64 = 1 << 7;
const EXPIRE: u64 = 1 << 8;
const STATUS: u64 = 1 << 9;
const HEADERS: u64 = 1 << 10;
const BYTES: u64 = 1 << 11;
const DIGEST: u64 = 1 << 12;

pub(super) fn write(out: &mut Writer, entry: &Entry) {
    let Record { route, path, inputs, file, status, headers, revalidate, expire, tags, bytes, digest } = &entry.record;
    let inner = inputs.as_ref().map(|inputs| &inputs.inner).filter(|inner| *inner != path);
    let flags = [
        (DATA, entry.layout == Layout::PageAndData),
        (ROUTE_FILE, entry.layout == Layout::Route),
        (PATTERN, route != path),
        (INPUTS, inputs.is_some()),
        (INNER, inner.is_some()),
        (FILE, !file.is_empty()),
        (REVALIDATE, matches!(revalidate, Revalidate::After(_))),
        (TAGS, !tags.is_empty()),
        (EXPIRE, expire.is_some()),
        (STATUS, *status != StatusCode::OK),
        (HEADERS, !headers.is_empty()),
        (BYTES, bytes.is_some()),
        (DIGEST, digest.is_some()),
    ];
    out.number(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag).sum());
    out.own(path);
    if route != path {
        out.around(route, path);
    }
    if let Some(inputs) = inputs {
        self::inputs(out, inputs, path);
    }
    if let Some(inner) = inner {
        out.own(inner);
    }
    if !file.is_empty() {
        out.around(file, below(path));
    }
    if let Revalidate::After(after) = revalidate {
        duration(out, *after);
    }
    if !tags.is_empty() {
        out.number(tags.len() as u64);
        for tag in tags {
            out.around(tag.as_str(), path);
        }
    }
    if let Some(expire) = expire {
        duration(out, *expire);
    }
    if *status != StatusCode::OK {
        out.number(status.as_u16().into());
    }
    if !headers.is_empty() {
        out.number(headers.len() as u64);
        for (name, value) in headers {
            out.shared(name.as_str());
            // They were texts in the manifest.
            out.around(std::str::from_utf8(value.as_bytes()).unwrap_or_default(), path);
        }
    }
    if let Some(bytes) = bytes {
        out.number(*bytes);
    }
    if let Some(digest) = digest {
        out.raw(digest);
    }
}

/// A file's name has the path in it without the slash.
fn below(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn duration(out: &mut Writer, duration: Duration) {
    out.number(duration.as_secs());
    out.number(duration.subsec_micros().into());
}

fn inputs(out: &mut Writer, inputs: &Inputs, path: &str) {
    let Inputs { namespace, nest, inner: _, query, host, headers, cookies } = inputs;
    for text in [namespace, nest, host] {
        out.shared(text);
    }
    out.around(query, path);
    for pairs in [headers, cookies] {
        out.number(pairs.len() as u64);
        for (name, value) in pairs {
            out.shared(name);
            out.shared(value);
        }
    }
}

/// The path of an entry, which is all that a search compares first.
pub(super) fn path(mut from: Reader<'_>) -> Option<&str> {
    from.number()?;
    from.text()
}

/// Reads what [`write`] wrote; `None` if it cannot have.
pub(super) fn read(mut from: Reader<'_>) -> Option<Entry> {
    let flags = from.number()?;
    let has = |flag| flags & flag != 0;
    let path = from.text()?;
    let route = if has(PATTERN) { from.around(path)? } else { path.to_owned() };
    let mut inputs = if has(INPUTS) { Some(read_inputs(&mut from, path)?) } else { None };
    if has(INNER) {
        from.text()?.clone_into(&mut inputs.as_mut()?.inner);
    }
    let layout = match (has(DATA), has(ROUTE_FILE)) {
        (true, _) => Layout::PageAndData,
        (_, true) => Layout::Route,
        _ => Layout::Page,
    };
    let record = Record {
        route,
        path: path.to_owned(),
        inputs,
        file: if has(FILE) { from.around(below(path))? } else { String::new() },
        revalidate: if has(REVALIDATE) { Revalidate::After(read_duration(&mut from)?) } else { Revalidate::Never },
        tags: if has(TAGS) { read_tags(&mut from, path)? } else { Vec::new() },
        expire: if has(EXPIRE) { Some(read_duration(&mut from)?) } else { None },
        status: if has(STATUS) {
            StatusCode::from_u16(u16::try_from(from.number()?).ok()?).ok()?
        } else {
            StatusCode::OK
        },
        headers: if has(HEADERS) { read_headers(&mut from, path)? } else { HeaderMap::new() },
        bytes: if has(BYTES) { Some(from.number()?) } else { None },
        digest: if has(DIGEST) { Some(from.raw(32)?.try_into().ok()?) } else { None },
    };
    Some(Entry { record, layout })
}

fn read_duration(from: &mut Reader<'_>) -> Option<Duration> {
    let (secs, micros) = (from.number()?, u32::try_from(from.number()?).ok()?);
    Some(Duration::new(secs, micros.checked_mul(1_000).filter(|nanos| *nanos < 1_000_000_000)?))
}

fn read_inputs(from: &mut Reader<'_>, path: &str) -> Option<Inputs> {
    let [namespace, nest, host] = [from.text()?, from.text()?, from.text()?].map(str::to_owned);
    let query = from.around(path)?;
    let [headers, cookies] = [read_pairs(from)?, read_pairs(from)?];
    Some(Inputs { namespace, nest, inner: path.to_owned(), query, host, headers, cookies })
}

fn read_pairs(from: &mut Reader<'_>) -> Option<Vec<(String, String)>> {
    let count = from.number()?;
    (0..count).map(|_| Some((from.text()?.to_owned(), from.text()?.to_owned()))).collect()
}

fn read_tags(from: &mut Reader<'_>, path: &str) -> Option<Vec<Tag>> {
    let count = from.number()?;
    (0..count).map(|_| Tag::new(from.around(path)?).ok()).collect()
}

fn read_headers(from: &mut Reader<'_>, path: &str) -> Option<HeaderMap> {
    let count = usize::try_from(from.number()?).ok()?;
    let mut headers = HeaderMap::with_capacity(count.min(64) + 1);
    for _ in 0..count {
        let name = from.text()?.parse::<HeaderName>().ok()?;
        headers.append(name, HeaderValue::try_from(from.around(path)?).ok()?);
    }
    Some(headers)
}
