//! How a bucket is marked, from when on that holds, and how key-encryption keys are changed.

use crate::world::{BOOKS, PLAIN, World, body, forgetful, get_from, noise, to};
use bytes::Bytes;
use cluster_client::{CallError, Cluster as _};
use futures::{StreamExt as _, stream};
use gateway_core::{
    BucketError, BucketSettings, ClusterError, ObjectError, Precondition, ProtectError, Protection, Rewrapped,
    SETTINGS_KEY, SETTINGS_SPACE, SYSTEM_BUCKET, SealError, StoreConfig, Upload,
};
use harness::memory_cluster::Faults;
use proto::control::ControlCommand;
use proto::meta::{Answer, Command, Outcome, Query};
use proto::trash::{NameTaken, TrashFilter};
use std::time::Duration;
use types::FeatureLevel;

const MARKED: BucketSettings = BucketSettings { protection: Some(Protection::Lcp) };

#[tokio::test]
async fn only_an_empty_bucket_is_marked_and_once_is_as_good_as_twice() {
    let world = World::new().await;
    let protect = |name: &'static str| world.store.protect_bucket(name, Protection::Lcp);
    assert!(protect(BOOKS).await.is_ok());
    world.put(BOOKS, "k", b"text").await.expect("stored");
    assert!(protect(BOOKS).await.is_ok(), "it is marked already");
    assert_eq!(protect("no-such-bucket").await, Err(ProtectError::Bucket(BucketError::NoSuchBucket)));
    assert_eq!(protect(SYSTEM_BUCKET).await, Err(ProtectError::System));
    let bucket = world.bucket(PLAIN).await;
    let marked = async || world.store.bucket_settings(&bucket).await.expect("known").protection.is_some();

    world.put(PLAIN, "k", b"text").await.expect("stored");
    assert_eq!(protect(PLAIN).await, Err(ProtectError::NotEmpty));
    world.store.delete(&world.alice, PLAIN, "k", Precondition::default()).await.expect("deleted");
    assert_eq!(protect(PLAIN).await, Err(ProtectError::NotEmpty), "it lies in the trash");
    let entries = world.trash(PLAIN).await.into_iter().map(|entry| entry.id).collect();
    let purge = Command::PurgeTrash { bucket: bucket.id, entries };
    assert!(world.cluster.command(bucket.group, purge).await.expect("memory").is_ok());
    let upload = world.begin(PLAIN, "k").await.expect("begun");
    assert_eq!(protect(PLAIN).await, Err(ProtectError::NotEmpty));
    world.store.abort_upload(&world.alice, PLAIN, "k", &upload).await.expect("aborted");
    assert!(!marked().await);
    assert!(protect(PLAIN).await.is_ok());
    assert!(marked().await);
    // Deleting it is the way back.
    world.store.delete_bucket(&world.alice, PLAIN).await.expect("empty");
    world.store.create_bucket(&world.alice, PLAIN).await.expect("free");
    let settings = world.store.bucket_settings(&*world.bucket(PLAIN).await).await.expect("known");
    assert_eq!(*settings, BucketSettings::default());
}

#[tokio::test]
async fn a_marked_bucket_that_is_not_deleted_keeps_its_mark() {
    let world = World::new().await;
    let marked = async |name| {
        let bucket = world.bucket(name).await;
        world.store.bucket_settings(&bucket).await.expect("known").protection.is_some()
    };
    world.put(BOOKS, "k", b"text").await.expect("stored");
    assert_eq!(world.store.delete_bucket(&world.alice, BOOKS).await, Err(BucketError::NotEmpty));
    assert!(marked(BOOKS).await);
    world.store.delete(&world.alice, BOOKS, "k", Precondition::default()).await.expect("deleted");
    // Another record keeps the group from deleting it, as would an object that was put at that moment.
    let bucket = world.bucket(BOOKS).await;
    world.write_record(&bucket, proto::record::RecordSpace(99), b"x", b"x").await;
    assert_eq!(world.store.delete_bucket(&world.alice, BOOKS).await, Err(BucketError::NotEmpty));
    assert!(marked(BOOKS).await);
}

#[tokio::test]
async fn a_deleted_bucket_that_comes_back_is_marked_again_with_its_trash() {
    let world = World::new().await;
    world.put(BOOKS, "k", b"text").await.expect("stored");
    world.store.delete(&world.alice, BOOKS, "k", Precondition::default()).await.expect("deleted");
    let bucket = world.bucket(BOOKS).await;
    world.store.delete_bucket(&world.alice, BOOKS).await.expect("empty");
    let undelete = ControlCommand::UndeleteBucket { bucket: bucket.id, name: BOOKS.into() };
    assert!(world.cluster.control(undelete).await.expect("memory").is_ok());
    let unseal = Command::UnsealBucket { bucket: bucket.id };
    assert!(world.cluster.command(bucket.group, unseal).await.expect("memory").is_ok());
    let restore = async |key: &'static [u8]| {
        let entries = world.trash(BOOKS).await.into_iter().map(|entry| entry.id).collect();
        let to = Bytes::from_static(key);
        let restore = Command::RestoreTrash { bucket: bucket.id, entries, to, taken: NameTaken::Refuse };
        assert!(world.cluster.command(bucket.group, restore).await.expect("memory").is_ok());
    };
    restore(b"").await;
    // It is shown to nobody as if it were plain.
    match world.get(BOOKS, "k", None).await {
        Err(ObjectError::Seal(SealError::Unsealed)) => {}
        other => panic!("{other:?}"),
    }
    world.store.protect_bucket(BOOKS, Protection::Lcp).await.expect("all in it is sealed");
    assert_eq!(world.get(BOOKS, "k", None).await.expect("there"), b"text");
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_while_the_mark_became_known_is_told_and_never_shown() {
    let world = World::new().await;
    let elsewhere = world.another(StoreConfig::default());
    let slow = world.another(StoreConfig::default());
    // It knows that the bucket is not marked.
    elsewhere.put(&world.alice, to(PLAIN, "k"), body(b"text")).await.expect("stored");
    elsewhere.delete(&world.alice, PLAIN, "k", Precondition::default()).await.expect("deleted");
    let bucket = world.bucket(PLAIN).await;
    let entries = world.trash(PLAIN).await.into_iter().map(|entry| entry.id).collect();
    let purge = Command::PurgeTrash { bucket: bucket.id, entries };
    assert!(world.cluster.command(bucket.group, purge).await.expect("memory").is_ok());
    let protecting = tokio::spawn(async move { slow.protect_bucket(PLAIN, Protection::Lcp).await });
    while world.store.bucket_settings(&bucket).await.expect("known").protection.is_none() {
        tokio::task::yield_now().await;
    }
    elsewhere.put(&world.alice, to(PLAIN, "k"), body(b"text")).await.expect("it does not know yet");
    assert_eq!(protecting.await.expect("no panic"), Err(ProtectError::Written));
    for store in [&world.store, &elsewhere] {
        tokio::time::advance(Duration::from_secs(5)).await;
        match get_from(store, &world.alice, PLAIN, "k", None).await {
            Err(ObjectError::Seal(SealError::Unsealed)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_overtaken_by_the_mark_is_refused() {
    let world = World::new().await;
    let upload = world.begin(PLAIN, "parts").await.expect("begun");
    let store = world.another(forgetful());
    let bucket = world.bucket(PLAIN).await;
    let (record, cluster) = (MARKED.to_bytes().expect("encoded"), world.cluster.clone());
    let mark = move || {
        let (cluster, bucket, record) = (cluster.clone(), bucket.clone(), record.clone());
        async move {
            crate::world::write_record(&cluster, &bucket, SETTINGS_SPACE, SETTINGS_KEY, &record).await;
            Ok(Bytes::from_static(b"text"))
        }
    };
    let late = Upload { body: stream::once(mark()).boxed(), length: 4, md5: None, checksum: None, compute: None };
    match store.put(&world.alice, to(PLAIN, "k"), late).await {
        Err(ObjectError::Seal(SealError::Overtaken)) => {}
        other => panic!("{other:?}"),
    }
    assert!(world.listed(PLAIN).await.is_empty());
    // Nor can what was begun before go on.
    let part = world.put_part((PLAIN, "parts", &upload), 1, b"one").await;
    assert_eq!(part.map_err(|error| error.to_string()).expect_err("refused"), SealError::Unsealed.to_string());
    let completed = world.complete((PLAIN, "parts", &upload), &[(1, "0".repeat(32))]).await;
    assert_eq!(completed.map_err(|error| error.to_string()).expect_err("refused"), SealError::Unsealed.to_string());
}

#[tokio::test]
async fn a_gateway_that_has_not_heard_of_the_mark_serves_what_is_sealed_as_what_it_is() {
    let world = World::new().await;
    let config =
        StoreConfig { cache_fresh: Duration::from_secs(60), cache_stale: Duration::from_secs(60), ..forgetful() };
    let late = world.another(config);
    world.store.create_bucket(&world.alice, "late").await.expect("new");
    let bucket = world.bucket("late").await;
    assert_eq!(late.bucket_settings(&bucket).await.expect("known").protection, None);
    world.store.protect_bucket("late", Protection::Lcp).await.expect("empty");
    world.put("late", "k", b"text").await.expect("stored");
    assert_eq!(get_from(&late, &world.alice, "late", "k", None).await.expect("there"), b"text");
    assert_eq!(late.bucket_settings(&bucket).await.expect("known by now").protection, Some(Protection::Lcp));
}

#[tokio::test(start_paused = true)]
async fn a_mark_holds_elsewhere_within_five_seconds() {
    let world = World::new().await;
    let elsewhere = world.another(StoreConfig::default());
    let bucket = world.bucket(PLAIN).await;
    let seen = async || elsewhere.bucket_settings(&bucket).await.expect("known").protection;
    assert_eq!(seen().await, None);
    world.store.protect_bucket(PLAIN, Protection::Lcp).await.expect("empty");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(seen().await, Some(Protection::Lcp));
    // From here on it is remembered, and a group that is away for a moment stops nobody.
    world.cluster.set_faults(Faults { records: Some(CallError::Unavailable), ..Faults::default() });
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(seen().await, Some(Protection::Lcp));
    tokio::time::advance(Duration::from_secs(5)).await;
    let gone = elsewhere.bucket_settings(&bucket).await;
    assert_eq!(gone, Err(BucketError::Cluster(ClusterError::Unavailable)), "not: it is not marked");
}

#[tokio::test]
async fn settings_that_cannot_be_read_stop_everything() {
    let world = World::new().await;
    world.put(PLAIN, "k", b"text").await.expect("stored");
    let bucket = world.bucket(PLAIN).await;
    for value in [&[][..], &[2, 0], &[1, 0, 0]] {
        world.write_record(&bucket, SETTINGS_SPACE, SETTINGS_KEY, value).await;
        let unknown = |error: ObjectError| match error {
            ObjectError::Bucket(BucketError::Cluster(ClusterError::Unexpected(_))) => {}
            other => panic!("{other:?}"),
        };
        unknown(world.get(PLAIN, "k", None).await.expect_err("refused"));
        unknown(world.put(PLAIN, "k", b"text").await.expect_err("refused"));
        unknown(world.copy((PLAIN, "k"), (PLAIN, "copy")).await.expect_err("refused"));
        assert!(world.begin(PLAIN, "k").await.is_err());
        assert!(world.store.protect_bucket(PLAIN, Protection::Lcp).await.is_err());
    }
}

#[tokio::test]
async fn below_the_level_of_records_no_bucket_is_marked_and_none_can_be() {
    let world = World::new().await;
    let level = CallError::Level { needs: FeatureLevel::RECORDS, at: FeatureLevel::RESTS };
    world.cluster.set_faults(Faults { records: Some(level), ..Faults::default() });
    world.put(PLAIN, "k", b"text").await.expect("stored");
    assert_eq!(world.get(PLAIN, "k", None).await.expect("there"), b"text");
    world.store.create_bucket(&world.alice, "new-bucket").await.expect("new");
    match world.store.protect_bucket("new-bucket", Protection::Lcp).await {
        Err(ProtectError::Bucket(BucketError::Cluster(ClusterError::Level { .. }))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_comes_back_from_the_trash_is_as_it_was() {
    let world = World::new().await;
    let data = noise(200_000);
    world.put(BOOKS, "k", &data).await.expect("stored");
    world.store.delete(&world.alice, BOOKS, "k", Precondition::default()).await.expect("deleted");
    let bucket = world.bucket(BOOKS).await;
    let entries = world.trash(BOOKS).await.into_iter().map(|entry| entry.id).collect();
    let to = Bytes::from_static(b"back/");
    let restore = Command::RestoreTrash { bucket: bucket.id, entries, to, taken: NameTaken::Refuse };
    match world.cluster.command(bucket.group, restore).await.expect("memory") {
        Ok(Outcome::Restored(restored)) => assert!(restored[0].is_ok()),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.get(BOOKS, "back/k", None).await.expect("there"), data);
}

#[tokio::test]
async fn a_rotation_wraps_every_key_anew_and_the_old_one_is_not_needed_any_more() {
    let world = World::new().await;
    let data = noise(100_000);
    for number in 0..5 {
        world.put(BOOKS, &format!("k{number}"), &data).await.expect("stored");
    }
    world.put_parts(BOOKS, "parts", &[(1, data.clone()), (2, data.clone())]).await;
    world.store.delete(&world.alice, BOOKS, "k4", Precondition::default()).await.expect("deleted");
    let upload = world.begin(BOOKS, "begun").await.expect("begun");
    let first = world.put_part((BOOKS, "begun", &upload), 1, &data).await.expect("stored").etag;
    let nothing = Rewrapped { seen: 6, ..Rewrapped::default() };
    assert_eq!(world.store.rewrap(BOOKS).await, Ok(nothing));
    let before = world.cluster.chunks();

    world.keys.rotate();
    world.put(BOOKS, "new", &data).await.expect("stored");
    let all = Rewrapped { seen: 7, rewrapped: 6, refused: 0, uploads: 1 };
    assert_eq!(world.store.rewrap(BOOKS).await, Ok(all));
    // The completion of an upload does the same.
    world.complete((BOOKS, "begun", &upload), &[(1, first)]).await.expect("completed");
    assert_eq!(world.store.rewrap(BOOKS).await, Ok(Rewrapped { seen: 8, ..Rewrapped::default() }));
    world.keys.forget_old();
    let keys = ["k0", "k1", "k2", "k3", "new", "begun"];
    for key in keys {
        assert_eq!(world.get(BOOKS, key, None).await.expect("there"), data, "{key}");
    }
    assert_eq!(world.get(BOOKS, "parts", None).await.expect("there"), data.repeat(2));
    // Nothing was written but envelopes, and what was put anew.
    let after = world.cluster.chunks();
    assert!(before.iter().all(|chunk| after.contains(chunk)));
    assert_eq!(after.len(), before.len() + 1);
    // What lies in the trash comes back, too.
    let bucket = world.bucket(BOOKS).await;
    let entries = world.trash(BOOKS).await.into_iter().map(|entry| entry.id).collect();
    let restore = Command::RestoreTrash { bucket: bucket.id, entries, to: Bytes::new(), taken: NameTaken::Refuse };
    assert!(world.cluster.command(bucket.group, restore).await.expect("memory").is_ok());
    assert_eq!(world.get(BOOKS, "k4", None).await.expect("there"), data);
}

#[tokio::test]
async fn a_rotation_passes_over_what_it_cannot_unwrap_and_needs_no_mark() {
    let world = World::new().await;
    world.put(BOOKS, "old", b"text").await.expect("stored");
    world.keys.rotate();
    world.keys.forget_old();
    world.put(BOOKS, "new", b"text").await.expect("stored");
    let done = Rewrapped { seen: 2, rewrapped: 0, refused: 1, uploads: 0 };
    assert_eq!(world.store.rewrap(BOOKS).await, Ok(done));
    match world.get(BOOKS, "old", None).await {
        Err(ObjectError::Seal(SealError::NoSuchKek { kek })) => assert_eq!(kek, "kek-0"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.store.rewrap(PLAIN).await, Ok(Rewrapped::default()));
}

#[tokio::test]
async fn an_object_that_is_read_while_its_key_is_wrapped_anew_is_read_to_its_end() {
    let world = World::new().await;
    let data = noise(9 << 20);
    world.put(BOOKS, "k", &data).await.expect("stored");
    let request = gateway_core::GetRequest { bucket: BOOKS.into(), key: "k".into(), ..Default::default() };
    let read = world.store.get(&world.alice, &request).await.expect("there");
    world.keys.rotate();
    assert_eq!(world.store.rewrap(BOOKS).await.map(|done| done.rewrapped), Ok(1));
    assert!(crate::world::collect(read.content).await.expect("pinned") == data);
}

impl World {
    async fn trash(&self, bucket: &str) -> Vec<proto::trash::TrashEntry> {
        let bucket = self.bucket(bucket).await;
        let query = Query::ListTrash { bucket: bucket.id, filter: TrashFilter::default(), after: None, max: 100 };
        match self.cluster.query(bucket.group, query).await {
            Ok(Ok(Answer::Trash(page))) => page.entries,
            other => panic!("{other:?}"),
        }
    }
}
