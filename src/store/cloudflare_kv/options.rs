//! What can be set before a store is made.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::api::{Api, Kind};
use super::entries::Kept;
use super::error::{Token, setting};
use super::keys::{Keys, LONGEST_NAMESPACE};
use super::ledger::{Ledger, Settings};
use super::store::{CloudflareKv, Inner};
use crate::store::error::StoreError;

const REST: &str = "https://api.cloudflare.com/client/v4";

/// Settings of a [`CloudflareKv`], checked when it is [built](Self::build).
///
/// ```
/// # fn example() -> Result<(), axum_isr::store::StoreError> {
/// use axum_isr::store::CloudflareKv;
///
/// let store = CloudflareKv::gateway("https://isr-kv.example.workers.dev", "a long random token")
///     .namespace("blog")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a store is there once it is built"]
pub struct CloudflareKvOptions {
    service: Service,
    token: Token,
    namespace: String,
    back_off: Duration,
    connect: Duration,
    response: Duration,
    ledger: Settings,
}

#[derive(Clone, Debug)]
enum Service {
    Rest { base: String, account: String, kv: String },
    Gateway { url: String },
}

impl CloudflareKvOptions {
    pub(super) fn rest(account: String, kv: String, token: String) -> Self {
        Self::new(Service::Rest { base: REST.to_owned(), account, kv }, token)
    }

    pub(super) fn gateway(url: String, token: String) -> Self {
        Self::new(Service::Gateway { url }, token)
    }

    fn new(service: Service, token: String) -> Self {
        Self {
            service,
            token: Token(token),
            namespace: "isr".to_owned(),
            back_off: Duration::from_secs(1),
            connect: Duration::from_secs(2),
            response: Duration::from_secs(10),
            ledger: Settings {
                max_marks: 65_536,
                retention: Duration::from_secs(30 * 86_400),
                late: Duration::from_secs(60),
                write_every: Duration::from_secs(1),
            },
        }
    }

    /// Keeps apart what shares a KV namespace: the first part of every key. Stores of different namespaces see nothing of
    /// each other. Letters, digits, `_` and `-`, 64 at most. `isr` by default.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    /// Where the REST API is, up to its version: for a proxy of one's own, and for tests. A gateway has its own URL
    /// already, and this does nothing. `https://api.cloudflare.com/client/v4` by default.
    pub fn api_base(mut self, url: impl Into<String>) -> Self {
        if let Service::Rest { base, .. } = &mut self.service {
            *base = url.into();
        }
        self
    }

    /// How many marks of this process are kept apart; older ones count as marks on everything. 65,536 by default, and
    /// not more than fit into 8 MiB.
    pub fn max_marks(self, max_marks: usize) -> Self {
        Self { ledger: Settings { max_marks, ..self.ledger }, ..self }
    }

    /// For how long marks are kept: not less than [`IsrBuilder::retention`](crate::IsrBuilder::retention) of any process,
    /// for what is invalidated must not outlive its mark. Kept for a day longer, and for longer still if this process has
    /// stored something that stays longer. 30 days by default.
    pub fn retention(self, retention: Duration) -> Self {
        Self { ledger: Settings { retention, ..self.ledger }, ..self }
    }

    /// How long it takes until others can read what was written: [`Profile::late`](crate::store::Profile::late). 60 s by
    /// default, as KV says of itself; the same in all processes.
    pub fn late(self, late: Duration) -> Self {
        Self { ledger: Settings { late, ..self.ledger }, ..self }
    }

    /// How long after one invalidation the next one is written; those between are written together. 1 s by default, since
    /// KV takes one write a second to a key.
    pub fn write_every(self, write_every: Duration) -> Self {
        Self { ledger: Settings { write_every, ..self.ledger }, ..self }
    }

    /// How long [`put_many`](crate::store::Store::put_many) waits before it tries again what has failed; twice as long
    /// after each of five tries. 1 s by default.
    pub fn back_off(self, back_off: Duration) -> Self {
        Self { back_off, ..self }
    }

    /// How long a try to connect may take. 2 s by default.
    pub fn connect_timeout(self, connect: Duration) -> Self {
        Self { connect, ..self }
    }

    /// How long an answer may take, and twelve times as long for many entries at once. The cache gives calls that somebody
    /// waits for shorter [deadlines](crate::IsrBuilder::store_deadlines). 10 s by default.
    pub fn response_timeout(self, response: Duration) -> Self {
        Self { response, ..self }
    }

    /// Makes the store. Asks for nothing: whether the service can be reached, and takes the token, is seen by the first
    /// call.
    ///
    /// # Errors
    ///
    /// When a setting cannot be: which one, what was expected and what came. Without the token.
    pub fn build(self) -> Result<CloudflareKv, StoreError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let namespace = &self.namespace;
        if !(1..=LONGEST_NAMESPACE).contains(&namespace.len()) || !namespace.bytes().all(is_plain) {
            let expected = format!("1 to {LONGEST_NAMESPACE} letters, digits, _ and -");
            return Err(setting(format!("namespace: expected {expected}, got {namespace:?}")));
        }
        if self.token.0.trim().is_empty() {
            return Err(setting("token: expected one, got none"));
        }
        if self.ledger.max_marks == 0 {
            return Err(setting("max_marks: expected at least 1, got 0"));
        }
        if self.connect.is_zero() || self.response.is_zero() {
            return Err(setting("expected timeouts above zero"));
        }
        let (kind, base) = match &self.service {
            Service::Rest { base, account, kv } => {
                for (name, id) in [("account_id", account), ("namespace_id", kv)] {
                    if id.is_empty() || !id.bytes().all(is_plain) {
                        return Err(setting(format!("{name}: expected letters and digits, got {id:?}")));
                    }
                }
                let base = address("api_base", base)?;
                (Kind::Rest, format!("{base}/accounts/{account}/storage/kv/namespaces/{kv}"))
            }
            Service::Gateway { url } => (Kind::Gateway, address("the gateway's URL", url)?),
        };
        let api = Api::new(kind, base, self.token, self.connect, self.response)?;
        Ok(CloudflareKv::new(Inner {
            api: Arc::new(api),
            keys: Keys::new(self.namespace),
            kept: Kept::default(),
            ledger: Ledger::new(self.ledger),
            back_off: self.back_off,
            late: self.ledger.late,
        }))
    }
}

/// Checked, and without a slash at its end. Nothing of it is repeated: a password may be in it.
fn address(what: &str, url: &str) -> Result<String, StoreError> {
    let expected = |more| setting(format!("{what}: expected an https:// URL{more}, got another text"));
    let url = Url::parse(url).map_err(|_| expected(""))?;
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    // What goes there has the token in it.
    if url.scheme() != "https" && !(url.scheme() == "http" && is_here) {
        return Err(expected(" (http:// for this machine alone)"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(expected(" without user, query and fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
