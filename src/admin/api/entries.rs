//! What the memory tier holds.
//!
//! Every item is looked at, one after the other, each under its shard's read lock for the time of a clone: no HIT waits for
//! more than that. Only those of the page that is shown are described.

use std::cmp::Ordering;
use std::time::Instant;

use serde::Serialize;

use crate::clock::WallTime;
use crate::error::ConfigError;
use crate::explain::{HeldEntry, describe, judge, state};
use crate::isr::{Isr, Shared};
use crate::key::{CacheKey, shown_path};
use crate::ledger::{Name, Target};
use crate::memory::Slot;
use crate::policy::freshness::Window;
use crate::policy::tag::Tag;

/// On one page.
const A_PAGE: usize = 50;

const STATES: [&str; 4] = ["fresh", "stale", "expired", "pass"];

const ORDERS: [&str; 2] = ["asc", "desc"];

/// By what they are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sort {
    #[default]
    Path,
    Age,
    Size,
    Hits,
    Render,
    Failures,
}

const SORTS: [(&str, Sort); 6] = [
    ("path", Sort::Path),
    ("age", Sort::Age),
    ("size", Sort::Size),
    ("hits", Sort::Hits),
    ("render", Sort::Render),
    ("failures", Sort::Failures),
];

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    state: Option<String>,
    tag: Option<Tag>,
    /// Of the path; without a slash in front, a part of it.
    prefix: String,
    sort: Sort,
    descending: bool,
    page: usize,
}

/// One page of them.
#[derive(Serialize)]
pub(super) struct Listing {
    /// Of the ages, in Unix milliseconds.
    at_ms: u64,
    /// How long it took to look, in milliseconds: whoever asks again and again leaves some time between.
    took_ms: f64,
    /// All that are held.
    total: usize,
    /// Those that were asked for.
    matched: usize,
    page: usize,
    pages: usize,
    entries: Vec<HeldEntry>,
}

struct Row {
    rank: u64,
    key: CacheKey,
    slot: Slot,
}

impl Wanted {
    /// # Errors
    ///
    /// When there is no such parameter or value.
    pub(super) fn read(query: &str) -> Result<Self, ConfigError> {
        let mut wanted = Self { page: 1, ..Self::default() };
        let mut order = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match &*name {
                "state" => wanted.state = Some(one_of("state", &STATES, &value)?.to_owned()),
                "tag" => wanted.tag = Some(Tag::new(&value)?),
                "prefix" => wanted.prefix = value.into_owned(),
                "sort" => {
                    let names = SORTS.map(|(name, _)| name);
                    let name = one_of("sort", &names, &value)?;
                    wanted.sort = SORTS.into_iter().find(|(known, _)| *known == name).unwrap_or_default().1;
                }
                "order" => order = Some(one_of("order", &ORDERS, &value)? == "desc"),
                "page" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    wanted.page = number.ok_or_else(|| ConfigError::new("page", "a number from 1", shown(&value)))?;
                }
                _ => {
                    let expected = "state, tag, prefix, sort, order or page";
                    return Err(ConfigError::new("parameter", expected, shown(&name)));
                }
            }
        }
        // The largest, oldest, … is what one looks for.
        wanted.descending = order.unwrap_or(wanted.sort != Sort::Path);
        Ok(wanted)
    }

    fn is_wanted(&self, shared: &Shared, row: &Row, tag: Option<Name>, now: WallTime) -> bool {
        tag.is_none_or(|tag| row.slot.covered().has(tag))
            && has_prefix(shown_path(row.key.as_bytes()), &self.prefix)
            && self.state.as_ref().is_none_or(|wanted| state(judge(shared, &row.slot, now)) == wanted)
    }

    fn rank(&self, slot: &Slot, key: &CacheKey, now: WallTime) -> u64 {
        let window: Option<&Window> = match slot {
            Slot::Page(page) => Some(page.entry.window()),
            Slot::Value(value) => Some(&value.window),
            Slot::Pass(_) => None,
        };
        match (self.sort, slot) {
            (Sort::Age, _) => window.map_or(0, |window| window.age_millis(now)),
            (Sort::Size, _) => slot.weight(key),
            (Sort::Hits, Slot::Page(page)) => page.hits.get(),
            (Sort::Render, Slot::Page(page)) => page.render_micros,
            (Sort::Failures, Slot::Page(page)) => page.back_off.failures().into(),
            (Sort::Failures, Slot::Value(value)) => value.back_off.failures().into(),
            _ => 0,
        }
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let paths = || shown_path(a.key.as_bytes()).cmp(shown_path(b.key.as_bytes()));
        let ranks = a.rank.cmp(&b.rank);
        let by_path = self.sort == Sort::Path;
        let order = if by_path { paths() } else { ranks };
        let order = if self.descending { order.reverse() } else { order };
        // Of those that are equal, in an order that does not change from page to page.
        order
            .then_with(|| if by_path { Ordering::Equal } else { paths() })
            .then_with(|| a.key.as_bytes().cmp(b.key.as_bytes()))
    }

    /// Looks at everything: some milliseconds for a hundred thousand.
    pub(super) fn list(&self, isr: &Isr) -> Listing {
        let (shared, now, began) = (&isr.shared, isr.shared.time.wall(), Instant::now());
        let tag = self.tag.as_ref().map(|tag| shared.ledger.view.name(&Target::Tag(tag.clone())));
        let mut rows = Vec::new();
        for (key, slot) in shared.memory.all() {
            let row = Row { rank: self.rank(&slot, &key, now), key, slot };
            if self.is_wanted(shared, &row, tag, now) {
                rows.push(row);
            }
        }
        let matched = rows.len();
        let pages = matched.div_ceil(A_PAGE).max(1);
        let page = self.page.min(pages);
        let from = (page - 1) * A_PAGE;
        let upto = matched.min(from + A_PAGE);
        // Only what is shown is sorted.
        if upto < matched {
            rows.select_nth_unstable_by(upto, |a, b| self.compare(a, b));
            rows.truncate(upto);
        }
        if from > 0 && from < rows.len() {
            rows.select_nth_unstable_by(from, |a, b| self.compare(a, b));
        }
        let shown = rows.get_mut(from..).unwrap_or_default();
        shown.sort_unstable_by(|a, b| self.compare(a, b));
        let at_ms = shared.time.wall().0 / 1_000;
        let entries = shown.iter().map(|row| describe(shared, &row.key, &row.slot)).collect();
        let took_ms = began.elapsed().as_secs_f64() * 1_000.0;
        Listing { at_ms, took_ms, total: shared.memory.items(), matched, page, pages, entries }
    }
}

/// What is held under an id; `None`: nothing any more.
pub(super) fn entry(isr: &Isr, id: &str) -> Option<HeldEntry> {
    let key = unhex(id)?;
    let slot = isr.shared.memory.peek(&key)?;
    Some(describe(&isr.shared, &CacheKey::new(&key), &slot))
}

fn has_prefix(path: &str, prefix: &str) -> bool {
    if prefix.starts_with('/') { path.starts_with(prefix) } else { path.contains(prefix) }
}

fn one_of<'k>(what: &'static str, known: &[&'k str], value: &str) -> Result<&'k str, ConfigError> {
    let expected = || format!("one of {}", known.join(", "));
    known.iter().find(|known| **known == value).copied().ok_or_else(|| ConfigError::new(what, expected(), shown(value)))
}

/// What came, for an error: not all of it.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(byte).collect()
}
