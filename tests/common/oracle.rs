//! The oracle of attacks. A site is visited twice: once by a clean visitor in the attacker's place, once by the attacker.
//! After each of his requests, with the page missing and with the page stale, clean visitors come. They must get, byte
//! for byte, what they get where nobody attacked; the handler must have run as often; the attacker's mark is nowhere.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use http::HeaderName;
use http_body_util::BodyExt;

use super::{Handler, send, settled, state};

/// In every request of an attacker, and in no answer to anybody else.
pub const MARK: &str = "mallory-5ecret";

/// How long the pages of a site are fresh.
pub const LIFE: Duration = Duration::from_secs(60);

/// A user, as a login layer outside would put it into the extensions of requests.
#[derive(Clone, Debug)]
pub struct User(pub String);

/// An application under attack.
pub struct Site {
    pub isr: Isr,
    pub clock: ManualClock,
    pub handler: Handler,
    pub app: Router,
}

impl Site {
    pub fn new(handler: Handler, app: impl FnOnce(&Isr, Handler) -> Router) -> Self {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().unwrap();
        let app = app(&isr, handler.clone());
        Self { isr, clock, handler, app }
    }

    /// One handler for `/` and everything below.
    pub fn page(handler: Handler, config: RouteConfig) -> Self {
        Self::new(handler, |isr, handler| {
            let layer = isr.try_layer(config).unwrap();
            Router::new().route("/", get(handler.clone())).route("/{*path}", get(handler)).route_layer(layer)
        })
    }
}

/// All that a visitor can tell about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub state: &'static str,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().map(|(n, v)| (n.to_string(), text(v.as_bytes())));
        let headers = headers.collect();
        let status = parts.status.as_u16();
        let response = Response::from_parts(parts, axum::body::Body::empty());
        let body = match body.collect().await {
            Ok(body) => text(&body.to_bytes()),
            Err(error) => format!("broken: {error}"),
        };
        Self { state: state(&response), status, headers, body }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub fn holds(&self, mark: &str) -> bool {
        self.body.contains(mark) || self.headers.iter().any(|(n, v)| n.contains(mark) || v.contains(mark))
    }
}

/// Bytes as text; those that are none, escaped.
pub fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
}

/// One attack on one site.
pub struct Attack<'t> {
    pub site: &'t dyn Fn() -> Site,
    pub requests: &'t dyn Fn() -> Vec<Request>,
    pub victim: &'t dyn Fn() -> Request,
    /// Calls of the handler beyond those that as many clean visitors cause.
    pub extra: usize,
}

/// What came of an attack.
pub struct Aftermath {
    pub attacker: Vec<Seen>,
    pub victims: Vec<Seen>,
    pub site: Site,
}

impl Attack<'_> {
    /// Carries the attack out, and panics if it had an effect on anybody but the attacker.
    pub async fn fails(&self, name: &str) -> Aftermath {
        let peace = self.run(&|| (self.requests)().iter().map(|_| (self.victim)()).collect()).await;
        let clean: Vec<&Seen> = peace.attacker.iter().chain(&peace.victims).collect();
        let war = self.run(self.requests).await;
        for victim in &war.victims {
            let known: Vec<_> = clean.iter().filter(|seen| seen.state == victim.state).collect();
            assert!(!known.is_empty(), "{name}: nobody gets this without an attack: {victim:?}");
            assert!(known.iter().all(|seen| **seen == victim), "{name}: {victim:#?}\nwithout an attack {known:#?}");
            assert!(!victim.holds(MARK), "{name}: {victim:?}");
        }
        let (calls, peaceful) = (war.site.handler.calls(), peace.site.handler.calls());
        assert_eq!(calls, peaceful + self.extra, "{name}: calls of the handler");
        war
    }

    async fn run(&self, first: &dyn Fn() -> Vec<Request>) -> Aftermath {
        let site = (self.site)();
        let (mut attacker, mut victims) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            for request in first() {
                attacker.push(Seen::of(send(&site.app, request).await).await);
                settled(&site.isr).await;
            }
            for _ in 0..2 {
                victims.push(Seen::of(send(&site.app, (self.victim)()).await).await);
                settled(&site.isr).await;
            }
            site.clock.advance(LIFE);
        }
        Aftermath { attacker, victims, site }
    }
}

/// A page that shows all that its handler can see of a request, in its body and in its headers.
pub fn mirror() -> Handler {
    Handler::new(|_, request| async move {
        let (parts, body) = request.into_parts();
        let mut page = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
        for (name, value) in &parts.headers {
            writeln!(page, "{name}: {}", value.as_bytes().escape_ascii()).unwrap();
        }
        let extensions = &parts.extensions;
        writeln!(page, "original {:?}", extensions.get::<OriginalUri>().map(|uri| uri.0.to_string())).unwrap();
        writeln!(page, "user {:?}", extensions.get::<User>()).unwrap();
        writeln!(page, "peer {:?}", extensions.get::<ConnectInfo<std::net::SocketAddr>>()).unwrap();
        let body = body.collect().await.map(|body| body.to_bytes().escape_ascii().to_string());
        writeln!(page, "body {body:?}").unwrap();
        let mut response = page.into_response();
        for (name, value) in &parts.headers {
            let name = HeaderName::try_from(format!("x-saw-{name}")).unwrap();
            response.headers_mut().append(name, value.clone());
        }
        response
    })
}

/// Headers that frameworks, proxies and caches have been steered with. None of them makes a request bypass.
#[rustfmt::skip]
pub const HEADERS: &[&str] = &[
    "accept", "accept-charset", "accept-datetime", "accept-encoding", "accept-language", "access-control-request-headers",
    "access-control-request-method", "akamai-origin-hop", "alt-used", "authorization", "base-url", "cache-control",
    "cdn-loop", "cf-connecting-ip", "cf-ipcountry", "cf-ray", "cf-visitor", "client-ip", "cloudfront-forwarded-proto",
    "cloudfront-is-mobile-viewer", "connection", "content-encoding", "content-language", "content-type", "cookie", "date",
    "device-memory", "dnt", "downlink", "dpr", "early-data", "ect", "expect", "fastly-client-ip", "fastly-debug",
    "fastly-ff", "fastly-ssl", "forwarded", "forwarded-for", "forwarded-host", "forwarded-proto", "from", "front-end-https",
    "host", "http2-settings", "hx-boosted", "hx-current-url", "hx-request", "hx-target", "if-modified-since",
    "if-none-match", "if-range", "keep-alive", "max-forwards", "next-action", "next-resume", "next-router-prefetch",
    "next-router-state-tree", "next-url", "origin", "pragma", "priority", "profile", "proxy", "proxy-authorization",
    "proxy-connection", "proxy-host", "purpose", "referer", "referrer", "request-id", "rsc", "rtt", "save-data",
    "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-ch-width", "sec-fetch-dest", "sec-fetch-mode",
    "sec-fetch-site", "sec-fetch-user", "sec-gpc", "sec-purpose", "service-worker", "surrogate-capability", "te",
    "traceparent", "tracestate", "trailer", "translate", "true-client-ip", "upgrade-insecure-requests", "user-agent", "via",
    "viewport-width", "wap-connection", "x-amz-cf-id", "x-amz-website-redirect-location", "x-api-version",
    "x-appengine-country", "x-arr-ssl", "x-axum-isr", "x-backend-host", "x-bypass-cache", "x-cache", "x-cache-info",
    "x-client-ip", "x-cluster-client-ip", "x-correlation-id", "x-csrf-token", "x-custom-ip-authorization", "x-debug",
    "x-device", "x-do-not-track", "x-envoy-original-path", "x-forward-for", "x-forwarded", "x-forwarded-by",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-path", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-proto", "x-forwarded-protocol", "x-forwarded-scheme", "x-forwarded-server", "x-forwarded-ssl",
    "x-forwarded-uri", "x-http-destinationurl", "x-http-host-override", "x-http-method", "x-http-method-override",
    "x-host", "x-invoke-path", "x-invoke-status", "x-isr", "x-isr-bypass", "x-isr-revalidate", "x-language",
    "x-matched-path", "x-method-override", "x-middleware-next", "x-middleware-prefetch", "x-middleware-rewrite",
    "x-middleware-subrequest", "x-mobile", "x-moz", "x-nextjs-data", "x-no-cache", "x-now-route-matches", "x-original-host",
    "x-original-method", "x-original-remote-addr", "x-original-url", "x-originating-ip", "x-override-url", "x-pjax",
    "x-prerender-revalidate", "x-prerender-revalidate-if-generated", "x-proto", "x-proxy-url", "x-purpose", "x-real-ip",
    "x-remix-request", "x-remote-addr", "x-remote-ip", "x-request-id", "x-requested-with", "x-rewrite-url", "x-scheme",
    "x-sendfile", "x-skip-middleware", "x-theme", "x-tenant", "x-timer", "x-trace-id", "x-true-ip", "x-turbo-request-id",
    "x-ua-device", "x-url-scheme", "x-user-id", "x-varnish", "x-vercel-id", "x-vinext-cache", "x-wap-profile",
    "x-wp-nonce", "x-xsrf-token", "x-zope-cookie", "xroxy-connection",
];
