//! Sweeps, and titles that are removed.

use super::is_protected;
use gateway_core::lcp::{LcpError, Place, Standing, Swept, TitleFilter};
use s3_compat::lcp::{BUCKET, Library, picture};

const MONTH: i64 = 31 * 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_finds_what_was_not_noted() {
    let mut library = Library::open(|_| {}).await;
    let lending = library.shop.lending.clone();
    assert_eq!(lending.sweep().await.expect("swept"), Swept::default());
    for n in 0..3 {
        library.put(&format!("{n}.png"), &picture(5_000, n)).await;
    }
    library.store("lost.png", None, &picture(5_000, 3)).await;
    library.store("0.png", None, &picture(5_000, 4)).await;
    library.delete("1.png").await;
    let swept = lending.sweep().await.expect("swept");
    assert_eq!(swept, Swept { noted: 2, gone: 1, ..Swept::default() });
    assert!(matches!(library.title("1.png").await.standing, Standing::Gone { .. }));
    let workers = library.work();
    for _ in 0..3 {
        assert!(is_protected(library.event().await));
    }
    workers.stop().await;
    assert_eq!(library.title("lost.png").await.standing, Standing::Ready);
    assert_eq!(lending.sweep().await.expect("swept"), Swept::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_were_replaced_go_after_their_time() {
    let mut library = Library::open(|_| {}).await;
    let lending = library.shop.lending.clone();
    let workers = library.work();
    for version in 0..2 {
        library.put("a.png", &picture(5_000, version)).await;
        assert!(is_protected(library.event().await));
    }
    workers.stop().await;
    assert_eq!(lending.sweep().await.expect("swept"), Swept::default());
    library.shop.clock.pass(MONTH);
    assert_eq!(lending.sweep().await.expect("swept"), Swept { dropped: 1, ..Swept::default() });
    let title = library.title("a.png").await;
    assert_eq!(title.packages.iter().map(|package| package.version).collect::<Vec<_>>(), [2]);
    let Place::Here { key, .. } = &title.packages[0].place else { panic!("here") };
    assert_eq!(library.objects().await, std::slice::from_ref(key));
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_a_deleted_source_go_after_their_time() {
    let mut library = Library::open(|_| {}).await;
    let lending = library.shop.lending.clone();
    library.put("a.png", &picture(5_000, 1)).await;
    let workers = library.work();
    assert!(is_protected(library.event().await));
    workers.stop().await;
    library.delete("a.png").await;
    assert_eq!(lending.sweep().await.expect("swept").gone, 1);
    assert_eq!(lending.sweep().await.expect("swept"), Swept::default());
    library.shop.clock.pass(MONTH);
    assert_eq!(lending.sweep().await.expect("swept"), Swept { dropped: 1, ..Swept::default() });
    let title = library.title("a.png").await;
    assert!(title.packages.is_empty() && library.objects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_is_removed_with_its_packages_and_made_anew_with_another_key() {
    let mut library = Library::open(|_| {}).await;
    let lending = library.shop.lending.clone();
    library.put("a.png", &picture(5_000, 1)).await;
    let workers = library.work();
    assert!(is_protected(library.event().await));
    workers.stop().await;
    let before = library.title("a.png").await;
    lending.remove_title(&before.id, false).await.expect("removed");
    assert!(library.objects().await.is_empty());
    assert!(matches!(lending.remove_title(&before.id, true).await, Err(LcpError::NoSuchTitle)));
    assert!(lending.title_of(BUCKET, "a.png").await.expect("an answer").is_none());
    assert_eq!(lending.sweep().await.expect("swept").noted, 1);
    let after = library.title("a.png").await;
    assert!(after.id != before.id && after.content_key != before.content_key);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_sweeps_now_and_then() {
    let mut library = Library::open(|config| config.sweep = std::time::Duration::from_secs(1)).await;
    library.put("a.png", &picture(5_000, 1)).await;
    library.store("lost.png", None, &picture(5_000, 2)).await;
    let (here, there) = (library.work(), library.work_elsewhere());
    assert!(is_protected(library.event().await));
    assert!(is_protected(library.event().await), "a sweep has found it");
    here.stop().await;
    there.stop().await;
    let all = library.shop.lending.titles(&TitleFilter::All, None, 10).await.expect("an answer");
    assert_eq!(all.found.len(), 2);
}
