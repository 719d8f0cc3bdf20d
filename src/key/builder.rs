//! Writes the key of a request. A key of ordinary length is written on the stack: a HIT allocates nothing for it.

use axum::extract::{MatchedPath, NestedPath, OriginalUri, Request};
use http::{Uri, header};

use super::{CacheKey, FIELDS, MAX_KEY_INPUT, Parts, START, cookie, query};
use crate::policy::request::Bypass;
use crate::policy::route::{Declared, RouteConfig, Settings};

/// Longer keys are written into an allocation.
const ON_STACK: usize = 256;

/// Where the key of one request is written.
pub(crate) struct KeyBuffer {
    stack: [u8; ON_STACK],
    heap: Vec<u8>,
}

impl KeyBuffer {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { stack: [0; ON_STACK], heap: Vec::new() }
    }

    #[inline]
    fn place(&mut self, bytes: usize) -> &mut [u8] {
        if bytes <= ON_STACK {
            return &mut self.stack[..bytes];
        }
        self.heap.resize(bytes, 0);
        &mut self.heap
    }
}

/// What the visitor asked for: a nest takes its prefix off the path.
#[inline]
pub(crate) fn original_uri(request: &Request) -> &Uri {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |uri| &uri.0)
}

/// Where axum's routing stood: the pattern, and the nest if that has taken its prefix off the path.
pub(crate) fn routed(request: &Request) -> (Option<MatchedPath>, Option<NestedPath>) {
    let extensions = request.extensions();
    // As in the key: a nest has taken its prefix off the path, or there is none.
    let stripped = original_uri(request).path() != request.uri().path();
    (extensions.get().cloned(), extensions.get().filter(|_| stripped).cloned())
}

/// Builds the key of a request.
#[inline]
pub(crate) fn build<'k>(buffer: &'k mut KeyBuffer, request: &Request, route: &RouteConfig) -> Result<&'k [u8], Bypass> {
    let settings = route.settings();
    let extensions = request.extensions();
    let (path, inner) = (original_uri(request).path(), request.uri().path());
    if !path.starts_with('/') {
        return Err(Bypass::Path);
    }
    let mut input = Input(MAX_KEY_INPUT);
    input.take(path.len())?;
    let pattern = extensions.get().map_or("", MatchedPath::as_str);
    // A page whose path was rewritten outside is another page. Below, the render has to arrive at the same inner path.
    // The same text, mostly in the same place.
    let (nest, inner) = if std::ptr::eq(inner, path) || inner == path {
        // A nest would have taken its prefix off the path.
        ("", "")
    } else {
        // What a nest leaves of the path is the end of it.
        if !path.ends_with(inner) {
            input.take(inner.len())?;
        }
        (extensions.get().map_or("", NestedPath::as_str), inner)
    };
    let inputs = if settings.declares_inputs() {
        Some(Inputs::of(request, request.uri().query().unwrap_or(""), settings, &mut input)?)
    } else {
        None
    };
    let (query, host) = inputs.as_ref().map_or(("", ""), |inputs| (&*inputs.query, &*inputs.host));
    let pairs = inputs.as_ref().map_or([&[][..], &[]], |inputs| [&inputs.headers, &inputs.cookies]);
    let fields = [&*settings.namespace, pattern, nest, path, inner, query, host];

    assemble(buffer, &fields, &pairs)
}

/// The key with these fields; `None` if it is longer than that of any request.
pub(crate) fn of_parts(parts: &Parts<'_>) -> Option<CacheKey> {
    let Parts { namespace, pattern, nest, path, inner, query, host, headers, cookies } = parts;
    let inner = if inner == path { "" } else { inner };
    let fields = [namespace, pattern, nest, path, inner, query, host];
    let pairs = || headers.iter().chain(cookies);
    let input = [path, inner, query, host].iter().map(|field| field.len()).sum::<usize>()
        + pairs().map(|(_, value)| value.len()).sum::<usize>();
    if input > 2 * MAX_KEY_INPUT || !path.starts_with('/') {
        return None;
    }
    assemble(&mut KeyBuffer::new(), &fields, &[headers, cookies]).map(CacheKey::new).ok()
}

#[inline]
fn assemble<'k>(
    buffer: &'k mut KeyBuffer,
    fields: &[&str; FIELDS],
    pairs: &[&[Pair<'_>]; 2],
) -> Result<&'k [u8], Bypass> {
    let bytes = START
        + fields.iter().map(|field| field.len()).sum::<usize>()
        + pairs.iter().copied().flatten().map(|(name, value)| 4 + name.len() + value.len()).sum::<usize>();
    let key = buffer.place(bytes);
    write(key, fields, pairs)?;
    Ok(key)
}

/// The key of a request as a value.
pub(crate) fn owned(request: &Request, route: &RouteConfig) -> Result<CacheKey, Bypass> {
    build(&mut KeyBuffer::new(), request, route).map(CacheKey::new)
}

/// Writes a key into a place of exactly its length.
#[inline]
fn write(key: &mut [u8], fields: &[&str; FIELDS], pairs: &[&[Pair<'_>]; 2]) -> Result<(), Bypass> {
    let mut out = Out(key);
    for field in fields {
        out.length(field)?;
    }
    for pairs in pairs {
        out.put(&[u8::try_from(pairs.len()).map_err(|_| Bypass::TooManyInputs)?]);
    }
    for field in fields {
        // Most are empty on most routes.
        if !field.is_empty() {
            out.put(field.as_bytes());
        }
    }
    for (name, value) in pairs.iter().copied().flatten() {
        for text in [name, value] {
            out.length(text)?;
            out.put(text.as_bytes());
        }
    }
    Ok(())
}

/// The rest of a place to write to.
struct Out<'k>(&'k mut [u8]);

impl Out<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let place = std::mem::take(&mut self.0);
        // The place was measured; what does not fit would be a key that cannot be read back, which is none.
        if let Some((here, rest)) = place.split_at_mut_checked(bytes.len()) {
            here.copy_from_slice(bytes);
            self.0 = rest;
        }
    }

    #[inline]
    fn length(&mut self, text: &str) -> Result<(), Bypass> {
        let length = u16::try_from(text.len()).map_err(|_| Bypass::KeyTooLong)?;
        self.put(&length.to_be_bytes());
        Ok(())
    }
}

/// Counts the bytes of the request that go into the key, before they are copied.
struct Input(usize);

impl Input {
    fn take(&mut self, bytes: usize) -> Result<(), Bypass> {
        self.0 = self.0.checked_sub(bytes).ok_or(Bypass::KeyTooLong)?;
        Ok(())
    }
}

/// What a route declared beyond its path, in canonical form.
struct Inputs<'s> {
    query: String,
    host: String,
    headers: Vec<Pair<'s>>,
    cookies: Vec<Pair<'s>>,
}

type Pair<'s> = (&'s str, &'s str);

impl<'s> Inputs<'s> {
    fn of(request: &Request, query: &str, settings: &'s Settings, input: &mut Input) -> Result<Self, Bypass> {
        let query = query::canonical(query, &settings.query, &mut |bytes| input.take(bytes))?;
        let host = if settings.host { host(request)? } else { String::new() };
        input.take(host.len())?;
        let headers = present(&settings.headers, |d| header_value(request, d), |d| d.name.as_str(), input)?;
        let cookies = present(&settings.cookies, |d| cookie::find(request.headers(), d), |d| &d.name, input)?;
        Ok(Self { query, host, headers, cookies })
    }
}

/// The declared headers or cookies that have one of their values, sorted by name, so that the order of the declarations
/// is not in the key.
fn present<'d, N>(
    declared: &'d [Declared<N>],
    mut value: impl FnMut(&'d Declared<N>) -> Result<Option<&'d str>, Bypass>,
    name: impl Fn(&'d Declared<N>) -> &'d str,
    input: &mut Input,
) -> Result<Vec<Pair<'d>>, Bypass> {
    let mut present = Vec::new();
    for declared in declared {
        if let Some(value) = value(declared)? {
            input.take(value.len())?;
            present.push((name(declared), value));
        }
    }
    present.sort_unstable();
    Ok(present)
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
