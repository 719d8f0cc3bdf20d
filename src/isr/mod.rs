//! The handle: what is configured once, what is shared by layers, handlers and background work, and its end.

mod builder;
mod handle;
mod invalidate;
mod regenerate;
mod shared;
mod shutdown;

pub use builder::{IsrBuilder, Mode};
pub use handle::Isr;
pub use invalidate::Invalidated;
pub use regenerate::{Progress, Regeneration};
pub(crate) use shared::Shared;
pub use shutdown::ShutdownReport;
