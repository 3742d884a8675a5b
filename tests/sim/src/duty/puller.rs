//! Fills the disk of a node for the moves that bring it in, in the order of `chunk-server`'s `pull_worker.rs`: every member that is not lost lists its
//! chunks, slot by slot and page by page; what is missing is copied, what is dead is deleted, and a page is compared again until nothing is left
//! to do. When all pages are through, the control group is told what was compared; unless a member is away, which may hold what the others lack.

use super::{CopyJob, Got, Scene, Want};
use crate::bug::Bug;
use chunk_core::pull::{self, Union, Wanted};
use proto::chunk::ListedChunk;
use proto::control::ControlCommand;
use std::collections::{BTreeMap, VecDeque};
use types::{ChunkId, MovePhase, NodeId, PgEpoch, PgId, PlacementGroup, SetDigest, Slot};

/// Rows of one page. Few, so that a move has more than one.
const PAGE: usize = 12;
/// Times a page is compared before the pull is given up for this round.
const ATTEMPTS: u32 = 8;

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// A page of every member's listing.
    Listing(Pull),
    /// What is dead deleted, and then these copied.
    Burying(Pull, Vec<Wanted>),
    /// Chunks copied.
    Copying(Pull),
    /// The control group told.
    Telling,
}

/// One move to this node.
struct Pull {
    pg: PgId,
    epoch: PgEpoch,
    slots: VecDeque<Slot>,
    sources: Vec<NodeId>,
    /// No member is away.
    whole: bool,
    after: Option<ChunkId>,
    attempts: u32,
    chunks: u64,
    digest: SetDigest,
}

/// The worker of a process.
#[derive(Default)]
pub(super) struct Puller {
    /// Moves of this round that are not begun.
    jobs: VecDeque<PgId>,
    stage: Stage,
}

impl Puller {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => {
                self.jobs = jobs(scene).into();
                self.next_job(scene)
            }
            (Stage::Listing(job), Got::Listed(listed)) => self.listed(job, listed, scene),
            (Stage::Burying(job, missing), got) => match got {
                Got::Deleted(done) if !done.is_empty() => self.copy(job, missing, scene),
                _ => self.next_job(scene),
            },
            (Stage::Copying(job), _) => self.list(job, scene),
            _ => self.next_job(scene),
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn next_job(&mut self, scene: &Scene<'_>) -> Want {
        while let Some(pg) = self.jobs.pop_front() {
            let Some(job) = begin(pg, scene) else { continue };
            if scene.bug == Some(Bug::MoveUnverified) {
                return self.tell(&job);
            }
            return self.list(job, scene);
        }
        Want::Rest
    }

    fn list(&mut self, job: Pull, scene: &Scene<'_>) -> Want {
        if scene.map.group(job.pg).is_none_or(|group| group.epoch != job.epoch) {
            return self.next_job(scene);
        }
        let Some(slot) = job.slots.front().copied() else {
            return if job.whole { self.tell(&job) } else { self.next_job(scene) };
        };
        let want = Want::List(job.sources.clone(), slot, job.after, PAGE);
        self.want(Stage::Listing(job), want)
    }

    fn tell(&mut self, job: &Pull) -> Want {
        let Pull { pg, epoch, chunks, digest, .. } = *job;
        self.want(Stage::Telling, Want::Tell(ControlCommand::NoteSynced { pg, epoch, chunks, digest }))
    }

    fn listed(&mut self, mut job: Pull, mut listed: BTreeMap<NodeId, Vec<ListedChunk>>, scene: &Scene<'_>) -> Want {
        let pages: Option<Vec<_>> = job.sources.iter().map(|source| listed.remove(source)).collect();
        let (Some(pages), Some(slot)) = (pages, job.slots.front().copied()) else { return self.next_job(scene) };
        let union = pull::merge(&pages, PAGE);
        let own = scene.chunks.known(slot, job.after, usize::MAX).into_iter();
        let own: Vec<ListedChunk> = own.filter(|row| union.through.is_none_or(|end| row.chunk <= end)).collect();
        let delta = pull::compare(&union, &own);
        job.attempts += 1;
        if delta.is_empty() {
            turn_page(&mut job, &union);
            return self.list(job, scene);
        }
        if !delta.contradictions.is_empty() || job.attempts > ATTEMPTS {
            return self.next_job(scene);
        }
        if delta.dead.is_empty() {
            return self.copy(job, delta.missing, scene);
        }
        let dead = BTreeMap::from([(scene.node, delta.dead)]);
        self.want(Stage::Burying(job, delta.missing), Want::Delete(dead))
    }

    fn copy(&mut self, job: Pull, missing: Vec<Wanted>, scene: &Scene<'_>) -> Want {
        let copy = |wanted: Wanted| {
            let mut sources: Vec<NodeId> = wanted.sources.iter().map(|at| job.sources[*at]).collect();
            // Spread over the sources, by the id.
            let turn = wanted.chunk.id.parts().seq as usize % sources.len().max(1);
            sources.rotate_left(turn);
            CopyJob { target: scene.node, chunk: wanted.chunk, epoch: job.epoch, sources }
        };
        let copies: Vec<CopyJob> = missing.into_iter().map(copy).collect();
        if copies.is_empty() {
            return self.list(job, scene);
        }
        self.want(Stage::Copying(job), Want::Copy(copies))
    }
}

/// A page is as it should be.
fn turn_page(job: &mut Pull, union: &Union) {
    job.chunks += pull::digest(union, &mut job.digest);
    job.attempts = 0;
    job.after = union.through;
    if job.after.is_none() {
        job.slots.pop_front();
    }
}

/// Whether a move brings this node in and is past its barrier.
fn is_ours(group: &PlacementGroup, scene: &Scene<'_>) -> bool {
    let fills = |moving: &types::Move| moving.to.node == scene.node && moving.phase == MovePhase::Copying;
    group.moving.as_ref().is_some_and(fills)
}

/// Moves to this node that are past their barrier, those with the fewest copies left first.
fn jobs(scene: &Scene<'_>) -> Vec<PgId> {
    let left = |group: &PlacementGroup| group.members.iter().filter(|member| !scene.map.is_lost(**member)).count();
    let mut jobs: Vec<(usize, PgId)> =
        scene.map.groups.iter().filter(|group| is_ours(group, scene)).map(|group| (left(group), group.id)).collect();
    jobs.sort_unstable();
    jobs.into_iter().map(|(_, pg)| pg).collect()
}

/// A pull of what those members have that are up, unless none is.
fn begin(pg: PgId, scene: &Scene<'_>) -> Option<Pull> {
    let group = scene.map.group(pg).filter(|group| is_ours(group, scene))?;
    let left = group.members.iter().filter(|member| !scene.map.is_lost(**member)).map(|member| member.node);
    let (sources, away): (Vec<NodeId>, Vec<NodeId>) = left.partition(|node| scene.map.is_up(*node));
    if sources.is_empty() {
        return None;
    }
    let whole = away.is_empty();
    let (slots, digest) = (scene.map.slots_of(pg).collect(), SetDigest::default());
    Some(Pull { pg, epoch: group.epoch, slots, sources, whole, after: None, attempts: 0, chunks: 0, digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{ChunkStore, Flush};
    use bytes::Bytes;
    use types::{Member, Move, NodeEntry, NodeState, PlacementMap};

    fn map() -> PlacementMap {
        let disk = |id: u64| types::DiskId([id as u8; 16]);
        let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), [disk(id)]);
        let member = |id| Member { node: NodeId(id), disk: 0 };
        let mut group = PlacementGroup::settled(PgId(0), PgEpoch(2), [1, 2, 3].map(member).into());
        group.moving = Some(Move { at: 0, to: member(4), phase: MovePhase::Copying });
        let nodes = (1..=4).map(node).collect();
        PlacementMap { nodes, groups: vec![group], slots: vec![0], ..PlacementMap::default() }
    }

    fn put(store: &mut ChunkStore, id: u128) {
        let data = Bytes::from(vec![id as u8; 10]);
        store.put(ChunkId(id), types::root_of(&data, &[]), data).expect("good bytes");
        store.flushed(ChunkId(id), Flush::Honest);
    }

    /// A round against members with these stores: what the control group is told, and the store afterwards.
    fn pull(
        map: &PlacementMap,
        members: &BTreeMap<NodeId, ChunkStore>,
        mut own: ChunkStore,
    ) -> (Option<u64>, ChunkStore) {
        let (mut puller, mut got, mut told) = (Puller::default(), Got::Begin, None);
        loop {
            let want = puller.step(got, &Scene::of(NodeId(4), map, &own));
            got = match want {
                Want::List(nodes, slot, after, max) => {
                    Got::Listed(nodes.into_iter().map(|node| (node, members[&node].known(slot, after, max))).collect())
                }
                Want::Copy(jobs) => {
                    jobs.iter().for_each(|job| put(&mut own, job.chunk.id.0));
                    Got::Copied(jobs.into_iter().map(|job| (job.target, job.chunk.id)).collect())
                }
                Want::Delete(wanted) => {
                    wanted[&NodeId(4)].iter().for_each(|chunk| own.delete(*chunk, false));
                    Got::Deleted(wanted.into_iter().collect())
                }
                Want::Tell(ControlCommand::NoteSynced { chunks, .. }) => {
                    told = Some(chunks);
                    Got::Recorded
                }
                Want::Rest => return (told, own),
                other => panic!("{other:?}"),
            };
        }
    }

    #[test]
    fn a_disk_is_synced_when_it_has_what_any_member_has_and_nothing_that_one_has_deleted() {
        let mut members: BTreeMap<NodeId, ChunkStore> =
            (1..=3).map(|node| (NodeId(node), ChunkStore::default())).collect();
        for id in 1..=30u128 {
            let store = members.get_mut(&NodeId(1 + id as u64 % 3)).expect("one of three");
            put(store, id);
        }
        members.get_mut(&NodeId(1)).expect("one of three").delete(ChunkId(7), false);
        let mut own = ChunkStore::default();
        [7, 8].into_iter().for_each(|id| put(&mut own, id));
        let mut away = map();
        away.nodes[0].state = NodeState::Down;
        let (told, own) = pull(&away, &members, own);
        assert_eq!((told, own.count()), (None, 20), "the first may have what the others lack");
        let (told, own) = pull(&map(), &members, own);
        assert_eq!((told, own.count()), (Some(29), 29));
        assert!(!own.has(ChunkId(7)));
    }
}
