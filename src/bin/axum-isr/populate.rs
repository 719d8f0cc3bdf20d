//! Fills a store with an export.

use std::sync::Arc;

use axum_isr::prerender::{Populate, PopulateError, Populated, Seeds};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::environment::secret;
use crate::export;
use crate::failure::{Code, Failure, warn};
use crate::options::PopulateOptions;
use crate::output::{print, print_json, told};
use crate::target::{Target, stopped};

pub(crate) async fn run(options: PopulateOptions) -> Result<(), Failure> {
    let target = Target::read(&options.to)?;
    let seeds = export::open(&options.from)?;
    let (populate, bar) = plan(&seeds, &options)?;
    let filled = target.fill(options.namespace.as_deref(), populate).await;
    bar.finish_and_clear();
    let mut report = match filled? {
        Ok(report) => report,
        Err(PopulateError::Export(problem)) => return Err(export::unusable(&problem, &options.from)),
        Err(problem) => return Err(stopped(problem)),
    };
    for page in report.skipped.iter_mut().chain(&mut report.failed) {
        page.reason = told(&page.reason);
    }
    if options.report.json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    verdict(&report, options.report.strict)
}

fn plan(seeds: &Seeds, options: &PopulateOptions) -> Result<(Populate, ProgressBar), Failure> {
    let mut populate = Populate::new(seeds).batches(options.batches).retries(options.retries).dry_run(options.dry_run);
    if let Some(id) = &options.deployment_id {
        populate = populate.deployment_id(id);
    }
    if let Some(retention) = options.retention {
        populate = populate.retention(retention);
    }
    if let Some(key) = secret("ISR_SIGNING_KEY")? {
        populate = populate.signing_keys([key.reveal()]);
    }
    for route in &options.routes {
        let Some((theirs, ours)) = route.split_once('=').filter(|(_, ours)| ours.starts_with('/')) else {
            return Err(Failure::usage(format!("--route: expected /posts/:slug=/posts/{{id}}, got {route:?}")));
        };
        populate = populate.pattern(theirs, ours);
    }
    // It shows nothing where there is no terminal.
    let bar = Arc::new(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} pages, {elapsed}") {
        bar.set_style(style);
    }
    let shown = ProgressBar::clone(&bar);
    let populate = populate.on_progress(move |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    Ok((populate, shown))
}

/// R47: a site works without the pages that are missing, only slower.
fn verdict(report: &Populated, strict: bool) -> Result<(), Failure> {
    if report.is_complete() && report.ignored == 0 {
        return Ok(());
    }
    let mut problem = format!("{} of {} pages could not be written", report.failed.len(), report.pages);
    if report.ignored > 0 {
        problem = format!("{problem}, and {} rows of the manifest cannot be used", report.ignored);
    }
    if strict {
        let hint = if report.denied {
            "the store does not let us write; look at the credentials, and at what they allow"
        } else {
            "what was written stays; the same command does the rest"
        };
        return Err(Failure::new(Code::Failed, problem).hint(hint));
    }
    warn(&format!("{problem}; the site will render them when they are asked for (--strict makes this an error)"));
    Ok(())
}
