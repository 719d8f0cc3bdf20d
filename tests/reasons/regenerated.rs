//! Pages that are rendered again in the background: metrics, events, numbers, and what is explained of the page then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use axum_isr::stats::{Bypass, Failed, Pass, Reason, Regenerated, Stale};
use axum_isr::testing::{Fault, Operation};
use axum_isr::{DynamicRequest, Isr};
use http::StatusCode;

use crate::case::{Later, PATTERN};
use crate::common::{Fragile, Gate, Handler, fetch, head, let_run, seen, send, settled, state, until};
use crate::passed::{by_handler, of_no_length};
use crate::reasons::Watch;
use crate::site::{MINUTE, Site, plain, then};
use crate::stored::{cold, filled};
use crate::trouble::SECOND;

/// What is explained of the page afterwards.
enum After {
    /// It is there, and to render it again has not failed since it was made.
    Good(Reason),
    /// It is there, and to render it again has failed once.
    Bad(&'static str),
    /// It is not shared any more.
    Pass(Pass),
    /// There is nothing.
    Nothing(Reason),
}

struct Case {
    isr: Isr,
    /// Causes the regeneration.
    cause: Later,
    after: After,
}

struct Row {
    what: Regenerated,
    why: String,
    prepare: Box<dyn FnOnce() -> Later<Case>>,
}

fn row<F: AsyncFnOnce() -> Case + 'static>(what: Regenerated, why: impl Into<String>, prepare: F) -> Row {
    Row { what, why: why.into(), prepare: Box::new(move || Box::pin(prepare())) }
}

#[test]
fn what_is_told_of_regenerations_agrees() {
    for row in rows() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let watch = Watch::begin();
            let name = format!("{}: {}", Reason::Regenerated(row.what), row.why);
            println!("{name}");
            let case = (row.prepare)().await;
            agrees(&watch, row.what, case, &name).await;
        });
    }
}

/// What came of regenerations, of which there is a row each.
pub(crate) fn reasons() -> Vec<Reason> {
    rows().into_iter().map(|row| Reason::Regenerated(row.what)).collect()
}

async fn agrees(watch: &Watch, what: Regenerated, case: Case, name: &str) {
    let numbers = || {
        let stats = case.isr.stats();
        let route = stats.routes.iter().find(|route| route.route == PATTERN).unwrap().clone();
        [route.regenerations, route.regenerations_failed]
    };
    let (before, lines) = (numbers(), watch.lines());
    drop(watch.counted(""));
    case.cause.await;
    settled(&case.isr).await;
    let_run().await;

    let fails = matches!(what, Regenerated::Failed(_));
    let result = match what {
        Regenerated::Failed(_) => "failed",
        Regenerated::NotShared(_) => "not-shared",
        _ => what.as_str(),
    };
    let labels = [("route", PATTERN), ("result", result), ("reason", what.as_str())];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let counted = watch.counted("isr_regenerations_total");
    assert_eq!(counted, BTreeMap::from([(labels, 1)]), "{name}: metrics");
    let after = numbers();
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, u64::from(fails)], "{name}: numbers");
    let told = watch.since(lines);
    let count = |parts: &[&str]| told.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count();
    let place = format!("route={PATTERN} path=/p/a ");
    let reason = format!("reason=\"{}\"", what.as_str());
    let ours = ["DEBUG", "axum_isr: regenerated", &place, &reason];
    assert_eq!((count(&ours), count(&["axum_isr: regenerated"])), (1, 1), "{name}: {told:#?}");
    let failed = format!("what=\"{}\"", what.as_str());
    let failed = count(&["WARN", "axum_isr: regeneration failed", &place, &failed, "failures=1"]);
    assert_eq!(failed, usize::from(fails), "{name}: {told:#?}");

    let explained = case.isr.explain("/p/a", &http::HeaderMap::new()).unwrap();
    let said = (explained.reason, explained.entry.as_ref().map(|entry| entry.kind));
    let entry = explained.entry.clone().unwrap_or_default();
    let error = (entry.failures, entry.last_error.as_deref(), entry.rendering);
    match case.after {
        After::Good(reason) => {
            assert_eq!((said, error), ((Some(reason), Some("page")), (0, None, false)), "{name}");
        }
        After::Bad(last) => {
            assert_eq!((said.1, error), (Some("page"), (1, Some(last), false)), "{name}");
            assert!(matches!(said.0, Some(Reason::Stale(_))), "{name}: {said:?}");
            assert!(entry.retry_in.is_some_and(|wait| !wait.is_zero()), "{name}: {entry:?}");
            let text = format!("To render it again has failed once, the last time with {last}; it is tried again in ");
            assert!(explained.text.contains(&text) && explained.text.ends_with('.'), "{name}: {}", explained.text);
        }
        After::Pass(pass) => assert_eq!(said, (Some(Reason::Pass(pass)), Some("pass")), "{name}"),
        After::Nothing(reason) => assert_eq!(said, (Some(reason), None), "{name}"),
    }
}

/// A page that has become old and is asked for.
async fn visited(site: Site, after: After) -> Case {
    fetch(&site.app, "/p/a").await;
    site.clock.advance(MINUTE);
    let app = site.app;
    let cause = Box::pin(async move { assert_eq!(state(&fetch(&app, "/p/a").await), "STALE") });
    Case { isr: site.isr, cause, after }
}

fn rows() -> Vec<Row> {
    let mut rows = good();
    rows.extend(failing());
    rows.extend(refused());
    rows.push(row(Regenerated::NotShared(Pass::Dynamic), "it asks for its visitor by now", async || {
        let handler = Handler::new(|n, request: Request| async move {
            if n == 1 {
                return "page".into_response();
            }
            match DynamicRequest::from_request(request, &()).await {
                Ok(asked) => format!("{:?}", asked.uri()).into_response(),
                Err(rejection) => rejection.into_response(),
            }
        });
        visited(Site::of(plain(), handler), After::Pass(Pass::Dynamic)).await
    }));
    let shared = by_handler().into_iter().map(|(pass, page)| {
        row(Regenerated::NotShared(pass), "by what its handler says by now", async move || {
            visited(Site::of(plain(), then(move |render| page(2, render))), After::Pass(pass)).await
        })
    });
    rows.extend(shared);
    rows
}

fn good() -> Vec<Row> {
    vec![
        row(Regenerated::Ok, "there is a new page", async || visited(Site::new(), After::Good(Reason::Hit)).await),
        row(Regenerated::Ok, "on demand, without a visitor", async || {
            let site = Site::new();
            fetch(&site.app, "/p/a").await;
            let (isr, app) = (site.isr.clone(), site.app);
            let cause = Box::pin(async move {
                let progress = isr.regenerate_path("/p/a").await.unwrap().finished().await;
                drop(app);
                assert_eq!((progress.done, progress.failed), (1, 0));
            });
            Case { isr: site.isr, cause, after: After::Good(Reason::Hit) }
        }),
        row(Regenerated::Ok, "and invalidated meanwhile", async || {
            let gate = Gate::closed();
            let site = Site::of(plain(), Handler::gated_again(&gate));
            let (isr, handler) = (site.isr.clone(), site.handler.clone());
            let old = visited(site, After::Good(Reason::Stale(Stale::Invalidated))).await;
            let visit = old.cause;
            let cause = Box::pin(async move {
                visit.await;
                until(|| handler.calls() == 2).await;
                isr.revalidate_path("/p/a").await.unwrap();
                gate.open();
            });
            Case { cause, ..old }
        }),
        row(Regenerated::Unchanged, "the new page is the old one", async || {
            let same = Handler::new(|_, _| async { "page" });
            visited(Site::of(plain(), same), After::Good(Reason::Hit)).await
        }),
        row(Regenerated::Found, "another process had rendered it", async || {
            let (cluster, other) = filled().await;
            let node = cold(&cluster);
            assert_eq!(seen(&node.app, "/p/a").await.0, "HIT");
            cluster.clock.advance(60 * SECOND);
            assert_eq!(seen(&other.app, "/p/a").await.0, "STALE");
            let writes = other.isr.stats().store_writes;
            until(|| other.isr.stats().store_writes > writes).await;
            let app = node.app;
            let cause = Box::pin(async move {
                assert_eq!(seen(&app, "/p/a").await.0, "STALE");
                drop(cluster);
            });
            Case { isr: node.isr, cause, after: After::Good(Reason::Hit) }
        }),
        row(Regenerated::Elsewhere, "another process renders it", async || {
            let (cluster, other) = filled().await;
            let node = cold(&cluster);
            assert_eq!(seen(&node.app, "/p/a").await.0, "HIT");
            // Whoever asks there for the lease first has it, and does not give it back.
            let slow = cluster.troubled();
            assert_eq!(seen(&slow.app, "/p/a").await.0, "HIT");
            cluster.faults.set(Operation::Put, Fault::Hang);
            cluster.faults.set(Operation::Release, Fault::Hang);
            cluster.clock.advance(60 * SECOND);
            assert_eq!(seen(&slow.app, "/p/a").await.0, "STALE");
            settled(&slow.isr).await;
            let app = node.app;
            let cause = Box::pin(async move {
                assert_eq!(seen(&app, "/p/a").await.0, "STALE");
                drop((cluster, slow, other));
            });
            Case { isr: node.isr, cause, after: After::Good(Reason::Stale(Stale::Age)) }
        }),
        row(Regenerated::Abandoned, "shutdown gives it up", async || {
            let site = Site::of(plain(), Handler::gated_again(&Gate::closed()));
            let (isr, handler) = (site.isr.clone(), site.handler.clone());
            let shut = Reason::Bypass(Bypass::Shutdown);
            let old = visited(site, After::Nothing(shut)).await;
            let visit = old.cause;
            let cause = Box::pin(async move {
                visit.await;
                until(|| handler.calls() == 2).await;
                isr.shutdown(Duration::ZERO).await;
            });
            Case { cause, ..old }
        }),
    ]
}

/// What fails, by what is remembered as the last error.
fn failing() -> Vec<Row> {
    let fails = |what, error, page: fn() -> Response| {
        row(Regenerated::Failed(what), error, async move || {
            visited(Site::of(plain(), then(move |_| page())), After::Bad(error)).await
        })
    };
    vec![
        fails(Failed::Status(503), "status 503", || StatusCode::SERVICE_UNAVAILABLE.into_response()),
        fails(Failed::Status(429), "status 429", || StatusCode::TOO_MANY_REQUESTS.into_response()),
        fails(Failed::Panicked, "panicked", || panic!("at the disco")),
        fails(Failed::Panicked, "panicked", || Response::new(Body::new(Fragile(Some(Bytes::from_static(b"x")))))),
        fails(Failed::Broken, "broken", || {
            let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("disk"))]);
            Body::from_stream(broken).into_response()
        }),
        row(Regenerated::Failed(Failed::TimedOut), "the handler hangs", async || {
            let handler = Handler::new(|n, _| async move {
                if n > 1 {
                    std::future::pending::<()>().await;
                }
                "page"
            });
            let old = visited(Site::of(plain(), handler), After::Bad("timed-out")).await;
            let visit = old.cause;
            let cause = Box::pin(async move {
                visit.await;
                tokio::time::sleep(31 * SECOND).await;
            });
            Case { cause, ..old }
        }),
    ]
}

/// What came of it cannot take the old page's place, which stays.
fn refused() -> Vec<Row> {
    let refused = |pass, error, page: fn() -> Response| {
        row(Regenerated::Failed(Failed::Refused(pass)), error, async move || {
            visited(Site::of(plain().max_body_bytes(100), then(move |_| page())), After::Bad(error)).await
        })
    };
    vec![
        refused(Pass::Status, "not shareable: status", || StatusCode::NO_CONTENT.into_response()),
        refused(Pass::SetCookie, "not shareable: set-cookie", || {
            (StatusCode::SERVICE_UNAVAILABLE, [("set-cookie", "a=1")]).into_response()
        }),
        refused(Pass::TooLarge, "not shareable: too-large", || "x".repeat(101).into_response()),
        refused(Pass::Broken, "not shareable: broken", of_no_length),
        row(Regenerated::Failed(Failed::Refused(Pass::Head)), "a HEAD handler that says nothing by now", async || {
            let site = Site::new();
            let calls = Arc::new(AtomicUsize::new(0));
            let answers = async move || if calls.fetch_add(1, Ordering::SeqCst) == 0 { "page" } else { "" };
            let app = Router::new().route(PATTERN, axum::routing::head(answers)).route_layer(site.isr.layer(plain()));
            send(&app, head("/p/a")).await;
            settled(&site.isr).await;
            site.clock.advance(MINUTE);
            let cause = Box::pin(async move { assert_eq!(state(&send(&app, head("/p/a")).await), "STALE") });
            Case { isr: site.isr, cause, after: After::Bad("not shareable: head") }
        }),
    ]
}
