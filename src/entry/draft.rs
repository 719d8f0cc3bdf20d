//! From a response whose body has ended to an entry.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::answer;
use super::filter::clean;
use crate::policy::cache_control::{self, ASK_EACH_TIME, Directive};
use crate::policy::freshness::Window;
use crate::policy::profile::{CDN_CACHE_CONTROL, Lifetime, ResponseHeaders};
use crate::policy::route::Settings;

/// A page as it is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) status: StatusCode,
    /// Those of a HIT, ready to be cloned; the first is a placeholder for `Age`.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    window: Window,
    weight: usize,
}

/// What an entry is made of. Headers are filtered already.
pub(crate) struct Draft<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) chunks: &'a [Bytes],
    pub(crate) window: Window,
}

impl Draft<'_> {
    /// Copies what has to be kept into allocations of exactly its size.
    pub(crate) fn seal(self, route: &Settings, profile: &ResponseHeaders) -> Entry {
        let length = self.chunks.iter().map(Bytes::len).sum();
        let mut body = Vec::with_capacity(length);
        self.chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
        let page =
            Kept { status: self.status, headers: self.headers, body: Bytes::from(body.into_boxed_slice()), besides: 0 };
        page.seal(self.window, route, profile)
    }
}

/// A page whose bytes are its own, without the headers that depend on the configuration.
pub(crate) struct Kept<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    /// Bytes that the body keeps alive besides its own.
    pub(crate) besides: usize,
}

impl Kept<'_> {
    pub(crate) fn seal(self, window: Window, route: &Settings, profile: &ResponseHeaders) -> Entry {
        let body = self.body;
        let mut made = Vec::with_capacity(5);
        lifetime(&mut made, profile.lifetime, &window);
        made.push((header::CONTENT_LENGTH, HeaderValue::from(body.len())));
        if !self.headers.contains_key(header::ETAG) {
            made.push((header::ETAG, etag(self.headers, &body)));
        }
        let vary = vary(self.headers, route);
        let merges = vary.is_some();
        made.extend(vary.map(|vary| (header::VARY, vary)));
        let own = self.headers.iter().filter(|(name, _)| !merges || *name != header::VARY);
        let all: Vec<_> = made.iter().map(|(name, value)| (name, value)).chain(own).collect();
        let (headers, values) = compact(&all, profile);
        let weight = size_of::<Entry>() + body.len() + self.besides + heap_bytes(&headers, values);
        Entry { status: self.status, headers, body, window, weight }
    }
}

impl Entry {
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The handler's headers, and the validator: without those that every process makes for itself.
    pub(crate) fn own_headers(&self, profile: &ResponseHeaders) -> HeaderMap {
        let mut headers = self.headers.clone();
        clean(&mut headers, profile);
        headers
    }

    /// Whether visitors get the same, but for its age.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.status == other.status && self.body == other.body && self.headers == other.headers
    }

    /// Bytes of memory that this entry keeps, itself included.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

/// What says how long others may keep the page.
fn lifetime(made: &mut Vec<(HeaderName, HeaderValue)>, lifetime: Lifetime, window: &Window) {
    let (fresh, stale) = (window.fresh_secs(), window.stale_secs());
    match lifetime {
        Lifetime::Shared => {
            made.push((header::CACHE_CONTROL, cache_control::fresh(Directive::SharedMaxAge, fresh, stale)));
        }
        Lifetime::Cdn => {
            made.push((header::CACHE_CONTROL, ASK_EACH_TIME));
            made.push((CDN_CACHE_CONTROL, cache_control::fresh(Directive::MaxAge, fresh, stale)));
        }
        Lifetime::None => {}
    }
}

/// The names of the declared inputs with what the handler said (RFC 9110 §12.5.5), in one line; `None` if nothing is
/// declared.
pub(super) fn vary(headers: &HeaderMap, route: &Settings) -> Option<HeaderValue> {
    let cookie = (!route.cookies.is_empty()).then_some("cookie");
    if route.headers.is_empty() && cookie.is_none() {
        return None;
    }
    let ours = route.headers.iter().map(|d| d.name.as_str()).chain(cookie);
    let mut names: Vec<String> = Vec::new();
    let lines: Vec<_> = headers.get_all(header::VARY).iter().collect();
    for name in lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|l| l.split(',')).chain(ours) {
        let name = name.trim();
        if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_ascii_lowercase());
        }
    }
    HeaderValue::try_from(names.join(", ")).ok()
}

/// A weak validator (RFC 9110 §8.8.1): 96 bits of a digest over the body and the headers that say how to read it.
/// Equal pages have equal tags, in every process.
fn etag(headers: &HeaderMap, body: &Bytes) -> HeaderValue {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut hash = Sha256::new();
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
        let value = headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    hash.update(body);
    let digest = hash.finalize();
    let mut text = [b'"'; 20];
    text[0] = b'W';
    text[1] = b'/';
    for (out, three) in text[3..19].chunks_exact_mut(4).zip(digest.chunks_exact(3)) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for (place, shift) in out.iter_mut().zip([18, 12, 6, 0]) {
            *place = ALPHABET[(bits >> shift & 63) as usize];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("W/\"\""))
}

/// The headers of a HIT, and the number of bytes of their values. What is the same for all pages is static; all other
/// values lie in one allocation. The clone at the end has no room to spare.
fn compact(headers: &[(&HeaderName, &HeaderValue)], profile: &ResponseHeaders) -> (HeaderMap, usize) {
    let mut out = HeaderMap::with_capacity(headers.len() + 3);
    // First, so that a HIT overwrites it without a search.
    out.insert(header::AGE, HeaderValue::from_static("0"));
    if let Some(name) = &profile.state {
        out.insert(name, answer::HIT);
    }
    if profile.cache_status {
        out.insert(header::CACHE_STATUS, answer::STATUS_HIT);
    }
    let own = || headers.iter().filter(|(name, value)| common(name, value).is_none());
    let mut bytes = Vec::with_capacity(own().map(|(_, value)| value.len()).sum());
    own().for_each(|(_, value)| bytes.extend_from_slice(value.as_bytes()));
    let values = Bytes::from(bytes.into_boxed_slice());
    let mut at = 0;
    for (name, value) in headers.iter().copied() {
        if let Some(value) = common(name, value) {
            out.append(name, value);
            continue;
        }
        let end = at + value.len();
        let mut copy = HeaderValue::from_maybe_shared(values.slice(at..end)).unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        out.append(name, copy);
        at = end;
    }
    (out.clone(), values.len())
}

/// Values that so many pages have that they need no place of their own.
fn common(name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
    const TYPES: [&str; 6] = [
        "text/html; charset=utf-8",
        "text/html",
        "text/plain; charset=utf-8",
        "application/json",
        "application/xml",
        "text/css",
    ];
    if name != header::CONTENT_TYPE {
        return None;
    }
    let known = TYPES.into_iter().find(|known| value == known)?;
    Some(HeaderValue::from_static(known))
}

/// What a header map allocates: an index of four bytes for each of a power of two of places, an entry of about
/// 104 bytes each, the names that are not among the well-known, and the values.
fn heap_bytes(headers: &HeaderMap, values: usize) -> usize {
    let places = (headers.len() + headers.len() / 3).next_power_of_two().max(8);
    let names: usize = headers.keys().map(|name| name.as_str().len()).sum();
    places * 4 + headers.len() * 104 + names + values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallTime;
    use crate::policy::freshness::Revalidate;
    use crate::policy::route::RouteConfig;
    use std::time::Duration;

    fn seal(headers: &HeaderMap, route: &RouteConfig, profile: &ResponseHeaders, body: &'static str) -> Entry {
        let window = Window::new(WallTime(0), Revalidate::After(Duration::from_secs(60)), Duration::from_secs(90));
        Draft { status: StatusCode::OK, headers, chunks: &[Bytes::from_static(body.as_bytes())], window }
            .seal(route.settings(), profile)
    }

    fn text<'e>(entry: &'e Entry, name: &str) -> &'e str {
        entry.headers.get(name).map_or("", |v| v.to_str().expect("text"))
    }

    #[test]
    fn a_hit_is_ready_to_send() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        headers.append("link", HeaderValue::from_static("</a>"));
        headers.append("link", HeaderValue::from_static("</b>"));
        let route = RouteConfig::revalidate(Duration::from_secs(60));
        let entry = seal(&headers, &route, &ResponseHeaders::shared(), "body");
        assert_eq!(entry.headers.keys().next(), Some(&header::AGE));
        assert_eq!(text(&entry, "x-vinext-cache"), "HIT");
        assert_eq!(text(&entry, "cache-control"), "s-maxage=60, stale-while-revalidate=30");
        assert_eq!(text(&entry, "content-length"), "4");
        assert_eq!(entry.headers.get_all("link").iter().count(), 2);
        assert!(text(&entry, "etag").starts_with("W/\"") && text(&entry, "etag").len() == 20);

        let other = seal(&headers, &route, &ResponseHeaders::cdn(), "other");
        assert_ne!(text(&other, "etag"), text(&entry, "etag"));
        assert_eq!(text(&other, "cdn-cache-control"), "max-age=60, stale-while-revalidate=30");
        assert_eq!(text(&other, "cache-control"), "public, max-age=0, must-revalidate");
    }

    #[test]
    fn vary_merges_what_the_handler_said_with_what_is_declared() {
        let mut headers = HeaderMap::new();
        headers.append("vary", HeaderValue::from_static("Accept-Encoding, HX-Request"));
        headers.append("vary", HeaderValue::from_static("accept-encoding"));
        let route = RouteConfig::revalidate(Duration::from_secs(60))
            .header(HeaderName::from_static("hx-request"), ["true"])
            .cookie("theme", ["dark"]);
        let entry = seal(&headers, &route, &ResponseHeaders::none(), "");
        assert_eq!(text(&entry, "vary"), "accept-encoding, hx-request, cookie");
        assert_eq!(entry.headers.get_all("vary").iter().count(), 1);
    }

    #[test]
    fn a_validator_of_the_handler_stays() {
        let mut headers = HeaderMap::new();
        headers.insert("etag", HeaderValue::from_static("\"mine\""));
        let route = RouteConfig::forever();
        let entry = seal(&headers, &route, &ResponseHeaders::shared(), "body");
        assert_eq!(text(&entry, "etag"), "\"mine\"");
    }
}
