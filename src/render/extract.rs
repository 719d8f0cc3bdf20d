//! What a handler can say ([`Render`]) and ask ([`DynamicRequest`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};

use super::context::{Marker, RenderContext, RenderReason};
use crate::policy::life::CacheLife;
use crate::policy::route::Dynamic;

/// What a handler says about the page that it renders. An extractor that never fails.
///
/// Outside the layer, and for a visitor's own request, everything it says is without effect: it cannot switch caching
/// on. Cheap to clone; it may be moved into the body and used until the body ends.
///
/// ```
/// use axum_isr::Render;
///
/// async fn post(render: Render) -> String {
///     render.tag("post:42");
///     "…".to_owned()
/// }
/// # drop(post);
/// ```
#[derive(Clone)]
pub struct Render(Option<Arc<RenderContext>>);

impl Render {
    /// Adds a tag to the page: 1 to 256 bytes, at most 128 tags a page, the route's included.
    ///
    /// A page with a tag outside these bounds is not kept, because without it the page would outlive its
    /// invalidation.
    pub fn tag(&self, tag: impl AsRef<str>) {
        if let Some(context) = &self.0 {
            context.tag(tag.as_ref());
        }
    }

    /// Replaces the route's time to revalidate for this page. Of several calls the shortest wins; zero is
    /// [`no_store`](Self::no_store). Said after the head went out, it changes the entry and not this response.
    pub fn revalidate(&self, after: Duration) {
        if let Some(context) = &self.0 {
            context.revalidate(after);
        }
    }

    /// Replaces the route's time to expire for this page. Of several calls the shortest wins.
    pub fn expire(&self, after: Duration) {
        if let Some(context) = &self.0 {
            context.expire(after);
        }
    }

    /// Gives this page a named life: [`revalidate`](Self::revalidate) and [`expire`](Self::expire) in one.
    pub fn life(&self, life: CacheLife) {
        self.revalidate(life.revalidate());
        self.expire(life.expire());
    }

    /// The page is not shared: it is not kept, and visitors' own requests go to the handler.
    pub fn no_store(&self) {
        if let Some(context) = &self.0 {
            context.no_store();
        }
    }

    /// Why the handler runs.
    #[must_use]
    pub fn reason(&self) -> RenderReason {
        self.0.as_ref().map_or(RenderReason::Visitor, |context| context.reason)
    }
}

impl std::fmt::Debug for Render {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Render").field(&self.reason()).finish()
    }
}

impl<S: Sync> FromRequestParts<S> for Render {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(match parts.extensions.get() {
            Some(Marker::Render(context)) => Some(Arc::clone(context)),
            _ => None,
        }))
    }
}

/// The visitor's own request: headers (cookies among them) and URI. Using it makes a page that is not shared.
///
/// While the cache renders a page, extracting this notes that the page depends on the visitor and then rejects, so that
/// the handler does not run; each visitor's own request then goes to the handler, where it works. The note is the
/// verdict, not the rejection: a handler that takes `Result<DynamicRequest, _>` is not cached either. What the route
/// does instead is set by [`Dynamic`].
///
/// `Option<DynamicRequest>` is not offered on purpose: "no visitor" is not a case that a handler could render.
#[derive(Clone, Debug)]
pub struct DynamicRequest {
    headers: HeaderMap,
    uri: Uri,
}

impl DynamicRequest {
    /// The visitor's headers; empty under [`Dynamic::ForceStatic`].
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The URI as the handler's router sees it; `/` under [`Dynamic::ForceStatic`].
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    fn of(parts: &Parts) -> Self {
        Self { headers: parts.headers.clone(), uri: parts.uri.clone() }
    }

    fn empty() -> Self {
        Self { headers: HeaderMap::new(), uri: Uri::default() }
    }
}

/// Why there is no [`DynamicRequest`]: the page is being rendered for everybody, or the route forbids to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the visitor's request is not available while a page is rendered for the cache")]
#[non_exhaustive]
pub struct DynamicRejection;

impl IntoResponse for DynamicRejection {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for DynamicRequest {
    type Rejection = DynamicRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, DynamicRejection> {
        let marker = parts.extensions.get();
        let mode = match marker {
            Some(Marker::Render(context)) => context.mode,
            Some(Marker::Visitor(mode)) => *mode,
            None => return Ok(Self::of(parts)),
        };
        match (mode, marker) {
            (Dynamic::ForceStatic, _) => Ok(Self::empty()),
            (Dynamic::Error, Some(Marker::Render(context))) => {
                context.set_forbidden();
                tracing::error!(
                    target: "axum_isr",
                    route = %context.pattern,
                    extractor = "DynamicRequest",
                    "a route in mode Error asked for the visitor's request"
                );
                Err(DynamicRejection)
            }
            (Dynamic::Error, _) => Err(DynamicRejection),
            (_, Some(Marker::Render(context))) => {
                context.set_dynamic();
                Err(DynamicRejection)
            }
            _ => Ok(Self::of(parts)),
        }
    }
}
