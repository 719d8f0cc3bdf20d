//! The same numbers for the facade `metrics` (feature `metrics`); without the feature, nothing.
//!
//! Names and labels are in the documentation of the crate's module `stats`.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::*;
#[cfg(feature = "metrics")]
pub(crate) use on::*;
