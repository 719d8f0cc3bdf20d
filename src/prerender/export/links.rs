//! The links of a page that lead to other pages of the site.

use std::borrow::Cow;

use http::{HeaderMap, header};

use super::markup::{Language, Piece, Pieces};
use super::resolve::{Base, is_absolute, resolve};
use super::target::Target;

/// Whether links are looked for.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let coded = headers.contains_key(header::CONTENT_ENCODING);
    !coded && kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
}

/// Of `<a>` and `<area>`, in their order, without those that say `nofollow` or `download`. The first `<base href>` counts for
/// all that follow it.
pub(super) fn links(base: Base<'_>, body: &[u8]) -> Vec<Target> {
    let text: Cow<'_, str> = String::from_utf8_lossy(body);
    let mut found = Vec::new();
    let mut given: Option<Option<Target>> = None;
    for piece in Pieces::of(&text, Language::Html) {
        let Piece::Open(name, attributes) = piece else { continue };
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("base") && given.is_none() {
            given = attributes.get("href").map(|href| resolve(base, &href));
        } else if is("a") || is("area") {
            let Some(href) = attributes.get("href") else { continue };
            let says = |rel: &str| rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("nofollow"));
            if attributes.get("download").is_some() || attributes.get("rel").is_some_and(|rel| says(&rel)) {
                continue;
            }
            found.extend(match &given {
                Some(Some(given)) => {
                    let query = given.as_str().split_once('?').map(|(_, query)| query);
                    resolve(Base { path: given.path(), query, ..base }, &href)
                }
                // Of another site, and so is what is relative to it.
                Some(None) if !is_absolute(&href) => None,
                None | Some(None) => resolve(base, &href),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(html: &str) -> Vec<String> {
        let base = Base { host: Some("example.org"), path: "/blog/", query: None };
        links(base, html.as_bytes()).into_iter().map(|target| target.as_str().to_owned()).collect()
    }

    #[test]
    fn links_are_found_in_any_spelling() {
        for (html, expected) in [
            ("<a href=\"x\">", &["/blog/x"][..]),
            ("<A HREF='/x'>", &["/x"]),
            ("<a class=y href=/x/y>z</a>", &["/x/y"]),
            ("<a\nhref = \"/x\"\n>", &["/x"]),
            ("<a title='>' href=/x>", &["/x"]),
            ("<a data-x='a=\"b\"' href=\"/x?a=1&amp;b=2&#38;c=3\">", &["/x?a=1&b=2&c=3"]),
            ("<area href=/map>", &["/map"]),
            ("<a href=/1><a href=/2><b><a href=/1>", &["/1", "/2", "/1"]),
            ("<a>", &[]),
            ("<abbr href=/x>", &[]),
            ("<link href=/x.css rel=stylesheet>", &[]),
            ("<a href=/x rel='noopener NoFollow'>", &[]),
            ("<a href=/x download>", &[]),
            ("<!-- <a href=/x> --><a href=/y>", &["/y"]),
            ("<!--><a href=/y>", &["/y"]),
            ("<script>'<a href=/x>'</script><a href=/y>", &["/y"]),
            ("<script>a</scripts><a href=/x></SCRIPT ><a href=/y>", &["/y"]),
            ("<style><a href=/x></style>", &[]),
            ("<title><a href=/x></title>", &[]),
            ("<script><a href=/x>", &[]),
            ("a < b <a href=/x>", &["/x"]),
            ("<a href=\"/x", &["/x"]),
            ("<", &[]),
            ("</", &[]),
            ("<a href=/ä>", &["/%C3%A4"]),
            ("<a href=mailto:x@y>", &[]),
            ("<base href=/docs/><a href=x>", &["/docs/x"]),
            ("<base target=_top><base href=/docs/><base href=/no/><a href=x>", &["/docs/x"]),
            (
                "<base href=https://cdn.example/><a href=x><a href=/x><a href=x//y><a href=https://example.org/y>",
                &["/y"],
            ),
            ("<!doctype html><a href=/x>", &["/x"]),
        ] {
            assert_eq!(found(html), expected, "{html}");
        }
    }

    #[test]
    fn html_is_what_says_so() {
        let mut headers = HeaderMap::new();
        for (kind, expected) in [("text/html", true), ("Text/HTML; charset=utf-8", true), ("text/plain", false)] {
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
            assert_eq!(is_html(&headers), expected, "{kind}");
        }
        assert!(!is_html(&HeaderMap::new()));
    }

    proptest::proptest! {
        #[test]
        fn no_document_is_too_broken(html in "(<|>|a|href|=|\"|'| |/|!--|-->|&|#|x|;|script|base|ä){0,60}") {
            found(&html);
        }
    }
}
