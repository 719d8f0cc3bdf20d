//! Exports (R34): the folder takes its place in one piece, and nothing of others is lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_isr::prerender::{Export, ExportError};
use axum_isr::{Isr, RouteConfig};
use common::{Gate, Handler};
use tempfile::TempDir;

type Happens = Box<dyn FnOnce() + Send>;

struct Site {
    parent: TempDir,
    app: Router,
    /// What happens while the next page is rendered.
    meanwhile: Arc<Mutex<Option<Happens>>>,
}

impl Site {
    fn new() -> Self {
        let meanwhile: Arc<Mutex<Option<Happens>>> = Arc::default();
        let happens = Arc::clone(&meanwhile);
        let handler = Handler::new(move |n, _| {
            let happens = happens.lock().unwrap().take();
            if let Some(happens) = happens {
                happens();
            }
            async move { format!("render {n}") }
        });
        let isr = Isr::builder().build().unwrap();
        let route = RouteConfig::revalidate(Duration::from_secs(60));
        let app = Router::new().route("/", get(handler)).layer(isr.layer(route));
        Self { parent: tempfile::tempdir().unwrap(), app, meanwhile }
    }

    fn folder(&self) -> PathBuf {
        self.parent.path().join("site")
    }

    async fn export(&self) -> Result<axum_isr::prerender::Report, ExportError> {
        Export::new(self.app.clone()).path("/").to(self.folder()).await
    }

    fn page(&self) -> String {
        fs::read_to_string(self.folder().join("prerendered-routes/index.txt")).unwrap()
    }

    fn names(&self) -> Vec<String> {
        names(self.parent.path())
    }

    fn during(&self, what: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(what));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The folder in which an export is being written.
fn work(parent: &Path) -> PathBuf {
    parent.join(names(parent).into_iter().find(|name| name.starts_with(".site.export-")).unwrap())
}

#[tokio::test]
async fn an_earlier_export_is_replaced() {
    let site = Site::new();
    site.export().await.unwrap();
    fs::write(site.folder().join("prerendered-routes/gone.html"), "of a page that is no more").unwrap();
    let (folder, parent) = (site.folder(), site.parent.path().to_owned());
    site.during(move || {
        assert_eq!(fs::read_to_string(folder.join("prerendered-routes/index.txt")).unwrap(), "render 1");
        assert!(work(&parent).exists());
    });
    site.export().await.unwrap();
    assert_eq!(site.page(), "render 2");
    assert_eq!(names(&site.folder()), ["BUILD_ID", "prerendered-routes", "vinext-prerender.json"]);
    assert_eq!(names(&site.folder().join("prerendered-routes")), ["index.txt"], "never merged");
    assert_eq!(site.names(), ["site"]);
}

/// On file systems that can exchange two folders.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn readers_never_find_none_while_exports_replace_one_another() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};

    let site = Site::new();
    let [a, b] = ["a", "b"].map(|name| site.parent.path().join(name));
    for folder in [&a, &b] {
        fs::create_dir(folder).unwrap();
    }
    if renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).is_err() {
        return;
    }
    site.export().await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let readers = [(); 2].map(|()| {
        let (folder, over) = (site.folder(), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if !folder.exists() {
                    return false;
                }
            }
            true
        })
    });
    for n in 2..=100 {
        site.export().await.unwrap();
        assert_eq!(site.page(), format!("render {n}"));
    }
    over.store(true, Ordering::Relaxed);
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    assert_eq!(site.names(), ["a", "b", "site"]);
}

#[tokio::test]
async fn an_empty_folder_and_a_missing_parent_are_fine() {
    let mut site = Site::new();
    fs::create_dir(site.folder()).unwrap();
    site.export().await.unwrap();
    let deep = site.parent.path().join("a/b/c");
    Export::new(site.app.clone()).path("/").to(&deep).await.unwrap();
    assert!(deep.join("vinext-prerender.json").exists());
    site.parent = tempfile::tempdir().unwrap();
    assert!(site.names().is_empty());
}

#[tokio::test]
async fn what_is_no_export_is_not_touched() {
    let site = Site::new();
    let refused = async |expected: &str| {
        let before = names(&site.folder());
        let problem = site.export().await.unwrap_err();
        assert!(matches!(problem, ExportError::Foreign { .. }), "{problem:?}");
        assert!(problem.to_string().contains(expected), "{problem}");
        assert_eq!(names(&site.folder()), before);
        assert_eq!(site.names(), ["site"]);
    };
    fs::create_dir(site.folder()).unwrap();
    fs::write(site.folder().join("letter.txt"), "dear").unwrap();
    refused("letter.txt").await;
    // Beside a manifest, too: other tools write theirs among files of their own.
    fs::write(site.folder().join("vinext-prerender.json"), "{}").unwrap();
    refused("letter.txt").await;
    fs::remove_file(site.folder().join("letter.txt")).unwrap();
    fs::remove_file(site.folder().join("vinext-prerender.json")).unwrap();
    fs::create_dir(site.folder().join("prerendered-routes")).unwrap();
    refused("without vinext-prerender.json").await;
    let file = site.parent.path().join("file");
    fs::write(&file, "").unwrap();
    let problem = Export::new(site.app.clone()).path("/").to(&file).await.unwrap_err();
    assert!(problem.to_string().contains("got a file"), "{problem}");
    let problem = Export::new(site.app.clone()).path("/").to("/").await.unwrap_err();
    assert!(problem.to_string().contains("the root"), "{problem}");
}

#[tokio::test]
async fn what_came_while_pages_were_rendered_is_not_touched() {
    let site = Site::new();
    site.export().await.unwrap();
    let letter = site.folder().join("letter.txt");
    let writes = letter.clone();
    site.during(move || fs::write(writes, "dear").unwrap());
    assert!(matches!(site.export().await.unwrap_err(), ExportError::Foreign { .. }));
    assert_eq!((site.page().as_str(), letter.exists()), ("render 1", true));
    assert_eq!(site.names(), ["site"]);
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_old_export() {
    let site = Site::new();
    site.export().await.unwrap();
    let parent = site.parent.path().to_owned();
    site.during(move || fs::remove_dir_all(work(&parent).join("bodies")).unwrap());
    let problem = site.export().await.unwrap_err();
    assert!(matches!(problem, ExportError::Io { .. }), "{problem:?}");
    assert_eq!((site.page().as_str(), site.names()), ("render 1", vec!["site".to_owned()]));
}

#[tokio::test]
async fn a_hopeless_export_leaves_the_old_one() {
    let site = Site::new();
    site.export().await.unwrap();
    let problem = Export::new(site.app.clone()).paths(["/a", "/b"]).to(site.folder()).await.unwrap_err();
    let ExportError::Nothing(report) = problem else { panic!("{problem:?}") };
    assert_eq!(report.failed.len(), 2);
    assert_eq!((site.page().as_str(), site.names()), ("render 1", vec!["site".to_owned()]));
}

#[tokio::test]
async fn a_dropped_export_leaves_the_old_one() {
    let gate = Gate::closed();
    let isr = Isr::builder().build().unwrap();
    let route = RouteConfig::revalidate(Duration::from_secs(60));
    let handler = Handler::gated_again(&gate);
    let app = Router::new().route("/", get(handler.clone())).layer(isr.layer(route));
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("site");
    Export::new(app.clone()).path("/").to(&folder).await.unwrap();
    let mut second = Box::pin(Export::new(app).path("/").to(&folder));
    // Until the render waits at the gate, and the folder is there.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while names(parent.path()).len() == 1 || handler.calls() == 1 {
        assert!(futures_util::poll!(second.as_mut()).is_pending() && std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    drop(second);
    while names(parent.path()).len() > 1 && std::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(parent.path()), ["site"]);
    assert_eq!(fs::read_to_string(folder.join("prerendered-routes/index.txt")).unwrap(), "render 1");
}

/// What a run leaves that was killed, at any moment.
#[tokio::test]
async fn leftovers_of_a_killed_run_are_removed() {
    let site = Site::new();
    site.export().await.unwrap();
    // It had moved the old export away.
    let left = site.parent.path().join(".site.export-0123456789abcdef");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("lock"), "").unwrap();
    fs::rename(site.folder(), left.join("old")).unwrap();
    let folder = site.folder();
    site.during(move || {
        let page = fs::read_to_string(folder.join("prerendered-routes/index.txt"));
        assert_eq!(page.unwrap(), "render 1", "it is back before anything is rendered");
    });
    site.export().await.unwrap();
    assert_eq!((site.page().as_str(), site.names()), ("render 2", vec!["site".to_owned()]));
}

/// Folders that are called nearly as those of runs are, or have more in them, are somebody's.
#[tokio::test]
async fn what_no_run_has_left_is_not_removed() {
    let site = Site::new();
    let folders = [
        ".site.export-of-my-photos",
        ".site.export-0123456789abcde",
        ".site.export-0123456789abcdef0",
        ".site.export-0123456789ABCDEF",
        ".site.export-0123456789abcdef",
        ".site.export-fedcba9876543210",
    ];
    for name in folders {
        fs::create_dir(site.parent.path().join(name)).unwrap();
        fs::write(site.parent.path().join(name).join("lock"), "").unwrap();
    }
    fs::write(site.parent.path().join(folders[4]).join("letter.txt"), "dear").unwrap();
    fs::write(site.parent.path().join(folders[5]).join("lock"), "of the door").unwrap();
    site.export().await.unwrap();
    let mut left = [&folders[..], &["site"]].concat();
    left.sort_unstable();
    assert_eq!(site.names(), left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_that_lives_is_not_disturbed_by_another() {
    let site = Site::new();
    let (app, folder, parent) = (site.app.clone(), site.folder(), site.parent.path().to_owned());
    let runtime = tokio::runtime::Handle::current();
    site.during(move || {
        let first = work(&parent);
        let second = std::thread::spawn(move || runtime.block_on(Export::new(app).path("/").to(folder)));
        second.join().unwrap().unwrap();
        assert!(first.join("lock").exists(), "it goes on");
    });
    site.export().await.unwrap();
    assert_eq!((site.page().as_str(), site.names()), ("render 1", vec!["site".to_owned()]));
}

#[cfg(unix)]
#[tokio::test]
async fn links_stay_and_permissions_too() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let site = Site::new();
    let real = site.parent.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o750)).unwrap();
    symlink(&real, site.folder()).unwrap();
    site.export().await.unwrap();
    assert_eq!(site.page(), "render 1");
    assert_eq!(site.names(), ["real", "site"]);
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o750);
    fs::remove_dir_all(&real).unwrap();
    assert!(matches!(site.export().await.unwrap_err(), ExportError::Foreign { .. }));
}
