//! An export in a folder, as `Export` writes it.
#![allow(dead_code, unreachable_pub, reason = "no test file needs all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Deployment `v1`: `/posts/a` and so on, with the text `seed of /posts/a`.
pub struct Dist {
    pub folder: TempDir,
    pub manifest: Value,
}

impl Dist {
    pub fn new(slugs: &[&str]) -> Self {
        let mut dist = Self::empty();
        for slug in slugs {
            dist.page(&format!("/posts/{slug}"), &format!("posts/{slug}.html"));
        }
        dist.save();
        dist
    }

    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 60;
        let manifest = json!({
            "buildId": "b1", "scope": "v1", "builtAt": built_at, "trailingSlash": false, "routes": [],
        });
        Self { folder, manifest }
    }

    /// A page of `/posts/{slug}`, and its file.
    pub fn page(&mut self, path: &str, file: &str) {
        let body = format!("seed of {path}");
        let at = self.file(file);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, &body).unwrap();
        self.row(json!({
            "route": "/posts/{slug}", "path": path, "status": "rendered", "revalidate": 3600, "responseStatus": 200,
            "router": "axum", "tags": ["posts"], "headers": {"content-type": "text/html; charset=utf-8"}, "file": file,
            "bytes": body.len(), "sha256": format!("{:x}", Sha256::digest(&body)), "inputs": {},
        }));
    }

    pub fn row(&mut self, row: Value) {
        self.manifest["routes"].as_array_mut().unwrap().push(row);
    }

    pub fn save(&self) {
        fs::write(self.path().join("vinext-prerender.json"), self.manifest.to_string()).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join("prerendered-routes").join(name)
    }
}
