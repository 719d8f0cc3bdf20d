//! How texts and numbers are kept: numbers seven bits to a byte, texts that occur often only once.
//!
//! ```text
//! number = { 1 bit: another byte follows; 7 bits }      the lowest bits first
//! text   = number n; n mod 4 = 0: text n / 4 of the table
//!                              1: the next n / 4 bytes
//!                              2: text n / 4 of the table, the record's own path, and a text that follows
//! ```

use std::collections::HashMap;

/// The most texts of the table. Later ones are written where they are used.
const MAX_STRINGS: usize = 1 << 16;

/// Longer texts, in bytes, are worth a search that prepares itself.
const LONG: usize = 256;

/// Texts by number.
#[derive(Debug, Default)]
pub(super) struct Strings {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Strings {
    fn get(&self, id: u64) -> Option<&str> {
        let id = usize::try_from(id).ok()?;
        let start = id.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start as usize..*self.ends.get(id)? as usize)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.ends)
    }
}

/// Writes records.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    ids: HashMap<Box<str>, u64>,
    text: String,
    ends: Vec<u32>,
}

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.bytes.push(low & 0x7F);
            }
            self.bytes.push(low | 0x80);
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A text that no other record has.
    pub(super) fn own(&mut self, text: &str) {
        self.number((text.len() as u64) << 2 | 1);
        self.raw(text.as_bytes());
    }

    /// A text that other records may have.
    pub(super) fn shared(&mut self, text: &str) {
        match self.id(text) {
            Some(id) => self.number(id << 2),
            None => self.own(text),
        }
    }

    /// A text that may have `path` in it.
    pub(super) fn around(&mut self, text: &str, path: &str) {
        match split(text, path).and_then(|(before, after)| Some((self.id(before)?, after))) {
            Some((before, after)) => {
                self.number(before << 2 | 2);
                self.shared(after);
            }
            None => self.shared(text),
        }
    }

    fn id(&mut self, text: &str) -> Option<u64> {
        if let Some(id) = self.ids.get(text) {
            return Some(*id);
        }
        if self.ends.len() == MAX_STRINGS {
            return None;
        }
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        let id = self.ends.len() as u64;
        self.text.push_str(text);
        self.ends.push(end);
        self.ids.insert(text.into(), id);
        Some(id)
    }

    pub(super) fn finish(self) -> (Box<[u8]>, Strings) {
        (self.bytes.into(), Strings { text: self.text.into(), ends: self.ends.into() })
    }
}

/// What is before and after `path`. Most texts are so short that `str::split_once` would take longer to begin.
fn split<'t>(text: &'t str, path: &str) -> Option<(&'t str, &'t str)> {
    if path.is_empty() || path.len() > text.len() {
        return None;
    }
    if text.len() > LONG {
        return text.split_once(path);
    }
    let at = text.as_bytes().windows(path.len()).position(|there| there == path.as_bytes())?;
    Some((text.get(..at)?, text.get(at + path.len()..)?))
}

/// Reads what a [`Writer`] wrote; `None` if it cannot have.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) strings: &'a Strings,
}

impl<'a> Reader<'a> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn raw(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (raw, rest) = self.bytes.split_at_checked(bytes)?;
        self.bytes = rest;
        Some(raw)
    }

    /// A text that has no path in it.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let number = self.number()?;
        self.text_of(number)
    }

    fn text_of(&mut self, number: u64) -> Option<&'a str> {
        match number & 3 {
            0 => self.strings.get(number >> 2),
            1 => std::str::from_utf8(self.raw(usize::try_from(number >> 2).ok()?)?).ok(),
            _ => None,
        }
    }

    /// A text that may have `path` in it.
    pub(super) fn around(&mut self, path: &str) -> Option<String> {
        let number = self.number()?;
        if number & 3 != 2 {
            return self.text_of(number).map(str::to_owned);
        }
        let (before, after) = (self.strings.get(number >> 2)?, self.text()?);
        Some([before, path, after].concat())
    }
}
