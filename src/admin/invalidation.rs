//! What a call invalidates.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{Refusal, json};
use super::body::parse;
use crate::error::{ConfigError, InvalidateError};
use crate::isr::Isr;
use crate::ledger::{Target, Verb};
use crate::policy::tag::Tag;

/// The most things that one call may name.
const MAX_TARGETS: usize = 1_000;

/// What a call names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    routes: Vec<String>,
    #[serde(default)]
    all: bool,
    verb: Option<Said>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Revalidate,
    Expire,
}

impl From<Said> for Verb {
    fn from(said: Said) -> Self {
        match said {
            Said::Revalidate => Self::Revalidate,
            Said::Expire => Self::Expire,
        }
    }
}

#[derive(Serialize)]
struct Report {
    verb: &'static str,
    marks: usize,
    stamp: u64,
}

/// Does what the body says, in one step. `verb`: that of the address, if that says one.
pub(super) async fn invalidate(isr: &Isr, verb: Option<Verb>, body: Body) -> Result<Response, Refusal> {
    let mut call: Call = parse(body).await?;
    let verb = match (verb, call.verb.take().map(Verb::from)) {
        (Some(verb), Some(said)) if verb != said => {
            return Err(ConfigError::new("verb", format!("{verb}, as the address says"), said).into());
        }
        (Some(verb), _) | (None, Some(verb)) => verb,
        (None, None) => Verb::Revalidate,
    };
    let done = isr.mark(verb, call.targets()?).await?;
    Ok(json(StatusCode::OK, &Report { verb: verb.as_str(), marks: done.marks, stamp: done.stamp }))
}

impl Call {
    fn targets(self) -> Result<Vec<Target>, InvalidateError> {
        let named = [&self.tags, &self.paths, &self.prefixes, &self.routes];
        let count = named.map(Vec::len).iter().sum::<usize>() + usize::from(self.all);
        if !(1..=MAX_TARGETS).contains(&count) {
            let expected = format!("1 to {MAX_TARGETS} tags, paths, prefixes and routes, or all");
            return Err(ConfigError::new("body", expected, count).into());
        }
        let mut targets = Vec::with_capacity(count);
        for tag in self.tags {
            targets.push(Target::Tag(Tag::new(tag)?));
        }
        for path in self.paths {
            targets.push(Target::path(&path)?);
        }
        for prefix in self.prefixes {
            targets.push(Target::prefix(&prefix)?);
        }
        for route in self.routes {
            targets.push(Target::route(&route)?);
        }
        if self.all {
            targets.push(Target::Everything);
        }
        Ok(targets)
    }
}
