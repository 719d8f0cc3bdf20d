//! What is exported, and how.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use super::error::ExportError;
use super::report::{ExportProgress, Report};
use super::run::run;
use super::sources::{Paths, PathsOf, Source};
use super::target::{Params, Pattern, Target};
use crate::error::ConfigError;
use crate::key::check_id;

/// Default of [`Export::max_pages`].
const MAX_PAGES: usize = 100_000;

/// Renders pages of a router in process, and writes them to a folder (R34): a manifest, and one file for each page.
///
/// A page is rendered by the layer's own render request, made of its key and nothing else (I1), so what is exported is
/// what the first visitor would have been sent, and every visitor after him. Nothing of it is kept in memory or in a store.
/// Pages that no [`IsrLayer`](crate::IsrLayer) with a configuration caches are skipped, and so are those that are made for
/// each visitor. One that fails does not stop the others; the [`Report`] tells which.
///
/// Layers outside of it see the request and the page, as they see a visitor's. What they make of the page is not written; but
/// one that they answer with another status is not for everybody, and is skipped (`refused-outside`).
///
/// The files of the folder `prerendered-routes` are a static site: `/` is `index.html`, `/about` is `about.html` or
/// `about/index.html` ([`trailing_slash`](Self::trailing_slash)), `/feed.xml` is `feed.xml`. The same input gives the same
/// bytes, however many pages are rendered at once.
///
/// ```
/// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use axum::{Router, extract::Path, routing::get};
/// use axum_isr::{Isr, RouteConfig, prerender::Export};
///
/// let isr = Isr::builder().build()?;
/// let app = Router::new()
///     .route("/", get(|| async { "home" }))
///     .route("/posts/{slug}", get(|Path(slug): Path<String>| async move { slug }))
///     .layer(isr.layer(RouteConfig::revalidate(Duration::from_secs(60))));
/// # let folder = std::env::temp_dir().join(format!("axum-isr-export-{}", std::process::id()));
///
/// let report = Export::new(app).path("/").pattern("/posts/{slug}", ["spring-tide", "neap-tide"]).to(&folder).await?;
/// println!("{report}");
/// assert!(report.is_complete() && report.rendered.len() == 3);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
/// ```
#[must_use]
pub struct Export {
    pub(super) router: Router,
    pub(super) given: Vec<Result<Target, (String, String)>>,
    pub(super) sources: Vec<Source>,
    pub(super) sitemaps: Vec<From>,
    pub(super) links: usize,
    pub(super) variants: Vec<Variant>,
    pub(super) host: Option<String>,
    pub(super) concurrency: Option<usize>,
    pub(super) trailing_slash: bool,
    pub(super) deployment_id: Option<String>,
    pub(super) build_id: Option<String>,
    built_at: Option<SystemTime>,
    pub(super) max_pages: usize,
    pub(super) watchers: Vec<Watcher>,
    /// The first that cannot work.
    problem: Option<ConfigError>,
}

/// Who is told of the progress.
pub(super) type Watcher = Box<dyn Fn(&ExportProgress) + Send + Sync>;

/// Where a sitemap is.
pub(super) enum From {
    Text(String),
    Path(Result<Target, (String, String)>),
}

/// What another request for the same path says.
#[derive(Clone)]
pub(super) struct Variant {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) extension: String,
}

impl Export {
    /// Of this router with all of its layers. It has its state already.
    pub fn new(router: Router) -> Self {
        Self {
            router,
            given: Vec::new(),
            sources: Vec::new(),
            sitemaps: Vec::new(),
            links: 0,
            variants: Vec::new(),
            host: None,
            concurrency: None,
            trailing_slash: false,
            deployment_id: None,
            build_id: None,
            built_at: None,
            max_pages: MAX_PAGES,
            watchers: Vec::new(),
            problem: None,
        }
    }

    /// One more path, with a query if it has one: `/`, `/posts?page=2`. What a URL cannot have is escaped; what is no path
    /// is a row of [`Report::failed`], and the others are rendered.
    pub fn path(mut self, path: impl AsRef<str>) -> Self {
        let path = path.as_ref();
        self.given.push(Target::new(path).map_err(|problem| (path.to_owned(), problem)));
        self
    }

    /// Several of them.
    pub fn paths<P: AsRef<str>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        paths.into_iter().fold(self, Self::path)
    }

    /// Paths that have to be looked for: by a task that takes its time and pushes them one by one. If it returns an error or
    /// panics, that is a row of [`Report::failed`], and what it has pushed before is rendered.
    ///
    /// ```
    /// # use axum_isr::prerender::{Export, Paths};
    /// # let export = Export::new(axum::Router::new());
    /// export.paths_from(async |paths: Paths| {
    ///     for line in std::fs::read_to_string("paths.txt")?.lines() {
    ///         paths.push(line).await;
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// });
    /// ```
    pub fn paths_from<F, E>(mut self, look: impl FnOnce(Paths) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.sources.push(Source::paths(look));
        self
    }

    /// All paths of a pattern, as axum writes patterns, one for each of `params`: `"slug"`, or `[year, month]` where it has
    /// several parameters. Values that do not fit are rows of [`Report::failed`].
    pub fn pattern<P: Into<Params>>(mut self, pattern: &str, params: impl IntoIterator<Item = P>) -> Self {
        match Pattern::new(pattern) {
            Ok(pattern) => {
                let fill = |params: P| pattern.fill(&params.into()).map_err(|p| (pattern.as_str().to_owned(), p));
                self.given.extend(params.into_iter().map(fill));
            }
            Err(problem) => self.given.push(Err((pattern.to_owned(), problem))),
        }
        self
    }

    /// As [`pattern`](Self::pattern), and a task looks for the values as in [`paths_from`](Self::paths_from): for example
    /// in the rows of a database, one after the other.
    ///
    /// ```
    /// # use axum_isr::prerender::{Export, PathsOf};
    /// # struct Rows; impl Rows { async fn try_next(&mut self) -> Result<Option<String>, std::io::Error> { Ok(None) } }
    /// # fn all_slugs() -> Rows { Rows }
    /// # let export = Export::new(axum::Router::new());
    /// export.pattern_from("/posts/{slug}", async |slugs: PathsOf| {
    ///     let mut rows = all_slugs();
    ///     while let Some(slug) = rows.try_next().await? {
    ///         slugs.push(slug).await;
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// });
    /// ```
    pub fn pattern_from<F, E>(mut self, pattern: &str, look: impl FnOnce(PathsOf) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        match Pattern::new(pattern) {
            Ok(pattern) => self.sources.push(Source::pattern(pattern, look)),
            Err(problem) => self.given.push(Err((pattern.to_owned(), problem))),
        }
        self
    }

    /// The paths that a sitemap of the router names, and the sitemap itself: `/sitemap.xml`. Sitemaps that it names are read
    /// too. Places of other hosts are left out if the [`host`](Self::host) is known; else every place counts as one of
    /// this site. At most 50 MiB and 50,000 places each, as sitemaps.org has it.
    pub fn sitemap(mut self, path: impl AsRef<str>) -> Self {
        let path = path.as_ref();
        self.sitemaps.push(From::Path(Target::new(path).map_err(|problem| (path.to_owned(), problem))));
        self
    }

    /// The paths that a sitemap names: its text. Otherwise as [`sitemap`](Self::sitemap).
    pub fn sitemap_xml(mut self, xml: impl Into<String>) -> Self {
        self.sitemaps.push(From::Text(xml.into()));
        self
    }

    /// Also renders what pages of HTML lead to by `<a href>` and `<area href>`, if it is of the same site, and what that
    /// leads to, at most this many pages and 64 links deep. Links with `rel="nofollow"` or `download` are not followed;
    /// `<base href>` counts. Queries are kept, and what gives the same key is rendered once. Default: none.
    ///
    /// Absolute URLs are of the same site if the [`host`](Self::host) or
    /// [`IsrBuilder::public_origin`](crate::IsrBuilder::public_origin) is theirs.
    pub fn follow_links(self, max_pages: usize) -> Self {
        Self { links: max_pages, ..self }
    }

    /// Each page is also rendered for requests with this header, if its route declares that
    /// ([`RouteConfig::header`](crate::RouteConfig::header), or a cookie), and written beside it as
    /// `<path>.<extension>`; if its content type is not that of the extension, with its own behind it:
    /// `about.part.html`. Extensions are `[a-z0-9]+`.
    pub fn variant(mut self, name: impl AsRef<str>, value: impl AsRef<str>, extension: impl Into<String>) -> Self {
        let (name, value, extension) = (name.as_ref(), value.as_ref(), extension.into());
        let refuse = |expected: &str, got: &str| ConfigError::new("variant", expected, format_args!("{got:?}"));
        let fits = extension.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(1..=16).contains(&extension.len()) || !fits || extension == "html" {
            self.refuse(refuse("an extension, 1 to 16 of [a-z0-9], not html", &extension));
        } else if self.variants.iter().any(|other| other.extension == extension) {
            self.refuse(refuse("an extension of its own", &extension));
        } else {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => self.variants.push(Variant { name, value, extension }),
                (Err(_), _) => self.refuse(refuse("the name of a header", name)),
                (_, Err(_)) => self.refuse(refuse("the value of a header", value)),
            }
        }
        self
    }

    /// The `Host` of all requests, `example.org` or with a port: for routes that declare it, for layers outside, and for
    /// telling links of the site from others. Default: none.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        let host = host.into();
        if host.contains('@') || host.parse::<Authority>().is_err() {
            self.refuse(ConfigError::new("host", "a host, maybe with a port", format_args!("{host:?}")));
        }
        Self { host: Some(host), ..self }
    }

    /// How many pages are rendered at once. Default: the number of cores; at least 1.
    pub fn concurrency(self, pages: usize) -> Self {
        Self { concurrency: Some(pages), ..self }
    }

    /// Whether `/about` is written as `about/index.html` instead of `about.html`. Default: no.
    pub fn trailing_slash(self, slash: bool) -> Self {
        Self { trailing_slash: slash, ..self }
    }

    /// The `scope` of the manifest, as [`IsrBuilder::deployment_id`](crate::IsrBuilder::deployment_id); empty for none.
    /// Default: what the router's handle was told, or the environment tells it.
    pub fn deployment_id(self, id: impl Into<String>) -> Self {
        Self { deployment_id: Some(id.into()), ..self }
    }

    /// The `buildId` of the manifest: `[A-Za-z0-9_-]+`. Default: the build id that the router's handle was told, else its
    /// deployment id, else a digest of all pages.
    pub fn build_id(self, id: impl Into<String>) -> Self {
        Self { build_id: Some(id.into()), ..self }
    }

    /// From when on the age of the pages counts; whole seconds. Default: `SOURCE_DATE_EPOCH` of the environment, else now.
    pub fn built_at(self, at: SystemTime) -> Self {
        Self { built_at: Some(at), ..self }
    }

    /// The most paths that are rendered. What comes after them is left out, and the report says so
    /// ([`Report::truncated`]). Default: 100,000.
    pub fn max_pages(self, pages: usize) -> Self {
        Self { max_pages: pages, ..self }
    }

    /// Called after each path; it should not take long.
    pub fn on_progress(mut self, watch: impl Fn(&ExportProgress) + Send + Sync + 'static) -> Self {
        self.watchers.push(Box::new(watch));
        self
    }

    /// Renders everything, and puts the folder in its place: a reader sees the export that was there before, or this one.
    /// On Linux both change places at once; elsewhere, and on file systems that cannot do that, there is none for a moment
    /// between two renames, and [`Seeds`](crate::prerender::Seeds) look twice. A process that is about to open a file of the old one
    /// does not find it.
    ///
    /// There must be no folder, an empty one, or an earlier export, which is replaced and never added to; its parent is made
    /// if it is missing. The folder itself cannot be a mount point.
    ///
    /// # Errors
    ///
    /// When a setting cannot work, something else is in the place of the folder, or a file cannot be written; and when
    /// pages have failed and none was rendered. Then what was there before is still there.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, what was there before is still there.
    pub async fn to(self, folder: impl AsRef<Path>) -> Result<Report, ExportError> {
        self.check()?;
        let built_at = self.seconds()?;
        run(self, folder.as_ref().to_owned(), built_at).await
    }

    fn refuse(&mut self, problem: ConfigError) {
        self.problem.get_or_insert(problem);
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        for (setting, number) in [("concurrency", self.concurrency.unwrap_or(1)), ("max_pages", self.max_pages)] {
            if number == 0 {
                return Err(ConfigError::new(setting, "at least 1", 0));
            }
        }
        if let Some(id) = &self.deployment_id {
            check_id("deployment_id", id.clone())?;
        }
        match &self.build_id {
            Some(id) if id.is_empty() => Err(ConfigError::new("build_id", "[A-Za-z0-9_-]+", "\"\"")),
            Some(id) => check_id("build_id", id.clone()).map(drop),
            None => Ok(()),
        }
    }

    /// Since 1970.
    fn seconds(&self) -> Result<u64, ConfigError> {
        const EPOCH: &str = "SOURCE_DATE_EPOCH";
        let expected = "seconds since 1970";
        let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).map(|since: Duration| since.as_secs());
        if let Some(at) = self.built_at {
            return since(at).map_err(|_| ConfigError::new("built_at", "a time after 1970", format_args!("{at:?}")));
        }
        match std::env::var_os(EPOCH).filter(|value| !value.is_empty()) {
            Some(value) => value
                .to_str()
                .and_then(|value| value.parse().ok())
                .ok_or_else(|| ConfigError::new(EPOCH, expected, format_args!("{:?}", value.to_string_lossy()))),
            // A clock before 1970 is not set.
            None => Ok(since(SystemTime::now()).unwrap_or(0)),
        }
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("paths", &self.given.len()).finish_non_exhaustive()
    }
}
