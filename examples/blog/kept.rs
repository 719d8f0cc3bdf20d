//! Where pages are kept besides memory.

use std::error::Error;
use std::path::PathBuf;

use axum_isr::store::DiskStore;
use axum_isr::{Isr, IsrBuilder};

/// What was asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nowhere: the next start begins with nothing.
    Memory,
    /// In a folder: the next start goes on where this one ended.
    Folder(PathBuf),
    /// In Redis or Valkey, by its URL: one render serves every process that is told the same.
    Redis(String),
}

impl Kept {
    /// The settings of a handle that keeps its pages there.
    ///
    /// # Errors
    ///
    /// When the folder or the URL cannot be. Not when Redis is out of reach: the blog does without until it is back.
    pub(crate) async fn builder(&self) -> Result<IsrBuilder, Box<dyn Error>> {
        let builder = Isr::builder();
        Ok(match self {
            Self::Memory => builder,
            Self::Folder(folder) => builder.store(DiskStore::open(folder)?),
            Self::Redis(url) => redis(builder, url).await?,
        })
    }
}

#[cfg(feature = "redis")]
async fn redis(builder: IsrBuilder, url: &str) -> Result<IsrBuilder, Box<dyn Error>> {
    Ok(builder.store(axum_isr::store::RedisStore::connect(url).await?))
}

#[cfg(not(feature = "redis"))]
#[allow(clippy::unused_async, reason = "as with the feature")]
async fn redis(_: IsrBuilder, _: &str) -> Result<IsrBuilder, Box<dyn Error>> {
    Err("--redis needs the feature redis: cargo run --example blog --features redis -- --redis URL".into())
}
