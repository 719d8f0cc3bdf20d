//! Makes a record of a row, or says why it is none.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::ignored::Reason;
use super::json::{InputsRow, Lines, Row, Text, Time};
use super::layout::{Layout, checked_file};
use crate::policy::freshness::Revalidate;
use crate::policy::tag::{MAX_TAGS, Tag};
use crate::prerender::{Inputs, Record};

/// The longest path, pattern or host, in bytes: what a request may put into a key.
const MAX_TEXT: usize = crate::key::MAX_KEY_INPUT;

/// The most header lines of a page.
pub(super) const MAX_LINES: usize = 64;

/// A record as the manifest has it: without what follows from its path and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Without a file, where [`layout`](Self::layout) tells it; with those headers that the manifest has.
    pub(super) record: Record,
    pub(super) layout: Layout,
}

/// Why a row is no record, and what was expected and came.
pub(super) type Refusal<'a> = (Reason, Cow<'a, str>);

pub(super) fn record<'a>(row: &Row<'a>) -> Result<Entry, Refusal<'a>> {
    let told =
        || row.reason.as_ref().or(row.error.as_ref()).map_or(Cow::Borrowed("no reason given"), |text| text.0.clone());
    match text(row.status.as_ref()) {
        "rendered" => {}
        "skipped" | "error" | "failed" => return Err((Reason::NotRendered, told())),
        other => return Err((Reason::NotRendered, format!("expected status `rendered`, got `{other}`").into())),
    }
    let layout = match row.router.as_ref().map(|router| &*router.0) {
        None | Some("app") => Layout::PageAndData,
        Some("pages" | "axum") => Layout::Page,
        Some("metadata") => Layout::Route,
        Some(other) => {
            return Err((Reason::Router, format!("expected app, pages, metadata or axum, got `{other}`").into()));
        }
    };
    if row.fallback == Some(true) {
        return Err((Reason::Fallback, "it stands in for pages that are not there yet".into()));
    }
    if row.rewrite.is_some() {
        return Err((Reason::Rewrite, "its content is that of another path".into()));
    }
    if row.redirect_props.is_some() && !row.response_status.is_some_and(|code| (300..400).contains(&code)) {
        return Err((Reason::Redirect, "it leads elsewhere, but its status does not say so".into()));
    }
    let path = path(row)?;
    // Older manifests do not say what is a fallback. Their tool escapes brackets in the paths of pages.
    if row.inputs.is_none() && row.fallback.is_none() && path.contains(['[', ']']) {
        return Err((Reason::Fallback, "its path has a parameter in brackets".into()));
    }
    let file = match &row.file {
        Some(file) => checked_file(&file.0).map(|()| file.0.clone().into_owned()),
        None => layout.check(path).map(|()| String::new()),
    };
    let file = file.map_err(|why| (Reason::File, Cow::Borrowed(why)))?;
    let (revalidate, expire) = life(row)?;
    let record = Record {
        route: row.route.as_ref().map_or(path, |route| &route.0).to_owned(),
        path: path.to_owned(),
        inputs: row.inputs.as_ref().map(|inputs| self::inputs(inputs, path)).transpose()?,
        file,
        status: status(row, path)?,
        headers: headers(&row.headers, row.inputs.is_some())?,
        revalidate,
        expire,
        tags: tags(row)?,
        bytes: row.bytes,
        digest: row.sha256.as_ref().map(|hex| digest(&hex.0)).transpose()?,
    };
    if record.route.len() > MAX_TEXT {
        return Err((Reason::Path, "its route is longer than 1,024 bytes".into()));
    }
    Ok(Entry { record, layout })
}

fn text<'r>(text: Option<&'r Text<'_>>) -> &'r str {
    text.map_or("", |text| &text.0)
}

fn path<'r>(row: &'r Row<'_>) -> Result<&'r str, Refusal<'static>> {
    let path = match (&row.path, &row.route) {
        (Some(path), _) => &path.0,
        (None, Some(route)) if route.0.contains([':', '{', '[', '*']) => {
            return Err((Reason::NoPath, "its route has parameters, and no path is given".into()));
        }
        (None, Some(route)) => &route.0,
        (None, None) => return Err((Reason::NoPath, "neither a path nor a route is given".into())),
    };
    let why = if !path.starts_with('/') {
        "expected a path that begins with a slash"
    } else if path.len() > MAX_TEXT {
        "it is longer than 1,024 bytes"
    } else if path.contains(|c: char| c.is_control() || matches!(c, '?' | '#')) {
        "it has a `?`, a `#` or a control character in it"
    } else {
        return Ok(path);
    };
    Err((Reason::Path, why.into()))
}

fn status(row: &Row<'_>, path: &str) -> Result<StatusCode, Refusal<'static>> {
    let by_path = match path {
        "/404" => StatusCode::NOT_FOUND,
        "/500" | "/_error" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    match row.response_status {
        _ if row.not_found == Some(true) => Ok(StatusCode::NOT_FOUND),
        None => Ok(by_path),
        Some(code) => StatusCode::from_u16(code)
            .map_err(|_| (Reason::Status, format!("expected a status from 100 to 999, got {code}").into())),
    }
}

fn life(row: &Row<'_>) -> Result<(Revalidate, Option<Duration>), Refusal<'static>> {
    let revalidate = match row.revalidate {
        Time::Absent | Time::False => Revalidate::Never,
        Time::After(after) if !after.is_zero() => Revalidate::After(after),
        Time::After(_) => return Err((Reason::Revalidate, "it is zero, so it is never cached".into())),
        Time::Negative => return Err((Reason::Revalidate, "it is negative".into())),
        Time::True | Time::Null => return Err((Reason::Revalidate, "expected a number of seconds or `false`".into())),
    };
    match (row.expire, revalidate) {
        // An endless number is written as `null`.
        (Time::Absent | Time::Null, _) => Ok((revalidate, None)),
        (Time::After(expire), Revalidate::After(fresh)) if expire < fresh => {
            Err((Reason::Expire, "it is shorter than revalidate".into()))
        }
        (Time::After(expire), _) if !expire.is_zero() => Ok((revalidate, Some(expire))),
        _ => Err((Reason::Expire, "expected a number of seconds above zero".into())),
    }
}

/// All of them: without one of its tags, a page would outlive its invalidation.
fn tags(row: &Row<'_>) -> Result<Vec<Tag>, Refusal<'static>> {
    let tags = row.tags.as_ref().map(|tags| &*tags.0).unwrap_or_default();
    if tags.len() > MAX_TAGS {
        return Err((Reason::Tags, format!("expected at most {MAX_TAGS}, got more").into()));
    }
    let tags = tags.iter().map(|tag| Tag::new(&*tag.0));
    tags.collect::<Result<_, _>>().map_err(|why| (Reason::Tags, why.to_string().into()))
}

/// `own`: of a page that we rendered, which has no header that does not belong to it.
fn headers(lines: &Lines<'_>, own: bool) -> Result<HeaderMap, Refusal<'static>> {
    if lines.0.len() > MAX_LINES {
        return Err((Reason::Headers, format!("expected at most {MAX_LINES} lines, got more").into()));
    }
    let mut headers = HeaderMap::with_capacity(if lines.0.is_empty() { 0 } else { lines.0.len() + 1 });
    for (name, value) in &lines.0 {
        let (Ok(name), Ok(value)) = (name.0.parse::<HeaderName>(), HeaderValue::from_bytes(value.0.as_bytes())) else {
            return Err((Reason::Headers, format!("`{}` is not a header, or has not the value of one", name.0).into()));
        };
        if own || !is_of_transfer(name.as_str()) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// Fields that other tools keep with a page and that were true of one response only: how their own cache kept it, which
/// would forbid ours to, and when and how it was sent. The lifetime of the page is in its row.
fn is_of_transfer(name: &str) -> bool {
    let names =
        ["cache-control", "x-vinext-cache", "x-nextjs-cache", "cf-cache-status", "age", "date", "content-length"];
    names.contains(&name) || name.ends_with("cdn-cache-control")
}

fn inputs(row: &InputsRow<'_>, path: &str) -> Result<Inputs, Refusal<'static>> {
    let pairs = |lines: &Lines<'_>| {
        let pairs = lines.0.iter().map(|(name, value)| (name.0.clone().into_owned(), value.0.clone().into_owned()));
        let mut pairs = pairs.collect::<Vec<_>>();
        // As keys have them.
        pairs.sort_unstable();
        pairs
    };
    let inputs = Inputs {
        namespace: text(row.namespace.as_ref()).to_owned(),
        nest: text(row.nest.as_ref()).to_owned(),
        inner: row.inner.as_ref().map_or(path, |inner| &inner.0).to_owned(),
        query: text(row.query.as_ref()).to_owned(),
        host: text(row.host.as_ref()).to_owned(),
        headers: pairs(&row.headers),
        cookies: pairs(&row.cookies),
    };
    let Inputs { namespace, nest, inner, query, host, headers, cookies } = &inputs;
    let pairs = headers.iter().chain(cookies).flat_map(|(name, value)| [name, value]);
    let too_long = [namespace, nest, inner, query, host].into_iter().chain(pairs).any(|text| text.len() > MAX_TEXT);
    if too_long || headers.len() > MAX_LINES || cookies.len() > MAX_LINES {
        return Err((Reason::Inputs, "they are longer than what goes into a key".into()));
    }
    let twice = |pairs: &[(String, String)]| pairs.windows(2).any(|pair| pair[0].0 == pair[1].0);
    if twice(headers) || twice(cookies) {
        return Err((Reason::Inputs, "a header or a cookie has several values".into()));
    }
    Ok(inputs)
}

fn digest(hex: &str) -> Result<[u8; 32], Refusal<'static>> {
    let mut digest = [0; 32];
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let read = pairs.iter().zip(&mut digest).all(|([high, low], byte)| match (digit(*high), digit(*low)) {
        (Some(high), Some(low)) => {
            *byte = high << 4 | low;
            true
        }
        _ => false,
    });
    if read && rest.is_empty() && pairs.len() == digest.len() {
        return Ok(digest);
    }
    Err((Reason::Digest, "expected 64 hexadecimal digits".into()))
}
