//! Reading what a call says.

use std::error::Error;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use serde::de::{DeserializeOwned, Error as _};

use super::answer::Refusal;

/// The largest body of a call of the API.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The whole body, if it is not larger.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    to_bytes(body, limit).await.map_err(|problem| {
        let too_large = problem.source().is_some_and(<dyn Error>::is::<LengthLimitError>);
        if too_large { Refusal::TooLarge(limit) } else { Refusal::Malformed(problem.to_string()) }
    })
}

/// The JSON of a call of the API, whatever type it says it is of.
pub(super) async fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = read(body, MAX_BODY_BYTES).await?;
    object(&body).map_err(|problem| Refusal::Malformed(problem.to_string()))
}

/// An object with these members. A list of what they are would do for the parser too.
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    if json.trim_ascii_start().starts_with(b"[") {
        return Err(serde_json::Error::custom("expected an object, got a list"));
    }
    serde_json::from_slice(json)
}
