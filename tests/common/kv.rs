//! Real KV: the gateway of `examples/kv-gateway` in the Workers runtime, on this machine.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, missing_debug_implementations)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum_isr::store::{CloudflareKv, CloudflareKvOptions, Item, Mark, StoreKey, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The gateway's.
pub const TOKEN: &str = "the-token-of-the-gateway";

/// For a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

const MISSING: &str = "npm's miniflare is not there: run scripts/install miniflare (it needs node 18 or later and npm)";

/// A running gateway, with a KV of its own that is empty when it starts.
pub struct Gateway {
    child: Child,
    port: u16,
}

impl Gateway {
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = root.join("target/miniflare");
        assert!(modules.join("node_modules/miniflare/package.json").exists(), "{MISSING}");
        let mut child = Command::new("node")
            .arg(root.join("tests/miniflare/start.mjs"))
            .arg(&modules)
            .arg(root.join("examples/kv-gateway/worker.js"))
            .arg(TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}: {MISSING}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("miniflare does not start, it says {line:?}"));
        Self { child, port }
    }

    /// The one that runs in this process already, or else one that is started.
    pub fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Gateway>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start());
            *running = Arc::downgrade(&started);
            started
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Past the store: method, path and body of a request; what comes back if that is good.
    pub async fn raw(&self, method: &str, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.url()))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Body::from(body.to_vec()))
            .unwrap();
        let response = client.request(request).await.unwrap();
        let is_good = response.status().is_success();
        let body = to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
        is_good.then(|| body.to_vec())
    }

    /// The names of all keys that begin like this.
    pub async fn names(&self, prefix: &str) -> Vec<String> {
        let listed = self.raw("GET", &format!("keys?prefix={prefix}"), b"").await.unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        listed["result"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Straight to it.
    pub fn options(&self) -> CloudflareKvOptions {
        patient(CloudflareKv::gateway(self.url(), TOKEN))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A busy machine may take its time; a KV of one's own takes any number of writes.
pub fn patient(options: CloudflareKvOptions) -> CloudflareKvOptions {
    options
        .connect_timeout(PATIENCE)
        .response_timeout(PATIENCE)
        .write_every(Duration::from_millis(1))
        .back_off(Duration::from_millis(10))
}

/// Of nobody else in this process.
pub fn unused_namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn version(epoch: u64, stamp: u64, begun: u64) -> Version {
    Version { epoch, stamp, begun }
}

/// An entry with a body.
pub fn item(key: &str, version: Version, body: &[u8]) -> Item {
    let bytes = [&b"isrtests"[..], &version.to_bytes(), body].concat();
    Item { key: StoreKey::of(key), version, bytes: bytes.into(), keep: Duration::from_secs(3_600) }
}

pub fn tag(name: &str) -> Mark {
    Mark::from_text(&format!("et{name}"))
}
