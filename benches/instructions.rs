//! Runs one case a given number of times, for `scripts/instructions` to count.

mod cases;

/// As many as `scripts/instructions` asks for.
const MOST_FOUND: usize = 1_200;

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(times)) = (args.next(), args.next()) else {
        // `cargo bench` and `cargo test --benches` run every bench binary; this one has nothing to say to them.
        return;
    };
    let Ok(times) = times.parse::<usize>() else {
        eprintln!("expected a number of runs, got {times:?}");
        std::process::exit(2);
    };
    match name.as_str() {
        "first_bare" => cases::Many::bare(10 << 10).visit(0..3 + times),
        "first_miss" => cases::Many::cached(10 << 10, 1 << 30).visit(0..3 + times),
        // As many as there are in the end, whatever is asked for: what wrote them is not counted.
        "first_found" => cases::Many::found(10 << 10, 3 + MOST_FOUND).visit(0..3 + times.min(MOST_FOUND)),
        _ => repeat(&name, times),
    }
}

/// The same request again and again.
fn repeat(name: &str, times: usize) {
    let Some(name) = cases::NAMES.iter().find(|known| **known == name) else {
        eprintln!("expected first_bare, first_miss, first_found or one of {:?}, got {name:?}", cases::NAMES);
        std::process::exit(2);
    };
    let case = cases::Case::new(name);
    // What happens once (promoted buffers, thread-locals) is not part of a request.
    for _ in 0..3 {
        assert_eq!(axum_isr::CacheStatus::of(case.run().headers()), case.state);
    }
    for _ in 0..times {
        std::hint::black_box(case.run());
    }
}
