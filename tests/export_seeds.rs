//! From an export to the first visitors of a new process: what the one writes, the other serves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/exports.rs"]
mod exports;
#[path = "common/site.rs"]
mod site;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::StatusCode;
use axum_isr::IsrBuilder;
use axum_isr::prerender::{Rendered, Report, Seeds};
use axum_isr::testing::ManualClock;
use common::request_with;
use http_body_util::BodyExt;
use site::{Answer, HOST, Site, rows, tags};
use tempfile::TempDir;
use tower::ServiceExt;
use tower_http::services::ServeDir;

/// Ten seconds before the tests' clock starts.
fn built() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_590)
}

/// An export of the site, and what was told of it.
struct Exported {
    folder: TempDir,
    report: Report,
}

impl Exported {
    async fn new(trailing_slash: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(|builder| builder.clock(ManualClock::new()));
        let report = site.export(&folder.path().join("site"), built(), trailing_slash).await;
        Self { folder, report }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn seeds(&self) -> Seeds {
        Seeds::dir(self.dir())
    }

    /// A new process with this export.
    fn site(&self) -> Site {
        seeded(self.seeds())
    }

    fn page(&self, path: &str) -> &Rendered {
        self.report.rendered.iter().find(|page| page.path == path && page.variant.is_none()).unwrap()
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir().join("prerendered-routes").join(&self.page(path).file)
    }
}

fn seeded(seeds: Seeds) -> Site {
    Site::new(|builder| at_start(builder).seeds(seeds))
}

fn at_start(builder: IsrBuilder) -> IsrBuilder {
    builder.clock(ManualClock::new())
}

/// What a process that has rendered it itself answers from memory.
async fn live(site: &Site, page: &Rendered) -> Answer {
    site.ask(page).await;
    let hit = site.ask(page).await;
    assert_eq!(hit.state, "HIT", "{page:?}");
    hit
}

/// R34, R35, R39: all of it is a HIT for its first visitor, and what a render would have been.
async fn every_page_is_a_hit(site: &Site, report: &Report) {
    let other = Site::new(at_start);
    for page in &report.rendered {
        let first = site.ask(page).await;
        assert_eq!((&*first.state, &*first.age), ("HIT", "10"), "{page:?}");
        assert_eq!((first.status, first.body.len() as u64), (page.status, page.bytes), "{page:?}");
        assert_eq!(first.page(), live(&other, page).await.page(), "{page:?}");
        assert!(first.header("etag").is_some(), "{first:?}");
        assert_eq!(site.ask(page).await, first, "the second visitor");
    }
    let (stats, pages) = (site.isr.stats(), report.rendered.len() as u64);
    assert_eq!((site.handled(), stats.renders), (0, 0));
    assert_eq!((stats.seeded, stats.seed_failures, stats.hits), (pages, 0, 2 * pages));
}

#[tokio::test]
async fn every_page_of_an_export_is_a_hit_for_its_first_visitor() {
    for trailing_slash in [false, true] {
        let exported = Exported::new(trailing_slash).await;
        every_page_is_a_hit(&exported.site(), &exported.report).await;
    }
}

/// R36: whoever comes first, and with whom.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_at_once_are_hits_too() {
    let exported = Exported::new(false).await;
    let site = std::sync::Arc::new(exported.site());
    let mut visitors = tokio::task::JoinSet::new();
    for page in exported.report.rendered.iter().flat_map(|page| [page, page]) {
        let (site, page) = (std::sync::Arc::clone(&site), page.clone());
        visitors.spawn(async move { (site.ask(&page).await, page) });
    }
    while let Some(visitor) = visitors.join_next().await {
        let (answer, page) = visitor.unwrap();
        assert_eq!((&*answer.state, answer.body.len() as u64), ("HIT", page.bytes), "{page:?}");
    }
    assert_eq!((site.handled(), site.isr.stats().seeded), (0, exported.report.rendered.len() as u64));
}

#[tokio::test]
async fn what_is_embedded_is_the_same() {
    let exported = Exported::new(false).await;
    let files = exports::files(&exported.dir()).into_iter();
    let files: HashMap<String, &'static [u8]> = files.map(|(name, bytes)| (name, &*bytes.leak())).collect();
    drop(exported.folder);
    let site = seeded(Seeds::embedded(move |path| files.get(path).copied()));
    every_page_is_a_hit(&site, &exported.report).await;
}

/// R34: tags of the handler, of the route, and of the data that it has read.
#[tokio::test]
async fn a_mark_on_any_tag_of_a_page_hits_its_seed() {
    let exported = Exported::new(false).await;
    let rows = rows(&exported.dir());
    assert_eq!(tags(&rows, exported.page("/")), ["größe, and more", "home", "posts", "site"]);
    assert_eq!(tags(&rows, exported.page("/u/ada/posts/tide")), ["user:ada"]);
    for page in &exported.report.rendered {
        for tag in tags(&rows, page) {
            // Before its first visitor, and after.
            for visitors in [0, 1] {
                let site = exported.site();
                for _ in 0..visitors {
                    assert_eq!(site.ask(page).await.state, "HIT");
                }
                site.isr.expire_tag(&tag).await.unwrap();
                assert_eq!(site.ask(page).await.state, "MISS", "{tag}, {visitors}: {page:?}");
                assert_eq!(site.handled(), 1);
            }
        }
        let site = exported.site();
        site.isr.expire_path(page.path.split('?').next().unwrap()).await.unwrap();
        assert_eq!(site.ask(page).await.state, "MISS", "{page:?}");
    }
    // And no other.
    let site = exported.site();
    for tag in ["user:ada", "shop", "forever"] {
        site.isr.expire_tag(tag).await.unwrap();
    }
    for (path, state) in
        [("/", "HIT"), ("/u/bob/posts/tide", "HIT"), ("/u/ada/posts/tide", "MISS"), ("/forever", "MISS")]
    {
        assert_eq!(site.ask(exported.page(path)).await.state, state, "{path}");
    }
}

/// What the key does not say is not another page's seed.
#[tokio::test]
async fn what_was_not_exported_is_rendered() {
    let exported = Exported::new(false).await;
    let site = exported.site();
    for (path, headers, state) in [
        ("/list?page=3", vec![], "MISS"),
        ("/list?other=2", vec![], "HIT"),
        ("/variants", vec![("hx-request", "true"), ("cookie", "theme=dark")], "MISS"),
        ("/variants", vec![("hx-request", "false"), ("cookie", "theme=light; a=b")], "HIT"),
        ("/hosted", vec![("host", "example.com")], "MISS"),
        ("/hosted", vec![("host", "EXAMPLE.org:80")], "HIT"),
        ("/hosted", vec![], "MISS"),
        ("/words/b", vec![], "MISS"),
        ("/u/eve/posts/tide", vec![], "MISS"),
        ("/docs/a/", vec![], "MISS"),
    ] {
        let response = common::send(&site.app, request_with(path, &headers)).await;
        assert_eq!(common::state(&response), state, "{path} {headers:?}");
    }
}

/// Of another build or deployment, nothing is used.
#[tokio::test]
async fn an_export_of_another_version_is_refused() {
    let exported = Exported::new(false).await;
    for set in [
        (|builder| builder.deployment_id("two")) as fn(IsrBuilder) -> IsrBuilder,
        |builder| builder.build_id("two"),
        |builder| builder.deployment_id("two").build_id("one"),
    ] {
        let site = Site::new(|builder| set(at_start(builder).seeds(exported.seeds())));
        for path in ["/", "/version"] {
            assert_eq!(site.ask(exported.page(path)).await.state, "MISS");
        }
        assert_eq!((site.handled(), site.isr.stats().seeded, site.isr.stats().seed_failures), (2, 0, 1));
    }
}

/// What happens to a file.
type Change = fn(&Path);

/// R38, R41: a seed is what the export has written, or nothing.
#[tokio::test]
async fn a_file_that_is_not_the_one_that_was_written_is_not_served() {
    let exported = Exported::new(false).await;
    let changed: [(&str, Change); 6] = [
        ("/words/a", |file| std::fs::write(file, "b").unwrap()),
        ("/words/A", |file| std::fs::write(file, "").unwrap()),
        ("/empty", |file| std::fs::write(file, "no longer").unwrap()),
        ("/large", |file| {
            let mut bytes = std::fs::read(file).unwrap();
            bytes[200_000] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }),
        ("/same", |file| std::fs::remove_file(file).unwrap()),
        ("/gone", |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }),
    ];
    for (path, change) in &changed {
        change(&exported.file(path));
    }
    let (site, other) = (exported.site(), Site::new(at_start));
    for page in &exported.report.rendered {
        let answer = site.ask(page).await;
        let is_changed = page.variant.is_none() && changed.iter().any(|(path, _)| *path == page.path);
        assert_eq!(answer.state, if is_changed { "MISS" } else { "HIT" }, "{page:?}");
        assert_eq!(answer.body, live(&other, page).await.body, "{page:?}");
    }
    assert_eq!((site.handled(), site.isr.stats().seed_failures), (changed.len(), changed.len() as u64));
}

/// R41: not even if there is the same.
#[cfg(unix)]
#[tokio::test]
async fn a_link_to_outside_is_not_followed() {
    let exported = Exported::new(false).await;
    let outside = exported.folder.path().join("outside");
    for link in [exported.file("/words/a"), exported.file("/docs/deep/er/still").parent().unwrap().to_owned()] {
        std::fs::rename(&link, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        let site = exported.site();
        let (path, body) =
            if link.is_dir() { ("/docs/deep/er/still", "docs deep/er/still") } else { ("/words/a", "a") };
        assert_eq!(std::fs::read_to_string(exported.file(path)).unwrap(), body);
        let answer = site.ask(exported.page(path)).await;
        assert_eq!((&*answer.state, &*answer.body, site.handled()), ("MISS", body.as_bytes(), 1));
        std::fs::remove_file(&link).unwrap();
        std::fs::rename(&outside, &link).unwrap();
        assert_eq!(exported.site().ask(exported.page(path)).await.state, "HIT");
    }
    // The folder itself may be one.
    let link = exported.folder.path().join("current");
    std::os::unix::fs::symlink(exported.dir(), &link).unwrap();
    every_page_is_a_hit(&seeded(Seeds::dir(link)), &exported.report).await;
}

/// A site that has read the manifest of one export, and finds the files of the next.
#[tokio::test]
async fn an_export_may_be_replaced_while_a_site_runs() {
    let exported = Exported::new(false).await;
    let site = exported.site();
    assert_eq!(site.ask(exported.page("/")).await.state, "HIT");
    let later = Site::version(2, at_start);
    later.export(&exported.dir(), built() + Duration::from_secs(5), false).await;
    // Its file is another one, so this version renders its own.
    let answer = site.ask(exported.page("/version")).await;
    assert_eq!((&*answer.state, &*answer.body, answer.header("x-version")), ("MISS", &b"version 1"[..], Some("1")));
    // This one is the same in both.
    let answer = site.ask(exported.page("/empty")).await;
    assert_eq!((&*answer.state, answer.header("x-version"), &*answer.age), ("HIT", Some("1"), "10"));
    let next = exported.site().ask(exported.page("/version")).await;
    assert_eq!((&*next.state, &*next.body, next.header("x-version")), ("HIT", &b"version 2"[..], Some("2")));
    // And the folder may go.
    std::fs::remove_dir_all(exported.dir()).unwrap();
    let answer = site.ask(exported.page("/gone")).await;
    assert_eq!((&*answer.state, answer.status), ("MISS", StatusCode::NOT_FOUND));
}

/// Whatever a process that starts meanwhile sees of it, it does not mix two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_while_an_export_is_replaced_is_harmless() {
    let exported = Exported::new(false).await;
    let folder = exported.dir();
    let exports = tokio::spawn(async move {
        for version in 2..12 {
            let app = Site::version(version, at_start).app;
            let export = axum_isr::prerender::Export::new(app).paths(["/version", "/"]).built_at(built());
            export.to(&folder).await.unwrap();
        }
    });
    let mut hits = 0;
    while !exports.is_finished() {
        let site = exported.site();
        let answer = site.ask(exported.page("/version")).await;
        let version = answer.header("x-version").unwrap();
        assert_eq!(answer.body, format!("version {version}"));
        assert!(answer.state == "HIT" || version == "1", "{answer:?}");
        hits += usize::from(answer.state == "HIT");
    }
    exports.await.unwrap();
    assert!(hits > 0);
    assert_eq!(exported.site().ask(exported.page("/version")).await.body, "version 11");
}

/// R34: the pages are files that any server serves.
#[tokio::test]
async fn a_file_server_serves_the_same_bodies() {
    for trailing_slash in [false, true] {
        let exported = Exported::new(trailing_slash).await;
        let files = ServeDir::new(exported.dir().join("prerendered-routes"));
        let server = Router::new().fallback_service(files);
        let other = Site::new(at_start);
        let mut plain = 0;
        for page in &exported.report.rendered {
            let live = live(&other, page).await;
            let mut asked = vec![format!("/{}", page.file)];
            let is_alone = page.variant.is_none() && !page.path.contains('?');
            if trailing_slash && is_alone && page.file.ends_with("/index.html") {
                asked.push(format!("{}/", page.path.trim_end_matches('/')));
                plain += 1;
            }
            for path in asked {
                let request = request_with(&path, &[("host", HOST)]);
                let response = server.clone().oneshot(request).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK, "{path}: {page:?}");
                assert!(response.into_body().collect().await.unwrap().to_bytes() == live.body, "{path}: {page:?}");
            }
        }
        assert!(!trailing_slash || plain > 15, "{plain}");
    }
}
