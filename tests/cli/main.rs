//! The program `axum-isr`: what is built is run, against real stores and real sites.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/dist.rs"]
mod dist;
mod exports;
mod populate;
mod program;
#[cfg(feature = "redis")]
#[path = "../common/redis.rs"]
mod servers;
#[cfg(feature = "admin")]
mod sites;
