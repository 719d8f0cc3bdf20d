//! The body of a render on its way into an entry: while it is short, it is complete before anybody sees its head; while
//! it is within its limit, every waiter can read all of it; beyond that it is passed on and forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;

use super::body::{End, weight};
use super::lead::{Landing, Lead};
use super::outcome::Head;
use super::source::{Next, Source};
use crate::entry::{Draft, clean};
use crate::memory::{BackOff, Page};
use crate::policy::freshness::Window;
use crate::policy::life::Life;
use crate::policy::response::Pass;
use crate::policy::tag::MAX_TAGS;
use crate::render::{Maker, Notes};
use crate::telemetry::Counter;

/// A page of up to this many bytes that does not wait for anything is complete before its head is published.
const COMPLETE_FIRST: usize = 64 << 10;

/// How long a reader of a body that is not kept may read nothing while another one waits for more.
const STALL: Duration = Duration::from_secs(5);

const STALLED: &str = "the page stalled longer than its render timeout";

/// Bytes that all flights together may hold, with what it costs to hold them in pieces.
pub(crate) struct CaptureBudget {
    used: AtomicUsize,
    limit: usize,
}

impl CaptureBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Relaxed: the number orders nothing but itself.
    fn take(&self, bytes: usize) -> bool {
        let take = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one flight holds of the budget.
struct Held<'b> {
    budget: &'b CaptureBudget,
    weight: usize,
}

impl Held<'_> {
    fn take(&mut self, weight: usize) -> bool {
        let taken = self.budget.take(weight);
        self.weight += if taken { weight } else { 0 };
        taken
    }

    fn release(&mut self) {
        self.budget.used.fetch_sub(std::mem::take(&mut self.weight), Ordering::Relaxed);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// A capture in progress.
struct Capture<'l> {
    lead: &'l Lead,
    head: Arc<Head>,
    source: Source,
    chunks: Vec<Bytes>,
    /// Of the body, so far.
    bytes: usize,
    held: Held<'l>,
    published: bool,
}

/// Captures the body of a response that may be kept.
pub(super) async fn capture(lead: &Lead, response: Response) -> Landing {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    let length = declared_length(&headers);
    clean(&mut headers, &lead.shared.headers);
    let Ok(length) = length else {
        return Landing::Pass { reason: Pass::Broken, veto: false };
    };
    // What a server would have made of a body that knows its length.
    let length = length.or(body.size_hint().exact());
    let head = Head { status: parts.status, headers, extensions: parts.extensions, length };
    let capture = Capture {
        lead,
        head: Arc::new(head),
        source: Source::new(body, lead.shared.render_timeout),
        chunks: Vec::new(),
        bytes: 0,
        held: Held { budget: &lead.shared.capture, weight: 0 },
        published: false,
    };
    capture.run().await
}

/// `Err` where several lines disagree or one is no number.
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let number = |line: &HeaderValue| line.to_str().ok().and_then(|text| text.parse().ok()).ok_or(());
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let first: u64 = number(first)?;
    lines.try_fold(Some(first), |_, line| (number(line)? == first).then_some(Some(first)).ok_or(()))
}

impl Capture<'_> {
    async fn run(mut self) -> Landing {
        let most = self.lead.max_body_bytes();
        loop {
            let next = if self.published {
                self.source.next().await
            } else if self.bytes < COMPLETE_FIRST
                && let Some(next) = self.source.now().await
            {
                next
            } else {
                if let Some(reason) = self.lead.context.refusal() {
                    return Landing::Pass { reason, veto: true };
                }
                self.publish(false);
                continue;
            };
            match next {
                Next::Chunk(chunk) if chunk.is_empty() => {}
                Next::Chunk(chunk) => {
                    if self.bytes + chunk.len() > most {
                        return self.pass_on(Pass::TooLarge, chunk).await;
                    }
                    if !self.held.take(weight(&chunk)) {
                        return self.pass_on(Pass::Capture, chunk).await;
                    }
                    self.bytes += chunk.len();
                    self.lead.flight.push(chunk.clone());
                    self.chunks.push(chunk);
                    if self.source.has_ended() {
                        return self.complete();
                    }
                }
                Next::End => return self.complete(),
                Next::Trailers(trailers) if self.published => {
                    let drained = tokio::time::timeout(self.lead.shared.render_timeout, self.drain(trailers)).await;
                    let end = drained.unwrap_or_else(|_| End::Broken(STALLED.into()));
                    self.lead.flight.end_body(end);
                    return Landing::Pass { reason: Pass::Trailers, veto: true };
                }
                Next::Trailers(_) => return Landing::Pass { reason: Pass::Trailers, veto: true },
                Next::Panicked(panic) if !self.published => return Landing::Panicked(panic),
                Next::Panicked(panic) => return self.broken(panic.message()),
                Next::Error(message) => return self.broken(message),
                Next::TimedOut => return self.broken(STALLED.into()),
            }
        }
    }

    fn publish(&mut self, starter_only: bool) {
        self.lead.flight.publish(&self.head, starter_only);
        self.published = true;
    }

    /// What came before an error goes out, and then the error.
    fn broken(&self, message: Arc<str>) -> Landing {
        self.lead.flight.end_body(End::Broken(message));
        Landing::Broken(Arc::clone(&self.head))
    }

    /// Nothing of what follows a trailer is data; it is read to the body's end, so that its maker can finish.
    async fn drain(&mut self, mut trailers: HeaderMap) -> End {
        loop {
            let next = self.source.next().await;
            if let Some(end) = self.end(next, &mut trailers) {
                return end;
            }
        }
    }

    /// How a body ends whose head is out; `None` while it goes on.
    fn end(&self, next: Next, trailers: &mut HeaderMap) -> Option<End> {
        Some(match next {
            Next::Chunk(_) => return None,
            Next::Trailers(more) => {
                trailers.extend(more);
                return None;
            }
            Next::End => {
                clean(trailers, &self.lead.shared.headers);
                if trailers.is_empty() { End::Clean } else { End::Trailers(Arc::new(std::mem::take(trailers))) }
            }
            Next::Error(message) => End::Broken(message),
            Next::Panicked(panic) => End::Broken(panic.message()),
            Next::TimedOut => End::Broken(STALLED.into()),
        })
    }

    /// The body has ended cleanly: it is an entry, unless something was said against it meanwhile.
    fn complete(self) -> Landing {
        let lead = self.lead;
        let bytes = self.bytes;
        if lead.purpose.is_head() && bytes == 0 {
            // An explicit `head` handler, which cannot be told apart from an empty page.
            return Landing::Pass { reason: Pass::Head, veto: false };
        }
        if let Some(declared) = self.head.length
            && declared != bytes as u64
        {
            return self.broken(format!("the page has {bytes} bytes, its Content-Length said {declared}").into());
        }
        lead.flight.end_body(End::Clean);
        let notes = lead.context.end();
        if let Some(reason) = lead.context.refusal() {
            return Landing::Pass { reason, veto: true };
        }
        match self.seal(&notes) {
            Some(page) => Landing::Page(Arc::new(page), Arc::clone(&self.head)),
            None => Landing::Pass { reason: Pass::Tags, veto: true },
        }
    }

    /// `None` if it has too many tags.
    fn seal(&self, notes: &Notes) -> Option<Page> {
        let lead = self.lead;
        let route = lead.recipe.route.settings();
        let tags = lead.tags(notes);
        if tags.len() > MAX_TAGS {
            return None;
        }
        let now = lead.shared.time.wall();
        let left = notes.left(lead.purpose.counts_from(now));
        let expire = notes.expire.unwrap_or(route.expire()).min(notes.used.expire);
        let expire = left.map_or(expire, |left| expire.min(left));
        let revalidate = notes.revalidate.unwrap_or(route.revalidate).min(notes.used.revalidate);
        // A page cannot be fresh for longer than it is kept, where somebody said how long that is.
        let said = notes.expire.or(route.explicit_expire());
        let used = Some(notes.used.expire).filter(|expire| *expire != Life::LONGEST.expire);
        let limits = said.into_iter().chain(used).chain(left);
        let revalidate = limits.fold(revalidate, |revalidate, limit| revalidate.min(limit.into()));
        let draft = Draft {
            status: self.head.status,
            headers: &self.head.headers,
            chunks: &self.chunks,
            window: Window::new(now, revalidate, expire),
        };
        let entry = draft.seal(route, &lead.shared.headers);
        Some(Page {
            key: lead.context.key.clone(),
            entry,
            begun: lead.begun,
            began_at: notes.began_at(lead.began_at),
            maker: Maker::new(&lead.recipe, lead.purpose.is_head()),
            covered: lead.covered(notes, &tags),
            back_off: BackOff::default(),
            tags: tags.into(),
            // Zero would be: not rendered here.
            render_micros: lead.took().map_or(0, |took| took.max(1)),
            hits: Counter::default(),
        })
    }

    /// The body is not kept: those who are here get it, in step with the slowest, and the flight is over for others.
    async fn pass_on(mut self, reason: Pass, mut chunk: Bytes) -> Landing {
        let flight = Arc::clone(&self.lead.flight);
        if !flight.is_watched() {
            return Landing::Pass { reason, veto: false };
        }
        self.lead.take_off(reason);
        if !self.published {
            self.publish(reason == Pass::Capture);
        }
        flight.overflow();
        // What is on its way to readers is bounded from here on.
        self.chunks.clear();
        self.held.release();
        let mut trailers = HeaderMap::new();
        loop {
            flight.push(chunk);
            if !room(self.lead).await {
                // Nobody reads any more.
                return Landing::PassedOn(reason);
            }
            chunk = loop {
                match self.source.next().await {
                    Next::Chunk(chunk) if !chunk.is_empty() => break chunk,
                    next => {
                        if let Some(end) = self.end(next, &mut trailers) {
                            flight.end_body(end);
                            return Landing::PassedOn(reason);
                        }
                    }
                }
            };
        }
    }
}

/// Waits until the slowest reader has caught up, or cuts it if others wait for it; `false` once nobody reads any more.
async fn room(lead: &Lead) -> bool {
    loop {
        let before = lead.flight.slowest();
        let room = std::future::poll_fn(|cx| lead.flight.poll_room(cx));
        if let Ok(room) = tokio::time::timeout(STALL, room).await {
            return room;
        }
        let readers = before.map_or(0, |stalled| lead.flight.cut(stalled));
        if readers > 0 {
            let route = lead.recipe.pattern();
            tracing::debug!(target: "axum_isr", %route, readers, "cut: others waited for a page that is not kept");
        }
    }
}
