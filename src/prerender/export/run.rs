//! From paths to a folder.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::{BodyExt as _, Limited};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::error::ExportError;
use super::folder::Work;
use super::layout::{Kept, Whole};
use super::options::{Export, From, Watcher};
use super::page::{Job, Made, Missing, Outcome};
use super::pages::Pages;
use super::report::{ExportProgress, Report};
use super::sitemap;
use super::sources::Source;
use super::target::Target;
use super::writer::{Writer, blocking};
use crate::clock::WallTime;
use crate::contained::contained;
use crate::flight::{Exporting, Prerendered};
use crate::prerender::render::{Asked, ask};

/// The most links from a page that was given to another.
const MAX_DEPTH: usize = 64;

pub(super) async fn run(export: Export, folder: PathBuf, built_at: u64) -> Result<Report, ExportError> {
    let begun = Instant::now();
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(ExportError::NoRuntime);
    }
    let work = Arc::new(blocking(move || Work::begin(&folder)).await?);
    let Export { router, given, sources, sitemaps, links, variants, host, watchers, .. } = export;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let mut whole = Whole {
        kept: Vec::new(),
        missing: Vec::new(),
        variants: variants.iter().map(|variant| variant.extension.clone()).collect(),
        chosen: BTreeSet::new(),
        build_id: export.build_id,
        deployment_id: export.deployment_id,
        built_at,
        trailing_slash: export.trailing_slash,
    };
    let together = RwLock::new(());
    let job = Job {
        router,
        exporting: Exporting::new(WallTime(built_at.saturating_mul(1_000_000))),
        variants,
        host,
        links: links > 0,
        together,
    };
    let mut pages = Pages::new(export.max_pages, links);
    gather(&mut pages, &mut whole.missing, given, sources).await;
    read_sitemaps(&job, &mut pages, &mut whole.missing, sitemaps).await;

    let known = pages.known();
    let progress = ExportProgress { done: 0, known, rendered: 0, skipped: 0, failed: 0, bytes: 0, path: String::new() };
    let concurrency = export.concurrency.unwrap_or_else(cores);
    let writer = Writer::new(Arc::clone(&work));
    let mut crew = Crew { job: Arc::new(job), concurrency, writer, progress, watchers };
    for _ in 0..=MAX_DEPTH {
        crew.render(&mut pages, &mut whole).await?;
        pages.descend();
        if pages.known() == crew.progress.done {
            break;
        }
    }
    pages.truncated |= pages.known() > crew.progress.done;
    let (truncated, bytes) = (pages.truncated, crew.progress.bytes);
    crew.writer.finish().await?;

    let publish = move || {
        whole.sort();
        let hopeless = whole.kept.is_empty() && whole.missing.iter().any(|missing| missing.failed);
        let build_id = if hopeless { String::new() } else { whole.write(&work)? };
        drop(work);
        let (rendered, skipped, failed) = whole.report();
        let report = Report { rendered, skipped, failed, bytes, elapsed: begun.elapsed(), truncated, build_id };
        if hopeless { Err(ExportError::Nothing(Box::new(report))) } else { Ok(report) }
    };
    blocking(publish).await
}

/// What was given, and what tasks look for.
async fn gather(
    pages: &mut Pages,
    missing: &mut Vec<Missing>,
    given: Vec<Result<Target, (String, String)>>,
    sources: Vec<Source>,
) {
    for given in given {
        take(pages, missing, given);
    }
    for source in sources {
        let of = source.of.clone();
        if let Err(problem) = source.run(|path| take(pages, missing, path)).await {
            missing.push(Missing::given("source", of, problem));
        }
    }
}

fn take(pages: &mut Pages, missing: &mut Vec<Missing>, path: Result<Target, (String, String)>) -> bool {
    match path {
        Ok(path) => pages.give(path),
        Err((path, problem)) => {
            missing.push(Missing::given("path", path, problem));
            true
        }
    }
}

async fn read_sitemaps(job: &Job, pages: &mut Pages, missing: &mut Vec<Missing>, from: Vec<From>) {
    let mut left = Vec::new();
    for from in from {
        match from {
            From::Text(xml) => place(job, pages, missing, &mut left, 0, ("", &xml)),
            From::Path(Ok(path)) => left.push((path, 0)),
            From::Path(Err(path)) => {
                take(pages, missing, Err(path));
            }
        }
    }
    let mut seen = BTreeSet::new();
    while let Some((path, depth)) = left.pop() {
        if !seen.insert(path.clone()) || !pages.give(path.clone()) {
            continue;
        }
        match fetch(job, &path).await {
            Ok(xml) => place(job, pages, missing, &mut left, depth, (path.as_str(), &xml)),
            Err(problem) => missing.push(Missing::given("sitemap", path.as_str().to_owned(), problem)),
        }
    }
}

/// Takes what a sitemap names.
fn place(
    job: &Job,
    pages: &mut Pages,
    missing: &mut Vec<Missing>,
    left: &mut Vec<(Target, usize)>,
    depth: usize,
    (path, xml): (&str, &str),
) {
    let problem = match sitemap::read(xml, job.host.as_deref()) {
        Err(problem) => problem,
        Ok(sitemap) => {
            missing.extend(sitemap.bad.into_iter().map(|(path, problem)| Missing::given("path", path, problem)));
            for page in sitemap.pages {
                if !pages.give(page) {
                    break;
                }
            }
            if depth < sitemap::MAX_DEPTH {
                left.extend(sitemap.sitemaps.into_iter().map(|path| (path, depth + 1)));
                return;
            }
            if sitemap.sitemaps.is_empty() {
                return;
            }
            format!("expected indexes of sitemaps at most {} deep, got more", sitemap::MAX_DEPTH)
        }
    };
    missing.push(Missing::given("sitemap", path.to_owned(), problem));
}

/// A sitemap as the router makes it; if it is a cached page, nothing is kept of it.
async fn fetch(job: &Job, path: &Target) -> Result<String, String> {
    let bytes = match ask(job.router.clone(), job.request(path, None), &job.exporting.apart()).await {
        Asked::Told(Prerendered::Page(page), _) => page.page.entry.body().clone(),
        Asked::Told(Prerendered::Skipped(reason), _) => {
            return Err(format!("expected a page for everybody, got {reason}"));
        }
        Asked::Told(Prerendered::Failed(reason, status), _) => {
            let status = status.map(|status| format!(" {}", status.as_u16())).unwrap_or_default();
            return Err(format!("expected a sitemap, got {reason}{status}"));
        }
        Asked::Told(Prerendered::Again, _) => return Err("expected a sitemap, got nothing".to_owned()),
        Asked::Answered(response) if response.status().is_success() => {
            let body = Limited::new(response.into_body(), sitemap::MAX_BYTES);
            let body = contained(body.collect()).await.map_err(|panic| panic.message().to_string())?;
            body.map_err(|problem| problem.to_string())?.to_bytes()
        }
        Asked::Answered(response) => {
            return Err(format!("expected a sitemap, got status {}", response.status().as_u16()));
        }
    };
    if bytes.len() > sitemap::MAX_BYTES {
        return Err(format!("expected at most {} bytes, got {}", sitemap::MAX_BYTES, bytes.len()));
    }
    String::from_utf8(bytes.into()).map_err(|problem| format!("expected UTF-8: {problem}"))
}

/// Those who render.
struct Crew {
    job: Arc<Job>,
    concurrency: usize,
    writer: Writer,
    progress: ExportProgress,
    watchers: Vec<Watcher>,
}

impl Crew {
    /// Renders one level.
    async fn render(&mut self, pages: &mut Pages, whole: &mut Whole) -> Result<(), ExportError> {
        // Dropped, it takes those with it who are not through.
        let mut crew = JoinSet::new();
        let mut level = pages.level().into_iter();
        loop {
            while crew.len() < self.concurrency
                && let Some(target) = level.next()
            {
                let job = Arc::clone(&self.job);
                crew.spawn(async move {
                    let outcome = contained(job.run(&target)).await;
                    (target, outcome)
                });
            }
            let Some(joined) = crew.join_next().await else { return Ok(()) };
            let Ok((target, outcome)) = joined else { return Err(ExportError::NoRuntime) };
            let outcome = outcome.unwrap_or_else(|panic| {
                let mut outcome = Outcome::default();
                let missing = Missing::given("panicked", target.as_str().to_owned(), panic.message().to_string());
                outcome.missing.push(missing);
                outcome
            });
            self.keep(&target, outcome, pages, whole).await?;
        }
    }

    async fn keep(
        &mut self,
        target: &Target,
        outcome: Outcome,
        pages: &mut Pages,
        whole: &mut Whole,
    ) -> Result<(), ExportError> {
        for Made { record, body, variant, shared } in outcome.made {
            self.progress.rendered += 1;
            self.progress.bytes += body.len() as u64;
            let number = self.writer.put(body).await?;
            if !whole.chosen.contains(&shared.chosen) {
                whole.chosen.insert(shared.chosen.clone());
            }
            whole.kept.push(Kept { record, variant, number });
        }
        for missing in &outcome.missing {
            *(if missing.failed { &mut self.progress.failed } else { &mut self.progress.skipped }) += 1;
        }
        whole.missing.extend(outcome.missing);
        for link in outcome.links {
            pages.link(link);
        }
        self.progress.done += 1;
        self.progress.known = pages.known();
        if !self.watchers.is_empty() {
            target.as_str().clone_into(&mut self.progress.path);
            self.watchers.iter().for_each(|watch| watch(&self.progress));
        }
        Ok(())
    }
}
