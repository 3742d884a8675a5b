//! Takes off a node's disk what moves have left behind, in the order of `chunk-server`'s `leftover_worker.rs`: only after every member of the group as it
//! is now was up, knew the group's epoch, and said that it has the chunk, or was given it from here, or has it deleted.

use super::{CopyJob, Got, Scene, Want};
use crate::bug::Bug;
use proto::chunk::ListedChunk;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::{Blake3Root, ChunkId, ChunkRef, NodeId, PgEpoch, Slot};

/// Chunks of one step. Few, so that a disk has more than one page.
const PAGE: usize = 16;
/// Rounds in which nothing is looked for, as long as the map stays as it is and nothing was left last time.
const IDLE_ROUNDS: u32 = 6;

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// The members to pass their barrier.
    Passing(Place),
    /// What the members have of a page.
    Comparing(Place, Vec<ChunkRef>),
    /// Whether one of the members that lack the first of these has deleted it.
    Doubting(Place, Page),
    /// The first of these given to the members that lack it.
    Giving(Place, Page),
    /// What is safe taken off.
    Forgetting(Place),
}

/// A slot of which this node has chunks that do not belong to it.
struct Place {
    slot: Slot,
    epoch: PgEpoch,
    members: Vec<NodeId>,
    after: Option<ChunkId>,
}

/// A page of chunks.
#[derive(Default)]
struct Page {
    /// May be taken off.
    safe: Vec<ChunkId>,
    /// And who lacks them.
    lacking: VecDeque<(ChunkRef, Vec<NodeId>)>,
}

/// The worker of a process.
#[derive(Default)]
pub(super) struct Clearer {
    slots: VecDeque<Slot>,
    /// The map under which nothing was left, and the rounds since then.
    clean: Option<(u64, u32)>,
    stage: Stage,
}

impl Clearer {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => self.begin(scene),
            (Stage::Passing(place), Got::Passed(passed)) if passed.len() == place.members.len() => {
                self.page(place, scene)
            }
            (Stage::Comparing(place, page), Got::Stats(stats)) => self.compared(place, page, &stats, scene),
            (Stage::Doubting(place, page), Got::Listed(listed)) => self.doubted(place, page, &listed, scene),
            (Stage::Giving(place, page), Got::Copied(copied)) => self.given(place, page, &copied),
            (Stage::Forgetting(place), _) => self.page(place, scene),
            _ => self.next_slot(scene),
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Want {
        if let Some((clean, rounds)) = &mut self.clean
            && *clean == scene.map.version
            && *rounds < IDLE_ROUNDS
        {
            *rounds += 1;
            return Want::Rest;
        }
        self.slots = scene.chunks.slots().into_iter().filter(|slot| is_left(*slot, scene)).collect();
        self.clean = self.slots.is_empty().then_some((scene.map.version, 0));
        self.next_slot(scene)
    }

    fn next_slot(&mut self, scene: &Scene<'_>) -> Want {
        while let Some(slot) = self.slots.pop_front() {
            let Some(group) = scene.map.group_of(slot).filter(|_| is_left(slot, scene)) else { continue };
            let members: Vec<NodeId> = group.takers().map(|taker| taker.node).collect();
            if !members.iter().all(|node| scene.map.is_up(*node)) {
                continue;
            }
            let barriers = members.iter().map(|node| (*node, group.id, group.epoch)).collect();
            let place = Place { slot, epoch: group.epoch, members, after: None };
            return self.want(Stage::Passing(place), Want::Barriers(barriers));
        }
        Want::Rest
    }

    fn page(&mut self, mut place: Place, scene: &Scene<'_>) -> Want {
        let known = scene.chunks.known(place.slot, place.after, usize::MAX).into_iter();
        let live = |row: ListedChunk| row.live.map(|(len, root)| ChunkRef { id: row.chunk, len, root });
        let page: Vec<ChunkRef> = known.filter_map(live).take(PAGE).collect();
        let Some(last) = page.last() else { return self.next_slot(scene) };
        place.after = Some(last.id);
        let others = place.members.iter().copied().filter(|node| *node != scene.node).collect();
        let ids = page.iter().map(|chunk| chunk.id).collect();
        self.want(Stage::Comparing(place, page), Want::Stat(others, ids))
    }

    fn compared(
        &mut self,
        place: Place,
        chunks: Vec<ChunkRef>,
        stats: &BTreeMap<NodeId, Vec<Option<(u32, Blake3Root)>>>,
        scene: &Scene<'_>,
    ) -> Want {
        let others = || place.members.iter().filter(|node| **node != scene.node);
        if !others().all(|node| stats.get(node).is_some_and(|stats| stats.len() == chunks.len())) {
            return self.page(place, scene);
        }
        let mut page = Page::default();
        for (at, chunk) in chunks.into_iter().enumerate() {
            let lacks = |node: &&NodeId| stats[*node][at] != Some((chunk.len, chunk.root));
            let nodes: Vec<NodeId> = others().filter(lacks).copied().collect();
            if nodes.is_empty() {
                page.safe.push(chunk.id);
            } else {
                page.lacking.push_back((chunk, nodes));
            }
        }
        self.next_lacking(place, page)
    }

    /// Before anything is given, those that lack it are asked whether they have deleted it: what one has deleted must not be given to another.
    fn next_lacking(&mut self, place: Place, page: Page) -> Want {
        if let Some((chunk, nodes)) = page.lacking.front() {
            let after = chunk.id.0.checked_sub(1).map(ChunkId);
            let want = Want::List(nodes.clone(), place.slot, after, 1);
            return self.want(Stage::Doubting(place, page), want);
        }
        let (slot, safe) = (place.slot, page.safe);
        self.want(Stage::Forgetting(place), Want::Forget(slot, safe))
    }

    fn doubted(
        &mut self,
        place: Place,
        mut page: Page,
        listed: &BTreeMap<NodeId, Vec<ListedChunk>>,
        scene: &Scene<'_>,
    ) -> Want {
        let Some((chunk, nodes)) = page.lacking.front().cloned() else { return self.next_slot(scene) };
        let dead = |rows: &Vec<ListedChunk>| rows.iter().any(|row| row.chunk == chunk.id && row.live.is_none());
        if listed.values().any(dead) {
            page.lacking.pop_front();
            page.safe.push(chunk.id);
            return self.next_lacking(place, page);
        }
        if listed.len() < nodes.len() {
            page.lacking.pop_front();
            return self.next_lacking(place, page);
        }
        let (epoch, sources) = (place.epoch, vec![scene.node]);
        let give = |target| CopyJob { target, chunk, epoch, sources: sources.clone() };
        let copies = nodes.into_iter().map(give).collect();
        self.want(Stage::Giving(place, page), Want::Copy(copies))
    }

    fn given(&mut self, place: Place, mut page: Page, copied: &BTreeSet<(NodeId, ChunkId)>) -> Want {
        if let Some((chunk, nodes)) = page.lacking.pop_front()
            && nodes.iter().all(|node| copied.contains(&(*node, chunk.id)))
        {
            page.safe.push(chunk.id);
        }
        self.next_lacking(place, page)
    }
}

/// Whether the chunks of a slot do not belong to this node.
fn is_left(slot: Slot, scene: &Scene<'_>) -> bool {
    let Some(group) = scene.map.group_of(slot) else { return false };
    let leaves = group.moving.as_ref().and_then(|moving| group.members.get(usize::from(moving.at)));
    let early = scene.bug == Some(Bug::OldCopyFirst) && leaves.is_some_and(|member| member.node == scene.node);
    early || group.takers().all(|taker| taker.node != scene.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{ChunkStore, Flush};
    use bytes::Bytes;
    use types::{Member, NodeEntry, PgId, PlacementGroup, PlacementMap};

    fn map() -> PlacementMap {
        let node = |id: u64| NodeEntry::new(NodeId(id), String::new(), id.to_string(), []);
        let members = (1..=3).map(|id| Member { node: NodeId(id), disk: 0 }).collect();
        let groups = vec![PlacementGroup::settled(PgId(0), PgEpoch(2), members)];
        PlacementMap { nodes: (1..=4).map(node).collect(), groups, slots: vec![0], ..PlacementMap::default() }
    }

    fn put(store: &mut ChunkStore, id: u128) {
        let data = Bytes::from(vec![id as u8; 10]);
        store.put(ChunkId(id), types::root_of(&data, &[]), data).expect("good bytes");
        store.flushed(ChunkId(id), Flush::Honest);
    }

    /// A round of node 4 against members with these stores, of which one may be deaf to gifts: what is taken off, and what is given.
    fn clear(members: &BTreeMap<NodeId, ChunkStore>, own: &ChunkStore, deaf: u64) -> (Vec<u128>, Vec<(u64, u128)>) {
        let (map, mut clearer, mut got) = (map(), Clearer::default(), Got::Begin);
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        loop {
            let want = clearer.step(got, &Scene::of(NodeId(4), &map, own));
            got = match want {
                Want::Barriers(asked) => Got::Passed(asked.into_iter().collect()),
                Want::Stat(nodes, chunks) => {
                    let stat = |node: NodeId| chunks.iter().map(|chunk| members[&node].stat(*chunk)).collect();
                    Got::Stats(nodes.into_iter().map(|node| (node, stat(node))).collect())
                }
                Want::List(nodes, slot, after, max) => {
                    Got::Listed(nodes.into_iter().map(|node| (node, members[&node].known(slot, after, max))).collect())
                }
                Want::Copy(jobs) => {
                    given.extend(jobs.iter().map(|job| (job.target.0, job.chunk.id.0)));
                    let done = jobs.into_iter().filter(|job| job.target.0 != deaf);
                    Got::Copied(done.map(|job| (job.target, job.chunk.id)).collect())
                }
                Want::Forget(_, chunks) => {
                    taken.extend(chunks.into_iter().map(|chunk| chunk.0));
                    Got::Nothing
                }
                Want::Rest => return (taken, given),
                other => panic!("{other:?}"),
            };
        }
    }

    #[test]
    fn what_all_have_or_one_has_deleted_is_taken_off_and_what_one_lacks_is_given_first() {
        let mut members: BTreeMap<NodeId, ChunkStore> =
            (1..=3).map(|node| (NodeId(node), ChunkStore::default())).collect();
        let mut own = ChunkStore::default();
        for id in 1..=20 {
            put(&mut own, id);
            members.values_mut().for_each(|store| put(store, id));
        }
        members.get_mut(&NodeId(2)).expect("one of three").forget(ChunkId(5));
        members.get_mut(&NodeId(3)).expect("one of three").delete(ChunkId(9), false);
        members.get_mut(&NodeId(1)).expect("one of three").forget(ChunkId(9));
        let (mut taken, given) = clear(&members, &own, 0);
        taken.sort_unstable();
        assert_eq!((taken, given), ((1..=20).collect(), vec![(2, 5)]));
        let (taken, _) = clear(&members, &own, 2);
        assert_eq!(taken.len(), 19, "what was not taken stays");
        assert!(!taken.contains(&5));
    }
}
