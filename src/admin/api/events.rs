//! What happens, as server-sent events (WHATWG HTML §9.2): `stats`, with the numbers of the moment, each second, and `event`
//! with what has happened.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::tick::Tick;
use crate::isr::{Isr, Shared};

/// So many may look at the same time.
const MOST: usize = 32;

/// Between two looks at what has happened.
const LOOK: Duration = Duration::from_millis(250);

/// So many looks are one second.
const A_SECOND: u32 = 4;

/// A stream ends after this time, and the browser comes again: a server that is told to stop waits for its connections.
const LONGEST: Duration = Duration::from_secs(10);

/// When the browser comes again, in milliseconds.
const AGAIN: u32 = 500;

/// What somebody who comes for the first time gets to see of the past.
const PAST: usize = 100;

/// So many in one look; what is beyond is left out, the oldest first.
const AT_ONCE: usize = 200;

/// Somebody who looks.
struct Watcher {
    isr: Isr,
    seen: u64,
    looks: u32,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.isr.shared.events.unwatch();
    }
}

/// `last`: the number of the event that was seen last, from `Last-Event-ID`. `None` if too many look already.
pub(super) fn watch(isr: &Isr, last: Option<u64>) -> Option<Response> {
    if !isr.shared.events.watch(MOST) {
        return None;
    }
    let end = Instant::now() + LONGEST;
    let mut watcher = Watcher { isr: isr.clone(), seen: last.unwrap_or(0), looks: 0 };
    let (told, mut tells) = mpsc::channel(1);
    // In a task, so that who does not read does not keep its place either.
    tokio::spawn(async move {
        let tell = async {
            while let Some(chunk) = watcher.look().await {
                if told.send(Ok::<_, Infallible>(Bytes::from(chunk))).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout_at(end, tell).await;
    });
    let chunks = stream::poll_fn(move |cx| tells.poll_recv(cx));
    Some(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks)).into_response())
}

impl Watcher {
    /// What there is to tell; `None` at the end.
    async fn look(&mut self) -> Option<String> {
        let mut text = String::new();
        if self.looks == 0 {
            let _ = write!(text, "retry: {AGAIN}\n\n");
            self.tell(PAST, &mut text);
        }
        while text.is_empty() {
            tokio::time::sleep(LOOK).await;
            if self.isr.shared.is_closing() {
                return None;
            }
            self.tell(AT_ONCE, &mut text);
        }
        Some(text)
    }

    /// What has happened since, and the numbers once a second.
    fn tell(&mut self, most: usize, text: &mut String) {
        let shared: &Arc<Shared> = &self.isr.shared;
        for event in shared.events.after(self.seen, most) {
            self.seen = event.seq;
            if let Ok(json) = serde_json::to_string(&*event) {
                let _ = write!(text, "event: event\nid: {}\ndata: {json}\n\n", event.seq);
            }
        }
        if self.looks.is_multiple_of(A_SECOND)
            && let Ok(json) = serde_json::to_string(&Tick::now(&self.isr))
        {
            let _ = write!(text, "event: stats\ndata: {json}\n\n");
        }
        self.looks = self.looks.wrapping_add(1);
    }
}
