//! The service over real disks, with a fake network.

mod upkeep;

use crate::{ChunkCall, ChunkService, FetchError, PeerSource, ReplicaSource, ServiceConfig, StoreConfig};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::chunk::{ChunkError, ChunkReply, ChunkRequest, STAT_CHUNKS_MAX};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use types::{
    Blake3Root, CHUNK_BYTES_MAX, ChunkId, ChunkIdParts, ChunkRef, DiskId, GroupId, LEAF_BYTES, Member, NodeEntry,
    NodeId, PgEpoch, PgId, PlacementGroup, PlacementMap, SessionId, Slot, WriterEpoch,
};

const ME: NodeId = NodeId(1);
const EPOCH: PgEpoch = PgEpoch(5);

/// Slot 0: this node's disk 0; slot 1: its disk 1; slot 2: other nodes only; slot 3: a disk that is not here.
fn map(version: u64, epoch: PgEpoch, mine: &[DiskId]) -> Arc<PlacementMap> {
    let node = |id: u64, disks: Vec<DiskId>| NodeEntry::new(NodeId(id), String::new(), id.to_string(), disks);
    let group = |id: u32, members: &[(u64, u16)]| {
        let members = members.iter().map(|(node, disk)| Member { node: NodeId(*node), disk: *disk });
        PlacementGroup::settled(PgId(id), epoch, members.collect())
    };
    let mut disks = mine.to_vec();
    disks.push(DiskId([0xdd; 16]));
    Arc::new(PlacementMap {
        version,
        nodes: vec![node(1, disks), node(2, Vec::new()), node(3, Vec::new()), node(4, Vec::new())],
        groups: vec![
            group(0, &[(1, 0), (2, 0), (3, 0)]),
            group(1, &[(2, 0), (1, 1), (3, 0)]),
            group(2, &[(2, 0), (3, 0), (4, 0)]),
            group(3, &[(2, 0), (3, 0), (1, 2)]),
        ],
        slots: vec![0, 1, 2, 3],
        ..PlacementMap::default()
    })
}

fn id(slot: u16, seq: u32) -> ChunkId {
    let (group, session, epoch) = (GroupId(1), SessionId(1), WriterEpoch(1));
    ChunkId::new(ChunkIdParts { slot: Slot(slot), group, session, epoch, seq })
}

fn data(seed: u8, len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 + i / 251) as u8 ^ seed).collect::<Vec<u8>>().into()
}

fn root(data: &[u8]) -> Blake3Root {
    types::root_of(data, &types::leaves_of(data))
}

/// Other nodes' services, by what they have.
#[derive(Default)]
struct FakeSource {
    answers: Mutex<HashMap<NodeId, Result<Bytes, FetchError>>>,
    asked: Mutex<Vec<NodeId>>,
    hangs: Option<NodeId>,
}

#[async_trait]
impl ReplicaSource for FakeSource {
    async fn fetch(&self, node: NodeId, _chunk: ChunkRef) -> Result<Bytes, FetchError> {
        self.asked.lock().push(node);
        if self.hangs == Some(node) {
            std::future::pending::<()>().await;
        }
        self.answers.lock().get(&node).cloned().unwrap_or(Err(FetchError::Unreachable(node)))
    }
}

struct Fixture {
    service: Arc<ChunkService>,
    source: Arc<FakeSource>,
    _folder: TempDir,
}

async fn fixture_with(change: impl FnOnce(&mut ServiceConfig), source: FakeSource) -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disks = vec![folder.path().join("a"), folder.path().join("b")];
    let store = StoreConfig { segment_bytes: 8 << 20, reserve_bytes: 0, ..StoreConfig::new(ME, disks) };
    let mut config = ServiceConfig::new(store);
    change(&mut config);
    let source = Arc::new(source);
    let service = ChunkService::open(config, source.clone()).await.expect("the service opens");
    service.set_map(map(1, EPOCH, &service.disk_ids()));
    Fixture { service, source, _folder: folder }
}

async fn fixture() -> Fixture {
    fixture_with(|_| {}, FakeSource::default()).await
}

async fn put(service: &ChunkService, chunk: ChunkId, epoch: PgEpoch, data: &Bytes) -> Result<ChunkReply, ChunkError> {
    let request = ChunkRequest::Put { chunk, epoch, root: root(data) };
    service.handle(false, request, data.clone()).await.0
}

async fn get(service: &ChunkService, chunk: ChunkId, offset: u32, len: u32) -> (Result<ChunkReply, ChunkError>, Bytes) {
    service.handle(false, ChunkRequest::Get { chunk, offset, len }, Bytes::new()).await
}

#[tokio::test]
async fn a_chunk_is_stored_on_the_disk_that_the_map_names_and_read_verified() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 2 * LEAF_BYTES + 100);
    for slot in [0, 1] {
        assert_eq!(put(&service, id(slot, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    }
    assert_eq!(service.statuses().iter().map(|disk| disk.chunks).collect::<Vec<_>>(), [1, 1]);
    let (reply, body) = get(&service, id(1, 1), LEAF_BYTES as u32 + 3, 10).await;
    let Ok(ChunkReply::Data { first_leaf, chunk_len, leaves }) = reply else { panic!("{reply:?}") };
    assert_eq!((first_leaf, chunk_len as usize), (1, bytes.len()));
    assert_eq!(types::verify_range(&root(&bytes), &leaves, 1, &body), Ok(()));
    assert_eq!(body, bytes.slice(LEAF_BYTES..2 * LEAF_BYTES));
}

#[tokio::test]
async fn epochs_that_differ_are_refused_and_a_newer_one_asks_for_the_map() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 100);
    let stale = Err(ChunkError::StaleEpoch { current: EPOCH });
    assert_eq!(put(&service, id(0, 1), PgEpoch(4), &bytes).await, stale);
    let wanted = service.map_wanted();
    tokio::pin!(wanted);
    let early = tokio::select! { biased; () = &mut wanted => true, () = std::future::ready(()) => false };
    assert!(!early, "an old writer is no reason to refresh");
    assert_eq!(put(&service, id(0, 1), PgEpoch(6), &bytes).await, stale);
    wanted.await;
    service.set_map(map(2, PgEpoch(6), &service.disk_ids()));
    service.set_map(map(1, EPOCH, &service.disk_ids()));
    assert_eq!(put(&service, id(0, 1), PgEpoch(6), &bytes).await, Ok(ChunkReply::Stored));
    assert_eq!(put(&service, id(0, 2), EPOCH, &bytes).await, Err(ChunkError::StaleEpoch { current: PgEpoch(6) }));
}

#[tokio::test]
async fn a_node_without_a_map_is_busy_and_asks_for_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = StoreConfig { segment_bytes: 8 << 20, ..StoreConfig::new(ME, vec![folder.path().join("a")]) };
    let service = ChunkService::open(ServiceConfig::new(store), Arc::new(FakeSource::default())).await;
    let service = service.expect("the service opens");
    assert_eq!(put(&service, id(0, 1), EPOCH, &data(1, 10)).await, Err(ChunkError::Busy));
    service.map_wanted().await;
    assert_eq!(get(&service, id(0, 1), 0, 1).await.0, Err(ChunkError::NotFound));
}

#[tokio::test]
async fn chunks_that_belong_elsewhere_are_refused() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 100);
    assert_eq!(put(&service, id(2, 1), EPOCH, &bytes).await, Err(ChunkError::NotMember));
    assert_eq!(put(&service, id(77, 1), EPOCH, &bytes).await, Err(ChunkError::NotMember));
    assert_eq!(put(&service, id(3, 1), EPOCH, &bytes).await, Err(ChunkError::Fenced), "that disk is not here");
}

#[tokio::test]
async fn what_is_not_a_chunk_or_not_the_same_chunk_is_refused() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 100);
    assert_eq!(put(&service, id(0, 1), EPOCH, &Bytes::new()).await, Err(ChunkError::Invalid));
    assert_eq!(put(&service, id(0, 1), EPOCH, &data(1, CHUNK_BYTES_MAX + 1)).await, Err(ChunkError::Invalid));
    let request = ChunkRequest::Put { chunk: id(0, 1), epoch: EPOCH, root: Blake3Root([0; 32]) };
    assert_eq!(service.handle(false, request, bytes.clone()).await.0, Err(ChunkError::HashMismatch));
    assert_eq!(get(&service, id(0, 1), 0, 1).await.0, Err(ChunkError::NotFound));
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    assert_eq!(put(&service, id(0, 1), EPOCH, &data(2, 100)).await, Err(ChunkError::Conflict));
    for (offset, len) in [(0, 0), (100, 1), (0, 101), (0, u32::MAX)] {
        assert_eq!(get(&service, id(0, 1), offset, len).await.0, Err(ChunkError::Invalid), "{offset}+{len}");
    }
}

#[tokio::test]
async fn only_nodes_delete_and_what_is_deleted_stays_so() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 100);
    for slot in [0, 1] {
        assert_eq!(put(&service, id(slot, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    }
    let chunks = vec![id(0, 1), id(1, 1), id(2, 1)];
    let request = ChunkRequest::Delete { chunks: chunks.clone() };
    assert_eq!(service.handle(false, request.clone(), Bytes::new()).await.0, Err(ChunkError::Invalid));
    assert!(get(&service, id(0, 1), 0, 1).await.0.is_ok());
    for _ in 0..2 {
        assert_eq!(service.handle(true, request.clone(), Bytes::new()).await.0, Ok(ChunkReply::Deleted));
    }
    let stats = service.handle(false, ChunkRequest::Stat { chunks }, Bytes::new()).await.0;
    assert_eq!(stats, Ok(ChunkReply::Stats(vec![None; 3])));
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Err(ChunkError::Deleted));
    assert_eq!(get(&service, id(0, 1), 0, 1).await.0, Err(ChunkError::Deleted));
    let many = vec![id(0, 1); STAT_CHUNKS_MAX + 1];
    let stat = ChunkRequest::Stat { chunks: many.clone() };
    assert_eq!(service.handle(true, stat, Bytes::new()).await.0, Err(ChunkError::Invalid));
    let delete = ChunkRequest::Delete { chunks: many };
    assert_eq!(service.handle(true, delete, Bytes::new()).await.0, Err(ChunkError::Invalid));
}

#[tokio::test]
async fn bodies_in_flight_are_bounded() {
    let Fixture { service, _folder, .. } =
        fixture_with(|config| config.body_bytes_max = CHUNK_BYTES_MAX, FakeSource::default()).await;
    let large = data(1, CHUNK_BYTES_MAX);
    let first = put(&service, id(0, 1), EPOCH, &large);
    tokio::pin!(first);
    let early = tokio::select! { biased; _ = &mut first => true, () = std::future::ready(()) => false };
    assert!(!early);
    assert_eq!(put(&service, id(0, 2), EPOCH, &data(2, 10)).await, Err(ChunkError::Busy));
    assert_eq!(first.await, Ok(ChunkReply::Stored));
    assert_eq!(put(&service, id(0, 2), EPOCH, &data(2, 10)).await, Ok(ChunkReply::Stored));
}

#[tokio::test]
async fn replies_in_flight_are_bounded() {
    let change = |config: &mut ServiceConfig| {
        config.read_bytes_max = CHUNK_BYTES_MAX;
        config.reads_waiting_max = 1;
    };
    let Fixture { service, _folder, .. } = fixture_with(change, FakeSource::default()).await;
    let large = data(1, CHUNK_BYTES_MAX);
    assert_eq!(put(&service, id(0, 1), EPOCH, &large).await, Ok(ChunkReply::Stored));
    let len = CHUNK_BYTES_MAX as u32;
    let (_, body) = get(&service, id(0, 1), 0, len).await;
    assert!(body == large);
    let waiting = get(&service, id(0, 1), 0, len);
    tokio::pin!(waiting);
    let early = tokio::select! { biased; _ = &mut waiting => true, () = std::future::ready(()) => false };
    assert!(!early, "the first body is still being sent");
    assert_eq!(get(&service, id(0, 1), 0, 1).await.0, Err(ChunkError::Busy));
    drop(body);
    assert!(waiting.await.1 == large);
}

fn reference(chunk: ChunkId, data: &Bytes) -> ChunkRef {
    ChunkRef { id: chunk, len: data.len() as u32, root: root(data) }
}

async fn replicate(
    service: &ChunkService,
    chunk: ChunkRef,
    epoch: PgEpoch,
    from: &[u64],
) -> Result<ChunkReply, ChunkError> {
    let sources = from.iter().map(|node| NodeId(*node)).collect();
    service.handle(true, ChunkRequest::Replicate { chunk, epoch, sources }, Bytes::new()).await.0
}

#[tokio::test]
async fn a_replica_is_taken_from_the_first_source_that_has_the_right_bytes() {
    let source = FakeSource { hangs: Some(NodeId(4)), ..FakeSource::default() };
    let shorten = |config: &mut ServiceConfig| config.fetch_timeout = Duration::from_millis(20);
    let Fixture { service, source, _folder } = fixture_with(shorten, source).await;
    let bytes = data(1, 200_000);
    source.answers.lock().insert(NodeId(2), Ok(data(2, 200_000)));
    source.answers.lock().insert(NodeId(3), Ok(bytes.clone()));
    let chunk = reference(id(0, 1), &bytes);
    assert_eq!(replicate(&service, chunk, EPOCH, &[1, 5, 4, 2, 3]).await, Ok(ChunkReply::Stored));
    assert_eq!(*source.asked.lock(), [NodeId(5), NodeId(4), NodeId(2), NodeId(3)]);
    assert!(get(&service, id(0, 1), 0, 200_000).await.1 == bytes);
    assert_eq!(replicate(&service, chunk, EPOCH, &[3]).await, Ok(ChunkReply::Stored));
    assert_eq!(source.asked.lock().len(), 4, "what is here is not fetched again");
    let other = reference(id(0, 1), &data(9, 10));
    assert_eq!(replicate(&service, other, EPOCH, &[3]).await, Err(ChunkError::Conflict));
}

#[tokio::test]
async fn a_replica_that_cannot_be_had_or_does_not_belong_here_is_refused() {
    let Fixture { service, source, _folder } = fixture().await;
    let bytes = data(1, 1000);
    source.answers.lock().insert(NodeId(2), Ok(data(2, 1000)));
    let chunk = reference(id(0, 1), &bytes);
    assert_eq!(replicate(&service, chunk, EPOCH, &[2, 3]).await, Err(ChunkError::NoSource));
    assert_eq!(replicate(&service, chunk, EPOCH, &[]).await, Err(ChunkError::NoSource));
    assert_eq!(replicate(&service, chunk, PgEpoch(4), &[2]).await, Err(ChunkError::StaleEpoch { current: EPOCH }));
    assert_eq!(replicate(&service, reference(id(2, 1), &bytes), EPOCH, &[2]).await, Err(ChunkError::NotMember));
    let hostile = ChunkRef { len: u32::MAX, ..chunk };
    assert_eq!(replicate(&service, hostile, EPOCH, &[2]).await, Err(ChunkError::Invalid));
    assert_eq!(replicate(&service, chunk, EPOCH, &[2; 17]).await, Err(ChunkError::Invalid));
    assert_eq!(service.statuses()[0].chunks, 0);
}

/// One service answers another's calls.
struct Direct(Arc<ChunkService>);

#[async_trait]
impl ChunkCall for Direct {
    async fn call(&self, _node: NodeId, request: ChunkRequest) -> Option<(Result<ChunkReply, ChunkError>, Bytes)> {
        Some(self.0.handle(true, request, Bytes::new()).await)
    }
}

#[tokio::test]
async fn a_peer_gives_its_replica_and_nothing_else_passes_for_it() {
    let Fixture { service, _folder, .. } = fixture().await;
    let bytes = data(1, 200_000);
    assert_eq!(put(&service, id(0, 1), EPOCH, &bytes).await, Ok(ChunkReply::Stored));
    let source = PeerSource(Direct(service));
    let chunk = reference(id(0, 1), &bytes);
    assert_eq!(source.fetch(NodeId(2), chunk).await, Ok(bytes.clone()));
    let shorter = ChunkRef { len: 100, ..chunk };
    assert_eq!(source.fetch(NodeId(2), shorter).await, Err(FetchError::Malformed(NodeId(2))));
    let other = ChunkRef { root: Blake3Root([0; 32]), ..chunk };
    assert_eq!(source.fetch(NodeId(2), other).await, Err(FetchError::Malformed(NodeId(2))));
    let missing = ChunkRef { id: id(0, 2), ..chunk };
    let refused = FetchError::Refused { node: NodeId(2), why: ChunkError::NotFound };
    assert_eq!(source.fetch(NodeId(2), missing).await, Err(refused));
}
