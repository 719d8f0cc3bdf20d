//! All words there are, and where each of them comes about.

use std::collections::BTreeSet;

use axum_isr::stats::Reason;

use crate::{bypassed, failed, passed, regenerated, served, stored};

/// Dashboards, alerts and log searches are written with them: whoever changes one breaks those.
const WORDS: [(&str, &[&str]); 7] = [
    ("hit", &["fresh"]),
    ("stale", &["age", "invalidated", "unverified"]),
    ("miss", &["cold", "damaged", "development", "expired", "invalidated", "store-failed", "unknown"]),
    (
        "bypass",
        &[
            "body",
            "dynamic",
            "header-value",
            "host-value",
            "inner",
            "invalid-config",
            "key-too-long",
            "method",
            "nest-parameters",
            "no-config",
            "no-runtime",
            "path",
            "precondition",
            "range",
            "recursion",
            "share",
            "shutdown",
            "too-many-inputs",
            "upgrade",
        ],
    ),
    (
        "pass",
        &[
            "abandoned",
            "broken",
            "cache-control",
            "capture",
            "clear-site-data",
            "content-range",
            "content-type",
            "dynamic",
            "head",
            "needs-visitor",
            "no-store",
            "nonce",
            "overtaken",
            "rewritten",
            "set-cookie",
            "status",
            "tags",
            "too-large",
            "trailers",
            "vary",
            "waiters",
        ],
    ),
    ("failed", &["broken", "panicked", "status", "timed-out"]),
    // Besides those of what failed, and of what is not shared any more.
    ("regeneration", &["abandoned", "elsewhere", "found", "ok", "unchanged"]),
];

/// What cannot be had through a layer, and why.
const EXEMPT: [(&str, &str, &str); 1] =
    [("bypass", "inner", "the layer that has decided before has told of it: this one tells nothing")];

/// The words of an enum: its `as_str` is a table, which has a line for every variant.
fn words(source: &str, of: &str) -> Vec<String> {
    let body = source.split_once(&format!("\nimpl {of} {{")).unwrap().1;
    let table = body.split_once("fn as_str(self)").unwrap().1.split_once("\n    }\n").unwrap().0;
    let lines = table.lines().filter_map(|line| line.trim().strip_prefix("Self::"));
    lines.filter_map(|line| Some(line.split_once(" => \"")?.1.split_once('"')?.0.to_owned())).collect()
}

/// What is in the tables of the crate, by state.
fn tables() -> Vec<(&'static str, Vec<String>)> {
    let reason = include_str!("../../src/policy/reason.rs");
    let mut tables = vec![
        ("hit", vec![Reason::Hit.reason().to_owned()]),
        ("stale", words(reason, "Stale")),
        ("miss", words(reason, "Miss")),
        ("bypass", words(include_str!("../../src/policy/request.rs"), "Bypass")),
        ("pass", words(include_str!("../../src/policy/response.rs"), "Pass")),
        ("failed", words(reason, "Failed")),
        ("regeneration", words(reason, "Regenerated")),
    ];
    for (_, words) in &mut tables {
        words.sort_unstable();
    }
    tables
}

#[test]
fn the_words_stay_what_they_are() {
    assert_eq!(tables(), WORDS.map(|(state, words)| (state, words.iter().copied().map(str::to_owned).collect())));
}

#[test]
fn every_reason_is_a_row() {
    let pair = |reason: &Reason| (reason.state().to_owned(), reason.reason().to_owned());
    let rows = [served::rows(), stored::rows(), bypassed::rows(), passed::rows(), failed::rows()];
    let mut told: BTreeSet<_> = rows.iter().flatten().map(|row| pair(&row.reason)).collect();
    told.extend(regenerated::reasons().iter().map(pair));
    for (state, reason, why) in EXEMPT {
        assert!(told.insert((state.to_owned(), reason.to_owned())), "{state} {reason} is a row, though {why}");
    }
    let failures = tables().into_iter().filter(|(state, _)| *state == "failed");
    let failures = failures.map(|(_, words)| ("regeneration", words));
    let all = tables()
        .into_iter()
        .chain(failures)
        .flat_map(|(state, words)| words.into_iter().map(move |word| (state.to_owned(), word)));
    let missing: Vec<_> = all.filter(|pair| !told.contains(pair)).collect();
    assert!(missing.is_empty(), "no test tells of {missing:?}");
}
