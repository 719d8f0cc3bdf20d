//! Pages that were rendered before a process started.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use super::visitor::SEEDED;
use super::world::{Floor, PAGES, SOURCES, World};
use crate::Isr;
use crate::key::Parts;
use crate::prerender::{MANIFEST, PAGES as FOLDER, SeedError, SeedErrorKind, SeedFile, SeedSource, Seeds};

/// Which pages are among them, and for how many seconds they are fresh and kept: two outlive every order, one is stale or
/// expired at the start, by the clock of the process.
const EXPORTED: [(usize, u64, u64); 3] = [(0, 3_600, 86_400), (1, 20, 50), (3, 3_600, 86_400)];

/// Some pages, as they were when it was built. Whoever reads one stops there, and may fail.
#[derive(Clone)]
pub(in crate::testing) struct Export {
    world: World,
    manifest: Bytes,
    pages: HashMap<String, (usize, Bytes)>,
}

impl Export {
    /// Of what is published now. `at`: what the clock says where it is built.
    pub(in crate::testing) fn build(world: &World, at: SystemTime) -> Self {
        let versions: Floor = world.lock().version;
        let mut rows = Vec::new();
        let mut pages = HashMap::new();
        for (page, fresh, kept) in EXPORTED {
            let shown = PAGES[page].iter().map(|part| part.source());
            let text: Vec<_> = shown.clone().map(|source| format!("{source}={}", versions[source])).collect();
            let is_shown = |source: &usize| shown.clone().any(|shown| shown == *source);
            let tags: Vec<_> = (0..SOURCES).filter(is_shown).map(|source| format!("s{source}")).collect();
            rows.push(json!({ "route": format!("/p/{page}"), "status": "rendered", "router": "app", "tags": tags,
                "revalidate": fresh, "expire": kept }));
            let body = Bytes::from(format!("{SEEDED} {}", text.join(" ")));
            pages.insert(format!("{FOLDER}/p/{page}.html"), (page, body));
        }
        let at = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let manifest = json!({ "buildId": "b", "trailingSlash": false, "builtAt": at, "routes": rows });
        Self { world: world.clone(), manifest: manifest.to_string().into(), pages }
    }

    pub(in crate::testing) fn seeds(&self, timeout: Duration) -> Seeds {
        Seeds::source(self.clone()).timeout(timeout)
    }
}

#[async_trait]
impl SeedSource for Export {
    async fn read(&self, path: &str, _: usize) -> Result<Option<SeedFile>, SeedError> {
        if path == MANIFEST {
            return Ok(Some(SeedFile { bytes: self.manifest.clone(), modified: None }));
        }
        let Some((page, body)) = self.pages.get(path) else { return Ok(None) };
        self.world.stop().await;
        if std::mem::take(&mut self.world.lock().seed_fails[*page]) {
            return Err(SeedError::new(SeedErrorKind::Unavailable, "not now"));
        }
        Ok(Some(SeedFile { bytes: body.clone(), modified: None }))
    }

    fn name(&self) -> String {
        "export".to_owned()
    }
}

/// Reads the manifest: that takes a thread, whose steps are not those of the order.
pub(in crate::testing) async fn read_manifest(isr: &Isr) {
    let seeds = isr.shared.seeds.as_ref().unwrap();
    assert!(seeds.find(&Parts::default(), 0, &isr.shared.time).await.is_err(), "a seed of no page");
}
