//! Steering the cache over HTTP. Off unless it is mounted.
//!
//! - [`router`]: a dashboard for people and its API, behind a token or a login.
//! - [`revalidation_router`]: the endpoint that a CMS or a deployment calls when something has changed.

// - `revalidation`: the endpoint for machines.
// - `router`: where everything else is, and the headers of all of it; `config`: what it takes.
// - `access`: who may (token, session, no other site); `token`, `session` and `cookie`: what that is made of; `login`.
// - `api`: one file a call. `dashboard`: the page.
// - `invalidation`, `body`, `answer`: what a call says, and what it is told, here and at the endpoint alike.

mod access;
mod answer;
mod api;
mod body;
mod config;
mod cookie;
mod dashboard;
mod invalidation;
mod login;
mod revalidation;
mod router;
mod session;
mod token;

pub use config::AdminConfig;
pub use revalidation::revalidation_router;
pub use router::router;
