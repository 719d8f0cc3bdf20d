//! Invalidation against a model: sources with versions, pages and values that show them, and whoever publishes a new
//! version invalidates what shows the old one.
//!
//! The model is the promise alone. After a verb has returned, who asks never gets an older version of an expired page,
//! and never as a HIT or a MISS an older version of a revalidated one. And the other way round: with nothing new, the
//! second request for a page is a HIT. Some pages were rendered before the start. Renders, computations, bodies and reads of
//! seeds stop wherever they read something, and go on in an order that proptest chooses; so do visitors, who come, wait,
//! leave, bring validators and ask for heads.
//!
//! `ISR_MODEL_CASES` sets the number of cases (10,000).
//!
//! - `world`: the sources, and the pages and values that show them.
//! - `export`: pages that were rendered before.
//! - `visitor`: whether visitors got what they may get.
//! - `play`: one order, played against the model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

pub(super) mod export;
mod play;
pub(super) mod visitor;
pub(super) mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::rules::{Rule, without};
use play::Play;
use world::{PAGES, SOURCES};

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Tag(usize),
    Path(usize),
    Prefix,
    Route,
    All,
    /// Of no page: so that pages have to be judged.
    Nothing,
}

#[derive(Clone, Debug)]
enum Op {
    Ask {
        page: usize,
        head: bool,
        validator: bool,
    },
    Leave(usize),
    AskData(usize),
    Publish {
        source: usize,
        target: Target,
        expires: bool,
    },
    Regenerate(usize),
    /// One of those that have stopped goes on.
    Resume(usize),
    /// All of them, until nothing moves any more.
    Rest,
    Advance(u64),
    /// The next render of the page fails.
    Fail(usize),
    /// The next seed of the page cannot be read.
    FailSeed(usize),
    /// Whether the page may be shared, from its next render on.
    Draft(usize, bool),
}

pub(super) fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        4 => (0..SOURCES).prop_map(Target::Tag),
        2 => (0..PAGES.len()).prop_map(Target::Path),
        1 => Just(Target::Prefix),
        1 => Just(Target::Route),
        1 => Just(Target::All),
        2 => Just(Target::Nothing),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let page = || 0..PAGES.len();
    let source = || 0..SOURCES;
    let target = targets();
    let op = prop_oneof![
        8 => (page(), prop::bool::weighted(0.15), prop::bool::weighted(0.2))
            .prop_map(|(page, head, validator)| Op::Ask { page, head, validator }),
        1 => (0..4_usize).prop_map(Op::Leave),
        1 => source().prop_map(Op::AskData),
        5 => (source(), target, any::<bool>())
            .prop_map(|(source, target, expires)| Op::Publish { source, target, expires }),
        1 => source().prop_map(Op::Regenerate),
        7 => (0..4_usize).prop_map(Op::Resume),
        4 => Just(Op::Rest),
        2 => (1..20_u64).prop_map(Op::Advance),
        1 => page().prop_map(Op::Fail),
        1 => page().prop_map(Op::FailSeed),
        1 => (page(), any::<bool>()).prop_map(|(page, draft)| Op::Draft(page, draft)),
    ];
    prop::collection::vec(op, 1..28)
}

fn play(ops: &[Op]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let played = runtime.block_on(async { Play::new().await.run(ops).await });
    played.map_err(TestCaseError::fail)
}

pub(super) fn cases() -> u32 {
    std::env::var("ISR_MODEL_CASES").ok().map_or(10_000, |cases| cases.parse().unwrap())
}

/// Plays that many orders; panics with the shortest that breaks the promise.
pub(super) fn holds<S: Strategy>(cases: u32, orders: &S, play: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(problem) = TestRunner::new(config).run(orders, play) {
        panic!("{problem}");
    }
}

/// Without some rules some order breaks the promise.
pub(super) fn needs<S: Strategy>(
    rules: &'static [Rule],
    orders: &S,
    play: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let config = Config { cases: 20_000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let broken = without(rules, || runner.run(orders, play));
    assert!(broken.is_err(), "{rules:?}: no order in which it is needed");
}

/// I5, R27, CASES 108, 109, 146: no order of renders, computations, marks, failures, visitors and time breaks the promise.
#[test]
fn no_order_breaks_the_promise() {
    holds(cases(), &ops(), |ops| play(&ops));
}

/// Each rule is needed: without it, the model finds an order that breaks the promise. Those about the order of two steps
/// of one thread and another are shuttle's (`ledger::view::shuttle_tests`). `SinceData` is the second line behind
/// `FreshData` and `JudgeJoined`, without which pages would be HITs of what they should not have used.
#[test]
fn without_a_rule_some_order_does() {
    for rules in [
        &[Rule::SinceBegin][..],
        &[Rule::LateWaits],
        &[Rule::JudgeAtEnd],
        &[Rule::Fold],
        &[Rule::ClearPass],
        &[Rule::ClearBackOff],
        &[Rule::DataTags],
        &[Rule::FreshData],
        &[Rule::JudgeJoined],
        &[Rule::FreshData, Rule::SinceData],
        &[Rule::JudgeJoined, Rule::SinceData],
        &[Rule::SeedBeforeAll],
        &[Rule::SeedTags],
    ] {
        needs(rules, &ops(), |ops| play(&ops));
    }
}
