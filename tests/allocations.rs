//! How often a request allocates, per case of `benches/cases`. Exact, so asserted here and not in a bench.

#[path = "../benches/cases/mod.rs"]
mod cases;

use cases::Case;

/// Allocations of one request, with its construction and the reading of its response.
fn allocations(name: &'static str) -> u64 {
    let case = Case::new(name);
    for _ in 0..3 {
        case.run();
    }
    let request = case.request();
    let counted = allocation_counter::measure(|| drop(case.answer(request)));
    counted.count_total
}

/// A HIT costs at most 15 allocations all in: 10 are axum's routing, 2 the header map, 1 the body's box.
#[test]
fn a_hit_through_a_router_allocates_as_little_as_it_can() {
    for name in ["hit_1k", "hit_10k", "hit_100k", "hit_304", "hit_head"] {
        let count = allocations(name);
        assert!(count <= 15, "{name}: {count}");
    }
}

/// Around the whole router, a HIT is not routed: the header map and the body's box.
#[test]
fn a_hit_around_a_router_allocates_the_answer_only() {
    for name in ["whole_hit", "whole_hit_304"] {
        let count = allocations(name);
        assert!(count <= 5, "{name}: {count}");
    }
}

/// The size of a page is not copied.
#[test]
fn a_hit_allocates_the_same_for_every_size() {
    let case = |name| {
        let case = Case::new(name);
        (0..3).for_each(|_| drop(case.run()));
        let request = case.request();
        allocation_counter::measure(|| drop(case.answer(request))).bytes_total
    };
    assert_eq!(case("hit_1k"), case("hit_100k"));
}

/// A store behind the memory tier is not asked.
#[test]
fn a_hit_allocates_the_same_with_a_store_behind_it() {
    assert_eq!(allocations("hit_backed"), allocations("hit_10k"));
}

/// A route without configuration pays no allocation more than for a layer that only forwards.
#[test]
fn a_bypass_allocates_as_a_layer_that_forwards() {
    assert_eq!(allocations("bypass"), allocations("forward"));
}
