//! Interleavings of the table and of a flight, tried out by shuttle: `RUSTFLAGS="--cfg isr_shuttle" cargo test --lib
//! shuttle`.
//!
//! The leader's task needs a runtime and is modelled here by what it does to the table and the flight, in its order; the
//! memory tier is a lock around one page. A wake-up that is lost shows as a deadlock, which shuttle reports.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderMap, StatusCode};
use http_body_util::BodyExt;
use shuttle::future::block_on;
use shuttle::sync::Mutex;
use shuttle::thread;

use super::super::body::End;
use super::super::lead::{Lead, Purpose};
use super::super::outcome::{Head, Outcome};
use super::super::running::{Flight, Verdict};
use super::super::waiter::{Step, Waiter};
use super::{Entered, Table};
use crate::isr::Isr;
use crate::key::CacheKey;
use crate::ledger::{Generation, Since};
use crate::policy::response::Pass;
use crate::policy::route::RouteConfig;
use crate::render::{LayerId, Recipe, RenderContext, Rendered, Renderer};

const KEY: &[u8] = b"key";
/// Nothing is marked here.
const BEGIN: Since = Since { generation: Generation(1), place: None };
const RANDOM: usize = 5_000;
const ALL: Option<usize> = Some(20_000);

/// What stands for a page where a flight has to end with an outcome.
const LANDED: Outcome = Outcome::TimedOut;

struct World {
    table: Table,
    memory: Mutex<Option<usize>>,
    /// Not shuttle's: counting is not what is tested.
    renders: AtomicUsize,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { table: Table::new(100), memory: Mutex::new(None), renders: AtomicUsize::new(0) })
    }

    fn enter(&self) -> Entered<usize> {
        self.table.enter(KEY, BEGIN, || *self.memory.lock().unwrap())
    }

    fn renders(&self) -> usize {
        self.renders.load(Ordering::SeqCst)
    }

    /// Memory tier first, then the table, then the waiters.
    fn land(&self, flight: &Arc<Flight>) {
        let n = self.renders.fetch_add(1, Ordering::SeqCst) + 1;
        *self.memory.lock().unwrap() = Some(n);
        self.table.leave(flight);
        flight.end(LANDED);
    }
}

/// One visitor; a lead is led in a thread of its own.
fn visit(world: &Arc<World>, lead: fn(&World, &Arc<Flight>)) -> &'static str {
    let waiter = match world.enter() {
        Entered::Found(_) => return "found",
        Entered::Follow(waiter) => waiter,
        Entered::Lead(waiter, flight) => {
            let world = Arc::clone(world);
            thread::spawn(move || lead(&world, &flight));
            waiter
        }
        Entered::Full => return "full",
    };
    ended(&waiter)
}

fn ended(waiter: &Waiter) -> &'static str {
    match block_on(waiter.step(false)) {
        Step::Ended(outcome) => outcome.as_str(),
        _ => "not ended",
    }
}

fn all<T: 'static>(threads: Vec<thread::JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn head() -> Arc<Head> {
    let (headers, extensions) = (HeaderMap::new(), Extensions::new());
    Arc::new(Head { status: StatusCode::OK, headers, extensions, length: None })
}

/// Opens once, for one who waits.
struct Gate(Mutex<(bool, Option<Waker>)>);

impl Gate {
    fn new() -> Self {
        Self(Mutex::new((false, None)))
    }

    fn open(&self) {
        let waker = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            gate.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock().unwrap();
        if gate.0 {
            return Poll::Ready(());
        }
        gate.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn visitors_of_one_key(visitors: usize) {
    let world = World::new();
    let threads = (0..visitors).map(|_| {
        let world = Arc::clone(&world);
        thread::spawn(move || visit(&world, World::land))
    });
    for got in all(threads.collect()) {
        assert!(matches!(got, "found" | "timed-out"), "{got}");
    }
    assert_eq!(world.renders(), 1, "whoever finds no flight finds the page");
    assert_eq!(world.table.len(), 0);
}

/// R12, CASES 101: of visitors who come at once, one leads; who finds no flight finds its page.
#[test]
fn of_those_who_enter_at_once_one_leads() {
    shuttle::check_dfs(|| visitors_of_one_key(2), ALL);
    shuttle::check_random(|| visitors_of_one_key(4), RANDOM);
    shuttle::check_pct(|| visitors_of_one_key(3), RANDOM, 3);
}

/// The model can tell: a flight that leaves the table before its page is in the memory tier is rendered twice.
#[test]
#[should_panic(expected = "whoever finds no flight finds the page")]
fn leaving_before_putting_would_render_twice() {
    shuttle::check_random(
        || {
            let world = World::new();
            let leave_first = |world: &World, flight: &Arc<Flight>| {
                world.table.leave(flight);
                world.land(flight);
            };
            let other = Arc::clone(&world);
            let other = thread::spawn(move || visit(&other, leave_first));
            visit(&world, leave_first);
            other.join().unwrap();
            assert_eq!(world.renders(), 1, "whoever finds no flight finds the page");
        },
        RANDOM,
    );
}

/// R12: background work and a visitor do not render twice, and the visitor joins.
#[test]
fn a_background_start_and_a_visitor_share_a_flight() {
    let check = || {
        let world = World::new();
        let background = Arc::clone(&world);
        let background = thread::spawn(move || {
            let due = || background.memory.lock().unwrap().is_none();
            if let Some(flight) = background.table.start(&CacheKey::new(KEY), BEGIN, due) {
                background.land(&flight);
            }
        });
        visit(&world, World::land);
        background.join().unwrap();
        assert_eq!((world.renders(), world.table.len()), (1, 0));
    };
    shuttle::check_dfs(check, ALL);
    shuttle::check_random(check, RANDOM);
}

struct Nobody;

impl Renderer for Nobody {
    fn render(
        self: Arc<Self>,
        _: axum::extract::Request,
        _: &str,
        _: &Arc<Recipe>,
        _: &Arc<RenderContext>,
    ) -> Pin<Box<dyn Future<Output = Rendered> + Send>> {
        Box::pin(async { Rendered::Rewritten })
    }

    fn shared(&self, _: &[u8]) -> Option<Arc<Extensions>> {
        None
    }
}

/// CASES 88: the leader is dropped (its runtime is gone, a panic of ours): everybody who waits is told, whenever he
/// came, and so is who reads along.
#[test]
fn a_dropped_leader_tells_everybody() {
    let check = || {
        let isr = Isr::builder().memory_bytes(16 << 20).build().unwrap();
        let threads = (0..3).map(|_| {
            let shared = Arc::clone(&isr.shared);
            thread::spawn(move || {
                let waiter = match shared.flights.enter(KEY, BEGIN, || None::<()>) {
                    Entered::Follow(waiter) => waiter,
                    Entered::Lead(waiter, flight) => {
                        let recipe = Arc::new(Recipe {
                            numbers: shared.routes.of("/"),
                            renderer: Arc::new(Nobody),
                            layer: LayerId::new(0),
                            route: RouteConfig::revalidate(Duration::from_secs(1)),
                            given: false,
                            matched: None,
                            nested: None,
                            shared: Arc::default(),
                        });
                        let purpose = Purpose::First { head: false };
                        let lead = Lead::new(Arc::clone(&shared), flight, CacheKey::new(KEY), recipe, purpose);
                        thread::spawn(move || drop(lead));
                        waiter
                    }
                    Entered::Found(()) | Entered::Full => unreachable!("nothing is kept, and few wait"),
                };
                assert_eq!(ended(&waiter), "abandoned");
                let body = block_on(waiter.read_along(None).collect());
                assert!(body.is_err(), "what there is must not pass for the whole");
            })
        });
        all(threads.collect());
        assert_eq!(isr.shared.flights.len(), 0);
    };
    shuttle::check_random(check, RANDOM);
}

/// As the leader supervises its work where no slot for orphans is free: `true` if it landed.
async fn supervise(world: &World, flight: &Arc<Flight>, work: &Gate) -> bool {
    poll_fn(|cx| {
        if work.poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        while flight.poll_unwatched(cx).is_ready() {
            if world.table.leave_unwatched(flight) {
                return Poll::Ready(false);
            }
        }
        Poll::Pending
    })
    .await
}

/// I3: the last waiter leaves while another comes: who has joined a flight gets its page, whatever its leader was about
/// to do; and a leader whose last waiter has left hears of it.
#[test]
fn a_flight_is_not_given_up_under_somebody_who_joined() {
    fn lead(world: Arc<World>, flight: Arc<Flight>, work: Arc<Gate>) {
        thread::spawn(move || {
            if block_on(supervise(&world, &flight, &work)) {
                world.land(&flight);
            } else {
                flight.end(Outcome::Abandoned);
            }
        });
    }
    let check = || {
        let (world, work) = (World::new(), Arc::new(Gate::new()));
        let Entered::Lead(first, flight) = world.enter() else { unreachable!("the first leads") };
        let abandoned = Arc::clone(&flight);
        lead(Arc::clone(&world), flight, Arc::clone(&work));
        let second = {
            let (world, work) = (Arc::clone(&world), Arc::clone(&work));
            thread::spawn(move || {
                let waiter = match world.enter() {
                    Entered::Follow(waiter) => waiter,
                    Entered::Lead(waiter, flight) => {
                        lead(Arc::clone(&world), flight, Arc::clone(&work));
                        waiter
                    }
                    Entered::Found(_) | Entered::Full => unreachable!("nothing has landed"),
                };
                // Only now is there anything to land: nobody but this visitor keeps the flight up.
                work.open();
                ended(&waiter)
            })
        };
        drop(first);
        assert_eq!(second.join().unwrap(), "timed-out", "the token of a page");
        // The first flight has an end in any case: who hears of nothing would be here for ever.
        let late = Waiter::join(&abandoned, 10, false, BEGIN).unwrap();
        assert!(matches!(ended(&late), "timed-out" | "abandoned"));
        assert_eq!((world.renders(), world.table.len()), (1, 0));
    };
    shuttle::check_random(check, RANDOM);
    shuttle::check_pct(check, RANDOM, 3);
}

/// I3: a leader, at work or in doubt, hears that the last waiter has left.
#[test]
fn the_last_to_leave_wakes_the_leader() {
    fn check(doubt: bool) {
        let world = World::new();
        let Entered::Lead(first, flight) = world.enter() else { unreachable!("the first leads") };
        let Some(Ok(second)) = world.table.follow(KEY, BEGIN) else { unreachable!("there is room") };
        if doubt {
            flight.doubt();
        }
        let leaving = [first, second].map(|waiter| thread::spawn(move || drop(waiter)));
        if doubt {
            assert_eq!(block_on(poll_fn(|cx| flight.poll_verdict(cx))), None);
        } else {
            assert!(!block_on(supervise(&world, &flight, &Gate::new())));
            assert_eq!(world.table.len(), 0);
        }
        all(leaving.into());
    }
    for doubt in [false, true] {
        shuttle::check_dfs(move || check(doubt), ALL);
        shuttle::check_random(move || check(doubt), RANDOM);
    }
}

/// R15: readers see all of a body that grows while they come and go.
#[test]
fn no_reader_misses_a_chunk_or_the_end() {
    let check = || {
        let flight = Flight::new(CacheKey::new(KEY), BEGIN);
        let waiters: Vec<_> = (0..3).map(|n| Waiter::join(&flight, 10, n == 0, BEGIN).unwrap()).collect();
        let mut threads = Vec::new();
        for (n, waiter) in waiters.into_iter().enumerate() {
            threads.push(thread::spawn(move || {
                let step = block_on(waiter.step(false));
                assert!(matches!(step, Step::Stream(_) | Step::Ended(_)));
                let mut body = waiter.read_along(None);
                if n == 2 {
                    // Reads once and goes.
                    let _ = block_on(body.frame());
                    return;
                }
                assert_eq!(block_on(body.collect()).unwrap().to_bytes(), "abc");
            }));
        }
        flight.push(Bytes::from_static(b"a"));
        flight.publish(&head(), false);
        flight.push(Bytes::from_static(b"b"));
        flight.push(Bytes::from_static(b"c"));
        flight.end_body(End::Clean);
        flight.end(LANDED);
        all(threads);
    };
    shuttle::check_random(check, RANDOM);
    shuttle::check_pct(check, RANDOM, 3);
}

/// Beyond its limit a body runs ahead of its slowest reader by so much only; room is made by reading and by leaving, and
/// the leader hears of both.
#[test]
fn a_leader_that_waits_for_room_is_woken_by_readers_who_read_or_leave() {
    static MUCH: [u8; 256 << 10] = [0; 256 << 10];
    fn check(stay: bool) {
        let flight = Flight::new(CacheKey::new(KEY), BEGIN);
        let mut threads = Vec::new();
        for stays in [stay, false] {
            let waiter = Waiter::join(&flight, 10, stays, BEGIN).unwrap();
            threads.push(thread::spawn(move || {
                block_on(waiter.step(false));
                let mut body = waiter.read_along(None);
                if stays {
                    assert_eq!(block_on(body.collect()).unwrap().to_bytes().len(), 3 * MUCH.len());
                } else {
                    let _ = block_on(body.frame());
                }
            }));
        }
        flight.publish(&head(), false);
        flight.overflow();
        for _ in 0..3 {
            flight.push(Bytes::from_static(&MUCH));
            if !block_on(poll_fn(|cx| flight.poll_room(cx))) {
                break;
            }
        }
        flight.end_body(End::Clean);
        flight.end(LANDED);
        all(threads);
    }
    shuttle::check_random(|| check(true), 1_000);
    shuttle::check_random(|| check(false), RANDOM);
}

/// The doubt protocol: a volunteer that goes without an answer hands over to another, and the one answer reaches all;
/// without anybody left the leader is not kept.
#[test]
fn a_doubt_is_handed_over_until_somebody_answers() {
    fn check(quitters: usize, waiters: usize) {
        let flight = Flight::new(CacheKey::new(KEY), BEGIN);
        let asked = Arc::new(AtomicUsize::new(0));
        let all_waiters: Vec<_> = (0..waiters).map(|n| Waiter::join(&flight, 10, n == 0, BEGIN).unwrap()).collect();
        let mut threads = Vec::new();
        for waiter in all_waiters {
            let asked = Arc::clone(&asked);
            threads.push(thread::spawn(move || match block_on(waiter.step(false)) {
                Step::Ask => {
                    let volunteer = waiter.volunteer();
                    if asked.fetch_add(1, Ordering::SeqCst) < quitters {
                        // As a visitor's future is dropped: its place first.
                        drop(waiter);
                        drop(volunteer);
                        return "quit";
                    }
                    volunteer.answer(Verdict::Works(StatusCode::OK));
                    "answered"
                }
                Step::Ended(outcome) => outcome.as_str(),
                _ => "streamed",
            }));
        }
        flight.doubt();
        let verdict = block_on(poll_fn(|cx| flight.poll_verdict(cx)));
        let outcome = if verdict.is_some() { Outcome::Pass(Pass::NeedsVisitor) } else { Outcome::Abandoned };
        flight.end(outcome);
        let got = all(threads);
        let count = |what| got.iter().filter(|got| **got == what).count();
        assert_eq!(count("quit"), quitters.min(waiters), "{got:?}");
        if quitters < waiters {
            assert_eq!(verdict, Some(Verdict::Works(StatusCode::OK)));
            assert_eq!((count("answered"), count("needs-visitor")), (1, waiters - quitters - 1), "{got:?}");
        } else {
            assert_eq!(verdict, None, "nobody is left to ask");
        }
    }
    shuttle::check_random(|| check(0, 3), RANDOM);
    shuttle::check_random(|| check(1, 3), RANDOM);
    shuttle::check_random(|| check(2, 2), RANDOM);
    shuttle::check_dfs(|| check(1, 2), ALL);
}
