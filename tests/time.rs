//! Time: boundaries, extreme lifetimes, clocks that jump.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::response::Response;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Render, RouteConfig};
use common::{Gate, Handler, body, fetch, header, let_run, settled, state};
use http::StatusCode;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(31_536_000);
const TICK: Duration = Duration::from_micros(1);

/// What a handler says about its page.
type Says = fn(&Render);

struct Site {
    app: Router,
    isr: Isr,
    clock: ManualClock,
}

fn site(route: RouteConfig, handler: Handler) -> Site {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let app = Router::new().route("/p/{slug}", get(handler)).route_layer(isr.layer(route));
    Site { app, isr, clock }
}

impl Site {
    async fn get(&self) -> Response {
        fetch(&self.app, "/p/a").await
    }

    /// The state, and the number of the render whose page it is.
    async fn look(&self) -> (&str, String) {
        let response = self.get().await;
        (state(&response), body(response).await)
    }

    async fn shows(&self, state: &str, render: usize) -> bool {
        self.look().await == (state, format!("render {render}"))
    }
}

/// CASES 116: half-open intervals, to the microsecond: fresh until `revalidate`, stale until `expire`, then rendered
/// while the visitor waits; `Age` never exceeds what was advertised while the page is called fresh.
#[tokio::test]
async fn the_borders_of_fresh_and_stale_are_half_open() {
    for (fresh, keep) in
        [(MINUTE, HOUR), (SECOND, SECOND), (Duration::from_millis(1_500), Duration::from_millis(2_500))]
    {
        let gate = Gate::closed();
        let inner = gate.clone();
        // Regenerations wait at the gate: the page stays the first until it expires.
        let handler = Handler::new(move |n, _| {
            let gate = inner.clone();
            async move {
                if n == 2 {
                    gate.pass().await;
                }
                format!("render {n}")
            }
        });
        let site = site(RouteConfig::revalidate(fresh).expire(keep), handler);
        assert!(site.shows("MISS", 1).await);
        assert!(site.shows("HIT", 1).await, "age 0");
        site.clock.advance(fresh.saturating_sub(TICK));
        let hit = site.get().await;
        assert_eq!(state(&hit), "HIT");
        let advertised = header(&hit, "cache-control").split([',', '=']).nth(1).unwrap().parse::<u64>().unwrap();
        assert!(header(&hit, "age").parse::<u64>().unwrap() <= advertised);
        site.clock.advance(TICK);
        if keep > fresh {
            assert!(site.shows("STALE", 1).await, "exactly at {fresh:?}");
            site.clock.advance(keep.saturating_sub(fresh + TICK));
            assert!(site.shows("STALE", 1).await);
            site.clock.advance(TICK);
            let_run().await;
            gate.open();
            settled(&site.isr).await;
            assert!(site.shows("HIT", 2).await, "the regeneration came meanwhile");
        } else {
            gate.open();
            assert!(site.shows("MISS", 2).await, "expired when it would have turned stale");
        }
    }
}

/// CASES 116: an expired page is never served, however far beyond.
#[tokio::test]
async fn an_expired_page_is_rendered_while_the_visitor_waits() {
    for beyond in [Duration::ZERO, TICK, YEAR] {
        let site = site(RouteConfig::revalidate(MINUTE).expire(HOUR), Handler::counting());
        site.get().await;
        site.clock.advance(HOUR + beyond);
        assert!(site.shows("MISS", 2).await, "{beyond:?}");
    }
}

/// CASES 112: the time of day is set back. No panic, no negative age; a page from the future is stale beyond a small
/// skew, and after its regeneration everything is as before.
#[tokio::test]
async fn a_clock_that_goes_backwards_makes_no_page_immortal() {
    for (back, expected) in
        [(SECOND, "HIT"), (5 * SECOND, "HIT"), (6 * SECOND, "STALE"), (HOUR, "STALE"), (10 * YEAR, "STALE")]
    {
        let site = site(RouteConfig::revalidate(MINUTE).expire(HOUR), Handler::counting());
        site.get().await;
        site.clock.rewind(back);
        let response = site.get().await;
        assert_eq!((state(&response), header(&response, "age")), (expected, "0"), "{back:?}");
        settled(&site.isr).await;
        if expected == "STALE" {
            assert_eq!(header(&response, "cache-control"), "s-maxage=0, stale-while-revalidate=3600", "{back:?}");
            assert!(site.shows("HIT", 2).await, "{back:?}");
            site.clock.advance(MINUTE);
            assert!(site.shows("STALE", 2).await, "{back:?}");
        } else {
            // Fresh for the skew longer, not for ever.
            site.clock.advance(MINUTE + back);
            assert!(site.shows("STALE", 1).await, "{back:?}");
        }
    }
}

/// CASES 112: a clock that says 1970 or jumps to and fro.
#[tokio::test]
async fn a_clock_without_a_battery_harms_nothing() {
    let site = site(RouteConfig::revalidate(MINUTE).expire(HOUR), Handler::counting());
    for _ in 0..5 {
        site.get().await;
        site.clock.rewind(100 * YEAR);
        assert_eq!(site.get().await.status(), StatusCode::OK);
        settled(&site.isr).await;
        assert_eq!(site.look().await.0, "HIT");
        site.clock.advance(101 * YEAR);
        assert_eq!(site.look().await.0, "MISS", "long expired");
    }
}

/// CASES 113: the clock jumps forward, or the machine slept: all pages are stale, everybody is served at once, and no
/// more are rendered at a time than may be.
#[tokio::test]
async fn a_jump_forward_regenerates_in_bounds() {
    let (clock, gate) = (ManualClock::new(), Gate::closed());
    let isr = Isr::builder().clock(clock.clone()).max_regenerations(3).build().unwrap();
    let inner = gate.clone();
    let handler = Handler::new(move |n, _| {
        let gate = inner.clone();
        async move {
            if n > 100 {
                gate.pass().await;
            }
            format!("render {n}")
        }
    });
    let app =
        Router::new().route("/p/{slug}", get(handler.clone())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    for n in 0..100 {
        fetch(&app, &format!("/p/{n}")).await;
    }
    clock.advance(300 * 24 * HOUR);
    for _ in 0..3 {
        for n in 0..100 {
            assert_eq!(state(&fetch(&app, &format!("/p/{n}")).await), "STALE");
        }
        let_run().await;
        assert_eq!((handler.calls(), isr.stats().flights), (103, 3));
    }
    gate.open();
    settled(&isr).await;
    assert_eq!(state(&fetch(&app, "/p/0").await), "HIT");
}

async fn render(request: Request) -> Render {
    let (mut parts, _) = request.into_parts();
    Render::from_request_parts(&mut parts, &()).await.unwrap()
}

/// R10, CASES 114: `forever` does not look at the clock; the longest durations saturate; zero is a bypass and, said by
/// the handler, not stored; what is advertised stays within 2^31.
#[tokio::test]
async fn extreme_lifetimes_saturate() {
    for (route, advertised) in [
        (RouteConfig::forever(), "s-maxage=31536000"),
        (RouteConfig::revalidate(Duration::MAX), "s-maxage=2147483648"),
        (
            RouteConfig::revalidate(SECOND * u32::MAX).expire(Duration::MAX),
            "s-maxage=2147483648, stale-while-revalidate=2147483648",
        ),
    ] {
        let site = site(route, Handler::counting());
        assert_eq!(header(&site.get().await, "cache-control"), advertised);
        for (years, age) in [(1, "31536000"), (99, "2147483648")] {
            site.clock.advance(years * YEAR);
            let hit = site.get().await;
            assert_eq!((state(&hit), header(&hit, "age"), header(&hit, "cache-control")), ("HIT", age, advertised));
        }
        site.clock.advance(Duration::MAX);
        site.clock.rewind(Duration::MAX);
        assert_eq!(site.get().await.status(), StatusCode::OK);
    }
    let never = site(RouteConfig::forever(), Handler::counting());
    never.get().await;
    never.clock.rewind(200 * YEAR);
    assert!(never.shows("HIT", 1).await, "forever, also for a clock that was set back");

    let zero = site(RouteConfig::revalidate(Duration::ZERO), Handler::counting());
    for n in 1..4 {
        assert!(zero.shows("", n).await);
    }
    assert_eq!((zero.isr.stats().memory_items, zero.isr.stats().bypasses), (0, 3));
    let says: [Says; 2] = [|render| render.revalidate(Duration::ZERO), |render| render.expire(Duration::ZERO)];
    for say in says {
        let handler = Handler::new(move |n, request| async move {
            say(&render(request).await);
            format!("render {n}")
        });
        let said = site(RouteConfig::revalidate(MINUTE), handler);
        assert!(said.shows("", 2).await);
        assert!(said.shows("", 3).await, "remembered as a pass");
    }
}

/// R10, CASES 116: however fresh a handler calls its page, it is gone when the route or the handler says that it expires;
/// a default that nobody has written down limits nothing.
#[tokio::test]
async fn a_page_is_not_fresh_for_longer_than_it_is_kept() {
    let written = RouteConfig::revalidate(MINUTE).expire(HOUR);
    let cases: [(_, Says, _, _); 3] = [
        (written.clone(), |render| render.revalidate(YEAR), HOUR, "HIT"),
        (written, |render| render.expire(2 * MINUTE), 2 * MINUTE, "STALE"),
        (RouteConfig::revalidate(MINUTE), |render| render.revalidate(2 * YEAR), 2 * YEAR, "HIT"),
    ];
    for (route, say, end, before) in cases {
        for (at, state, shown) in [(end.saturating_sub(TICK), before, 1), (end, "MISS", 2)] {
            let handler = Handler::new(move |n, request| async move {
                say(&render(request).await);
                format!("render {n}")
            });
            let site = site(route.clone(), handler);
            site.get().await;
            site.clock.advance(at);
            assert!(site.shows(state, shown).await, "{state} after {at:?}");
        }
    }
}

/// CASES 114: a lifetime below the clock's grain is a page that is always stale, not one that is not cached.
#[tokio::test]
async fn a_lifetime_of_a_nanosecond_is_always_stale() {
    let site = site(RouteConfig::revalidate(Duration::from_nanos(1)), Handler::counting());
    let miss = site.get().await;
    assert_eq!(header(&miss, "cache-control"), "s-maxage=0, stale-while-revalidate=31536000");
    assert!(site.shows("STALE", 1).await);
    settled(&site.isr).await;
    assert!(site.shows("STALE", 2).await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// CASES 112, 114, 116: whatever the lifetime and however the clock moves, an answer comes, its age is within 2^31,
    /// and a page that is called fresh is not older than it says it may be.
    #[test]
    fn no_lifetime_and_no_clock_breaks_an_answer(
        fresh in 1..=u64::MAX, keep in any::<u64>(), moves in prop::collection::vec((any::<bool>(), any::<u64>(), 0..60_u32), 1..8),
    ) {
        let fresh = Duration::from_micros(fresh);
        let route = RouteConfig::revalidate(fresh).expire(fresh.saturating_add(Duration::from_micros(keep)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let site = site(route, Handler::counting());
            for (forward, by, shift) in moves {
                let by = Duration::from_micros(by >> shift);
                if forward { site.clock.advance(by) } else { site.clock.rewind(by) }
                let response = site.get().await;
                let age: u64 = header(&response, "age").parse().unwrap_or(0);
                assert!(age <= 1 << 31);
                if state(&response) == "HIT" {
                    assert!(Duration::from_secs(age) <= fresh);
                } else {
                    assert!(matches!(state(&response), "MISS" | "STALE"));
                }
                settled(&site.isr).await;
            }
        });
    }
}

/// `ManualClock`: what cannot be added goes as far as there is time.
#[tokio::test]
async fn a_manual_clock_saturates() {
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let app =
        Router::new().route("/", get(Handler::counting())).route_layer(isr.layer(RouteConfig::revalidate(MINUTE)));
    assert_eq!(state(&fetch(&app, "/").await), "MISS");
    clock.advance(Duration::MAX);
    assert_eq!(state(&fetch(&app, "/").await), "MISS");
}
