//! What can be set before a store is connected.

use std::time::Duration;

use redis::ConnectionInfo;
use tokio::runtime::Handle;

use super::address;
use super::dial::{OneServer, Primary, Timeouts, WholeCluster, addresses};
use super::entries::Entries;
use super::error::{self, setting};
use super::keys::Keys;
use super::ledger::Ledger;
use super::store::{Inner, RedisStore};
use crate::store::error::{StoreError, StoreErrorKind};

/// Settings of a [`RedisStore`], checked when it is connected.
///
/// ```no_run
/// # async fn example() -> Result<(), axum_isr::store::StoreError> {
/// use axum_isr::store::RedisStore;
///
/// let store = RedisStore::options().namespace("blog").replicas(1).connect("redis://10.0.0.1").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a store is there once it is connected"]
pub struct RedisOptions {
    namespace: String,
    replicas: usize,
    max_marks: usize,
    timeouts: Timeouts,
}

impl RedisOptions {
    pub(super) fn new() -> Self {
        let timeouts = Timeouts { connect: Duration::from_millis(250), response: Duration::from_millis(100) };
        Self { namespace: "isr".to_owned(), replicas: 0, max_marks: 65_536, timeouts }
    }

    /// Keeps apart what shares a server: stores of different namespaces see nothing of each other. Letters, digits, `_`
    /// and `-`. `isr` by default.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    /// How many replicas must know of a mark before it counts as noted. With fewer, an invalidation is an error (and may
    /// be in effect all the same). They have four fifths of the [response timeout](Self::response_timeout). None by
    /// default.
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// How many marks are kept apart; older ones count as marks on everything. 65,536 by default; every process that
    /// shares the store should say the same.
    pub fn max_marks(self, max_marks: usize) -> Self {
        Self { max_marks, ..self }
    }

    /// How long a try to connect may take. Nobody waits for it but [`connect`](Self::connect), once. 250 ms by default.
    pub fn connect_timeout(self, connect: Duration) -> Self {
        Self { timeouts: Timeouts { connect, ..self.timeouts }, ..self }
    }

    /// How long an answer may take. 100 ms by default.
    pub fn response_timeout(self, response: Duration) -> Self {
        Self { timeouts: Timeouts { response, ..self.timeouts }, ..self }
    }

    /// Connects to one server: see [`RedisStore::connect`].
    ///
    /// # Errors
    ///
    /// When a setting or the URL cannot be, and outside a tokio runtime. Not when the server is out of reach.
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        let runtime = self.check()?;
        let info = address::read(url)?;
        let keys = Keys::new(self.namespace.clone());
        let address = info.addr().to_string();
        let primary = Primary::of_server(info.clone(), keys.hint.clone(), self.timeouts);
        let ledger = self.ledger(primary, &runtime).await;
        let dial = OneServer { info, timeouts: self.timeouts, address: address.clone() };
        let entries = Entries::on_server(dial, &runtime).await;
        Ok(RedisStore::new(Inner { keys, entries, ledger, address }))
    }

    /// Connects to a cluster, of which some nodes are named: see [`RedisStore::connect_cluster`].
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); and without a URL.
    pub async fn connect_cluster<U>(self, urls: impl IntoIterator<Item = U>) -> Result<RedisStore, StoreError>
    where
        U: AsRef<str>,
    {
        let runtime = self.check()?;
        let seeds =
            urls.into_iter().map(|url| address::read(url.as_ref())).collect::<Result<Vec<ConnectionInfo>, _>>()?;
        if seeds.is_empty() {
            return Err(setting("expected the URL of at least one node of the cluster, got none"));
        }
        let keys = Keys::new(self.namespace.clone());
        let address = addresses(&seeds);
        let dial = WholeCluster::new(&seeds, self.timeouts).map_err(error::of)?;
        let primary = Primary::of_cluster(seeds, keys.ledger.clone(), keys.hint.clone(), self.timeouts);
        let ledger = self.ledger(primary, &runtime).await;
        let entries = Entries::on_cluster(dial, &runtime).await;
        Ok(RedisStore::new(Inner { keys, entries, ledger, address }))
    }

    async fn ledger(&self, primary: Primary, runtime: &Handle) -> Ledger {
        let replicas = (self.replicas, self.timeouts.response * 4 / 5);
        Ledger::start(primary, self.max_marks, replicas, runtime).await
    }

    fn check(&self) -> Result<Handle, StoreError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.namespace.is_empty() || !self.namespace.bytes().all(is_plain) {
            return Err(setting(format!("namespace: expected letters, digits, _ and -, got {:?}", self.namespace)));
        }
        if self.max_marks == 0 {
            return Err(setting("max_marks: expected at least 1, got 0"));
        }
        if self.timeouts.connect.is_zero() || self.timeouts.response.is_zero() {
            return Err(setting("expected timeouts above zero"));
        }
        Handle::try_current().map_err(|_| StoreError::new(StoreErrorKind::Internal, "there is no tokio runtime here"))
    }
}
