//! What would happen to a request, or by an invalidation.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::entries::shown;
use crate::error::ConfigError;
use crate::explain::{Explanation, TagExplanation};
use crate::isr::Isr;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Explained {
    Request(Box<Explanation>),
    Tag(TagExplanation),
}

/// `path` and any number of `header` (`Name: value`), or `tag`.
///
/// # Errors
///
/// When a parameter is not what it should be.
pub(super) fn explain(isr: &Isr, query: &str) -> Result<Explained, ConfigError> {
    let (mut path, mut tag, mut headers) = (None, None, HeaderMap::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "path" => path = Some(value.into_owned()),
            "tag" => tag = Some(value.into_owned()),
            "header" => {
                let (name, value) = header(&value)?;
                headers.append(name, value);
            }
            other => return Err(ConfigError::new("parameter", "path, header or tag", shown(other))),
        }
    }
    match (path, tag) {
        (Some(path), None) => Ok(Explained::Request(Box::new(isr.explain(&path, &headers)?))),
        (None, Some(tag)) if headers.is_empty() => Ok(Explained::Tag(isr.explain_tag(tag)?)),
        _ => Err(ConfigError::new("parameters", "a path, with headers or without, or a tag", shown(query))),
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let read = || {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    };
    read().ok_or_else(|| ConfigError::new("header", "Name: value", shown(line)))
}
