use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::super::{Head, Row, write};
use super::*;
use crate::policy::freshness::Revalidate;
use crate::policy::tag::Tag;
use crate::prerender::{Inputs, Record};

const HEAD: Head<'_> = Head { build_id: "b", scope: Some("s"), built_at: Some(1_700_000_000), trailing_slash: false };

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    btree_map("[a-z]{1,4}", "\\PC{0,4}", 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn inputs(path: String) -> impl Strategy<Value = (String, Inputs)> {
    let texts = ("[a-z]{0,3}", "(/[a-z]{1,3})?", option::of("/[a-z]{0,3}"), "([a-z]=[a-z%é\"]{0,3})?", "[a-z.]{0,5}");
    (texts, pairs(), pairs()).prop_map(move |((namespace, nest, inner, query, host), headers, cookies)| {
        let inner = inner.unwrap_or_else(|| path.clone());
        (path.clone(), Inputs { namespace, nest, inner, query, host, headers, cookies })
    })
}

fn life() -> impl Strategy<Value = (Revalidate, Option<Duration>)> {
    let micros = prop_oneof![1..10_000_000_u64, 1..4_000_000_000_000_000_u64];
    (option::of(micros), option::of(0..1_000_000_u64)).prop_map(|(fresh, more)| {
        let after = Duration::from_micros(fresh.unwrap_or(1));
        (
            fresh.map_or(Revalidate::Never, |_| Revalidate::After(after)),
            more.map(|more| after + Duration::from_secs(more)),
        )
    })
}

fn record() -> impl Strategy<Value = Record> {
    let page = "/[a-zé%\" /.]{0,12}".prop_flat_map(inputs);
    let lines = vec(("[a-z]{1,3}", "[ -~é]{0,6}"), 0..4);
    let tags = vec("\\PC{1,8}|_N_T_/[a-z]{1,2}", 0..5);
    let rest = (option::of(any::<u64>()), option::of(any::<[u8; 32]>()), 100..1_000_u16, any::<bool>());
    ("/[a-z{}*]{0,6}", page, "[a-z%20é]{1,6}(/[a-z]{1,3}){0,2}\\.html", life(), lines, tags, rest).prop_map(
        |(route, (path, inputs), file, (revalidate, expire), lines, tags, (bytes, digest, status, typed))| {
            let mut headers = HeaderMap::new();
            if typed {
                headers.append("content-type", HeaderValue::from_static("text/plain"));
            }
            for (name, value) in lines {
                let name: HeaderName = name.parse().unwrap();
                headers.append(name, value.parse().unwrap_or(HeaderValue::from_static("x")));
            }
            Record {
                route,
                path,
                inputs: Some(inputs),
                file,
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                revalidate,
                expire,
                tags: tags.into_iter().map(|tag| Tag::new(tag).unwrap()).collect(),
                bytes,
                digest,
            }
        },
    )
}

proptest! {
    /// R34: what was written is what is read, and found by the key that it was written for.
    #[test]
    fn reading_what_was_written_gives_the_records_back(records in vec(record(), 0..6)) {
        let rows = records.iter().cloned().map(Box::new).map(Row::Rendered).collect::<Vec<_>>();
        let json = write(&HEAD, &rows);
        let manifest = Manifest::read(&json).unwrap();
        prop_assert_eq!((manifest.build_id(), manifest.scope()), (Some("b"), Some("s")));
        prop_assert_eq!(manifest.built_at(), Some(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        let refused = manifest.ignored().first().iter().filter(|row| row.reason != Reason::Duplicate);
        let bad_file = refused.filter(|row| row.reason != Reason::File).collect::<Vec<_>>();
        prop_assert!(bad_file.is_empty(), "{bad_file:?}");
        for read in manifest.records() {
            prop_assert!(records.contains(&read), "{read:?}");
            let inputs = read.inputs.as_ref().unwrap();
            let borrow = |pairs: &'_ [(String, String)]| -> Vec<(&'static str, &'static str)> {
                pairs.iter().map(|(name, value)| (&*name.clone().leak(), &*value.clone().leak())).collect()
            };
            let parts = Parts {
                namespace: &inputs.namespace, pattern: &read.route, nest: &inputs.nest, path: &read.path,
                inner: &inputs.inner, query: &inputs.query, host: &inputs.host,
                headers: borrow(&inputs.headers), cookies: borrow(&inputs.cookies),
            };
            prop_assert_eq!(manifest.find(&parts), Some(read.clone()));
        }
        prop_assert_eq!(manifest.len() + manifest.ignored().len(), records.len());
        // The order of the rows does not matter.
        let reversed = rows.iter().rev().cloned().collect::<Vec<_>>();
        if manifest.ignored().count(Reason::Duplicate) == 0 {
            prop_assert_eq!(write(&HEAD, &reversed), json);
        }
    }
}

/// R34: byte for byte what a manifest of ours looks like.
#[test]
fn a_written_manifest_is_stable_and_has_the_names_of_vinext() {
    let record = |path: &str, query: &str| Record {
        route: "/{p}".to_owned(),
        path: path.to_owned(),
        inputs: Some(Inputs { inner: path.to_owned(), query: query.to_owned(), ..Inputs::default() }),
        file: "a.html".to_owned(),
        status: StatusCode::OK,
        headers: [("content-type", "text/html"), ("link", "<a>"), ("cache-tag", "x"), ("link", "<b>")]
            .into_iter()
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, HeaderValue::from_static(value));
                headers
            }),
        revalidate: Revalidate::After(Duration::from_millis(1_500)),
        expire: Some(Duration::from_secs(1)),
        tags: vec![Tag::new("t").unwrap()],
        bytes: Some(3),
        digest: None,
    };
    let latin = {
        let mut record = record("/latin", "");
        record.headers.insert("x-name", HeaderValue::from_bytes(b"\xfc").unwrap());
        record
    };
    let rows = [
        Row::Failed {
            route: "/z".to_owned(),
            path: None,
            status: Some(StatusCode::BAD_GATEWAY),
            error: "e".to_owned(),
        },
        Row::Rendered(Box::new(latin)),
        Row::Rendered(Box::new(record("/a", "q=1"))),
        Row::Skipped { route: "/{s}".to_owned(), path: Some("/b".to_owned()), reason: "dynamic".to_owned() },
        Row::Rendered(Box::new(Record { revalidate: Revalidate::Never, digest: Some([0xAB; 32]), ..record("/a", "") })),
    ];
    let json = write(&HEAD, &rows);
    let text = std::str::from_utf8(&json).unwrap();
    assert!(text.ends_with("}\n"));
    let compact = text.lines().map(str::trim).collect::<String>();
    let headers = r#""headers": {"cache-tag": "x","content-type": "text/html","link": ["<a>","<b>"]},"file": "a.html","bytes": 3"#;
    let expected = [
        r#"{"buildId": "b","trailingSlash": false,"scope": "s","builtAt": 1700000000,"routes": ["#.to_owned(),
        format!(
            r#"{{"route": "/{{p}}","path": "/a","status": "rendered","revalidate": false,"expire": 1,"responseStatus": 200,"router": "axum","tags": ["t"],{headers},"sha256": "{}","inputs": {{}}}},"#,
            "ab".repeat(32)
        ),
        format!(
            r#"{{"route": "/{{p}}","path": "/a","status": "rendered","revalidate": 1.5,"expire": 1.5,"responseStatus": 200,"router": "axum","tags": ["t"],{headers},"inputs": {{"query": "q=1"}}}},"#,
        ),
        r#"{"route": "/{s}","path": "/b","status": "skipped","reason": "dynamic"},"#.to_owned(),
        r#"{"route": "/{p}","path": "/latin","status": "skipped","reason": "a header that is not text"},"#.to_owned(),
        r#"{"route": "/z","status": "error","responseStatus": 502,"error": "e"}"#.to_owned(),
        "]}".to_owned(),
    ];
    assert_eq!(compact, expected.concat());
    let manifest = Manifest::read(&json).unwrap();
    assert_eq!((manifest.len(), reason(&manifest), manifest.ignored().len()), (2, Some(Reason::NotRendered), 3));
}
