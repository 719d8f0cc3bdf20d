//! The dashboard: one page, with its style and its script in it.
//!
//! - `page`: puts it together, and says what a browser may run of it.
//! - `page.html`: where `{{style}}` and `{{script}}` stand inside of one element each.

mod page;

pub(super) use page::Page;
