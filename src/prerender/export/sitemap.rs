//! The paths that a sitemap names (sitemaps.org, protocol 0.9).

use super::markup::{Language, Piece, Pieces, decoded};
use super::resolve::same_host;
use super::target::Target;

/// The most bytes of one, as the protocol has it.
pub(super) const MAX_BYTES: usize = 50 << 20;

/// The most places that one names, as the protocol has it.
const MAX_PLACES: usize = 50_000;

/// Indexes may name indexes, as often.
pub(super) const MAX_DEPTH: usize = 2;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sitemap {
    pub(super) pages: Vec<Target>,
    /// Further sitemaps.
    pub(super) sitemaps: Vec<Target>,
    /// What is no place of this site.
    pub(super) bad: Vec<(String, String)>,
}

/// Reads a sitemap or an index of them. Of other hosts than `host`, if that is known, nothing is taken.
pub(super) fn read(text: &str, host: Option<&str>) -> Result<Sitemap, String> {
    let mut sitemap = Sitemap::default();
    // The element around, with its prefix: images and videos have places too.
    let mut around: Option<(&str, bool)> = None;
    let mut place: Option<String> = None;
    let (mut places, mut root) = (0, false);
    for piece in Pieces::of(text, Language::Xml) {
        match piece {
            Piece::Open(name, _) => match local(name) {
                (_, "urlset" | "sitemapindex") => root = true,
                (prefix, "url") => around = Some((prefix, false)),
                (prefix, "sitemap") => around = Some((prefix, true)),
                (prefix, "loc") if around.is_some_and(|(expected, _)| expected == prefix) => {
                    place = Some(String::new());
                }
                _ => {}
            },
            Piece::Text(text) => place.iter_mut().for_each(|place| place.push_str(&decoded(text))),
            Piece::Plain(text) => place.iter_mut().for_each(|place| place.push_str(text)),
            Piece::Close(name) if local(name).1 == "loc" => {
                let (Some(place), Some((_, index))) = (place.take(), around) else { continue };
                places += 1;
                if places > MAX_PLACES {
                    return Err(format!("expected at most {MAX_PLACES} places in a sitemap, got more"));
                }
                match target(place.trim(), host) {
                    Ok(Some(target)) if index => sitemap.sitemaps.push(target),
                    Ok(Some(target)) => sitemap.pages.push(target),
                    Ok(None) => {}
                    Err(problem) => sitemap.bad.push((place, problem)),
                }
            }
            Piece::Close(_) => {}
        }
    }
    if root { Ok(sitemap) } else { Err("expected <urlset> or <sitemapindex>, got neither".to_owned()) }
}

fn local(name: &str) -> (&str, &str) {
    name.rsplit_once(':').unwrap_or(("", name))
}

/// `None`: of another host.
fn target(place: &str, host: Option<&str>) -> Result<Option<Target>, String> {
    let absolute = ["https://", "http://"].iter().find_map(|scheme| {
        let head = place.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &place[scheme.len()..])
    });
    let Some(rest) = absolute else {
        return Target::new(place).map(Some);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if host.is_some_and(|host| !same_host(host, authority)) {
        return Ok(None);
    }
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    Target::new(&if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(targets: &[Target]) -> Vec<&str> {
        targets.iter().map(Target::as_str).collect()
    }

    #[test]
    fn places_are_read_from_sets_and_indexes() {
        let xml = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e 'boom'>]>\
            <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\" xmlns:image='i'>\
            <url><loc> https://example.org/a?x=1&amp;y=2#z </loc><image:image><image:loc>https://example.org/i.png\
            </image:loc></image:image></url><!-- <url><loc>/no</loc></url> -->\
            <url><loc><![CDATA[https://EXAMPLE.org/b&c]]></loc></url>\
            <url><loc>https://other.example/c</loc></url><url><loc>/d</loc></url>\
            <url><loc>https://example.org</loc></url><url><loc>nothing</loc></url></urlset>";
        let read_it = read(xml, Some("example.org")).expect("a sitemap");
        assert_eq!(texts(&read_it.pages), ["/a?x=1&y=2", "/b&c", "/d", "/"]);
        assert_eq!(read_it.bad.len(), 1);
        assert_eq!(texts(&read(xml, None).expect("a sitemap").pages), ["/a?x=1&y=2", "/b&c", "/c", "/d", "/"]);
        let index = "<s:sitemapindex><s:sitemap><s:loc>https://example.org/s.xml</s:loc></s:sitemap></s:sitemapindex>";
        let index = read(index, None).expect("an index");
        assert_eq!((texts(&index.sitemaps), texts(&index.pages)), (vec!["/s.xml"], vec![]));
        assert!(read("<html>", None).is_err());
    }

    #[test]
    fn a_sitemap_is_bounded() {
        let many = format!("<urlset>{}</urlset>", "<url><loc>/a</loc></url>".repeat(MAX_PLACES + 1));
        assert!(read(&many, None).expect_err("too many").contains("50000"));
    }
}
