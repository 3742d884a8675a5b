//! The store over real state machines in memory: contents of every shape, changes while reading, faults of the cluster.

use bytes::Bytes;
use cluster_client::{CallError, Cluster, WriteError};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use gateway_core::{
    BodyError, BucketError, ByteRange, Caller, ClusterError, Content, CopyRequest, CopySource, GetRequest, Metadata,
    ObjectError, Precondition, PutRequest, ReadCondition, Store, StoreConfig, Stored, Upload, UploadError,
};
use harness::memory_cluster::{Faults, MemoryCluster};
use proptest::prelude::*;
use proto::control::ControlCommand;
use proto::meta::{Command, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use types::{CHUNK_BYTES_MAX, GroupId, Ino, RuleId};

const BUCKET: &str = "bucket";

struct World {
    cluster: Arc<MemoryCluster>,
    store: Store,
    alice: Caller,
}

impl World {
    async fn new(config: StoreConfig) -> Self {
        let cluster = MemoryCluster::new(4);
        let alice = Caller { user: cluster.add_user("alice").user };
        let store = Store::new(cluster.clone(), config).expect("valid settings");
        store.create_bucket(&alice, BUCKET).await.expect("a new bucket");
        World { cluster, store, alice }
    }

    async fn put(&self, key: &str, data: &[u8], piece: usize) -> Result<Stored, ObjectError> {
        let pieces: Vec<_> = data.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        self.put_stream(key, data.len() as u64, stream::iter(pieces).boxed()).await
    }

    async fn put_stream(
        &self,
        key: &str,
        length: u64,
        body: BoxStream<'static, Result<Bytes, BodyError>>,
    ) -> Result<Stored, ObjectError> {
        let request = PutRequest {
            bucket: BUCKET.into(),
            key: key.into(),
            metadata: Metadata::default(),
            precondition: Precondition::default(),
        };
        let upload = Upload { body, length, md5: None, checksum: None, compute: None };
        self.store.put(&self.alice, request, upload).await
    }

    async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>, ObjectError> {
        let request = GetRequest { bucket: BUCKET.into(), key: key.into(), range, ..GetRequest::default() };
        collect(self.store.get(&self.alice, &request).await?.content).await
    }

    /// The inode behind a key, as a mount finds it.
    async fn inode(&self, key: &str) -> (GroupId, Ino) {
        let bucket = self.store.head_bucket(&self.alice, BUCKET).await.expect("it is there");
        let query = proto::meta::Query::Object {
            bucket: bucket.id,
            key: Bytes::copy_from_slice(key.as_bytes()),
            content: None,
        };
        match self.cluster.query(bucket.group, query).await {
            Ok(Ok(proto::meta::Answer::Object(object, _))) => (bucket.group, object.attr.ino),
            other => panic!("no object: {other:?}"),
        }
    }

    /// Writes as a mount does.
    async fn write_at(&self, group: GroupId, ino: Ino, offset: u64, data: &[u8]) {
        let chunk = self.cluster.write_chunk(group.into(), Bytes::copy_from_slice(data)).await.expect("memory");
        let write = Command::Write { ino, inline: None, extents: vec![chunk.at(offset)], append: false };
        let done = self.cluster.command(group, write).await.expect("memory");
        assert!(matches!(done, Ok(Outcome::Attr(_))), "{done:?}");
    }

    async fn set_size(&self, group: GroupId, ino: Ino, size: u64) {
        let (mode, uid, gid, atime, mtime) = (None, None, None, None, None);
        let cut = Command::SetAttr { ino, mode, uid, gid, size: Some(size), atime, mtime };
        assert!(self.cluster.command(group, cut).await.expect("memory").is_ok());
    }
}

async fn collect(content: Content) -> Result<Vec<u8>, ObjectError> {
    match content {
        Content::Whole(data) => Ok(data.to_vec()),
        Content::Stream(pieces) => Ok(pieces.try_collect::<Vec<Bytes>>().await?.concat()),
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn bodies_in_any_pieces_come_back_whole() {
    let world = World::new(StoreConfig::default()).await;
    for (len, piece) in [(0, 1), (1, 1), (4096, 100), (4097, 4097), (70_000, 1), (CHUNK_BYTES_MAX, 65_536)] {
        let data = noise(len);
        world.put("k", &data, piece).await.expect("stored");
        assert_eq!(world.get("k", None).await.expect("there"), data, "{len} in pieces of {piece}");
    }
    for piece in [1 << 20, CHUNK_BYTES_MAX, 7 << 20] {
        let data = noise(2 * CHUNK_BYTES_MAX + 12_345);
        world.put("k", &data, piece).await.expect("stored");
        assert_eq!(world.get("k", None).await.expect("there"), data, "pieces of {piece}");
    }
}

#[tokio::test]
async fn small_objects_take_no_chunk_and_larger_ones_as_few_as_can_be() {
    let world = World::new(StoreConfig::default()).await;
    world.put("k", &noise(4096), 4096).await.expect("stored");
    assert_eq!(world.cluster.stored(), (0, 0));
    world.put("k", &noise(4097), 4097).await.expect("stored");
    assert_eq!(world.cluster.stored().0, 1);
    world.put("k", &noise(CHUNK_BYTES_MAX + 1), 1 << 20).await.expect("stored");
    assert_eq!(world.cluster.stored().0, 3);
}

#[tokio::test]
async fn a_body_of_another_length_or_that_fails_stores_nothing() {
    let world = World::new(StoreConfig::default()).await;
    for length in [10, 5_000, 300_000, CHUNK_BYTES_MAX + 10] {
        let data = noise(length);
        let body = |data: &[u8]| stream::iter([Ok(Bytes::copy_from_slice(data))]);
        let short = world.put_stream("k", length as u64 + 1, body(&data).boxed()).await;
        assert_eq!(short, Err(ObjectError::Upload(UploadError::Body(BodyError::Incomplete))));
        let long = world.put_stream("k", length as u64 - 1, body(&data).boxed()).await;
        assert_eq!(long, Err(ObjectError::Upload(UploadError::Body(BodyError::TooLong))));
        let broken = body(&data).chain(stream::iter([Err(BodyError::Signature)]));
        let broken = world.put_stream("k", length as u64, broken.boxed()).await;
        assert_eq!(broken, Err(ObjectError::Upload(UploadError::Body(BodyError::Signature))));
    }
    assert_eq!(world.get("k", None).await, Err(ObjectError::NoSuchKey));
    let large = world.put_stream("k", (5 << 30) + 1, stream::empty().boxed()).await;
    assert_eq!(large, Err(ObjectError::Upload(UploadError::TooLarge)));
}

#[tokio::test]
async fn a_replaced_object_is_read_to_its_end_and_a_changed_one_is_never_mixed() {
    let world = World::new(StoreConfig::default()).await;
    let old = noise(3 * CHUNK_BYTES_MAX);
    world.put("k", &old, 1 << 20).await.expect("stored");
    let request = GetRequest { bucket: BUCKET.into(), key: "k".into(), ..GetRequest::default() };
    let read = world.store.get(&world.alice, &request).await.expect("there");
    world.put("k", b"new", 3).await.expect("stored");
    assert_eq!(collect(read.content).await.expect("pinned"), old);
    assert_eq!(world.get("k", None).await.expect("there"), b"new");

    // So many extents that the metadata tell of them in more than one page.
    world.put("pages", b"", 1).await.expect("stored");
    let (group, ino) = world.inode("pages").await;
    let extents = 3000;
    for at in 0..extents {
        world.write_at(group, ino, at * 10, &noise(7)).await;
    }
    let whole = world.get("pages", None).await.expect("there");
    let mut expected = Vec::new();
    for _ in 0..extents {
        expected.extend(noise(7));
        expected.extend([0; 3]);
    }
    expected.truncate(whole.len());
    assert!(whole.len() as u64 >= extents * 10 - 3 && whole == expected);
    let request = GetRequest { key: "pages".into(), ..request };
    let read = world.store.get(&world.alice, &request).await.expect("there");
    world.write_at(group, ino, (extents - 1) * 10, b"changed").await;
    match collect(read.content).await {
        Err(error) => assert_eq!(error, ObjectError::Changed),
        Ok(data) => assert_eq!(data, whole, "read before the change or not at all"),
    }
}

#[tokio::test]
async fn what_the_cluster_cannot_do_is_said_as_what_it_is() {
    let config = StoreConfig { cache_fresh: Duration::ZERO, cache_stale: Duration::ZERO, ..StoreConfig::default() };
    let world = World::new(config).await;
    world.put("k", &noise(10_000), 10_000).await.expect("stored");
    let cluster = |error: ClusterError| ObjectError::Bucket(BucketError::Cluster(error));
    for (error, expected) in [
        (WriteError::Busy, ClusterError::Busy),
        (WriteError::NoSpace, ClusterError::NoSpace),
        (WriteError::Unavailable, ClusterError::Unavailable),
        (WriteError::SessionClosed, ClusterError::Unavailable),
    ] {
        world.cluster.set_faults(Faults { write: Some(error), ..Faults::default() });
        for len in [10_000, 2 * CHUNK_BYTES_MAX] {
            let answer = world.put("k", &noise(len), 1 << 20).await;
            assert_eq!(answer, Err(ObjectError::Upload(UploadError::Cluster(expected.clone()))));
        }
    }
    for error in [CallError::Unavailable, CallError::Unknown] {
        world.cluster.set_faults(Faults { call: Some(error.clone()), ..Faults::default() });
        assert_eq!(world.get("k", None).await, Err(cluster(ClusterError::Unavailable)));
        world.cluster.set_faults(Faults { control: Some(error), ..Faults::default() });
        assert_eq!(world.get("k", None).await, Err(cluster(ClusterError::Unavailable)));
    }
    world.cluster.set_faults(Faults { lost: true, ..Faults::default() });
    assert!(matches!(
        world.get("k", None).await,
        Err(ObjectError::Bucket(BucketError::Cluster(ClusterError::Lost(_))))
    ));
    world.cluster.set_faults(Faults::default());
    assert_eq!(world.get("k", None).await.expect("nothing was changed"), noise(10_000));
}

#[tokio::test]
async fn the_control_group_may_be_away_for_a_moment() {
    let config =
        StoreConfig { cache_fresh: Duration::ZERO, cache_stale: Duration::from_secs(60), ..StoreConfig::default() };
    let world = World::new(config).await;
    world.put("k", b"x", 1).await.expect("stored");
    assert!(world.store.access_key("AKALICE").await.expect("answered").is_some());
    world.cluster.set_faults(Faults { control: Some(CallError::Unavailable), ..Faults::default() });
    for _ in 0..3 {
        assert_eq!(world.get("k", None).await.expect("remembered"), b"x");
        assert!(world.store.access_key("AKALICE").await.expect("remembered").is_some());
    }
    assert_eq!(world.store.access_key("AKBOB").await.map(|_| ()), Err(ClusterError::Unavailable));
}

#[tokio::test]
async fn a_group_is_told_of_a_bucket_it_does_not_know() {
    let world = World::new(StoreConfig::default()).await;
    let create = ControlCommand::CreateBucket {
        name: "by-another".into(),
        owner: "alice".into(),
        nonce: 7,
        rule: types::RuleId::DEFAULT,
    };
    world.cluster.control(create).await.expect("memory").expect("a new bucket");
    let request = GetRequest { bucket: "by-another".into(), key: "k".into(), ..GetRequest::default() };
    let missing = world.store.head(&world.alice, &request).await;
    assert_eq!(missing.map(|_| ()), Err(ObjectError::NoSuchKey), "not: no such bucket");
    let listing = world.store.list(&world.alice, "by-another", gateway_core::ListRequest::default()).await;
    assert!(listing.expect("an empty bucket").objects.is_empty());
}

#[tokio::test]
async fn a_bucket_deleted_elsewhere_is_gone_here_and_one_made_again_is_new() {
    let world = World::new(StoreConfig::default()).await;
    let elsewhere = Store::new(world.cluster.clone(), StoreConfig::default()).expect("valid settings");
    world.put("k", b"x", 1).await.expect("stored");
    world.store.delete(&world.alice, BUCKET, "k", Precondition::default()).await.expect("deleted");
    elsewhere.delete_bucket(&world.alice, BUCKET).await.expect("empty");
    // This store still remembers the bucket; its group does not let it be fooled.
    assert_eq!(world.put("k", b"x", 1).await, Err(ObjectError::Bucket(BucketError::NoSuchBucket)));
    elsewhere.create_bucket(&world.alice, BUCKET).await.expect("free");
    world.put("k", b"y", 1).await.expect("seen at once");
    assert_eq!(world.get("k", None).await.expect("there"), b"y");
    assert_eq!(elsewhere.delete_bucket(&world.alice, BUCKET).await, Err(BucketError::NotEmpty));
}

#[tokio::test]
async fn many_uploads_at_once_stay_in_their_budget() {
    let config = StoreConfig { upload_bytes_max: 2 * CHUNK_BYTES_MAX, ..StoreConfig::default() };
    let world = Arc::new(World::new(config).await);
    let data = noise(3 * CHUNK_BYTES_MAX + 1);
    let uploads = (0..8).map(|number| {
        let (world, data) = (world.clone(), data.clone());
        tokio::spawn(async move { world.put(&format!("k{number}"), &data, 1 << 20).await })
    });
    for upload in uploads.collect::<Vec<_>>() {
        upload.await.expect("no panic").expect("each has its turn");
    }
    for number in 0..8 {
        assert_eq!(world.get(&format!("k{number}"), None).await.expect("there"), data);
    }
}

#[tokio::test]
async fn who_waits_too_long_for_memory_is_told_so() {
    let config = StoreConfig {
        upload_bytes_max: 2 * CHUNK_BYTES_MAX,
        admission_wait: Duration::from_millis(20),
        ..StoreConfig::default()
    };
    let world = Arc::new(World::new(config).await);
    let reading = Arc::new(AtomicUsize::new(0));
    let slow: Vec<_> = (0..2)
        .map(|number| {
            let (world, reading) = (world.clone(), reading.clone());
            let mut first = true;
            let never = stream::poll_fn(move |_| {
                reading.fetch_add(usize::from(std::mem::take(&mut first)), Ordering::Relaxed);
                Poll::Pending
            });
            let length = CHUNK_BYTES_MAX as u64;
            tokio::spawn(async move { world.put_stream(&format!("slow{number}"), length, never.boxed()).await })
        })
        .collect();
    // A body is read only once there is memory for it.
    while reading.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let busy = Err(ObjectError::Upload(UploadError::Cluster(ClusterError::Busy)));
    assert_eq!(world.put("quick", &noise(2 * CHUNK_BYTES_MAX), 1 << 20).await, busy);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    for task in slow {
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
    }
    world.put("quick", &noise(2 * CHUNK_BYTES_MAX), 1 << 20).await.expect("what was held came back");
}

#[tokio::test]
async fn a_copy_into_any_bucket_has_the_bytes_and_the_conditions_hold() {
    let world = World::new(StoreConfig::default()).await;
    let data = noise(CHUNK_BYTES_MAX + 5);
    let stored = world.put("from", &data, 1 << 20).await.expect("stored");
    for number in 0..8 {
        let bucket = format!("bucket-{number}");
        world.store.create_bucket(&world.alice, &bucket).await.expect("new");
        let condition = ReadCondition {
            if_match: Some(gateway_core::TagMatch::Tags(vec![stored.etag.clone()])),
            ..ReadCondition::default()
        };
        let copy = CopyRequest {
            source: CopySource { bucket: BUCKET.into(), key: "from".into(), condition },
            bucket: bucket.clone(),
            key: "to".into(),
            metadata: None,
            precondition: Precondition { if_match: None, if_none_match: Some(gateway_core::TagMatch::Any) },
        };
        let made = world.store.copy(&world.alice, copy.clone()).await.expect("copied");
        assert_eq!((made.etag, made.size), (stored.etag.clone(), data.len() as u64));
        assert_eq!(world.store.copy(&world.alice, copy).await, Err(ObjectError::PreconditionFailed));
        let request = GetRequest { bucket, key: "to".into(), ..GetRequest::default() };
        let read = world.store.get(&world.alice, &request).await.expect("there");
        assert_eq!(collect(read.content).await.expect("there"), data);
    }
}

#[tokio::test]
async fn a_copy_by_reference_is_made_only_between_buckets_of_one_rule() {
    let world = World::new(StoreConfig::default()).await;
    let data = noise(CHUNK_BYTES_MAX + 5);
    world.put("from", &data, 1 << 20).await.expect("stored");
    let home = world.store.head_bucket(&world.alice, BUCKET).await.expect("there").group;
    let (mut shared, mut rewritten) = (0, 0);
    for number in 0..16u16 {
        let (name, rule) = (format!("bucket-{number}"), RuleId(number / 4 % 2));
        let create = ControlCommand::CreateBucket { name: name.clone(), owner: "alice".into(), nonce: 7, rule };
        world.cluster.control(create).await.expect("memory").expect("a new bucket");
        let here = world.store.head_bucket(&world.alice, &name).await.expect("there").group == home;
        let copy = CopyRequest {
            source: CopySource { bucket: BUCKET.into(), key: "from".into(), condition: ReadCondition::default() },
            bucket: name.clone(),
            key: "to".into(),
            metadata: None,
            precondition: Precondition::default(),
        };
        let before = world.cluster.stored().0;
        world.store.copy(&world.alice, copy).await.expect("copied");
        let written = world.cluster.stored().0 - before;
        assert_eq!(written, if here && rule == RuleId::DEFAULT { 0 } else { 2 }, "{name}");
        shared += usize::from(written == 0);
        rewritten += usize::from(here && written > 0);
        let request = GetRequest { bucket: name, key: "to".into(), ..GetRequest::default() };
        let read = world.store.get(&world.alice, &request).await.expect("there");
        assert_eq!(collect(read.content).await.expect("there"), data);
    }
    assert!(shared > 0 && rewritten > 0, "{shared} shared, {rewritten} written anew in the same group");
}

/// What a mount may do to a file.
#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize, fill: u8 },
    Cut { size: u64 },
}

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let write =
        (0..40_000u64, 1..9_000usize, 1..=255u8).prop_map(|(offset, len, fill)| Step::Write { offset, len, fill });
    let cut = (0..50_000u64).prop_map(|size| Step::Cut { size });
    let first = prop_oneof![Just(0usize), 1..4097usize, 4097..20_000usize];
    (first, prop::collection::vec(prop_oneof![3 => write, 1 => cut], 0..12))
}

fn ranges() -> impl Strategy<Value = Vec<ByteRange>> {
    let from_to = (0..50_000u64, 0..20_000u64).prop_map(|(first, len)| ByteRange::FromTo { first, last: first + len });
    let one =
        prop_oneof![from_to, (0..50_000u64).prop_map(ByteRange::From), (0..50_000u64).prop_map(ByteRange::Suffix)];
    prop::collection::vec(one, 4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Holes, overlaid writes, cuts and inline beginnings: every range is the range of the bytes a model holds.
    #[test]
    fn every_range_of_a_file_of_any_making_is_right((first, steps) in steps(), ranges in ranges()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = World::new(StoreConfig::default()).await;
            let mut model = noise(first);
            world.put("k", &model, 5000).await.expect("stored");
            let (group, ino) = world.inode("k").await;
            for step in steps {
                match step {
                    Step::Write { offset, len, fill } => {
                        world.write_at(group, ino, offset, &vec![fill; len]).await;
                        let end = offset as usize + len;
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].fill(fill);
                    }
                    Step::Cut { size } => {
                        world.set_size(group, ino, size).await;
                        model.resize(size as usize, 0);
                    }
                }
            }
            prop_assert_eq!(&world.get("k", None).await.expect("there"), &model);
            for range in ranges {
                match (world.get("k", Some(range)).await, range.resolve(model.len() as u64)) {
                    (Ok(data), Some(range)) => {
                        prop_assert_eq!(&data[..], &model[range.start as usize..range.end as usize]);
                    }
                    (Err(error), None) => {
                        prop_assert_eq!(error, ObjectError::RangeNotSatisfiable { size: model.len() as u64 });
                    }
                    (answer, expected) => prop_assert!(false, "{:?} for {:?}", answer.map(|data| data.len()), expected),
                }
            }
            Ok(())
        })?;
    }
}
