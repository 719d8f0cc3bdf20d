//! The blog as files: what its first visitors would have been sent.

use std::error::Error;
use std::path::Path;

use axum::Router;
use axum_isr::prerender::Export;

/// Writes the pages of the blog to a folder: those that links lead to, and the feed.
///
/// # Errors
///
/// When the folder cannot be written, or a page has failed.
pub(crate) async fn export(app: Router, folder: &Path) -> Result<(), Box<dyn Error>> {
    let export = Export::new(app)
        .path("/")
        .path("/feed.xml")
        .follow_links(1_000)
        // What htmx asks for, beside each page.
        .variant("hx-request", "true", "fragment");
    let report = export.to(folder).await?;
    println!("{report}\n\nwritten to {}; now `serve --seeds {0}`", folder.display());
    if report.is_complete() { Ok(()) } else { Err("some pages are missing, see above".into()) }
}
