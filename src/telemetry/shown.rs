//! Text from outside, as it may stand in a log.

use std::fmt;

/// A path as it may stand in a log: escaped, on one line, not longer than 256 characters.
#[derive(Clone, Copy)]
pub(super) struct Shown<'p>(pub(super) &'p str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(256).try_for_each(|c| match c {
            ' '..='~' => write!(f, "{c}"),
            _ => write!(f, "{}", c.escape_unicode()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    /// CASES 151: one line, no control bytes, bounded.
    #[test]
    fn a_path_in_a_log_is_one_short_line_of_ascii() {
        let shown = format!("{:?}", Shown("/a\n\u{1b}[31mé%0a"));
        assert_eq!(shown, "/a\\u{a}\\u{1b}[31m\\u{e9}%0a");
        assert_eq!(format!("{:?}", Shown(&"x".repeat(10_000))).len(), 256);
    }
}
