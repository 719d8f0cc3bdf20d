//! The cookie of a login: what it is called, where it goes, and how it is read.

use std::time::Duration;

use axum::extract::OriginalUri;
use http::header::{COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};

const NAME: &str = "axum-isr-session";

/// The session of a request; `None` if there is none, or more than one: which of them is ours, and who put the other one
/// there?
pub(super) fn find(headers: &HeaderMap) -> Option<&[u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..equals].trim_ascii() == NAME.as_bytes()).then(|| pair[equals + 1..].trim_ascii())
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// The cookie for who asks at `name` (`/login`) below the router: for this router alone, and not for scripts.
pub(super) fn set(session: &str, life: Duration, parts: &Parts) -> Option<HeaderValue> {
    let path = base(parts).map(|base| format!("; Path={base}")).unwrap_or_default();
    let secure = if is_here(parts) { "" } else { "; Secure" };
    let life = life.as_secs();
    let text = format!("{NAME}={session}; HttpOnly; SameSite=Strict{path}; Max-Age={life}{secure}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where the router is nested: what nests took off the path.
///
/// `None` if that cannot stand in a cookie. A parameter of a nest (`/{tenant}/admin`) may hold what the client likes, and a
/// `;` would begin another attribute. Then the browser takes the path up to the last slash (RFC 6265 §5.1.4), which is the
/// same.
fn base(parts: &Parts) -> Option<&str> {
    let original = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
    let base = original.path().strip_suffix(parts.uri.path())?;
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+=:@".contains(&byte);
    match base {
        "" => Some("/"),
        _ => base.bytes().all(may_stand).then_some(base),
    }
}

/// Whether browser and server are on one machine, without TLS: some browsers do not take a `Secure` cookie there.
///
/// A client that lies gets a cookie without `Secure` for itself. A proxy that does not pass the `Host` on
/// (`127.0.0.1:3000`) does not lie for its visitors: their browsers say in `Origin` where they are.
fn is_here(parts: &Parts) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let mut hosts: Vec<_> = parts.headers.get_all(HOST).iter().map(text).collect();
    hosts.extend(parts.uri.authority().map(ToString::to_string));
    let mut origins = parts.headers.get_all(ORIGIN).iter().map(text);
    !hosts.is_empty()
        && hosts.iter().all(|host| host.parse().is_ok_and(|host| is_loopback(&host)))
        && origins.all(|origin| {
            let origin = origin.parse::<Uri>().unwrap_or_default();
            origin.scheme_str() == Some("http") && origin.authority().is_some_and(is_loopback)
        })
}

/// With any port, and nothing before it.
fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    authority.as_str().starts_with(host)
        && (host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, original: &str, headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        let mut parts = request.body(()).expect("a request").into_parts().0;
        parts.extensions.insert(OriginalUri(original.parse().expect("a URI")));
        parts
    }

    fn read(lines: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).expect("valid"));
        }
        find(&headers).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn one_cookie_is_found_among_others_and_of_two_none() {
        for (lines, expected) in [
            (&[][..], None),
            (&[b"axum-isr-session=a.b".as_slice()], Some("a.b")),
            (&[b"x=1; axum-isr-session = a.b ;y=2"], Some("a.b")),
            (&[b"x=\xff\xfe", b"axum-isr-session=a.b"], Some("a.b")),
            (&[b"axum-isr-session=\"a.b\""], Some("\"a.b\"")),
            (&[b"axum-isr-session="], Some("")),
            (&[b"axum-isr-session=a=b"], Some("a=b")),
            (&[b"axum-isr-session"], None),
            (&[b"Axum-Isr-Session=a", b"xaxum-isr-session=a", b"axum-isr-session2=a"], None),
            (&[b"axum-isr-session=a; axum-isr-session=a"], None),
            (&[b"axum-isr-session=a", b"axum-isr-session="], None),
        ] {
            assert_eq!(read(lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_path_is_that_of_the_router() {
        for (inner, original, expected) in [
            ("/login", "/_isr/login", Some("/_isr")),
            ("/login", "/a/b%20c/_isr/login?x=/", Some("/a/b%20c/_isr")),
            ("/login", "/login", Some("/")),
            ("/login", "/a;Path=/_isr/login", None),
            ("/login", "/a,b/login", None),
            ("/login", "/a\"b/login", None),
            // Rewritten between the nests: nobody knows.
            ("/login", "/other", None),
        ] {
            assert_eq!(base(&parts(inner, original, &[])), expected, "{original}");
        }
    }

    #[test]
    fn only_on_this_machine_it_may_go_without_tls() {
        for (uri, headers, expected) in [
            ("/login", &[][..], false),
            ("/login", &[("host", "localhost")], true),
            ("/login", &[("host", "LocalHost:3000")], true),
            ("/login", &[("host", "127.0.0.1:1")], true),
            ("/login", &[("host", "[::1]:3000")], true),
            ("http://localhost:3000/login", &[], true),
            ("/login", &[("host", "localhost:3000"), ("origin", "http://localhost:3000")], true),
            ("/login", &[("host", "example.com")], false),
            ("/login", &[("host", "localhost.example.com")], false),
            ("/login", &[("host", "127.0.0.1.example.com")], false),
            ("/login", &[("host", "user@localhost")], false),
            ("/login", &[("host", "localhost@example.com")], false),
            ("/login", &[("host", "")], false),
            ("/login", &[("host", "localhost"), ("host", "example.com")], false),
            ("http://example.com/login", &[("host", "localhost")], false),
            // Behind a proxy.
            ("/login", &[("host", "127.0.0.1:3000"), ("origin", "https://example.com")], false),
            ("/login", &[("host", "127.0.0.1:3000"), ("origin", "http://example.com")], false),
            ("/login", &[("host", "localhost"), ("origin", "https://localhost")], false),
            ("/login", &[("host", "localhost"), ("origin", "null")], false),
        ] {
            assert_eq!(is_here(&parts(uri, "/login", headers)), expected, "{uri} {headers:?}");
        }
    }
}
