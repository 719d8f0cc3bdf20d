//! A thousand visitors at once for one page: how often it is rendered, and how long they wait.
//!
//! `cargo bench --bench stampede`. Times hold for this machine and moment; the counts are asserted in tests.

#![allow(clippy::expect_used, reason = "a bench that cannot run has nothing to say")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use axum_isr::testing::ManualClock;
use axum_isr::{Isr, RouteConfig};
use http_body_util::BodyExt;
use tower::ServiceExt;

const VISITORS: usize = 1_000;
const RENDER: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{VISITORS} visitors at once, a render of {RENDER:?}, 5 rounds each");
    println!("{:<10} {:>8} {:>10} {:>10} {:>10}", "", "renders", "median", "p99", "max");
    runtime.block_on(async {
        let clock = ManualClock::new();
        let isr = Isr::builder().clock(clock.clone()).build().expect("defaults");
        let renders = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&renders);
        let handler = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::time::sleep(RENDER).await;
                "x".repeat(10 << 10)
            }
        };
        let app = Router::new()
            .route("/{page}", get(handler))
            .layer(isr.layer(RouteConfig::revalidate(MINUTE)))
            .with_state(());
        let (mut cold, mut stale) = (Vec::new(), Vec::new());
        let (mut cold_renders, mut stale_renders) = (0, 0);
        for round in 0..5 {
            let page = format!("/{round}");
            let before = renders.load(Ordering::Relaxed);
            cold.extend(rush(&app, &page).await);
            cold_renders += renders.load(Ordering::Relaxed) - before;

            clock.advance(MINUTE);
            let before = renders.load(Ordering::Relaxed);
            stale.extend(rush(&app, &page).await);
            tokio::time::sleep(2 * RENDER).await;
            stale_renders += renders.load(Ordering::Relaxed) - before;
        }
        report("cold", cold_renders, cold);
        report("stale", stale_renders, stale);
    });
}

/// All at once; each in a task of its own. Returns how long each waited for its whole answer.
async fn rush(app: &Router, page: &str) -> Vec<Duration> {
    let barrier = Arc::new(tokio::sync::Barrier::new(VISITORS));
    let visits: Vec<_> = (0..VISITORS)
        .map(|_| {
            let (app, barrier, page) = (app.clone(), Arc::clone(&barrier), page.to_owned());
            tokio::spawn(async move {
                let request = Request::builder().uri(page).body(Body::empty()).expect("valid");
                barrier.wait().await;
                let start = Instant::now();
                let Ok(response) = app.oneshot(request).await;
                let body = response.into_body().collect().await.expect("a page").to_bytes();
                assert_eq!(body.len(), 10 << 10);
                start.elapsed()
            })
        })
        .collect();
    let mut times = Vec::with_capacity(VISITORS);
    for visit in visits {
        times.push(visit.await.expect("no panic"));
    }
    times
}

fn report(name: &str, renders: usize, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{name:<10} {:>8} {:>10.2?} {:>10.2?} {:>10.2?}", format!("{renders} in 5"), at(50), at(99), at(100));
}
