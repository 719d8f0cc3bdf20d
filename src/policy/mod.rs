//! The rules, as pure functions: `now` is an argument, nothing here waits, locks or knows who asks.
//!
//! - `route`: what an application says about its routes (`RouteConfig`).
//! - `request`: whether a request may use the cache (I2), looked at in one pass over its headers.
//! - `response`: whether a response may be kept (I2, I4), for a first render and for a regeneration.
//! - `freshness`: fresh, stale, expired; back-off after failures.
//! - `life`: how long values may be used.
//! - `cache_control`: the header values that tell caches further out what we enforce.
//! - `profile`: which headers the cache adds to its answers.
//! - `status`: MISS, HIT, STALE.
//! - `reason`: why something happened, in one vocabulary.
//! - `tag`: names that pages carry.
//! - `conditional`: `If-None-Match`.

pub(crate) mod cache_control;
pub(crate) mod conditional;
pub(crate) mod freshness;
pub(crate) mod life;
pub(crate) mod profile;
pub(crate) mod reason;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod status;
pub(crate) mod tag;
