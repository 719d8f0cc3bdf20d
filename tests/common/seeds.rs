//! An export in memory, which counts what is read from it and fails when it is told to.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::needless_pass_by_value, reason = "as `json!` makes it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, missing_debug_implementations)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum_isr::prerender::{SeedError, SeedErrorKind, SeedFile, SeedSource, Seeds};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::common::Gate;

pub const MANIFEST: &str = "vinext-prerender.json";

/// What a read does instead of reading.
#[derive(Clone)]
pub enum Fault {
    Unavailable,
    Refused,
    Hangs,
    Waits(Gate),
}

#[derive(Default)]
struct State {
    files: HashMap<String, Bytes>,
    modified: Option<SystemTime>,
    reads: Vec<String>,
    faults: VecDeque<(String, Fault)>,
}

#[derive(Clone, Default)]
pub struct Folder(Arc<Mutex<State>>);

impl Folder {
    /// With a manifest that says when it was built: seconds since the Unix epoch.
    pub fn built(at: u64, routes: Value) -> Self {
        let folder = Self::default();
        folder.manifest(json!({ "buildId": "b1", "trailingSlash": false, "builtAt": at, "routes": routes }));
        folder
    }

    pub fn manifest(&self, manifest: Value) {
        self.file(MANIFEST, manifest.to_string());
    }

    pub fn file(&self, path: &str, bytes: impl Into<Bytes>) {
        self.0.lock().unwrap().files.insert(path.to_owned(), bytes.into());
    }

    pub fn page(&self, file: &str, body: impl Into<Bytes>) {
        self.file(&format!("prerendered-routes/{file}"), body);
    }

    pub fn remove(&self, file: &str) {
        self.0.lock().unwrap().files.remove(file);
    }

    pub fn modified(&self, at: SystemTime) {
        self.0.lock().unwrap().modified = Some(at);
    }

    /// The next read of a file that is not yet to do something else.
    pub fn fault(&self, file: &str, fault: Fault) {
        self.0.lock().unwrap().faults.push_back((file.to_owned(), fault));
    }

    /// What was read, in order.
    pub fn reads(&self) -> Vec<String> {
        self.0.lock().unwrap().reads.clone()
    }

    pub fn reads_of(&self, file: &str) -> usize {
        self.reads().iter().filter(|read| *read == file).count()
    }

    pub fn seeds(&self) -> Seeds {
        Seeds::source(self.clone())
    }
}

#[async_trait::async_trait]
impl SeedSource for Folder {
    async fn read(&self, path: &str, max: usize) -> Result<Option<SeedFile>, SeedError> {
        let fault = {
            let mut state = self.0.lock().unwrap();
            state.reads.push(path.to_owned());
            let at = state.faults.iter().position(|(file, _)| file == path);
            at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault)
        };
        match fault {
            Some(Fault::Unavailable) => return Err(SeedError::new(SeedErrorKind::Unavailable, "not now")),
            Some(Fault::Refused) => return Err(SeedError::new(SeedErrorKind::Refused, "not a file")),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Waits(gate)) => gate.pass().await,
            None => tokio::task::yield_now().await,
        }
        let state = self.0.lock().unwrap();
        let Some(bytes) = state.files.get(path).cloned() else { return Ok(None) };
        if bytes.len() > max {
            return Err(SeedError::new(SeedErrorKind::TooLarge, format!("expected at most {max} bytes")));
        }
        Ok(Some(SeedFile { bytes, modified: state.modified }))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// A row of the manifest of another tool.
pub fn row(path: &str) -> Value {
    json!({ "route": path, "status": "rendered", "revalidate": 60, "expire": 3600, "router": "app", "tags": [format!("t:{path}")] })
}

/// The same with other fields.
pub fn row_with(path: &str, fields: Value) -> Value {
    let (mut row, Value::Object(fields)) = (row(path), fields) else { unreachable!("an object") };
    row.as_object_mut().unwrap().extend(fields);
    row
}
