//! Chunk writes and reads against fake nodes that are full, busy, slow, corrupt, frozen or dead.

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use cluster_client::{ChunkOwner, ChunkPeer, Client, Cluster, Piece, ReadError, WriteError, WrittenChunk};
use parking_lot::Mutex;
use proto::chunk::ChunkError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Fakes, Faults, GROUP, sample};
use tokio::task::JoinSet;
use tokio::time::Instant;
use types::{
    Blake3Root, BucketId, CHUNK_BYTES_MAX, ChunkId, LEAF_BYTES, NodeId, PgEpoch, PlacementMap, PlacementRule,
    RuleEntry, RuleId, leaves_of,
};

const SECOND: Duration = Duration::from_secs(1);
/// Three nodes, every placement group on all of them.
const THREE: &[[u64; 3]] = &[[1, 2, 3], [2, 3, 1]];
const FOUR_OF_THREE: &[[u64; 3]] = &[[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 3, 2]];
/// Five nodes: a failed one is not in every group.
const FIVE: &[[u64; 3]] = &[[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 1], [5, 1, 2]];

async fn read_back(client: &Client, written: cluster_client::WrittenChunk, data: &Bytes) {
    let len = written.chunk.len;
    assert_eq!(client.read_chunk(written.chunk, 0..len).await.expect("read"), data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_goes_to_all_three_members_and_comes_back() {
    let fakes = Fakes::start(3, THREE);
    let client = fakes.client().await;
    for len in [1, 5000, LEAF_BYTES, 3 * LEAF_BYTES + 7, CHUNK_BYTES_MAX] {
        let data = sample(len);
        let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
        assert_eq!(written.missing, 0);
        assert_eq!(written.chunk.len as usize, len);
        assert_eq!(written.chunk.id.group(), GROUP);
        assert_eq!(fakes.holders(written.chunk.id), [1, 2, 3]);
        read_back(&client, written, &data).await;
        let (start, end) = (len as u32 / 3, len as u32 / 3 + 1);
        let part = client.read_chunk(written.chunk, start..end).await.expect("read");
        assert_eq!(part, data.slice(start as usize..end as usize));
    }
}

/// A rule that was just made, a bucket that was given another one, and a rule that was taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_lies_by_the_rule_that_its_bucket_has_now() {
    let fakes = Fakes::start(5, FIVE);
    let client = fakes.client().await;
    let change = |change: &dyn Fn(&mut PlacementMap)| {
        let mut world = fakes.world.lock();
        change(&mut world.map);
        world.map.version += 1;
    };
    change(&|map| {
        let rule = PlacementRule::default();
        map.rules = vec![RuleEntry { id: RuleId(1), name: "fast".to_owned(), rule }];
        map.groups[3].rule = RuleId(1);
        map.groups[4].rule = RuleId(1);
    });
    let owner = |rule| ChunkOwner { group: GROUP, bucket: BucketId(7), rule: RuleId(rule) };
    let slot = |rule| {
        let (client, owner) = (client.clone(), owner(rule));
        async move { client.write_chunk(owner, sample(1000)).await.expect("write").chunk.id.slot().0 }
    };
    // The client has not heard of the rule yet, and asks before it writes anything.
    for _ in 0..4 {
        assert!(slot(1).await >= 3);
    }
    change(&|map| map.bucket_rules = vec![(BucketId(7), RuleId::DEFAULT)]);
    let start = Instant::now();
    while slot(1).await >= 3 {
        assert!(start.elapsed() < 10 * SECOND, "the client goes on writing by the former rule");
    }
    for _ in 0..4 {
        assert!(slot(1).await < 3);
    }
    change(&|map| map.bucket_rules.clear());
    assert!(slot(9).await < 3, "one that is not there is the default one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writes_at_once_stay_within_the_budget() {
    let fakes = Fakes::start(3, THREE);
    // Room for two chunks.
    let client = fakes.client_with(|config| config.write_bytes_max = 2 * CHUNK_BYTES_MAX as u32).await;
    let data = sample(CHUNK_BYTES_MAX);
    let mut writes = JoinSet::new();
    for _ in 0..8 {
        let (client, data) = (client.clone(), data.clone());
        writes.spawn(async move { client.write_chunk(GROUP.into(), data).await.expect("write") });
    }
    let written = writes.join_all().await;
    assert!(written.iter().all(|written| written.missing == 0));
    read_back(&client, written[0], &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senseless_chunks_and_ranges_are_refused() {
    let fakes = Fakes::start(3, THREE);
    let client = fakes.client().await;
    assert_eq!(client.write_chunk(GROUP.into(), Bytes::new()).await, Err(WriteError::Invalid));
    assert_eq!(client.write_chunk(GROUP.into(), sample(CHUNK_BYTES_MAX + 1)).await, Err(WriteError::Invalid));
    let chunk = client.write_chunk(GROUP.into(), sample(100)).await.expect("write").chunk;
    for (start, end) in [(0, 0), (5, 5), (0, 101), (100, 101), (7, 5)] {
        assert_eq!(client.read_chunk(chunk, start..end).await, Err(ReadError::Invalid(chunk.id)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_of_three_nodes_dead_two_copies_are_enough() {
    let mut fakes = Fakes::start(3, THREE);
    let client = fakes.client().await;
    let data = sample(100_000);
    let before = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    fakes.kill(3);
    let start = Instant::now();
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    assert_eq!(written.missing.count_ones(), 1);
    assert_eq!(fakes.holders(written.chunk.id), [1, 2]);
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    // Now that the node is known to be dead it is not waited for.
    let start = Instant::now();
    for _ in 0..10 {
        let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
        assert_eq!(written.missing.count_ones(), 1);
        read_back(&client, written, &data).await;
        read_back(&client, before, &data).await;
    }
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    // And found again when it is back.
    fakes.run(NodeId(3));
    let start = Instant::now();
    while client.write_chunk(GROUP.into(), data.clone()).await.expect("write").missing != 0 {
        assert!(start.elapsed() < 10 * SECOND);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_is_given_up_and_found_again() {
    let mut fakes = Fakes::start(3, THREE);
    let client = fakes.client().await;
    let data = sample(CHUNK_BYTES_MAX);
    client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    fakes.freeze(2);
    let start = Instant::now();
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    assert_eq!(written.missing.count_ones(), 1);
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    read_back(&client, written, &data).await;
    fakes.thaw(2);
    let start = Instant::now();
    while client.write_chunk(GROUP.into(), data.clone()).await.expect("write").missing != 0 {
        assert!(start.elapsed() < 10 * SECOND);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_under_way_when_a_node_dies_go_on_also_without_a_budget() {
    // Other groups seem to be at hand until it is known that the node is gone: 80 MiB may not all be written again.
    let mut fakes = Fakes::start(3, &[[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 3, 2]]);
    let client = fakes.client_with(|config| config.write_bytes_max = 128 << 20).await;
    let data = sample(CHUNK_BYTES_MAX);
    client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    fakes.freeze(2);
    let mut writes = JoinSet::new();
    for _ in 0..20 {
        let (client, data) = (client.clone(), data.clone());
        writes.spawn(async move { client.write_chunk(GROUP.into(), data).await });
    }
    let written = writes.join_all().await;
    assert!(written.iter().all(|written| written.as_ref().is_ok_and(|written| written.missing.count_ones() == 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_without_a_budget_while_a_node_that_was_just_started_has_no_lease() {
    let fakes = Fakes::start(3, FOUR_OF_THREE);
    let client = fakes.client_with(|config| config.write_bytes_max = 128 << 20).await;
    let data = sample(CHUNK_BYTES_MAX);
    fakes.faults(2, Faults { put: Some(ChunkError::NoLease), ..Faults::default() });
    let start = Instant::now();
    let mut writes = JoinSet::new();
    for _ in 0..20 {
        let (client, data) = (client.clone(), data.clone());
        writes.spawn(async move { client.write_chunk(GROUP.into(), data).await });
    }
    let written = writes.join_all().await;
    let by_two =
        |written: &Result<WrittenChunk, WriteError>| written.as_ref().is_ok_and(|done| done.missing.count_ones() == 1);
    assert!(written.iter().all(by_two), "after {:?}: {written:?}", start.elapsed());
    fakes.faults(2, Faults::default());
    let start = Instant::now();
    while client.write_chunk(GROUP.into(), data.clone()).await.expect("write").missing != 0 {
        assert!(start.elapsed() < 10 * SECOND);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stores_but_does_not_answer_lags() {
    let fakes = Fakes::start(3, THREE);
    let client = fakes.client_with(|config| config.write_lag = SECOND / 5).await;
    fakes.faults(1, Faults { hang_puts: true, ..Faults::default() });
    let start = Instant::now();
    let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
    assert_eq!(written.missing.count_ones(), 1);
    assert!((SECOND / 5..2 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lags_holds_up_the_first_writes_alone_until_it_is_well() {
    let fakes = Fakes::start(3, FOUR_OF_THREE);
    let client = fakes.client_with(|config| config.write_lag = 2 * SECOND).await;
    fakes.faults(1, Faults { hang_puts: true, ..Faults::default() });
    client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
    // Far longer than a disk is avoided for having lagged once.
    let start = Instant::now();
    while start.elapsed() < 6 * SECOND {
        let one = Instant::now();
        let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
        assert_eq!(written.missing.count_ones(), 1);
        assert!(one.elapsed() < SECOND, "after {:?}: {:?}", start.elapsed(), one.elapsed());
        // wait-ok: the pace of a program that writes
        tokio::time::sleep(SECOND / 20).await;
    }
    fakes.faults(1, Faults::default());
    let well = async { while client.write_chunk(GROUP.into(), sample(1000)).await.expect("write").missing != 0 {} };
    tokio::time::timeout(10 * SECOND, well).await.expect("it is waited for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_group_has_the_member_that_fails_no_chunk_is_written_anew() {
    for faults in [
        Faults { hang_puts: true, ..Faults::default() },
        Faults { put: Some(ChunkError::NoLease), ..Faults::default() },
        Faults { put: Some(ChunkError::NoSpace), ..Faults::default() },
    ] {
        let fakes = Fakes::start(3, FOUR_OF_THREE);
        let client = fakes.client_with(|config| config.write_lag = SECOND / 5).await;
        let stored = 2 + usize::from(faults.hang_puts);
        fakes.faults(1, faults);
        let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
        assert_eq!(written.missing.count_ones(), 1);
        assert_eq!(fakes.copies(), stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_of_three_dead_nothing_is_acknowledged_and_reads_go_on() {
    let mut fakes = Fakes::start(3, THREE);
    let client = fakes.client_with(|config| config.deadline = 3 * SECOND).await;
    let data = sample(200_000);
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    fakes.kill(2);
    fakes.kill(3);
    assert_eq!(client.write_chunk(GROUP.into(), data.clone()).await, Err(WriteError::Unavailable));
    read_back(&client, written, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_or_broken_disk_sends_the_chunk_to_another_group() {
    for error in [ChunkError::NoSpace, ChunkError::Fenced] {
        let fakes = Fakes::start(5, FIVE);
        let client = fakes.client().await;
        fakes.faults(3, Faults { put: Some(error), ..Faults::default() });
        for _ in 0..10 {
            let data = sample(70_000);
            let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
            assert_eq!(written.missing, 0);
            let holders = fakes.holders(written.chunk.id);
            assert!(holders.len() == 3 && !holders.contains(&3), "{holders:?}");
            read_back(&client, written, &data).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_other_groups_at_hand_a_dead_node_costs_no_copy() {
    let mut fakes = Fakes::start(5, FIVE);
    let client = fakes.client().await;
    fakes.kill(4);
    for _ in 0..10 {
        let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
        assert_eq!(written.missing, 0);
        assert_eq!(fakes.holders(written.chunk.id).len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_everywhere_are_no_space() {
    let fakes = Fakes::start(3, THREE);
    let client = fakes.client().await;
    for id in 1..=3 {
        fakes.faults(id, Faults { put: Some(ChunkError::NoSpace), ..Faults::default() });
    }
    assert_eq!(client.write_chunk(GROUP.into(), sample(1000)).await, Err(WriteError::NoSpace));
    // One full disk leaves two copies.
    for id in 1..=2 {
        fakes.faults(id, Faults::default());
    }
    assert_eq!(client.write_chunk(GROUP.into(), sample(1000)).await.expect("write").missing.count_ones(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_member_is_waited_for() {
    let fakes = Fakes::start(5, FIVE);
    let client = fakes.client().await;
    for id in 1..=5 {
        fakes.faults(id, Faults { busy_puts: 3, ..Faults::default() });
    }
    let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
    assert_eq!(written.missing, 0);
    assert_eq!(written.chunk.id.parts().seq, 0, "not written anew");
    // Busy to the end is overload.
    let client = fakes.client_with(|config| config.deadline = SECOND).await;
    for id in 1..=5 {
        fakes.faults(id, Faults { busy_puts: 1000, ..Faults::default() });
    }
    assert_eq!(client.write_chunk(GROUP.into(), sample(1000)).await, Err(WriteError::Busy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_map_is_refreshed_at_once() {
    let fakes = Fakes::start(4, THREE);
    let client = fakes.client_with(|config| config.map_refresh = Duration::from_secs(3600)).await;
    {
        let mut world = fakes.world.lock();
        world.map.version = 2;
        for group in &mut world.map.groups {
            group.epoch = PgEpoch(2);
            group.members[0].node = NodeId(4);
        }
    }
    let start = Instant::now();
    let data = sample(1000);
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    assert_eq!(written.missing, 0);
    assert!(fakes.holders(written.chunk.id).contains(&4));
    assert_eq!(client.map().expect("map").version, 2);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    read_back(&client, written, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_a_move_is_written_to_the_newcomer_too_and_does_without_it() {
    let fakes = Fakes::start(4, THREE);
    for group in &mut fakes.world.lock().map.groups {
        let to = types::Member { node: NodeId(4), disk: 0 };
        group.moving = Some(types::Move { at: 0, to, phase: types::MovePhase::Barrier });
    }
    let client = fakes.client().await;
    let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
    assert_eq!((written.missing, fakes.holders(written.chunk.id)), (0, vec![1, 2, 3, 4]));
    fakes.faults(4, Faults { put: Some(ChunkError::NoSpace), ..Faults::default() });
    let written = client.write_chunk(GROUP.into(), sample(1000)).await.expect("write");
    assert_eq!((written.missing, fakes.holders(written.chunk.id)), (0b1000, vec![1, 2, 3]));
    read_back(&client, written, &sample(1000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_replica_is_never_returned() {
    let fakes = Fakes::start(3, THREE);
    let client = fakes.client_with(|config| config.deadline = 2 * SECOND).await;
    let data = sample(2 * LEAF_BYTES);
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    let corrupt = Faults { corrupt_gets: true, ..Faults::default() };
    for id in [1, 2] {
        fakes.faults(id, corrupt.clone());
        for _ in 0..10 {
            read_back(&client, written, &data).await;
        }
    }
    fakes.faults(3, corrupt);
    let id = written.chunk.id;
    assert_eq!(client.read_chunk(written.chunk, 0..1).await, Err(ReadError::Lost(id)));
    // A member that may have it and does not answer: not lost.
    fakes.faults(3, Faults { hang_gets: true, ..Faults::default() });
    assert_eq!(client.read_chunk(written.chunk, 0..1).await, Err(ReadError::Unavailable(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_replica_is_looked_for_elsewhere_before_it_is_lost() {
    let fakes = Fakes::start(4, THREE);
    let client = fakes.client_with(|config| config.map_refresh = Duration::from_secs(3600)).await;
    let data = sample(1000);
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    let id = written.chunk.id;
    // The group moved to node 4, and the client does not know.
    {
        let mut world = fakes.world.lock();
        world.chunks.retain(|(_, chunk), _| *chunk != id);
        world.chunks.insert((NodeId(4), id), data.clone());
        world.map.version = 2;
        for group in &mut world.map.groups {
            group.epoch = PgEpoch(2);
            group.members[1].node = NodeId(4);
        }
    }
    read_back(&client, written, &data).await;
    fakes.world.lock().chunks.clear();
    assert_eq!(client.read_chunk(written.chunk, 0..1).await, Err(ReadError::Lost(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_replica_is_hedged() {
    let fakes = Fakes::start(3, THREE);
    let client = fakes.client().await;
    let data = sample(1000);
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    fakes.faults(1, Faults { hang_gets: true, ..Faults::default() });
    fakes.faults(2, Faults { hang_gets: true, ..Faults::default() });
    let mut hedged = 0;
    let start = Instant::now();
    while hedged < 3 {
        assert!(start.elapsed() < 10 * SECOND);
        let before = fakes.world.lock().gets.values().sum::<usize>();
        let start = Instant::now();
        read_back(&client, written, &data).await;
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        hedged += fakes.world.lock().gets.values().sum::<usize>() - before - 1;
    }
}

/// Disks of this process.
#[derive(Default)]
struct OwnDisks(Mutex<HashMap<ChunkId, Bytes>>);

#[async_trait]
impl ChunkPeer for OwnDisks {
    async fn put(&self, chunk: ChunkId, _: PgEpoch, _: Blake3Root, data: Bytes) -> Result<(), ChunkError> {
        self.0.lock().insert(chunk, data);
        Ok(())
    }

    async fn get(&self, chunk: ChunkId, _: u32, _: u32) -> Result<Piece, ChunkError> {
        let data = self.0.lock().get(&chunk).cloned().ok_or(ChunkError::NotFound)?;
        Ok(Piece { first_leaf: 0, chunk_len: data.len() as u32, leaves: leaves_of(&data), data })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_disks_are_used_without_the_network() {
    let fakes = Fakes::start(3, THREE);
    let disks = Arc::new(OwnDisks::default());
    let own: Arc<dyn ChunkPeer> = disks.clone();
    let client = fakes.client_with(|config| config.own = Some((NodeId(2), own))).await;
    let data = sample(300_000);
    let written = client.write_chunk(GROUP.into(), data.clone()).await.expect("write");
    assert_eq!(written.missing, 0);
    assert_eq!(fakes.holders(written.chunk.id), [1, 3]);
    read_back(&client, written, &data).await;
    assert!(fakes.world.lock().gets.is_empty());
    disks.0.lock().clear();
    read_back(&client, written, &data).await;
}
