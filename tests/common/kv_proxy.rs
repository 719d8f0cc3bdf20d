//! The REST API in front of a gateway, and everything that a service can do wrong.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, missing_debug_implementations)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_isr::store::{CloudflareKv, CloudflareKvOptions};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::kv::{Gateway, TOKEN, patient};

/// What the API is asked with; not what the gateway is.
pub const API_TOKEN: &str = "the-token-of-the-account";

const BASE: &str = "/client/v4/accounts/account/storage/kv/namespaces/kv";

/// What goes wrong, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It takes longer.
    Delay(Duration),
    /// It is not done, and this is said.
    Says(u16, Vec<(&'static str, String)>, String),
    /// It is done, and this is said.
    DoneBut(u16, String),
    /// Of a batch, pairs whose keys have this in them are not written, and that is said.
    Unsuccessful(&'static str),
    /// Half of a batch is written, and then the connection ends without an answer.
    CutInTheMiddle,
    /// The connection ends in the middle of the answer.
    CutAnswer,
    /// The answer is of so many bytes, and none of them are any good.
    Giant(usize),
}

/// Of which calls: method, and the first part of the path behind the namespace.
type About = (Method, &'static str);

/// A call, as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub bytes: usize,
    /// Of a batch.
    pub pairs: usize,
}

struct Shared {
    gateway: Arc<Gateway>,
    client: Client<HttpConnector, Body>,
    faults: Mutex<VecDeque<(About, Fault)>>,
    calls: Mutex<Vec<Call>>,
}

/// The API, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(gateway: Arc<Gateway>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let shared = Arc::new(Shared { gateway, client, faults: Mutex::default(), calls: Mutex::default() });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn base(&self) -> String {
        format!("http://{}/client/v4", self.address)
    }

    /// Over the API.
    pub fn rest(&self) -> CloudflareKvOptions {
        patient(CloudflareKv::rest("account", "kv", API_TOKEN).api_base(self.base()))
    }

    /// As a gateway.
    pub fn gateway(&self) -> CloudflareKvOptions {
        patient(CloudflareKv::gateway(format!("http://{}", self.address), TOKEN))
    }

    /// The next call of this kind goes wrong; several, one after the other.
    pub fn next(&self, method: Method, what: &'static str, fault: Fault) {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back(((method, what), fault));
    }

    pub fn forget_faults(&self) {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What has come since this was asked last.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn says(status: u16, code: i64, message: &str) -> Response {
    let body = json!({"success": false, "errors": [{"code": code, "message": message}], "result": null});
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let is_rest = path.starts_with("/client/");
    let path = if is_rest {
        match path.strip_prefix(BASE) {
            Some(path) => path.to_owned(),
            None => return says(404, 10_013, "namespace not found"),
        }
    } else {
        path.to_owned()
    };
    let expected = format!("Bearer {}", if is_rest { API_TOKEN } else { TOKEN });
    if parts.headers.get(header::AUTHORIZATION).is_none_or(|given| given != &expected) {
        return says(403, 10_000, "Authentication error");
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let pairs: Vec<Value> = if path == "/bulk" { serde_json::from_slice(&body).unwrap() } else { Vec::new() };
    let call = Call { method: parts.method.clone(), path: path.clone(), bytes: body.len(), pairs: pairs.len() };
    shared.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    if is_rest && pairs.len() > 10_000 {
        return says(400, 10_026, "more than 10000 pairs");
    }
    let fault = {
        let mut faults = shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let is_about = |(method, what): &About| *method == parts.method && path[1..].starts_with(what);
        let at = faults.iter().position(|(about, _)| is_about(about));
        at.and_then(|at| faults.remove(at)).map(|(_, fault)| fault)
    };
    let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
    let forward = async |body: Bytes| shared.forward(parts.method.clone(), &path, kind.clone(), body).await;
    let text = |status: u16, text: String| (StatusCode::from_u16(status).unwrap(), text).into_response();
    match fault {
        None => forward(body).await,
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            forward(body).await
        }
        Some(Fault::Says(status, headers, said)) => {
            let mut response = text(status, said);
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Some(Fault::DoneBut(status, said)) => {
            forward(body).await;
            text(status, said)
        }
        Some(Fault::Unsuccessful(part)) => {
            let (left, rest): (Vec<_>, Vec<_>) =
                pairs.into_iter().partition(|pair| pair["key"].as_str().unwrap().contains(part));
            forward(serde_json::to_vec(&rest).unwrap().into()).await;
            let left: Vec<_> = left.iter().map(|pair| &pair["key"]).collect();
            let result = json!({"successful_key_count": rest.len(), "unsuccessful_keys": left});
            axum::Json(json!({"success": true, "errors": [], "result": result})).into_response()
        }
        Some(Fault::CutInTheMiddle) => {
            let half = &pairs[..pairs.len() / 2];
            forward(serde_json::to_vec(half).unwrap().into()).await;
            // Silently: the server drops the connection.
            std::panic::resume_unwind(Box::new("cut"))
        }
        Some(Fault::CutAnswer) => {
            let response = forward(body).await;
            let whole = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let half = Ok(whole.slice(..whole.len() / 2));
            let cut = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            Body::from_stream(futures_util::stream::iter([half, cut])).into_response()
        }
        Some(Fault::Giant(bytes)) => {
            let chunk = Bytes::from(vec![b'x'; 1 << 16]);
            let chunks = (0..bytes >> 16).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
    }
}

impl Shared {
    async fn forward(&self, method: Method, path: &str, kind: Option<header::HeaderValue>, body: Bytes) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.gateway.url()))
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Body::from(body)).unwrap();
        match self.client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => says(502, 10_001, &error.to_string()),
        }
    }
}
