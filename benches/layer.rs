//! Times of each case, in one run: compare the rows with one another, not with those of another machine or day.
//!
//! `cargo bench --bench layer`

mod cases;

use cases::Case;
use divan::Bencher;

fn main() {
    divan::main();
}

/// One request and its whole response.
#[divan::bench(args = cases::NAMES)]
fn request(bencher: Bencher<'_, '_>, name: &'static str) {
    let case = Case::new(name);
    bencher.with_inputs(|| case.request()).bench_values(|request| case.answer(request));
}

/// A HIT among this many entries: apart from the memory's latency, the same for all.
#[divan::bench(args = [1_000, 10_000, 100_000, 1_000_000], sample_count = 20)]
fn hit_among(bencher: Bencher<'_, '_>, entries: usize) {
    let among = cases::Many::cached(64, 4 << 30);
    among.visit(0..entries);
    let next = std::sync::atomic::AtomicUsize::new(0);
    // A stride that is prime to all the counts: neighbours in time are no neighbours in memory.
    let path = || next.fetch_add(7_919, std::sync::atomic::Ordering::Relaxed) % entries;
    bencher.with_inputs(|| cases::Many::request(path())).bench_values(|request| among.answer(request));
}

/// A first render, against the same handler without the layer. Each needs the runtime.
mod first_render {
    use super::{Bencher, cases};

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        run(bencher, &cases::Many::bare(10 << 10));
    }

    #[divan::bench]
    fn miss(bencher: Bencher<'_, '_>) {
        run(bencher, &cases::Many::cached(10 << 10, 1 << 30));
    }

    fn run(bencher: Bencher<'_, '_>, app: &cases::Many) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        bencher
            .with_inputs(|| cases::Many::request(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
            .bench_values(|request| app.wait(request));
    }
}
