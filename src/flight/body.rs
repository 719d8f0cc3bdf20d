//! The chunks of a growing body, and how far each watcher has read.
//!
//! Up to the page's limit every chunk is kept and nobody waits for anybody. Beyond it (`overflow`) a chunk is dropped
//! when the last watcher has read it, and the leader runs at most [`RUN_AHEAD`] bytes ahead of the slowest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;

/// How far the leader of an unstored body runs ahead of the slowest reader.
const RUN_AHEAD: usize = 256 << 10;

/// What a chunk costs besides its bytes: two places in lists that grow by doubling, its allocation and its count.
const CHUNK: usize = 128;

/// What a chunk is counted as: a body that comes byte by byte takes far more room than its bytes.
pub(super) fn weight(chunk: &Bytes) -> usize {
    chunk.len() + CHUNK
}

/// How a body ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    Clean,
    /// With these trailers.
    Trailers(Arc<HeaderMap>),
    /// With an error, in its words.
    Broken(Arc<str>),
}

/// What a reader gets.
pub(super) enum Piece {
    Chunk(Bytes),
    End(End),
    /// The reader was too slow for an unstored body.
    Cut,
    /// Nothing new.
    NotYet,
}

#[derive(Default)]
pub(super) struct Growing {
    chunks: VecDeque<Bytes>,
    /// Number of chunks that were dropped before the first one here.
    dropped: usize,
    weight: usize,
    end: Option<End>,
    overflow: bool,
    watchers: Vec<Option<Watcher>>,
    free: Vec<usize>,
}

struct Watcher {
    /// Number of the chunk to read next.
    next: usize,
    waker: Option<Waker>,
    cut: bool,
}

impl Growing {
    pub(super) fn join(&mut self) -> usize {
        let watcher = Some(Watcher { next: self.dropped, waker: None, cut: false });
        if let Some(place) = self.free.pop() {
            self.watchers[place] = watcher;
            place
        } else {
            self.watchers.push(watcher);
            self.watchers.len() - 1
        }
    }

    pub(super) fn leave(&mut self, place: usize) {
        if self.watchers.get_mut(place).and_then(Option::take).is_some() {
            self.free.push(place);
            self.drop_read();
        }
    }

    pub(super) fn watchers(&self) -> usize {
        self.watchers.len() - self.free.len()
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        self.weight += weight(&chunk);
        self.chunks.push_back(chunk);
    }

    pub(super) fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    pub(super) fn overflow(&mut self) {
        self.overflow = true;
        self.drop_read();
    }

    pub(super) fn overflows(&self) -> bool {
        self.overflow
    }

    pub(super) fn has_room(&self) -> bool {
        self.weight < RUN_AHEAD
    }

    /// The next piece for a watcher.
    pub(super) fn read(&mut self, place: usize) -> Piece {
        let Some(watcher) = self.watchers.get_mut(place).and_then(Option::as_mut) else {
            return Piece::Cut;
        };
        if watcher.cut {
            return Piece::Cut;
        }
        if let Some(chunk) = watcher.next.checked_sub(self.dropped).and_then(|at| self.chunks.get(at)) {
            watcher.next += 1;
            let chunk = chunk.clone();
            self.drop_read();
            return Piece::Chunk(chunk);
        }
        self.end.clone().map_or(Piece::NotYet, Piece::End)
    }

    /// Whether a watcher has read everything up to a clean end.
    pub(super) fn is_read(&self, place: usize) -> bool {
        let watcher = self.watchers.get(place).and_then(Option::as_ref);
        matches!(self.end, Some(End::Clean))
            && watcher.is_some_and(|w| !w.cut && w.next == self.dropped + self.chunks.len())
    }

    pub(super) fn wake_on_change(&mut self, place: usize, waker: &Waker) {
        if let Some(Some(watcher)) = self.watchers.get_mut(place) {
            match &mut watcher.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        self.watchers.iter_mut().flatten().filter_map(|watcher| watcher.waker.take()).collect()
    }

    /// Ends the watchers that have read no further than `stalled`, if they keep another one waiting. Returns how many.
    pub(super) fn cut(&mut self, stalled: usize) -> usize {
        let end = self.dropped + self.chunks.len();
        let waits = self.watchers.iter().flatten().any(|w| !w.cut && w.next == end);
        let mut cut = 0;
        for watcher in self.watchers.iter_mut().flatten() {
            if waits && !watcher.cut && watcher.next <= stalled && watcher.next < end {
                watcher.cut = true;
                cut += 1;
            }
        }
        self.drop_read();
        cut
    }

    /// The number of the chunk that the slowest watcher reads next.
    pub(super) fn slowest(&self) -> Option<usize> {
        self.watchers.iter().flatten().filter(|w| !w.cut).map(|w| w.next).min()
    }

    fn drop_read(&mut self) {
        if !self.overflow {
            return;
        }
        let keep_from = self.slowest().unwrap_or(self.dropped + self.chunks.len());
        while self.dropped < keep_from {
            let Some(chunk) = self.chunks.pop_front() else {
                break;
            };
            self.weight -= weight(&chunk);
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: usize) -> Bytes {
        Bytes::from(vec![0; n])
    }

    #[test]
    fn every_chunk_is_kept_until_the_overflow() {
        let mut body = Growing::default();
        let fast = body.join();
        for _ in 0..3 {
            body.push(chunk(RUN_AHEAD));
            assert!(matches!(body.read(fast), Piece::Chunk(_)));
        }
        let late = body.join();
        assert!(matches!(body.read(late), Piece::Chunk(_)));
        assert!(!body.has_room());
        body.overflow();
        assert_eq!(body.chunks.len(), 2, "what everybody has read is dropped");
        body.leave(late);
        assert_eq!(body.chunks.len(), 0);
        assert!(body.has_room());
    }

    #[test]
    fn the_slowest_is_cut_and_the_others_go_on() {
        let mut body = Growing::default();
        let (slow, fast) = (body.join(), body.join());
        body.overflow();
        body.push(chunk(RUN_AHEAD));
        assert!(matches!(body.read(fast), Piece::Chunk(_)));
        assert!(!body.has_room());
        assert_eq!(body.slowest(), Some(0));
        assert_eq!(body.cut(0), 1);
        assert!(body.has_room());
        assert!(matches!(body.read(slow), Piece::Cut));
        body.push(chunk(1));
        body.end(End::Clean);
        assert!(matches!(body.read(fast), Piece::Chunk(_)));
        assert!(body.is_read(fast) && !body.is_read(slow));
    }

    /// Whoever keeps nobody waiting may take his time: alone, or as slow as all the others.
    #[test]
    fn nobody_is_cut_for_nobody() {
        let mut body = Growing::default();
        let (one, other) = (body.join(), body.join());
        body.overflow();
        body.push(chunk(RUN_AHEAD));
        body.push(chunk(1));
        assert_eq!(body.cut(0), 0);
        assert!(matches!(body.read(other), Piece::Chunk(_)));
        assert_eq!(body.cut(0), 0, "the other one has something to read");
        assert!(matches!(body.read(other), Piece::Chunk(_)));
        assert_eq!(body.cut(0), 1);
        body.leave(one);
        body.push(chunk(RUN_AHEAD));
        assert_eq!(body.cut(2), 0);
    }

    #[test]
    fn places_are_used_again() {
        let mut body = Growing::default();
        let place = body.join();
        body.leave(place);
        body.leave(place);
        assert_eq!((body.join(), body.watchers()), (place, 1));
    }
}
