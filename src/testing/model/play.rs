//! One order, played against the model.

use std::task::Poll;
use std::time::Duration;

use axum::Router;
use futures_util::poll;

use super::export::{Export, read_manifest};
use super::visitor::{Floors, Visitor, Visitors, visit};
use super::world::{PAGES, SOURCES, World, app, data, invalidate};
use super::{Op, Target};
use crate::clock::Clock as _;
use crate::testing::ManualClock;
use crate::{Isr, Regeneration};

/// The seeds are so old at the start.
const BUILT_AGO: Duration = Duration::from_secs(5);

pub(super) struct Play {
    world: World,
    isr: Isr,
    clock: ManualClock,
    app: Router,
    visitors: Visitors,
    regenerations: Vec<Regeneration>,
    problem: Option<String>,
}

impl Play {
    pub(super) async fn new() -> Self {
        let (world, clock) = (World::default(), ManualClock::new());
        // So few marks that they are folded.
        let builder = Isr::builder().memory_bytes(16 << 20).clock(clock.clone()).max_marks(2);
        let seeds = Export::build(&world, clock.wall() - BUILT_AGO).seeds(Duration::from_secs(100_000));
        let isr = builder.seeds(seeds).build().unwrap();
        read_manifest(&isr).await;
        let app = app(&world, &isr);
        Self { world, isr, clock, app, visitors: Visitors::default(), regenerations: Vec::new(), problem: None }
    }

    pub(super) async fn run(mut self, ops: &[Op]) -> Result<(), String> {
        for op in ops {
            self.step(op).await;
            self.look().await;
        }
        self.end().await;
        self.problem.map_or(Ok(()), Err)
    }

    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Ask { page, head, validator } => self.ask(page, head, validator).await,
            Op::Leave(n) => self.visitors.leave(n),
            Op::AskData(source) => {
                let least = self.world.lock().expired_data[source];
                let mut ask = Box::pin(data(self.world.clone(), self.isr.clone(), source));
                if let Poll::Ready(version) = poll!(ask.as_mut())
                    && version < least
                {
                    self.problem = Some(format!("data of source {source} is {version} after {least} was published"));
                }
            }
            Op::Publish { source, target, expires } => self.publish(source, target, expires).await,
            Op::Regenerate(source) => {
                self.regenerations.push(self.isr.regenerate_tag(format!("s{source}")).await.unwrap());
                self.world.raise(Target::Tag(source), false);
            }
            Op::Resume(n) => {
                self.world.resume(n);
            }
            Op::Rest => self.rest().await,
            Op::Advance(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Op::Fail(page) => self.world.lock().fails[page] = true,
            Op::FailSeed(page) => self.world.lock().seed_fails[page] = true,
            Op::Draft(page, draft) => self.world.lock().draft[page] = draft,
        }
    }

    async fn ask(&mut self, page: usize, head: bool, validator: bool) {
        let floors = {
            let state = self.world.lock();
            Floors { expired: state.expired[page], revalidated: state.revalidated[page] }
        };
        // Polled at once: this is when he comes.
        let answer = visit(&self.app, &self.world, page, head, validator);
        self.visitors.come(Visitor { page, rendered: floors, seeded: floors, answer });
        self.hear().await;
    }

    async fn publish(&mut self, source: usize, target: Target, expires: bool) {
        self.world.lock().version[source] += 1;
        invalidate(&self.isr, source, target, expires).await.unwrap();
        self.world.raise(target, expires);
    }

    /// Lets everything run that can.
    async fn look(&mut self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
            self.hear().await;
        }
    }

    /// Until nothing moves any more.
    async fn rest(&mut self) {
        loop {
            self.look().await;
            if !self.world.resume(0) {
                break;
            }
        }
    }

    /// What visitors have got.
    async fn hear(&mut self) {
        let problem = self.visitors.hear(&self.world).await;
        self.problem = self.problem.take().or(problem);
    }

    /// With something new in every source, and nothing in the way: the first request may be answered with what there is,
    /// the second is a HIT of what is new.
    async fn end(&mut self) {
        self.rest().await;
        self.visitors.leave_all();
        self.rest().await;
        {
            let mut state = self.world.lock();
            state.free = true;
            (state.fails, state.seed_fails) = Default::default();
            state.draft = Default::default();
        }
        let rendered = self.world.lock().renders;
        for source in 0..SOURCES {
            self.publish(source, Target::Tag(source), false).await;
        }
        for round in ["first", "second"] {
            for page in 0..PAGES.len() {
                self.ask(page, false, false).await;
                for _ in 0..100_000 {
                    tokio::task::yield_now().await;
                    self.hear().await;
                    let stats = self.isr.stats();
                    if self.visitors.len() == 0 && stats.flights == 0 && stats.computations == 0 {
                        break;
                    }
                }
                if self.visitors.len() > 0 {
                    self.problem = Some(format!("page {page} is not answered"));
                    return;
                }
            }
            let before = self.isr.stats();
            if round == "first" {
                continue;
            }
            for page in 0..PAGES.len() {
                self.ask(page, false, false).await;
            }
            let hits = self.isr.stats().hits - before.hits;
            if hits != PAGES.len() as u64 {
                self.problem.get_or_insert(format!("only {hits} of {} pages are HITs in the end", PAGES.len()));
            }
            // A mark costs a page at most two renders.
            for (page, renders) in self.world.lock().renders.iter().enumerate() {
                if renders - rendered[page] > 2 * SOURCES {
                    let renders = renders - rendered[page];
                    self.problem = Some(format!("page {page} was rendered {renders} times for {SOURCES} marks"));
                }
            }
            for regeneration in &self.regenerations {
                let progress = regeneration.progress();
                if progress.done + progress.failed != progress.total {
                    self.problem = Some(format!("a regeneration has not ended: {progress:?}"));
                }
            }
        }
    }
}
