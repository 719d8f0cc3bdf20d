//! What is asked for, in the caller's words.

use std::any::type_name;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rmp_serde::{Deserializer, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::args::canonical;
use super::get::{Compute, Wanted};
use crate::error::{ConfigError, DataError};
use crate::isr::Isr;
use crate::key::DataKey;
use crate::memory::ValueType;
use crate::policy::freshness::Revalidate;
use crate::policy::life::{CacheLife, Life};
use crate::policy::tag::{MAX_TAGS, Tag};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Cached data, about to be asked for. Made by [`Isr::data`].
#[must_use = "nothing is asked for before `get_or_init` or `get_or_try_init` is awaited"]
pub struct Data<'a> {
    isr: &'a Isr,
    name: &'a str,
    args: Sha256,
    count: usize,
    life: CacheLife,
    revalidate: Option<Duration>,
    expire: Option<Duration>,
    tags: Vec<Tag>,
    /// What was wrong in the arguments of a setter, which cannot return it.
    problem: Option<DataError>,
}

/// Data beside pages: the same memory, the same marks.
impl Isr {
    /// Data that is computed once and kept: for a query, a request to another service, anything that is worth it.
    ///
    /// `name` says what it is, 1 to 256 bytes; with the arguments it is the key. Two places that use one name ask for
    /// the same thing.
    ///
    /// One computation of a key runs at a time in this process, however many ask. A value that is stale is used while it
    /// is computed again; but whatever renders a page, or computes another value, waits for the new one, so that nothing
    /// new is made from something old. What is said of the data counts for the page: it gets the tags, is fresh for no
    /// longer than the shortest lived is from its computation on, is not used for longer than that may be, and a mark on
    /// the data is one on the page. So it is, too, for a page that goes on without its data, because it failed or took too
    /// long. Where it is not a page that is being rendered, nothing flows anywhere.
    ///
    /// Two that use one name and arguments should say the same of it: a value is kept with the words of whoever computed
    /// it. A page has those of its own handler as well.
    ///
    /// ```
    /// use axum_isr::{CacheLife, DataError, Isr};
    ///
    /// # #[derive(Clone)] struct Db;
    /// # impl Db { async fn list(&self, _: u32) -> Result<Vec<String>, std::io::Error> { Ok(Vec::new()) } }
    /// async fn posts(isr: &Isr, db: &Db, page: u32) -> Result<Vec<String>, DataError> {
    ///     let db = db.clone();
    ///     isr.data("posts")
    ///         .arg(&page)
    ///         .life(CacheLife::HOURS)
    ///         .tag("posts")
    ///         .get_or_try_init(move || async move { db.list(page).await })
    ///         .await
    /// }
    /// ```
    pub fn data<'a>(&'a self, name: &'a str) -> Data<'a> {
        Data {
            isr: self,
            name,
            args: Sha256::new(),
            count: 0,
            life: CacheLife::default(),
            revalidate: None,
            expire: None,
            tags: Vec::new(),
            problem: None,
        }
    }
}

impl Data<'_> {
    /// An argument: whatever makes the value another one. The order of the calls matters.
    ///
    /// Anything that serializes; equal arguments are equal in whatever order maps iterate and structs have their fields.
    /// Sets that iterate in no order, like `HashSet`, are sequences to serde: sort them.
    pub fn arg<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.count += 1;
        match canonical(value) {
            Ok(bytes) => {
                self.args.update((bytes.len() as u64).to_be_bytes());
                self.args.update(bytes);
            }
            Err(problem) => self.refuse(DataError::Argument {
                data: self.name.to_owned(),
                argument: self.count,
                type_name: type_name::<T>(),
                problem: problem.to_string(),
            }),
        }
        self
    }

    /// How long the value may be used. Default: fresh for 15 min, used for 1 year ([`CacheLife::default`]).
    pub fn life(self, life: CacheLife) -> Self {
        Self { life, ..self }
    }

    /// How long the value is fresh; replaces that of [`life`](Self::life). Zero: it is computed for whoever asks, kept
    /// for nobody, and a page that uses it is not kept either.
    pub fn revalidate(self, after: Duration) -> Self {
        Self { revalidate: Some(after), ..self }
    }

    /// How long the value may be used at all; replaces that of [`life`](Self::life).
    pub fn expire(self, after: Duration) -> Self {
        Self { expire: Some(after), ..self }
    }

    /// A tag: whoever revalidates or expires it does so to this value, and to all pages that were made from it. 1 to 256
    /// bytes, at most 128 of them.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        match Tag::new(tag) {
            Ok(tag) if self.tags.contains(&tag) => {}
            Ok(_) if self.tags.len() == MAX_TAGS => {
                self.refuse(ConfigError::new("tags", format!("at most {MAX_TAGS}"), MAX_TAGS + 1).into());
            }
            Ok(tag) => self.tags.push(tag),
            Err(problem) => self.refuse(problem.into()),
        }
        self
    }

    /// The value, computed by `init` if it is not there.
    ///
    /// # Errors
    ///
    /// As [`get_or_try_init`](Self::get_or_try_init), without failed computations.
    pub async fn get_or_init<T, F, Fut>(self, init: F) -> Result<T, DataError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        self.get_or_try_init(move || async move { Ok::<T, std::convert::Infallible>(init().await) }).await
    }

    /// The value, computed by `init` if it is not there.
    ///
    /// `init` runs in a task of its own, so that nobody's disconnect cancels it for others; it owns what it needs (clone a
    /// pool before), and returns what owns itself (`String`, not `&str`). What it returns is kept as MessagePack and handed
    /// to everybody as read back from that; that format does not tell `Some(None)` and `Some(())` from `None`. If it fails, everybody who
    /// waited gets the error, nothing is kept, and a stale value is used until a later computation succeeds.
    ///
    /// # Errors
    ///
    /// - [`DataError::Invalid`], [`DataError::Argument`]: what was asked for cannot be; nothing was computed.
    /// - [`DataError::Computation`], [`DataError::Panicked`], [`DataError::TimedOut`], [`DataError::Abandoned`]: the
    ///   computation came to nothing.
    /// - [`DataError::Cycle`]: the value is needed to compute itself. Two that need each other and are asked for at the same
    ///   time by others wait for one another instead, until [`DataError::TimedOut`].
    /// - [`DataError::Encoding`]: the value cannot be written, or not be read back.
    pub async fn get_or_try_init<T, E, F, Fut>(self, init: F) -> Result<T, DataError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let wanted = self.check(ValueType::of::<T>())?;
        // Before anything can fail, or be given up: whoever goes on without the value is made without it.
        wanted.declare();
        let found = wanted.fresh();
        if let Some(value) = &found
            && let Ok(decoded) = decode(wanted.name, &value.body)
        {
            wanted.hit(value);
            return Ok(decoded);
        }
        let name = wanted.name.to_owned();
        let compute: Compute = Box::new(move || {
            Box::pin(async move {
                match init().await {
                    Ok(value) => {
                        let body = encode(&name, &value)?;
                        // What cannot be read back is not kept, or everybody would compute it again.
                        decode::<T>(&name, &body)?;
                        Ok(body)
                    }
                    Err(error) => Err(DataError::Computation { data: name, source: Arc::from(error.into()) }),
                }
            })
        });
        // What is there and cannot be read back is not there.
        let value = wanted.get(compute, found).await?;
        decode(wanted.name, &value.body)
    }
}

impl<'a> Data<'a> {
    fn refuse(&mut self, problem: DataError) {
        self.problem.get_or_insert(problem);
    }

    fn check(self, value_type: ValueType) -> Result<Wanted<'a>, DataError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) {
            let got = format_args!("{} bytes", self.name.len());
            return Err(ConfigError::new("data", "a name of 1 to 256 bytes", got).into());
        }
        let life = life(self.life, self.revalidate, self.expire)?;
        let key = DataKey::new(self.name, &self.args.finalize().into());
        Ok(Wanted { shared: &self.isr.shared, name: self.name, key, value_type, life, tags: self.tags })
    }
}

impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("name", &self.name).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// What was said goes before the named life; a value cannot be fresh for longer than it is kept.
fn life(named: CacheLife, revalidate: Option<Duration>, expire: Option<Duration>) -> Result<Life, ConfigError> {
    let (fresh, kept) = (revalidate.unwrap_or(named.revalidate()), expire.unwrap_or(named.expire()));
    let (fresh, kept) = match (revalidate, expire) {
        _ if fresh <= kept => (fresh, kept),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ConfigError::new(
                "expire",
                format!("at least the {fresh:?} of revalidate"),
                format_args!("{kept:?}"),
            ));
        }
        (Some(_), None) => (fresh, fresh),
        (None, Some(_)) => (kept, kept),
    };
    Ok(Life { revalidate: Revalidate::After(fresh), expire: kept })
}

fn encode<T: Serialize>(name: &str, value: &T) -> Result<Bytes, DataError> {
    let mut body = Vec::new();
    // With names, and human-readable: what serde buffers for `flatten` and tagged enums is that when it is read, and types
    // like `IpAddr` have two forms.
    let written = value.serialize(&mut Serializer::new(&mut body).with_struct_map().with_human_readable());
    match written {
        Ok(()) => Ok(body.into_boxed_slice().into()),
        Err(problem) => Err(DataError::Encoding { data: name.to_owned(), problem: problem.to_string() }),
    }
}

fn decode<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T, DataError> {
    T::deserialize(&mut Deserializer::from_read_ref(body).with_human_readable())
        .map_err(|problem| DataError::Encoding { data: name.to_owned(), problem: problem.to_string() })
}
