//! Content types and the extensions of files.

/// What a file without a known extension is.
const UNKNOWN: &str = "application/octet-stream";

/// Of two lines with one extension or one type, the first is the usual one.
const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("xhtml", "application/xhtml+xml"),
    ("rsc", "text/x-component"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("jsonld", "application/ld+json"),
    ("xml", "application/xml"),
    ("xml", "text/xml"),
    ("xml", "application/rss+xml"),
    ("xml", "application/atom+xml"),
    ("rss", "application/rss+xml"),
    ("atom", "application/atom+xml"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("js", "application/javascript"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/x-icon"),
    ("ico", "image/vnd.microsoft.icon"),
    ("woff2", "font/woff2"),
];

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// What follows the last dot of a file's or path's last segment, if something is before it.
pub(super) fn extension(file: &str) -> Option<&str> {
    let name = file.rsplit('/').next().unwrap_or_default();
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// The content type of a file whose manifest does not say it.
pub(super) fn of_file(file: &str) -> &'static str {
    let known = |extension: &str| TYPES.iter().find(|(other, _)| extension.eq_ignore_ascii_case(other));
    extension(file).and_then(known).map_or(UNKNOWN, |(_, content_type)| content_type)
}

/// The extension that a file of this content type gets.
pub(super) fn extension_for(content_type: &str) -> &'static str {
    let essence = essence(content_type).to_ascii_lowercase();
    let known = TYPES.iter().find(|(_, other)| self::essence(other) == essence);
    match known {
        Some((extension, _)) => extension,
        None if essence.ends_with("+json") => "json",
        None if essence.ends_with("+xml") => "xml",
        None if essence.starts_with("text/") => "txt",
        None => "bin",
    }
}

/// Whether a file with this extension is taken for one of this content type.
pub(super) fn fits(extension: &str, content_type: &str) -> bool {
    let essence = essence(content_type);
    let mut listed = TYPES.iter().filter(|(other, _)| extension.eq_ignore_ascii_case(other)).peekable();
    match extension_for(content_type) {
        // Nothing is known of either, so nothing is against it.
        "bin" if listed.peek().is_none() => true,
        usual if extension.eq_ignore_ascii_case(usual) => true,
        _ => listed.any(|(_, other)| self::essence(other).eq_ignore_ascii_case(essence)),
    }
}
