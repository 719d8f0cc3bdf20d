//! What a ledger says, in memory: the newest stamp of each mark.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::record::{self, Act};
use crate::store::{Mark, Verb};

/// By stamp, and among those of one stamp in the order in which they were noted.
type Place = (u64, u64);

/// The marks of a ledger by their text, and the newest stamp.
#[derive(Default)]
pub(super) struct Marks {
    newest: u64,
    places: HashMap<Arc<str>, Place>,
    texts: BTreeMap<Place, Arc<str>>,
    /// Places that were ever given.
    given: u64,
    /// Bytes of a ledger that has nothing but these.
    bytes: u64,
}

impl Marks {
    /// Of the ledger; zero if it has none.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// What the marks would take in a file, about: if each had a record of its own.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn size(text: &str) -> u64 {
        record::RECORD + record::mark_bytes(text)
    }

    fn set(&mut self, text: &str, stamp: u64) {
        if self.places.get(text).is_some_and(|(known, _)| *known > stamp) {
            return;
        }
        let text = self.remove(text).map_or_else(|| Arc::from(text), |(text, _)| text);
        let place = (stamp, self.given);
        self.given += 1;
        self.bytes += Self::size(&text);
        self.places.insert(Arc::clone(&text), place);
        self.texts.insert(place, text);
    }

    fn remove(&mut self, text: &str) -> Option<(Arc<str>, u64)> {
        let (text, place) = self.places.remove_entry(text)?;
        self.texts.remove(&place);
        self.bytes -= Self::size(&text);
        Some((text, place.0))
    }

    /// A record was made at `stamp`: first all that is noted, then all that is folded.
    pub(super) fn apply<'m>(&mut self, stamp: u64, acts: impl IntoIterator<Item = (Act, &'m str)>) {
        self.newest = stamp;
        for (act, text) in acts {
            match act {
                Act::Noted => self.set(text, stamp),
                Act::Folded => self.fold(text),
            }
        }
    }

    fn fold(&mut self, text: &str) {
        if let Some((text, stamp)) = self.remove(text) {
            self.set(&Mark::everything(Mark::from_text(&text).verb()).to_text(), stamp);
        }
    }

    /// The oldest of those that are more than `most`. Marks on everything stay and do not count.
    pub(super) fn beyond(&self, most: usize) -> Vec<Arc<str>> {
        let everything = [Verb::Revalidate, Verb::Expire].map(|verb| Mark::everything(verb).to_text());
        let kept = everything.iter().filter(|text| self.places.contains_key(text.as_str())).count();
        let beyond = (self.places.len() - kept).saturating_sub(most);
        let others = self.texts.values().filter(|text| !everything.iter().any(|kept| **kept == ***text));
        others.take(beyond).cloned().collect()
    }

    /// Those above `stamp`, oldest first, in groups of one stamp: as few groups as have `most` marks, and whether there
    /// are more.
    pub(super) fn after(&self, stamp: u64, most: usize) -> (Vec<(Mark, u64)>, bool) {
        let mut marks: Vec<(Mark, u64)> = Vec::new();
        let Some(from) = stamp.checked_add(1) else { return (marks, false) };
        for ((stamp, _), text) in self.texts.range((from, 0)..) {
            if marks.len() >= most && marks.last().is_some_and(|(_, last)| last != stamp) {
                return (marks, true);
            }
            marks.push((Mark::from_text(text), *stamp));
        }
        (marks, false)
    }

    /// The records of a ledger that has nothing but these. `None` if one of them is longer than may be.
    pub(super) fn write(&self, to: &mut Vec<u8>) -> Option<()> {
        let mut rest = self.texts.iter().peekable();
        let mut last = 0;
        while let Some(((stamp, _), _)) = rest.peek() {
            let stamp = *stamp;
            last = stamp;
            let group = std::iter::from_fn(|| rest.next_if(|((of, _), _)| *of == stamp));
            record::write(to, stamp, group.map(|(_, text)| (Act::Noted, &**text)))?;
        }
        if last < self.newest {
            record::write(to, self.newest, std::iter::empty())?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(marks: &Marks) -> Vec<(String, u64)> {
        marks.after(0, usize::MAX).0.into_iter().map(|(mark, stamp)| (mark.to_text(), stamp)).collect()
    }

    fn note(marks: &mut Marks, stamp: u64, texts: &[&str], most: usize) {
        marks.apply(stamp, texts.iter().map(|text| (Act::Noted, *text)));
        let folded = marks.beyond(most);
        marks.apply(stamp, folded.iter().map(|text| (Act::Folded, &**text)));
    }

    #[test]
    fn the_oldest_are_folded_with_their_stamps() {
        let mut marks = Marks::default();
        note(&mut marks, 10, &["eta", "rtb"], 3);
        note(&mut marks, 20, &["etc"], 3);
        note(&mut marks, 30, &["eta", "etd", "ete"], 3);
        let is = |text: &str, stamp| (text.to_owned(), stamp);
        assert_eq!(texts(&marks), [is("r*", 10), is("e*", 20), is("eta", 30), is("etd", 30), is("ete", 30)]);
        // Marks on everything take no place.
        note(&mut marks, 40, &["r*", "e*"], 3);
        assert_eq!(texts(&marks).len(), 5);
        // One that is older than a mark on everything changes nothing of that.
        note(&mut marks, 50, &["etf"], 3);
        assert_eq!(texts(&marks)[2..], [is("r*", 40), is("e*", 40), is("etf", 50)]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut marks = Marks::default();
        note(&mut marks, 10, &["eta", "rtb"], 9);
        note(&mut marks, 20, &["rtb", "etc"], 9);
        note(&mut marks, 30, &[], 9);
        let mut bytes = Vec::new();
        marks.write(&mut bytes).unwrap();
        let (mut again, mut rest) = (Marks::default(), &bytes[..]);
        while !rest.is_empty() {
            let left = rest.len() as u64;
            let (record, _) = record::read(&mut rest, left).unwrap().unwrap();
            again.apply(record.stamp, record.marks().unwrap());
        }
        assert_eq!((texts(&again), again.newest(), again.bytes()), (texts(&marks), 30, marks.bytes()));
    }

    #[test]
    fn an_answer_is_cut_between_stamps() {
        let mut marks = Marks::default();
        note(&mut marks, 10, &["eta", "etb", "etc"], 9);
        note(&mut marks, 20, &["etd"], 9);
        let (first, more) = marks.after(0, 2);
        assert_eq!((first.len(), more), (3, true));
        let (second, more) = marks.after(10, 2);
        assert_eq!((second.len(), more), (1, false));
        assert_eq!(marks.after(u64::MAX, 2), (Vec::new(), false));
    }
}
