//! The sources, and the pages and values that show them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::StatusCode;
use tokio::sync::oneshot;

use super::Target;
use crate::{Isr, Render};

pub(super) const SOURCES: usize = 2;

/// What a page shows, in the order in which it reads it.
pub(super) const PAGES: [&[Part]; 5] = [
    &[Part::Direct(0)],
    &[Part::Direct(1), Part::Direct(0)],
    &[Part::Data(0)],
    &[Part::Data(0), Part::Direct(1)],
    &[Part::Nested(0), Part::Data(1)],
];

/// Pages whose body goes on after its head.
pub(super) const STREAMED: [usize; 2] = [1, 3];

pub(super) const FRESH: Duration = Duration::from_secs(10);
pub(super) const KEPT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The handler reads the source.
    Direct(usize),
    /// The handler uses a value that was read from the source.
    Data(usize),
    /// The handler uses a value that was made from that value.
    Nested(usize),
}

impl Part {
    pub(super) fn source(self) -> usize {
        match self {
            Self::Direct(source) | Self::Data(source) | Self::Nested(source) => source,
        }
    }
}

/// Versions that a page must show at least, by source.
pub(super) type Floor = [u64; SOURCES];

#[derive(Default)]
pub(super) struct State {
    pub(super) version: [u64; SOURCES],
    pub(super) stopped: Vec<oneshot::Sender<()>>,
    /// Nobody stops any more.
    pub(super) free: bool,
    /// By page.
    pub(super) renders: [usize; PAGES.len()],
    pub(super) fails: [bool; PAGES.len()],
    pub(super) draft: [bool; PAGES.len()],
    /// By page: what nobody may show any more, and what nobody may show as new.
    pub(super) expired: [Floor; PAGES.len()],
    pub(super) revalidated: [Floor; PAGES.len()],
    pub(super) expired_data: Floor,
    /// What pages with these validators show.
    pub(super) validators: HashMap<String, String>,
}

/// The sources, and who has stopped where.
#[derive(Clone, Default)]
pub(super) struct World(Arc<Mutex<State>>);

impl World {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn read(&self, source: usize) -> u64 {
        self.lock().version[source]
    }

    pub(super) async fn stop(&self) {
        let wait = {
            let mut state = self.lock();
            if state.free {
                return;
            }
            let (go, wait) = oneshot::channel();
            state.stopped.push(go);
            wait
        };
        let _ = wait.await;
    }

    pub(super) fn resume(&self, n: usize) -> bool {
        let mut state = self.lock();
        // Some were given up.
        state.stopped.retain(|stopped| !stopped.is_closed());
        if state.stopped.is_empty() {
            return false;
        }
        let n = n % state.stopped.len();
        let go = state.stopped.remove(n);
        drop(state);
        let _ = go.send(());
        true
    }

    /// A verb has returned: `all` its pages show this version of the source at least.
    pub(super) fn raise(&self, target: Target, expires: bool) {
        let mut state = self.lock();
        let version = state.version;
        for (page, parts) in PAGES.iter().enumerate() {
            for part in *parts {
                let source = part.source();
                let hit = match target {
                    Target::Tag(tag) => tag == source,
                    Target::All => true,
                    // Data has tags, and no path: what is read from it may be as old as before.
                    Target::Path(path) => path == page && matches!(part, Part::Direct(_)),
                    Target::Prefix | Target::Route => matches!(part, Part::Direct(_)),
                    Target::Nothing => false,
                };
                if hit {
                    state.revalidated[page][source] = version[source];
                    if expires {
                        state.expired[page][source] = version[source];
                    }
                }
            }
        }
        for (source, least) in state.expired_data.iter_mut().enumerate() {
            if expires && (matches!(target, Target::All) || matches!(target, Target::Tag(tag) if tag == source)) {
                *least = version[source];
            }
        }
    }
}

pub(super) async fn data(world: World, isr: Isr, source: usize) -> u64 {
    let name = format!("d{source}");
    let compute = move || async move {
        let version = world.read(source);
        world.stop().await;
        version
    };
    isr.data(&name).tag(format!("s{source}")).revalidate(FRESH).expire(KEPT).get_or_init(compute).await.unwrap()
}

pub(super) async fn nested(world: World, isr: Isr, source: usize) -> u64 {
    let name = format!("n{source}");
    let inner = isr.clone();
    let compute = move || async move {
        let version = data(world.clone(), inner, source).await;
        world.stop().await;
        version
    };
    isr.data(&name).revalidate(FRESH).expire(KEPT).get_or_init(compute).await.unwrap()
}

pub(super) async fn page(world: World, isr: Isr, page: usize, render: Render) -> Response {
    world.lock().renders[page] += 1;
    let mut text = String::new();
    for part in PAGES[page] {
        let version = match *part {
            Part::Direct(source) => {
                render.tag(format!("s{source}"));
                world.read(source)
            }
            Part::Data(source) => data(world.clone(), isr.clone(), source).await,
            Part::Nested(source) => nested(world.clone(), isr.clone(), source).await,
        };
        write!(text, "{}={version} ", part.source()).unwrap();
        world.stop().await;
    }
    if std::mem::take(&mut world.lock().fails[page]) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    if world.lock().draft[page] {
        render.no_store();
    }
    if STREAMED.contains(&page) {
        let rest = stream::once(async move {
            world.stop().await;
            Ok::<_, std::convert::Infallible>(".")
        });
        let body = stream::StreamExt::chain(stream::once(async { Ok("") }), rest);
        let text = stream::once(async { Ok(text) });
        return Body::from_stream(stream::StreamExt::chain(
            text,
            stream::StreamExt::map(body, |text| text.map(str::to_owned)),
        ))
        .into_response();
    }
    text.into_response()
}
