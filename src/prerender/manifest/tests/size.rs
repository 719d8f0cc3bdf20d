use std::fmt::Write as _;

use super::*;

const ROUTES: usize = 100_000;

/// As vinext writes a site with many posts, one in ten of them with a page of its own.
fn large() -> String {
    let mut json = String::from(r#"{"buildId":"large","trailingSlash":false,"routes":["#);
    for n in 0..ROUTES {
        let (route, path, layouts) = if n % 10 == 0 {
            let path = format!("/pages/chapter-{}/of-the-tide-{n}", n / 1_000);
            (path.clone(), path.clone(), format!(r#""_N_T_{path}/layout","_N_T_{path}/page""#))
        } else {
            let layouts = r#""_N_T_/posts/layout","_N_T_/posts/[slug]/layout","_N_T_/posts/[slug]/page""#;
            ("/posts/:slug".to_owned(), format!("/posts/what-the-tide-left-{n}"), layouts.to_owned())
        };
        let comma = if n == 0 { "" } else { "," };
        write!(
            json,
            r#"{comma}{{"route":"{route}","status":"rendered","revalidate":300,"expire":86400,"router":"app","#,
        )
        .unwrap();
        write!(json, r#""tags":["{path}","_N_T_{path}","_N_T_/layout",{layouts}],"path":"{path}"}}"#).unwrap();
    }
    json.push_str("]}");
    json
}

/// R41: what is kept of a site's manifest is small, and reading it takes little more.
#[test]
fn a_route_takes_at_most_two_hundred_bytes() {
    let json = large();
    let mut manifest = None;
    let counted = allocation_counter::measure(|| manifest = Some(Manifest::read(json.as_bytes()).unwrap()));
    let manifest = manifest.unwrap();
    assert_eq!((manifest.len(), manifest.ignored().len()), (ROUTES, 0));
    let kept = usize::try_from(counted.bytes_current).unwrap();
    assert!(kept <= 200 * ROUTES, "{} bytes a route", kept / ROUTES);
    assert!(counted.bytes_max <= 2 * json.len() as u64, "{} of {} bytes", counted.bytes_max, json.len());
    // What it says of itself is what it takes.
    assert!(manifest.heap_bytes().abs_diff(kept) < 1_024, "{} of {kept}", manifest.heap_bytes());
    let found = manifest.find(&path("/posts/what-the-tide-left-99999")).unwrap();
    assert_eq!(found.tags.len(), 6);
}

/// R41: texts that no other row has cannot grow the table of those that many have.
#[test]
fn unique_texts_take_little_more_than_themselves() {
    const ROWS: usize = 20_000;
    let tags = |n: usize| (0..12).map(|k| format!("a{n}-{k}")).collect::<Vec<_>>();
    let row = |n| format!(r#"{{"route":"/x{n}","status":"rendered","tags":{:?}}}"#, tags(n));
    let json = format!(r#"{{"routes":[{}]}}"#, (0..ROWS).map(row).collect::<Vec<_>>().join(","));
    let mut manifest = None;
    let counted = allocation_counter::measure(|| manifest = Some(Manifest::read(json.as_bytes()).unwrap()));
    let manifest = manifest.unwrap();
    assert_eq!(manifest.len(), ROWS);
    let (kept, most) = (counted.bytes_current.unsigned_abs(), counted.bytes_max);
    assert!(kept <= 2 * json.len() as u64, "{kept} of {}", json.len());
    assert!(most <= 4 * json.len() as u64, "{most} of {}", json.len());
    for (n, record) in manifest.records().enumerate() {
        assert_eq!(record.tags.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>(), tags(n));
    }
}
