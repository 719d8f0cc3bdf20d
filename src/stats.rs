//! What the cache has done and holds: [numbers of a handle](Stats), [reasons](Reason), [explanations](Explanation), and
//! metrics.
//!
//! # Metrics
//!
//! With the feature `metrics` the cache tells the facade [`metrics`] what it does, for whichever exporter the application
//! has installed. `examples/metrics` has a site with Prometheus, and a dashboard for Grafana.
//!
//! | metric | type | labels | unit | what it is |
//! |---|---|---|---|---|
//! | `isr_requests_total` | counter | `route`, `state`, `reason` | count | Requests by what became of them, and why: the words of [`Reason`]. |
//! | `isr_age_at_serve_seconds` | histogram | `route` | seconds | The age of the page, of each HIT and STALE. |
//! | `isr_render_seconds_saved_total` | counter | `route` | seconds | What it would have taken to render what HITs answered: of each page what its own render took. In whole seconds; pages from a store or a seed count nothing. |
//! | `isr_render_seconds` | histogram | `route` | seconds | From asking the handler to the end of its body, of each render that ended, well or not. |
//! | `isr_renders_in_flight` | gauge | | count | Renders that run, in the foreground and in the background; while a page is looked for in the store too. |
//! | `isr_regenerations_total` | counter | `route`, `result`, `reason` | count | Renders of stale pages, by what came of them: `ok`, `unchanged`, `found`, `elsewhere`, `abandoned`, and with a reason of their own `not-shared` and `failed`; see [`Regenerated`]. |
//! | `isr_memory_bytes` | gauge | | bytes | What pages, remembered passes and data weigh in memory. |
//! | `isr_memory_entries` | gauge | | count | How many of them there are. |
//! | `isr_memory_limit_bytes` | gauge | | bytes | What they may weigh ([`memory_bytes`](crate::IsrBuilder::memory_bytes)). Told with the first of them. |
//! | `isr_store_seconds` | histogram | `store`, `op` | seconds | Calls of the store, well or not, up to their deadline. |
//! | `isr_store_errors_total` | counter | `store`, `op`, `kind` | count | Those that failed, by the words of [`StoreErrorKind`](crate::store::StoreErrorKind). What an open breaker kept from being made is neither. |
//! | `isr_breaker_open` | gauge | `store`, `part` | count | 1 while a part of the store is not asked because it failed several times in a row. Told when it turns: one that was never open is absent. |
//! | `isr_invalidations_total` | counter | `verb`, `by` | count | What was marked by calls to this process. |
//!
//! | label | values |
//! |---|---|
//! | `route` | the pattern as axum's `MatchedPath` has it, with that of the nest: `/posts/{slug}`; empty where there is none (a fallback, a layer around a whole router), and `(others)` for patterns beyond the first 1,000 of a handle |
//! | `state`, `reason` | [`Reason::state`], [`Reason::reason`] |
//! | `result`, `reason` | see above, and [`Regenerated::as_str`] |
//! | `store` | [`Profile::name`](crate::store::Profile::name): `disk`, `redis`, … |
//! | `op` | `get`, `put`, `remove`, `lease`, `release`, `invalidate`, `changes`; `probe`: whether reads work again |
//! | `kind` | [`StoreErrorKind::as_str`](crate::store::StoreErrorKind::as_str) |
//! | `part` | `ledger`, `marks`, `reads`, `writes` |
//! | `verb` | `revalidate`, `expire` |
//! | `by` | `tag`, `path`, `prefix`, `route`, `everything` |
//!
//! **Install the exporter before the first request.** A route looks up its counters when its first request comes, and keeps
//! them, so that a HIT looks nothing up; if there is no exporter by then, the facade gives it counters that go nowhere,
//! and they stay that. The gauges are told as differences, so that several handles add up, and lack what was told before.
//!
//! **No label holds anything that a visitor chooses**: no path, query, host, key or tag. A thousand patterns, and one for
//! the rest, are the most that `route` takes; a pattern has one series for each pair of words that has happened to it,
//! about ten in most sites. What is asked for beyond that is in the events of `tracing`, and in [`Explanation`].
//!
//! **Choose buckets**: most exporters have none that fit all three histograms. For renders from where a handler is fast to
//! the render timeout (5 ms to 30 s); for ages around the times to revalidate and to expire of the routes (1 s to a day,
//! by factors of four or so); for the store from 0.5 ms to a second, with its deadlines among them (100 ms and 150 ms; see
//! [`store_deadlines`](crate::IsrBuilder::store_deadlines)), since what fails by time ends there.
//!
//! `isr_breaker_open` is that of the handle that turned last, where several have stores of the same name.
//!
//! [`metrics`]: https://docs.rs/metrics
//!
//! # Events and spans
//!
//! Of [`tracing`](https://docs.rs/tracing), with the target `axum_isr`.
//!
//! | event | level | fields besides `route` and `path` |
//! |---|---|---|
//! | `HIT` | trace | `age` (milliseconds), `reason` |
//! | `bypass` | trace | `reason` |
//! | `STALE` | debug | `age`, `reason` |
//! | `MISS` | debug | `collapsed`, `reason` |
//! | `pass` | debug | `reason` |
//! | `failure` | debug | `reason`: a visitor got what came of a render that failed |
//! | `stored` | debug | `key` (the digest of that in the store), `bytes` |
//! | `landed` | debug | `outcome`, `purpose`, `took` (microseconds) |
//! | `regenerated` | debug | `result`, `reason` |
//! | `failed` | debug | `what` |
//! | `regeneration failed` | warn | `what`, `failures` |
//! | `computed` | debug | `data`, `bytes` |
//! | `computation failed` | debug, in the background warn | `data`, `problem`, `failures` |
//! | `found` | debug | of data `data` |
//! | `written` | debug | `key`, `bytes` |
//! | `not written` | debug | `reason` |
//! | `not removed` | the first warn, then debug | of a page that is not shared any more, when there are too many |
//! | `an entry of the store is of no use` | debug, for signatures warn | `key`, `damage` |
//! | `the store failed` | debug | `store`, `kind`, `problem` |
//! | `the store is not asked for a while`, `the store is back` | warn, info | `store` |
//! | `the ledger is another one` | warn | `store`; what was rendered before counts as invalidated |
//! | `invalidated` | info | `verb`, `marks`, `target` (the first, escaped and cut) |
//!
//! `route` is the pattern and may be used as a label. `path` is escaped and cut, and may not. It is all that is logged of what a
//! visitor has sent.
//!
//! A render is a span `render`, one in the background a span `regenerate` (level info), both with `route` and `path`: roots, that
//! follow from the span of the request that caused them. What a handler logs is inside of it.

pub use crate::explain::{Explanation, HeldEntry, Input, MarkState, TagExplanation, TagState};
pub use crate::policy::reason::{Failed, Miss, Reason, Regenerated, Stale};
pub use crate::policy::request::Bypass;
pub use crate::policy::response::Pass;
pub use crate::telemetry::{RouteStats, Stats};
