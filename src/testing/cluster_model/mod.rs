//! Invalidation among nodes that share a store, against the same model as that of one process.
//!
//! The promise is that of one process for the node that invalidates; for the others it holds for requests that come more
//! than `coherence` after the verb has returned, and for those that are cut off from the store, what is older than
//! `max_unverified` is not served as new. Nodes have clocks that are half a minute apart, are restarted and lose their
//! memory, are cut off, get no hints, no answers, late answers or wrong entries; the store loses its ledger, or gets an old
//! one back. Pages fail, and may be shared or not. Some nodes have some pages from an export, of before the start or of
//! some time in between; to a ledger that has lost a mark, it is as if that had never been.
//!
//! - `nodes`: the nodes, and what was said to them.
//! - `play`: one order, played against the model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod nodes;
mod play;

use proptest::prelude::*;

use crate::config::OnUnknown;

use super::model::world::{PAGES, SOURCES};
use super::model::{Target, cases, holds, needs, targets};
use super::rules::Rule;
use play::Play;

const NODES: usize = 3;

/// The first of them have seeds.
const SEEDED_NODES: usize = 2;

/// What a node has to bear.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// No call comes back well.
    Errors,
    /// No call comes back.
    Hangs,
    /// Calls are heard too late.
    Late,
    /// They are heard, and their answers come too late.
    LateAnswers,
    /// It is not told what is new.
    NoChanges,
    /// Answers take a while, as of a store far away: that alone breaks nothing, nor does what follows.
    Slow,
    /// What it says is not heard.
    NoMarks,
    /// It is heard, but it does not learn of that.
    NoAnswers,
    /// It is not told that there is something new.
    NoHints,
    /// Entries are damaged.
    Corrupt,
    /// Entries are those of other keys.
    Swap,
    /// What it writes is lost.
    Forget,
}

#[derive(Clone, Debug)]
enum Op {
    Ask {
        node: usize,
        page: usize,
        head: bool,
        validator: bool,
    },
    Leave(usize),
    Publish {
        node: usize,
        source: usize,
        target: Target,
        expires: bool,
    },
    /// One render or computation that has stopped goes on.
    Resume(usize),
    Rest,
    /// Milliseconds.
    Advance(u64),
    /// The same for clocks alone: nothing that waits for time goes on, as on a machine that is busy.
    Jump(u64),
    /// The clock of the store goes back: seconds.
    Rewind(u64),
    Trouble(usize, Trouble),
    Heal(usize),
    /// A new process in its place.
    Restart(usize),
    /// The same after a new export was built, by a clock that is so many seconds ahead of the store's.
    Build {
        node: usize,
        ahead: u64,
    },
    /// The next render of the page fails.
    Fail(usize),
    /// The next seed of the page cannot be read.
    FailSeed(usize),
    /// Whether the page may be shared, from its next render on.
    Draft(usize, bool),
    LoseLedger,
    /// What `Restore` brings back.
    Dump,
    Restore,
}

/// What all nodes are told about unknown entries, and what happens.
type Case = (OnUnknown, Vec<Op>);

fn plays() -> impl Strategy<Value = Case> {
    let node = || 0..NODES;
    let trouble = prop_oneof![
        1 => Just(Trouble::Errors),
        1 => Just(Trouble::Hangs),
        1 => Just(Trouble::Late),
        1 => Just(Trouble::LateAnswers),
        1 => Just(Trouble::NoChanges),
        1 => Just(Trouble::Slow),
        4 => Just(Trouble::NoMarks),
        1 => Just(Trouble::NoAnswers),
        1 => Just(Trouble::NoHints),
        1 => Just(Trouble::Corrupt),
        1 => Just(Trouble::Swap),
        1 => Just(Trouble::Forget),
    ];
    let op = prop_oneof![
        16 => (node(), 0..PAGES.len(), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(node, page, head, validator)| Op::Ask { node, page, head, validator }),
        1 => (0..4_usize).prop_map(Op::Leave),
        8 => (node(), 0..SOURCES, targets(), any::<bool>())
            .prop_map(|(node, source, target, expires)| Op::Publish { node, source, target, expires }),
        8 => (0..4_usize).prop_map(Op::Resume),
        6 => Just(Op::Rest),
        8 => prop_oneof![Just(100), Just(400), Just(1_100), Just(1_100), Just(2_500), Just(7_000), Just(11_000)]
            .prop_map(Op::Advance),
        2 => prop_oneof![Just(400), Just(1_100), Just(2_500)].prop_map(Op::Jump),
        1 => Just(Op::Rewind(20)),
        2 => (node(), trouble).prop_map(|(node, trouble)| Op::Trouble(node, trouble)),
        2 => node().prop_map(Op::Heal),
        2 => node().prop_map(Op::Restart),
        1 => (0..SEEDED_NODES, prop_oneof![Just(0), Just(30), Just(200)])
            .prop_map(|(node, ahead)| Op::Build { node, ahead }),
        1 => (0..PAGES.len()).prop_map(Op::Fail),
        1 => (0..PAGES.len()).prop_map(Op::FailSeed),
        1 => (0..PAGES.len(), any::<bool>()).prop_map(|(page, draft)| Op::Draft(page, draft)),
        1 => Just(Op::LoseLedger),
        1 => Just(Op::Dump),
        1 => Just(Op::Restore),
    ];
    let on_unknown = prop_oneof![2 => Just(OnUnknown::Render), 1 => Just(OnUnknown::ServeStale)];
    (on_unknown, prop::collection::vec(op, 1..36))
}

fn play((on_unknown, ops): &Case) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let played = runtime.block_on(async { Play::new(*on_unknown).await.run(ops).await });
    played.map_err(TestCaseError::fail)
}

/// I5, R27, CASES 109, 131: no order breaks the promise.
#[test]
fn no_order_among_nodes_breaks_the_promise() {
    holds(cases().div_ceil(4), &plays(), |case| play(&case));
}

/// Each rule is needed. `AheadIsUnknown` and `ElsewhereIsUnknown` take too rare an order: `tests/store_restored.rs`.
#[test]
fn without_a_rule_some_order_among_nodes_does() {
    for rules in [
        &[Rule::SinceBegin][..],
        &[Rule::JudgeAtEnd],
        &[Rule::UnknownIsMissing],
        &[Rule::UnsentHits],
        &[Rule::LostHits],
        &[Rule::DataTags],
        &[Rule::SeedPlace],
        &[Rule::SeedClocks],
        &[Rule::SeedTags],
    ] {
        needs(rules, &plays(), |case| play(&case));
    }
}
