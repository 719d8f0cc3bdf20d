use std::time::Duration;

use super::*;
use crate::policy::freshness::Revalidate;

const VINEXT: &[u8] = include_bytes!("../../../../tests/fixtures/vinext/vinext-prerender.json");

/// R42: all that vinext wrote of a small site is understood.
#[test]
fn a_manifest_of_vinext_is_read_as_it_was_meant() {
    let manifest = Manifest::read(VINEXT).unwrap();
    assert_eq!((manifest.build_id(), manifest.scope(), manifest.built_at()), (Some("harbour-2026-11-21"), None, None));
    let never = (Revalidate::Never, None);
    let after = |secs| (Revalidate::After(Duration::from_secs(secs)), Some(Duration::from_secs(86_400)));
    let post = ["/posts/layout", "/posts/[slug]/layout", "/posts/[slug]/page"];
    let expected = [
        ("/", "/", 200, after(60), "index.html", "/", &["/index", "/layout", "/page"][..]),
        ("/about", "/about", 200, never, "about.html", "/about", &["/layout", "/about/layout", "/about/page"]),
        (
            "/forever",
            "/forever",
            200,
            never,
            "forever.html",
            "/forever",
            &["/layout", "/forever/layout", "/forever/page"],
        ),
        (
            "/nested/deep/er",
            "/nested/deep/er",
            200,
            after(3_600),
            "nested/deep/er.html",
            "/nested/deep/er",
            &["/layout", "/nested/layout", "/nested/deep/layout", "/nested/deep/er/layout", "/nested/deep/er/page"],
        ),
        ("/posts/:slug", "/posts/spring-tide", 200, after(300), "posts/spring-tide.html", "/posts/spring-tide", &post),
        ("/posts/:slug", "/posts/neap-tide", 200, after(300), "posts/neap-tide.html", "/posts/neap-tide", &post),
        (
            "/posts/:slug",
            "/posts/sticks%20%26%20stones",
            200,
            after(300),
            "posts/sticks%20%26%20stones.html",
            "/posts/sticks & stones",
            &post,
        ),
        (
            "/posts/:slug",
            "/posts/ebbe-und-flut-gr%C3%B6%C3%9Fe",
            200,
            after(300),
            "posts/ebbe-und-flut-gr%C3%B6%C3%9Fe.html",
            "/posts/ebbe-und-flut-gr%C3%B6%C3%9Fe",
            &post,
        ),
        ("/404", "/404", 404, never, "404.html", "", &[]),
    ];
    assert_eq!(manifest.len(), expected.len());
    for (record, (route, path, status, life, file, tag, implied)) in manifest.records().zip(expected) {
        let own = (!tag.is_empty()).then(|| [tag.to_owned(), format!("_N_T_{tag}")]);
        let layout = if path.starts_with("/posts/") { &["/layout"][..] } else { &[] };
        let implied = layout.iter().chain(implied).map(|tag| format!("_N_T_{tag}"));
        let tags = own.into_iter().flatten().chain(implied).collect::<Vec<_>>();
        assert_eq!((&*record.route, &*record.path, record.status.as_u16()), (route, path, status));
        assert_eq!((record.revalidate, record.expire), life, "{path}");
        assert_eq!(record.file, file);
        assert_eq!(record.tags.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>(), tags, "{path}");
        assert_eq!(record.headers.len(), 1);
        assert_eq!(record.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!((record.inputs.as_ref(), record.bytes, record.digest), (None, None, None));
        assert_eq!(manifest.find(&super::path(path)), Some(record));
    }
}

/// R40: what was not rendered is ignored, with what the manifest says of it.
#[test]
fn skipped_rows_of_vinext_are_ignored_with_their_reasons() {
    let manifest = Manifest::read(VINEXT).unwrap();
    let ignored = manifest.ignored();
    let rows = ignored.first().iter().map(|row| (&*row.page, row.reason, &*row.detail)).collect::<Vec<_>>();
    let expected = [("/api/data", Reason::NotRendered, "api"), ("/account", Reason::NotRendered, "dynamic")];
    assert_eq!((rows, ignored.len()), (expected.to_vec(), 2));
    assert!(manifest.find(&path("/account")).is_none());
}
