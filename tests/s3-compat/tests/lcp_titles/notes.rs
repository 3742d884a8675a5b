//! Notes: whatever comes, in whatever order, the title follows its source.

use super::is_protected;
use gateway_core::lcp::{LcpError, ProtectCounts, ProtectMode, Standing, Title};
use gateway_core::{BucketError, KeyError};
use s3_compat::lcp::{BUCKET, Library, epub, picture};

fn queued(title: &Title) -> bool {
    matches!(title.standing, Standing::Queued { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_comes_again_changes_nothing() {
    let mut library = Library::open(|_| {}).await;
    let lending = library.shop.lending.clone();
    library.put("a.png", &picture(5_000, 1)).await;
    let first = lending.title_of(BUCKET, "a.png").await.expect("an answer").expect("a title");
    lending.note_object(BUCKET, "a.png").await.expect("noted");
    assert_eq!(lending.title_of(BUCKET, "a.png").await.expect("an answer"), Some(first));
    let workers = library.work();
    assert!(is_protected(library.event().await));
    workers.stop().await;
    let ready = lending.title_of(BUCKET, "a.png").await.expect("an answer").expect("a title");
    lending.note_object(BUCKET, "a.png").await.expect("noted");
    assert_eq!(lending.title_of(BUCKET, "a.png").await.expect("an answer"), Some(ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_need_no_other_package() {
    let mut library = Library::open(|_| {}).await;
    library.put("a.png", &picture(5_000, 1)).await;
    let workers = library.work();
    assert!(is_protected(library.event().await));
    workers.stop().await;
    library.put("a.png", &picture(5_000, 1)).await;
    assert_eq!(library.title("a.png").await.standing, Standing::Ready);
    // Another version, and back before anybody came to it.
    library.put("a.png", &picture(5_000, 2)).await;
    assert!(queued(&library.title("a.png").await));
    library.put("a.png", &picture(5_000, 1)).await;
    assert_eq!(library.title("a.png").await.standing, Standing::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_source_leaves_its_packages_and_may_come_back() {
    let mut library = Library::open(|_| {}).await;
    library.put("a.png", &picture(5_000, 1)).await;
    let workers = library.work();
    assert!(is_protected(library.event().await));
    library.delete("a.png").await;
    library.shop.lending.note_object(BUCKET, "a.png").await.expect("noted");
    let gone = library.title("a.png").await;
    assert!(matches!(gone.standing, Standing::Gone { .. }) && gone.packages.len() == 1);
    library.put("a.png", &picture(5_000, 1)).await;
    assert_eq!(library.title("a.png").await.standing, Standing::Ready);
    library.delete("a.png").await;
    library.shop.lending.note_object(BUCKET, "a.png").await.expect("noted");
    library.put("a.png", &picture(5_000, 2)).await;
    assert!(is_protected(library.event().await));
    workers.stop().await;
    let back = library.title("a.png").await;
    assert_eq!((&back.id, &back.content_key, back.packages.len()), (&gone.id, &gone.content_key, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_of_other_buckets_folders_and_what_is_not_there() {
    let library = Library::open(|_| {}).await;
    let lending = &library.shop.lending;
    library.shop.store.create_bucket(&library.owner, "others").await.expect("a new bucket");
    for (bucket, key) in [("others", "a.png"), ("missing", "a.png"), (BUCKET, "a.png"), (BUCKET, "")] {
        lending.note_object(bucket, key).await.expect("no error");
        assert!(lending.title_of(bucket, key).await.expect("an answer").is_none());
        assert!(matches!(lending.ensure(bucket, key).await, Err(LcpError::NoSuchTitle)));
    }
    library.put("folder/", b"").await;
    assert!(lending.title_of(BUCKET, "folder/").await.expect("an answer").is_none());
    let walk = lending.protect("others", "", ProtectMode::Queue, &mut |_| {}).await;
    assert!(matches!(walk, Err(LcpError::Invalid { field: "bucket", .. })));
    let deleted = library.shop.store.delete_bucket(&library.owner, "others").await;
    assert_eq!(deleted, Ok::<_, BucketError>(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_note_fails_and_changes_nothing() {
    let library = Library::open(|_| {}).await;
    library.store("a.png", None, &picture(5_000, 1)).await;
    library.shop.keys.set_away(true);
    let noted = library.shop.lending.note_object(BUCKET, "a.png").await;
    assert!(matches!(noted, Err(LcpError::Key(KeyError::Unavailable(_)) | LcpError::Cluster(_))), "{noted:?}");
    library.shop.keys.set_away(false);
    assert!(library.shop.lending.title_of(BUCKET, "a.png").await.expect("an answer").is_none());
    let title = library.shop.lending.ensure(BUCKET, "a.png").await.expect("a title");
    assert!(queued(&title.value));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_tells_what_it_would_do_and_does_it() {
    let mut library = Library::open(|_| {}).await;
    let lending = library.shop.lending.clone();
    for key in ["a/1.png", "a/2.png", "a/refused.txt", "b/3.png"] {
        library.store(key, None, &picture(5_000, 1)).await;
    }
    library.put("a/0.epub", &epub("가을로")).await;
    let mut seen = Vec::new();
    let dry = lending.protect(BUCKET, "a/", ProtectMode::DryRun, &mut |counts| seen.push(*counts)).await;
    let dry = dry.expect("walked");
    assert_eq!(dry, ProtectCounts { seen: 4, new: 3, under_way: 1, ..ProtectCounts::default() });
    assert_eq!(seen, [dry]);
    assert!(lending.title_of(BUCKET, "a/1.png").await.expect("an answer").is_none());
    assert_eq!(lending.protect(BUCKET, "a/", ProtectMode::Queue, &mut |_| {}).await.expect("walked"), dry);
    let workers = library.work();
    for _ in 0..4 {
        library.event().await;
    }
    library.store("a/1.png", None, &picture(5_000, 2)).await;
    let dry = lending.protect(BUCKET, "", ProtectMode::DryRun, &mut |_| {}).await.expect("walked");
    let expected = ProtectCounts { seen: 5, new: 1, again: 1, current: 2, failed: 1, ..ProtectCounts::default() };
    assert_eq!(dry, expected);
    assert_eq!(lending.protect(BUCKET, "a/1", ProtectMode::Queue, &mut |_| {}).await.expect("walked").again, 1);
    assert!(is_protected(library.event().await));
    let again = lending.protect(BUCKET, "a/", ProtectMode::Again, &mut |_| {}).await.expect("walked");
    assert_eq!((again.seen, again.again), (4, 4));
    let mut made = 0;
    for _ in 0..4 {
        made += usize::from(is_protected(library.event().await));
    }
    workers.stop().await;
    assert_eq!(made, 3);
    assert_eq!(library.title("a/2.png").await.packages.len(), 2);
    assert_eq!(library.title("a/1.png").await.packages.len(), 3);
}
