//! The table of metrics in the documentation of the module `stats`.

/// A row of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    pub name: String,
    pub kind: String,
    /// Sorted.
    pub labels: Vec<String>,
    pub unit: String,
}

/// By name.
pub fn documented() -> Vec<Metric> {
    let rows = include_str!("../../src/stats.rs").lines().filter_map(|line| line.strip_prefix("//! | `isr_"));
    let mut all: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
            let [name, kind, labels, unit, what, _] = cells.try_into().unwrap();
            assert!(what.len() > 10, "{name}: {what}");
            let mut labels: Vec<_> = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            labels.sort();
            Metric { name: format!("isr_{name}"), kind, labels, unit }
        })
        .collect();
    all.sort();
    all
}
