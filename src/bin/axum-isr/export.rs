//! Where an export is read from.

use std::path::Path;
use std::time::Duration;

use axum_isr::prerender::{Seeds, UnusableExport};

use crate::environment::secret;
use crate::failure::{Code, Failure};

const MANIFEST: &str = "vinext-prerender.json";

/// Nobody waits but whoever has started it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder, the manifest in it, or a URL.
pub(crate) fn open(from: &str) -> Result<Seeds, Failure> {
    let seeds = if from.contains("://") {
        let base = from.strip_suffix(MANIFEST).unwrap_or(from);
        let seeds = match secret("ISR_SEEDS_TOKEN")? {
            Some(token) => Seeds::http_with_token(base, token.reveal()),
            None => Seeds::http(base),
        };
        seeds.map_err(|problem| {
            Failure::usage(format!("the export's {problem}"))
                .hint("give an https:// URL without credentials; a bearer token is read from ISR_SEEDS_TOKEN")
        })?
    } else {
        Seeds::dir(folder(Path::new(from))?)
    };
    Ok(seeds.timeout(PATIENCE))
}

fn folder(path: &Path) -> Result<&Path, Failure> {
    if path.file_name().is_some_and(|name| name == MANIFEST) {
        let parent = path.parent().unwrap_or(path);
        return Ok(if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    }
    if path.is_file() {
        let name = path.display();
        return Err(Failure::usage(format!("expected a folder or its {MANIFEST}, got the file {name}")));
    }
    Ok(path)
}

/// Why an export cannot be used, and where one comes from.
pub(crate) fn unusable(problem: &UnusableExport, from: &str) -> Failure {
    let code = if problem.is_transient() { Code::OutOfReach } else { Code::Failed };
    Failure::new(code, format!("{from}: {problem}")).hint(hint(problem.is_transient()))
}

/// What to do next.
fn hint(transient: bool) -> String {
    if transient {
        "it may go well later: try again".to_owned()
    } else {
        format!("expected a folder that axum_isr::prerender::Export or vinext has written, with {MANIFEST} in it")
    }
}
