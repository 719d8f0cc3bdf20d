//! Scripts: what has to happen in one step.

use std::sync::LazyLock;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};

/// A Lua script, and the name under which a server knows it once it has run it.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

/// How a script is named in a command.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// The server has forgotten it after a restart.
    Hash,
    Code,
}

macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| {
            let code = concat!($(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+);
            Script { code, hash: redis::Script::new(code).get_hash().to_owned() }
        })
    };
}

pub(super) static PUT: LazyLock<Script> = script!("newer", "put");
pub(super) static REMOVE: LazyLock<Script> = script!("newer", "remove");
pub(super) static LEASE: LazyLock<Script> = script!("lease");
pub(super) static RELEASE: LazyLock<Script> = script!("release");
pub(super) static INVALIDATE: LazyLock<Script> = script!("open", "invalidate");
pub(super) static CHANGES: LazyLock<Script> = script!("open", "changes");

impl Script {
    /// Every key that it touches is among `keys`, and all of them lie in one slot: so a cluster can tell where to run it.
    pub(super) fn command(&self, by: By, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        let mut command = match by {
            By::Hash => redis::cmd("EVALSHA"),
            By::Code => redis::cmd("EVAL"),
        };
        command.arg(match by {
            By::Hash => &self.hash,
            By::Code => self.code,
        });
        command.arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        for argument in arguments {
            command.arg(argument);
        }
        command
    }

    /// Runs it, by its code if the server does not know it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        match self.command(By::Hash, keys, arguments).query_async(connection).await {
            Err(error) if is_unknown(&error) => self.command(By::Code, keys, arguments).query_async(connection).await,
            other => other,
        }
    }
}

/// Whether the server does not know a script.
pub(super) fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
