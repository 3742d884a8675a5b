//! Drives `chunk_core::read`: one replica at a time, the next when one fails or is slow, and nothing unverified.

use crate::map::MapCache;
use crate::peer::Nodes;
use crate::session::Sessions;
use crate::{ClientConfig, ReadError};
use bytes::Bytes;
use chunk_core::read::{self, GetAnswer, Piece, Read, ReadEvent, ReadTimes, ReadVerdict};
use mistakes::{Mistake, is_planted};
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use proto::rpc::Rejection;
use proto::{Reply, Request};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout_at};
use transport::{Class, TransportError};
use types::{CHUNK_BYTES_MAX, ChunkId, ChunkRef, LEAF_BYTES, Moment, PlacementGroup, PlacementMap};

/// How long a report of a corrupt replica may take.
const REPORT_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether the members that are waited for still live.
const LIVENESS_CHECK: Duration = Duration::from_millis(50);
/// Before a map without the chunk's slot is looked at again.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Reader {
    nodes: Arc<Nodes>,
    map: Arc<MapCache>,
    sessions: Arc<Sessions>,
    room: Semaphore,
    times: ReadTimes,
}

impl Reader {
    pub(crate) fn new(nodes: Arc<Nodes>, map: Arc<MapCache>, sessions: Arc<Sessions>, config: &ClientConfig) -> Self {
        let room = (config.read_bytes_max as usize).max(CHUNK_BYTES_MAX);
        let times = ReadTimes { hedge: config.hedge_after.as_millis() as u64, ..ReadTimes::default() };
        Reader { nodes, map, sessions, room: Semaphore::new(room), times }
    }

    pub(crate) async fn read(&self, chunk: ChunkRef, range: Range<u32>, until: Instant) -> Result<Bytes, ReadError> {
        if range.start >= range.end || range.end > chunk.len || chunk.len as usize > CHUNK_BYTES_MAX {
            return Err(ReadError::Invalid(chunk.id));
        }
        let unavailable = || ReadError::Unavailable(chunk.id);
        let leaves = range.end.div_ceil(LEAF_BYTES as u32) - range.start / LEAF_BYTES as u32;
        let room = self.room.acquire_many(leaves * LEAF_BYTES as u32);
        let _room = timeout_at(until, room).await.map_err(|_| unavailable())?.map_err(|_| unavailable())?;
        // The placement group a loss was found in: found again with a fresh map, it is one.
        let mut doubted: Option<PlacementGroup> = None;
        loop {
            let map = timeout_at(until, self.map.wait()).await.map_err(|_| unavailable())?;
            if let Some(group) = map.group_of(chunk.id.slot()).filter(|group| !group.members.is_empty()) {
                if doubted.as_ref() == Some(group) {
                    tracing::error!(chunk = %chunk.id, "no intact copy");
                    return Err(ReadError::Lost(chunk.id));
                }
                if let Some(data) = self.attempt(&map, group, chunk, &range, until).await? {
                    return Ok(data);
                }
                doubted = Some(group.clone());
            } else {
                doubted = None;
                sleep_until((Instant::now() + REFRESH_PAUSE).min(until)).await;
            }
            while !timeout_at(until, self.map.refresh()).await.map_err(|_| unavailable())? {
                sleep_until((Instant::now() + REFRESH_PAUSE).min(until)).await;
            }
        }
    }

    /// Reads from the members of one placement group; `None` if all of them say that they do not have the chunk intact.
    async fn attempt(
        &self,
        map: &Arc<PlacementMap>,
        group: &PlacementGroup,
        chunk: ChunkRef,
        range: &Range<u32>,
        until: Instant,
    ) -> Result<Option<Bytes>, ReadError> {
        let order = read::order(&group.members, rand::random(), |node| self.nodes.standing(map, node));
        let (mut read, mut step) = Read::start(self.sessions.now(), order, self.times);
        let mut gets = JoinSet::new();
        // Members that are waited for and were believed to live when they were asked.
        let mut waiting: Vec<usize> = Vec::new();
        let mut liveness = tokio::time::interval_at(Instant::now() + LIVENESS_CHECK, LIVENESS_CHECK);
        liveness.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for member in step.ask {
                let node = group.members[member].node;
                if !self.nodes.is_down(Some(map), node) {
                    waiting.push(member);
                }
                let get = self.get(map, node, chunk, range.clone(), until);
                gets.spawn(async move { (member, get.await) });
            }
            let wake = match step.verdict {
                ReadVerdict::Done(data) => {
                    for member in read.corrupt() {
                        self.report(map, group.members[member].node, chunk.id);
                    }
                    return Ok(Some(data));
                }
                ReadVerdict::Lost => {
                    read.corrupt().for_each(|member| self.report(map, group.members[member].node, chunk.id));
                    return Ok(None);
                }
                ReadVerdict::Pending(wake) => wake,
            };
            let wake = wake.map_or(until, |wake| self.instant(wake).min(until));
            let event = tokio::select! {
                Some(joined) = gets.join_next() => match joined {
                    Ok((member, answer)) => {
                        waiting.retain(|waiting| *waiting != member);
                        ReadEvent::Answer(member, answer)
                    }
                    Err(_) => ReadEvent::Tick,
                },
                () = sleep_until(wake) => {
                    if Instant::now() >= until {
                        return Err(ReadError::Unavailable(chunk.id));
                    }
                    ReadEvent::Tick
                }
                _ = liveness.tick() => {
                    let down = |member: &usize| self.nodes.is_down(Some(map), group.members[*member].node);
                    match waiting.iter().position(down) {
                        // It may still answer; that counts then.
                        Some(at) => ReadEvent::Answer(waiting.swap_remove(at), GetAnswer::Failed),
                        None => ReadEvent::Tick,
                    }
                }
            };
            step = read.step(self.sessions.now(), event);
        }
    }

    /// Asks one member and checks what it sends.
    fn get(
        &self,
        map: &PlacementMap,
        node: types::NodeId,
        chunk: ChunkRef,
        range: Range<u32>,
        until: Instant,
    ) -> impl Future<Output = GetAnswer> + Send + 'static {
        let own = self.nodes.own(node).cloned();
        let peer = self.nodes.peer(Some(map), node);
        let reading = self.nodes.reading(node);
        let (offset, len) = (range.start, range.end - range.start);
        async move {
            let got = match (own, peer) {
                (Some(disks), _) => disks.get(chunk.id, offset, len).await.map_err(GetAnswer::Refused),
                (None, Some(peer)) => {
                    let request = Request::Chunk(ChunkRequest::Get { chunk: chunk.id, offset, len });
                    let deadline = until.saturating_duration_since(Instant::now());
                    piece(peer.call(Class::Bulk, &request, Bytes::new(), deadline).await)
                }
                (None, None) => Err(GetAnswer::Failed),
            };
            let checked = match got {
                Ok(piece) if is_planted(Mistake::ReadUnchecked) => GetAnswer::Intact(unchecked(&range, &piece)),
                Ok(piece) => read::check(&chunk, &range, &piece).map_or(GetAnswer::Mismatch, GetAnswer::Intact),
                Err(answer) => answer,
            };
            if let GetAnswer::Intact(_) = checked {
                reading.answered();
            }
            checked
        }
    }

    /// Has a node look at its replica again. Nobody waits for it: if it is lost, the next reader tells, or the scrub finds it.
    fn report(&self, map: &PlacementMap, node: types::NodeId, chunk: ChunkId) {
        tracing::warn!(%chunk, %node, "corrupt replica");
        let Some(peer) = self.nodes.peer(Some(map), node) else { return };
        tokio::spawn(async move {
            let report = Request::Chunk(ChunkRequest::Report { chunk });
            if let Err(error) = peer.call(Class::Small, &report, Bytes::new(), REPORT_MAX).await {
                tracing::debug!(%chunk, %node, %error, "the corrupt replica was not reported");
            }
        });
    }

    fn instant(&self, moment: Moment) -> Instant {
        // A millisecond more, so that the moment has come by the clock that counts in milliseconds.
        Instant::now() + Duration::from_millis(moment.0.saturating_sub(self.sessions.now().0) + 1)
    }
}

fn piece(called: Result<(Reply, Bytes), TransportError>) -> Result<Piece, GetAnswer> {
    match called {
        Ok((Reply::Chunk(Ok(ChunkReply::Data { first_leaf, chunk_len, leaves })), data)) => {
            Ok(Piece { first_leaf, chunk_len, leaves, data })
        }
        Ok((Reply::Chunk(Err(error)), _)) => Err(GetAnswer::Refused(error)),
        Err(TransportError::Rejected(Rejection::Busy)) => Err(GetAnswer::Refused(ChunkError::Busy)),
        Ok(_) | Err(_) => Err(GetAnswer::Failed),
    }
}

/// What a reader takes that does not look at the hash.
fn unchecked(range: &Range<u32>, piece: &Piece) -> Bytes {
    let start = piece.first_leaf as usize * LEAF_BYTES;
    let place = |at: u32| (at as usize).saturating_sub(start).min(piece.data.len());
    piece.data.slice(place(range.start)..place(range.end))
}
