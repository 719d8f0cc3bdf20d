//! The calls of the API: one file each, and all of them in `routes`.
//!
//! - `read`: `GET`: `tick` (numbers), `entries`, `explain`, `events`.
//! - `invalidate`, `regenerate`: `POST`.
//!
//! A call gets the handle by `Authorized`, which is where it is decided who may, and never by `State`.

mod entries;
mod events;
mod explain;
mod invalidate;
mod read;
mod regenerate;
mod routes;
mod tick;

pub(super) use routes::routes;
