//! What can be looked at.

use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use tokio::sync::Semaphore;

use super::entries::{Wanted, entry};
use super::events::watch;
use super::tick::Tick;
use crate::admin::access::Authorized;
use crate::admin::answer::{Refusal, json};
use crate::error::ConfigError;
use crate::isr::Isr;

pub(super) async fn stats(Authorized(isr): Authorized) -> Response {
    json(StatusCode::OK, &Tick::now(&isr))
}

pub(super) async fn entries(Authorized(isr): Authorized, uri: Uri) -> Result<Response, Refusal> {
    let wanted = Wanted::read(uri.query().unwrap_or_default())?;
    Ok(json(StatusCode::OK, &aside(isr, move |isr| wanted.list(isr)).await?))
}

pub(super) async fn one(Authorized(isr): Authorized, uri: Uri) -> Result<Response, Refusal> {
    let parameters: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    let [(name, id)] = &*parameters else {
        return Err(ConfigError::new("parameters", "an id", parameters.len()).into());
    };
    if name != "id" {
        return Err(ConfigError::new("parameters", "an id", "something else").into());
    }
    let entry = entry(&isr, id).ok_or(Refusal::NotFound("it is not held any more"))?;
    Ok(json(StatusCode::OK, &entry))
}

pub(super) async fn explain(Authorized(isr): Authorized, uri: Uri) -> Result<Response, Refusal> {
    let query = uri.query().unwrap_or_default().to_owned();
    let explained = aside(isr, move |isr| super::explain::explain(isr, &query)).await??;
    Ok(json(StatusCode::OK, &explained))
}

pub(super) async fn events(Authorized(isr): Authorized, headers: HeaderMap) -> Result<Response, Refusal> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    watch(&isr, last).ok_or(Refusal::TooMany)
}

/// Where it keeps no task of the server waiting: it looks at everything that is held.
async fn aside<T: Send + 'static>(isr: Isr, look: impl FnOnce(&Isr) -> T + Send + 'static) -> Result<T, Refusal> {
    // Others need those threads too.
    static PLACES: Semaphore = Semaphore::const_new(2);
    let _place = PLACES.acquire().await;
    let looked = tokio::task::spawn_blocking(move || look(&isr)).await;
    looked.map_err(|_| Refusal::NoRuntime("the runtime is shutting down".to_owned()))
}
