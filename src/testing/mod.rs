//! For tests of applications and of this crate.

mod manual_clock;
#[cfg(all(test, not(isr_shuttle)))]
mod model;
pub(crate) mod rules;

pub use manual_clock::ManualClock;
