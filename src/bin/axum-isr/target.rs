//! Where pages are written to.

use std::error::Error;

use axum_isr::prerender::{Populate, PopulateError, Populated};
use axum_isr::store::{DiskStore, StoreError};

use crate::failure::{Code, Failure};
use crate::options::STORES;

/// What `--to` names. It has no secrets in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Disk(String),
    Redis(String),
    Cloudflare(String),
}

/// What came of it, once there is a store.
pub(crate) type Filled = Result<Populated, PopulateError>;

impl Target {
    /// Nothing of what is refused is repeated: a password may be in it.
    pub(crate) fn read(to: &str) -> Result<Self, Failure> {
        if let Some(folder) = to.strip_prefix("disk:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Disk(folder.to_owned()));
        }
        if let Some(place) = to.strip_prefix("cloudflare-kv:").filter(|place| !place.is_empty()) {
            return Ok(Self::Cloudflare(place.to_owned()));
        }
        let schemes = ["redis", "rediss", "valkey", "valkeys", "redis+unix", "unix"];
        if to.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme)) {
            return Ok(Self::Redis(to.to_owned()));
        }
        Err(Failure::usage(format!("--to: expected {STORES}, got something else")))
    }

    /// Fills the store.
    pub(crate) async fn fill(self, namespace: Option<&str>, populate: Populate) -> Result<Filled, Failure> {
        match self {
            Self::Disk(_) if namespace.is_some() => {
                Err(Failure::usage("--namespace: expected none for disk:, whose folder keeps sites apart, got one"))
            }
            Self::Disk(folder) => {
                let store = DiskStore::open(folder).map_err(|problem| refused(&problem))?;
                Ok(populate.into_store(&store).await)
            }
            Self::Redis(url) => redis::fill(&url, namespace, populate).await,
            Self::Cloudflare(place) => cloudflare::fill(&place, namespace, populate).await,
        }
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::time::Duration;

    use axum_isr::prerender::Populate;
    use axum_isr::store::RedisStore;
    use reqwest::Url;

    use super::{Filled, refused};
    use crate::environment::{Secret, secret};
    use crate::failure::Failure;

    /// Batches are larger than what a visitor waits for.
    const CONNECT: Duration = Duration::from_secs(5);
    const RESPONSE: Duration = Duration::from_secs(30);

    pub(super) async fn fill(url: &str, namespace: Option<&str>, populate: Populate) -> Result<Filled, Failure> {
        let mut options = RedisStore::options().connect_timeout(CONNECT).response_timeout(RESPONSE);
        if let Some(namespace) = namespace {
            options = options.namespace(namespace);
        }
        let store = options.connect(&with_credentials(url)?).await.map_err(|problem| refused(&problem))?;
        Ok(populate.into_store(&store).await)
    }

    /// The command line of a process can be read by others; this URL stays inside.
    fn with_credentials(url: &str) -> Result<String, Failure> {
        let expected = |got| {
            Failure::usage(format!("--to: expected a redis:// URL without credentials, got {got}"))
                .hint("put them into REDIS_USERNAME and REDIS_PASSWORD: others can see the command line of a process")
        };
        let mut url = Url::parse(url).map_err(|_| expected("another text"))?;
        let is_known = |(name, _): (std::borrow::Cow<'_, str>, _)| matches!(&*name, "db" | "protocol");
        if !url.username().is_empty() || url.password().is_some() || !url.query_pairs().all(is_known) {
            return Err(expected("one with them"));
        }
        let (user, password) = (secret("REDIS_USERNAME")?, secret("REDIS_PASSWORD")?);
        let Some(password) = password else {
            return match user {
                None => Ok(url.into()),
                Some(_) => Err(Failure::usage("REDIS_PASSWORD: expected one beside REDIS_USERNAME, got none")),
            };
        };
        if url.scheme().ends_with("unix") {
            let mut query = url.query_pairs_mut();
            if let Some(user) = user {
                query.append_pair("user", user.reveal());
            }
            query.append_pair("pass", password.reveal());
            drop(query);
        } else {
            // A `%` would be taken for one of an escape.
            let part = |secret: &Secret| secret.reveal().replace('%', "%25");
            url.set_username(&user.as_ref().map(part).unwrap_or_default())
                .and_then(|()| url.set_password(Some(&part(&password))))
                .map_err(|()| expected("one without a host"))?;
        }
        Ok(url.into())
    }
}

#[cfg(not(feature = "redis"))]
mod redis {
    use axum_isr::prerender::Populate;

    use super::Filled;
    use crate::failure::Failure;

    #[allow(clippy::unused_async, reason = "as with the feature")]
    pub(super) async fn fill(_: &str, _: Option<&str>, _: Populate) -> Result<Filled, Failure> {
        Err(super::left_out("redis://", "redis"))
    }
}

#[cfg(feature = "cloudflare-kv")]
mod cloudflare {
    use axum_isr::prerender::Populate;
    use axum_isr::store::CloudflareKv;

    use super::{Filled, refused};
    use crate::environment::needed;
    use crate::failure::Failure;

    pub(super) async fn fill(place: &str, namespace: Option<&str>, populate: Populate) -> Result<Filled, Failure> {
        let mut options = if place.contains("://") {
            CloudflareKv::gateway(place, needed("AXUM_ISR_KV_TOKEN", "the token of the gateway")?.reveal())
        } else {
            let Some((account, kv)) = place.split_once('/') else {
                let expected = "expected cloudflare-kv:ACCOUNT/NAMESPACE or cloudflare-kv:https://GATEWAY";
                return Err(Failure::usage(format!("--to: {expected}, got something else")));
            };
            let token = needed("CLOUDFLARE_API_TOKEN", "an API token with `Workers KV Storage: Edit`")?;
            CloudflareKv::rest(account, kv, token.reveal())
        };
        if let Some(namespace) = namespace {
            options = options.namespace(namespace);
        }
        let store = options.build().map_err(|problem| refused(&problem))?;
        Ok(populate.into_store(&store).await)
    }
}

#[cfg(not(feature = "cloudflare-kv"))]
mod cloudflare {
    use axum_isr::prerender::Populate;

    use super::Filled;
    use crate::failure::Failure;

    #[allow(clippy::unused_async, reason = "as with the feature")]
    pub(super) async fn fill(_: &str, _: Option<&str>, _: Populate) -> Result<Filled, Failure> {
        Err(super::left_out("cloudflare-kv:", "cloudflare-kv"))
    }
}

#[cfg(not(all(feature = "redis", feature = "cloudflare-kv")))]
fn left_out(store: &str, feature: &str) -> Failure {
    Failure::usage(format!("--to: this program was built without {store}, which takes the feature `{feature}`"))
        .hint(format!("cargo install axum-isr --features cli,{feature}"))
}

/// A store that cannot be made: a setting.
fn refused(problem: &StoreError) -> Failure {
    Failure::usage(format!("--to: {}", chain(problem)))
}

/// Nothing was written, though there is an export.
pub(crate) fn stopped(problem: PopulateError) -> Failure {
    match problem {
        PopulateError::Invalid(problem) => {
            let hint = match problem.setting() {
                "deployment_id" | "scope" | "buildId" => {
                    "say which deployment it is: --deployment-id, as the new version has it (ISR_DEPLOYMENT_ID there)"
                }
                "signing_keys" => "ISR_SIGNING_KEY has to be what the site calls its first signing key",
                _ => "`axum-isr populate --help` says what can be set",
            };
            Failure::usage(problem.to_string()).hint(hint)
        }
        PopulateError::Store(store) if store.is_transient() => {
            Failure::new(Code::OutOfReach, format!("the store's ledger cannot be read: {}", chain(&store)))
                .hint("nothing was written; is the store there, and can it be reached from here? try again")
        }
        PopulateError::Store(store) => {
            Failure::new(Code::Failed, format!("the store's ledger cannot be read: {}", chain(&store)))
                .hint("nothing was written; look at the credentials, and at what they allow")
        }
        problem => Failure::new(Code::Failed, chain(&problem)),
    }
}

/// With everything that led to it, each part once.
fn chain(problem: &dyn Error) -> String {
    let mut text = problem.to_string();
    let mut next = problem.source();
    for _ in 0..16 {
        let Some(source) = next else { break };
        let said = format!(": {source}");
        if !text.ends_with(&said) {
            text.push_str(&said);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_store_is_named_by_its_scheme() {
        assert_eq!(Target::read("disk:a b").unwrap(), Target::Disk("a b".to_owned()));
        assert_eq!(Target::read("cloudflare-kv:a/b").unwrap(), Target::Cloudflare("a/b".to_owned()));
        assert_eq!(Target::read("valkeys://a").unwrap(), Target::Redis("valkeys://a".to_owned()));
        for to in ["", "disk:", "cloudflare-kv:", "http://:hunter2@a", "redis", "hunter2"] {
            let failure = format!("{:?}", Target::read(to).unwrap_err());
            assert!(failure.contains("redis://HOST") && !failure.contains("hunter2"), "{to}: {failure}");
        }
    }
}
