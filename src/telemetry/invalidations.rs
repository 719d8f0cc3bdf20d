//! What is invalidated.

use tracing::info;

use super::events::tell_of_marks;
use super::meter;
use super::shown::Shown;
use crate::isr::Shared;
use crate::ledger::{Mark, Verb};

pub(crate) fn invalidated(shared: &Shared, verb: Verb, marks: &[Mark]) {
    shared.counters.invalidations.add();
    meter::invalidated(verb, marks);
    let target = marks.first().map(|mark| mark.target.to_string()).unwrap_or_default();
    info!(target: "axum_isr", %verb, marks = marks.len(), target = ?Shown(&target), "invalidated");
    let more = match marks.len() {
        0 | 1 => String::new(),
        count => format!("and {} more", count - 1),
    };
    tell_of_marks(shared, verb, Shown(&target), &more);
}
