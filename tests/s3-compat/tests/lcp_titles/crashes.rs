//! What goes wrong while a title is being protected.

use super::{holds, is_protected, plain};
use gateway_core::lcp::{Fault, ProtectionEvent, Standing};
use s3_compat::lcp::{BUCKET, Library, epub, epub_entries, picture};
use std::time::Duration;

const LEASE: i64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_is_replaced_and_nothing_half_made_is_seen() {
    let mut library = Library::open(|config| config.sweep = Duration::from_secs(3600)).await;
    library.put("a.epub", &epub("가을로")).await;
    library.shop.network.writes().close_after(0);
    let dying = library.work();
    library.shop.network.writes().held().await;
    dying.kill().await;
    library.shop.network.writes().open();
    let title = library.title("a.epub").await;
    assert!(matches!(title.standing, Standing::Protecting { tries: 1, .. }) && title.packages.is_empty());
    assert!(library.objects().await.is_empty());
    assert_eq!(library.uploads().await, 1);
    // Its lease is not over: a sweep leaves alone what may still be named.
    assert_eq!(library.shop.lending.sweep().await.expect("swept").uploads, 0);

    library.shop.clock.pass(LEASE + 1);
    let workers = library.work_elsewhere();
    assert!(is_protected(library.event().await));
    workers.stop().await;
    let title = library.title("a.epub").await;
    holds(&library, &title, 1, &plain(&epub_entries("가을로"))).await;
    let swept = library.shop.lending.sweep().await.expect("swept");
    assert_eq!((swept.uploads, swept.objects), (1, 0));
    assert_eq!((library.objects().await.len(), library.uploads().await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_up_late_publishes_nothing() {
    let mut library = Library::open(|config| config.workers = 1).await;
    library.put("a.epub", &epub("가을로")).await;
    library.shop.network.writes().close_after(0);
    let late = library.work();
    library.shop.network.writes().held().await;
    library.shop.clock.pass(LEASE + 1);
    // It has claimed the title, and waits for its bytes as the first one does.
    let other = library.work_elsewhere();
    let taken = async {
        loop {
            if matches!(library.title("a.epub").await.standing, Standing::Protecting { tries: 2, .. }) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken).await.expect("the other takes over");
    library.shop.network.writes().open();
    let events = [library.event().await, library.event().await];
    assert!(events.contains(&ProtectionEvent::Lost) && events.iter().any(|event| is_protected(*event)), "{events:?}");
    late.stop().await;
    other.stop().await;
    let title = library.title("a.epub").await;
    assert_eq!((title.packages.len(), library.objects().await.len(), library.uploads().await), (1, 1, 0));
    holds(&library, &title, 1, &plain(&epub_entries("가을로"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_goes_gives_its_titles_back() {
    let mut library = Library::open(|_| {}).await;
    library.put("a.epub", &epub("가을로")).await;
    library.shop.network.writes().close_after(0);
    let going = library.work();
    library.shop.network.writes().held().await;
    going.stop().await;
    let title = library.title("a.epub").await;
    assert!(matches!(title.standing, Standing::Queued { tries: 0, .. }), "{:?}", title.standing);
    assert_eq!(library.uploads().await, 0);
    library.shop.network.writes().open();
    let workers = library.work();
    assert!(is_protected(library.event().await));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_replaced_meanwhile_is_begun_anew() {
    for noted in [true, false] {
        let mut library = Library::open(|config| config.workers = 1).await;
        library.put("a.epub", &epub("봄으로")).await;
        library.shop.network.writes().close_after(0);
        let workers = library.work();
        library.shop.network.writes().held().await;
        library.store("a.epub", None, &epub("가을로")).await;
        if noted {
            library.shop.lending.note_object(BUCKET, "a.epub").await.expect("noted");
        }
        library.shop.network.writes().open();
        let expected = if noted { ProtectionEvent::Lost } else { ProtectionEvent::SourceChanged };
        assert_eq!(library.event().await, expected);
        assert!(is_protected(library.event().await));
        workers.stop().await;
        let title = library.title("a.epub").await;
        assert_eq!((title.packages.len(), library.objects().await.len(), library.uploads().await), (1, 1, 0));
        holds(&library, &title, 1, &plain(&epub_entries("가을로"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_deleted_meanwhile_is_gone() {
    for noted in [true, false] {
        let mut library = Library::open(|config| config.workers = 1).await;
        library.put("a.epub", &epub("봄으로")).await;
        library.shop.network.writes().close_after(0);
        let workers = library.work();
        library.shop.network.writes().held().await;
        library.delete("a.epub").await;
        if noted {
            library.shop.lending.note_object(BUCKET, "a.epub").await.expect("noted");
        }
        library.shop.network.writes().open();
        library.event().await;
        workers.stop().await;
        let title = library.title("a.epub").await;
        assert!(matches!(title.standing, Standing::Gone { .. }), "{:?}", title.standing);
        assert_eq!((library.objects().await.len(), library.uploads().await), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_had_put_a_title_off_and_give_it_up_in_the_end() {
    let mut library = Library::open(|config| config.workers = 1).await;
    library.put("a.epub", &epub("가을로")).await;
    library.shop.keys.set_away(true);
    let workers = library.work();
    for tries in 1..10 {
        assert_eq!(library.event().await, ProtectionEvent::PutOff);
        let title = library.title("a.epub").await;
        assert!(
            matches!(title.standing, Standing::Queued { tries: now, due, .. } if now == tries && due > library.shop.clock.now())
        );
        library.shop.clock.pass(1_000);
    }
    assert_eq!(library.event().await, ProtectionEvent::Failed { fault: Fault::GivenUp });
    workers.stop().await;
    let title = library.title("a.epub").await;
    assert!(super::reason(&title).starts_with("given up after 10 tries: "), "{}", super::reason(&title));
    assert_eq!(library.uploads().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_whose_workers_die_is_given_up() {
    let mut library = Library::open(|config| config.workers = 1).await;
    library.put("a.png", &picture(20_000, 1)).await;
    for _ in 0..10 {
        library.shop.network.writes().close_after(0);
        let dying = library.work();
        library.shop.network.writes().held().await;
        dying.kill().await;
        library.shop.network.writes().free().await;
        library.shop.clock.pass(LEASE + 1);
    }
    library.shop.network.writes().open();
    let workers = library.work();
    assert_eq!(library.event().await, ProtectionEvent::Failed { fault: Fault::GivenUp });
    workers.stop().await;
    assert!(super::reason(&library.title("a.png").await).contains("10 workers"));
    assert_eq!(library.shop.lending.sweep().await.expect("swept").uploads, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_is_lost_there_is_one_package_in_the_end() {
    for skip in 0..8 {
        let library = Library::open(|config| config.workers = 1).await;
        library.put("a.png", &picture(20_000, 1)).await;
        library.shop.network.lose_after(skip, 1);
        let workers = library.work();
        let ready = async {
            while library.title("a.png").await.standing != Standing::Ready {
                // A claim that the worker does not know of ends, and what was put off is due.
                library.shop.clock.pass(LEASE + 1);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("it is tried again");
        workers.stop().await;
        library.shop.network.lose_after(0, 0);
        library.shop.lending.sweep().await.expect("swept");
        let title = library.title("a.png").await;
        assert_eq!((title.packages.len(), library.objects().await.len(), library.uploads().await), (1, 1, 0), "{skip}");
        holds(&library, &title, 1, &[("a.png".to_owned(), picture(20_000, 1))]).await;
    }
}
