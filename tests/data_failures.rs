//! Data that cannot be had: errors, panics, cycles, limits, and where nothing is kept.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::error::Error;
use std::time::Duration;

use axum_isr::testing::ManualClock;
use axum_isr::{CacheLife, DataError, Isr, Mode};
use common::data::{Source, quiet};
use common::{Gate, Logs, let_run, until};
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error)]
#[error("no route to host")]
struct Unreachable;

/// R28: an error goes to all who waited, with its source, and is not kept.
#[tokio::test]
async fn an_error_goes_to_those_who_waited() {
    let isr = Isr::builder().build().unwrap();
    let (gate, source) = (Gate::closed(), Source::default());
    let ask = || {
        let (isr, gate, source) = (isr.clone(), gate.clone(), source.clone());
        tokio::spawn(async move {
            let compute = move || async move {
                gate.pass().await;
                if source.next() == 1 { Err(Unreachable) } else { Ok(1_u8) }
            };
            isr.data("remote").get_or_try_init(compute).await
        })
    };
    let asks: Vec<_> = (0..3).map(|_| ask()).collect();
    let_run().await;
    gate.open();
    for ask in asks {
        let error = ask.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "data \"remote\" could not be computed");
        assert!(error.source().unwrap().to_string() == "no route to host", "{error:?}");
        let DataError::Computation { source, .. } = error else { panic!("{error:?}") };
        assert!(source.downcast_ref::<Unreachable>().is_some());
    }
    assert_eq!(ask().await.unwrap().unwrap(), 1);
    assert_eq!((isr.stats().data_failures, source.calls()), (1, 2));
}

/// As a page: what cannot be computed again is used until it expires, and tried again after 1 s, 2 s, …
#[tokio::test]
async fn a_failing_source_is_left_alone_for_a_while() {
    let logs = Logs::capture();
    let clock = ManualClock::new();
    let isr = Isr::builder().clock(clock.clone()).build().unwrap();
    let source = Source::default();
    let ask = || {
        let (isr, source) = (isr.clone(), source.clone());
        async move {
            let compute = move || async move { if source.next() == 1 { Ok(1_u8) } else { Err("down\nagain") } };
            let got = isr.data("remote").life(CacheLife::SECONDS).tag("t").get_or_try_init(compute).await;
            quiet(&isr).await;
            got
        }
    };
    assert_eq!(ask().await.unwrap(), 1);
    clock.advance(Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(ask().await.unwrap(), 1);
    }
    assert_eq!(source.calls(), 2);
    clock.advance(Duration::from_millis(1_300));
    for _ in 0..5 {
        assert_eq!(ask().await.unwrap(), 1);
    }
    assert_eq!(source.calls(), 3);
    // News end the wait.
    isr.revalidate_tag("t").await.unwrap();
    assert_eq!((ask().await.unwrap(), source.calls()), (1, 4));
    assert_eq!((ask().await.unwrap(), source.calls()), (1, 4));
    assert_eq!(logs.count(&["WARN", "computation failed: the old value is used until it expires", "failures=3"]), 1);
    clock.advance(Duration::from_secs(60));
    assert!(matches!(ask().await, Err(DataError::Computation { .. })));
}

/// A value that cannot be written, or not be read back, is an error and not a loop.
#[tokio::test]
async fn a_value_that_does_not_come_back_is_an_error() {
    #[derive(Debug, Deserialize)]
    struct OneWay(#[expect(dead_code, reason = "nobody reads it")] u32);
    impl Serialize for OneWay {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("seven")
        }
    }
    #[derive(Debug, Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let isr = Isr::builder().build().unwrap();
    for _ in 0..2 {
        let problem = isr.data("a").get_or_init(|| async { OneWay(7) }).await.unwrap_err();
        assert!(matches!(&problem, DataError::Encoding { data, .. } if data == "a"), "{problem}");
        let problem = isr.data("b").get_or_init(|| async { Never }).await.unwrap_err();
        assert_eq!(problem.to_string(), "data \"b\" cannot be kept: never");
    }
}

fn panics() {
    panic!("at the disco");
}

/// Panics and endless computations are errors of those who wait.
#[tokio::test(start_paused = true)]
async fn a_computation_that_panics_or_never_ends() {
    let isr = Isr::builder().render_timeout(Duration::from_secs(3)).build().unwrap();
    let problem = isr.data("a").get_or_init(|| async { panics() }).await.unwrap_err();
    assert_eq!(problem.to_string(), "data \"a\" could not be computed: panicked with \"at the disco\"");
    let at_once = || -> std::future::Ready<u8> { panic!("before it began") };
    let problem = isr.data("a").get_or_init(at_once).await.unwrap_err();
    assert!(matches!(problem, DataError::Panicked { .. }), "{problem}");
    let problem = isr.data("b").get_or_init(std::future::pending::<u8>).await.unwrap_err();
    assert_eq!(problem.to_string(), "data \"b\" could not be computed within 3s");
    quiet(&isr).await;
    assert_eq!(isr.stats().data_failures, 3);
    assert_eq!(isr.data("b").get_or_init(|| async { 1 }).await.unwrap(), 1);
}

/// A value that is needed to compute itself is an error, at any distance.
#[tokio::test]
async fn a_cycle_is_an_error() {
    fn ask(
        isr: Isr,
        name: &'static str,
        next: &'static [&'static str],
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<u8, DataError>> + Send>> {
        Box::pin(async move {
            let inner = isr.clone();
            isr.data(name)
                .get_or_try_init(move || async move {
                    match next {
                        [] => Ok(1),
                        [next, rest @ ..] => ask(inner, next, rest).await,
                    }
                })
                .await
        })
    }
    let isr = Isr::builder().build().unwrap();
    for path in [&["a"][..], &["b", "a"], &["b", "c", "a"]] {
        let problem = ask(isr.clone(), "a", path).await.unwrap_err();
        let mut deepest: &dyn Error = &problem;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        assert_eq!(deepest.to_string(), "data \"a\" is needed to compute itself", "{path:?}");
    }
    assert_eq!(ask(isr.clone(), "a", &["b", "c", "d"]).await.unwrap(), 1);
    quiet(&isr).await;
}

/// Computations that nobody waits for any more are bounded: a visitor who asks and goes costs no more than the limit.
#[tokio::test]
async fn who_asks_and_goes_is_bounded() {
    let isr = Isr::builder().max_regenerations(4).build().unwrap();
    let gate = Gate::closed();
    let mut asks = Vec::new();
    for n in 0..10_usize {
        let (isr, gate) = (isr.clone(), gate.clone());
        asks.push(tokio::spawn(async move {
            isr.data("n").arg(&n).get_or_init(move || async move { gate.pass().await }).await
        }));
    }
    until(|| isr.stats().computations == 10).await;
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| isr.stats().computations == 2).await;
    gate.open();
    quiet(&isr).await;
    assert_eq!(isr.stats().memory_items, 2);
}

/// Where nothing can be kept, data is computed for whoever asks: without a runtime, in development, after a shutdown, with
/// a life of zero.
#[test]
fn where_nothing_is_kept_it_is_computed() {
    let isr = Isr::builder().build().unwrap();
    let source = Source::default();
    let without = std::thread::scope(|scope| {
        let ask = scope.spawn(|| {
            let mut ask = Box::pin(source.get(&isr, "a"));
            match ask.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
                std::task::Poll::Ready(n) => n,
                std::task::Poll::Pending => panic!("waits"),
            }
        });
        ask.join().unwrap()
    });
    assert_eq!(without, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let develops = Isr::builder().mode(Mode::Development).build().unwrap();
        assert_eq!((source.get(&develops, "a").await, source.get(&develops, "a").await), (2, 3));
        let zero = || {
            let source = source.clone();
            isr.data("a").revalidate(Duration::ZERO).get_or_init(move || async move { source.next() })
        };
        assert_eq!((zero().await.unwrap(), zero().await.unwrap()), (4, 5));
        isr.shutdown(Duration::from_secs(1)).await;
        assert_eq!((source.get(&isr, "a").await, source.get(&isr, "a").await), (6, 7));
    });
    assert_eq!(isr.stats().memory_items, 0);
}

/// A shutdown waits for computations, and gives up those that take too long; who waits hears of it.
#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_computations() {
    let isr = Isr::builder().build().unwrap();
    let ask = {
        let isr = isr.clone();
        tokio::spawn(async move { isr.data("a").get_or_init(std::future::pending::<u8>).await })
    };
    until(|| isr.stats().computations == 1).await;
    let report = isr.shutdown(Duration::from_secs(1)).await;
    assert_eq!(report.abandoned, 1);
    let problem = ask.await.unwrap().unwrap_err();
    assert_eq!(problem.to_string(), "data \"a\": the computation was given up");
}

/// A value that the memory cannot hold is handed over all the same.
#[tokio::test]
async fn a_value_larger_than_the_memory() {
    let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
    let large = || async { "x".repeat(17 << 20) };
    for n in 1..3 {
        assert_eq!(isr.data("large").get_or_init(large).await.unwrap().len(), 17 << 20);
        assert_eq!((isr.stats().data_misses, isr.stats().memory_items), (n, 0));
    }
}
