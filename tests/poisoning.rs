//! Unkeyed input: nothing that a request carries beside its key reaches the page that others get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::RouteConfig;
use common::oracle::{Attack, HEADERS, LIFE, MARK, Seen, Site, mirror};
use common::{Handler, request, request_with, send, settled};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body::Frame;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};

fn plain() -> RouteConfig {
    RouteConfig::revalidate(LIFE)
}

fn site(handler: Handler) -> Site {
    Site::page(handler, plain())
}

fn victim() -> Request {
    request_with("/page", &[("host", "site.example"), ("accept", "text/html")])
}

/// R4, CASES 18, 20, 57, 64: two hundred headers, all at once and each for itself, with the page missing and with the
/// page stale, on a page that shows whatever its handler sees.
#[tokio::test]
async fn no_header_of_a_visitor_reaches_the_page() {
    assert!(HEADERS.len() >= 120);
    let all = || {
        let marked: Vec<_> = HEADERS.iter().map(|name| (*name, MARK)).collect();
        vec![request_with("/page", &marked)]
    };
    let attack = Attack { site: &|| site(mirror()), requests: &all, victim: &victim, extra: 0 };
    let after = attack.fails("all headers").await;
    assert!(!after.attacker[0].holds(MARK), "the attacker gets the page that everybody gets");
    for name in HEADERS {
        let one = || {
            let lines = [(*name, MARK), (*name, "1"), ("x-other", MARK)];
            vec![request_with("/page", &lines[..2]), request_with("/page", &lines)]
        };
        let attack = Attack { site: &|| site(mirror()), requests: &one, victim: &victim, extra: 0 };
        let after = attack.fails(name).await;
        let states: Vec<_> = after.attacker.iter().map(|seen| seen.state).collect();
        assert_eq!(states, ["MISS", "HIT", "STALE", "HIT"], "{name}");
        assert_eq!(after.victims[0].state, "HIT", "{name}");
    }
}

/// CASES 20, 56, 57: the host and the scheme, wherever a request can say them, in a page that makes absolute links.
#[tokio::test]
async fn links_are_not_made_from_what_a_visitor_says() {
    let links = || {
        Handler::new(|_, request: Request| async move {
            let said = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
            let host = said("x-forwarded-host").or_else(|| said("host"));
            let host = host.or_else(|| Some(request.uri().authority()?.to_string())).unwrap_or_default();
            let scheme = said("x-forwarded-proto").or_else(|| Some(request.uri().scheme_str()?.to_owned()));
            let port = said("x-forwarded-port").unwrap_or_default();
            let prefix = said("x-forwarded-prefix").unwrap_or_default();
            format!("<a href='{}://{host}:{port}{prefix}/next'>", scheme.unwrap_or_default())
        })
    };
    let evil = format!("{MARK}.example");
    for headers in [
        vec![("host", &*evil)],
        vec![("host", "site.example"), ("x-forwarded-host", &*evil), ("x-forwarded-port", "666")],
        vec![("host", "site.example"), ("x-forwarded-proto", "http")],
        vec![("host", "site.example"), ("x-forwarded-proto", MARK), ("x-forwarded-prefix", MARK)],
        vec![("host", "site.example"), ("host", &*evil)],
        vec![],
    ] {
        let requests = || vec![request_with("/page", &headers)];
        Attack { site: &|| site(links()), requests: &requests, victim: &victim, extra: 0 }.fails("headers").await;
        for target in [format!("http://{evil}/page"), format!("https://{evil}:444/page")] {
            let requests = || vec![request_with(&target, &headers)];
            Attack { site: &|| site(links()), requests: &requests, victim: &victim, extra: 0 }.fails(&target).await;
        }
    }
}

async fn override_method(mut request: Request, next: Next) -> Response {
    let headers = ["x-http-method-override", "x-http-method", "x-method-override"];
    let named = headers.iter().find_map(|name| request.headers().get(*name).cloned());
    let query = request.uri().query().and_then(|q| q.strip_prefix("_method=")).map(str::to_owned);
    let named = named.map(|value| value.to_str().unwrap().to_owned()).or(query);
    if let Some(named) = named {
        *request.method_mut() = Method::from_bytes(named.as_bytes()).unwrap();
    }
    next.run(request).await
}

/// CASES 58: a layer that believes in method overrides makes an error of a GET. Inside it never sees the header;
/// outside the request is no GET any more when it arrives. Neither way is the error page kept.
#[tokio::test]
async fn a_method_override_does_not_replace_the_page_by_an_error() {
    let handler = || {
        Handler::new(|_, request: Request| async move {
            match request.method() {
                &Method::GET => "the page".into_response(),
                other => (StatusCode::METHOD_NOT_ALLOWED, format!("no {other} {MARK}")).into_response(),
            }
        })
    };
    let inside = || {
        Site::new(handler(), |isr, handler| {
            Router::new().route("/page", get(handler)).layer(from_fn(override_method)).layer(isr.layer(plain()))
        })
    };
    let outside = || {
        Site::new(handler(), |isr, handler| {
            Router::new().route("/page", get(handler)).layer(isr.layer(plain())).layer(from_fn(override_method))
        })
    };
    for (target, name) in [
        ("/page", "x-http-method-override"),
        ("/page", "x-http-method"),
        ("/page", "x-method-override"),
        ("/page?_method=POST", "x-none"),
    ] {
        let requests = || vec![request_with(target, &[(name, "POST")])];
        let attack = Attack { site: &inside, requests: &requests, victim: &victim, extra: 0 };
        assert_eq!(attack.fails(name).await.attacker[0].body, "the page");
        let attack = Attack { site: &outside, requests: &requests, victim: &victim, extra: 2 };
        let after = attack.fails(name).await;
        assert_eq!((after.attacker[0].status, after.attacker[0].state), (405, ""), "{target} {name}");
    }
}

/// CASES 62: a handler that negotiates and forgets `Vary`.
#[tokio::test]
async fn negotiation_without_vary_has_one_result() {
    let handler = || {
        Handler::new(|_, request: Request| async move {
            let said = |name| request.headers().get(name).map_or("", |v| v.to_str().unwrap());
            let kind = if said("accept").contains("json") { "application/json" } else { "text/html" };
            let text = format!("{}/{}/{kind}", said("accept-language"), said("accept-charset"));
            ([(header::CONTENT_TYPE, kind)], text)
        })
    };
    for (name, value) in [("accept", "application/json"), ("accept-language", MARK), ("accept-charset", MARK)] {
        let requests = || vec![request_with("/page", &[(name, value)])];
        let attack = Attack { site: &|| site(handler()), requests: &requests, victim: &victim, extra: 0 };
        let after = attack.fails(name).await;
        assert_eq!(after.victims[0].body, "//text/html", "{name}");
        assert_eq!((after.attacker[0].body.as_str(), after.victims[0].state), ("//text/html", "HIT"), "{name}");
    }
}

/// CASES 63: a CORS layer inside names the origin it answers in `Vary`, so each visitor's own request goes to it; outside,
/// it answers for a page that is shared. A handler that reflects the origin without saying so does not see it.
#[tokio::test]
async fn no_visitor_gets_the_permission_that_another_origin_was_given() {
    let evil = || vec![request_with("/page", &[("origin", &format!("https://{MARK}.example"))])];
    let good = || request_with("/page", &[("origin", "https://good.example")]);
    let cors = || CorsLayer::new().allow_origin(AllowOrigin::mirror_request());
    let page = || Handler::new(|_, _| async { "the page" });
    let inside = || {
        Site::new(page(), |isr, handler| {
            Router::new().route("/page", get(handler)).layer(cors()).layer(isr.layer(plain()))
        })
    };
    let outside = || {
        Site::new(page(), |isr, handler| {
            Router::new().route("/page", get(handler)).layer(isr.layer(plain())).layer(cors())
        })
    };
    let inside: &dyn Fn() -> Site = &inside;
    for (name, site, state) in [("inside", inside, ""), ("outside", &outside, "HIT")] {
        let after = Attack { site, requests: &evil, victim: &good, extra: 0 }.fails(name).await;
        assert!(after.attacker[0].header("access-control-allow-origin").contains(MARK), "{name}");
        assert_eq!(after.victims[0].header("access-control-allow-origin"), "https://good.example", "{name}");
        assert_eq!((after.victims[0].state, after.site.isr.stats().stored > 0), (state, state == "HIT"), "{name}");
    }
    let by_hand = || {
        site(Handler::new(|_, request: Request| async move {
            let mut response = "the page".into_response();
            if let Some(origin) = request.headers().get(header::ORIGIN) {
                response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
            response
        }))
    };
    let after = Attack { site: &by_hand, requests: &evil, victim: &good, extra: 0 }.fails("by hand").await;
    assert_eq!(after.attacker[0].header("access-control-allow-origin"), "");
}

#[derive(Clone, Default)]
struct Ids(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl MakeRequestId for Ids {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        let n = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Some(RequestId::new(HeaderValue::try_from(format!("id-{n}")).unwrap()))
    }
}

/// R3, R11, CASES 65: ids of requests, echoed or made inside, are not in the page; made outside, each visitor has its own,
/// HIT or not.
#[tokio::test]
async fn a_hit_does_not_carry_the_id_of_another_request() {
    let echo = || {
        Handler::new(|_, request: Request| async move {
            let mut response = "the page".into_response();
            for name in ["x-request-id", "x-correlation-id", "traceparent", "server-timing"] {
                let value = request.headers().get(name).cloned();
                if let Some(value) = value.or_else(|| (name == "server-timing").then(|| HeaderValue::from_static("db")))
                {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        })
    };
    let (set, propagate) = (|| SetRequestIdLayer::x_request_id(Ids::default()), PropagateRequestIdLayer::x_request_id);
    let inside = || {
        Site::new(echo(), |isr, handler| {
            Router::new().route("/page", get(handler)).layer(propagate()).layer(set()).layer(isr.layer(plain()))
        })
    };
    let names = ["x-request-id", "x-correlation-id", "traceparent"];
    let requests = || vec![request_with("/page", &names.map(|name| (name, MARK)))];
    let after = Attack { site: &inside, requests: &requests, victim: &victim, extra: 0 }.fails("inside").await;
    for seen in after.attacker.iter().chain(&after.victims) {
        for name in names.iter().chain(&["server-timing"]) {
            assert_eq!(seen.header(name), "", "{name} in {seen:?}");
        }
    }
    let outside = Site::new(echo(), |isr, handler| {
        Router::new().route("/page", get(handler)).layer(isr.layer(plain())).layer(propagate()).layer(set())
    });
    for n in 0..4 {
        let response = common::fetch(&outside.app, "/page").await;
        assert_eq!(common::header(&response, "x-request-id"), format!("id-{n}"));
        assert_eq!(common::state(&response), if n == 0 { "MISS" } else { "HIT" });
    }
}

/// CASES 66: what asks for a part, a protocol or a condition goes to the handler, or is not seen by it; the page of others
/// is whole either way. A client's cache directives do nothing at all.
#[tokio::test]
async fn fields_of_one_exchange_do_not_change_the_page() {
    let handler = || {
        Handler::new(|_, request: Request| async move {
            let names = ["range", "if-range", "expect", "te", "upgrade", "trailer", "connection", "if-match"];
            match names.iter().find(|name| request.headers().contains_key(**name)) {
                Some(&"range") => {
                    let part = [(header::CONTENT_RANGE, "bytes 0-0/8")];
                    (StatusCode::PARTIAL_CONTENT, part, MARK).into_response()
                }
                Some(name) => (StatusCode::EXPECTATION_FAILED, format!("{name} {MARK}")).into_response(),
                None => "the page".into_response(),
            }
        })
    };
    for (headers, extra) in [
        (&[("range", "bytes=0-0")][..], 2),
        (&[("range", "bytes=9-"), ("if-range", "\"x\"")], 2),
        (&[("range", MARK)], 2),
        (&[("upgrade", "websocket"), ("connection", "upgrade")], 2),
        (&[("if-match", "\"x\"")], 2),
        (&[("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT")], 2),
        (&[("content-length", "5")], 2),
        (&[("transfer-encoding", "chunked")], 2),
        (&[("if-range", "\"x\"")], 0),
        (&[("expect", "100-continue")], 0),
        (&[("te", "trailers, deflate")], 0),
        (&[("trailer", "x-checksum")], 0),
        (&[("connection", "close, x-forwarded-for")], 0),
        (&[("if-none-match", "*")], 0),
        (&[("if-modified-since", "Sat, 29 Oct 2094 19:43:31 GMT")], 0),
        (&[("max-forwards", "0")], 0),
        (&[("cache-control", "no-cache, no-store, max-age=0, only-if-cached"), ("pragma", "no-cache")], 0),
    ] {
        let requests = || vec![request_with("/page", headers)];
        let attack = Attack { site: &|| site(handler()), requests: &requests, victim: &victim, extra };
        let after = attack.fails(headers[0].0).await;
        assert!(after.victims.iter().all(|seen| (seen.status, &*seen.body) == (200, "the page")), "{headers:?}");
    }
}

/// CASES 57, 69: what steers a browser (`Refresh`, `Link`, `Alt-Svc`, `NEL`, `Report-To`) is kept as the handler said it,
/// and made of nothing but the key.
#[tokio::test]
async fn headers_that_steer_browsers_come_from_keyed_input_alone() {
    const STEERING: [&str; 6] = ["refresh", "link", "alt-svc", "nel", "report-to", "content-location"];
    let handler = || {
        Handler::new(|_, request: Request| async move {
            let host = request.headers().get("host").map_or("self", |v| v.to_str().unwrap()).to_owned();
            let page = request.uri().path_and_query().map_or("", PathAndQuery::as_str).to_owned();
            let mut response = "the page".into_response();
            for name in STEERING {
                response.headers_mut().insert(name, HeaderValue::try_from(format!("{host} {page}")).unwrap());
            }
            response
        })
    };
    let site = || Site::page(handler(), plain().query(["n"]));
    let evil = format!("{MARK}.example");
    let requests = || {
        let target = format!("/page?x={MARK}&n=1");
        let mut direct = request(&target);
        *direct.uri_mut() = Uri::try_from(format!("http://{evil}{target}")).unwrap();
        vec![request_with(&target, &[("host", &evil), ("x-forwarded-host", &evil)]), direct]
    };
    let victim = || request("/page?n=1");
    let after = Attack { site: &site, requests: &requests, victim: &victim, extra: 0 }.fails("steering").await;
    for name in STEERING {
        assert_eq!(after.victims[0].header(name), "self /page?n=1", "{name}");
    }
}

/// Bytes of a request, and whether anybody still holds them.
struct Held {
    text: &'static [u8],
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.text
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// R4: a page keeps no part of the request that caused it or its regeneration, not even of the inputs that are in its key:
/// neither the target nor a header, an extension or the body.
#[tokio::test]
async fn a_page_keeps_no_part_of_a_request_alive() {
    let alive = Arc::new(());
    let bytes = |text| Bytes::from_owner(Held { text, _alive: Arc::clone(&alive) });
    let site = Site::page(mirror(), plain().query(["n"]).host().cookie("theme", ["dark"]));
    for expected in ["MISS", "HIT", "STALE", "HIT"] {
        if expected == "STALE" {
            site.clock.advance(LIFE);
        }
        let mut request = Request::new(Body::new(Held { text: b"", _alive: Arc::clone(&alive) }));
        *request.uri_mut() = Uri::from_maybe_shared(bytes(b"http://site.example/page?n=1&m=2")).unwrap();
        for (name, value) in [("host", &b"site.example"[..]), ("cookie", b"theme=dark; a=b"), ("x-other", b"x")] {
            request.headers_mut().insert(name, HeaderValue::from_maybe_shared(bytes(value)).unwrap());
        }
        request.extensions_mut().insert(Arc::clone(&alive));
        assert!(Arc::strong_count(&alive) > 5, "the test holds nothing");
        let seen = Seen::of(send(&site.app, request).await).await;
        settled(&site.isr).await;
        assert_eq!((seen.state, Arc::strong_count(&alive)), (expected, 1));
    }
}
