//! One path: its page, the variants of it, and where it leads to.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::RwLock;

use super::links;
use super::options::Variant;
use super::resolve::Base;
use super::target::Target;
use crate::flight::{Exporting, Prerendered, PrerenderedPage};
use crate::isr::Shared;
use crate::key::{CacheKey, Parts};
use crate::policy::freshness::Revalidate;
use crate::prerender::render::render;
use crate::prerender::{Inputs, Record};

/// What all paths have in common.
pub(super) struct Job {
    pub(super) router: Router,
    pub(super) exporting: Exporting,
    pub(super) variants: Vec<Variant>,
    pub(super) host: Option<String>,
    pub(super) links: bool,
    /// Whoever holds it for writing renders alone.
    pub(super) together: RwLock<()>,
}

/// What came of one path.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) made: Vec<Made>,
    pub(super) missing: Vec<Missing>,
    pub(super) links: Vec<Target>,
}

/// A page, without the name of its file.
pub(super) struct Made {
    pub(super) record: Record,
    pub(super) body: Bytes,
    pub(super) variant: Option<usize>,
    pub(super) shared: Arc<Shared>,
}

/// A page that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing {
    pub(super) path: String,
    pub(super) variant: Option<usize>,
    pub(super) route: String,
    /// Or skipped.
    pub(super) failed: bool,
    pub(super) reason: &'static str,
    pub(super) status: Option<u16>,
    pub(super) problem: Option<String>,
}

impl Missing {
    /// Something that was given, and is no page.
    pub(super) fn given(reason: &'static str, path: String, problem: String) -> Self {
        let (route, problem) = (path.clone(), Some(problem));
        Self { path, variant: None, route, failed: true, reason, status: None, problem }
    }
}

impl Job {
    pub(super) async fn run(&self, target: &Target) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(page) = self.one(target, None, &mut outcome).await else { return outcome };
        if self.links && page.page.entry.status().is_success() && links::is_html(&page.headers) {
            let Parts { path, query, .. } = page.page.key.parts();
            let ours = page.shared.public_host.as_ref().and_then(|host| host.to_str().ok());
            let base = Base { host: self.host.as_deref().or(ours), path, query: Some(query).filter(|q| !q.is_empty()) };
            outcome.links = links::links(base, page.page.entry.body());
        }
        for variant in 0..self.variants.len() {
            self.one(target, Some(variant), &mut outcome).await;
        }
        outcome
    }

    /// Renders one of them, and notes what came of it.
    async fn one(&self, target: &Target, variant: Option<usize>, outcome: &mut Outcome) -> Option<PrerenderedPage> {
        let (told, key) = self.rendered(target, variant).await;
        let missing = |failed, reason, status: Option<StatusCode>, problem| {
            let parts = key.as_ref().map(CacheKey::parts);
            let path = parts.as_ref().map_or_else(|| target.as_str().to_owned(), shown);
            let route = parts.as_ref().map_or("", |parts| parts.pattern);
            let route = if route.is_empty() { target.path() } else { route }.to_owned();
            Missing { path, variant, route, failed, reason, status: status.map(|s| s.as_u16()), problem }
        };
        match told {
            Prerendered::Page(page) => {
                if let Some(name) = unwritable(&page) {
                    let problem = Some(format!("the value of {name} is not text"));
                    outcome.missing.push(missing(true, "header-value", None, problem));
                    return None;
                }
                outcome.made.push(made(&page, variant));
                return Some(*page);
            }
            Prerendered::Again => {}
            Prerendered::Skipped(reason) => outcome.missing.push(missing(false, reason, None, None)),
            Prerendered::Failed(reason, status) => outcome.missing.push(missing(true, reason, status, None)),
        }
        None
    }

    async fn rendered(&self, target: &Target, variant: Option<usize>) -> (Prerendered, Option<CacheKey>) {
        {
            let _together = self.together.read().await;
            let (told, key) = render(self.router.clone(), self.request(target, variant), &self.exporting).await;
            // Too many bytes at once, which says nothing about this page.
            let crowded = matches!(told, Prerendered::Skipped("capture"));
            let Some(key) = key.as_ref().filter(|_| crowded) else { return (told, key) };
            self.exporting.release(key);
        }
        let _alone = self.together.write().await;
        render(self.router.clone(), self.request(target, variant), &self.exporting).await
    }

    /// What the layers outside see; inside, a render request is made from the key.
    pub(super) fn request(&self, target: &Target, variant: Option<usize>) -> Request {
        let mut request = Request::new(Body::empty());
        // A target was parsed before.
        *request.uri_mut() = Uri::try_from(target.as_str()).unwrap_or_default();
        let headers = request.headers_mut();
        if let Some(host) = self.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
            headers.insert(header::HOST, host);
        }
        if let Some(variant) = variant.and_then(|at| self.variants.get(at)) {
            headers.insert(&variant.name, variant.value.clone());
        }
        request
    }
}

/// The name of a header that a manifest cannot have.
fn unwritable(page: &PrerenderedPage) -> Option<String> {
    let (name, _) = page.headers.iter().find(|(_, value)| std::str::from_utf8(value.as_bytes()).is_err())?;
    Some(name.to_string())
}

fn made(page: &PrerenderedPage, variant: Option<usize>) -> Made {
    let Parts { namespace, pattern, nest, path, inner, query, host, headers, cookies } = page.page.key.parts();
    let pairs = |pairs: Vec<(&str, &str)>| pairs.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let inputs = Inputs {
        namespace: namespace.to_owned(),
        nest: nest.to_owned(),
        inner: inner.to_owned(),
        query: query.to_owned(),
        host: host.to_owned(),
        headers: pairs(headers),
        cookies: pairs(cookies),
    };
    let body = page.page.entry.body().clone();
    let [_, fresh, kept] = page.page.entry.window().to_micros();
    let (revalidate, expire) = match fresh {
        u64::MAX => (Revalidate::Never, None),
        fresh => (Revalidate::After(micros(fresh)), Some(micros(kept))),
    };
    let mut tags = page.tags.clone();
    tags.sort_unstable();
    let record = Record {
        route: if pattern.is_empty() { path } else { pattern }.to_owned(),
        path: path.to_owned(),
        inputs: Some(inputs),
        file: String::new(),
        status: page.page.entry.status(),
        headers: page.headers.clone(),
        revalidate,
        expire,
        tags,
        bytes: Some(body.len() as u64),
        digest: Some(Sha256::digest(&body).into()),
    };
    Made { record, body, variant, shared: Arc::clone(&page.shared) }
}

fn micros(n: u64) -> std::time::Duration {
    std::time::Duration::from_micros(n)
}

fn shown(parts: &Parts<'_>) -> String {
    with_query(parts.path, parts.query)
}

pub(super) fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
