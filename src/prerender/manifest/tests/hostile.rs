use std::time::{Duration, UNIX_EPOCH};

use super::super::MAX_MANIFEST_BYTES;
use super::*;
use crate::policy::freshness::Revalidate;

const GOOD: &str = r#"{"route":"/good","status":"rendered","revalidate":60,"tags":["t"]}"#;

/// CASES 147: a manifest that is none is refused whole, with a sentence, and nothing of it is used.
#[test]
fn what_is_no_manifest_is_refused_whole() {
    let deep = "[".repeat(1_000_000);
    for (json, said) in [
        (&b""[..], "EOF"),
        (b" \n", "EOF"),
        (b"\xEF\xBB\xBF{\"routes\":[]}", "expected value"),
        (b"\xFF\xFE{\0}\0", "UTF-8"),
        (b"{\"routes\":[],\"buildId\":\"\xC3\x28\"}", "UTF-8, got something else after 24 bytes"),
        (b"null", "an object with `routes`"),
        (b"[]", "an object with `routes`"),
        (b"\"routes\"", "an object with `routes`"),
        (b"1e999", "number out of range"),
        (b"{}", "missing field `routes`"),
        (b"{\"routes\":null}", "a list of routes"),
        (b"{\"routes\":{}}", "a list of routes"),
        (b"{\"routes\":\"/\"}", "a list of routes"),
        (b"{\"routes\":[]", "EOF"),
        (b"{\"routes\":[{]}", "key must be a string"),
        (b"{\"routes\":[{\"route\":\"/\"},]}", "trailing comma"),
        (b"{\"routes\":[NaN]}", "expected value"),
        (b"{\"routes\":[]} {}", "trailing characters"),
        (b"{\"routes\":[]}\0", "trailing characters"),
        (b"{\"routes\":[],\"routes\":[]}", "duplicate field `routes`"),
        (b"{\"buildId\":\"a\",\"buildId\":\"b\",\"routes\":[]}", "duplicate field `buildId`"),
        (b"{\"buildId\":5,\"routes\":[]}", "expected a string"),
        (b"{\"buildId\":\"\\ud800\",\"routes\":[]}", "hex escape"),
        (b"{\"trailingSlash\":\"yes\",\"routes\":[]}", "expected a boolean"),
        (b"{\"builtAt\":-1,\"routes\":[]}", "expected u64"),
        (b"{\"builtAt\":1e999,\"routes\":[]}", "number out of range"),
        (
            b"{\"builtAt\":1763785687000,\"routes\":[]}",
            "`builtAt` in seconds since 1970, got 1763785687000, which is after",
        ),
        (b"{\"routes\":[],\"builtAt\":7289654400}", "after the year 2200; milliseconds?"),
        (b"{\"builtAt\":18446744073709551615,\"routes\":[]}", "after the year 2200"),
        (b"{\"scope\":[],\"routes\":[]}", "expected a string"),
        (deep.as_bytes(), "an object with `routes`"),
    ] {
        let refused = Manifest::read(json).unwrap_err().to_string();
        assert!(refused.starts_with("expected a manifest of prerendered pages: "), "{refused}");
        assert!(refused.contains(said), "{refused:?} of {:?}", String::from_utf8_lossy(&json[..json.len().min(60)]));
    }
}

#[test]
fn a_time_until_the_year_2200_is_one() {
    for (written, expected) in [("null", None), ("0", Some(0)), ("7289654399", Some(7_289_654_399))] {
        let manifest = Manifest::read(format!(r#"{{"builtAt":{written},"routes":[]}}"#).as_bytes()).unwrap();
        assert_eq!(manifest.built_at(), expected.map(|secs| UNIX_EPOCH + Duration::from_secs(secs)));
    }
}

/// CASES 147: a row that cannot be used is ignored with a reason, and those before and after it are used.
#[test]
fn a_bad_row_spoils_no_other() {
    let with = |field: &str| format!(r#"{{"route":"/bad","status":"rendered",{field}}}"#);
    let path = |path: &str| with(&format!(r#""path":"{path}""#));
    let file = |file: &str| with(&format!(r#""file":"{file}""#));
    let tags = |count| with(&format!(r#""tags":[{}]"#, vec![r#""t""#; count].join(",")));
    let many = (0..65).map(|n| format!(r#""x-{n}":"1""#)).collect::<Vec<_>>().join(",");
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let rows = [
        ("null".to_owned(), Reason::Shape),
        ("5".to_owned(), Reason::Shape),
        ("1e999".to_owned(), Reason::Shape),
        ("\"/bad\"".to_owned(), Reason::Shape),
        ("true".to_owned(), Reason::Shape),
        ("{}".to_owned(), Reason::NotRendered),
        (deep.clone(), Reason::Shape),
        (with(&format!(r#""path":{deep}"#)), Reason::Shape),
        (with(r#""path":5"#), Reason::Shape),
        (with(r#""path":"/\ud800""#), Reason::Shape),
        (with(r#""status":"rendered""#), Reason::Shape),
        (with(r#""tags":"t""#), Reason::Shape),
        (with(r#""tags":{}"#), Reason::Shape),
        (with(r#""tags":[5]"#), Reason::Shape),
        (with(r#""headers":[]"#), Reason::Shape),
        (with(r#""headers":{"a":5}"#), Reason::Shape),
        (with(r#""headers":{"a":["b",null]}"#), Reason::Shape),
        (with(r#""revalidate":"60""#), Reason::Shape),
        (with(r#""revalidate":1e999"#), Reason::Shape),
        (with(r#""expire":[]"#), Reason::Shape),
        (with(r#""responseStatus":65536"#), Reason::Shape),
        (with(r#""responseStatus":"200""#), Reason::Shape),
        (with(r#""fallback":"no""#), Reason::Shape),
        (with(r#""bytes":-1"#), Reason::Shape),
        (with(r#""bytes":1e30"#), Reason::Shape),
        (with(r#""inputs":5"#), Reason::Shape),
        (with(r#""inputs":{"query":5}"#), Reason::Shape),
        (r#"{"route":"/bad","status":"skipped"}"#.to_owned(), Reason::NotRendered),
        (r#"{"route":"/bad","status":"error","error":"boom"}"#.to_owned(), Reason::NotRendered),
        (r#"{"route":"/bad","status":"Rendered"}"#.to_owned(), Reason::NotRendered),
        (with(r#""router":"nuxt""#), Reason::Router),
        (with(r#""fallback":true"#), Reason::Fallback),
        (with(r#""rewrite":"/x""#), Reason::Rewrite),
        (with(r#""router":"pages","redirectProps":{"to":"/x"}"#), Reason::Redirect),
        (with(r#""router":"pages","redirectProps":{},"responseStatus":200"#), Reason::Redirect),
        (with(r#""redirectProps":"/x","responseStatus":400"#), Reason::Redirect),
        (with(r#""path":"/bad/[slug]","router":"pages""#), Reason::Fallback),
        (with(r#""path":"/bad/[...slug]","router":"app""#), Reason::Fallback),
        (with(r#""path":"/bad/x]""#), Reason::Fallback),
        (r#"{"status":"rendered"}"#.to_owned(), Reason::NoPath),
        (r#"{"route":"/bad/:x","status":"rendered"}"#.to_owned(), Reason::NoPath),
        (r#"{"route":"/bad/[x]","status":"rendered"}"#.to_owned(), Reason::NoPath),
        (r#"{"route":"/bad/{*x}","status":"rendered"}"#.to_owned(), Reason::NoPath),
        (r#"{"route":"/bad/*","status":"rendered"}"#.to_owned(), Reason::NoPath),
        (path(""), Reason::Path),
        (path("bad"), Reason::Path),
        (path("https://elsewhere.example/"), Reason::Path),
        (path("/bad\\u0000"), Reason::Path),
        (path("/bad\\u001b[2J"), Reason::Path),
        (path("/bad?x"), Reason::Path),
        (path("/bad#x"), Reason::Path),
        (path(&format!("/{}", "x/".repeat(600))), Reason::Path),
        (path("/../bad"), Reason::File),
        (path("//elsewhere.example"), Reason::File),
        (path("/bad//x"), Reason::File),
        (path("/%2e%2e/bad"), Reason::File),
        (path("/bad%2f..%2f..%2fx"), Reason::File),
        (path("/%252e%252e/bad"), Reason::File),
        (path("/bad%00"), Reason::File),
        (path("/C:/bad"), Reason::File),
        (path("/\\\\\\\\server\\\\share"), Reason::File),
        (path("/nul/bad"), Reason::File),
        (path(&format!("/{}", "x".repeat(300))), Reason::File),
        (file("/etc/passwd"), Reason::File),
        (file("../../etc/passwd"), Reason::File),
        (file(""), Reason::File),
        (file("C:\\\\bad"), Reason::File),
        (file("a\\u0000.html"), Reason::File),
        (with(r#""revalidate":0"#), Reason::Revalidate),
        (with(r#""revalidate":-0"#), Reason::Revalidate),
        (with(r#""revalidate":-0.0"#), Reason::Revalidate),
        (with(r#""revalidate":1e-300"#), Reason::Revalidate),
        (with(r#""revalidate":-1"#), Reason::Revalidate),
        (with(r#""revalidate":-9223372036854775809"#), Reason::Revalidate),
        (with(r#""revalidate":true"#), Reason::Revalidate),
        (with(r#""revalidate":null"#), Reason::Revalidate),
        (with(r#""revalidate":60,"expire":59.5"#), Reason::Expire),
        (with(r#""expire":0"#), Reason::Expire),
        (with(r#""expire":-5"#), Reason::Expire),
        (with(r#""expire":false"#), Reason::Expire),
        (with(r#""responseStatus":99"#), Reason::Status),
        (with(r#""responseStatus":1000"#), Reason::Status),
        (with(r#""tags":["fine",""]"#), Reason::Tags),
        (with(&format!(r#""tags":["{}"]"#, "x".repeat(257))), Reason::Tags),
        (tags(129), Reason::Tags),
        (with(r#""headers":{"a b":"c"}"#), Reason::Headers),
        (with(r#""headers":{"a":"c\r\nset-cookie: x"}"#), Reason::Headers),
        (with(r#""headers":{"":"c"}"#), Reason::Headers),
        (with(&format!(r#""headers":{{{many}}}"#)), Reason::Headers),
        (with(r#""sha256":"abc""#), Reason::Digest),
        (with(&format!(r#""sha256":"{}""#, "zz".repeat(32))), Reason::Digest),
        (with(&format!(r#""sha256":"{}0""#, "00".repeat(32))), Reason::Digest),
        (with(&format!(r#""inputs":{{"query":"{}"}}"#, "x".repeat(1_025))), Reason::Inputs),
        (with(r#""inputs":{"headers":{"a":["1","2"]}}"#), Reason::Inputs),
        (GOOD.to_owned(), Reason::Duplicate),
    ];
    for (row, expected) in rows {
        let manifest = manifest(&format!(r#"{GOOD},{row},{{"route":"/after","status":"rendered"}}"#));
        let shown = row.chars().take(80).collect::<String>();
        assert_eq!(reason(&manifest), Some(expected), "{shown}: {:?}", manifest.ignored().first());
        assert_eq!(manifest.ignored().count(expected), 1);
        let told = &manifest.ignored().first()[0];
        assert!(!told.detail.is_empty() && told.detail.len() < 220 && told.page.len() < 220, "{shown}: {told:?}");
        assert!(!told.page.contains(char::is_control) && !told.detail.contains(char::is_control), "{told:?}");
        for page in ["/good", "/after"] {
            assert!(manifest.find(&super::path(page)).is_some(), "{shown}: {page}");
        }
        assert_eq!(manifest.records().count(), 2);
    }
}

/// What is unusual but meant is understood.
#[test]
fn unusual_rows_are_used() {
    let with = |field: &str| format!(r#"{{"route":"/x","status":"rendered",{field}}}"#);
    let life = |secs: f64| Revalidate::After(Duration::from_secs_f64(secs));
    let longest = Revalidate::After(Duration::from_secs(u64::MAX));
    for (row, revalidate, status) in [
        (with(r#""revalidate":false"#), Revalidate::Never, 200),
        (with(r#""revalidate":0.25"#), life(0.25), 200),
        (with(r#""revalidate":0.1,"expire":null"#), Revalidate::After(Duration::from_millis(100)), 200),
        (with(r#""revalidate":6e1"#), life(60.0), 200),
        (with(r#""revalidate":1e30"#), longest, 200),
        (with(r#""revalidate":18446744073709551616"#), longest, 200),
        (with(r#""revalidate":18446744073709551615,"expire":1e99"#), longest, 200),
        (with(r#""notFound":true,"responseStatus":200"#), Revalidate::Never, 404),
        (with(r#""responseStatus":999,"router":"pages","fallback":false,"rewrite":null"#), Revalidate::Never, 999),
        (with(r#""path":null,"tags":null,"headers":null,"inputs":null,"locale":"de""#), Revalidate::Never, 200),
        (with(r#""a":1,"a":2,"lone":"\ud800","unknown":{"deep":[[[[]]]],"n":1e999}"#), Revalidate::Never, 200),
        (with(r#""bytes":18446744073709551615"#), Revalidate::Never, 200),
        (with(r#""router":"pages","redirectProps":{"to":"/y"},"responseStatus":307"#), Revalidate::Never, 307),
        (with(r#""router":"pages","redirectProps":null"#), Revalidate::Never, 200),
    ] {
        let manifest = manifest(&row);
        let record = manifest.records().next();
        let Some(record) = record else { panic!("{row}: {:?}", manifest.ignored().first()) };
        assert_eq!((record.revalidate, record.status.as_u16()), (revalidate, status), "{row}");
        assert_eq!(manifest.find(&path("/x")), Some(record));
    }
    let errors = manifest(r#"{"route":"/500","status":"rendered"},{"route":"/_error","status":"rendered"}"#);
    assert!(errors.records().all(|record| record.status == 500));
}

/// A tool that says which of its pages are fallbacks may have brackets in the paths of others; our own may always.
#[test]
fn a_page_with_brackets_in_its_path_is_used_where_it_is_known_to_be_one() {
    for (row, pattern) in [
        (r#"{"route":"/:x","path":"/[x]","status":"rendered","router":"pages","fallback":false}"#, "/{*rest}"),
        (r#"{"route":"/{x}","path":"/[x]","status":"rendered","router":"axum","file":"x.html","inputs":{}}"#, "/{x}"),
    ] {
        let manifest = manifest(row);
        assert_eq!((manifest.len(), manifest.ignored().len()), (1, 0), "{row}");
        assert!(manifest.find(&Parts { pattern, ..path("/[x]") }).is_some(), "{row}");
    }
    let escaped = manifest(r#"{"route":"/:x","path":"/%5Bx%5D","status":"rendered","router":"pages"}"#);
    assert!(escaped.find(&path("/%5Bx%5D")).is_some());
}

/// CASES 147: sizes and counts are bounded before anything is made of them.
#[test]
fn a_manifest_that_is_too_large_is_refused() {
    let large = vec![b' '; MAX_MANIFEST_BYTES + 1];
    let refused = Manifest::read(&large).unwrap_err().to_string();
    assert!(refused.contains("at most 268435456 bytes, got 268435457"), "{refused}");
    drop(large);

    let many = |rows: usize| format!(r#"{{"routes":[{}{{}}]}}"#, "{},".repeat(rows - 1));
    let most = Manifest::read(many(1_000_000).as_bytes()).unwrap();
    assert_eq!((most.len(), most.ignored().len(), most.ignored().first().len()), (0, 1_000_000, 1_000));
    assert!(most.heap_bytes() < 1 << 20);
    let refused = Manifest::read(many(1_000_001).as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("at most 1000000 routes, got more"), "{refused}");
}

/// R41: a million rows of one page are compared with the one that is kept, not with each other.
#[test]
fn many_rows_of_one_page_are_one_page() {
    let rows = vec![GOOD; 20_000].join(",");
    let manifest = manifest(&rows);
    assert_eq!((manifest.len(), manifest.ignored().count(Reason::Duplicate)), (1, 19_999));
}

/// CASES 147: a row with much in it is ignored before much is made of it, and so is a value that only an error repeats.
#[test]
fn what_is_made_of_a_manifest_is_not_much_more_than_its_bytes() {
    let list = |item: &str, count: usize| vec![item; count].join(",");
    let row = |field: &str| format!(r#"{{"route":"/bad","status":"rendered",{field}}}"#);
    let rows = |row: &str| format!(r#"{{"routes":[{GOOD},{row}]}}"#);
    // An error shows each of them as six characters.
    let shown = "\u{7f}".repeat(4_000_000);
    let most = 300_000;
    for (json, ignored) in [
        (rows(&row(&format!(r#""tags":[{}]"#, list(r#""""#, most)))), Some(Reason::Tags)),
        (rows(&row(&format!(r#""headers":{{"a":[{}]}}"#, list(r#""""#, most)))), Some(Reason::Headers)),
        (rows(&row(&format!(r#""headers":{{{}}}"#, list(r#""a":"""#, most / 3)))), Some(Reason::Headers)),
        (rows(&row(&format!(r#""inputs":{{"cookies":{{{}}}}}"#, list(r#""a":"""#, most / 3)))), Some(Reason::Inputs)),
        (rows(&row(&format!(r#""tags":[{}]"#, list(r#""""#, 4_000_000)))), Some(Reason::Shape)),
        (rows(&row(&format!(r#""fallback":"{shown}""#))), Some(Reason::Shape)),
        (rows(&row(&format!(r#""router":"{shown}""#))), Some(Reason::Shape)),
        (rows(&format!(r#""{shown}""#)), Some(Reason::Shape)),
        (format!(r#"{{"routes":"{shown}"}}"#), None),
        (format!(r#"{{"trailingSlash":"{shown}","routes":[]}}"#), None),
        (format!(r#"{{"buildId":"{shown}","routes":[]}}"#), None),
        (format!(r#""{shown}""#), None),
    ] {
        let mut read = None;
        let counted = allocation_counter::measure(|| read = Some(Manifest::read(json.as_bytes())));
        let start = &json[..json.len().min(150)];
        assert!(counted.bytes_max <= 100_000, "{} bytes of {}: {start}", counted.bytes_max, json.len());
        match (read.unwrap(), ignored) {
            (Ok(manifest), Some(expected)) => {
                assert_eq!((reason(&manifest), manifest.len()), (Some(expected), 1), "{start}");
            }
            (Err(refused), None) => assert!(refused.to_string().len() < 300, "{refused}"),
            (other, _) => panic!("{other:?}: {start}"),
        }
    }
}
