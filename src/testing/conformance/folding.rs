//! Folding: what a ledger forgets counts as a mark on everything.

use std::collections::HashMap;

use super::nodes::{Nodes, Setup, Works, mark, tags};
use super::reader::{NOT_EMPTY, Reader};
use crate::store::{Mark, Verb};

/// What a reader knows of a ledger, as a node does: the newest stamp of each mark.
struct Mirror {
    reader: Reader,
    known: HashMap<Mark, u64>,
}

impl Mirror {
    fn new(reader: Reader) -> Self {
        Self { reader, known: HashMap::new() }
    }

    async fn poll(&mut self) {
        for (mark, stamp) in self.reader.news(NOT_EMPTY).await {
            let known = self.known.entry(mark).or_default();
            *known = stamp.max(*known);
        }
    }

    /// An entry of before `stamp` that the mark names is hit.
    fn hits(&self, mark: &Mark, stamp: u64) -> bool {
        let known = |mark: &Mark| self.known.get(mark).is_some_and(|known| *known >= stamp);
        known(mark) || known(&Mark::everything(mark.verb()))
    }
}

/// Each mark still hits what it hit, for this reader.
async fn covers(nodes: &Nodes, mirror: &mut Mirror, made: &[(Mark, u64)], who: &str) {
    mirror.poll().await;
    if !nodes.exact() {
        nodes
            .until(who, async || {
                mirror.poll().await;
                made.iter().all(|(mark, stamp)| mirror.hits(mark, *stamp)).then_some(())
            })
            .await;
    }
    for (mark, stamp) in made {
        assert!(
            mirror.hits(mark, *stamp),
            "{who} knows neither {:?} at {stamp} nor everything of its verb at that or later: {:?}",
            mark.to_text(),
            mirror.known.iter().map(|(mark, stamp)| (mark.to_text(), stamp)).take(12).collect::<Vec<_>>()
        );
    }
}

/// `invalidate`: with room for three marks, each of forty is known to every reader, or covered by everything.
pub(super) async fn folding_covers_what_it_forgets(setup: Setup) {
    let nodes = setup.nodes_with(3).await;
    let mut follows = Mirror::new(Reader::at_end(&nodes.b, 7).await);
    let mut stays_behind = Mirror::new(Reader::at_end(&nodes.a, 7).await);
    let mut made = Vec::new();
    for n in 0..40 {
        let verb = ["e", "r"][usize::from(n % 3 == 0)];
        let kind = ["t", "p/", "x/", "u/"][n % 4];
        // Some of them are made again.
        let marked = mark(&format!("{verb}{kind}{}", n % 17));
        let noted = nodes.both()[n % 2].invalidate(std::slice::from_ref(&marked), 7).await.works("invalidate");
        made.push((marked, noted.stamp));
        covers(&nodes, &mut follows, &made, "a reader that follows").await;
        if n % 10 == 5 {
            covers(&nodes, &mut Mirror::new(Reader::new(&nodes.b)), &made, "a reader that begins").await;
        }
    }
    covers(&nodes, &mut stays_behind, &made, "a reader that stood at the beginning").await;
    covers(&nodes, &mut Mirror::new(Reader::new(&nodes.a)), &made, "a reader without a cursor").await;
}

/// `invalidate`: more marks in one call than there is room for.
pub(super) async fn folding_covers_more_marks_than_fit(setup: Setup) {
    let nodes = setup.nodes_with(3).await;
    let mut behind = Mirror::new(Reader::at_end(&nodes.b, 7).await);
    let mut made = Vec::new();
    for name in ["first", "second"] {
        let marks = tags(name, 10);
        let noted = nodes.a.invalidate(&marks, 7).await.works("invalidate");
        made.extend(marks.into_iter().map(|mark| (mark, noted.stamp)));
        covers(&nodes, &mut Mirror::new(Reader::new(&nodes.b)), &made, "a reader without a cursor").await;
    }
    covers(&nodes, &mut behind, &made, "a reader that stood at the beginning").await;
}

/// `invalidate`: what is folded is raised for its own verb: pages that were to be revalidated do not expire.
pub(super) async fn folding_of_one_verb_spares_the_other(setup: Setup) {
    let nodes = setup.nodes_with(3).await;
    let mut reader = Mirror::new(Reader::at_end(&nodes.b, 7).await);
    let mut made = Vec::new();
    for n in 0..12 {
        let marked = mark(&format!("rt{n}"));
        let noted = nodes.a.invalidate(std::slice::from_ref(&marked), 7).await.works("invalidate");
        made.push((marked, noted.stamp));
    }
    covers(&nodes, &mut reader, &made, "a reader that stood at the beginning").await;
    let expired = reader.known.get(&Mark::everything(Verb::Expire));
    assert_eq!(expired, None, "everything was expired, but nothing was marked to be");
}
