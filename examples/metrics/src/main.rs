//! A site with three cached routes, whose cache can be watched at `/metrics`.
//!
//! `--port N` (3000), `--store DIR` (none: pages end with the process), `--publish SECONDS` (30: how often something is
//! published, which revalidates the posts).

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum_isr::store::DiskStore;
use axum_isr::{Isr, Render, RouteConfig};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// How long a handler takes: from what a HIT takes to the render timeout.
const RENDERS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How old a page is: around the times to revalidate, which are 5 to 15 s here, and far beyond.
const AGES: [f64; 11] = [1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 1_800.0, 14_400.0, 86_400.0];

/// How long a store takes: its deadlines are 100 ms and 150 ms.
const CALLS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 1.0];

/// Before anything is asked for: a route keeps the counters that it finds at its first request.
fn exporter() -> Result<PrometheusHandle, BuildError> {
    let buckets = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(buckets("isr_render_seconds"), &RENDERS)?
        .set_buckets_for_metric(buckets("isr_age_at_serve_seconds"), &AGES)?
        .set_buckets_for_metric(buckets("isr_store_seconds"), &CALLS)?
        .install_recorder()
}

async fn post(Path(slug): Path<String>, render: Render) -> Html<String> {
    render.tag("posts");
    sleep(Duration::from_millis(20)).await;
    Html(format!("<h1>{slug}</h1>"))
}

/// Slow: what a HIT saves here is worth watching.
async fn report() -> Html<&'static str> {
    sleep(Duration::from_millis(1_200)).await;
    Html("<h1>The year in numbers</h1>")
}

/// Fails every third time: visitors of a page that was made once do not notice.
async fn weather(Path(city): Path<String>) -> Result<Html<String>, StatusCode> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    if ASKED.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(Html(format!("<h1>{city}: 21 °C</h1>")))
}

fn site(isr: &Isr, exporter: PrometheusHandle) -> Router {
    let fresh = |seconds| isr.layer(RouteConfig::revalidate(seconds * SECOND));
    let numbers = move || {
        let text = exporter.render();
        async { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response() }
    };
    Router::new()
        .route("/posts/{slug}", get(post).layer(fresh(5)))
        .route("/report", get(report).layer(fresh(15)))
        .route("/weather/{city}", get(weather).layer(fresh(5)))
        .route("/metrics", get(numbers))
}

/// What follows an option.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let exporter = exporter()?;
    let mut builder = Isr::builder();
    if let Some(folder) = option("--store") {
        builder = builder.store(DiskStore::open(folder)?);
    }
    let isr = builder.build()?;
    let app = site(&isr, exporter.clone());

    let port: u16 = option("--port").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}/metrics", listener.local_addr()?);

    // What was recorded is kept until somebody asks; it is added up in between, should nobody do.
    tokio::spawn(async move {
        let mut ticks = interval(5 * SECOND);
        loop {
            ticks.tick().await;
            exporter.run_upkeep();
        }
    });
    let pause: u64 = option("--publish").map_or(Ok(30), |seconds| seconds.parse())?;
    let publisher = isr.clone();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(pause.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is at once, when there is nothing yet.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(problem) = publisher.revalidate_tag("posts").await {
                eprintln!("{problem}");
            }
        }
    });

    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
    isr.shutdown(10 * SECOND).await;
    Ok(())
}
