//! The routes of which requests have come, and what a request would be to them.

use axum::body::Body;
use axum::extract::{MatchedPath, NestedPath, OriginalUri, Request};
use http::{HeaderMap, Uri};

use crate::isr::Shared;
use crate::policy::route::RouteConfig;
use crate::telemetry::Site;

/// A route that a request would come to, with the request as its layer would see it.
pub(super) struct Candidate {
    pub(super) pattern: String,
    /// None: nobody has said how to cache it.
    pub(super) config: Option<RouteConfig>,
    pub(super) request: Request,
}

/// Where a `GET` would come to, by what has come there before.
pub(super) fn candidates(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Vec<Candidate> {
    let routes = shared.routes.all();
    let sites: Vec<_> = routes
        .iter()
        .flat_map(|route| route.sites().into_iter().map(|site| (route.pattern().to_string(), site)))
        .collect();
    // Patterns that cannot stand beside another are of another router.
    let mut matchers: Vec<matchit::Router<&str>> = Vec::new();
    for pattern in routes.iter().map(|route| &**route.pattern()).filter(|pattern| !pattern.is_empty()) {
        if !matchers.iter_mut().any(|matcher| matcher.insert(pattern, pattern).is_ok()) {
            let mut matcher = matchit::Router::new();
            // What no router has taken would not be a pattern of axum's.
            let _ = matcher.insert(pattern, pattern);
            matchers.push(matcher);
        }
    }
    let win: Vec<_> =
        matchers.iter().filter_map(|matcher| matcher.at(uri.path()).ok()).map(|found| *found.value).collect();
    let mut found: Vec<_> = sites
        .iter()
        .filter(|(_, site)| site.matched.as_ref().is_none_or(|matched| win.contains(&matched.as_str())))
        .filter_map(|(pattern, site)| {
            let request = request(uri, headers, site)?;
            Some(Candidate { pattern: pattern.clone(), config: site.config.clone(), request })
        })
        .collect();
    // A layer around a whole router sees what its routes do not; one without a configuration leaves it to those further in.
    found.sort_by_key(|candidate| {
        (candidate.request.extensions().get::<MatchedPath>().is_none(), candidate.config.is_none())
    });
    found
}

/// The request as the layer would see it; `None` if it would not come there.
fn request(uri: &Uri, headers: &HeaderMap, site: &Site) -> Option<Request> {
    let inner = match &site.nested {
        Some(nested) => stripped(uri, nested)?,
        None => uri.clone(),
    };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = inner;
    *request.headers_mut() = headers.clone();
    let extensions = request.extensions_mut();
    extensions.insert(OriginalUri(uri.clone()));
    if let Some(matched) = &site.matched {
        extensions.insert(matched.clone());
    }
    if let Some(nested) = &site.nested {
        extensions.insert(nested.clone());
    }
    Some(request)
}

/// As a nest hands it on: without as many segments as its pattern has.
fn stripped(uri: &Uri, nested: &NestedPath) -> Option<Uri> {
    let mut path = uri.path();
    for segment in nested.as_str().split('/').filter(|segment| !segment.is_empty()) {
        let rest = path.strip_prefix('/')?;
        let (first, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !segment.starts_with('{') && segment != first {
            return None;
        }
        path = rest;
    }
    let path = if path.is_empty() { "/" } else { path };
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}
