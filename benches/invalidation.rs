//! What invalidation costs those who do it, and those who read meanwhile. Compare the rows of one run.
//!
//! `cargo bench --bench invalidation`
#![allow(clippy::expect_used, clippy::panic)]

mod cases;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum_isr::Isr;
use cases::Case;
use divan::Bencher;

fn main() {
    divan::main();
}

/// A future that does not wait.
fn now<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// A HIT: without tags; with 32; and with 32 while another tag is invalidated every millisecond, by another thread.
#[divan::bench(args = ["hit_10k", "hit_32_tags", "hit_32_tags, others invalidated"], sample_count = 2_000)]
fn hit(bencher: Bencher<'_, '_>, name: &str) {
    let (name, invalidated) = name.split_once(',').map_or((name, false), |(name, _)| (name, true));
    let name = cases::NAMES.into_iter().find(|known| *known == name).expect("a case");
    let case = Case::new(name);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if invalidated {
            scope.spawn(|| {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    now(case.isr().expire_tag(format!("other {n}"))).expect("a tag");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        bencher.with_inputs(|| case.request()).bench_local_values(|request| case.answer(request));
        stop.store(true, Ordering::Relaxed);
    });
}

/// To invalidate a tag that this many pages have.
#[divan::bench(args = [1, 100_000], sample_count = 1_000)]
fn expire_tag(bencher: Bencher<'_, '_>, pages: usize) {
    let tagged = cases::Many::tagged(64, "tag");
    tagged.visit(0..pages);
    let isr = tagged.isr.as_ref().expect("cached");
    bencher.bench_local(|| now(isr.expire_tag("tag")).expect("a tag"));
}

/// Always another tag, so that marks are folded in the end.
#[divan::bench(sample_count = 1_000)]
fn expire_ever_new_tags(bencher: Bencher<'_, '_>) {
    let isr = Isr::builder().build().expect("a handle");
    let next = AtomicUsize::new(0);
    bencher
        .with_inputs(|| format!("tag {}", next.fetch_add(1, Ordering::Relaxed)))
        .bench_local_refs(|tag| now(isr.expire_tag(&*tag)).expect("a tag"));
}

/// A value that is there: nothing but its name; with two arguments and a tag; with a struct of ten fields.
mod data_hit {
    use super::{Bencher, Isr, now};
    use serde::{Deserialize, Serialize};

    fn handle() -> (Isr, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        (Isr::builder().build().expect("a handle"), runtime)
    }

    #[divan::bench]
    fn number(bencher: Bencher<'_, '_>) {
        let (isr, runtime) = handle();
        let get = || isr.data("number").get_or_init(|| async { 42_u64 });
        runtime.block_on(get()).expect("a number");
        bencher.bench_local(|| now(get()).expect("a number"));
    }

    #[divan::bench]
    fn with_arguments(bencher: Bencher<'_, '_>) {
        let (isr, runtime) = handle();
        let get = || isr.data("number").arg(&7_u32).arg("seven").tag("numbers").get_or_init(|| async { 42_u64 });
        runtime.block_on(get()).expect("a number");
        bencher.bench_local(|| now(get()).expect("a number"));
    }

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Post {
        id: u64,
        title: String,
        author: String,
        published: bool,
        tags: Vec<String>,
    }

    #[divan::bench]
    fn ten_posts(bencher: Bencher<'_, '_>) {
        let (isr, runtime) = handle();
        let post =
            Post { title: "A title".into(), author: "Somebody".into(), tags: vec!["a".into()], ..Post::default() };
        let get = || {
            let posts = vec![post.clone(); 10];
            isr.data("posts").get_or_init(move || async move { posts })
        };
        runtime.block_on(get()).expect("posts");
        bencher.bench_local(|| now(isr.data("posts").get_or_init(|| async { Vec::<Post>::new() })).expect("posts"));
    }
}
