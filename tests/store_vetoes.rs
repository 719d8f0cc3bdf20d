//! Pages that stop being shareable, renders that fail, and HEAD: what the store is told of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;
#[path = "common/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::store::{Profile, Store, StoreErrorKind};
use axum_isr::testing::{Fault, Operation};
use axum_isr::{Isr, IsrBuilder, RouteConfig};
use common::{Handler, body, fetch, head, header, let_run, seen, send, settled, state, until};
use http::StatusCode;
use nodes::Leaseless;
use trouble::{Cluster, SECOND};

const MINUTE: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);
const DOWN: Fault = Fault::Error(StoreErrorKind::Unavailable);

/// What the page is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Page,
    SetsCookie,
    NoStore,
    Unauthorized,
    Redirects,
    Fails,
    TooMany,
    Panics,
    Breaks,
    BadRequest,
}

const VETOES: [Now; 4] = [Now::SetsCookie, Now::NoStore, Now::Unauthorized, Now::Redirects];
const FAILURES: [Now; 5] = [Now::Fails, Now::TooMany, Now::Panics, Now::Breaks, Now::BadRequest];
const ALL: [Now; 10] = [
    Now::Page,
    Now::SetsCookie,
    Now::NoStore,
    Now::Unauthorized,
    Now::Redirects,
    Now::Fails,
    Now::TooMany,
    Now::Panics,
    Now::Breaks,
    Now::BadRequest,
];

fn answer(now: Now, n: usize) -> Response {
    let text = format!("render {n}");
    match now {
        Now::Page => text.into_response(),
        Now::SetsCookie => ([("set-cookie", "a=b")], text).into_response(),
        Now::NoStore => ([("cache-control", "no-store")], text).into_response(),
        Now::Unauthorized => (StatusCode::UNAUTHORIZED, text).into_response(),
        Now::Redirects => (StatusCode::FOUND, [("location", "/login")], text).into_response(),
        Now::Fails => (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
        Now::TooMany => (StatusCode::TOO_MANY_REQUESTS, text).into_response(),
        Now::Panics => panic!("on purpose"),
        Now::Breaks => {
            let frames: [Result<&str, std::io::Error>; 2] = [Ok("rend"), Err(std::io::Error::other("on purpose"))];
            Response::new(Body::from_stream(futures_util::stream::iter(frames)))
        }
        Now::BadRequest => (StatusCode::BAD_REQUEST, text).into_response(),
    }
}

struct Member {
    isr: Isr,
    app: Router,
}

/// A cluster whose page changes its mind.
struct Fickle {
    cluster: Cluster,
    now: Arc<AtomicUsize>,
    page: Handler,
}

impl Fickle {
    fn new() -> Self {
        let now = Arc::new(AtomicUsize::new(0));
        let what = Arc::clone(&now);
        let page = Handler::new(move |n, _| {
            let now = ALL[what.load(Ordering::SeqCst)];
            async move { answer(now, n) }
        });
        Self { cluster: Cluster::new(), now, page }
    }

    fn is(&self, now: Now) {
        self.now.store(ALL.iter().position(|one| *one == now).unwrap(), Ordering::SeqCst);
    }

    fn member(&self) -> Member {
        self.with(self.cluster.faulty.clone(), |builder| builder)
    }

    fn with(&self, store: impl Store, set: impl FnOnce(IsrBuilder) -> IsrBuilder) -> Member {
        let builder = Isr::builder().clock(self.cluster.clock.clone()).store(store).deployment_id("one");
        let isr = set(builder).build().unwrap();
        let config = RouteConfig::revalidate(MINUTE).expire(60 * MINUTE);
        let app = Router::new().route("/p", get(self.page.clone())).route_layer(isr.layer(config));
        Member { isr, app }
    }

    /// A node that has rendered the page well, and the store has it.
    async fn filled(&self) -> Member {
        self.fill(self.member()).await
    }

    async fn fill(&self, member: Member) -> Member {
        assert_eq!(seen(&member.app, "/p").await.0, "MISS");
        until(|| member.isr.stats().store_writes == 1).await;
        assert_eq!(self.cluster.memory.entries(), 1);
        member
    }
}

/// A regeneration finds that the page is not shareable: nobody gets the old one from the store any more.
#[tokio::test(start_paused = true)]
async fn a_page_that_stops_being_shareable_is_removed_from_the_store() {
    for veto in VETOES {
        let fickle = Fickle::new();
        let one = fickle.filled().await;
        fickle.is(veto);
        fickle.cluster.clock.advance(MINUTE);
        assert_eq!(seen(&one.app, "/p").await.0, "STALE", "{veto:?}");
        settled(&one.isr).await;
        until(|| fickle.cluster.memory.entries() == 0).await;
        assert_eq!(seen(&one.app, "/p").await.0, "", "{veto:?}");
        let cold = fickle.member();
        assert_eq!(seen(&cold.app, "/p").await.0, "", "{veto:?}");
    }
}

/// A cold node finds an entry that it cannot use, and that the page is not shareable any more.
#[tokio::test(start_paused = true)]
async fn a_first_render_that_is_not_shareable_removes_what_the_store_has() {
    for veto in VETOES {
        let fickle = Fickle::new();
        let one = fickle.filled().await;
        fickle.is(veto);
        one.isr.expire_path("/p").await.unwrap();
        let cold = fickle.member();
        assert_eq!(seen(&cold.app, "/p").await.0, "", "{veto:?}");
        until(|| fickle.cluster.memory.entries() == 0).await;
    }
}

/// A render that fails says nothing about the page that is there.
#[tokio::test(start_paused = true)]
async fn a_render_that_fails_removes_nothing() {
    for failure in FAILURES {
        let fickle = Fickle::new();
        let one = fickle.filled().await;
        fickle.is(failure);
        fickle.cluster.clock.advance(MINUTE);
        assert_eq!(seen(&one.app, "/p").await.0, "STALE", "{failure:?}");
        settled(&one.isr).await;
        until(|| one.isr.stats().waiting_writes == 0).await;
        let_run().await;
        assert_eq!(fickle.cluster.memory.entries(), 1, "{failure:?}");
        assert_eq!(seen(&one.app, "/p").await, ("STALE", "render 1".into()), "{failure:?}");
        // Cold nodes still have something to serve.
        let cold = fickle.member();
        assert_eq!(seen(&cold.app, "/p").await, ("STALE", "render 1".into()), "{failure:?}");
        assert_eq!(fickle.cluster.faults.calls(Operation::Remove), 0, "{failure:?}");
    }
}

/// What another node has rendered since is newer than what was found to be not shareable.
#[tokio::test(start_paused = true)]
async fn a_newer_page_is_not_removed() {
    let fickle = Fickle::new();
    let one = fickle.filled().await;
    fickle.cluster.clock.advance(MINUTE);
    fickle.is(Now::SetsCookie);
    fickle.cluster.faults.set(Operation::Remove, Fault::Delay(500 * Duration::from_millis(1)));
    assert_eq!(seen(&one.app, "/p").await.0, "STALE");
    settled(&one.isr).await;
    // It is shareable again, and another node renders it before the store is told.
    fickle.is(Now::Page);
    fickle.cluster.clock.advance(Duration::from_millis(1));
    let other = fickle.member();
    other.isr.expire_path("/p").await.unwrap();
    let (_, text) = seen(&other.app, "/p").await;
    tokio::time::sleep(SECOND).await;
    until(|| other.isr.stats().store_writes == 1).await;
    let cold = fickle.member();
    assert_eq!(seen(&cold.app, "/p").await, ("HIT", text));
}

/// CASES 123: a store that will not remove it costs the visitors nothing; the next node finds it out by itself.
#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_removed_is_not_served_here() {
    for fault in [Fault::Error(StoreErrorKind::Denied), Fault::Hang, Fault::Panic, Fault::Forget] {
        let fickle = Fickle::new();
        let one = fickle.filled().await;
        fickle.is(Now::SetsCookie);
        fickle.cluster.faults.set(Operation::Remove, fault.clone());
        fickle.cluster.clock.advance(MINUTE);
        assert_eq!(seen(&one.app, "/p").await.0, "STALE");
        settled(&one.isr).await;
        let began = tokio::time::Instant::now();
        assert_eq!(seen(&one.app, "/p").await.0, "", "{fault:?}");
        assert!(began.elapsed().is_zero());
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(fickle.cluster.memory.entries(), 1);
        assert_eq!(seen(&one.app, "/p").await.0, "", "{fault:?}");
    }
}

/// I2: what a veto is about may still be on its way to the store. It is removed after it has got there.
#[tokio::test(start_paused = true)]
async fn a_veto_is_not_overtaken_by_the_write_of_what_it_vetoes() {
    for leases in [true, false] {
        for veto in VETOES {
            let fickle = Fickle::new();
            let one = if leases {
                fickle.member()
            } else {
                let profile = Profile::new("leaseless").with_newest_wins();
                fickle.with(Leaseless(fickle.cluster.faulty.clone(), profile), |builder| builder)
            };
            fickle.cluster.faults.once(Operation::Put, Fault::Delay(600 * MILLI));
            assert_eq!(seen(&one.app, "/p").await.0, "MISS");
            fickle.cluster.pass(50 * MILLI).await;
            assert_eq!((fickle.cluster.faults.calls(Operation::Put), fickle.cluster.memory.entries()), (1, 0));
            fickle.is(veto);
            let progress = one.isr.regenerate_path("/p").await.unwrap().finished().await;
            assert_eq!((progress.done, progress.failed), (0, 1), "{veto:?}");
            assert_eq!(seen(&one.app, "/p").await.0, "", "{veto:?}");
            assert_eq!(fickle.cluster.memory.entries(), 0, "it is not there yet");
            fickle.cluster.pass(3 * SECOND).await;
            assert_eq!(one.isr.stats().store_writes, 1, "it got there, {leases} {veto:?}");
            assert_eq!(fickle.cluster.memory.entries(), 0, "{leases} {veto:?}");
        }
    }
}

/// I2: a veto during an outage is made up for when the store is back, before a cold node can find the page.
#[tokio::test(start_paused = true)]
async fn a_removal_that_failed_is_made_up_for() {
    for fault in [DOWN, Fault::Hang, Fault::Panic, Fault::Error(StoreErrorKind::Denied)] {
        for everything in [true, false] {
            let fickle = Fickle::new();
            let one = fickle.filled().await;
            fickle.is(Now::Unauthorized);
            if everything {
                fickle.cluster.faults.set_all(&fault);
            } else {
                fickle.cluster.faults.set(Operation::Remove, fault.clone());
            }
            fickle.cluster.pass(MINUTE + SECOND).await;
            seen(&one.app, "/p").await;
            fickle.cluster.pass(3 * SECOND).await;
            assert_eq!(seen(&one.app, "/p").await.0, "", "{fault:?}");
            assert_eq!(fickle.cluster.memory.entries(), 1, "{fault:?}");
            fickle.cluster.faults.clear();
            // A probe a second, and nobody has to ask for the page.
            fickle.cluster.pass(5 * SECOND).await;
            assert_eq!(fickle.cluster.memory.entries(), 0, "{fault:?} {everything}");
            assert_eq!(seen(&fickle.member().app, "/p").await.0, "", "{fault:?}");
        }
    }
}

/// I2: nor is it lost where there is no room for it among what waits to be written.
#[tokio::test(start_paused = true)]
async fn a_removal_for_which_there_was_no_room_is_made_up_for() {
    let fickle = Fickle::new();
    let small = fickle.with(fickle.cluster.faulty.clone(), |builder| builder.memory_bytes(16 << 20));
    let one = fickle.fill(small).await;
    fickle.cluster.faults.set(Operation::Put, Fault::Hang);
    // Large ones, and then those that take no more room than a removal does.
    let crowd = async |sort: &str, most: usize, bytes: usize| {
        for n in 0..most {
            let before = one.isr.stats().store_unwritten;
            let name = format!("{sort} {n}");
            one.isr.data(&name).get_or_init(move || async move { "x".repeat(bytes) }).await.unwrap();
            let_run().await;
            if one.isr.stats().store_unwritten > before {
                return;
            }
        }
        panic!("there is room for {most} of {bytes} bytes");
    };
    crowd("large", 100, 400_000).await;
    crowd("small", 5_000, 0).await;
    fickle.is(Now::Unauthorized);
    let waiting = one.isr.stats().waiting_writes;
    let progress = one.isr.regenerate_path("/p").await.unwrap().finished().await;
    assert_eq!((progress.done, progress.failed), (0, 1));
    assert_eq!(one.isr.stats().waiting_writes, waiting, "there was room");
    assert_eq!(fickle.cluster.memory.entries(), 1);
    fickle.cluster.faults.clear();
    fickle.cluster.pass(3 * SECOND).await;
    assert_eq!(fickle.cluster.memory.keys().iter().filter(|key| key.contains(":/p:")).count(), 0);
    assert_eq!(seen(&fickle.member().app, "/p").await.0, "");
}

/// R6: a HEAD is answered from the store as a GET is, and fills it for GETs.
#[tokio::test(start_paused = true)]
async fn heads_and_gets_share_entries() {
    let fickle = Fickle::new();
    let one = fickle.member();
    let filled = send(&one.app, head("/p")).await;
    assert_eq!((state(&filled), header(&filled, "content-length")), ("MISS", "8"));
    settled(&one.isr).await;
    until(|| one.isr.stats().store_writes == 1).await;
    let cold = fickle.member();
    assert_eq!(seen(&cold.app, "/p").await, ("HIT", "render 1".into()));
    let cold = fickle.member();
    let found = send(&cold.app, head("/p")).await;
    assert_eq!((state(&found), header(&found, "content-length")), ("HIT", "8"));
    assert_eq!(body(found).await, "");
    assert_eq!(body(fetch(&cold.app, "/p").await).await, "render 1");
    assert_eq!(fickle.page.calls(), 1);
}

/// R6: a page without a body that a HEAD has made is nobody's page.
#[tokio::test(start_paused = true)]
async fn an_explicit_head_handler_leaves_nothing_in_the_store() {
    let cluster = Cluster::new();
    let member = || {
        let builder = Isr::builder().clock(cluster.clock.clone()).store(cluster.memory.clone());
        let isr = builder.deployment_id("one").build().unwrap();
        let routes = get(|| async { "a page" }).head(|| async { [("x-from", "head")] });
        let app = Router::new().route("/p", routes).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
        (app, isr)
    };
    let (app, isr) = member();
    for _ in 0..2 {
        assert_eq!(header(&send(&app, head("/p")).await, "x-from"), "head");
    }
    settled(&isr).await;
    let_run().await;
    assert_eq!(cluster.memory.entries(), 0);
    assert_eq!(seen(&app, "/p").await, ("MISS", "a page".into()));
    until(|| isr.stats().store_writes == 1).await;
    let (cold, _) = member();
    assert_eq!(seen(&cold, "/p").await, ("HIT", "a page".into()));
}

/// I2: a removal that failed is made up for by a shutdown, or told by it.
#[tokio::test(start_paused = true)]
async fn a_shutdown_makes_up_for_a_removal_or_tells_of_it() {
    for again in [false, true] {
        let fickle = Fickle::new();
        let one = fickle.filled().await;
        fickle.is(Now::Unauthorized);
        let count = if again { 2 } else { 1 };
        for _ in 0..count {
            fickle.cluster.faults.once(Operation::Remove, DOWN);
        }
        let progress = one.isr.regenerate_path("/p").await.unwrap().finished().await;
        assert_eq!(progress.failed, 1);
        let_run().await;
        assert_eq!(fickle.cluster.memory.entries(), 1);
        let report = one.isr.shutdown(SECOND).await;
        assert_eq!((report.unwritten, fickle.cluster.memory.entries()), (count - 1, count - 1));
        if !again {
            assert_eq!(seen(&fickle.member().app, "/p").await.0, "");
        }
    }
}

/// I2: what could not be looked for while the store was away may be there: whether the process has known the ledger before,
/// or has been started since.
#[tokio::test(start_paused = true)]
async fn a_veto_while_the_store_is_away_is_made_up_for() {
    for knows in [true, false] {
        let fickle = Fickle::new();
        drop(fickle.filled().await);
        let two = fickle.member();
        if knows {
            two.isr.revalidate_tag("x").await.unwrap();
        }
        fickle.is(Now::Unauthorized);
        fickle.cluster.faults.set_all(&DOWN);
        fickle.cluster.pass(5 * SECOND).await;
        assert_eq!(seen(&two.app, "/p").await.0, "", "knows: {knows}");
        fickle.cluster.faults.clear();
        fickle.cluster.pass(15 * SECOND).await;
        for member in [two, fickle.member()] {
            assert_eq!(seen(&member.app, "/p").await.0, "", "knows: {knows}");
        }
        assert_eq!(fickle.cluster.memory.entries(), 0);
    }
}
