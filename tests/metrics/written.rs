//! What is written about the metrics: the table in the documentation, the code, and the dashboard of `examples/metrics`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::table::{Metric, documented};

/// Read when the test runs: what is a crate of its own is not part of the package.
fn example(file: &str) -> String {
    let path = format!("{}/examples/metrics/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&example("grafana.json")).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// Those that show something: not the headlines.
fn charts(dashboard: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let charts = panels(dashboard).iter().filter(|panel| panel["type"] != "row");
    charts.map(|panel| (panel["title"].as_str().unwrap(), panel))
}

fn expressions(panel: &Value) -> impl Iterator<Item = &str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap())
}

/// Words of an expression or of a name, with what follows them.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.char_indices().filter_map(move |(at, c)| {
        let begins = is_word(c) && !text[..at].ends_with(is_word);
        let rest = &text[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        begins.then(|| rest.split_at(end))
    })
}

/// A series that an expression asks for.
struct Asked<'e> {
    metric: Metric,
    /// Of a histogram.
    is_buckets: bool,
    /// The labels that it chooses by, with the values.
    chosen: Vec<(&'e str, &'e str)>,
}

fn asked<'e>(expression: &'e str, all: &[Metric]) -> Vec<Asked<'e>> {
    let names = words(expression).filter(|(word, _)| word.starts_with("isr_"));
    names
        .map(|(name, rest)| {
            let bare = name.strip_suffix("_bucket").unwrap_or(name);
            let metric = all.iter().find(|metric| metric.name == bare).unwrap_or_else(|| panic!("{name}: unknown"));
            let is_buckets = bare != name;
            assert_eq!(is_buckets, metric.kind == "histogram", "{name}: buckets are those of a histogram");
            let chosen = rest.strip_prefix('{').map_or("", |rest| rest.split_once("\"}").unwrap().0);
            let chosen = chosen.split("\", ").filter(|choice| !choice.is_empty()).map(|choice| {
                let (label, value) = choice.split_once('"').unwrap();
                (label.trim_end_matches(['=', '~', '!']), value)
            });
            Asked { metric: metric.clone(), is_buckets, chosen: chosen.collect() }
        })
        .collect()
}

/// What an expression groups by, each list.
fn groups(expression: &str) -> Vec<Vec<&str>> {
    let lists = expression.split(" by (").skip(1);
    lists.map(|list| list.split_once(')').unwrap().0.split(", ").collect()).collect()
}

#[test]
fn the_code_and_its_documentation_name_the_same_metrics() {
    let code = include_str!("../../src/telemetry/meter/on.rs");
    let constants = code.lines().filter(|line| line.starts_with("const ") && line.contains("\"isr_"));
    let mut in_code: Vec<_> = constants.map(|line| line.split('"').nth(1).unwrap()).collect();
    in_code.sort_unstable();
    let documented = documented();
    assert_eq!(in_code, documented.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>());
    assert_eq!(code.matches("isr_").count(), in_code.len(), "no metric without a constant");
    for metric in documented {
        let suffix = if metric.kind == "counter" { "_total" } else { "" };
        assert!(metric.name.ends_with(suffix), "{metric:?}");
        let named = ["_seconds", "_bytes"].iter().find(|unit| metric.name.trim_end_matches("_total").contains(*unit));
        assert_eq!(named.map_or("count", |unit| &unit[1..]), metric.unit, "{}", metric.name);
    }
}

#[test]
fn the_dashboard_asks_for_every_metric_and_for_no_other() {
    let (dashboard, all) = (dashboard(), documented());
    let mut shown = BTreeSet::new();
    for (title, panel) in charts(&dashboard) {
        for expression in expressions(panel) {
            let asked = asked(expression, &all);
            assert!(!asked.is_empty(), "{title}: {expression}");
            for Asked { metric, .. } in asked {
                // Counters are asked for their rate, and so are buckets.
                let rated = expression.contains("rate(isr_");
                assert_eq!(rated, metric.kind != "gauge", "{title}: {expression}");
                shown.insert(metric.name);
            }
        }
    }
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), all.into_iter().map(|metric| metric.name).collect::<Vec<_>>());
}

#[test]
fn the_dashboard_uses_labels_that_there_are() {
    const STATES: [&str; 6] = ["hit", "stale", "miss", "bypass", "pass", "failed"];
    const RESULTS: [&str; 7] = ["ok", "unchanged", "found", "elsewhere", "abandoned", "failed", "not-shared"];
    let (dashboard, all) = (dashboard(), documented());
    for (title, panel) in charts(&dashboard) {
        for expression in expressions(panel) {
            for Asked { metric, is_buckets, chosen } in asked(expression, &all) {
                for (label, value) in &chosen {
                    assert!(metric.labels.iter().any(|known| known == label), "{title}: {label} of {}", metric.name);
                    let known = match *label {
                        "state" => STATES.as_slice(),
                        "result" => RESULTS.as_slice(),
                        _ => &["$route"],
                    };
                    assert!(value.split('|').all(|value| known.contains(&value)), "{title}: {label}={value}");
                }
                // What has a route can be looked at by route.
                let by_route = metric.labels.iter().any(|label| label == "route");
                assert_eq!(chosen.contains(&("route", "$route")), by_route, "{title}: {expression}");
                for label in groups(expression).into_iter().flatten() {
                    let known = metric.labels.iter().any(|known| known == label)
                        || label == "instance"
                        || (is_buckets && label == "le");
                    assert!(known, "{title}: {label} of {}", metric.name);
                }
            }
            let is_histogram = expression.contains("_bucket");
            assert_eq!(expression.starts_with("histogram_quantile("), is_histogram, "{title}: {expression}");
            assert_eq!(groups(expression).iter().all(|group| group.contains(&"le")), is_histogram, "{title}");
        }
        for target in panel["targets"].as_array().unwrap() {
            let legend = target["legendFormat"].as_str().unwrap();
            let grouped: Vec<_> = groups(target["expr"].as_str().unwrap()).concat();
            for (label, _) in legend.split("{{").skip(1).filter_map(|part| part.split_once("}}")) {
                assert!(grouped.contains(&label), "{title}: {legend}");
            }
        }
    }
}

#[test]
fn panels_do_not_overlap_and_have_ids_units_and_the_chosen_source() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{} overlaps at {place:?}", panel["title"]);
        }
    }
    for (title, panel) in charts(&dashboard) {
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        assert!(["percentunit", "reqps", "ops", "s", "bytes", "none"].contains(&unit), "{title}: {unit}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && !panel["description"].as_str().unwrap().is_empty(), "{title}");
        let refs: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(refs.len(), targets.len(), "{title}");
        for source in targets.iter().chain([panel]).map(|part| &part["datasource"]["uid"]) {
            assert_eq!(source, "${datasource}", "{title}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|variable| [&variable["name"], &variable["type"]]).collect();
    assert_eq!(variables, [["datasource", "datasource"], ["route", "query"]]);
}

/// The site listens where it is looked for, and has buckets for each histogram.
#[test]
fn the_example_fits_what_is_written_about_it() {
    let (site, readme) = (example("src/main.rs"), example("README.md"));
    assert!(example("prometheus.yml").contains("\"localhost:3000\"") && readme.contains("localhost:3000/metrics"));
    assert!(site.contains("map_or(Ok(3000)") && example("run").contains("\nport=3000\n"));
    for metric in documented().iter().filter(|metric| metric.kind == "histogram") {
        assert!(site.contains(&format!("buckets(\"{}\")", metric.name)), "{}", metric.name);
    }
    for (file, text) in [("README.md", &readme), ("run", &example("run"))] {
        for (word, _) in words(text).filter(|(word, _)| word.starts_with("isr_") && *word != "isr_") {
            let bare =
                ["_bucket", "_count", "_sum"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
            assert!(documented().iter().any(|metric| metric.name == bare), "{file}: {word}");
        }
    }
    // The dashboard's panels that the README points at.
    let dashboard = dashboard();
    let titles: BTreeSet<_> = panels(&dashboard).iter().map(|panel| panel["title"].as_str().unwrap()).collect();
    let looks = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let looks: Vec<_> = looks.map(|(title, _)| title).filter(|title| *title != "look at").collect();
    assert!(looks.len() >= 5 && looks.iter().all(|title| titles.contains(title)), "{looks:?}");
}
