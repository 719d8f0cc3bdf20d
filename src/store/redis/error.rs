//! What the client's errors mean.

use redis::{ErrorKind, RedisError, ServerErrorKind as Server};

use crate::store::error::{StoreError, StoreErrorKind as Kind};

/// A client's error as one of a store.
pub(super) fn of(error: RedisError) -> StoreError {
    StoreError::new(kind(&error), error)
}

/// A setting that cannot be: what was expected and what came, without secrets.
pub(super) fn setting(problem: impl Into<String>) -> StoreError {
    StoreError::new(Kind::Denied, problem.into())
}

/// An answer that the store should not have given.
pub(super) fn corrupt(problem: impl Into<String>) -> StoreError {
    StoreError::new(Kind::Corrupt, problem.into())
}

/// Whether a connection that has brought this error has to be replaced: it is gone, or what is at its other end may not be
/// written to any more.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => !error.is_timeout(),
        ErrorKind::Server(kind) => matches!(kind, Server::ReadOnly | Server::MasterDown | Server::Moved),
        ErrorKind::Parse | ErrorKind::AuthenticationFailed => true,
        _ => false,
    }
}

fn kind(error: &RedisError) -> Kind {
    if error.is_timeout() {
        return Kind::TimedOut;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::RESP3NotSupported
        | ErrorKind::Server(Server::NoPerm) => Kind::Denied,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Kind::Corrupt,
        ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::Server(
            Server::BusyLoading
            | Server::TryAgain
            | Server::ClusterDown
            | Server::MasterDown
            | Server::ReadOnly
            | Server::Moved
            | Server::Ask,
        ) => Kind::Unavailable,
        _ => match error.clone().into_server_errors().as_deref() {
            // Of several commands, the first that was refused tells why.
            Some([(_, first), ..]) => said(first.code(), first.details().unwrap_or_default()),
            _ => Kind::Internal,
        },
    }
}

/// What a server says that the client has no kind for. Before version 7, what goes wrong in a script is an `ERR` with the
/// reason at its end: `…: -OOM command not allowed …`.
fn said(code: &str, detail: &str) -> Kind {
    let inner = detail.rsplit_once(": -").and_then(|(_, inner)| inner.split(' ').next());
    let code = if code == "ERR" { inner.unwrap_or(code) } else { code };
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Kind::Denied,
        "OOM" => Kind::Full,
        "WRONGTYPE" | "ISRCORRUPT" => Kind::Corrupt,
        "MISCONF" | "NOREPLICAS" | "BUSY" | "READONLY" | "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => {
            Kind::Unavailable
        }
        "ERR" if detail.starts_with("max number of clients") => Kind::Unavailable,
        "ERR" if detail.contains("WRONGTYPE Operation") => Kind::Corrupt,
        "ERR" if detail.contains("cluster support disabled") => Kind::Denied,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_has_a_kind() {
        for (line, expected) in [
            ("NOAUTH Authentication required.", Kind::Denied),
            ("WRONGPASS invalid username-password pair or user is disabled.", Kind::Denied),
            ("NOPERM this user has no permissions to run the 'get' command", Kind::Denied),
            ("OOM command not allowed when used memory > 'maxmemory'.", Kind::Full),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Kind::Corrupt),
            ("READONLY You can't write against a read only replica.", Kind::Unavailable),
            ("LOADING Redis is loading the dataset in memory", Kind::Unavailable),
            ("CLUSTERDOWN The cluster is down", Kind::Unavailable),
            ("MASTERDOWN Link with MASTER is down", Kind::Unavailable),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Kind::Unavailable),
            ("MOVED 3999 127.0.0.1:6381", Kind::Unavailable),
            ("MISCONF Redis is configured to save RDB snapshots", Kind::Unavailable),
            ("ERR max number of clients reached", Kind::Unavailable),
            ("ERR This instance has cluster support disabled", Kind::Denied),
            ("ERR syntax error", Kind::Internal),
            ("ISRCORRUPT the ledger has no epoch", Kind::Corrupt),
            (
                "ERR Error running script (call to f_0): @user_script:3: @user_script: 3: -OOM command not allowed",
                Kind::Full,
            ),
            (
                "ERR Error running script (call to f_0): @user_script:1: WRONGTYPE Operation against a key",
                Kind::Corrupt,
            ),
        ] {
            let error = redis::parse_redis_value(format!("-{line}\r\n").as_bytes())
                .and_then(redis::Value::extract_error)
                .expect_err(line);
            assert_eq!(of(error).kind(), expected, "{line}");
        }
    }
}
