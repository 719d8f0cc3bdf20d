//! What an application says about its routes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::freshness::{DEFAULT_EXPIRE, Revalidate};
use super::life::CacheLife;
use super::tag::{MAX_TAGS, Tag};
use crate::error::ConfigError;

/// Default of [`RouteConfig::max_body_bytes`]: 2 MiB.
pub(crate) const DEFAULT_MAX_BODY_BYTES: usize = 2 << 20;

/// The most query parameters, headers and cookies that one route may declare together, and the most of them that one
/// request may carry.
pub(crate) const MAX_INPUTS: usize = 32;

/// What a route does when its handler asks for the visitor's own request ([`DynamicRequest`](crate::DynamicRequest)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dynamic {
    /// The page is not shared: every visitor's own request goes to the handler (the default).
    #[default]
    Auto,
    /// The route is never cached, whatever else is configured: no look-up, no store, none of our headers.
    ForceDynamic,
    /// [`DynamicRequest`](crate::DynamicRequest) is empty and marks nothing: the page stays shared.
    ForceStatic,
    /// Asking is a mistake: the answer is a 500, and a log line names the route and the extractor.
    Error,
}

/// What a route caches and for how long. Cheap to clone.
///
/// Given to [`Isr::layer`](crate::Isr::layer), or put into a request's extensions by a middleware outside the layer,
/// which then wins. Everything that is not declared here as a key input is invisible to the handler of a cached
/// route: other query parameters, headers, cookies, the host.
///
/// ```
/// use std::time::Duration;
/// use axum_isr::RouteConfig;
///
/// let config = RouteConfig::revalidate(Duration::from_secs(60))
///     .query(["page"])
///     .header(http::HeaderName::from_static("hx-request"), ["true"]);
/// # drop(config);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RouteConfig(Arc<Settings>);

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) revalidate: Revalidate,
    expire: Option<Duration>,
    pub(crate) mode: Dynamic,
    /// As given; checked by `check`.
    tags: Vec<String>,
    pub(crate) query: Vec<String>,
    pub(crate) headers: Vec<Declared<HeaderName>>,
    pub(crate) cookies: Vec<Declared<String>>,
    pub(crate) host: bool,
    pub(crate) namespace: String,
    pub(crate) statuses: Vec<StatusCode>,
    pub(crate) max_body_bytes: usize,
    /// What was wrong in the arguments of a setter, which cannot return it.
    refused: Option<ConfigError>,
    checked: OnceLock<Result<Box<[Tag]>, ConfigError>>,
}

/// A header or cookie that is a key input, and the values that make variants.
#[derive(Clone, Debug)]
pub(crate) struct Declared<N> {
    pub(crate) name: N,
    pub(crate) values: Vec<String>,
}

impl Clone for Settings {
    fn clone(&self) -> Self {
        Self {
            revalidate: self.revalidate,
            expire: self.expire,
            mode: self.mode,
            tags: self.tags.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            cookies: self.cookies.clone(),
            host: self.host,
            namespace: self.namespace.clone(),
            statuses: self.statuses.clone(),
            max_body_bytes: self.max_body_bytes,
            refused: self.refused.clone(),
            // A copy is made to be changed: what was checked no longer holds.
            checked: OnceLock::new(),
        }
    }
}

impl RouteConfig {
    fn new(revalidate: Revalidate, mode: Dynamic) -> Self {
        Self(Arc::new(Settings {
            revalidate,
            expire: None,
            mode,
            tags: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            cookies: Vec::new(),
            host: false,
            namespace: String::new(),
            statuses: Vec::new(),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            refused: None,
            checked: OnceLock::new(),
        }))
    }

    /// A page is fresh for `after`, then served stale while it is rendered again in the background.
    ///
    /// Zero means that the route is not cached. Very long durations saturate.
    pub fn revalidate(after: Duration) -> Self {
        Self::new(Revalidate::After(after), Dynamic::Auto)
    }

    /// A page is fresh until it is invalidated ([`Revalidate::Never`]).
    pub fn forever() -> Self {
        Self::new(Revalidate::Never, Dynamic::Auto)
    }

    /// A page has a named life: fresh for [`CacheLife::revalidate`], served at all for [`CacheLife::expire`].
    pub fn life(life: CacheLife) -> Self {
        Self::revalidate(life.revalidate()).expire(life.expire())
    }

    /// The route is never cached ([`Dynamic::ForceDynamic`]); it beats a layer further in.
    pub fn dynamic() -> Self {
        Self::new(Revalidate::After(Duration::ZERO), Dynamic::ForceDynamic)
    }

    /// Bytes that it keeps if it is nobody else's; names and values are short.
    pub(crate) fn heap_bytes(&self) -> usize {
        let s = self.settings();
        let texts = s.tags.len() + s.query.len() + s.headers.len() + s.cookies.len();
        size_of::<Settings>() + 64 * texts
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let settings = Arc::make_mut(&mut self.0);
        settings.checked = OnceLock::new();
        change(settings);
        self
    }

    /// How long after its render a page may be served at all; from then on it is rendered while the visitor waits.
    ///
    /// Default: one year, or the time to revalidate where that is longer. Refused when shorter than the time to revalidate. Without meaning for
    /// [`forever`](Self::forever).
    pub fn expire(self, after: Duration) -> Self {
        self.set(|s| s.expire = Some(after))
    }

    /// What happens when the handler asks for the visitor's own request. Default: [`Dynamic::Auto`].
    pub fn mode(self, mode: Dynamic) -> Self {
        self.set(|s| s.mode = mode)
    }

    /// Tags of every page of this route, added to those that the handler names. At most 128, each 1 to 256 bytes.
    pub fn tags<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        self.set(|s| s.tags.extend(tags.into_iter().map(Into::into)))
    }

    /// Query parameters that are part of the key and visible to the handler, by their decoded names.
    ///
    /// All others are invisible. Their order and encoding do not multiply entries; several values of one name keep
    /// their order.
    pub fn query<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.set(|s| s.query.extend(names.into_iter().map(Into::into)))
    }

    /// A request header that makes variants, and the values that do: any other value counts as absent.
    ///
    /// Responses of the route get the name in `Vary`. `Host` is declared with [`host`](Self::host), cookies with
    /// [`cookie`](Self::cookie); names about the message (`Range`, `If-Match`, `Connection`, …) are refused.
    pub fn header<T: Into<String>>(self, name: HeaderName, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.set(|s| s.headers.push(Declared { name, values }))
    }

    /// A cookie that makes variants, and the values that do: any other value counts as absent.
    ///
    /// Responses of the route get `Vary: Cookie`.
    pub fn cookie<T: Into<String>>(self, name: impl Into<String>, values: impl IntoIterator<Item = T>) -> Self {
        let name = name.into();
        let values = values.into_iter().map(Into::into).collect();
        self.set(|s| s.cookies.push(Declared { name, values }))
    }

    /// Makes the host part of the key and visible to the handler: one entry for each host.
    ///
    /// Lower case, without a default port. Whoever can send requests chooses the value: check it against a list
    /// outside the layer when the number of hosts matters.
    pub fn host(self) -> Self {
        self.set(|s| s.host = true)
    }

    /// Keeps this route's entries apart from those of other routers that share the handle and have the same paths.
    pub fn namespace(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set(|s| {
            if name.is_empty() || name.len() > 64 {
                s.refused = Some(ConfigError::new("namespace", "1 to 64 bytes", format_args!("{name:?}")));
            }
            s.namespace = name;
        })
    }

    /// Further statuses to keep, besides 200, 203, 301, 308 and, where a pattern matched, 404 and 410.
    ///
    /// Not those that say that the page could not be made (408, 429, 5xx): they never take the place of a good page. Nor
    /// those that say that the visitor may not see it (401, 403, 407): they are about one visitor.
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.set(|s| s.statuses.extend(statuses))
    }

    /// The largest body to keep, in bytes; a larger one is passed on unstored. Default: 2 MiB.
    pub fn max_body_bytes(self, bytes: usize) -> Self {
        self.set(|s| s.max_body_bytes = bytes)
    }

    /// Whether both are the same configuration, not only equal ones.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0
    }

    /// The tags, once everything in the configuration was found to be good.
    pub(crate) fn check(&self) -> Result<&[Tag], &ConfigError> {
        self.0.checked.get_or_init(|| self.0.check()).as_deref()
    }
}

impl Settings {
    /// Whether more than the path is in the key.
    pub(crate) fn declares_inputs(&self) -> bool {
        self.host || !(self.query.is_empty() && self.headers.is_empty() && self.cookies.is_empty())
    }

    /// What the application said about the end of a page, which limits what a handler says about its freshness.
    pub(crate) fn explicit_expire(&self) -> Option<Duration> {
        self.expire.filter(|_| self.revalidate != Revalidate::Never)
    }

    /// From the render to the end of the entry.
    pub(crate) fn expire(&self) -> Duration {
        self.expire.unwrap_or(match self.revalidate {
            Revalidate::After(fresh) => fresh.max(DEFAULT_EXPIRE),
            Revalidate::Never => DEFAULT_EXPIRE,
        })
    }

    fn check(&self) -> Result<Box<[Tag]>, ConfigError> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        if let Revalidate::After(fresh) = self.revalidate
            && let Some(expire) = self.expire
            && expire < fresh
        {
            return Err(ConfigError::new(
                "expire",
                format!("at least the time to revalidate, {fresh:?}"),
                format_args!("{expire:?}"),
            ));
        }
        self.check_inputs()?;
        if let Some(status) = self.statuses.iter().find(|status| !storable(**status)) {
            return Err(ConfigError::new(
                "statuses",
                "final statuses of complete answers (not 1xx, 204, 205, 206, 304) that do not say that the page could \
                 not be made (not 408, 429, 5xx) or that the visitor may not see it (not 401, 403, 407)",
                status,
            ));
        }
        if self.max_body_bytes == 0 {
            return Err(ConfigError::new("max_body_bytes", "at least 1", 0));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(ConfigError::new("tags", format!("at most {MAX_TAGS}"), self.tags.len()));
        }
        self.tags.iter().map(|tag| Tag::new(tag).map_err(|problem| problem.of("tags"))).collect()
    }

    fn check_inputs(&self) -> Result<(), ConfigError> {
        let inputs = [(self.query.len(), "query"), (self.headers.len(), "header"), (self.cookies.len(), "cookie")];
        let all: usize = inputs.iter().map(|(declared, _)| declared).sum();
        if all > MAX_INPUTS {
            let (_, most) = inputs.into_iter().max().unwrap_or_default();
            let expected = format!("at most {MAX_INPUTS} declarations of query, header and cookie together");
            return Err(ConfigError::new(most, expected, all));
        }
        if self.query.iter().any(String::is_empty) {
            return Err(ConfigError::new("query", "names that are not empty", "\"\""));
        }
        for declared in &self.headers {
            if matches!(declared.name.as_str(), "host" | "cookie") {
                return Err(ConfigError::new(
                    "header",
                    "`.host()` for the host and `.cookie(…)` for cookies",
                    &declared.name,
                ));
            }
            if is_about_the_message(declared.name.as_str()) {
                return Err(ConfigError::new(
                    "header",
                    "a header that a page can depend on: not one about the connection, the request's own body, or which \
                     part or version of the page is wanted",
                    &declared.name,
                ));
            }
            check_values("header", declared.name.as_str(), &declared.values)?;
        }
        for declared in &self.cookies {
            let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
            if declared.name.is_empty() || !declared.name.bytes().all(token) {
                return Err(ConfigError::new(
                    "cookie",
                    "a cookie name (RFC 6265 §4.1.1)",
                    format_args!("{:?}", declared.name),
                ));
            }
            check_values("cookie", &declared.name, &declared.values)?;
            if declared.values.iter().any(|v| v.contains([' ', '"', ',', ';', '\\'])) {
                return Err(ConfigError::new(
                    "cookie",
                    format!("values of {} without blanks, quotes, commas, semicolons, backslashes", declared.name),
                    format_args!("{:?}", declared.values),
                ));
            }
        }
        let mut names: Vec<&str> = self.headers.iter().map(|d| d.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new("header", "each name once, with all its values", pair[0]));
        }
        let mut names: Vec<&str> = self.cookies.iter().map(|d| d.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new("cookie", "each name once, with all its values", pair[0]));
        }
        Ok(())
    }
}

/// A list that is empty would mean "any value": a visitor could make entries without end.
fn check_values(setting: &'static str, name: &str, values: &[String]) -> Result<(), ConfigError> {
    if values.is_empty() {
        return Err(ConfigError::new(setting, format!("at least one value of {name} that makes a variant"), "none"));
    }
    let visible = |v: &str| !v.is_empty() && v.trim() == v && v.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    match values.iter().find(|v| !visible(v)) {
        Some(value) => Err(ConfigError::new(
            setting,
            format!("values of {name} in visible ASCII, without blanks around them"),
            format_args!("{value:?}"),
        )),
        None => Ok(()),
    }
}

/// Requests with these are not looked up, or the field says nothing about the page (RFC 9110 §7.6.1, §8.6, §10.1, §13.1,
/// §14).
fn is_about_the_message(name: &str) -> bool {
    const NAMES: [&str; 15] = [
        "connection",
        "content-length",
        "expect",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name)
}

fn storable(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 204..=206 | 304 | 401 | 403 | 407 | 408 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn problem(config: &RouteConfig) -> String {
        config.check().expect_err("refused").to_string()
    }

    #[test]
    fn what_is_wrong_says_what_was_expected_and_what_came() {
        let base = || RouteConfig::revalidate(MINUTE);
        let x = || HeaderName::from_static("x-variant");
        for (config, expected) in [
            (base().expire(Duration::from_secs(1)), "expire: expected at least the time to revalidate, 60s, got 1s"),
            (
                base().header(x(), [""]),
                "header: expected values of x-variant in visible ASCII, without blanks around them, got \"\"",
            ),
            (
                base().header::<String>(x(), []),
                "header: expected at least one value of x-variant that makes a variant, got none",
            ),
            (
                base().header(x(), ["é"]),
                "header: expected values of x-variant in visible ASCII, without blanks around them, got \"é\"",
            ),
            (
                base().header(http::header::RANGE, ["bytes=0-0"]),
                "header: expected a header that a page can depend on: not one about the connection, the request's own \
                 body, or which part or version of the page is wanted, got range",
            ),
            (
                base().header(http::header::HOST, ["a"]),
                "header: expected `.host()` for the host and `.cookie(…)` for cookies, got host",
            ),
            (
                base().header(x(), ["a"]).header(x(), ["b"]),
                "header: expected each name once, with all its values, got x-variant",
            ),
            (base().cookie("a b", ["1"]), "cookie: expected a cookie name (RFC 6265 §4.1.1), got \"a b\""),
            (base().query([""]), "query: expected names that are not empty, got \"\""),
            (
                base().query((0..33).map(|n| n.to_string())),
                "query: expected at most 32 declarations of query, header and cookie together, got 33",
            ),
            (
                base().statuses([StatusCode::NO_CONTENT]),
                "statuses: expected final statuses of complete answers (not 1xx, 204, 205, 206, 304) that do not say that \
                 the page could not be made (not 408, 429, 5xx) or that the visitor may not see it (not 401, 403, \
                 407), got 204 No Content",
            ),
            (
                base().statuses([StatusCode::IM_A_TEAPOT, StatusCode::SERVICE_UNAVAILABLE]),
                "statuses: expected final statuses of complete answers (not 1xx, 204, 205, 206, 304) that do not say that \
                 the page could not be made (not 408, 429, 5xx) or that the visitor may not see it (not 401, 403, \
                 407), got 503 Service Unavailable",
            ),
            (base().max_body_bytes(0), "max_body_bytes: expected at least 1, got 0"),
            (base().tags([""]), "tags: expected 1 to 256 bytes, got 0 bytes"),
            (base().tags((0..129).map(|n| n.to_string())), "tags: expected at most 128, got 129"),
            (base().namespace(""), "namespace: expected 1 to 64 bytes, got \"\""),
        ] {
            assert_eq!(problem(&config), expected);
        }
    }

    #[test]
    fn a_change_is_checked_anew() {
        let good = RouteConfig::revalidate(MINUTE);
        assert!(good.check().is_ok());
        assert!(good.clone().expire(Duration::ZERO).check().is_err());
        assert!(good.check().is_ok());
    }
}
