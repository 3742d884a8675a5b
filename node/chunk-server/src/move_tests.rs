//! Four services in one process: a copy moves, writers go on, and what is left behind goes when it may.

use crate::{
    ChunkService, FetchError, LeftoverWorker, MoveHost, PullWorker, ReplicaSource, ServiceConfig, StoreConfig,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::time::{Duration, Instant};
use types::{
    ChunkId, ChunkIdParts, ChunkRef, GroupId, Member, Move, MovePhase, NodeEntry, NodeId, NodeState, PgEpoch, PgId,
    PlacementGroup, PlacementMap, SessionId, SetDigest, Slot, WriterEpoch,
};

/// Services by node, those that do not answer, and what was noted.
#[derive(Default)]
struct World {
    map: Mutex<Arc<PlacementMap>>,
    nodes: Mutex<BTreeMap<NodeId, Arc<ChunkService>>>,
    silent: Mutex<BTreeSet<NodeId>>,
    /// Chunks that are fetched at the moment, and the most there were.
    fetching: Mutex<(usize, usize)>,
    synced: Mutex<Vec<(PgId, PgEpoch, u64, SetDigest)>>,
}

struct Source(Arc<World>);

#[async_trait]
impl ReplicaSource for Source {
    async fn fetch(&self, node: NodeId, chunk: ChunkRef) -> Result<Bytes, FetchError> {
        let service = self.0.nodes.lock().get(&node).cloned().ok_or(FetchError::Unreachable(node))?;
        {
            let mut fetching = self.0.fetching.lock();
            *fetching = (fetching.0 + 1, fetching.1.max(fetching.0 + 1));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.0.fetching.lock().0 -= 1;
        let get = ChunkRequest::Get { chunk: chunk.id, offset: 0, len: chunk.len };
        match service.handle(true, get, Bytes::new()).await {
            (Ok(_), data) => Ok(data),
            (Err(why), _) => Err(FetchError::Refused { node, why }),
        }
    }
}

#[async_trait]
impl MoveHost for World {
    fn map(&self) -> Arc<PlacementMap> {
        self.map.lock().clone()
    }

    async fn call(&self, node: NodeId, request: ChunkRequest) -> Option<Result<ChunkReply, ChunkError>> {
        if self.silent.lock().contains(&node) {
            return None;
        }
        let service = self.nodes.lock().get(&node).cloned()?;
        Some(service.handle(true, request, Bytes::new()).await.0)
    }

    async fn note_synced(&self, pg: PgId, epoch: PgEpoch, chunks: u64, digest: SetDigest) -> bool {
        self.synced.lock().push((pg, epoch, chunks, digest));
        true
    }
}

struct Site {
    world: Arc<World>,
    _folder: TempDir,
}

fn member(node: u64) -> Member {
    Member { node: NodeId(node), disk: 0 }
}

fn data(seq: u32) -> Bytes {
    vec![seq as u8; 100 + seq as usize].into()
}

fn chunk(seq: u32) -> ChunkRef {
    let parts = ChunkIdParts { slot: Slot(0), group: GroupId(1), session: SessionId(1), epoch: WriterEpoch(0), seq };
    ChunkRef { id: ChunkId::new(parts), len: 100 + seq, root: types::root_of(&data(seq), &[]) }
}

impl Site {
    /// Four nodes of one disk; one group on the first three.
    async fn new() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let world = Arc::new(World::default());
        let mut entries = Vec::new();
        for id in (1..=4).map(NodeId) {
            let mut store = StoreConfig::new(id, vec![folder.path().join(id.to_string())]);
            (store.segment_bytes, store.reserve_bytes, store.direct_io) = (8 << 20, 0, false);
            let service = ChunkService::open(ServiceConfig::new(store), Arc::new(Source(world.clone()))).await;
            let service = service.expect("a service");
            entries.push(NodeEntry::new(id, String::new(), id.to_string(), service.disk_ids()));
            world.nodes.lock().insert(id, service);
        }
        let group = PlacementGroup::settled(PgId(0), PgEpoch(1), (1..=3).map(member).collect());
        let site = Site { world, _folder: folder };
        site.set(PlacementMap { nodes: entries, groups: vec![group], slots: vec![0], ..PlacementMap::default() });
        site
    }

    fn set(&self, mut map: PlacementMap) {
        map.version += 1;
        let map = Arc::new(map);
        *self.world.map.lock() = map.clone();
        self.world.nodes.lock().values().for_each(|service| service.set_map(map.clone()));
    }

    fn change(&self, change: impl FnOnce(&mut PlacementMap)) {
        let mut map = (*self.world.map()).clone();
        change(&mut map);
        self.set(map);
    }

    /// Node 4 comes in for node 1.
    fn begin(&self, phase: MovePhase) {
        self.change(|map| {
            map.groups[0].epoch.0 += 1;
            map.groups[0].moving = Some(Move { at: 0, to: member(4), phase });
        });
    }

    fn commit(&self) {
        self.change(|map| {
            map.groups[0].epoch.0 += 1;
            map.groups[0].moving = None;
            map.groups[0].members[0] = member(4);
        });
    }

    fn node(&self, id: u64) -> Arc<ChunkService> {
        self.world.nodes.lock()[&NodeId(id)].clone()
    }

    async fn put(&self, node: u64, seq: u32, epoch: u64) -> Result<(), ChunkError> {
        let ChunkRef { id, root, .. } = chunk(seq);
        let request = ChunkRequest::Put { chunk: id, epoch: PgEpoch(epoch), root };
        self.node(node).handle(true, request, data(seq)).await.0.map(|_| ())
    }

    async fn delete(&self, node: u64, seq: u32) {
        let request = ChunkRequest::Delete { chunks: vec![chunk(seq).id] };
        self.node(node).handle(true, request, Bytes::new()).await.0.expect("deleted");
    }

    /// Numbers of the live chunks on a node.
    async fn on(&self, node: u64) -> Vec<u32> {
        let list = ChunkRequest::List { slot: Slot(0), after: None, max: 1000 };
        match self.node(node).handle(true, list, Bytes::new()).await.0 {
            Ok(ChunkReply::Listed(rows)) => {
                rows.iter().filter(|row| row.live.is_some()).map(|row| row.chunk.parts().seq).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn puller(&self, node: u64) -> PullWorker {
        PullWorker::new(self.world.clone(), self.node(node), NodeId(node))
    }

    fn clearer(&self, node: u64) -> LeftoverWorker {
        LeftoverWorker::new(self.world.clone(), self.node(node), NodeId(node))
    }
}

fn digest_of(seqs: &[u32]) -> SetDigest {
    let mut digest = SetDigest::default();
    seqs.iter().for_each(|seq| digest.add(&chunk(*seq)));
    digest
}

#[tokio::test]
async fn the_newcomer_gets_the_union_of_the_members_without_what_one_has_deleted() {
    let site = Site::new().await;
    for (node, seqs) in [(1, [1, 2, 4].as_slice()), (2, &[1, 3, 4]), (3, &[1, 4])] {
        for seq in seqs {
            site.put(node, *seq, 1).await.expect("a put");
        }
    }
    site.delete(3, 4).await;
    site.begin(MovePhase::Barrier);
    site.puller(4).one_round().await;
    assert_eq!((site.on(4).await, site.world.synced.lock().len()), (vec![], 0), "not before the barrier");
    site.change(|map| map.groups[0].moving.as_mut().expect("a move").phase = MovePhase::Copying);
    site.put(4, 9, 2).await.expect("writers write to the newcomer");
    site.puller(4).one_round().await;
    assert_eq!(site.on(4).await, [1, 2, 3, 9]);
    assert_eq!(*site.world.synced.lock(), [(PgId(0), PgEpoch(2), 3, digest_of(&[1, 2, 3]))]);
}

#[tokio::test]
async fn a_member_that_is_down_is_waited_for_and_what_the_others_have_is_copied_at_once() {
    let site = Site::new().await;
    for (node, seqs) in [(2, [1, 2, 4].as_slice()), (3, &[1, 3, 4])] {
        for seq in seqs {
            site.put(node, *seq, 1).await.expect("a put");
        }
    }
    site.delete(2, 4).await;
    site.begin(MovePhase::Copying);
    // One is lost, and one is restarted: the third has the only copies that can be had.
    site.change(|map| (map.nodes[0].state, map.nodes[1].state) = (NodeState::Out, NodeState::Down));
    let puller = site.puller(4);
    puller.one_round().await;
    assert_eq!((site.on(4).await, site.world.synced.lock().len()), (vec![1, 3, 4], 0));
    site.put(3, 5, 2).await.expect("a put");
    puller.one_round().await;
    assert_eq!(site.on(4).await, [1, 3, 4], "it looks again after a while");
    site.change(|map| map.nodes[1].state = NodeState::Up);
    puller.one_round().await;
    assert_eq!(site.on(4).await, [1, 2, 3, 5]);
    assert_eq!(*site.world.synced.lock(), [(PgId(0), PgEpoch(2), 4, digest_of(&[1, 2, 3, 5]))]);
}

#[tokio::test]
async fn a_lost_member_is_not_asked_and_a_silent_one_stops_the_copy() {
    let site = Site::new().await;
    for node in 2..=3 {
        site.put(node, 1, 1).await.expect("a put");
    }
    site.begin(MovePhase::Copying);
    site.world.silent.lock().insert(NodeId(1));
    site.puller(4).one_round().await;
    assert!(site.world.synced.lock().is_empty(), "what it holds is not known");
    site.change(|map| map.nodes[0].state = NodeState::Out);
    site.puller(4).one_round().await;
    assert_eq!(*site.world.synced.lock(), [(PgId(0), PgEpoch(2), 1, digest_of(&[1]))]);
}

#[tokio::test]
async fn one_chunk_is_copied_at_a_time_while_clients_call_unless_it_is_the_last_copy() {
    for (clients_call, members_lost, at_once) in [(true, 1, 1), (true, 2, 3), (false, 1, 3)] {
        let site = Site::new().await;
        for seq in 1..=3 {
            site.put(3, seq, 1).await.expect("a put");
        }
        site.begin(MovePhase::Copying);
        site.change(|map| map.nodes.iter_mut().take(members_lost).for_each(|node| node.state = NodeState::Out));
        if clients_call {
            let get = ChunkRequest::Get { chunk: chunk(1).id, offset: 0, len: 1 };
            site.node(4).handle(false, get, Bytes::new()).await.0.expect_err("it is not there yet");
        }
        site.puller(4).one_round().await;
        assert_eq!(site.on(4).await, [1, 2, 3]);
        let most = site.world.fetching.lock().1;
        assert_eq!(most, at_once, "clients call: {clients_call}, lost: {members_lost}");
    }
}

#[tokio::test]
async fn what_moved_away_is_taken_off_only_when_the_members_have_it() {
    let site = Site::new().await;
    for seq in 1..=4 {
        for node in 1..=3 {
            site.put(node, seq, 1).await.expect("a put");
        }
    }
    site.begin(MovePhase::Copying);
    site.clearer(1).one_round().await;
    assert_eq!(site.on(1).await.len(), 4, "it is a member still");
    site.commit();
    // The newcomer has chunk 1 only, and one member has chunk 4 deleted.
    site.put(4, 1, 3).await.expect("a put");
    site.delete(2, 4).await;
    site.change(|map| map.nodes[2].state = NodeState::Down);
    site.clearer(1).one_round().await;
    assert_eq!(site.on(1).await.len(), 4, "a member is away");
    site.change(|map| map.nodes[2].state = NodeState::Up);
    site.world.silent.lock().insert(NodeId(4));
    site.clearer(1).one_round().await;
    assert_eq!(site.on(1).await.len(), 4, "a member says nothing");
    site.world.silent.lock().clear();
    site.clearer(1).one_round().await;
    assert!(site.on(1).await.is_empty());
    assert_eq!(site.on(4).await, [1, 2, 3], "what the newcomer lacked was given to it, but not what was deleted");
    assert_eq!(site.on(3).await, [1, 2, 3, 4]);
    // It may come back by another move.
    site.change(|map| {
        map.groups[0].epoch.0 += 1;
        map.groups[0].members[0] = member(1);
    });
    site.put(1, 2, 4).await.expect("back again");
    assert_eq!(site.on(1).await, [2]);
}

#[tokio::test]
async fn a_barrier_is_passed_once_the_epoch_is_known_and_older_puts_are_refused() {
    let site = Site::new().await;
    let barrier = async |epoch| {
        let request = ChunkRequest::Barrier { pg: PgId(0), epoch: PgEpoch(epoch) };
        site.node(1).handle(true, request, Bytes::new()).await.0
    };
    assert_eq!(barrier(1).await, Ok(ChunkReply::Passed));
    assert_eq!(barrier(2).await, Err(ChunkError::StaleEpoch { current: PgEpoch(1) }));
    site.begin(MovePhase::Barrier);
    assert_eq!(barrier(2).await, Ok(ChunkReply::Passed));
    assert_eq!(site.put(1, 1, 1).await, Err(ChunkError::StaleEpoch { current: PgEpoch(2) }));
    let request = ChunkRequest::Barrier { pg: PgId(0), epoch: PgEpoch(2) };
    assert_eq!(site.node(1).handle(false, request, Bytes::new()).await.0, Err(ChunkError::Invalid), "for nodes only");
}

#[tokio::test]
async fn a_put_waits_for_the_map_that_its_writer_has_already() {
    let site = Site::new().await;
    let (put, ()) = tokio::join!(site.put(1, 1, 2), async { site.begin(MovePhase::Barrier) });
    assert_eq!(put, Ok(()));
}

#[tokio::test]
async fn without_a_lease_only_reads_are_answered() {
    let site = Site::new().await;
    site.put(1, 1, 1).await.expect("no lease is needed where none is given");
    let node = site.node(1);
    node.lease(0, Instant::now());
    assert_eq!(site.put(1, 2, 1).await, Err(ChunkError::NoLease));
    let delete = ChunkRequest::Delete { chunks: vec![chunk(1).id] };
    assert_eq!(node.handle(true, delete, Bytes::new()).await.0, Err(ChunkError::NoLease));
    let replicate = ChunkRequest::Replicate { chunk: chunk(3), epoch: PgEpoch(1), sources: vec![NodeId(2)] };
    assert_eq!(node.handle(true, replicate, Bytes::new()).await.0, Err(ChunkError::NoLease));
    let get = ChunkRequest::Get { chunk: chunk(1).id, offset: 0, len: chunk(1).len };
    let (reply, body) = node.handle(false, get, Bytes::new()).await;
    assert!(reply.is_ok() && body == data(1));
    // A lease counts once the map is known that its giver decides by.
    node.lease(site.world.map().version + 1, Instant::now() + Duration::from_secs(3600));
    assert_eq!(site.put(1, 2, 1).await, Err(ChunkError::NoLease));
    site.change(|_| {});
    assert_eq!(site.put(1, 2, 1).await, Ok(()));
}
