//! Text for terminals and logs.

use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::environment::without_secrets;
use crate::failure::{Code, Failure};

/// What others say is cut to so many characters.
const MOST_SAID: usize = 500;

/// Without control characters, and without those that turn the direction of a text: a path must not write on a terminal
/// what it likes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns || matches!(letter, '\u{2028}' | '\u{2029}') {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Without secrets, escaped, and cut.
pub(crate) fn told(text: &str) -> String {
    let mut told = escaped(&without_secrets(text));
    if let Some((cut, _)) = told.char_indices().nth(MOST_SAID) {
        told.truncate(cut);
        told.push('…');
    }
    told
}

/// On the standard output. Whoever reads no more of it has enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(problem) if problem.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Failed, format!("cannot write to the standard output: {problem}")))
        }
        _ => Ok(()),
    }
}

/// On one line, since programs read it.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    match serde_json::to_string(value) {
        Ok(text) => print(&text),
        Err(problem) => Err(Failure::new(Code::Failed, format!("cannot write the result as JSON: {problem}"))),
    }
}

/// Rows below each other, the first one is the head; escaped. Columns named in `right` end at the same place.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            let (before, after) = if right.contains(&at) { (&*gap, "") } else { ("", &*gap) };
            line.extend([before, cell, after, "  "]);
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `999 B`, `1.5 KiB`: rounded down.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = ["B", "KiB", "MiB", "GiB", "TiB"].iter();
    let (mut tenths, mut name) = (u128::from(bytes) * 10, unit.next());
    while tenths >= 10_240
        && let Some(next) = unit.next()
    {
        (tenths, name) = (tenths / 1_024, Some(next));
    }
    let name = name.copied().unwrap_or_default();
    if name == "B" { format!("{bytes} B") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

/// `45s`, `2m`, `3h`, `5d`: what it is whole of, and the rest of that.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if !time.is_zero() => format!("{}ms", time.as_millis()),
        0..60 => format!("{seconds}s"),
        60..3_600 => both(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => both(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => both(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn both(whole: u64, unit: &str, rest: u64, small: &str) -> String {
    if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (u64::MAX, "16777215.9 TiB")] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3_661, "1h1m"), (90_000, "1d1h")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn what_others_say_is_short_and_writes_nothing_on_a_terminal() {
        assert_eq!(told("a\x1b[2J\nb\u{202e}é"), "a\\u{1b}[2J\\nb\\u{202e}é");
        let cut = told(&"é".repeat(501));
        assert_eq!((cut.chars().count(), cut.ends_with("é…")), (501, true));
    }

    #[test]
    fn a_table_has_columns() {
        let rows = [vec!["A".to_owned(), "BB".to_owned()], vec!["aa\n".to_owned(), "1".to_owned()]];
        assert_eq!(table(&rows, &[1]), "A     BB\naa\\n   1");
    }
}
