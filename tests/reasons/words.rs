//! All words there are, and where each of them comes about.

use std::collections::BTreeSet;

use axum_isr::stats::Reason;

use crate::{bypassed, failed, passed, regenerated, served, stored};

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

#[test]
fn every_reason_is_a_row() {
    let reason = include_str!("../../src/policy/reason.rs");
    let tables = [
        ("stale", words(reason, "Stale"), 3),
        ("miss", words(reason, "Miss"), 7),
        ("bypass", words(include_str!("../../src/policy/request.rs"), "Bypass"), 19),
        ("pass", words(include_str!("../../src/policy/response.rs"), "Pass"), 21),
        ("failed", words(reason, "Failed"), 4),
        // And those of what failed, and of what is not shared any more.
        ("regeneration", [words(reason, "Regenerated"), words(reason, "Failed")].concat(), 5 + 4),
    ];
    let mut all = BTreeSet::from([("hit".to_owned(), "fresh".to_owned())]);
    for (state, words, least) in tables {
        assert!(words.len() >= least, "{state}: {words:?}");
        let before = all.len();
        all.extend(words.iter().map(|word| (state.to_owned(), word.clone())));
        assert_eq!(all.len() - before, words.len(), "{state}: a word for two reasons: {words:?}");
    }
    let rows = [served::rows(), stored::rows(), bypassed::rows(), passed::rows(), failed::rows()];
    let mut told: Vec<Reason> = rows.iter().flatten().map(|row| row.reason).collect();
    told.extend(regenerated::reasons());
    let mut told: BTreeSet<_> = told.iter().map(|row| (row.state().to_owned(), row.reason().to_owned())).collect();
    for (state, reason, why) in EXEMPT {
        assert!(told.insert((state.to_owned(), reason.to_owned())), "{state} {reason} is a row, though {why}");
    }
    // What is refused or not shared any more has the words of passes.
    let missing: Vec<_> = all.difference(&told).collect();
    assert!(missing.is_empty(), "no test tells of {missing:?}");
    let passes: BTreeSet<_> = all.iter().filter(|(state, _)| state == "pass").map(|(_, word)| word.clone()).collect();
    let unknown: Vec<_> =
        told.difference(&all).filter(|(state, word)| !(state == "regeneration" && passes.contains(word))).collect();
    assert!(unknown.is_empty(), "words that are in no table: {unknown:?}");
}
