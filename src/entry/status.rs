//! `Cache-Status` (RFC 9211) in debug mode: what the default says of the state alone, in full.

use http::HeaderValue;
use sfv::{Integer, ItemSerializer, KeyRef, RefBareItem, StringRef, TokenRef};

use crate::policy::reason::{Failed, Reason};
use crate::policy::request::Bypass;

/// What one member of the list says.
pub(crate) struct Told<'k> {
    pub(crate) reason: Reason,
    /// Somebody else's request started the render (RFC 9211 §2.7).
    pub(crate) collapsed: bool,
    /// The page was kept (§2.5), and is fresh for so many seconds more, or was until so many ago (§2.4).
    pub(crate) ttl: Option<i64>,
    /// The key under which a store keeps the page (§2.6).
    pub(crate) key: Option<&'k str>,
}

impl Told<'_> {
    /// `axum-isr;hit;ttl=60;detail=fresh;key="…"`; `None` for what cannot be written, which nothing is.
    #[cold]
    pub(crate) fn value(&self) -> Option<HeaderValue> {
        let hit = matches!(self.reason, Reason::Hit | Reason::Stale(_));
        let mut item = ItemSerializer::new().bare_item(token("axum-isr")?);
        item = if hit {
            item.parameter(name("hit")?, true)
        } else {
            item.parameter(name("fwd")?, token(forwarded(self.reason))?)
        };
        if let Reason::Failed(Failed::Status(status)) = self.reason {
            item = item.parameter(name("fwd-status")?, Integer::from(status));
        }
        if !hit && self.ttl.is_some() {
            item = item.parameter(name("stored")?, true);
        }
        if self.collapsed {
            item = item.parameter(name("collapsed")?, true);
        }
        if let Some(ttl) = self.ttl {
            let ttl = Integer::try_from(ttl).unwrap_or(if ttl < 0 { Integer::MIN } else { Integer::MAX });
            item = item.parameter(name("ttl")?, ttl);
        }
        item = item.parameter(name("detail")?, token(self.reason.reason())?);
        if let Some(key) = self.key {
            let key: &StringRef = StringRef::from_str(key).ok()?;
            item = item.parameter(name("key")?, key);
        }
        HeaderValue::try_from(item.finish()).ok()
    }
}

/// Why the request went on (§2.2).
fn forwarded(reason: Reason) -> &'static str {
    match reason {
        Reason::Bypass(Bypass::Method) => "method",
        Reason::Bypass(_) | Reason::Pass(_) => "bypass",
        _ => "miss",
    }
}

fn name(text: &'static str) -> Option<&'static KeyRef> {
    KeyRef::from_str(text).ok()
}

fn token(text: &'static str) -> Option<RefBareItem<'static>> {
    TokenRef::from_str(text).ok().map(RefBareItem::Token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::reason::{Miss, Stale};
    use crate::policy::response::Pass;

    fn text(told: &Told<'_>) -> String {
        told.value().expect("valid").to_str().expect("text").to_owned()
    }

    #[test]
    fn each_state_is_written_as_the_rfc_has_it() {
        let told = |reason, collapsed, ttl| Told { reason, collapsed, ttl, key: None };
        for (told, expected) in [
            (told(Reason::Hit, false, Some(60)), "axum-isr;hit;ttl=60;detail=fresh"),
            (told(Reason::Stale(Stale::Age), false, Some(-5)), "axum-isr;hit;ttl=-5;detail=age"),
            (told(Reason::Miss(Miss::Cold), false, Some(60)), "axum-isr;fwd=miss;stored;ttl=60;detail=cold"),
            (told(Reason::Miss(Miss::Expired), true, None), "axum-isr;fwd=miss;collapsed;detail=expired"),
            (told(Reason::Bypass(Bypass::Method), false, None), "axum-isr;fwd=method;detail=method"),
            (told(Reason::Pass(Pass::SetCookie), false, None), "axum-isr;fwd=bypass;detail=set-cookie"),
            (told(Reason::Failed(Failed::Status(503)), false, None), "axum-isr;fwd=miss;fwd-status=503;detail=status"),
        ] {
            assert_eq!(text(&told), expected);
        }
    }

    #[test]
    fn a_key_is_a_string_and_never_ends_it() {
        let told =
            Told { reason: Reason::Hit, collapsed: false, ttl: Some(i64::MAX), key: Some("v1::/a\"b\\c?x=1:00") };
        assert_eq!(text(&told), r#"axum-isr;hit;ttl=999999999999999;detail=fresh;key="v1::/a\"b\\c?x=1:00""#);
    }
}
