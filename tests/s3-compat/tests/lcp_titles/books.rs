//! Good books.

use super::{content_key, holds, is_protected, plain};
use gateway_core::lcp::{Place, ProtectionEvent, Standing, TitleFilter};
use s3_compat::lcp::{BUCKET, Library, comic, comic_entries, epub, epub_entries, pdf, picture};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn books_of_every_kind_are_protected_and_come_out_as_they_went_in() {
    let mut library = Library::open(|_| {}).await;
    let (document, image) = (pdf(5), picture(50_000, 9));
    library.put("시집/별 헤는 밤.epub", &epub("가을로")).await;
    library.put("manual.pdf", &document).await;
    library.put("제1권.cbz", &comic(40_000)).await;
    library.put("포스터.png", &image).await;
    let workers = library.work();
    for _ in 0..4 {
        assert!(is_protected(library.event().await));
    }
    workers.stop().await;

    let title = library.title("시집/별 헤는 밤.epub").await;
    assert_eq!((title.name.as_deref(), &title.standing), (Some("별 헤는 밤"), &Standing::Ready));
    holds(&library, &title, 1, &plain(&epub_entries("가을로"))).await;

    let title = library.title("manual.pdf").await;
    assert_eq!(title.name.as_deref(), Some("manual"));
    assert_eq!(title.package().map(|package| package.media_type.as_str()), Some("application/pdf+lcp"));
    holds(&library, &title, 1, &[("publication.pdf".to_owned(), document)]).await;

    let title = library.title("제1권.cbz").await;
    let mut pages: Vec<_> =
        plain(&comic_entries(40_000)).into_iter().filter(|(name, _)| name.ends_with("png")).collect();
    pages.reverse();
    holds(&library, &title, 1, &pages).await;

    let title = library.title("포스터.png").await;
    holds(&library, &title, 1, &[("포스터.png".to_owned(), image)]).await;

    let counts = library.shop.lending.title_counts().await.expect("an answer");
    assert_eq!((counts.ready, counts.queued, counts.protecting, counts.failed), (4, 0, 0, 0));
    let filter = TitleFilter::Format("application/divina+lcp".to_owned());
    assert_eq!(library.shop.lending.titles(&filter, None, 100).await.expect("an answer").found.len(), 2);
    assert_eq!(library.objects().await.len(), 4);
    assert_eq!(library.uploads().await, 0);
    // Neither a content key nor a word of a book stands in the metadata in the clear.
    assert!(!library.shop.is_kept(content_key(&library, &title).await.expose()));
    assert!(!library.shop.is_kept("계절이 지나가는".as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_may_be_larger_than_one_part() {
    let mut library = Library::open(|_| {}).await;
    library.put("large.cbz", &comic(9 << 20)).await;
    let workers = library.work();
    let event = library.event().await;
    workers.stop().await;
    let ProtectionEvent::Protected { source_bytes, package_bytes, .. } = event else { panic!("{event:?}") };
    assert!(source_bytes > 27 << 20 && package_bytes > 27 << 20);
    let title = library.title("large.cbz").await;
    let mut pages: Vec<_> =
        plain(&comic_entries(9 << 20)).into_iter().filter(|(name, _)| name.ends_with("png")).collect();
    pages.reverse();
    holds(&library, &title, 1, &pages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_has_the_same_key_and_the_old_package_stays() {
    let mut library = Library::open(|_| {}).await;
    let workers = library.work();
    library.put("a.epub", &epub("봄으로")).await;
    assert!(is_protected(library.event().await));
    let first = library.title("a.epub").await;
    library.put("a.epub", &epub("가을로")).await;
    assert!(is_protected(library.event().await));
    workers.stop().await;
    let title = library.title("a.epub").await;
    assert_eq!((&title.id, &title.content_key), (&first.id, &first.content_key));
    assert_eq!(title.packages.iter().map(|package| package.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(title.packages[0].replaced, Some(library.shop.clock.now()));
    holds(&library, &title, 1, &plain(&epub_entries("봄으로"))).await;
    holds(&library, &title, 2, &plain(&epub_entries("가을로"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_kept_up_to_a_bound_and_the_rest_deleted() {
    let mut library = Library::open(|_| {}).await;
    let workers = library.work();
    for version in 0..10 {
        library.put("a.png", &picture(5_000, version)).await;
        assert!(is_protected(library.event().await));
    }
    workers.stop().await;
    let title = library.title("a.png").await;
    assert_eq!(title.packages.iter().map(|package| package.version).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(library.objects().await.len(), 8);
    assert_eq!(library.shop.lending.sweep().await.expect("swept").objects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_two_gateways_make_one_package_a_title() {
    let mut library = Library::open(|_| {}).await;
    for n in 0..12 {
        library.put(&format!("{n}.png"), &picture(20_000, n)).await;
    }
    let (here, there) = (library.work(), library.work_elsewhere());
    for _ in 0..12 {
        assert!(is_protected(library.event().await), "nobody loses anything to anybody");
    }
    here.stop().await;
    there.stop().await;
    let bucket = library.title("0.png").await.source.expect("a source").bucket;
    let page = library.shop.lending.titles(&TitleFilter::Bucket(bucket), None, 100).await.expect("an answer");
    let mut named = BTreeSet::new();
    for held in &page.found {
        assert_eq!((&held.value.standing, held.value.packages.len()), (&Standing::Ready, 1));
        let Place::Here { key, .. } = &held.value.packages[0].place else { panic!("here") };
        named.insert(key.clone());
    }
    assert_eq!(named.into_iter().collect::<Vec<_>>(), library.objects().await);
    assert_eq!(page.found.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_downloads_at_once_make_one_title() {
    let library = Library::open(|_| {}).await;
    library.store("a.epub", None, &epub("가을로")).await;
    let asked = (0..16).map(|n| {
        let lending = if n % 2 == 0 { library.shop.lending.clone() } else { library.shop.other_gateway() };
        tokio::spawn(async move { lending.ensure(BUCKET, "a.epub").await.expect("a title").value.id })
    });
    let mut ids = BTreeSet::new();
    for asked in asked.collect::<Vec<_>>() {
        ids.insert(asked.await.expect("no panic"));
    }
    assert_eq!(ids.len(), 1);
    let all = library.shop.lending.titles(&TitleFilter::All, None, 100).await.expect("an answer");
    assert_eq!(all.found.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_keys_are_wrapped_anew_and_open_what_they_did() {
    let mut library = Library::open(|_| {}).await;
    for n in 0..3 {
        library.put(&format!("{n}.png"), &picture(5_000, n)).await;
    }
    library.shop.keys.rotate();
    library.put("3.png", &picture(5_000, 3)).await;
    let before = library.title("1.png").await;
    let mut seen = Vec::new();
    let done = library.shop.lending.rewrap_titles(&mut |done| seen.push(*done)).await.expect("done");
    assert_eq!((done.seen, done.rewrapped, done.refused), (4, 3, 0));
    assert_eq!(seen.last(), Some(&done));
    let after = library.title("1.png").await;
    assert_eq!((before.content_key.kek.as_str(), after.content_key.kek.as_str()), ("memory:1", "memory:2"));
    assert_eq!(content_key(&library, &before).await, content_key(&library, &after).await);
    let again = library.shop.lending.rewrap_titles(&mut |_| {}).await.expect("done");
    assert_eq!(again.rewrapped, 0);
    let workers = library.work();
    for _ in 0..4 {
        assert!(is_protected(library.event().await));
    }
    workers.stop().await;
    let title = library.title("1.png").await;
    holds(&library, &title, 1, &[("1.png".to_owned(), picture(5_000, 1))]).await;
}
