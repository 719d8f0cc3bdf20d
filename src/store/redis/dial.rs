//! How connections are made: one for entries, and one for the ledger, which is always to the primary that has it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisFuture, RedisResult, Value,
};

use super::address::sibling;
use super::hint::Hint;
use super::link::{Dial, Lost};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

impl Timeouts {
    fn config(self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.response))
    }

    async fn open(self, info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        Client::open(info)?.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    /// A connection that tells when it is `lost`, and when there is a `message`: which takes version 3 of the protocol.
    async fn open_told(
        self,
        info: ConnectionInfo,
        lost: Lost,
        message: impl Fn() + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let config = self.config().set_push_sender(move |push: PushInfo| {
            match push.kind {
                PushKind::Message => message(),
                PushKind::Disconnection => lost.tell(),
                _ => {}
            }
            Ok::<(), ()>(())
        });
        let client = Client::open(info.set_redis_settings(redis))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// Host and port, for people.
pub(super) fn addresses(servers: &[ConnectionInfo]) -> String {
    servers.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>().join(", ")
}

/// Dials what entries are sent to, when there is one server.
pub(super) struct OneServer {
    pub(super) info: ConnectionInfo,
    pub(super) timeouts: Timeouts,
    pub(super) address: String,
}

impl Dial for OneServer {
    type Connection = MultiplexedConnection;

    const HEALS: bool = false;

    /// Told of its end, so that no call is lost on a connection that was closed while nobody used it.
    async fn dial(&self, lost: Lost) -> RedisResult<MultiplexedConnection> {
        match self.timeouts.open_told(self.info.clone(), lost, || {}).await {
            Err(error) if error.kind() == ErrorKind::RESP3NotSupported => self.timeouts.open(self.info.clone()).await,
            other => other,
        }
    }

    fn address(&self) -> &str {
        &self.address
    }
}

/// Dials what entries are sent to, when they are spread over a cluster.
pub(super) struct WholeCluster {
    client: ClusterClient,
    address: String,
}

impl WholeCluster {
    pub(super) fn new(seeds: &[ConnectionInfo], timeouts: Timeouts) -> RedisResult<Self> {
        // One try more than the first, for slots that have moved; all within the time of one answer.
        let client = ClusterClientBuilder::new(seeds.to_vec())
            .retries(1)
            .min_retry_wait(1)
            .max_retry_wait(5)
            .connection_timeout(timeouts.connect)
            .response_timeout(timeouts.response)
            .build()?;
        Ok(Self { client, address: addresses(seeds) })
    }
}

impl Dial for WholeCluster {
    type Connection = ClusterConnection;

    const HEALS: bool = true;

    async fn dial(&self, _lost: Lost) -> RedisResult<ClusterConnection> {
        self.client.get_async_connection().await
    }

    fn address(&self) -> &str {
        &self.address
    }
}

/// A connection for entries.
pub(super) enum Entries {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Entries {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Dials the primary that has the ledger. Hints come over the same connection, if the server can do that.
pub(super) struct Primary {
    place: Place,
    timeouts: Timeouts,
    channel: String,
    pub(super) hint: Arc<Hint>,
    address: String,
}

enum Place {
    Known(ConnectionInfo),
    /// On one of a cluster's nodes: these can tell.
    Cluster {
        ledger: String,
        nodes: Mutex<Vec<ConnectionInfo>>,
        seeds: Vec<ConnectionInfo>,
    },
}

impl Primary {
    pub(super) fn of_server(info: ConnectionInfo, channel: String, timeouts: Timeouts) -> Self {
        let address = info.addr().to_string();
        Self { place: Place::Known(info), timeouts, channel, hint: Arc::default(), address }
    }

    pub(super) fn of_cluster(seeds: Vec<ConnectionInfo>, ledger: String, channel: String, timeouts: Timeouts) -> Self {
        let address = addresses(&seeds);
        let place = Place::Cluster { ledger, nodes: Mutex::default(), seeds };
        Self { place, timeouts, channel, hint: Arc::default(), address }
    }

    async fn find(&self) -> RedisResult<ConnectionInfo> {
        let (ledger, nodes, seeds) = match &self.place {
            Place::Known(info) => return Ok(info.clone()),
            Place::Cluster { ledger, nodes, seeds } => (ledger, nodes, seeds),
        };
        // Those that were there last, too: the first may have left for good.
        let known = nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut problem = (ErrorKind::ClusterConnectionNotFound, "no node of the cluster answered").into();
        for node in seeds.iter().chain(&known) {
            match self.ask(node, ledger).await {
                Ok((primary, all)) => {
                    *nodes.lock().unwrap_or_else(PoisonError::into_inner) = all;
                    return Ok(primary);
                }
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// Asks a node for the primary of the ledger's slot, and for all primaries.
    async fn ask(&self, node: &ConnectionInfo, ledger: &str) -> RedisResult<(ConnectionInfo, Vec<ConnectionInfo>)> {
        let mut connection = self.timeouts.open(node.clone()).await?;
        let slot: i64 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(ledger).query_async(&mut connection).await?;
        let ranges: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
        let mut owner = None;
        let mut all = Vec::with_capacity(ranges.len());
        for range in ranges {
            let [first, last, primary, ..] = range.as_slice() else { continue };
            let (first, last): (i64, i64) = (redis::from_redis_value_ref(first)?, redis::from_redis_value_ref(last)?);
            let Value::Array(primary) = primary else { continue };
            let [host, port, ..] = primary.as_slice() else { continue };
            // A node that does not know its name is reached as it was now.
            let host: Option<String> = redis::from_redis_value_ref(host)?;
            let host = host.filter(|host| !host.is_empty() && host != "?");
            let primary = sibling(node, host, redis::from_redis_value_ref(port)?);
            if (first..=last).contains(&slot) {
                owner = Some(primary.clone());
            }
            all.push(primary);
        }
        match owner {
            Some(owner) => Ok((owner, all)),
            None => Err((ErrorKind::ClusterConnectionNotFound, "no node has the ledger's slot").into()),
        }
    }

    async fn open_with_hints(&self, info: ConnectionInfo, lost: Lost) -> RedisResult<MultiplexedConnection> {
        let hint = Arc::clone(&self.hint);
        let mut connection = self.timeouts.open_told(info, lost, move || hint.ring()).await?;
        match connection.subscribe(&self.channel).await {
            Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) => Err(error),
            // Who may not subscribe polls.
            _ => Ok(connection),
        }
    }
}

impl Dial for Primary {
    type Connection = MultiplexedConnection;

    const HEALS: bool = false;

    async fn dial(&self, lost: Lost) -> RedisResult<MultiplexedConnection> {
        let info = self.find().await?;
        let connection = match self.open_with_hints(info.clone(), lost).await {
            Err(error) if error.kind() == ErrorKind::RESP3NotSupported => self.timeouts.open(info).await?,
            other => other?,
        };
        // Hints may have been missed while there was no connection.
        self.hint.ring();
        Ok(connection)
    }

    fn address(&self) -> &str {
        &self.address
    }
}
