//! What every store promises, of real KV: over the gateway, and over the REST API.
#![cfg(feature = "cloudflare-kv")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/kv.rs"]
mod kv;
#[path = "common/kv_proxy.rs"]
mod proxy;

use std::sync::Arc;

use axum_isr::testing::conformance::Fixture;
use axum_isr::testing::store_conformance;
use kv::{Gateway, unused_namespace};
use proxy::Proxy;

async fn over_a_gateway(max_marks: usize) -> Fixture {
    let gateway = Gateway::shared();
    let options = gateway.options().namespace(unused_namespace()).max_marks(max_marks);
    let (one, other) = (options.clone().build().unwrap(), options.build().unwrap());
    Fixture::new(vec![Arc::new(one), Arc::new(other)]).keep(gateway)
}

async fn over_the_api(max_marks: usize) -> Fixture {
    let gateway = Gateway::shared();
    let proxy = Proxy::start(Arc::clone(&gateway)).await;
    let options = proxy.rest().namespace(unused_namespace()).max_marks(max_marks);
    let (one, other) = (options.clone().build().unwrap(), options.build().unwrap());
    Fixture::new(vec![Arc::new(one), Arc::new(other)]).keep(proxy).keep(gateway)
}

store_conformance!(gateway, over_a_gateway);
store_conformance!(rest, over_the_api);
