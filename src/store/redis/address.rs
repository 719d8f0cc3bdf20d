//! Where servers are: URLs, read and checked.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::error::setting;
use crate::store::error::StoreError;

const SCHEMES: &str = "redis://, rediss://, valkey://, valkeys://, redis+unix:// or unix://";

/// Nothing of the URL is repeated in an error: it may hold a password, at a place where none is expected too.
pub(super) fn read(url: &str) -> Result<ConnectionInfo, StoreError> {
    let scheme = url.split("://").next().unwrap_or_default();
    let is_tls = matches!(scheme, "rediss" | "valkeys");
    if is_tls && !cfg!(feature = "redis-tls") {
        return Err(setting(
            "expected a URL without TLS (redis://), got rediss://, which takes the feature `redis-tls`",
        ));
    }
    if is_tls && url.contains('#') {
        return Err(setting("expected a rediss:// URL without a fragment: certificates are always checked"));
    }
    let info = url.into_connection_info().map_err(|error| {
        let reason = error.category().to_owned();
        setting(format!("expected a URL that begins with {SCHEMES} and has a host, got another text ({reason})"))
    })?;
    #[cfg(feature = "redis-tls")]
    if is_tls {
        crate::web::provide_cryptography();
    }
    Ok(info)
}

/// Another node of the same cluster: the same credentials and encryption.
pub(super) fn sibling(of: &ConnectionInfo, host: Option<String>, port: u16) -> ConnectionInfo {
    let addr = match of.addr().clone() {
        ConnectionAddr::Tcp(own, _) => ConnectionAddr::Tcp(host.unwrap_or(own), port),
        ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.unwrap_or(own), port, insecure, tls_params }
        }
        other => other,
    };
    of.clone().set_addr(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_the_url() {
        for url in
            ["", "hunter2", "http://:hunter2@a", "redis://:hunter2@a/hunter2", "redis://:hunter2@:1", "hunter2://"]
        {
            let error = read(url).expect_err(url);
            let text = format!("{error} {error:?}");
            assert!(text.contains("redis://") && !text.contains("hunter2"), "{url}: {text}");
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn encryption_without_its_feature_names_it() {
        let error = read("rediss://localhost").expect_err("no TLS");
        assert!(format!("{error:?}").contains("`redis-tls`"), "{error:?}");
    }
}
