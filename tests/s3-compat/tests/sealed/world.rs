//! A cluster with a marked bucket and one that is not, and a user that may read plain bytes.

use crate::keys::MemoryKeys;
use bytes::Bytes;
use cluster_client::Cluster as _;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use gateway_core::{
    BodyError, BucketInfo, ByteRange, Caller, CompletePart, CompleteRequest, Completed, Content, CopyRequest,
    CopySource, GetRequest, ListRequest, Metadata, MultipartError, NewUpload, ObjectError, PartTarget, Precondition,
    Protection, PutRequest, Right, Store, StoreConfig, Stored, Upload, UploadedPart,
};
use harness::memory_cluster::MemoryCluster;
use proto::meta::{Answer, Command, Query};
use proto::object::{ContentView, ObjectView};
use proto::record::{Expected, RecordChange, RecordContent, RecordKey, RecordSpace};
use std::sync::Arc;
use std::time::Duration;

/// Marked.
pub const BOOKS: &str = "books";
/// Not marked.
pub const PLAIN: &str = "plain";

/// What a cluster remembers nothing with, so that every change holds at once.
pub fn forgetful() -> StoreConfig {
    StoreConfig {
        cache_fresh: Duration::ZERO,
        cache_stale: Duration::ZERO,
        part_bytes_min: 1,
        ..StoreConfig::default()
    }
}

pub struct World {
    pub cluster: Arc<MemoryCluster>,
    pub keys: MemoryKeys,
    pub store: Store,
    pub alice: Caller,
}

impl World {
    pub async fn new() -> Self {
        let cluster = MemoryCluster::new(2);
        let alice = Caller { user: cluster.add_user("alice").user };
        let keys = MemoryKeys::default();
        let store = Store::new(cluster.clone(), forgetful()).expect("valid settings").with_keys(Arc::new(keys.clone()));
        let world = World { cluster, keys, store, alice };
        world.store.create_bucket(&world.alice, PLAIN).await.expect("new");
        world.mark(BOOKS).await;
        world.store.ensure_system_bucket().await.expect("made");
        world.store.grant("alice", &Right::PlainRead(None)).await.expect("granted");
        world
    }

    /// Another process with the same cluster and keys.
    pub fn another(&self, config: StoreConfig) -> Store {
        Store::new(self.cluster.clone(), config).expect("valid settings").with_keys(Arc::new(self.keys.clone()))
    }

    /// One without key-encryption keys.
    pub fn keyless(&self) -> Store {
        Store::new(self.cluster.clone(), forgetful()).expect("valid settings")
    }

    pub async fn mark(&self, name: &str) -> Arc<BucketInfo> {
        self.store.create_bucket(&self.alice, name).await.expect("new");
        self.store.protect_bucket(name, Protection::Lcp).await.expect("empty")
    }

    pub async fn bucket(&self, name: &str) -> Arc<BucketInfo> {
        self.store.head_bucket(&self.alice, name).await.expect("it is there")
    }

    pub async fn put(&self, bucket: &str, key: &str, data: &[u8]) -> Result<Stored, ObjectError> {
        self.store.put(&self.alice, to(bucket, key), body(data)).await
    }

    pub async fn get(&self, bucket: &str, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>, ObjectError> {
        get_from(&self.store, &self.alice, bucket, key, range).await
    }

    pub async fn begin(&self, bucket: &str, key: &str) -> Result<String, MultipartError> {
        let new = NewUpload { bucket: bucket.into(), key: key.into(), metadata: titled(), checksum: None };
        Ok(self.store.create_upload(&self.alice, new).await?.to_string())
    }

    pub async fn put_part(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        part: u16,
        data: &[u8],
    ) -> Result<UploadedPart, MultipartError> {
        let target =
            PartTarget { bucket: bucket.into(), key: key.into(), upload: upload.into(), part: i32::from(part) };
        self.store.put_part(&self.alice, &target, body(data)).await
    }

    pub async fn complete(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        parts: &[(u16, String)],
    ) -> Result<Completed, MultipartError> {
        let parts = parts.iter().map(|(part, etag)| CompletePart {
            part: i32::from(*part),
            etag: etag.clone(),
            checksum: None,
        });
        let request = CompleteRequest {
            bucket: bucket.into(),
            key: key.into(),
            upload: upload.into(),
            parts: parts.collect(),
            checksum: None,
            kind: None,
            size: None,
            precondition: Precondition::default(),
        };
        self.store.complete_upload(&self.alice, request).await
    }

    /// An object of these parts; returns its entity tag.
    pub async fn put_parts(&self, bucket: &str, key: &str, parts: &[(u16, Vec<u8>)]) -> String {
        let upload = self.begin(bucket, key).await.expect("begun");
        let place = (bucket, key, upload.as_str());
        let mut named = Vec::new();
        for (part, data) in parts {
            named.push((*part, self.put_part(place, *part, data).await.expect("stored").etag));
        }
        self.complete(place, &named).await.expect("completed").etag
    }

    pub async fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<Stored, ObjectError> {
        self.store.copy(&self.alice, copy_of(from, to, None)).await
    }

    /// Sizes and entity tags as a listing shows them.
    pub async fn listed(&self, bucket: &str) -> Vec<(String, u64, String)> {
        let request = ListRequest { max: 1000, ..ListRequest::default() };
        let page = self.store.list(&self.alice, bucket, request).await.expect("listed");
        let shown = page.objects.into_iter();
        shown.map(|object| (String::from_utf8_lossy(&object.key).into_owned(), object.size, object.etag)).collect()
    }

    /// Writes a record as somebody who goes past the gateways.
    pub async fn write_record(&self, bucket: &BucketInfo, space: RecordSpace, key: &[u8], value: &[u8]) {
        write_record(&self.cluster, bucket, space, key, value).await;
    }

    /// An object as it is stored.
    pub async fn stored(&self, bucket: &str, key: &str) -> (ObjectView, ContentView) {
        let bucket = self.bucket(bucket).await;
        let (key, content) = (Bytes::copy_from_slice(key.as_bytes()), Some((0, 1 << 40)));
        match self.cluster.query(bucket.group, Query::Object { bucket: bucket.id, key, content }).await {
            Ok(Ok(Answer::Object(object, Some(content)))) => (object, content),
            other => panic!("no object: {other:?}"),
        }
    }
}

/// As [`World::write_record`].
pub async fn write_record(cluster: &MemoryCluster, bucket: &BucketInfo, space: RecordSpace, key: &[u8], value: &[u8]) {
    let content = RecordContent { value: Bytes::copy_from_slice(value), entries: Vec::new() };
    let key = RecordKey { space, key: Bytes::copy_from_slice(key) };
    let change = RecordChange { key, expected: Expected::Any, content: Some(content) };
    let command = Command::PutRecords { bucket: bucket.id, changes: vec![change] };
    assert!(cluster.command(bucket.group, command).await.expect("memory").is_ok());
}

pub fn to(bucket: &str, key: &str) -> PutRequest {
    PutRequest { bucket: bucket.into(), key: key.into(), metadata: titled(), precondition: Precondition::default() }
}

pub fn titled() -> Metadata {
    Metadata { user: vec![("title".into(), "史庫".into())], ..Metadata::default() }
}

pub fn copy_of(from: (&str, &str), to: (&str, &str), metadata: Option<Metadata>) -> CopyRequest {
    CopyRequest {
        source: CopySource { bucket: from.0.into(), key: from.1.into(), ..CopySource::default() },
        bucket: to.0.into(),
        key: to.1.into(),
        metadata,
        precondition: Precondition::default(),
    }
}

/// A body that comes in uneven pieces.
pub fn body(data: &[u8]) -> Upload<BoxStream<'static, Result<Bytes, BodyError>>> {
    let pieces: Vec<_> = data.chunks(100_003).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let length = data.len() as u64;
    Upload { body: stream::iter(pieces).boxed(), length, md5: None, checksum: None, compute: None }
}

pub async fn get_from(
    store: &Store,
    caller: &Caller,
    bucket: &str,
    key: &str,
    range: Option<ByteRange>,
) -> Result<Vec<u8>, ObjectError> {
    let request = GetRequest { bucket: bucket.into(), key: key.into(), range, ..GetRequest::default() };
    collect(store.get(caller, &request).await?.content).await
}

pub async fn collect(content: Content) -> Result<Vec<u8>, ObjectError> {
    match content {
        Content::Whole(data) => Ok(data.to_vec()),
        Content::Stream(pieces) => Ok(pieces.try_collect::<Vec<Bytes>>().await?.concat()),
    }
}

pub fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
