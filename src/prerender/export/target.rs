//! What is rendered: a path with a query, and the patterns that paths are made of.

use http::Uri;

/// The path of a page, and its query: as the target of a request has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target(String);

impl Target {
    /// What cannot be in a URI is escaped, what is escaped stays as it is.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("expected a path that begins with `/`, got {text:?}"));
        }
        if text.contains('#') {
            return Err(format!("expected a path without a fragment, got {text:?}"));
        }
        let mut escaped = String::with_capacity(text.len());
        for byte in text.bytes() {
            escape_unless(byte.is_ascii_graphic() && !b"\"<>`\\^|".contains(&byte), byte, &mut escaped);
        }
        let path = escaped.split_once('?').map_or(&*escaped, |(path, _)| path);
        if path.split('/').any(is_dots) {
            return Err(format!("expected a path without `.` and `..`, got {text:?}"));
        }
        if path.starts_with("//") {
            return Err(format!("expected a path, got another host: {text:?}"));
        }
        match escaped.parse::<Uri>() {
            Ok(_) => Ok(Self(escaped)),
            Err(problem) => Err(format!("expected the path of a request, got {text:?}: {problem}")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn path(&self) -> &str {
        self.0.split_once('?').map_or(&self.0, |(path, _)| path)
    }
}

/// `.` or `..`, also escaped: whoever resolves the URL takes them away.
fn is_dots(segment: &str) -> bool {
    let plain = segment.len() <= 6 && !segment.is_empty();
    plain && matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..")
}

fn escape_unless(stays: bool, byte: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if stays {
        out.push(char::from(byte));
    } else {
        out.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
    }
}

/// The values of a pattern's parameters, in the order in which the pattern has them: `"hello"`, `[year, month]`. They are
/// plain text; what a path cannot have is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params(Vec<String>);

impl From<&str> for Params {
    fn from(value: &str) -> Self {
        Self(vec![value.to_owned()])
    }
}

impl From<String> for Params {
    fn from(value: String) -> Self {
        Self(vec![value])
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Params {
    fn from(values: [T; N]) -> Self {
        Self(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<String>> From<Vec<T>> for Params {
    fn from(values: Vec<T>) -> Self {
        Self(values.into_iter().map(Into::into).collect())
    }
}

/// A pattern as axum has it: `/posts/{slug}`, `/files/{*rest}`, `{{` and `}}` for braces.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// One segment, or a part of it.
    One(String),
    /// All that is left of the path.
    Rest(String),
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        let expected = || format!("expected a pattern as `/posts/{{slug}}`, got {text:?}");
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = ["{{", "}}"].iter().find_map(|pair| brace.strip_prefix(pair)) {
                plain.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let (name, after) = brace.strip_prefix('{').and_then(|inner| inner.split_once('}')).ok_or_else(expected)?;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            rest = after;
            parts.push(match name.strip_prefix('*') {
                Some(name) if rest.is_empty() && is_name(name) => Part::Rest(name.to_owned()),
                None if is_name(name) => Part::One(name.to_owned()),
                _ => return Err(expected()),
            });
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        let pattern = Self { text: text.to_owned(), parts };
        if !text.starts_with('/') || pattern.names().next().is_none() {
            return Err(expected());
        }
        Ok(pattern)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::One(name) | Part::Rest(name) => Some(&**name),
        })
    }

    /// The path with these parameters.
    pub(super) fn fill(&self, params: &Params) -> Result<Target, String> {
        let wanted = self.names().count();
        if wanted != params.0.len() {
            let names: Vec<_> = self.names().collect();
            return Err(format!("expected {wanted} values for {}, got {}", names.join(", "), params.0.len()));
        }
        let (mut path, mut values) = (String::new(), params.0.iter());
        for part in &self.parts {
            let (name, slash) = match part {
                Part::Text(text) => {
                    path.push_str(text);
                    continue;
                }
                Part::One(name) => (name, false),
                Part::Rest(name) => (name, true),
            };
            let value = values.next().map_or("", String::as_str);
            if value.is_empty() {
                return Err(format!("expected a value for {name}, got nothing"));
            }
            for byte in value.bytes() {
                let stays = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slash && byte == b'/');
                escape_unless(stays, byte, &mut path);
            }
        }
        Target::new(&path)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['{', '*', '/'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_a_request_can_have() {
        for (text, expected) in [
            ("/", Some("/")),
            ("/a?b=c d", Some("/a?b=c%20d")),
            ("/größe", Some("/gr%C3%B6%C3%9Fe")),
            ("/gr%c3%b6", Some("/gr%c3%b6")),
            ("/a\nb", Some("/a%0Ab")),
            ("/a?next=/../x", Some("/a?next=/../x")),
            ("a", None),
            ("", None),
            ("/a#b", None),
            ("/a/../b", None),
            ("/a/%2e%2E/b", None),
            ("/.", None),
            ("//host/a", None),
            ("http://host/", None),
        ] {
            assert_eq!(Target::new(text).ok().map(|target| target.0).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_is_filled_in_order() {
        let fill = |pattern: &str, params: Params| Pattern::new(pattern)?.fill(&params);
        for (pattern, params, expected) in [
            ("/posts/{slug}", Params::from("a b/c"), Ok("/posts/a%20b%2Fc")),
            ("/{year}-{month}", Params::from(["2026", "11"]), Ok("/2026-11")),
            ("/files/{*rest}", Params::from("a/b c"), Ok("/files/a/b%20c")),
            ("/{{x}}/{y}", Params::from("é"), Ok("/{x}/%C3%A9")),
            ("/posts/{slug}", Params::from(""), Err("expected a value for slug, got nothing")),
            ("/posts/{slug}", Params::from(["a", "b"]), Err("expected 1 values for slug, got 2")),
            ("/posts/{slug}", Params::from(".."), Err("expected a path without `.` and `..`, got \"/posts/..\"")),
        ] {
            let filled = fill(pattern, params);
            assert_eq!(filled.as_ref().map(Target::as_str).map_err(String::as_str), expected, "{pattern}");
        }
        for bad in ["/posts", "posts/{slug}", "/{", "/}", "/{}", "/{*a}/b", "/{a{b}", ""] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }
}
