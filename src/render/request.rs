//! The render request: a pure function of the key (I1).

use axum::body::Body;
use axum::extract::Request;
use http::{HeaderName, HeaderValue, Uri, header};

use crate::key::Parts;

/// `GET`, the path, the declared query, headers and cookies in canonical form, and a `Host` if it is keyed or
/// configured. No scheme, no authority, no other header, no body, no extension.
///
/// First renders, regenerations and prerenders all come from here. `None` if the key holds no valid target, which the
/// builder cannot write.
pub(crate) fn render_request(key: &Parts<'_>, public_host: Option<&HeaderValue>) -> Option<Request> {
    let target = if key.query.is_empty() { key.path.to_owned() } else { format!("{}?{}", key.path, key.query) };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::try_from(target).ok()?;
    let headers = request.headers_mut();
    if key.host.is_empty() {
        if let Some(host) = public_host {
            headers.insert(header::HOST, host.clone());
        }
    } else {
        headers.insert(header::HOST, HeaderValue::from_str(key.host).ok()?);
    }
    for (name, value) in &key.headers {
        headers.insert(HeaderName::try_from(*name).ok()?, HeaderValue::from_str(value).ok()?);
    }
    if !key.cookies.is_empty() {
        let pairs: Vec<String> = key.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        headers.insert(header::COOKIE, HeaderValue::try_from(pairs.join("; ")).ok()?);
    }
    Some(request)
}
