use super::*;
use crate::prerender::Record;

fn rendered(path: &str) -> String {
    format!(r#"{{"route":"{path}","path":"{path}","status":"rendered","router":"app","tags":["t"]}}"#)
}

fn file(record: Option<Record>) -> Option<String> {
    record.map(|record| record.file)
}

/// Pages of other tools are found by their path, however it is spelled.
#[test]
fn spellings_of_one_path_find_one_record() {
    let manifest = manifest(&["/", "/a%20b", "/ü", "/c%2cd"].map(rendered).join(","));
    for (asked, found) in [
        ("/", Some("index.html")),
        ("/a%20b", Some("a%20b.html")),
        ("/%61%20b", Some("a%20b.html")),
        ("/a%20b/", None),
        ("/%c3%bc", Some("ü.html")),
        ("/c,d", Some("c%2cd.html")),
        ("/A%20b", None),
        ("//", None),
        ("/a%2520b", None),
        ("/index", None),
        ("/index.html", None),
        ("", None),
    ] {
        assert_eq!(file(manifest.find(&path(asked))).as_deref(), found, "{asked}");
    }
}

#[test]
fn a_slash_at_the_end_matches_only_where_the_manifest_says_so() {
    let rows = ["/", "/a", "/b/"].map(rendered).join(",");
    // The setting may follow the rows.
    let slash = Manifest::read(format!(r#"{{"routes":[{rows}],"trailingSlash":true}}"#).as_bytes()).unwrap();
    let plain = manifest(&rows);
    for (asked, with, without) in [
        ("/", Some("index.html"), Some("index.html")),
        ("/a", Some("a/index.html"), Some("a.html")),
        ("/a/", Some("a/index.html"), None),
        ("/b", Some("b/index.html"), Some("b.html")),
        ("/b/", Some("b/index.html"), None),
        ("/a//", None, None),
        ("//", None, None),
    ] {
        assert_eq!(file(slash.find(&path(asked))).as_deref(), with, "{asked}");
        assert_eq!(file(plain.find(&path(asked))).as_deref(), without, "{asked}");
    }
}

/// R42: wherever paths end, vinext writes `404.html`.
#[test]
fn the_page_for_what_is_not_there_has_one_file_wherever_paths_end() {
    let own =
        r#"{"route":"/404","path":"/404","status":"rendered","router":"axum","file":"404/index.html","inputs":{}}"#;
    for slash in [false, true] {
        for router in ["app", "pages"] {
            let row = format!(r#"{{"route":"/404","status":"rendered","router":"{router}"}}"#);
            let json = format!(r#"{{"trailingSlash":{slash},"routes":[{row},{own}]}}"#);
            let manifest = Manifest::read(json.as_bytes()).unwrap();
            let found = manifest.find(&path("/404")).unwrap();
            assert_eq!((&*found.file, found.status.as_u16()), ("404.html", 404), "{router} {slash}");
            let own = manifest.find(&Parts { pattern: "/404", ..path("/404") });
            assert_eq!(file(own).as_deref(), Some("404/index.html"));
        }
    }
    let slash = Manifest::read(format!(r#"{{"trailingSlash":true,"routes":[{}]}}"#, rendered("/a/404")).as_bytes());
    assert_eq!(file(slash.unwrap().find(&path("/a/404"))).as_deref(), Some("a/404/index.html"));
}

/// A key with more in it than a path is not that of a page which another tool rendered.
#[test]
fn other_inputs_than_the_path_find_no_record_of_another_tool() {
    let manifest = manifest(&rendered("/docs/a"));
    let plain = || path("/docs/a");
    assert!(manifest.find(&plain()).is_some());
    for parts in [
        Parts { query: "a=1", ..plain() },
        Parts { host: "a.example", ..plain() },
        Parts { namespace: "n", ..plain() },
        Parts { cookies: vec![("theme", "dark")], ..plain() },
        Parts { headers: vec![("accept-language", "de")], ..plain() },
        Parts { headers: vec![("accept", "text/html")], ..plain() },
        Parts { headers: vec![("accept", "text/x-component"), ("rsc", "1")], ..plain() },
        Parts { inner: "/docs/b", ..plain() },
        Parts { inner: "/docs/b", nest: "/docs", ..plain() },
    ] {
        assert!(manifest.find(&parts).is_none(), "{parts:?}");
    }
    assert!(manifest.find(&Parts { inner: "/a", nest: "/docs", ..plain() }).is_some());
}

/// R40: the data of a page beside it, by header or by path.
#[test]
fn the_data_of_a_page_is_found_beside_it() {
    let other = |path: &str, router: &str| {
        format!(
            r#"{{"route":"{path}","status":"rendered","router":"{router}","revalidate":5,"responseStatus":203,"bytes":7}}"#
        )
    };
    let rows = [rendered("/"), rendered("/a%20b"), other("/x", "app"), other("/old", "pages"), rendered("/plain.rsc")];
    let manifest = manifest(&[rows.join(","), other("/map.xml", "metadata")].join(","));
    let by_header = |path: &'static str, header| Parts { headers: vec![header], ..super::path(path) };
    for (parts, found) in [
        (by_header("/", ("rsc", "1")), Some("index.rsc")),
        (by_header("/a%20b", ("accept", "text/x-component")), Some("a%20b.rsc")),
        (by_header("/x", ("rsc", "1")), Some("x.rsc")),
        (by_header("/x", ("rsc", "0")), None),
        (by_header("/old", ("rsc", "1")), None),
        (by_header("/map.xml", ("rsc", "1")), None),
        (path("/index.rsc"), Some("index.rsc")),
        (path("/%61%20b.rsc"), Some("a%20b.rsc")),
        (path("/.rsc"), None),
        (path("/none.rsc"), None),
        (path("/plain.rsc.rsc"), Some("plain.rsc.rsc")),
        (path("/map.xml.rsc"), None),
    ] {
        let record = manifest.find(&parts);
        if let Some(record) = &record {
            assert_eq!(record.headers["content-type"], "text/x-component");
            assert_eq!((record.headers.len(), record.bytes), (1, None));
        }
        assert_eq!(file(record).as_deref(), found, "{parts:?}");
    }
    let [page, data] = [path("/x"), path("/x.rsc")].map(|parts| manifest.find(&parts).unwrap());
    assert_eq!((page.bytes, page.status.as_u16(), data.status), (Some(7), 203, page.status));
    assert_eq!(data.revalidate, page.revalidate);
    assert_eq!(file(manifest.find(&path("/plain.rsc"))).as_deref(), Some("plain.rsc.html"));
    let map = manifest.find(&path("/map.xml")).unwrap();
    assert_eq!((&*map.file, &map.headers["content-type"]), ("map.xml.route", &"application/xml".parse().unwrap()));
}

/// R39: our own records are found by the whole key that they were rendered for, and by nothing else.
#[test]
fn our_own_records_are_found_by_all_of_their_key() {
    let manifest = manifest(
        r#"{"route":"/{p}","path":"/a","status":"rendered","router":"axum","file":"a.html","inputs":{}},
           {"route":"/{p}","path":"/a","status":"rendered","router":"axum","file":"b.html","inputs":{"query":"q=1"}},
           {"route":"/n/{p}","path":"/n/a","status":"rendered","router":"axum","file":"c.html",
            "inputs":{"namespace":"n","nest":"/n","inner":"/a","host":"h","headers":{"b":"2","a":"1"},"cookies":{"c":"3"}}}"#,
    );
    assert_eq!((manifest.len(), manifest.ignored().len()), (3, 0));
    let a = || Parts { pattern: "/{p}", ..path("/a") };
    let n = || Parts {
        namespace: "n",
        pattern: "/n/{p}",
        nest: "/n",
        path: "/n/a",
        inner: "/a",
        query: "",
        host: "h",
        headers: vec![("a", "1"), ("b", "2")],
        cookies: vec![("c", "3")],
    };
    for (parts, found) in [
        (a(), Some("a.html")),
        (Parts { query: "q=1", ..a() }, Some("b.html")),
        (Parts { query: "q=2", ..a() }, None),
        (Parts { pattern: "/a", ..a() }, None),
        (Parts { path: "/%61", inner: "/%61", ..a() }, None),
        (Parts { headers: vec![("rsc", "1")], ..a() }, None),
        (n(), Some("c.html")),
        (Parts { namespace: "", ..n() }, None),
        (Parts { nest: "", ..n() }, None),
        (Parts { inner: "/n/a", ..n() }, None),
        (Parts { host: "", ..n() }, None),
        (Parts { headers: vec![("a", "1")], ..n() }, None),
        (Parts { cookies: vec![("c", "4")], ..n() }, None),
    ] {
        assert_eq!(file(manifest.find(&parts)).as_deref(), found, "{parts:?}");
    }
}

#[test]
fn the_first_of_two_rows_of_one_page_is_used() {
    let manifest = manifest(
        r#"{"route":"/a","status":"rendered","file":"one.html"},
           {"route":"/%61","status":"rendered","file":"two.html"},
           {"route":"/a","path":"/a","status":"rendered","file":"three.html","inputs":{}},
           {"route":"/b","path":"/a","status":"rendered","file":"four.html","inputs":{}},
           {"route":"/a","path":"/a","status":"rendered","file":"five.html","inputs":{"inner":"/a"}}"#,
    );
    let files = manifest.records().map(|record| record.file).collect::<Vec<_>>();
    assert_eq!(files, ["one.html", "three.html", "four.html"]);
    assert_eq!((reason(&manifest), manifest.ignored().len()), (Some(Reason::Duplicate), 2));
    assert_eq!(file(manifest.find(&path("/a"))).as_deref(), Some("one.html"));
    assert_eq!(file(manifest.find(&Parts { pattern: "/a", ..path("/a") })).as_deref(), Some("three.html"));
}

/// R42: what another tool kept with a page about its own cache is not a word about ours.
#[test]
fn headers_of_another_tools_cache_are_dropped() {
    let dropped = [
        ("Cache-Control", "s-maxage=60, stale-while-revalidate"),
        ("CDN-Cache-Control", "public, max-age=60"),
        ("cloudflare-cdn-cache-control", "no-store"),
        ("X-Vinext-Cache", "MISS"),
        ("x-nextjs-cache", "HIT"),
        ("cf-cache-status", "DYNAMIC"),
        ("age", "5"),
        ("date", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("content-length", "7"),
    ];
    let kept = [
        ("content-type", "text/plain"),
        ("etag", "\"a\""),
        ("vary", "RSC"),
        ("set-cookie", "a=b"),
        ("expires", "0"),
        ("link", "</a.css>; rel=preload"),
    ];
    let lines = dropped.iter().chain(&kept).map(|(name, value)| format!("{name:?}:{value:?}")).collect::<Vec<_>>();
    let lines = lines.join(",");
    let manifest = manifest(&format!(
        r#"{{"route":"/a","status":"rendered","router":"app","headers":{{{lines}}}}},
           {{"route":"/b","status":"rendered","headers":{{"cache-control":["a","b"]}}}},
           {{"route":"/c","path":"/c","status":"rendered","router":"axum","file":"c","headers":{{{lines}}},"inputs":{{}}}}"#,
    ));
    let other = manifest.find(&path("/a")).unwrap().headers;
    assert_eq!(other.len(), kept.len(), "{other:?}");
    for (name, value) in kept {
        assert_eq!(other[name], value);
    }
    assert_eq!(manifest.find(&path("/b")).unwrap().headers.len(), 1, "its content type");
    let own = manifest.find(&Parts { pattern: "/c", ..path("/c") }).unwrap().headers;
    assert_eq!(own.len(), dropped.len() + kept.len());
    for (name, value) in dropped.iter().chain(&kept) {
        assert_eq!(own[*name], value);
    }
}
