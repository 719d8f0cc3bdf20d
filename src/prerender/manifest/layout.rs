//! Where the file of a page is, and which names of files are allowed.

use std::borrow::Cow;

/// The longest name of a file with its folders, in bytes.
const MAX_FILE: usize = 1_024;

/// The longest name that file systems take, in bytes.
const MAX_SEGMENT: usize = 255;

/// The most folders and the file.
const MAX_DEPTH: usize = 32;

/// How often something between us and the file might decode its name.
const MAX_DECODED: usize = 3;

/// How other tools lay out what they render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `about.html`, or `about/index.html` where paths end in a slash.
    Page,
    /// The same, and `about.rsc` beside it.
    PageAndData,
    /// `sitemap.xml.route`: what made it says what it is.
    Route,
}

impl Layout {
    /// The file of a path.
    pub(super) fn file(self, path: &str, trailing_slash: bool) -> String {
        let name = name(path);
        match self {
            Self::Route => format!("{name}.route"),
            Self::Page | Self::PageAndData if trailing_slash && !is_never_folder(path) => format!("{name}/index.html"),
            Self::Page | Self::PageAndData => format!("{name}.html"),
        }
    }

    /// The file of the data that a client asks for instead of the page.
    pub(super) fn data(self, path: &str) -> Option<String> {
        (self == Self::PageAndData).then(|| format!("{}.rsc", name(path)))
    }

    /// Whether the files of this path may be read, wherever paths end.
    pub(super) fn check(self, path: &str) -> Result<(), &'static str> {
        checked_file(&self.file(path, false))?;
        // As the name of a folder, a path without escapes that ends with a letter or a digit is no worse.
        if !path.contains('%') && path.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            return Ok(());
        }
        checked_file(&self.file(path, true))
    }
}

/// Only one slash at each end is the path's own; others make a name that is refused.
fn name(path: &str) -> &str {
    let name = path.strip_prefix('/').unwrap_or(path);
    if name.is_empty() { "index" } else { name.strip_suffix('/').unwrap_or(name) }
}

/// Wherever paths end, static servers look for these two at one place.
fn is_never_folder(path: &str) -> bool {
    matches!(path, "/" | "/404")
}

/// Whether a file may be read below the folder of pages; else why not.
///
/// Escapes stay escapes in the names of files. But what a name would be, were it decoded by whoever serves or copies the
/// folder, may not lead elsewhere either.
pub(crate) fn checked_file(file: &str) -> Result<(), &'static str> {
    if file.len() > MAX_FILE {
        return Err("it is longer than 1,024 bytes");
    }
    let mut depth = 0;
    for segment in file.split('/') {
        checked_segment(segment)?;
        depth += 1;
    }
    if depth > MAX_DEPTH {
        return Err("it is more than 32 folders deep");
    }
    let mut name = Cow::Borrowed(file.as_bytes());
    for _ in 0..MAX_DECODED {
        match decoded(&name) {
            Some(decoded) => name = Cow::Owned(decoded),
            None => return Ok(()),
        }
        stays(&name, depth)?;
    }
    if decoded(&name).is_some() { Err("it is escaped more than three times") } else { Ok(()) }
}

/// Whether a name is one folder or file wherever it is opened.
pub(crate) fn checked_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("it is absolute, or has an empty segment");
    }
    if segment == "." || segment == ".." {
        return Err("it has a segment `.` or `..`");
    }
    if segment.len() > MAX_SEGMENT {
        return Err("it has a segment of more than 255 bytes");
    }
    if segment.contains(['\\', ':']) {
        return Err("it has a backslash or a colon in it");
    }
    if segment.contains(char::is_control) {
        return Err("it has a control character in it");
    }
    if segment.ends_with('.') || segment.ends_with(char::is_whitespace) {
        return Err("it has a segment that ends with a dot or a blank");
    }
    if is_device(segment) { Err("it has the name of a device of Windows") } else { Ok(()) }
}

/// Names that Windows takes for devices in every folder, whatever their extension.
fn is_device(segment: &str) -> bool {
    if !segment.starts_with(['a', 'A', 'c', 'C', 'l', 'L', 'n', 'N', 'p', 'P']) {
        return false;
    }
    let stem = segment.split('.').next().unwrap_or_default().trim_end();
    let named = ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"];
    let port = |name: &str| {
        let (kind, number) = name.split_at_checked(3)?;
        let kind = kind.eq_ignore_ascii_case("com") || kind.eq_ignore_ascii_case("lpt");
        (kind && ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"].contains(&number)).then_some(())
    };
    named.iter().any(|device| stem.eq_ignore_ascii_case(device)) || port(stem).is_some()
}

/// Whether a decoded name is still `depth` segments below the folder.
fn stays(name: &[u8], depth: usize) -> Result<(), &'static str> {
    let mut segments = 0;
    for segment in name.split(|byte| *byte == b'/') {
        segments += 1;
        let only_dots = segment.iter().all(|byte| matches!(byte, b'.' | b' '));
        let drive = segments == 1 && matches!(segment, [letter, b':', ..] if letter.is_ascii_alphabetic());
        // 0xC0 and 0xC1 begin what is no UTF-8, but was taken for a dot or a slash before.
        let bad = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'\\' | 0xC0 | 0xC1);
        if only_dots || drive || segment.iter().any(bad) {
            return Err("decoded, it could lead elsewhere");
        }
    }
    if segments == depth { Ok(()) } else { Err("decoded, it has other folders") }
}

/// With its escapes decoded, if it has any.
pub(super) fn decoded(name: &[u8]) -> Option<Vec<u8>> {
    if !name.contains(&b'%') {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut decoded, mut rest) = (Vec::with_capacity(name.len()), name);
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        decoded.push(escaped.map_or(byte, |(high, low)| high << 4 | low));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    (decoded.len() < name.len()).then_some(decoded)
}
