//! The sources, and the pages and values that show them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http::StatusCode;
use tokio::sync::oneshot;

use super::Target;
use crate::{InvalidateError, Invalidated, Isr, Render, RouteConfig};

pub(in crate::testing) const SOURCES: usize = 2;

/// What a page shows, in the order in which it reads it.
pub(in crate::testing) const PAGES: [&[Part]; 5] = [
    &[Part::Direct(0)],
    &[Part::Direct(1), Part::Direct(0)],
    &[Part::Data(0)],
    &[Part::Data(0), Part::Direct(1)],
    &[Part::Nested(0), Part::Data(1)],
];

/// Pages whose body goes on after its head.
pub(in crate::testing) const STREAMED: [usize; 2] = [1, 3];

pub(in crate::testing) const FRESH: Duration = Duration::from_secs(10);
pub(in crate::testing) const KEPT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(in crate::testing) enum Part {
    /// The handler reads the source.
    Direct(usize),
    /// The handler uses a value that was read from the source.
    Data(usize),
    /// The handler uses a value that was made from that value.
    Nested(usize),
}

impl Part {
    pub(in crate::testing) fn source(self) -> usize {
        match self {
            Self::Direct(source) | Self::Data(source) | Self::Nested(source) => source,
        }
    }
}

/// Versions that a page must show at least, by source.
pub(in crate::testing) type Floor = [u64; SOURCES];

#[derive(Default)]
pub(in crate::testing) struct State {
    pub(in crate::testing) version: [u64; SOURCES],
    pub(in crate::testing) stopped: Vec<oneshot::Sender<()>>,
    /// Nobody stops any more.
    pub(in crate::testing) free: bool,
    /// By page.
    pub(in crate::testing) renders: [usize; PAGES.len()],
    pub(in crate::testing) fails: [bool; PAGES.len()],
    pub(in crate::testing) draft: [bool; PAGES.len()],
    pub(in crate::testing) seed_fails: [bool; PAGES.len()],
    /// By page: what nobody may show any more, and what nobody may show as new.
    pub(in crate::testing) expired: [Floor; PAGES.len()],
    pub(in crate::testing) revalidated: [Floor; PAGES.len()],
    pub(in crate::testing) expired_data: Floor,
    /// What pages with these validators show.
    pub(in crate::testing) validators: HashMap<String, String>,
}

/// The sources, and who has stopped where.
#[derive(Clone, Default)]
pub(in crate::testing) struct World(Arc<Mutex<State>>);

impl World {
    pub(in crate::testing) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(in crate::testing) fn read(&self, source: usize) -> u64 {
        self.lock().version[source]
    }

    pub(in crate::testing) async fn stop(&self) {
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

    pub(in crate::testing) fn resume(&self, n: usize) -> bool {
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
    pub(in crate::testing) fn raise(&self, target: Target, expires: bool) {
        let mut state = self.lock();
        let version = state.version;
        for (page, source) in target.hits() {
            state.revalidated[page][source] = version[source];
            if expires {
                state.expired[page][source] = version[source];
            }
        }
        for (source, least) in state.expired_data.iter_mut().enumerate() {
            if expires && (matches!(target, Target::All) || matches!(target, Target::Tag(tag) if tag == source)) {
                *least = version[source];
            }
        }
    }
}

impl Target {
    /// Pages, and the source whose old versions they may not show any more.
    pub(in crate::testing) fn hits(self) -> Vec<(usize, usize)> {
        let parts = PAGES.iter().enumerate().flat_map(|(page, parts)| parts.iter().map(move |part| (page, part)));
        let hit = parts.filter(|(page, part)| match self {
            Self::Tag(tag) => tag == part.source(),
            Self::All => true,
            // Data has tags, and no path: what is read from it may be as old as before.
            Self::Path(path) => path == *page && matches!(part, Part::Direct(_)),
            Self::Prefix | Self::Route => matches!(part, Part::Direct(_)),
            Self::Nothing => false,
        });
        hit.map(|(page, part)| (page, part.source())).collect()
    }
}

/// The pages, behind a layer.
pub(in crate::testing) fn app(world: &World, isr: &Isr) -> Router {
    let handler = {
        let (world, isr) = (world.clone(), isr.clone());
        get(move |Path(n): Path<usize>, render: Render| page(world.clone(), isr.clone(), n, render))
    };
    let config = RouteConfig::revalidate(FRESH).expire(KEPT);
    Router::new().route("/p/{n}", handler).route_layer(isr.layer(config))
}

/// Something new of a source was published, and is said to a handle.
pub(in crate::testing) async fn invalidate(
    isr: &Isr,
    source: usize,
    target: Target,
    expires: bool,
) -> Result<Invalidated, InvalidateError> {
    match (target, expires) {
        (Target::Tag(n), true) => isr.expire_tag(format!("s{n}")).await,
        (Target::Tag(n), false) => isr.revalidate_tag(format!("s{n}")).await,
        (Target::Path(n), true) => isr.expire_path(format!("/p/{n}")).await,
        (Target::Path(n), false) => isr.revalidate_path(format!("/p/{n}")).await,
        (Target::Prefix, true) => isr.expire_prefix("/p").await,
        (Target::Prefix, false) => isr.revalidate_prefix("/p").await,
        (Target::Route, true) => isr.expire_route("/p/{n}").await,
        (Target::Route, false) => isr.revalidate_route("/p/{n}").await,
        (Target::All, true) => isr.expire_all().await,
        (Target::All, false) => isr.revalidate_all().await,
        (Target::Nothing, _) => isr.revalidate_tag(format!("nothing {source}")).await,
    }
}

pub(in crate::testing) async fn data(world: World, isr: Isr, source: usize) -> u64 {
    let name = format!("d{source}");
    let compute = move || async move {
        let version = world.read(source);
        world.stop().await;
        version
    };
    isr.data(&name).tag(format!("s{source}")).revalidate(FRESH).expire(KEPT).get_or_init(compute).await.unwrap()
}

pub(in crate::testing) async fn nested(world: World, isr: Isr, source: usize) -> u64 {
    let name = format!("n{source}");
    let inner = isr.clone();
    let compute = move || async move {
        let version = data(world.clone(), inner, source).await;
        world.stop().await;
        version
    };
    isr.data(&name).revalidate(FRESH).expire(KEPT).get_or_init(compute).await.unwrap()
}

pub(in crate::testing) async fn page(world: World, isr: Isr, page: usize, render: Render) -> Response {
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
