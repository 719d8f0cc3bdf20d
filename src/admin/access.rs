//! Who may: whoever has the token, or a session that was begun with it, in our own page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

use super::answer::Refusal;
use super::cookie;
use super::session::Sessions;
use super::token::{Presented, Token};
use crate::clock::WallTime;
use crate::isr::Isr;

/// Our page sends it. A form cannot, and another site's script only after it has asked us, which we never allow.
const OUR_PAGE: HeaderName = HeaderName::from_static("x-axum-isr");

/// From where a request comes, as the browser says (Fetch Metadata Request Headers).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What it takes to be let in.
pub(super) struct Access {
    pub(super) token: Token,
    pub(super) sessions: Sessions,
}

/// The handle, for whoever may have it. No call of the API gets the handle in another way, so that none can forget to
/// look; and it is looked before the body is read.
pub(super) struct Authorized(pub(super) Isr);

impl<S> FromRequestParts<S> for Authorized
where
    S: Send + Sync,
    Isr: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let isr = Isr::from_ref(state);
        let access = parts.extensions.get::<Arc<Access>>().ok_or(Refusal::Unauthorized)?;
        access.authorize(&parts.method, &parts.headers, isr.shared.time.wall())?;
        Ok(Self(isr))
    }
}

impl Access {
    /// As the router's calls find it.
    pub(super) fn layer(self) -> Extension<Arc<Self>> {
        Extension(Arc::new(self))
    }

    fn authorize(&self, method: &Method, headers: &HeaderMap, now: WallTime) -> Result<(), Refusal> {
        match self.token.presented(headers) {
            Presented::Token => Ok(()),
            Presented::Nothing if self.has_session(headers, now) => {
                let is_welcome = if method.is_safe() { is_of_here(headers) } else { is_ours(headers) };
                if is_welcome { Ok(()) } else { Err(Refusal::CrossSite) }
            }
            Presented::Nothing | Presented::Wrong => Err(Refusal::Unauthorized),
        }
    }

    /// Whether a request may begin or end a session: nobody is logged in, or out, by another site.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.token.presented(headers) {
            Presented::Token => Ok(()),
            Presented::Nothing if is_ours(headers) => Ok(()),
            Presented::Nothing => Err(Refusal::CrossSite),
            Presented::Wrong => Err(Refusal::Unauthorized),
        }
    }

    fn has_session(&self, headers: &HeaderMap, now: WallTime) -> bool {
        cookie::find(headers).is_some_and(|session| self.sessions.is_valid(session, now))
    }
}

/// Whether a request is not of another site's page, nor of another host of ours, which has the cookie too.
fn is_of_here(headers: &HeaderMap) -> bool {
    headers.get_all(&SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none")
}

/// Whether a request is of our page, or of no browser.
fn is_ours(headers: &HeaderMap) -> bool {
    let mut marks = headers.get_all(&OUR_PAGE).iter().peekable();
    marks.peek().is_some()
        && marks.all(|mark| mark == "1")
        && headers.get_all(&SEC_FETCH_SITE).iter().all(|site| site == "same-origin")
}
