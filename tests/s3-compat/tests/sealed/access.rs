//! Who may do what, and from when on.

use crate::world::{BOOKS, PLAIN, World, body, copy_of, forgetful, get_from, noise, titled, to};
use cluster_client::Cluster as _;
use gateway_core::{
    BucketError, ByteRange, Caller, ClusterError, CopySource, GetRequest, ListRequest, MultipartError, NewUpload,
    ObjectError, PartTarget, PlainRead, Precondition, RIGHTS_SPACE, Right, Rights, RightsError, SYSTEM_BUCKET,
    SYSTEM_USER, SealError, Store, StoreConfig,
};
use harness::memory_cluster::MemoryCluster;
use proto::control::ControlCommand;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use types::RuleId;

fn denied<T: std::fmt::Debug>(answer: Result<T, ObjectError>) {
    assert!(matches!(answer, Err(ObjectError::Bucket(BucketError::AccessDenied))), "{answer:?}");
}

fn sealed_off<T: std::fmt::Debug>(answer: Result<T, ObjectError>, why: &SealError) {
    match answer {
        Err(ObjectError::Seal(error)) => assert_eq!(error, *why),
        other => panic!("{other:?}"),
    }
}

fn object(error: MultipartError) -> ObjectError {
    match error {
        MultipartError::Object(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_the_right_nobody_reads_plain_bytes_and_the_owner_does_all_else() {
    let world = World::new().await;
    let data = noise(200_000);
    world.put(BOOKS, "k", &data).await.expect("stored");
    world.put(PLAIN, "k", &data).await.expect("stored");
    world.store.revoke("alice", &Right::PlainRead(None)).await.expect("taken");
    denied(world.get(BOOKS, "k", None).await);
    denied(world.get(BOOKS, "k", Some(ByteRange::FromTo { first: 5, last: 5 })).await);
    denied(world.get(BOOKS, "no such key", None).await);
    for to in [PLAIN, BOOKS] {
        denied(world.copy((BOOKS, "k"), (to, "copy")).await);
        denied(world.store.copy(&world.alice, copy_of((BOOKS, "k"), (to, "k"), Some(titled()))).await);
        let upload = world.begin(to, "parts").await.expect("begun");
        let target = PartTarget { bucket: to.into(), key: "parts".into(), upload, part: 1 };
        let source = CopySource { bucket: BOOKS.into(), key: "k".into(), ..CopySource::default() };
        for range in [None, Some((0, 9))] {
            let copied = world.store.copy_part(&world.alice, &target, &source, range).await;
            denied(copied.map_err(object));
        }
    }
    // What is left is the owner's.
    let request = GetRequest { bucket: BOOKS.into(), key: "k".into(), ..GetRequest::default() };
    assert_eq!(world.store.head(&world.alice, &request).await.expect("there").0.size, 200_000);
    assert_eq!(world.listed(BOOKS).await[0].1, 200_000);
    world.put(BOOKS, "k", &noise(5)).await.expect("stored");
    world.copy((PLAIN, "k"), (BOOKS, "copied in")).await.expect("the source is not marked");
    world.put_parts(BOOKS, "parts", &[(1, data.clone())]).await;
    world.store.delete(&world.alice, BOOKS, "k", Precondition::default()).await.expect("deleted");
    assert_eq!(world.get(PLAIN, "k", None).await.expect("not marked"), data);
    // And with the right it is as before.
    world.store.grant("alice", &Right::PlainRead(Some(BOOKS.into()))).await.expect("granted");
    assert_eq!(world.get(BOOKS, "parts", None).await.expect("there"), data);
}

#[tokio::test]
async fn the_right_opens_no_bucket_that_is_somebody_elses() {
    let world = World::new().await;
    world.put(BOOKS, "k", b"text").await.expect("stored");
    let bob = Caller { user: world.cluster.add_user("bob").user };
    world.store.grant("bob", &Right::PlainRead(None)).await.expect("granted");
    denied(get_from(&world.store, &bob, BOOKS, "k", None).await);
}

#[tokio::test]
async fn a_right_for_one_bucket_is_for_that_one() {
    let world = World::new().await;
    world.mark("more-books").await;
    world.store.revoke("alice", &Right::PlainRead(None)).await.expect("taken");
    world.store.grant("alice", &Right::PlainRead(Some("more-books".into()))).await.expect("granted");
    for bucket in [BOOKS, "more-books"] {
        world.put(bucket, "k", b"text").await.expect("stored");
    }
    denied(world.get(BOOKS, "k", None).await);
    denied(world.copy((BOOKS, "k"), ("more-books", "copy")).await);
    assert_eq!(world.get("more-books", "k", None).await.expect("granted"), b"text");
    world.copy(("more-books", "k"), (BOOKS, "copy")).await.expect("reading is what needs it");
}

#[tokio::test]
async fn rights_are_kept_one_by_one() {
    let world = World::new().await;
    let store = &world.store;
    world.cluster.add_user("shop");
    assert_eq!(*store.rights_of("shop").await.expect("known"), Rights::default());
    store.grant("shop", &Right::Lend).await.expect("granted");
    store.grant("shop", &Right::Download).await.expect("granted");
    store.grant("shop", &Right::PlainRead(Some("a".into()))).await.expect("granted");
    let rights = store.grant("shop", &Right::PlainRead(Some("b".into()))).await.expect("granted");
    let named = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(rights, Rights { plain_read: PlainRead::Named(named), lend: true, download: true });
    assert_eq!(*store.rights_of("shop").await.expect("known"), rights);
    store.revoke("shop", &Right::Lend).await.expect("taken");
    store.revoke("shop", &Right::Lend).await.expect("taken before");
    let listed = store.list_rights().await.expect("listed");
    let names: Vec<_> = listed.iter().map(|(name, rights)| (name.as_str(), rights.lend, rights.download)).collect();
    assert_eq!(names, [("alice", false, false), ("shop", false, true)]);
    store.revoke("shop", &Right::Download).await.expect("taken");
    store.revoke("shop", &Right::PlainRead(None)).await.expect("taken");
    assert_eq!(store.list_rights().await.expect("listed").len(), 1, "who has none has no record");
    assert_eq!(store.grant("", &Right::Lend).await, Err(RightsError::User));
}

#[tokio::test]
async fn two_changes_of_rights_at_once_are_both_made() {
    let world = World::new().await;
    world.cluster.add_user("shop");
    let changes = (0..8).map(|number| {
        let store = world.another(forgetful());
        tokio::spawn(async move { store.grant("shop", &Right::PlainRead(Some(format!("b{number}")))).await })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.expect("no panic").expect("granted");
    }
    let rights = world.store.rights_of("shop").await.expect("known");
    assert!((0..8).all(|number| rights.reads_plain(&format!("b{number}"))), "{rights:?}");
}

#[tokio::test]
async fn nobody_has_a_right_where_none_are_kept() {
    let cluster = MemoryCluster::new(2);
    let alice = Caller { user: cluster.add_user("alice").user };
    let store = Store::new(cluster.clone(), forgetful()).expect("valid settings");
    let store = store.with_keys(Arc::new(crate::keys::MemoryKeys::default()));
    store.create_bucket(&alice, BOOKS).await.expect("new");
    store.protect_bucket(BOOKS, gateway_core::Protection::Lcp).await.expect("empty");
    store.put(&alice, to(BOOKS, "k"), body(b"text")).await.expect("stored");
    denied(get_from(&store, &alice, BOOKS, "k", None).await);
    assert_eq!(store.grant("alice", &Right::PlainRead(None)).await, Err(RightsError::NoSystem));
    assert!(store.list_rights().await.expect("none").is_empty());
    // Nor in a bucket of that name that somebody has made.
    assert_eq!(store.create_bucket(&alice, SYSTEM_BUCKET).await, Err(BucketError::Exists));
    let create = ControlCommand::CreateBucket {
        name: SYSTEM_BUCKET.into(),
        owner: "alice".into(),
        nonce: 7,
        rule: RuleId::DEFAULT,
    };
    cluster.control(create).await.expect("memory").expect("a new bucket");
    assert_eq!(store.system_bucket().await, Err(BucketError::AccessDenied));
    assert_eq!(store.ensure_system_bucket().await, Err(BucketError::Exists));
    denied(get_from(&store, &alice, BOOKS, "k", None).await);
}

#[tokio::test]
async fn the_system_bucket_is_made_once_and_nobody_elses() {
    let world = World::new().await;
    let first = world.store.ensure_system_bucket().await.expect("there");
    assert_eq!(world.store.ensure_system_bucket().await.expect("there"), first);
    assert_eq!((first.name.as_str(), first.owner.as_str()), (SYSTEM_BUCKET, SYSTEM_USER));
    let list = world.store.list(&world.alice, SYSTEM_BUCKET, ListRequest::default()).await;
    assert_eq!(list, Err(BucketError::AccessDenied));
}

#[tokio::test]
async fn rights_that_cannot_be_read_are_none() {
    let world = World::new().await;
    world.put(BOOKS, "k", b"text").await.expect("stored");
    let system = world.store.system_bucket().await.expect("answered").expect("made");
    world.write_record(&system, RIGHTS_SPACE, b"alice", &[2, 1, 1, 1]).await;
    match world.get(BOOKS, "k", None).await {
        Err(ObjectError::Bucket(BucketError::Cluster(ClusterError::Unexpected(_)))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_holds_elsewhere_within_five_seconds() {
    let world = World::new().await;
    world.put(BOOKS, "k", b"text").await.expect("stored");
    let elsewhere = world.another(StoreConfig::default());
    let read = || get_from(&elsewhere, &world.alice, BOOKS, "k", None);
    read().await.expect("granted");
    world.store.revoke("alice", &Right::PlainRead(None)).await.expect("taken");
    tokio::time::advance(Duration::from_secs(5)).await;
    denied(read().await);
    world.store.grant("alice", &Right::PlainRead(None)).await.expect("granted");
    tokio::time::advance(Duration::from_secs(5)).await;
    read().await.expect("granted anew");
}

#[tokio::test]
async fn without_keys_no_content_is_read_or_written() {
    let world = World::new().await;
    world.put(BOOKS, "k", &noise(100)).await.expect("stored");
    world.put(PLAIN, "k", &noise(100)).await.expect("stored");
    let upload = world.begin(BOOKS, "parts").await.expect("begun");
    let first = world.put_part((BOOKS, "parts", &upload), 1, b"one").await.expect("stored").etag;
    let world = World { store: world.keyless(), ..world };
    let none = SealError::NoKeys;
    sealed_off(world.get(BOOKS, "k", None).await, &none);
    sealed_off(world.put(BOOKS, "k", b"text").await, &none);
    sealed_off(world.begin(BOOKS, "new").await.map_err(object), &none);
    sealed_off(world.put_part((BOOKS, "parts", &upload), 2, b"two").await.map_err(object), &none);
    sealed_off(world.complete((BOOKS, "parts", &upload), &[(1, first)]).await.map_err(object), &none);
    for (from, to) in [(BOOKS, BOOKS), (BOOKS, PLAIN), (PLAIN, BOOKS)] {
        sealed_off(world.copy((from, "k"), (to, "copy")).await, &none);
    }
    sealed_off(world.store.rewrap(BOOKS).await, &none);
    // It can still be looked after.
    assert_eq!(world.listed(BOOKS).await[0].1, 100);
    let request = GetRequest { bucket: BOOKS.into(), key: "k".into(), ..GetRequest::default() };
    assert_eq!(world.store.head(&world.alice, &request).await.expect("there").0.size, 100);
    assert_eq!(world.get(PLAIN, "k", None).await.expect("not marked"), noise(100));
    world.store.abort_upload(&world.alice, BOOKS, "parts", &upload).await.expect("aborted");
    world.store.delete(&world.alice, BOOKS, "k", Precondition::default()).await.expect("deleted");
}

#[tokio::test]
async fn while_the_key_service_is_away_nothing_is_stored() {
    let world = World::new().await;
    world.put(BOOKS, "k", &noise(100)).await.expect("stored");
    world.keys.set_away(true);
    let away = SealError::KeysUnavailable;
    sealed_off(world.get(BOOKS, "k", None).await, &away);
    sealed_off(world.put(BOOKS, "k", b"text").await, &away);
    let new = NewUpload { bucket: BOOKS.into(), key: "n".into(), metadata: titled(), checksum: None };
    sealed_off(world.store.create_upload(&world.alice, new).await.map_err(object), &away);
    world.keys.set_away(false);
    assert_eq!(world.get(BOOKS, "k", None).await.expect("as it was"), noise(100));
}
