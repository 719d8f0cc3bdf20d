//! Reads tags, tolerantly: enough of HTML and XML to find links in it, and no more. Nothing is expanded but the entities that
//! URLs have in them, and no declaration is looked at.

/// What follows each other in a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Its name as written, and what stands behind it up to the `>`.
    Open(&'t str, Attributes<'t>),
    Close(&'t str),
    /// With its entities.
    Text(&'t str),
    /// As it is: CDATA.
    Plain(&'t str),
}

/// Whose contents are text to a reader of HTML, and no tags.
const RAW: [&str; 8] = ["script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Html,
    Xml,
}

pub(super) struct Pieces<'t> {
    rest: &'t str,
    language: Language,
}

impl<'t> Pieces<'t> {
    pub(super) fn of(text: &'t str, language: Language) -> Self {
        Self { rest: text, language }
    }

    /// Takes what is in front of `end`, and `end` too; all if there is no end.
    fn until(&mut self, end: &str) -> &'t str {
        let (before, after) = self.rest.split_once(end).unwrap_or((self.rest, ""));
        self.rest = after;
        before
    }

    /// Up to the end of an element that has no tags in it.
    fn skip_raw(&mut self, name: &str) {
        let bytes = self.rest.as_bytes();
        let ends = |at: usize| {
            let after = &bytes[at + 2..];
            after.len() >= name.len()
                && after[..name.len()].eq_ignore_ascii_case(name.as_bytes())
                && after.get(name.len()).is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>'))
        };
        let end = self.rest.match_indices("</").map(|(at, _)| at).find(|at| ends(*at));
        self.rest = end.map_or("", |at| &self.rest[at..]);
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let Some(inner) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(Piece::Text(text));
            };
            if let Some(comment) = inner.strip_prefix("!--") {
                // `<!-->` is a whole one.
                self.rest = comment.strip_prefix('>').unwrap_or(comment);
                if self.rest.len() == comment.len() {
                    self.until("-->");
                }
            } else if let Some(data) = inner.strip_prefix("![CDATA[").filter(|_| self.language == Language::Xml) {
                self.rest = data;
                return Some(Piece::Plain(self.until("]]>")));
            } else if inner.starts_with(['!', '?']) {
                self.rest = inner;
                self.until(">");
            } else if let Some(close) = inner.strip_prefix('/') {
                self.rest = close;
                return Some(Piece::Close(self.until(">").trim_ascii()));
            } else if inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                let name =
                    inner.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(inner.len());
                let (name, after) = inner.split_at(name);
                let end = end_of_tag(after);
                self.rest = after.get(end + 1..).unwrap_or("");
                if self.language == Language::Html
                    && let Some(raw) = RAW.into_iter().find(|raw| raw.eq_ignore_ascii_case(name))
                {
                    self.skip_raw(raw);
                }
                return Some(Piece::Open(name, Attributes(&after[..end])));
            } else {
                self.rest = inner;
                return Some(Piece::Text("<"));
            }
        }
    }
}

/// The place of the `>` that is not in quotes.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    let mut before = b' ';
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            // A quote inside of a value without quotes is a part of it.
            (None, b'"' | b'\'') if before == b'=' => quote = Some(byte),
            (None, b'>') => return at,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
    }
    text.len()
}

/// Names and values, in the order of the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes<'t>(&'t str);

impl Attributes<'_> {
    /// The first of a name in any case, its entities decoded.
    pub(super) fn get(&self, wanted: &str) -> Option<String> {
        self.clone().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| decoded(value))
    }
}

impl<'t> Iterator for Attributes<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let blank = |c: char| c.is_ascii_whitespace();
        let text = self.0.trim_start_matches(|c: char| blank(c) || c == '/');
        // A name may even begin with `=`.
        let from = text.chars().next()?.len_utf8();
        let name = text[from..].find(|c| blank(c) || matches!(c, '=' | '/')).map_or(text.len(), |at| from + at);
        let (name, rest) = text.split_at(name);
        let rest = rest.trim_start_matches(blank);
        let Some(value) = rest.strip_prefix('=') else {
            self.0 = rest;
            return Some((name, ""));
        };
        let value = value.trim_start_matches(blank);
        let (value, rest) = match value.strip_prefix(['"', '\'']) {
            Some(inner) => inner.split_once(&value[..1]).unwrap_or((inner, "")),
            None => value.split_at(value.find(blank).unwrap_or(value.len())),
        };
        self.0 = rest;
        Some((name, value))
    }
}

/// Without its entities: numbers, and the five that XML has.
pub(super) fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, entity) = rest.split_at(at);
        out.push_str(before);
        let known = entity.split_once(';').filter(|(name, _)| name.len() <= 10);
        if let Some((character, after)) = known.and_then(|(name, after)| Some((character(&name[1..])?, after))) {
            out.push(character);
            rest = after;
        } else {
            out.push('&');
            rest = &entity[1..];
        }
    }
    out.push_str(rest);
    out
}

fn character(entity: &str) -> Option<char> {
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}
