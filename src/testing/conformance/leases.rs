//! `lease` and `release`. Of a store without leases only that it grants each claim.

use std::time::Duration;

use super::nodes::{Setup, Works};
use crate::store::{Claim, Lease, Note, Store, StoreKey};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

fn claim(key: &str, token: u64, ttl: Duration) -> Claim {
    Claim { key: StoreKey::of(key), token, ttl, waited: false }
}

async fn claims(store: &impl Store, claim: &Claim, expected: Lease, why: &str) {
    let lease = store.lease(claim).await.works("lease");
    assert_eq!(lease, expected, "{why}: {claim:?}");
}

/// `lease`: of two tokens one is granted it, on each handle; its holder prolongs it; other keys are free.
pub(super) async fn a_lease_is_granted_once(setup: Setup) {
    let nodes = setup.nodes().await;
    let (one, other) = (claim("k", u64::MAX, LONG), claim("k", 1, LONG));
    claims(&nodes.a, &one, Lease::Mine, "nobody had it").await;
    if !nodes.profile.leases {
        claims(&nodes.b, &other, Lease::Mine, "a store without leases grants").await;
        nodes.a.release(&one.key, one.token, Note::Stored, LONG).await.works("release");
        claims(&nodes.b, &Claim { waited: true, ..other }, Lease::Mine, "a store without leases grants").await;
        return;
    }
    for store in nodes.both() {
        claims(store, &other, Lease::Held, "another token holds it").await;
        claims(store, &Claim { waited: true, ..other.clone() }, Lease::Held, "another token still holds it").await;
        claims(store, &one, Lease::Mine, "its own token holds it").await;
        claims(store, &Claim { waited: true, ..one.clone() }, Lease::Mine, "its own token holds it").await;
    }
    claims(&nodes.b, &claim("other", 1, LONG), Lease::Mine, "a lease is on one key").await;
    // At the same time: one of eight.
    let tasks: Vec<_> = (0..8_u64)
        .map(|token| {
            let store = std::sync::Arc::clone(nodes.both()[usize::from(token % 2 == 1)]);
            tokio::spawn(async move { store.lease(&claim("race", token, LONG)).await.works("lease") })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap() == Lease::Mine);
    }
    assert_eq!(granted, 1, "claims granted of eight at the same time");
}

/// `Claim::ttl`: then somebody else gets it, unless it was prolonged.
pub(super) async fn a_lease_ends_with_its_ttl(setup: Setup) {
    let nodes = setup.nodes().await;
    if !nodes.profile.leases {
        return;
    }
    let prolonged = claim("prolonged", 1, SHORT);
    claims(&nodes.a, &prolonged, Lease::Mine, "nobody had it").await;
    claims(&nodes.a, &Claim { ttl: LONG, ..prolonged }, Lease::Mine, "it is prolonged").await;
    claims(&nodes.a, &claim("k", 1, SHORT), Lease::Mine, "nobody had it").await;
    nodes
        .until("a lease ends with its ttl", async || {
            (nodes.b.lease(&claim("k", 2, LONG)).await.works("lease") == Lease::Mine).then_some(())
        })
        .await;
    claims(&nodes.a, &claim("k", 1, LONG), Lease::Held, "it has ended, and another token holds it").await;
    claims(&nodes.b, &claim("prolonged", 2, LONG), Lease::Held, "it was prolonged").await;
    // Who has lost it gives nothing back.
    nodes.a.release(&StoreKey::of("k"), 1, Note::Stored, LONG).await.works("release");
    claims(&nodes.a, &claim("k", 1, LONG), Lease::Held, "given back by one who had lost it").await;
}

/// `release`: who has waited is told the note, from each handle and as often as he asks; who has not gets the lease, and
/// with that the note is gone.
pub(super) async fn a_note_is_for_those_who_wait(setup: Setup) {
    let nodes = setup.nodes().await;
    if !nodes.profile.leases {
        return;
    }
    for note in [Note::Stored, Note::Pass, Note::Failed] {
        let key = format!("{note:?}");
        let (holder, other) = (claim(&key, 1, LONG), claim(&key, 2, LONG));
        let waits = Claim { waited: true, ..other.clone() };
        claims(&nodes.a, &holder, Lease::Mine, "nobody had it").await;
        claims(&nodes.b, &waits, Lease::Held, "it is held").await;
        nodes.a.release(&holder.key, holder.token, note, LONG).await.works("release");
        for store in [&nodes.a, &nodes.b, &nodes.a] {
            claims(store, &waits, Lease::Noted(note), "it was given back with a note").await;
        }
        let third = claim(&key, 3, LONG);
        claims(&nodes.b, &third, Lease::Mine, "a note says nothing to who has not waited").await;
        claims(&nodes.a, &waits, Lease::Held, "somebody else has taken it").await;
        nodes.b.release(&third.key, third.token, Note::Pass, LONG).await.works("release");
        claims(&nodes.a, &waits, Lease::Noted(Note::Pass), "the note of the last holder").await;
    }
    let never = Claim { waited: true, ..claim("never", 1, LONG) };
    claims(&nodes.a, &never, Lease::Mine, "there is neither a holder nor a note").await;
}

/// `release`: a token that does not hold the lease gives nothing back and leaves no note.
pub(super) async fn a_stranger_releases_nothing(setup: Setup) {
    let nodes = setup.nodes().await;
    nodes.a.release(&StoreKey::of("free"), 9, Note::Failed, LONG).await.works("release of what nobody holds");
    if !nodes.profile.leases {
        return;
    }
    let waits = Claim { waited: true, ..claim("free", 2, LONG) };
    claims(&nodes.b, &waits, Lease::Mine, "nobody had it: there is no note").await;
    let (holder, other) = (claim("k", 1, LONG), claim("k", 2, LONG));
    claims(&nodes.a, &holder, Lease::Mine, "nobody had it").await;
    for store in nodes.both() {
        store.release(&holder.key, 9, Note::Failed, LONG).await.works("release");
        claims(store, &other, Lease::Held, "a stranger does not give it back").await;
        claims(store, &Claim { waited: true, ..other.clone() }, Lease::Held, "a stranger leaves no note").await;
    }
    nodes.b.release(&holder.key, holder.token, Note::Stored, LONG).await.works("release");
    claims(&nodes.b, &other, Lease::Mine, "its holder has given it back").await;
}

/// `release`: after `keep` the note is gone, and who waits gets the lease.
pub(super) async fn a_note_ends(setup: Setup) {
    let nodes = setup.nodes().await;
    if !nodes.profile.leases {
        return;
    }
    claims(&nodes.a, &claim("k", 1, LONG), Lease::Mine, "nobody had it").await;
    nodes.a.release(&StoreKey::of("k"), 1, Note::Failed, SHORT).await.works("release");
    let waits = Claim { waited: true, ..claim("k", 2, LONG) };
    nodes
        .until("a note is gone after its time", async || {
            let lease = nodes.b.lease(&waits).await.works("lease");
            assert_ne!(lease, Lease::Held, "nobody holds it");
            (lease == Lease::Mine).then_some(())
        })
        .await;
}

/// `lease`: a note is its last holder's: when the next one has let the lease run out, the note of the one before is gone.
pub(super) async fn a_note_ends_when_the_lease_is_taken(setup: Setup) {
    let nodes = setup.nodes().await;
    if !nodes.profile.leases {
        return;
    }
    claims(&nodes.a, &claim("k", 1, LONG), Lease::Mine, "nobody had it").await;
    nodes.a.release(&StoreKey::of("k"), 1, Note::Stored, LONG).await.works("release");
    claims(&nodes.b, &claim("k", 2, SHORT), Lease::Mine, "a note says nothing to who has not waited").await;
    let waits = Claim { waited: true, ..claim("k", 3, LONG) };
    nodes
        .until("a lease ends with its ttl", async || {
            let lease = nodes.a.lease(&waits).await.works("lease");
            assert!(!matches!(lease, Lease::Noted(_)), "a note of the holder before the last: {lease:?}");
            (lease == Lease::Mine).then_some(())
        })
        .await;
}
