//! From a reference to a path of the same site (RFC 3986 §5.2).

use super::target::Target;

/// Where references are relative to.
#[derive(Clone, Copy)]
pub(super) struct Base<'b> {
    /// With its authority if that is known: then absolute URLs of it are of the site.
    pub(super) host: Option<&'b str>,
    /// Absolute, without query.
    pub(super) path: &'b str,
    pub(super) query: Option<&'b str>,
}

/// The target that a reference names, `None` if it is none of the site. Fragments say nothing to a server.
pub(super) fn resolve(base: Base<'_>, reference: &str) -> Option<Target> {
    // As browsers do: blanks around it, and line breaks in it, are not of it.
    let reference: String =
        reference.trim_matches(|c: char| c <= ' ').chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let reference = reference.split_once('#').map_or(&*reference, |(before, _)| before);
    let (path, query) = match local(base.host, reference)? {
        "" if reference.is_empty() => (base.path, base.query),
        rest => match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        },
    };
    let path = match path {
        "" if reference.starts_with('?') => base.path.to_owned(),
        "" if reference.is_empty() => base.path.to_owned(),
        // An absolute URL without a path.
        "" => "/".to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let folder = base.path.rfind('/').map_or("/", |slash| &base.path[..=slash]);
            without_dots(&format!("{folder}{path}"))
        }
    };
    Target::new(&query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))).ok()
}

/// What follows the authority, if that is ours.
fn local<'r>(host: Option<&str>, reference: &'r str) -> Option<&'r str> {
    let rest = match scheme(reference) {
        None => reference,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            let rest = &reference[scheme.len() + 1..];
            // `https:page` is an oddity that browsers read in several ways.
            rest.starts_with("//").then_some(rest)?
        }
        Some(_) => return None,
    };
    let Some(after) = rest.strip_prefix("//") else { return Some(rest) };
    let end = after.find(['/', '?', '\\']).unwrap_or(after.len());
    same_host(host?, &after[..end]).then_some(&after[end..])
}

/// Whether it says on which host it is.
pub(super) fn is_absolute(reference: &str) -> bool {
    let reference = reference.trim_start_matches(|c: char| c <= ' ');
    reference.starts_with("//") || scheme(reference).is_some()
}

/// RFC 3986 §3.1.
fn scheme(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once(':')?;
    let fits = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (fits && scheme.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(scheme)
}

pub(super) fn same_host(ours: &str, other: &str) -> bool {
    let bare = |host: &str| {
        let host = [":80", ":443"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(host);
        host.to_ascii_lowercase()
    };
    bare(ours) == bare(other)
}

/// RFC 3986 §5.2.4; escaped dots count, as in browsers.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let dots = if segment.len() <= 6 { segment.to_ascii_lowercase().replace("%2e", ".") } else { String::new() };
        match &*dots {
            ".." => {
                kept.pop();
            }
            "." => {}
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §5.4, as far as paths of one site go.
    #[test]
    fn references_are_resolved_as_browsers_do() {
        let base = Base { host: Some("example.org"), path: "/b/c/d;p", query: Some("q") };
        for (reference, expected) in [
            ("g", Some("/b/c/g")),
            ("./g", Some("/b/c/g")),
            ("g/", Some("/b/c/g/")),
            ("/g", Some("/g")),
            ("//g", None),
            ("?y", Some("/b/c/d;p?y")),
            ("g?y", Some("/b/c/g?y")),
            ("#s", Some("/b/c/d;p?q")),
            ("g#s", Some("/b/c/g")),
            ("g?y#s", Some("/b/c/g?y")),
            (";x", Some("/b/c/;x")),
            ("", Some("/b/c/d;p?q")),
            (".", Some("/b/c/")),
            ("./", Some("/b/c/")),
            ("..", Some("/b/")),
            ("../g", Some("/b/g")),
            ("../..", Some("/")),
            ("../../../g", Some("/g")),
            ("/./g", Some("/g")),
            ("/../g", Some("/g")),
            ("g.", Some("/b/c/g.")),
            ("..g", Some("/b/c/..g")),
            ("./g/.", Some("/b/c/g/")),
            ("g/../h", Some("/b/c/h")),
            ("g?y/../x", Some("/b/c/g?y/../x")),
            ("%2E%2e/g", Some("/b/g")),
            ("https://EXAMPLE.org:443/x", Some("/x")),
            ("http://example.org", Some("/")),
            ("http://example.org?a", Some("/?a")),
            ("//example.org/x y", Some("/x%20y")),
            ("https://example.com/x", None),
            ("https://example.org@evil.example/x", None),
            ("mailto:a@example.org", None),
            ("javascript:void(0)", None),
            ("data:text/html,x", None),
            (" /a\n", Some("/a")),
            ("ä?ö=ü", Some("/b/c/%C3%A4?%C3%B6=%C3%BC")),
            ("/a:b", Some("/a:b")),
        ] {
            assert_eq!(resolve(base, reference).as_ref().map(Target::as_str), expected, "{reference:?}");
        }
        let unknown = Base { host: None, ..base };
        assert!(resolve(unknown, "http://example.org/x").is_none(), "whose host it is, nobody knows");
    }
}
