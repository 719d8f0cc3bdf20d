//! Writes the key of a request into a buffer that is reused: a HIT allocates nothing for it.

use std::cell::Cell;

use axum::extract::{MatchedPath, NestedPath, OriginalUri, Request};
use http::header;

use super::{MAX_KEY_INPUT, cookie, query};
use crate::policy::request::Bypass;
use crate::policy::route::{Declared, RouteConfig};

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Where axum's routing stood when the request reached the layer.
#[derive(Clone, Copy)]
pub(crate) struct Routing<'r> {
    pub(crate) matched: Option<&'r MatchedPath>,
    pub(crate) nested: Option<&'r NestedPath>,
}

impl<'r> Routing<'r> {
    pub(crate) fn of(request: &'r Request) -> Self {
        let extensions = request.extensions();
        Self { matched: extensions.get(), nested: extensions.get() }
    }
}

/// Builds the key of a request and hands it to `look`.
pub(crate) fn with_key<R>(request: &Request, route: &RouteConfig, look: impl FnOnce(&[u8]) -> R) -> Result<R, Bypass> {
    // Taken, not borrowed: whoever builds another key inside `look` gets a buffer of its own.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let result = write(&mut buffer, request, route).map(|()| look(&buffer));
    BUFFER.set(buffer);
    result
}

/// Adds one field. Its length was bounded before.
fn field(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Bypass> {
    let length = u16::try_from(bytes.len()).map_err(|_| Bypass::KeyTooLong)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Counts the bytes of the request that go into the key, before they are copied.
struct Input(usize);

impl Input {
    fn take(&mut self, bytes: usize) -> Result<(), Bypass> {
        self.0 = self.0.checked_sub(bytes).ok_or(Bypass::KeyTooLong)?;
        Ok(())
    }
}

fn write(out: &mut Vec<u8>, request: &Request, route: &RouteConfig) -> Result<(), Bypass> {
    let settings = route.settings();
    let routing = Routing::of(request);
    let inner = request.uri();
    let original = request.extensions().get::<OriginalUri>().map_or(inner, |uri| &uri.0);
    let (path, inner) = (original.path(), inner.path());
    if !path.starts_with('/') {
        return Err(Bypass::Path);
    }
    let mut input = Input(MAX_KEY_INPUT);
    input.take(path.len())?;

    field(out, settings.namespace.as_bytes())?;
    field(out, routing.matched.map_or("", MatchedPath::as_str).as_bytes())?;
    field(out, routing.nested.map_or("", NestedPath::as_str).as_bytes())?;
    field(out, path.as_bytes())?;
    // A page whose path was rewritten outside is another page. Below, the render has to arrive at the same inner path.
    if inner == path {
        field(out, b"")?;
    } else {
        input.take(inner.len())?;
        field(out, inner.as_bytes())?;
    }
    match original.query() {
        Some(sent) if !settings.query.is_empty() => {
            let canonical = query::canonical(sent, &settings.query, &mut |n| input.take(n))?;
            field(out, canonical.as_bytes())?;
        }
        _ => field(out, b"")?,
    }
    if settings.host {
        let host = host(request)?;
        input.take(host.len())?;
        field(out, host.as_bytes())?;
    } else {
        field(out, b"")?;
    }
    variants(out, &settings.headers, |d| header_value(request, d), |d| d.name.as_str(), &mut input)?;
    variants(out, &settings.cookies, |d| cookie::find(request.headers(), d), |d| &d.name, &mut input)
}

/// Writes the declared headers or cookies that have one of their values, sorted by name, so that the order of the
/// declarations is not in the key.
fn variants<'d, N>(
    out: &mut Vec<u8>,
    declared: &'d [Declared<N>],
    mut value: impl FnMut(&'d Declared<N>) -> Result<Option<&'d str>, Bypass>,
    name: impl Fn(&'d Declared<N>) -> &'d str,
    input: &mut Input,
) -> Result<(), Bypass> {
    if declared.is_empty() {
        out.push(0);
        return Ok(());
    }
    let mut present = Vec::new();
    for declared in declared {
        if let Some(value) = value(declared)? {
            input.take(value.len())?;
            present.push((name(declared), value));
        }
    }
    present.sort_unstable();
    out.push(u8::try_from(present.len()).map_err(|_| Bypass::TooManyInputs)?);
    for (name, value) in present {
        field(out, name.as_bytes())?;
        field(out, value.as_bytes())?;
    }
    Ok(())
}

/// The declared value that a header has; several lines are one list (RFC 9110 §5.3), which no declared value equals
/// unless it was declared as a list.
fn header_value<'d>(request: &Request, declared: &'d Declared<header::HeaderName>) -> Result<Option<&'d str>, Bypass> {
    let mut lines = request.headers().get_all(&declared.name).iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let mut sent = first.to_str().map_err(|_| Bypass::HeaderValue)?.trim().to_owned();
    for line in lines {
        sent.push_str(", ");
        sent.push_str(line.to_str().map_err(|_| Bypass::HeaderValue)?.trim());
        if sent.len() > MAX_KEY_INPUT {
            return Err(Bypass::KeyTooLong);
        }
    }
    Ok(declared.values.iter().find(|v| **v == sent).map(String::as_str))
}

/// RFC 9110 §7.2: the authority of an absolute target is the host, else the `Host` field; RFC 3986 §6.2.3: a default
/// port is no difference.
fn host(request: &Request) -> Result<String, Bypass> {
    let sent = if let Some(authority) = request.uri().authority() {
        authority.as_str()
    } else {
        let mut lines = request.headers().get_all(header::HOST).iter();
        match (lines.next(), lines.next()) {
            (None, _) => "",
            (Some(line), None) => line.to_str().map_err(|_| Bypass::HostValue)?,
            (Some(_), Some(_)) => return Err(Bypass::HostValue),
        }
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&b);
    if sent.len() > 255 || !sent.bytes().all(allowed) {
        return Err(Bypass::HostValue);
    }
    let sent = [":80", ":443", ":"].iter().find_map(|port| sent.strip_suffix(port)).unwrap_or(sent);
    Ok(sent.to_ascii_lowercase())
}
