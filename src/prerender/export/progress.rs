//! How far an export is, on a terminal (feature `cli`).

use indicatif::{ProgressBar, ProgressStyle};

use super::options::Export;

impl Export {
    /// Shows on the terminal how far it is, on standard error, if that is one.
    pub fn progress_bar(self) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.on_progress(move |progress| {
            bar.set_length(progress.known as u64);
            if progress.failed > 0 {
                bar.set_message(format!("{} failed", progress.failed));
            }
            bar.set_position(progress.done as u64);
        })
    }
}
