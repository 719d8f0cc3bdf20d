//! What clients of HTTP need.
//!
//! - `cryptography`: for TLS.
//! - `date`: dates as HTTP has them.
//! - `escape`: text as a part of a URL.

#[cfg(any(feature = "cloudflare-kv", feature = "http", feature = "redis-tls"))]
mod cryptography;
#[cfg(any(feature = "cloudflare-kv", feature = "http"))]
mod date;
#[cfg(any(feature = "cloudflare-kv", feature = "http"))]
mod escape;

#[cfg(any(feature = "cloudflare-kv", feature = "http", feature = "redis-tls"))]
pub(crate) use cryptography::provide_cryptography;
#[cfg(any(feature = "cloudflare-kv", feature = "http"))]
pub(crate) use date::seconds;
#[cfg(any(feature = "cloudflare-kv", feature = "http"))]
pub(crate) use escape::escape;
