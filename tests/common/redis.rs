//! Real servers. Each has a port and a folder of its own, and ends with the test.
#![allow(dead_code, unreachable_pub, reason = "no test file needs all of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum_isr::store::{Item, Mark, RedisOptions, RedisStore, Store, StoreKey, Version};
use tempfile::TempDir;

/// For what does take time: far longer than it does.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub port: u16,
    folder: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With more options of the command line.
    pub fn with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let mut server = Self { port: free_port(), folder, options: options.clone(), child: None };
            if server.spawn() {
                return server;
            }
        }
        panic!("redis-server does not start with {options:?}");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// At once, without a word to anybody.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Answers nothing until it is thawed, and keeps its connections.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// On the same port, with what it saved last.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "redis-server does not start again on port {}", self.port);
    }

    pub fn restart_empty(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.folder.path().join("dump.rdb"));
        self.restart();
    }

    pub fn save(&self) {
        self.run::<()>(&["SAVE"]);
    }

    /// Runs a command past the store.
    pub fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection_with_timeout(PATIENCE).unwrap();
        let mut cmd = redis::cmd(command[0]);
        for argument in &command[1..] {
            cmd.arg(argument);
        }
        cmd.query(&mut connection).unwrap()
    }

    /// How many connections it has besides that which asks.
    pub fn connections(&self) -> usize {
        self.run::<String>(&["CLIENT", "LIST", "TYPE", "NORMAL"]).lines().count()
            + self.run::<String>(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).lines().count()
            - 1
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Whether it runs and answers.
    fn spawn(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.folder.path()).args(&self.options);
        let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("redis-server not found: install it (Debian: apt-get install redis-server)")
            }
            other => other.unwrap(),
        };
        let child = self.child.insert(child);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if answers(self.port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer on port {}", self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Three nodes, each with a third of the slots.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub fn start() -> Self {
        // On a busy machine a node may be silent for seconds, and the others should not give it up.
        let options =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "10000", "--cluster-require-full-coverage", "no"];
        let nodes: Vec<Server> = (0..3).map(|_| Server::with(&options)).collect();
        for (node, (first, last)) in nodes.iter().zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)]) {
            let slots: Vec<String> = (first..=last).map(|slot: u16| slot.to_string()).collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            node.run::<()>(&command);
            node.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(first + 1).to_string()]);
        }
        for node in &nodes[1..] {
            nodes[0].run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]);
        }
        let cluster = Self { nodes };
        cluster.agree();
        cluster
    }

    /// Until every node knows of every slot.
    pub fn agree(&self) {
        let deadline = Instant::now() + PATIENCE;
        let is_whole = |node: &Server| {
            let info: String = node.run(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        };
        while !self.nodes.iter().all(is_whole) {
            assert!(Instant::now() < deadline, "the nodes do not agree");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The node that has the slot of a key.
    pub fn owner(&self, key: &str) -> usize {
        let slot: usize = self.nodes[0].run(&["CLUSTER", "KEYSLOT", key]);
        [5_460, 10_922, 16_383].iter().position(|last| slot <= *last).unwrap()
    }
}

/// Below the ports that the system gives to clients; that of the cluster's bus is 10,000 above.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 5_000).unwrap();
    for _ in 0..2_000 {
        let port = 12_000 + (own + NEXT.fetch_add(7, Ordering::Relaxed)) % 10_000;
        if [port, port + 10_000].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
    panic!("no free port");
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && (&answer == b"+PONG\r\n" || answer.starts_with(b"-NOAUTH"))
}

/// A busy machine may take its time.
pub fn patient() -> RedisOptions {
    RedisStore::options().connect_timeout(Duration::from_secs(5)).response_timeout(PATIENCE)
}

pub async fn connect(server: &Server) -> RedisStore {
    patient().connect(&server.url()).await.unwrap()
}

/// Tries until it brings something.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn version(epoch: u64, stamp: u64, begun: u64) -> Version {
    Version { epoch, stamp, begun }
}

/// An entry with a body.
pub fn item(key: &str, version: Version, body: &[u8]) -> Item {
    let mut bytes = b"isrtests".to_vec();
    bytes.extend_from_slice(&version.to_bytes());
    bytes.extend_from_slice(body);
    Item { key: StoreKey::of(key), version, bytes: bytes.into(), keep: Duration::from_secs(60) }
}

pub fn tag(name: &str) -> Mark {
    Mark::from_text(&format!("et{name}"))
}

pub fn tags(range: std::ops::Range<usize>) -> Vec<Mark> {
    range.map(|n| tag(&n.to_string())).collect()
}

/// All marks of a ledger, without their stamps.
pub async fn marks(store: &RedisStore) -> Vec<Mark> {
    store.changes(None, 0).await.unwrap().marks.into_iter().map(|(mark, _)| mark).collect()
}

/// Of nobody else in this process.
pub fn unused_namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
