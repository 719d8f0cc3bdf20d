use http::{HeaderMap, HeaderValue};

use super::super::layout::checked_file;
use super::super::names::{Names, file_for, plain_name, variant};
use crate::prerender::Inputs;

/// R41: names that stay below the folder wherever they are opened, and whoever decodes them.
#[test]
fn a_name_that_could_lead_elsewhere_is_refused() {
    let long = ["a".repeat(256), "a/".repeat(600) + "a", "a/".repeat(32) + "a"];
    let bad = [
        "",
        "/etc/passwd",
        "//server/share",
        "\\\\server\\share",
        "C:/x",
        "c:x",
        "a.html:stream",
        "..",
        "../x",
        "a/../x",
        "a/..",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "a\u{85}b",
        "a.",
        "a ",
        "a./b",
        "a /b",
        "...",
        "con",
        "CON.html",
        "a/nul.txt",
        "Com1.html",
        "lpt9",
        "com¹.html",
        "aux .html",
        "%2e%2e/x",
        "%2E%2e",
        ".%2e/x",
        "a%2Fb",
        "a%2f..%2fb",
        "a%5cb",
        "a%00b",
        "a%0ab",
        "%252e%252e/x",
        "%25252e%25252e/x",
        "%2525252e%2525252e/x",
        "c%3A/x",
        "c%3ax.html",
        "%20/x",
        "%c0%ae%c0%ae/x",
    ];
    for file in bad.into_iter().chain(long.iter().map(String::as_str)) {
        assert!(checked_file(file).is_err(), "{file:?}");
    }
    let longest = "a".repeat(255);
    for file in [
        "index.html",
        "posts/sticks%20%26%20stones.html",
        "posts/ebbe-und-flut-gr%C3%B6%C3%9Fe.html",
        "größe.html",
        "100%25.html",
        "100%.html",
        "%zz.html",
        "ab%3Ac/x.html",
        "posts/a%3Ab.html",
        "..a/b..c.html",
        ".well-known/x",
        "console.html",
        "com.html",
        "com10.html",
        &longest,
    ] {
        assert_eq!(checked_file(file), Ok(()), "{file:?}");
    }
}

#[test]
fn a_page_gets_the_name_under_which_static_servers_look_for_it() {
    for (path, content_type, slash, expected) in [
        ("/", "text/html", false, "index.html"),
        ("/", "text/html", true, "index.html"),
        ("/", "application/json", false, "index.json"),
        ("/about", "text/html; charset=utf-8", false, "about.html"),
        ("/about", "text/html; charset=utf-8", true, "about/index.html"),
        ("/about/", "text/html", false, "about/index.html"),
        ("/about/", "text/html", true, "about/index.html"),
        ("/about.html", "text/html", false, "about.html"),
        ("/about.html", "text/html", true, "about.html"),
        ("/about.htm", "text/html", true, "about.htm"),
        ("/feed.xml", "application/rss+xml", false, "feed.xml"),
        ("/feed.xml", "application/something+xml", true, "feed.xml"),
        ("/robots.txt", "text/plain", true, "robots.txt"),
        ("/DATA.JSON", "application/json", false, "DATA.JSON"),
        ("/robots.txt", "text/html", false, "robots.txt.html"),
        ("/v1.2", "text/html", false, "v1.2.html"),
        ("/v1.2", "application/zip", false, "v1.2"),
        ("/image", "image/png", false, "image.png"),
        ("/api/x", "application/problem+json", true, "api/x.json"),
        ("/x", "application/octet-stream", false, "x.bin"),
        ("/x", "text/x-thing", false, "x.txt"),
        ("/x", "", false, "x.bin"),
        ("/gr%C3%B6%C3%9Fe", "text/html", false, "gr%C3%B6%C3%9Fe.html"),
        ("/.well-known/x", "text/plain", false, ".well-known/x.txt"),
    ] {
        assert_eq!(file_for(path, content_type, None, slash), expected, "{path} {content_type}");
    }
    assert_eq!(file_for("/about", "text/html", Some("0123abcd"), false), "about.0123abcd.html");
    assert_eq!(file_for("/feed.xml", "text/xml", Some("0123abcd"), false), "feed.0123abcd.xml");
    assert_eq!(file_for("/", "text/html", Some("0123abcd"), true), "index.0123abcd.html");
}

/// R41: whatever the path, its file is below the folder.
#[test]
fn a_path_that_is_no_name_gets_a_digest() {
    let long = format!("/{}", "x".repeat(300));
    for path in ["/a//b", "/../x", "/%2e%2e/x", "/a:b", "/con", "//", "/a%2Fb", "/a\\b", &long] {
        let file = file_for(path, "text/html", None, false);
        assert!(
            file.strip_suffix(".html").is_some_and(|name| name.starts_with("_/") && name.len() == 2 + 64),
            "{path}: {file}"
        );
        assert_eq!(checked_file(&file), Ok(()));
        assert_ne!(file, file_for(path, "text/html", Some("0123abcd"), false));
    }
}

#[test]
fn pages_of_one_path_are_told_apart_by_their_inputs() {
    let plain = Inputs { inner: "/a".to_owned(), ..Inputs::default() };
    assert_eq!(variant("/a", &plain), None);
    assert_eq!(variant("/n/a", &Inputs { nest: "/n".to_owned(), ..plain.clone() }), None);
    let one = || ("a".to_owned(), "1".to_owned());
    let others = [
        Inputs { namespace: "n".to_owned(), ..plain.clone() },
        Inputs { query: "n".to_owned(), ..plain.clone() },
        Inputs { host: "n".to_owned(), ..plain.clone() },
        Inputs { inner: "/b".to_owned(), ..plain.clone() },
        Inputs { headers: vec![one()], ..plain.clone() },
        Inputs { cookies: vec![one()], ..plain.clone() },
    ];
    let mut variants = others.iter().map(|inputs| variant("/a", inputs).unwrap()).collect::<Vec<_>>();
    assert!(variants.iter().all(|variant| variant.len() == 8 && variant.bytes().all(|b| b.is_ascii_hexdigit())));
    variants.sort();
    variants.dedup();
    assert_eq!(variants.len(), others.len());
}

#[test]
fn no_two_pages_get_names_that_a_file_system_takes_for_one() {
    let html = HeaderMap::from_iter([("content-type".parse().unwrap(), HeaderValue::from_static("text/html"))]);
    let plain = |path: &str| Inputs { inner: path.to_owned(), ..Inputs::default() };
    let paths = ["/about", "/About", "/about.html", "/about/", "/x.html/y", "/x", "/z.html", "/z.html/y", "/about"];
    let names = || {
        let mut names = Names::new(false);
        paths.map(|path| names.claim(path, &html, &plain(path)))
    };
    let claimed = names();
    let digest = |n: usize| claimed[n].starts_with("_/");
    assert_eq!(claimed[0], "about.html");
    assert!(digest(1) && digest(2) && digest(8), "{claimed:?}");
    assert_eq!((&*claimed[3], &*claimed[4]), ("about/index.html", "x.html/y.html"));
    assert!(digest(5), "a folder has its name: {claimed:?}");
    assert_eq!(claimed[6], "z.html");
    assert!(digest(7), "a file is where its folder would be: {claimed:?}");
    let mut folded = claimed.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), paths.len());
    assert_eq!(names(), claimed);
}

#[test]
fn a_plain_name_is_given_where_it_is_safe() {
    for (file, plain) in [
        ("posts/sticks%20%26%20stones.html", Some("posts/sticks & stones.html")),
        ("gr%C3%B6%C3%9Fe.html", Some("größe.html")),
        ("100%25.html", Some("100%.html")),
        ("about.html", None),
        ("100%.html", None),
        ("%FF.html", None),
        ("a%3Ab.html", None),
        ("a%20/x.html", None),
        ("%63on.html", None),
        ("a%2Fb.html", None),
        ("%2e%2e/x", None),
    ] {
        assert_eq!(plain_name(file).as_deref(), plain, "{file}");
    }
}
