//! Books that are refused.

use super::reason;
use gateway_core::lcp::{Fault, ProtectMode, ProtectionEvent, Standing, TitleFilter};
use s3_compat::lcp::{BUCKET, Library, epub, hostile, pdf, picture};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_books_fail_with_a_reason_and_leave_nothing_behind() {
    let mut library = Library::open(|_| {}).await;
    let books = hostile();
    for (_, name, bytes) in &books {
        library.put(name, bytes).await;
    }
    let workers = library.work();
    for _ in &books {
        let event = library.event().await;
        assert!(matches!(event, ProtectionEvent::Failed { fault } if fault != Fault::GivenUp), "{event:?}");
    }
    workers.stop().await;
    for (what, name, _) in &books {
        let title = library.title(name).await;
        let reason = reason(&title);
        assert!(!reason.is_empty() && reason.len() < 2_000, "{what}: {reason}");
        assert!(title.packages.is_empty(), "{what}");
        println!("{what}: {reason}");
    }
    assert!(library.objects().await.is_empty());
    assert_eq!(library.uploads().await, 0);
    let failed = library.shop.lending.titles(&TitleFilter::Standing(4), None, 100).await.expect("an answer");
    assert_eq!(failed.found.len(), books.len());
    // Those who try again know that it is no use.
    let walk = library.shop.lending.protect(BUCKET, "", ProtectMode::Queue, &mut |_| {}).await.expect("walked");
    assert_eq!((walk.seen, walk.failed), (books.len() as u64, books.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_tell_what_kind_of_reason_it_is() {
    let mut library = Library::open(|_| {}).await;
    let kinds = [
        ("a.mp3", None, picture(5_000, 1), Fault::Unsupported),
        ("a.pdf", Some("text/plain"), pdf(1), Fault::Unsupported),
        ("b.epub", Some("application/pdf"), pdf(1), Fault::Mislabelled),
        ("c.epub", None, pdf(1), Fault::Mislabelled),
    ];
    let workers = library.work();
    for (key, media_type, bytes, fault) in kinds {
        library.store(key, media_type, &bytes).await;
        library.shop.lending.note_object(BUCKET, key).await.expect("noted");
        assert_eq!(library.event().await, ProtectionEvent::Failed { fault }, "{key}");
    }
    // The same bytes under a type that is true.
    library.store("b.epub", Some("application/epub+zip"), &epub("가을로")).await;
    library.shop.lending.note_object(BUCKET, "b.epub").await.expect("noted");
    assert!(super::is_protected(library.event().await));
    library.store("a.pdf", Some("application/pdf"), &pdf(1)).await;
    library.shop.lending.note_object(BUCKET, "a.pdf").await.expect("noted");
    assert!(super::is_protected(library.event().await), "stored as it was, with another type");
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_refused_leaves_the_one_before() {
    let mut library = Library::open(|_| {}).await;
    let workers = library.work();
    library.put("a.epub", &epub("가을로")).await;
    assert!(super::is_protected(library.event().await));
    library.put("a.epub", b"no book at all").await;
    assert_eq!(library.event().await, ProtectionEvent::Failed { fault: Fault::Mislabelled });
    let title = library.title("a.epub").await;
    assert_eq!(title.packages.len(), 1);
    library.put("a.epub", &epub("가을로")).await;
    let event = library.event().await;
    assert!(super::is_protected(event), "{event:?}");
    workers.stop().await;
    assert_eq!(library.title("a.epub").await.standing, Standing::Ready);
}
