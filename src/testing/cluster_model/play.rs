//! One order, played against the model.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;

use super::nodes::{Known, Node, Said, floors};
use super::{NODES, Op, SEEDED_NODES};
use crate::clock::Clock as _;
use crate::config::OnUnknown;
use crate::store::Store as _;
use crate::testing::model::Target;
use crate::testing::model::export::Export;
use crate::testing::model::visitor::{Visitor, Visitors, visit};
use crate::testing::model::world::{Floor, PAGES, SOURCES, World, invalidate};
use crate::testing::{LedgerSnapshot, ManualClock, MemoryStore};
use crate::{InvalidateError, Invalidated};

/// Time passes in steps, so that what runs every half second does.
const STEP: Duration = Duration::from_millis(250);

/// So long before the start was the first export built, as the store counts.
const BUILT_AGO: Duration = Duration::from_secs(10);

/// A verb that has not returned.
struct Saying {
    said: Said,
    answer: Pin<Box<dyn Future<Output = Result<Invalidated, InvalidateError>> + Send>>,
}

pub(super) struct Play {
    world: World,
    /// What processes get that are started.
    export: Export,
    on_unknown: OnUnknown,
    store: MemoryStore,
    /// Of the store.
    clock: ManualClock,
    now: Duration,
    nodes: Vec<Node>,
    processes: usize,
    visitors: Visitors,
    saying: Vec<Saying>,
    said: Vec<Said>,
    dump: Option<(LedgerSnapshot, Duration)>,
    problem: Option<String>,
}

impl Play {
    pub(super) async fn new(on_unknown: OnUnknown) -> Self {
        let (world, clock) = (World::default(), ManualClock::new());
        // So few marks that they are folded.
        let store = MemoryStore::new().clock(clock.clone()).max_marks(4);
        let export = Export::build(&world, clock.wall() - BUILT_AGO);
        let mut play = Self {
            world,
            export,
            on_unknown,
            store,
            clock,
            now: Duration::ZERO,
            nodes: Vec::new(),
            processes: 0,
            visitors: Visitors::default(),
            saying: Vec::new(),
            said: Vec::new(),
            dump: None,
            problem: None,
        };
        for n in 0..NODES {
            let clock = ManualClock::new();
            clock.advance(Duration::from_secs(60));
            clock.rewind(Duration::from_secs(30 * n as u64));
            let node = play.start(n, clock).await;
            play.nodes.push(node);
        }
        play
    }

    async fn start(&mut self, n: usize, clock: ManualClock) -> Node {
        self.processes += 1;
        let export = Some(&self.export).filter(|_| n < SEEDED_NODES);
        Node::start(self.processes, clock, &self.store, &self.world, export, self.on_unknown).await
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
            Op::Ask { node, page, head, validator } => self.ask(node, page, head, validator).await,
            Op::Leave(n) => self.visitors.leave(n),
            Op::Publish { node, source, target, expires } => self.publish(node, source, target, expires).await,
            Op::Resume(n) => {
                self.world.resume(n);
            }
            Op::Rest => self.rest().await,
            Op::Advance(millis) => self.advance(Duration::from_millis(millis)).await,
            Op::Jump(millis) => self.clocks(Duration::from_millis(millis)),
            Op::Rewind(seconds) => self.clock.rewind(Duration::from_secs(seconds)),
            Op::Trouble(node, trouble) => self.nodes[node].trouble(trouble),
            Op::Heal(node) => self.nodes[node].heal(self.now),
            Op::Restart(n) => self.restart(n).await,
            Op::Build { node, ahead } => {
                self.export = Export::build(&self.world, self.clock.wall() + Duration::from_secs(ahead));
                self.restart(node).await;
            }
            Op::Fail(page) => self.world.lock().fails[page] = true,
            Op::FailSeed(page) => self.world.lock().seed_fails[page] = true,
            Op::Draft(page, draft) => self.world.lock().draft[page] = draft,
            Op::LoseLedger => {
                let seen_by = self.reading(|_| true);
                self.store.lose_ledger();
                self.lose(&seen_by);
            }
            Op::Dump => self.dump = Some((self.store.ledger_snapshot(), self.now)),
            Op::Restore => self.restore().await,
        }
    }

    /// A new process in a node's place.
    async fn restart(&mut self, n: usize) {
        let (clock, gone) = (self.nodes[n].clock.clone(), self.nodes[n].process);
        for said in &mut self.said {
            if said.process == gone && said.known == Known::Here {
                said.known = Known::Lost;
            }
        }
        self.nodes[n] = self.start(n, clock).await;
    }

    /// Processes that have read a ledger of such an epoch.
    fn reading(&self, is: impl Fn(u64) -> bool) -> Vec<usize> {
        let reading = self.nodes.iter().filter(|node| node.place().is_some_and(|place| is(place.epoch)));
        reading.map(|node| node.process).collect()
    }

    /// What the ledger had is not in it any more.
    fn lose(&mut self, seen_by: &[usize]) {
        let said = self.said.iter_mut().filter(|said| said.known != Known::Here);
        // Of a verb that has not returned, nobody here knows whether the ledger had it.
        let saying = self.saying.iter_mut().map(|saying| &mut saying.said);
        said.chain(saying).for_each(|said| said.lose(self.on_unknown, seen_by));
    }

    /// An old ledger comes back. Whoever is connected looks at it before anything is marked again, as with a server that
    /// was started again; if nobody knows of something newer, what was marked since is lost, and nobody can tell.
    async fn restore(&mut self) {
        let Some((dump, at)) = self.dump.take() else { return };
        if !self.saying.is_empty() || self.nodes.iter().any(|node| node.is_cut_off(self.now)) {
            return;
        }
        let epoch = |changes: crate::store::Changes| changes.epoch;
        let before = self.store.changes(None, 1).await.map(epoch).unwrap();
        let seen_by = self.reading(|epoch| epoch == before);
        self.store.restore_ledger(&dump);
        for _ in 0..2 {
            for node in &self.nodes {
                let shared = &node.isr.shared;
                let backing = shared.backing.as_ref().unwrap();
                backing.round(shared).await.unwrap();
            }
        }
        self.lose(&seen_by);
        let after = self.store.changes(None, 2).await.map(epoch).unwrap();
        if before == after {
            for said in &mut self.said {
                if matches!(said.known, Known::Ledger(since) if since >= at) {
                    said.known = Known::Lost;
                }
            }
        }
    }

    async fn ask(&mut self, n: usize, page: usize, head: bool, validator: bool) {
        let node = &self.nodes[n];
        let (rendered, seeded) = floors(&self.said, node, page, self.now);
        let answer = visit(&node.app, &self.world, page, head, validator);
        self.visitors.come(Visitor { page, rendered, seeded, answer });
        self.hear().await;
    }

    async fn publish(&mut self, n: usize, source: usize, target: Target, expires: bool) {
        let source_versions: Floor = {
            let mut state = self.world.lock();
            state.version[source] += 1;
            state.version
        };
        let node = &self.nodes[n];
        let isr = node.isr.clone();
        let (process, hits, known) = (node.process, target.hits(), Known::Here);
        let said = Said { process, hits, source_versions, expires, known, lost_to: None };
        let answer = Box::pin(async move { invalidate(&isr, source, target, expires).await });
        self.saying.push(Saying { said, answer });
        self.hear().await;
    }

    async fn advance(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            left -= step;
            self.clocks(step);
            tokio::time::advance(step).await;
            self.look().await;
        }
    }

    fn clocks(&mut self, step: Duration) {
        self.now += step;
        self.clock.advance(step);
        for node in &self.nodes {
            node.clock.advance(step);
        }
    }

    /// Lets everything run that can.
    async fn look(&mut self) {
        for _ in 0..16 {
            tokio::task::yield_now().await;
            self.hear().await;
        }
    }

    /// Until nothing moves any more without time passing.
    async fn rest(&mut self) {
        loop {
            self.look().await;
            if !self.world.resume(0) {
                break;
            }
        }
    }

    /// What visitors have got, and which verbs have returned.
    async fn hear(&mut self) {
        if let Some(problem) = self.visitors.hear(&self.world).await {
            self.problem.get_or_insert(format!("{:?}: {problem}", self.now));
        }
        for mut saying in std::mem::take(&mut self.saying) {
            match poll!(saying.answer.as_mut()) {
                Poll::Ready(Ok(_)) => {
                    saying.said.known = Known::Ledger(self.now);
                    self.said.push(saying.said);
                }
                Poll::Ready(Err(InvalidateError::LocalOnly { .. })) => {
                    let lives = self.nodes.iter().any(|node| node.process == saying.said.process);
                    saying.said.known = if lives { Known::Here } else { Known::Lost };
                    self.said.push(saying.said);
                }
                Poll::Ready(Err(problem)) => self.problem = Some(problem.to_string()),
                Poll::Pending => self.saying.push(saying),
            }
        }
        for said in self.said.iter_mut().filter(|said| said.known == Known::Here) {
            let node = self.nodes.iter().find(|node| node.process == said.process);
            if node.is_some_and(|node| node.isr.stats().unsent_marks == 0) {
                said.known = Known::Ledger(self.now);
            }
        }
    }

    /// When the trouble is over, something new in every source is shown by all nodes, and then from memory.
    async fn end(&mut self) {
        self.rest().await;
        for n in 0..NODES {
            self.nodes[n].heal(self.now);
        }
        {
            let mut state = self.world.lock();
            state.free = true;
            (state.fails, state.seed_fails, state.draft) = Default::default();
        }
        self.rest().await;
        self.advance(Duration::from_secs(8)).await;
        if self.visitors.len() > 0 || !self.saying.is_empty() {
            let (visitors, verbs) = (self.visitors.len(), self.saying.len());
            self.problem.get_or_insert(format!("{visitors} visitors and {verbs} verbs have no answer"));
        }
        for source in 0..SOURCES {
            self.publish(0, source, Target::Tag(source), source == 0).await;
        }
        self.advance(Duration::from_millis(1_100)).await;
        for n in 0..NODES {
            for page in 0..PAGES.len() {
                for attempt in 0.. {
                    let hits = self.nodes[n].isr.stats().hits;
                    self.ask(n, page, false, false).await;
                    self.look().await;
                    if self.nodes[n].isr.stats().hits > hits {
                        break;
                    }
                    if attempt == 20 {
                        let stats = self.nodes[n].isr.stats();
                        self.problem.get_or_insert(format!("page {page} of node {n} is no HIT in the end: {stats:?}"));
                        return;
                    }
                    self.advance(Duration::from_millis(300)).await;
                }
            }
        }
        for node in &self.nodes {
            let stats = node.isr.stats();
            if stats.unsent_marks > 0 || stats.waiting_writes > 0 || stats.store_circuit_open {
                self.problem.get_or_insert(format!("something is left: {stats:?}"));
            }
        }
    }
}
