//! A hundred thousand pages in the memory tier of one site: `/shelves/{shelf}/{number}`, ten shelves of ten thousand. What
//! each page is follows from its number, so that `tests/browser/many.mjs`, which says the same once more, knows what the
//! dashboard has to show.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, Render, RouteConfig};
use http::StatusCode;
use http::header::SET_COOKIE;

use crate::common::{fetch, settled, state};

pub const PAGES: usize = 100_000;
const A_SHELF: usize = 10_000;

/// The oldest first. By age is not by path.
const FILLED: [usize; 10] = [7, 2, 9, 4, 0, 5, 1, 8, 3, 6];

const STALE_SHELF: usize = 2;
const EXPIRED_SHELF: usize = 5;
const PASS_SHELF: usize = 8;

/// Each takes longer than the one before, and they come before everything else.
const SLOW: [usize; 8] = [4_321, 16_821, 29_321, 41_821, 54_321, 66_821, 79_321, 91_821];

/// Of the stale shelf; they cannot be rendered again.
const BROKEN: [usize; 4] = [20_003, 22_503, 25_003, 27_503];

/// So many fill it at the same time.
const FILLERS: usize = 4;

pub struct Shelves {
    pub isr: Isr,
    pub pages: Router<Isr>,
}

impl Shelves {
    /// Through the layer, as visitors do it.
    pub async fn filled() -> Self {
        let clock = ManualClock::new();
        let isr = Isr::builder().memory_bytes(1 << 30).clock(clock.clone()).build().unwrap();
        let broken = Arc::new(AtomicBool::new(false));
        let pages = pages(&isr, &clock, &broken);
        let app = pages.clone().with_state(isr.clone());
        for number in SLOW {
            assert_eq!(state(&fetch(&app, &path(number)).await), "MISS", "{number}");
        }
        clock.advance(Duration::from_secs(1));
        for shelf in FILLED {
            let fillers = (0..FILLERS).map(|first| {
                let app = app.clone();
                tokio::spawn(async move {
                    for number in (shelf * A_SHELF..(shelf + 1) * A_SHELF).skip(first).step_by(FILLERS) {
                        fetch(&app, &path(number)).await;
                    }
                })
            });
            for filler in fillers.collect::<Vec<_>>() {
                filler.await.unwrap();
            }
            clock.advance(Duration::from_secs(1));
        }
        settled(&isr).await;
        clock.advance(Duration::from_secs(300_000));
        broken.store(true, Ordering::Relaxed);
        for number in BROKEN {
            let done = isr.regenerate_path(path(number)).await.unwrap().finished().await;
            assert_eq!((done.total, done.failed), (1, 1), "{number}");
        }
        assert_eq!(isr.stats().memory_items, PAGES);
        Self { isr, pages }
    }
}

/// `/shelves/4/40404`
fn path(number: usize) -> String {
    format!("/shelves/{}/{number:05}", number / A_SHELF)
}

fn pages(isr: &Isr, clock: &ManualClock, broken: &Arc<AtomicBool>) -> Router<Isr> {
    let (clock, broken) = (clock.clone(), Arc::clone(broken));
    let page = move |Path((shelf, number)): Path<(usize, usize)>, render: Render| {
        let slow = SLOW.iter().position(|slow| *slow == number);
        clock.advance(Duration::from_millis(250) * slow.map_or(0, |place| u32::try_from(place).unwrap() + 1));
        let broken = broken.load(Ordering::Relaxed) && BROKEN.contains(&number);
        async move { if broken { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { shown(shelf, number, &render) } }
    };
    let config = RouteConfig::revalidate(Duration::from_secs(900_000)).expire(Duration::from_secs(1_800_000));
    Router::new().route("/shelves/{shelf}/{number}", get(page)).route_layer(isr.layer(config))
}

fn shown(shelf: usize, number: usize, render: &Render) -> Response {
    // Tags, and numbers in headers, are as long on every page: what it weighs is decided by its body.
    for tag in [
        format!("shelf:{shelf}"),
        format!("ending:{:03}", number % 1_000),
        format!("author:{}", number % 7),
        format!("lang:{}", ["de", "en", "fr"][number % 3]),
        "everything".to_owned(),
    ] {
        render.tag(tag);
    }
    if matches!(shelf, STALE_SHELF | EXPIRED_SHELF) {
        render.revalidate(Duration::from_secs(100_000));
        render.expire(Duration::from_secs(if shelf == STALE_SHELF { 1_000_000 } else { 200_000 }));
    }
    let body = "x".repeat(number * 7_919 % 1_000);
    if shelf == PASS_SHELF { ([(SET_COOKIE, "a=b")], body).into_response() } else { body.into_response() }
}
