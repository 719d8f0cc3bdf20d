//! The calls of the API: one file each, and all of them in `routes`.
//!
//! A call gets the handle by `Authorized`, which is where it is decided who may, and never by `State`.

mod invalidate;
mod regenerate;
mod routes;

pub(super) use routes::routes;
