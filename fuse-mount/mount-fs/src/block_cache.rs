//! Verified data of chunks, kept for readers within a budget of bytes.
//!
//! Chunks never change, so nothing here ever goes stale; what is least recently used goes first. A span that is being loaded counts
//! from the moment it is asked for, and whoever wants it meanwhile waits for the same load.

use crate::{FsError, MountFs};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{ChunkId, ChunkRef, LEAF_BYTES};

/// Longest single load. Larger ones save calls, smaller ones let a reader begin earlier and spread over the replicas.
pub(crate) const LOAD_BYTES_MAX: u32 = 1 << 20;

/// A span of a chunk, there or on its way.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) range: Range<u32>,
    pub(crate) data: SpanData,
}

/// The data of a span.
#[derive(Clone, Debug)]
pub(crate) enum SpanData {
    Ready(Bytes),
    Loading(Shared<oneshot::Receiver<Result<Bytes, FsError>>>),
}

impl SpanData {
    pub(crate) async fn get(self) -> Result<Bytes, FsError> {
        match self {
            SpanData::Ready(data) => Ok(data),
            // The sender is dropped without a word only when the runtime shuts down.
            SpanData::Loading(load) => load.await.unwrap_or(Err(FsError::Unavailable)),
        }
    }
}

type SpanKey = (ChunkId, u32);

/// A load that the caller must perform and answer with [`BlockCache::loaded`].
#[derive(Debug)]
pub(crate) struct Load {
    chunk: ChunkRef,
    range: Range<u32>,
    answer: oneshot::Sender<Result<Bytes, FsError>>,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct BlockCache {
    state: Mutex<State>,
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    spans: BTreeMap<SpanKey, Entry>,
    /// Ready spans by last use.
    by_use: BTreeMap<u64, SpanKey>,
    tick: u64,
    used: usize,
    loading: usize,
}

#[derive(Debug)]
struct Entry {
    len: u32,
    data: SpanData,
    last_use: u64,
}

impl BlockCache {
    pub(crate) fn new(max: usize) -> Self {
        BlockCache { state: Mutex::default(), max }
    }

    /// The spans that cover `range` of `chunk`, and the loads that must be performed for those that are not there.
    pub(crate) fn want(&self, chunk: ChunkRef, range: Range<u32>) -> (Vec<Span>, Vec<Load>) {
        let mut state = self.state.lock();
        let (mut spans, mut loads) = (Vec::new(), Vec::new());
        let mut at = range.start;
        while at < range.end {
            if let Some(span) = state.hit(chunk.id, at) {
                at = span.range.end;
                spans.push(span);
                continue;
            }
            let gap = state.gap(&chunk, at, range.end);
            at = gap.end;
            let (answer, receiver) = oneshot::channel();
            let data = SpanData::Loading(receiver.shared());
            let len = gap.end - gap.start;
            state.spans.insert((chunk.id, gap.start), Entry { len, data: data.clone(), last_use: 0 });
            state.used += len as usize;
            state.loading += len as usize;
            spans.push(Span { range: gap.clone(), data });
            loads.push(Load { chunk, range: gap, answer });
        }
        state.evict(self.max);
        (spans, loads)
    }

    /// Whether data that nobody waits for may be loaded: not when loads alone take half of the budget.
    pub(crate) fn has_room_ahead(&self) -> bool {
        self.state.lock().loading < self.max / 2
    }

    /// Ends a load.
    pub(crate) fn loaded(&self, load: Load, result: Result<Bytes, FsError>) {
        let key = (load.chunk.id, load.range.start);
        let mut state = self.state.lock();
        state.loading -= load.range.len();
        match &result {
            Ok(data) => {
                let tick = state.next_tick();
                if let Some(entry) = state.spans.get_mut(&key) {
                    entry.data = SpanData::Ready(data.clone());
                    entry.last_use = tick;
                    state.by_use.insert(tick, key);
                }
            }
            Err(_) => {
                if state.spans.remove(&key).is_some() {
                    state.used -= load.range.len();
                }
            }
        }
        state.evict(self.max);
        drop(state);
        // Nobody may be waiting any more.
        let _ = load.answer.send(result);
    }

    /// Bytes held or being loaded.
    pub(crate) fn used(&self) -> usize {
        self.state.lock().used
    }
}

impl State {
    fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// The span that holds byte `at`.
    fn hit(&mut self, chunk: ChunkId, at: u32) -> Option<Span> {
        let tick = self.next_tick();
        let (&key, entry) = self.spans.range_mut((chunk, 0)..=(chunk, at)).next_back()?;
        let range = key.1..key.1 + entry.len;
        if !range.contains(&at) {
            return None;
        }
        if let SpanData::Ready(_) = entry.data {
            self.by_use.remove(&entry.last_use);
            entry.last_use = tick;
            self.by_use.insert(tick, key);
        }
        Some(Span { range, data: entry.data.clone() })
    }

    /// What to load for byte `at`, which is not there: whole leaves up to `end`, the next span, the chunk's end or the longest load.
    fn gap(&self, chunk: &ChunkRef, at: u32, end: u32) -> Range<u32> {
        let leaf = LEAF_BYTES as u32;
        let before = self.spans.range((chunk.id, 0)..(chunk.id, at)).next_back();
        let floor = before.map_or(0, |((_, start), entry)| start + entry.len);
        let start = (at / leaf * leaf).max(floor);
        let after = self.spans.range((chunk.id, at)..=(chunk.id, u32::MAX)).next();
        let ceiling = after.map_or(chunk.len, |((_, start), _)| *start);
        let longest = (start / LOAD_BYTES_MAX + 1) * LOAD_BYTES_MAX;
        start..end.next_multiple_of(leaf).min(longest).min(ceiling)
    }

    fn evict(&mut self, max: usize) {
        while self.used > max {
            let Some((_, key)) = self.by_use.pop_first() else { return };
            if let Some(entry) = self.spans.remove(&key) {
                self.used -= entry.len as usize;
            }
        }
    }
}

impl MountFs {
    /// The spans that cover a range of a chunk; what is not there begins to load.
    pub(crate) fn spans(self: &Arc<Self>, chunk: ChunkRef, range: Range<u32>) -> Vec<Span> {
        let (spans, loads) = self.cache.want(chunk, range);
        for load in loads {
            let fs = self.clone();
            self.runtime.spawn(async move {
                let result = fs.read_chunk(load.chunk, load.range.clone()).await;
                fs.cache.loaded(load, result);
            });
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Blake3Root;

    fn chunk(id: u128, len: u32) -> ChunkRef {
        ChunkRef { id: ChunkId(id), len, root: Blake3Root([0; 32]) }
    }

    fn finish(cache: &BlockCache, loads: Vec<Load>) {
        for load in loads {
            let data = Bytes::from(vec![1; load.range.len()]);
            cache.loaded(load, Ok(data));
        }
    }

    #[tokio::test]
    async fn a_second_reader_waits_for_the_first_ones_load() {
        let cache = BlockCache::new(1 << 20);
        let (first, loads) = cache.want(chunk(1, 100_000), 10..20);
        assert_eq!(loads[0].range, 0..65_536);
        let (second, none) = cache.want(chunk(1, 100_000), 30..40);
        assert!(none.is_empty());
        finish(&cache, loads);
        for span in first.into_iter().chain(second) {
            assert_eq!(span.data.get().await.map(|data| data.len()), Ok(65_536));
        }
        let (third, loads) = cache.want(chunk(1, 100_000), 60_000..100_000);
        assert_eq!((third.len(), loads.len(), loads[0].range.clone()), (2, 1, 65_536..100_000));
    }

    #[test]
    fn least_recently_used_spans_go_first_and_the_budget_holds() {
        let cache = BlockCache::new(3 * LEAF_BYTES);
        for id in 0..3 {
            finish(&cache, cache.want(chunk(id, LEAF_BYTES as u32), 0..1).1);
        }
        assert!(cache.want(chunk(0, LEAF_BYTES as u32), 0..1).1.is_empty());
        finish(&cache, cache.want(chunk(9, LEAF_BYTES as u32), 0..1).1);
        assert_eq!(cache.used(), 3 * LEAF_BYTES);
        assert!(cache.want(chunk(0, LEAF_BYTES as u32), 0..1).1.is_empty(), "was used lately");
        assert_eq!(cache.want(chunk(1, LEAF_BYTES as u32), 0..1).1.len(), 1, "was evicted");
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let cache = BlockCache::new(1 << 20);
        let (_, mut loads) = cache.want(chunk(1, 10), 0..10);
        cache.loaded(loads.remove(0), Err(FsError::Lost));
        assert_eq!(cache.used(), 0);
        assert_eq!(cache.want(chunk(1, 10), 0..10).1.len(), 1);
    }

    #[test]
    fn long_ranges_are_loaded_in_parallel_parts() {
        let cache = BlockCache::new(8 << 20);
        let (spans, loads) = cache.want(chunk(1, 4 << 20), 0..4 << 20);
        assert_eq!((spans.len(), loads.len()), (4, 4));
    }
}
