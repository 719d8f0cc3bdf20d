//! What `scripts/load` asks: one page of 10 KiB, on one thread, with and without the layer.
//!
//! `server bare` or `server layer`; prints its address and serves until it is killed.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::routing::get;
use axum_isr::{Isr, RouteConfig};
use bytes::Bytes;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layered = match std::env::args().nth(1).as_deref() {
        Some("bare") => false,
        Some("layer") => true,
        // `cargo bench` runs every bench binary; this one has nothing to say to it.
        _ => return Ok(()),
    };
    let body = Bytes::from(vec![b'x'; 10 << 10]);
    let handler = |Path(_): Path<String>| async move { ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body) };
    let mut app = Router::new().route("/posts/{slug}", get(handler));
    if layered {
        app = app.route_layer(Isr::builder().build()?.layer(RouteConfig::revalidate(Duration::from_secs(3600))));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}/posts/hello", listener.local_addr()?);
        axum::serve(listener, app).await?;
        Ok(())
    })
}
