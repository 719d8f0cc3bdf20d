//! Interleavings of marks, renders and look-ups, tried out by shuttle.
//!
//! A source has a version. Whoever changes it invalidates, and from then on nobody may be given an older one. Each rule
//! about the order of two steps is switched off as well: then some interleaving must give one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::sync::Mutex;
use shuttle::thread;

use super::super::{Covered, Ledger, Mark, Target, Verb};
use super::Verdict;
use crate::clock::WallTime;
use crate::policy::tag::Tag;
use crate::testing::rules::{Rule, holds, without};

const RANDOM: usize = 5_000;

/// Versions of a source, and pages of it.
struct World {
    ledger: Ledger,
    source: AtomicU64,
    page: Mutex<Option<Arc<(u64, Covered)>>>,
}

fn mark(verb: Verb, tag: &str) -> [Mark; 1] {
    [Mark { verb, target: Target::Tag(Tag::new(tag).unwrap()) }]
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { ledger: Ledger::new(100), source: AtomicU64::new(0), page: Mutex::new(None) })
    }

    fn render(&self) -> Arc<(u64, Covered)> {
        let begin = self.ledger.view.since();
        let version = self.source.load(Ordering::SeqCst);
        thread::yield_now();
        let names = self.ledger.view.names("/", "/", ["source"].into_iter());
        let since = if holds(Rule::SinceBegin) { begin } else { self.ledger.view.since() };
        Arc::new((version, Covered::new(names, since)))
    }

    /// As a request does it: what is there and good, or a render.
    fn request(&self) -> u64 {
        let found = self.page.lock().unwrap().clone();
        if let Some(page) = found
            && page.1.verdict(&self.ledger.view) == Verdict::Good
        {
            return page.0;
        }
        let page = self.render();
        *self.page.lock().unwrap() = Some(Arc::clone(&page));
        page.0
    }

    fn publish(&self, verb: Verb) -> u64 {
        let version = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        self.ledger.invalidate(&mark(verb, "source"), WallTime(1));
        version
    }
}

fn one_publishes_while_others_look() {
    let world = World::new();
    world.request();
    // So that the page has to be judged.
    world.ledger.invalidate(&mark(Verb::Expire, "other"), WallTime(1));
    publish_among_readers(&world);
}

fn one_publishes_while_the_first_render() {
    publish_among_readers(&World::new());
}

fn publish_among_readers(world: &Arc<World>) {
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let world = Arc::clone(world);
            thread::spawn(move || {
                world.request();
                world.request();
            })
        })
        .collect();
    let least = world.publish(Verb::Expire);
    let got = world.request();
    assert!(got >= least, "version {got} after {least} was published");
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let got = world.request();
    assert!(got >= least, "version {got} after {least} was published, in the end");
}

/// Several who publish: none of their marks is lost, and none that comes later.
fn several_publish() {
    let world = World::new();
    let slow = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.publish(Verb::Revalidate))
    };
    for _ in 0..2 {
        let least = world.publish(Verb::Expire);
        let got = world.request();
        assert!(got >= least, "version {got} after {least} was published");
    }
    slow.join().unwrap();
    for _ in 0..2 {
        assert_eq!(world.request(), world.source.load(Ordering::SeqCst));
        world.publish(Verb::Expire);
    }
}

/// I5, R27, CASES 108: in no interleaving is anybody given what was marked before he came.
#[test]
fn no_mark_is_lost() {
    shuttle::check_random(one_publishes_while_others_look, RANDOM);
    shuttle::check_pct(one_publishes_while_others_look, RANDOM, 3);
    shuttle::check_random(one_publishes_while_the_first_render, RANDOM);
    shuttle::check_random(several_publish, RANDOM);
    shuttle::check_pct(several_publish, RANDOM, 3);
}

/// And each of the orders is needed: the other way round, some interleaving loses a mark.
#[test]
fn each_wrong_order_loses_marks() {
    type Check = fn();
    let needed: [(&[Rule], Check); 2] = [
        (&[Rule::GenerationFirst], one_publishes_while_others_look),
        (&[Rule::SinceBegin], one_publishes_while_the_first_render),
    ];
    for (rules, check) in needed {
        let run = || without(rules, || shuttle::check_random(check, 20_000));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{rules:?} is not needed");
    }
}
