//! A server on a port of its own, and a client that reads HTTP/1 byte by byte. Nothing here sleeps: the time limit only
//! ends tests that would hang.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A net under what must come anyway.
pub async fn soon<F: Future>(what: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(Duration::from_secs(20), what).await else {
        panic!("nothing came for twenty seconds");
    };
    output
}

/// Lets everything run until something is true.
pub async fn eventually(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub struct Server {
    pub address: SocketAddr,
    /// Bodies of answers that the server has not dropped yet.
    pub open: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<AtomicUsize> = Arc::default();
        let counter = Arc::clone(&open);
        let app = app.layer(axum::middleware::map_response(move |response: Response| {
            let open = Arc::clone(&counter);
            open.fetch_add(1, Ordering::SeqCst);
            std::future::ready(response.map(|body| Body::new(Counted { body, open })))
        }));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
        });
        Self { address, open, stop: Some(stop), task }
    }

    /// Takes no more connections, and ends those that are idle.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub async fn ended(self) {
        soon(self.task).await.unwrap();
    }

    pub async fn bodies_are(&self, n: usize) {
        eventually(|| self.open.load(Ordering::SeqCst) == n).await;
    }
}

/// A body that is counted as long as the server holds it.
struct Counted {
    body: Body,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection on which the kernel takes little: who does not read stalls the other end soon.
pub async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let stream = soon(socket.connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The head of an answer, names in lower case.
#[derive(Debug)]
pub struct Head {
    pub line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Empty if there is none, joined if there are several.
    pub fn get(&self, name: &str) -> String {
        let all = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        all.collect::<Vec<_>>().join(", ")
    }

    pub fn state(&self) -> String {
        self.get("x-vinext-cache")
    }
}

impl Client {
    pub async fn connect(server: &Server) -> Self {
        Self { stream: connect(server.address).await, read: Vec::new() }
    }

    pub async fn write(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    /// More bytes; `false` at the end of the connection, orderly or not.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match soon(self.stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend_from_slice(&buffer[..n]);
                true
            }
        }
    }

    /// Everything up to and without a separator.
    async fn up_to(&mut self, separator: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(separator.len()).position(|w| w == separator.as_bytes()) {
                let text = String::from_utf8(self.read[..at].to_vec()).unwrap();
                self.read.drain(..at + separator.len());
                return text;
            }
            assert!(self.more().await, "ended after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    pub async fn head(&mut self) -> Head {
        let text = self.up_to("\r\n\r\n").await;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        assert!(line.starts_with("HTTP/1."), "not a head: {text:?}");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Head { line, headers: lines.map(header).collect() }
    }

    pub async fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.read.len() < n {
            assert!(self.more().await, "ended {} bytes early", n - self.read.len());
        }
        self.read.drain(..n).collect()
    }

    /// One chunk of the chunked coding; the last one is empty.
    pub async fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(&self.up_to("\r\n").await, 16).unwrap();
        let chunk = self.exactly(size).await;
        assert_eq!(self.exactly(2).await, b"\r\n");
        String::from_utf8(chunk).unwrap()
    }

    /// An answer to `method`, by the rules of RFC 9112 §6.3.
    pub async fn answer(&mut self, method: &str) -> (Head, String) {
        let head = self.head().await;
        let body = if method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304) {
            String::new()
        } else if head.get("transfer-encoding") == "chunked" {
            assert_eq!(head.get("content-length"), "");
            let mut body = String::new();
            loop {
                match self.chunk().await {
                    chunk if chunk.is_empty() => break body,
                    chunk => body.push_str(&chunk),
                }
            }
        } else if head.get("content-length").is_empty() {
            self.until_the_end().await
        } else {
            let length = head.get("content-length").parse().unwrap();
            String::from_utf8(self.exactly(length).await).unwrap()
        };
        (head, body)
    }

    /// Asks and reads the whole answer.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &str) -> (Head, String) {
        self.write(&request(method, path, headers)).await;
        self.answer(method).await
    }

    /// What still comes, until the connection ends.
    pub async fn until_the_end(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }
}

/// A request without a body; `headers` with their line ends.
pub fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n")
}
