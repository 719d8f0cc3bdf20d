//! For tests of applications and of this crate.

mod manual_clock;

pub use manual_clock::ManualClock;
