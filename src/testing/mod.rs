//! For tests of applications and of this crate.

mod manual_clock;
pub(crate) mod rules;

pub use manual_clock::ManualClock;
