//! What callers say of data holds for what they make, whether the data comes or not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::config::Clock;
use axum_isr::testing::ManualClock;
use axum_isr::{CacheLife, DataError, DynamicRequest, Isr, RouteConfig};
use common::{Gate, Logs, fetch, header, let_run, request, seen, send, settled, until};
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);

/// A page that goes on without its data has their tags and their life all the same, or nobody would ever reach it; so
/// does one that gives up waiting, and one whose data's data failed.
#[tokio::test]
async fn a_page_without_its_data_is_reached_by_their_tags() {
    for way in ["fails", "waits", "inner"] {
        let isr = Isr::builder().clock(ManualClock::new()).build().unwrap();
        let down = Arc::new(AtomicBool::new(true));
        let page = {
            let (isr, down) = (isr.clone(), Arc::clone(&down));
            get(move || {
                let (isr, down) = (isr.clone(), Arc::clone(&down));
                async move {
                    let inner = isr.clone();
                    let compute = move || async move {
                        if !down.load(Ordering::SeqCst) {
                            return Ok("posts".to_owned());
                        }
                        if way == "waits" {
                            std::future::pending::<()>().await;
                        }
                        Err("down")
                    };
                    let posts = isr.data("posts").tag("posts").life(CacheLife::MINUTES);
                    let got = match way {
                        "fails" => posts.get_or_try_init(compute).await.unwrap_or_default(),
                        "waits" => {
                            let mut posts = Box::pin(posts.get_or_try_init(compute));
                            match futures_util::poll!(posts.as_mut()) {
                                std::task::Poll::Ready(got) => got.unwrap_or_default(),
                                std::task::Poll::Pending => String::new(),
                            }
                        }
                        _ => {
                            let outer = move || async move {
                                let posts = inner.data("posts").tag("posts").life(CacheLife::MINUTES);
                                posts.get_or_try_init(compute).await.unwrap_or_default()
                            };
                            isr.data("outer").get_or_init(outer).await.unwrap()
                        }
                    };
                    format!("[{got}]")
                }
            })
        };
        let app = Router::new().route("/", page).route_layer(isr.layer(RouteConfig::forever()));
        let response = fetch(&app, "/").await;
        assert_eq!(header(&response, "cache-control"), "s-maxage=60, stale-while-revalidate=3540", "{way}");
        assert_eq!(seen(&app, "/").await, ("HIT", "[]".into()), "{way}");
        down.store(false, Ordering::SeqCst);
        isr.expire_tag("posts").await.unwrap();
        let again = seen(&app, "/").await;
        assert!(again.0 == "MISS" && (again.1 == "[posts]" || way == "waits"), "{way}: {again:?}");
    }
}

/// Two who ask for one value in different words: each page has what its own handler said, and nobody gets a value that is
/// older than he said.
#[tokio::test]
async fn each_caller_is_taken_at_its_word() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let (handle, counter) = (isr.clone(), Arc::clone(&reads));
    let ask = move |life: CacheLife, tag: &'static str| {
        let (isr, reads) = (handle.clone(), Arc::clone(&counter));
        async move {
            let compute = move || async move { reads.fetch_add(1, Ordering::SeqCst) + 1 };
            isr.data("n").life(life).tag(tag).get_or_init(compute).await.unwrap()
        }
    };
    let page = {
        let ask = ask.clone();
        get(move || {
            let ask = ask(CacheLife::SECONDS, "b");
            async move { ask.await.to_string() }
        })
    };
    let app = Router::new().route("/", page).route_layer(isr.layer(RouteConfig::forever()));
    assert_eq!(ask(CacheLife::HOURS, "a").await, 1);
    assert_eq!(ask(CacheLife::new(Duration::ZERO, Duration::ZERO), "a").await, 2);
    assert_eq!(ask(CacheLife::HOURS, "a").await, 1);
    let response = fetch(&app, "/").await;
    assert_eq!(header(&response, "cache-control"), "s-maxage=1, stale-while-revalidate=59");
    for tag in ["a", "b"] {
        assert_eq!(seen(&app, "/").await.0, "HIT");
        isr.expire_tag(tag).await.unwrap();
        assert_eq!(seen(&app, "/").await.0, "MISS", "{tag}");
    }
    clock.advance(10 * MINUTE);
    let before = reads.load(Ordering::SeqCst);
    assert_eq!(ask(CacheLife::SECONDS, "a").await, before + 1);
}

/// What may not be used any more is in no page: each step towards it begins with what is left.
#[tokio::test]
async fn nothing_is_used_for_longer_than_it_may_be() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let (start, now) = (clock.clone(), clock.clone());
    let origin = start.monotonic();
    let page = {
        let isr = isr.clone();
        get(move || {
            let (isr, now) = (isr.clone(), now.clone());
            async move {
                let inner = isr.clone();
                let read =
                    move || async move { u64::try_from(now.monotonic().saturating_sub(origin).as_millis()).unwrap() };
                let outer = move || async move {
                    inner.data("inner").life(CacheLife::new(MINUTE, MINUTE)).get_or_init(read).await
                };
                let outer = isr.data("outer").tag("outer").life(CacheLife::new(MINUTE, MINUTE)).get_or_try_init(outer);
                outer.await.unwrap().to_string()
            }
        })
    };
    let app = Router::new().route("/{n}", page).route_layer(isr.layer(RouteConfig::revalidate(MINUTE).expire(MINUTE)));
    for step in 0..500_u64 {
        let now = 400 * step;
        // The inner value is made by others too, at other times than the outer one.
        let read = {
            let clock = clock.clone();
            move || async move { u64::try_from(clock.monotonic().saturating_sub(origin).as_millis()).unwrap() }
        };
        if step % 37 == 5 {
            isr.data("inner").life(CacheLife::new(MINUTE, MINUTE)).get_or_init(read).await.unwrap();
        }
        if step % 61 == 7 {
            isr.expire_tag("outer").await.unwrap();
        }
        // Each time another page, and one that is asked for all the time.
        for path in [format!("/{}", step % 7), "/always".to_owned()] {
            let shown: u64 = seen(&app, &path).await.1.parse().unwrap();
            assert!(now - shown <= 60_000, "{path} shows what was read {} ms ago", now - shown);
        }
        clock.advance(Duration::from_millis(400));
    }
}

/// Types that have two forms, in shapes that serde reads in two steps.
#[tokio::test]
async fn ordinary_types_in_ordinary_shapes() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Host {
        ip: IpAddr,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        host: Host,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Host(Host),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Host(Host),
    }
    let isr = Isr::builder().build().unwrap();
    let host = Host { ip: IpAddr::from([127, 0, 0, 1]) };
    let value = (
        Flat { name: "a".into(), host: host.clone() },
        Tagged::Host(host.clone()),
        Untagged::Host(host),
        Untagged::Number(1),
    );
    for _ in 0..2 {
        let copy = value.clone();
        let got = isr.data("hosts").get_or_init(move || async move { copy }).await.unwrap();
        assert_eq!(got, value);
    }
    assert_eq!((isr.stats().data_hits, isr.stats().data_misses), (1, 1));
}

/// Data of a page that another page asked for as a visitor, because it is not shared: it counts for the page that is
/// being made.
#[tokio::test]
async fn a_visitors_request_inside_a_render_belongs_to_the_render() {
    let isr = Isr::builder().build().unwrap();
    let version = Arc::new(AtomicUsize::new(0));
    let data = {
        let (isr, version) = (isr.clone(), Arc::clone(&version));
        move || {
            let version = Arc::clone(&version);
            let isr = isr.clone();
            async move {
                let read = move || async move { version.load(Ordering::SeqCst) };
                isr.data("d").tag("d").get_or_init(read).await.unwrap().to_string()
            }
        }
    };
    let inner = {
        let data = data.clone();
        get(move |_: DynamicRequest| data())
    };
    // Fails without its visitor, and is then tried with the request of whoever asked.
    let fails = get(move |request: axum::extract::Request| async move {
        assert!(request.headers().contains_key("x-visitor"), "no visitor");
        data().await
    });
    let site: Arc<std::sync::OnceLock<Router>> = Arc::default();
    let outer = |path: &'static str| {
        let site = Arc::clone(&site);
        get(move || {
            let app = site.get().unwrap().clone();
            async move {
                let mut request = request(path);
                request.headers_mut().insert("x-visitor", http::HeaderValue::from_static("yes"));
                common::body(send(&app, request).await).await
            }
        })
    };
    let pages = Router::new()
        .route("/a", outer("/inner"))
        .route("/b", outer("/inner"))
        .route("/c", outer("/fails"))
        .route("/d", outer("/fails"))
        .route("/inner", inner)
        .route("/fails", fails);
    let app = pages.route_layer(isr.layer(RouteConfig::forever()));
    site.set(app.clone()).unwrap();
    for path in ["/a", "/b", "/c", "/d"] {
        assert_eq!(seen(&app, path).await, ("MISS", "0".into()), "{path}");
    }
    version.store(1, Ordering::SeqCst);
    isr.expire_tag("d").await.unwrap();
    for path in ["/a", "/b", "/c", "/d"] {
        assert_eq!(seen(&app, path).await, ("MISS", "1".into()), "{path}");
    }
}

/// Computations that never wait are bounded like others once nobody waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_waits_is_bounded_too() {
    let isr = Isr::builder().max_regenerations(1).build().unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let mut asks = Vec::new();
    for n in 0..10_usize {
        let (isr, end) = (isr.clone(), Arc::clone(&end));
        asks.push(tokio::spawn(async move {
            let busy = move || async move {
                while !end.load(Ordering::SeqCst) {
                    tokio::task::coop::consume_budget().await;
                }
            };
            isr.data("n").arg(&n).get_or_init(busy).await
        }));
    }
    until(|| isr.stats().computations == 10).await;
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| isr.stats().computations <= 1).await;
    end.store(true, Ordering::SeqCst);
    until(|| isr.stats().computations == 0).await;
}

/// Who waits for somebody else's computation is not failed because that one's runtime has ended, and not by an error from
/// before the mark that he came after.
#[tokio::test]
async fn the_end_of_another_is_not_ones_own() {
    let isr = Isr::builder().build().unwrap();
    let (other, started) = (isr.clone(), Arc::new(AtomicBool::new(false)));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let begun = Arc::clone(&started);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(async move { other.data("a").get_or_init(std::future::pending::<u8>).await });
        runtime.block_on(let_run());
        begun.store(true, Ordering::SeqCst);
        stopped.recv().unwrap();
    });
    while !started.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let ask = tokio::spawn({
        let isr = isr.clone();
        async move { isr.data("a").get_or_init(|| async { 3_u8 }).await }
    });
    let_run().await;
    stop.send(()).unwrap();
    thread.join().unwrap();
    assert_eq!(ask.await.unwrap().unwrap(), 3);

    let (gate, calls) = (Gate::closed(), Arc::new(AtomicUsize::new(0)));
    let ask = || {
        let (isr, gate, calls) = (isr.clone(), gate.clone(), Arc::clone(&calls));
        tokio::spawn(async move {
            let compute = move || async move {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                gate.pass().await;
                if call == 0 { Err("old and broken") } else { Ok(call) }
            };
            isr.data("b").tag("b").get_or_try_init(compute).await
        })
    };
    let early = ask();
    let_run().await;
    isr.expire_tag("b").await.unwrap();
    let late = ask();
    let_run().await;
    gate.open();
    assert!(early.await.unwrap().is_err());
    assert_eq!(late.await.unwrap().unwrap(), 1);
}

/// While a source is down, pages that have an old version do not ask it again and again; a page that has none does.
#[tokio::test]
async fn a_source_that_is_down_is_left_alone_by_regenerations() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(100).build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let page = {
        let (isr, calls) = (isr.clone(), Arc::clone(&calls));
        get(move || {
            let (isr, calls) = (isr.clone(), Arc::clone(&calls));
            async move {
                let compute = move || async move {
                    if calls.fetch_add(1, Ordering::SeqCst) == 0 { Ok(1_u8) } else { Err("down") }
                };
                let got = isr.data("d").life(CacheLife::MINUTES).get_or_try_init(compute).await;
                got.map(|n| n.to_string())
            }
        })
    };
    let app = Router::new().route("/{n}", page).route_layer(isr.layer(RouteConfig::forever()));
    for n in 0..20 {
        assert_eq!(seen(&app, &format!("/{n}")).await.0, "MISS");
    }
    clock.advance(MINUTE);
    for n in 0..20 {
        assert_eq!(seen(&app, &format!("/{n}")).await, ("STALE", "1".into()));
        settled(&isr).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // `DataError` is an answer, too.
    assert_eq!(fetch(&app, "/new").await.status(), 500);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

/// Where nothing is kept there is a limit all the same.
#[tokio::test(start_paused = true)]
async fn a_computation_for_oneself_has_a_limit() {
    let isr = Isr::builder().mode(axum_isr::Mode::Development).build().unwrap();
    let problem = isr.data("a").get_or_init(std::future::pending::<u8>).await.unwrap_err();
    assert!(matches!(problem, DataError::TimedOut { .. }), "{problem}");
}

/// What led to it: in the log, and in the error, which can be asked what it is.
#[tokio::test]
async fn the_cause_is_told() {
    #[derive(Debug, thiserror::Error)]
    #[error("db-7 refused")]
    struct Refused(#[source] std::io::Error);
    let logs = Logs::capture();
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let ask = |works| {
        let compute =
            move || async move { if works { Ok(1_u8) } else { Err(Refused(std::io::Error::other("port\nclosed"))) } };
        isr.data("a\nb").life(CacheLife::SECONDS).get_or_try_init(compute)
    };
    let problem = ask(false).await.unwrap_err();
    assert!(problem.source().unwrap().is::<Refused>(), "{problem:?}");
    ask(true).await.unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(ask(false).await.unwrap(), 1);
    until(|| isr.stats().computations == 0).await;
    assert_eq!(logs.count(&["WARN", "computation failed", "db-7 refused: port\\u{a}closed"]), 1);
    assert!(logs.lines().iter().all(|line| !line.starts_with('b')));
}

/// The clock is the application's, and may ask us something.
#[tokio::test]
async fn a_clock_that_asks_for_numbers() {
    #[derive(Clone, Default)]
    struct Curious(Arc<std::sync::OnceLock<Isr>>);
    impl Clock for Curious {
        fn wall(&self) -> std::time::SystemTime {
            if let Some(isr) = self.0.get() {
                let _ = isr.stats();
            }
            std::time::SystemTime::now()
        }

        fn monotonic(&self) -> Duration {
            self.wall();
            Duration::ZERO
        }
    }
    let clock = Curious::default();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    assert!(clock.0.set(isr.clone()).is_ok());
    let page = {
        let isr = isr.clone();
        get(move || async move { isr.data("a").get_or_init(|| async { 1_u8 }).await.unwrap().to_string() })
    };
    let passes = get(|_: DynamicRequest| async { "mine" });
    let app = Router::new().route("/", page).route("/me", passes).route_layer(isr.layer(RouteConfig::forever()));
    for path in ["/", "/", "/me", "/me"] {
        fetch(&app, path).await;
    }
    isr.revalidate_all().await.unwrap();
    fetch(&app, "/").await;
    settled(&isr).await;
}

/// A computation in the background keeps its place, also when it begins before whoever started it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_computation_in_the_background_ends() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(2).build().unwrap();
    // The one place for what nobody waits for is taken.
    let taken = {
        let isr = isr.clone();
        tokio::spawn(async move { isr.data("taken").get_or_init(std::future::pending::<u8>).await })
    };
    until(|| isr.stats().computations == 1).await;
    taken.abort();
    let_run().await;
    let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..300 {
        let (began, ended) = (Arc::clone(&began), Arc::clone(&ended));
        let compute = move || async move {
            began.fetch_add(1, Ordering::SeqCst);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            ended.fetch_add(1, Ordering::SeqCst)
        };
        isr.data("n").life(CacheLife::SECONDS).get_or_init(compute).await.unwrap();
        clock.advance(Duration::from_millis(1_001));
        until(|| isr.stats().computations == 1).await;
    }
    assert_eq!(began.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
    isr.shutdown(Duration::from_millis(1)).await;
}

/// Beyond as many as may wait, everybody computes for himself.
#[tokio::test]
async fn who_comes_after_ten_thousand_computes_for_himself() {
    let isr = Isr::builder().build().unwrap();
    let (gate, calls) = (Gate::closed(), Arc::new(AtomicUsize::new(0)));
    let mut asks = Vec::new();
    for _ in 0..10_002 {
        let (isr, gate, calls) = (isr.clone(), gate.clone(), Arc::clone(&calls));
        let mut ask = Box::pin(async move {
            let compute = move || async move {
                calls.fetch_add(1, Ordering::SeqCst);
                gate.pass().await;
            };
            isr.data("a").get_or_init(compute).await
        });
        assert!(futures_util::poll!(ask.as_mut()).is_pending());
        asks.push(ask);
    }
    let_run().await;
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    gate.open();
    for ask in asks {
        ask.await.unwrap();
    }
}
