//! Pages that are served: fresh, stale, or rendered while the visitor waits.

use axum::response::IntoResponse;
use axum_isr::stats::{Miss, Reason, Stale};
use axum_isr::{Mode, RouteConfig};

use crate::case::{Row, row};
use crate::common::{Gate, Handler, Taps, fetch, head, request, settled, until, waiting};
use crate::reasons::all_agree;
use crate::site::{MINUTE, Site, making, plain};

const COLD: Reason = Reason::Miss(Miss::Cold);

#[test]
fn what_is_told_of_pages_that_are_served_agrees() {
    all_agree(rows());
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = hits();
    rows.extend(misses());
    rows
}

fn hits() -> Vec<Row> {
    vec![
        row(Reason::Hit, "the page is fresh", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.case()
        }),
        row(Reason::Hit, "a HEAD of it", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.case().asking(|| head("/p/a"))
        }),
        row(Reason::Hit, "whoever has it gets a 304", async || {
            let site = Site::of(plain(), making(|_, _| ([("etag", "\"1\"")], "page").into_response()));
            fetch(&site.app, "/p/a").await;
            site.case().headers(&[("if-none-match", "\"1\"")])
        }),
        row(Reason::Hit, "fresh until it is invalidated", async || {
            let site = Site::of(RouteConfig::forever(), Handler::counting());
            fetch(&site.app, "/p/a").await;
            site.case()
        }),
        row(Reason::Stale(Stale::Age), "older than its time to revalidate", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.clock.advance(MINUTE);
            site.case()
        }),
        row(Reason::Stale(Stale::Invalidated), "revalidated on demand", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.isr.revalidate_path("/p/a").await.unwrap();
            site.case()
        }),
        row(Reason::Stale(Stale::Invalidated), "revalidated on demand, and old", async || {
            let site = Site::of(plain().tags(["t"]), Handler::counting());
            fetch(&site.app, "/p/a").await;
            site.clock.advance(2 * MINUTE);
            site.isr.revalidate_tag("t").await.unwrap();
            site.case()
        }),
        row(Reason::Stale(Stale::Invalidated), "revalidated while it was made", async || {
            let gate = Gate::closed();
            let site = Site::of(plain(), Handler::gated_again(&gate));
            fetch(&site.app, "/p/other").await;
            let (isr, handler) = (site.isr.clone(), site.handler.clone());
            site.case().looks_cold().meanwhile(async move {
                until(|| handler.calls() == 2).await;
                isr.revalidate_path("/p/a").await.unwrap();
                gate.open();
            })
        }),
    ]
}

fn misses() -> Vec<Row> {
    vec![
        row(COLD, "there was no page", async || Site::new().case()),
        row(COLD, "nor one for a HEAD", async || Site::new().case().asking(|| head("/p/a"))),
        row(COLD, "whoever waits for somebody else's render", async || {
            let gate = Gate::closed();
            let site = Site::of(plain(), Handler::gated_again(&gate));
            fetch(&site.app, "/p/other").await;
            let starter = waiting(&site.app, request("/p/a")).await;
            site.case().collapsed().also([COLD]).meanwhile(async move {
                gate.open();
                drop(starter.await);
            })
        }),
        row(COLD, "while the body is on its way", async || {
            let taps = Taps::default();
            let site = Site::of(plain(), taps.handler(&[]));
            site.case().meanwhile(async move {
                let tap = taps.next().await;
                tap.send("begun");
                crate::common::let_run().await;
                tap.send("ended");
            })
        }),
        row(COLD, "a body that breaks after its head is out", async || {
            let taps = Taps::default();
            let site = Site::of(plain(), taps.handler(&[]));
            site.case().meanwhile(async move {
                let tap = taps.next().await;
                tap.send("begun");
                crate::common::let_run().await;
                tap.fail("broken");
            })
        }),
        row(Reason::Miss(Miss::Expired), "older than its time to expire", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.clock.advance(60 * MINUTE);
            site.case()
        }),
        row(Reason::Miss(Miss::Expired), "and expired on demand besides", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            site.isr.expire_path("/p/a").await.unwrap();
            site.clock.advance(60 * MINUTE);
            site.case()
        }),
        row(Reason::Miss(Miss::Invalidated), "expired on demand", async || {
            let site = Site::of(plain().tags(["t"]), Handler::counting());
            fetch(&site.app, "/p/a").await;
            site.isr.expire_tag("t").await.unwrap();
            site.case()
        }),
        row(Reason::Miss(Miss::Invalidated), "a remembered pass is not, after a mark", async || {
            let page = making(|n, render| {
                if n < 3 {
                    render.no_store();
                }
                "page".into_response()
            });
            let site = Site::of(plain(), page);
            fetch(&site.app, "/p/a").await;
            settled(&site.isr).await;
            site.isr.revalidate_path("/p/a").await.unwrap();
            site.case()
        }),
        row(Reason::Miss(Miss::Development), "in development mode", async || {
            let site = Site::with(plain(), Handler::counting(), |builder| builder.mode(Mode::Development));
            fetch(&site.app, "/p/a").await;
            site.case()
        }),
    ]
}
