//! The dashboard: one page, with its style and its script in it.
//!
//! - `page`: puts it together, and says what a browser may run of it.
//! - `base.js` (the document, numbers, the API), `traffic.js` (numbers and charts), `entries.js` (the table), `changes.js`
//!   (invalidation), `reading.js` (an entry, explanations), `live.js` (events, sessions, the start): the script, in this order.
//! - `page.html`: where `{{style}}` and `{{script}}` stand inside of one element each.

mod page;

pub(super) use page::Page;
