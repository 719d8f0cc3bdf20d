//! Gives the files their names, and writes the manifest beside them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;
use sha2::{Digest as _, Sha256};

use super::error::ExportError;
use super::folder::{BUILD_ID, Work};
use super::page::{Missing, with_query};
use super::report::{Failed, Rendered, Skipped};
use crate::error::ConfigError;
use crate::key::{Chosen, hex};
use crate::prerender::manifest::{Head, Names, Row, plain_name, write};
use crate::prerender::{Inputs, MANIFEST, PAGES, Record};

/// A page whose body is written.
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) variant: Option<usize>,
    /// Of its body.
    pub(super) number: u64,
}

/// Everything that came of an export.
pub(super) struct Whole {
    pub(super) kept: Vec<Kept>,
    pub(super) missing: Vec<Missing>,
    /// Extensions.
    pub(super) variants: Vec<String>,
    /// What the handles were told.
    pub(super) chosen: BTreeSet<Chosen>,
    pub(super) build_id: Option<String>,
    pub(super) deployment_id: Option<String>,
    pub(super) built_at: u64,
    pub(super) trailing_slash: bool,
}

/// The rows of a report.
pub(super) type Rows = (Vec<Rendered>, Vec<Skipped>, Vec<Failed>);

impl Whole {
    /// So that nothing depends on what was rendered first.
    pub(super) fn sort(&mut self) {
        self.kept.sort_by(|a, b| order(a).cmp(&order(b)));
        self.missing.sort();
        self.missing.dedup();
    }

    /// Moves the bodies to their places, and publishes all of it. Sorted before. The build id of the manifest.
    pub(super) fn write(&mut self, work: &Work) -> Result<String, ExportError> {
        let (scope, build_id) = (self.scope()?, self.build_id()?);
        let pages = work.new_folder().join(PAGES);
        let mut names = self.name();
        let mut folders = Folders::default();
        for Kept { record, number, .. } in &self.kept {
            let place = folders.place(&pages, &record.file)?;
            let body = work.body(*number);
            fs::rename(&body, &place).map_err(ExportError::io("move this file", &body))?;
        }
        for Kept { record, .. } in &self.kept {
            // What is another page's name, or the name of its folder, stays that.
            let Some(plain) = plain_name(&record.file).filter(|plain| names.take(plain)) else { continue };
            match folders.copy(&pages, &record.file, &plain) {
                // There is one file less.
                Err(ExportError::Io { source, .. }) if cannot_be(&source) => {}
                copied => copied?,
            }
        }
        let (built_at, trailing_slash) = (Some(self.built_at), self.trailing_slash);
        let scope = Some(&*scope).filter(|scope| !scope.is_empty());
        let rows = self.rows();
        let manifest = write(&Head { build_id: &build_id, scope, built_at, trailing_slash }, &rows);
        for (name, bytes) in [(MANIFEST, &*manifest), (BUILD_ID, build_id.as_bytes())] {
            let path = work.new_folder().join(name);
            fs::write(&path, bytes).map_err(ExportError::io("write this file", &path))?;
        }
        work.publish()?;
        Ok(build_id)
    }

    /// Pages that only their path tells from others have the plain names; then come all others, variants last. The names
    /// that are taken.
    fn name(&mut self) -> Names {
        let mut names = Names::new(self.trailing_slash);
        let more = |kept: &Kept| kept.record.inputs.as_ref().is_some_and(|inputs| *inputs != alone(&inputs.inner));
        for turn in 0..3 {
            for kept in &mut self.kept {
                let mine = if kept.variant.is_some() { 2 } else { usize::from(more(kept)) };
                if mine != turn {
                    continue;
                }
                let Record { path, headers, inputs, file, .. } = &mut kept.record;
                let beside = kept.variant.and_then(|variant| self.variants.get(variant));
                *file = match (beside, inputs.as_ref()) {
                    (Some(extension), Some(inputs)) => {
                        let stem = path.strip_suffix('/').map_or_else(|| path.clone(), |path| format!("{path}/index"));
                        let beside = format!("{stem}.{extension}");
                        // What else is in its key tells it from others, but the header that all of its kind have does not.
                        let inputs = Inputs {
                            headers: Vec::new(),
                            cookies: Vec::new(),
                            inner: beside.clone(),
                            ..inputs.clone()
                        };
                        names.claim(&beside, headers, &inputs)
                    }
                    (_, Some(inputs)) => names.claim(path, headers, inputs),
                    (_, None) => names.claim(path, headers, &alone(path)),
                };
            }
        }
        names
    }

    fn rows(&mut self) -> Vec<Row> {
        let rendered = self.kept.iter().map(|kept| Row::Rendered(Box::new(kept.record.clone())));
        let missing = self.missing.iter().map(|missing| {
            let Missing { path, route, failed, reason, status, .. } = missing;
            let (route, path) = (route.clone(), Some(path.clone()));
            if *failed {
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                Row::Failed { route, path, status, error: (*reason).to_owned() }
            } else {
                Row::Skipped { route, path, reason: (*reason).to_owned() }
            }
        });
        rendered.chain(missing).collect()
    }

    pub(super) fn report(&self) -> Rows {
        let (mut skipped, mut failed) = (Vec::new(), Vec::new());
        let extension = |variant: Option<usize>| variant.and_then(|at| self.variants.get(at)).cloned();
        for missing in &self.missing {
            let Missing { path, variant, failed: has_failed, reason, status, problem, .. } = missing;
            let (path, variant, problem) = (path.clone(), extension(*variant), problem.clone());
            if *has_failed {
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                failed.push(Failed { path, variant, reason, status, problem });
            } else {
                skipped.push(Skipped { path, variant, reason });
            }
        }
        let rendered = self.kept.iter().map(|Kept { record, variant, .. }| Rendered {
            path: with_query(&record.path, record.inputs.as_ref().map_or("", |inputs| &inputs.query)),
            variant: extension(*variant),
            file: record.file.clone(),
            status: record.status,
            bytes: record.bytes.unwrap_or(0),
        });
        (rendered.collect(), skipped, failed)
    }

    fn scope(&self) -> Result<String, ConfigError> {
        if let Some(id) = &self.deployment_id {
            return Ok(id.clone());
        }
        one(self.chosen.iter().map(|chosen| &*chosen.scope), "deployment_id")
    }

    fn build_id(&self) -> Result<String, ConfigError> {
        if let Some(id) = &self.build_id {
            return Ok(id.clone());
        }
        let told =
            self.chosen.iter().map(|chosen| if chosen.build.is_empty() { &*chosen.scope } else { &*chosen.build });
        let told = one(told, "build_id")?;
        if !told.is_empty() {
            return Ok(told);
        }
        let mut digest = Sha256::new();
        for Kept { record, .. } in &self.kept {
            let mut put = |bytes: &[u8]| {
                digest.update((bytes.len() as u64).to_be_bytes());
                digest.update(bytes);
            };
            put(record.path.as_bytes());
            if let Some(Inputs { namespace, nest, inner, query, host, headers, cookies }) = &record.inputs {
                for text in [namespace, nest, inner, query, host] {
                    put(text.as_bytes());
                }
                for pairs in [headers, cookies] {
                    put(&(pairs.len() as u64).to_be_bytes());
                    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
                        put(text.as_bytes());
                    }
                }
            }
            put(&record.digest.unwrap_or_default());
        }
        Ok(format!("sha-{}", &hex(&digest.finalize())[..16]))
    }
}

/// What all handles of a router say; a manifest has one.
fn one<'a>(ids: impl Iterator<Item = &'a str>, setting: &'static str) -> Result<String, ConfigError> {
    let ids: BTreeSet<&str> = ids.collect();
    if ids.len() > 1 {
        let got = ids.into_iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ");
        let expected = "one for all handles of the router, or one for the export";
        return Err(ConfigError::new(setting, expected, got));
    }
    Ok(ids.first().map(|id| (*id).to_owned()).unwrap_or_default())
}

/// Of a page that nothing tells from others but its path.
fn alone(path: &str) -> Inputs {
    Inputs { inner: path.to_owned(), ..Inputs::default() }
}

fn order(kept: &Kept) -> impl Ord {
    let Record { path, inputs, .. } = &kept.record;
    let inputs = inputs.as_ref().map(|inputs| {
        let Inputs { namespace, nest, inner, query, host, headers, cookies } = inputs;
        (query, headers, cookies, host, namespace, nest, inner)
    });
    (path, inputs, kept.variant)
}

/// Makes each folder once.
#[derive(Default)]
struct Folders(BTreeSet<PathBuf>);

impl Folders {
    fn place(&mut self, pages: &Path, file: &str) -> Result<PathBuf, ExportError> {
        let place = pages.join(file);
        if let Some(folder) = place.parent()
            && !self.0.contains(folder)
        {
            fs::create_dir_all(folder).map_err(ExportError::io("make this folder", folder))?;
            self.0.insert(folder.to_owned());
        }
        Ok(place)
    }
    /// Under one more name, unless the file system takes the name for one that is there.
    fn copy(&mut self, pages: &Path, file: &str, name: &str) -> Result<(), ExportError> {
        let place = self.place(pages, name)?;
        if !place.exists() {
            fs::copy(pages.join(file), &place).map_err(ExportError::io("write this file", &place))?;
        }
        Ok(())
    }
}

/// Whether a file system has no such name, or takes it for the name of something else.
fn cannot_be(problem: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    matches!(problem.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory)
}
