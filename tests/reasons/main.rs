//! Every reason, as something that happens: what `Cache-Status`, metrics, events and numbers say of it is the same, and what
//! `Isr::explain` has said before.
//!
//! A reason is a row here; `every_reason_is_a_row` has the list of those that are not.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../common/case.rs"]
mod case;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/nodes.rs"]
mod nodes;
#[path = "../common/planted.rs"]
mod planted;
#[path = "../common/reasons.rs"]
mod reasons;
#[path = "../common/trouble.rs"]
mod trouble;

mod bypassed;
mod failed;
mod passed;
mod regenerated;
mod served;
mod site;
mod stored;
mod words;
