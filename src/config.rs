//! What settings are made of.

pub use crate::backing::OnUnknown;
pub use crate::clock::Clock;
pub use crate::policy::freshness::Revalidate;
pub use crate::policy::profile::ResponseHeaders;
pub use crate::render::{DynamicRejection, RenderReason};
