//! Variants of one path: declared inputs make pages of their own, everything else is invisible.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use axum_isr::{Isr, IsrLayer, RouteConfig};
use common::{Handler, body, fetch, header, request_with, send, state};

const HX: HeaderName = HeaderName::from_static("hx-request");

fn route() -> RouteConfig {
    RouteConfig::revalidate(Duration::from_secs(60))
}

/// Says what it sees of the request.
fn mirror() -> Handler {
    Handler::new(|_, request: Request| async move {
        let header =
            |name: &str| request.headers().get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        format!(
            "{} {:?} {:?} {:?} {:?}",
            request.uri(),
            header("hx-request"),
            header("cookie"),
            header("host"),
            request.headers().len()
        )
    })
}

fn app(route: RouteConfig) -> (Isr, Router) {
    let isr = Isr::builder().build().unwrap();
    let app = Router::new().route("/p", get(mirror())).route_layer(isr.layer(route));
    (isr, app)
}

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> (&'static str, String) {
    let response = send(app, request_with(path, headers)).await;
    (state(&response), body(response).await)
}

/// R18, CASES 3: a page and its fragment have keys of their own, whichever is asked for first; neither overwrites the
/// other, and a value that was not declared is the page.
#[tokio::test]
async fn a_fragment_and_a_page_do_not_meet() {
    for first in [&[][..], &[("hx-request", "true")]] {
        let (_, app) = app(route().header(HX, ["true"]));
        ask(&app, "/p", first).await;
        for _ in 0..2 {
            assert_eq!(ask(&app, "/p", &[]).await.1, "/p None None None 0");
            assert_eq!(ask(&app, "/p", &[("hx-request", "true")]).await.1, "/p Some(\"true\") None None 1");
        }
        for odd in ["True", "1", "", "true, true"] {
            let page = ask(&app, "/p", &[("hx-request", odd)]).await;
            assert_eq!(page, ("HIT", "/p None None None 0".to_owned()), "{odd}");
        }
        let response = send(&app, request_with("/p", &[("hx-request", "true")])).await;
        assert_eq!(header(&response, "vary"), "hx-request");
    }
}

/// R17, CASES 48: the handler sees the declared parameters in canonical form, and no others; other spellings are the
/// same page.
#[tokio::test]
async fn only_declared_parameters_are_visible() {
    let (_, app) = app(route().query(["page", "sort"]));
    let page = "/p?page=2&sort=a%20b None None None 0";
    assert_eq!(ask(&app, "/p?sort=a+b&utm=%3Cscript%3E&page=2", &[]).await, ("MISS", page.to_owned()));
    for spelling in
        ["page=2&sort=a%20b", "sort=a%20b&page=%32", "p%61ge=2&sort=a+b&utm=1&fbclid=x", "&page=2&&sort=a+b"]
    {
        assert_eq!(ask(&app, &format!("/p?{spelling}"), &[]).await, ("HIT", page.to_owned()), "{spelling}");
    }
    for other in ["", "?", "?utm=1", "?pages=2"] {
        assert_eq!(ask(&app, &format!("/p{other}"), &[]).await.1, "/p None None None 0", "{other}");
    }
    let many = "&a=1".repeat(5_000);
    assert_eq!(ask(&app, &format!("/p?page=2&sort=a+b{many}"), &[]).await.0, "HIT");
}

/// Cookies and host, declared: in canonical form, one page for each; `Vary` says so for cookies.
#[tokio::test]
async fn declared_cookies_and_hosts_make_variants() {
    let (_, app) = app(route().cookie("theme", ["dark", "light"]).host());
    let dark = ("MISS", "/p None Some(\"theme=dark\") Some(\"a.example\") 2".to_owned());
    assert_eq!(ask(&app, "/p", &[("cookie", "sid=SECRET; theme=dark"), ("host", "A.example:80")]).await, dark);
    let hit = ask(&app, "/p", &[("cookie", "theme=\"dark\"; x=y"), ("host", "a.EXAMPLE")]).await;
    assert_eq!(hit, ("HIT", dark.1));
    assert_eq!(ask(&app, "/p", &[("cookie", "theme=dark"), ("host", "b.example")]).await.0, "MISS");
    let response = send(&app, request_with("/p", &[("cookie", "theme=odd")])).await;
    assert_eq!(header(&response, "vary"), "cookie");
    assert_eq!(body(response).await, "/p None None None 0");
}

/// CASES 52: a value that cannot be part of a key bypasses, and the page still comes.
#[tokio::test]
async fn what_cannot_be_a_key_goes_to_the_handler() {
    let (isr, app) = app(route().query(["page"]).header(HX, ["true"]).cookie("theme", ["dark"]).host());
    let long = "x".repeat(1_100);
    let many = "page=1&".repeat(33);
    let path = format!("/p?page={long}");
    let mut refused = 0;
    for (path, headers) in [
        (path.as_str(), vec![]),
        (&*format!("/p?{many}"), vec![]),
        ("/p", vec![("hx-request", "caf\u{e9}")]),
        ("/p", vec![("cookie", "theme=\u{e9}")]),
        ("/p", vec![("host", "a b")]),
        ("/p", vec![("host", "a"), ("host", "b")]),
    ] {
        assert_eq!(ask(&app, path, &headers).await.0, "", "{path:.20} {headers:?}");
        refused += 1;
        assert_eq!(isr.stats().bypasses, refused);
    }
    let deep = format!("/{}", "x".repeat(60_000));
    let app = Router::new().route("/{x}", get(mirror())).layer(isr.layer(route()));
    assert_eq!(body(fetch(&app, &deep).await).await.len(), deep.len() + " None None None 0".len());
    assert_eq!((isr.stats().memory_items, isr.stats().flights), (0, 0));
}

/// R23, CASES 129: one handle serves several routers; namespaces keep equal paths apart, and a handler and a job hold the same
/// cache.
#[tokio::test]
async fn one_handle_serves_routers_handlers_and_jobs() {
    async fn stored(State(isr): State<Isr>) -> String {
        isr.stats().stored.to_string()
    }
    let isr = Isr::builder().build().unwrap();
    let site = |name: &'static str| {
        let page = Router::new().route("/p", get(move || async move { name }));
        page.route_layer(isr.layer(route().namespace(name)))
    };
    let (one, two) = (site("one"), site("two"));
    for _ in 0..2 {
        assert_eq!(body(fetch(&one, "/p").await).await, "one");
        assert_eq!(body(fetch(&two, "/p").await).await, "two");
    }
    let admin = Router::new().route("/stored", get(stored)).with_state(isr.clone());
    assert_eq!(body(fetch(&admin, "/stored").await).await, "2");
    let job = isr.clone();
    assert_eq!(tokio::spawn(async move { job.stats().hits }).await.unwrap(), 2);
}

async fn choose(mut request: Request, next: Next) -> Response {
    if request.uri().path() == "/p" {
        request.extensions_mut().insert(route().query(["page"]));
    }
    next.run(request).await
}

/// DESIGN 6: a configuration in the request's extensions comes before the layer's own, and a layer without one acts only
/// where there is one; of nested layers the outermost with a configuration acts.
#[tokio::test]
async fn a_middleware_may_choose_for_each_request() {
    let isr = Isr::builder().build().unwrap();
    let routes = || Router::new().route("/p", get(mirror())).route("/q", get(mirror()));
    let chosen = routes().layer(IsrLayer::new(isr.clone())).layer(middleware::from_fn(choose));
    assert_eq!(ask(&chosen, "/p?page=1", &[]).await, ("MISS", "/p?page=1 None None None 0".to_owned()));
    assert_eq!(ask(&chosen, "/q?page=1", &[]).await.0, "");

    let isr = Isr::builder().build().unwrap();
    let both = routes().layer(isr.layer(route())).layer(middleware::from_fn(choose));
    assert_eq!(ask(&both, "/p?page=1", &[]).await.1, "/p?page=1 None None None 0");
    assert_eq!(ask(&both, "/q?page=1", &[]).await.1, "/q None None None 0");

    let isr = Isr::builder().build().unwrap();
    let nested = routes().layer(isr.layer(route().query(["page"]))).layer(isr.layer(route()));
    assert_eq!(ask(&nested, "/p?page=1", &[]).await, ("MISS", "/p None None None 0".to_owned()));
    assert_eq!((isr.stats().stored, isr.stats().bypasses), (1, 0));
    let dynamic = routes().layer(isr.layer(route())).layer(isr.layer(RouteConfig::dynamic()));
    assert_eq!(ask(&dynamic, "/q?page=1", &[]).await, ("", "/q?page=1 None None None 0".to_owned()));
}

/// DESIGN 2.3: a render has no extension of the visitor's but those that are shared on purpose, and a `Host` only if it
/// is keyed or configured.
#[tokio::test]
async fn extensions_and_hosts_reach_a_render_on_purpose_only() {
    #[derive(Clone)]
    struct Pool(&'static str);
    #[derive(Clone)]
    struct User;
    async fn page(pool: Option<Extension<Pool>>, user: Option<Extension<User>>, request: Request) -> String {
        let host = request.headers().get("host").map(|v| v.to_str().unwrap().to_owned());
        format!("{:?} {} {host:?}", pool.map(|p| p.0.0), user.is_some())
    }
    let isr = Isr::builder().public_origin("https://example.com:8443".parse().unwrap()).build().unwrap();
    let app =
        |layer| Router::new().route("/p", get(page)).layer(layer).layer(Extension(Pool("db"))).layer(Extension(User));
    let plain = app(isr.layer(route().namespace("plain")));
    let shared = app(isr.layer(route().namespace("shared")).share::<Pool>());
    let headers = [("host", "evil.example")];
    assert_eq!(ask(&plain, "/p", &headers).await.1, "None false Some(\"example.com:8443\")");
    assert_eq!(ask(&shared, "/p", &headers).await.1, "Some(\"db\") false Some(\"example.com:8443\")");
}

/// R17: a layer outside that puts a declared parameter into the query: the handler sees it, as without the cache, and
/// each value is a page.
#[tokio::test]
async fn a_parameter_that_is_added_outside_makes_a_page() {
    async fn negotiate(mut request: Request, next: Next) -> Response {
        let language = request.headers().get("accept-language").map_or("en", |value| value.to_str().unwrap());
        *request.uri_mut() = format!("{}?lang={language}", request.uri().path()).parse().unwrap();
        next.run(request).await
    }
    let (_isr, app) = app(route().query(["lang"]));
    let app = app.layer(middleware::from_fn(negotiate));
    for expected in ["MISS", "HIT"] {
        for language in ["de", "fr"] {
            let response = send(&app, request_with("/p?lang=xx", &[("accept-language", language)])).await;
            assert_eq!(state(&response), expected, "{language}");
            assert!(body(response).await.starts_with(&format!("/p?lang={language} ")), "{language}");
        }
    }
}
