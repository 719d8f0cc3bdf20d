//! Names that may stand in a path: `[a-z0-9-]+`.

/// Longer names cannot be files on every system.
const MAX_LEN: usize = 100;

/// Whether a name from a URL may be looked up. A slug has no dot and no separator, so it cannot leave its folder.
pub(crate) fn is_slug(name: &str) -> bool {
    (1..=MAX_LEN).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The slug of a text: `Rust & axum` becomes `rust-axum`. Empty when nothing of the text can stand in one.
pub(crate) fn slugify(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() >= MAX_LEN {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_cannot_leave_its_folder() {
        for bad in ["", ".", "..", "../main", "a/b", "a\\b", "a.md", "A", "ä", "a\0", &"a".repeat(101)] {
            assert!(!is_slug(bad), "{bad:?}");
        }
        assert!(is_slug("hello-2"));
    }

    #[test]
    fn texts_become_slugs() {
        assert_eq!(slugify("Rust & axum"), "rust-axum");
        assert_eq!(slugify("  C++ "), "c");
        assert_eq!(slugify("…"), "");
        assert!(slugify(&"word ".repeat(100)).len() <= MAX_LEN);
    }
}
