//! Limits of readers and titles.

use super::*;

fn retry<T>(result: Result<T, LcpError>) -> u32 {
    match result.map(|_| ()) {
        Err(LcpError::TooMany { retry_seconds }) => retry_seconds,
        other => panic!("not too many: {other:?}"),
    }
}

#[tokio::test]
async fn a_licence_has_so_many_copies_a_day_at_all_gateways_together() {
    let lent = Lent::new(|config| config.licence_downloads = Some(2)).await;
    let (here, there) = (lent.lending(), lent.library.shop.other_gateway());
    for gateway in [here, &there] {
        read(open(gateway, lent.licence.id).await.expect("open"), None).await;
        gateway.flush_downloads().await.expect("memory");
    }
    // It is 10:00, and the day has fourteen hours left.
    for gateway in [here, &there] {
        assert_eq!(retry(open(gateway, lent.licence.id).await), 14 * 3600);
    }
    let other = lent.another("독자-2", passphrase()).await;
    assert!(open(here, other.id).await.is_ok(), "another licence has its own");
    lent.library.shop.clock.pass(14 * 3600);
    assert!(open(here, lent.licence.id).await.is_ok(), "and so has another day");
}

#[tokio::test]
async fn what_was_not_written_yet_counts_where_it_was_sent() {
    let lent = Lent::new(|config| config.licence_downloads = Some(1)).await;
    lent.file().await;
    assert_eq!(retry(open(lent.lending(), lent.licence.id).await), 14 * 3600);
    let other = lent.library.shop.other_gateway();
    assert!(open(&other, lent.licence.id).await.is_ok(), "it does not know yet");
    lent.lending().flush_downloads().await.expect("memory");
    assert_eq!(retry(open(&other, lent.licence.id).await), 14 * 3600);
}

#[tokio::test]
async fn a_title_has_so_many_copies_a_minute_and_they_count_when_they_are_asked_for() {
    let lent = Lent::new(|config| config.title_downloads = Some(2)).await;
    lent.library.shop.clock.pass(20);
    let other = lent.another("독자-2", passphrase()).await;
    let lending = lent.lending();
    let begin = |licence| async move { open(lending, licence).await.expect("open").read(None).await };
    let (first, second) = (begin(lent.licence.id).await.expect("readable"), begin(other.id).await.expect("readable"));
    assert_eq!(retry(open(lent.lending(), lent.licence.id).await), 40);
    drop(second);
    let third = open(lent.lending(), lent.licence.id).await.expect("what was not sent was given back");
    let third = third.read(None).await.expect("readable");
    assert_eq!(retry(open(lent.lending(), lent.licence.id).await), 40);
    lent.library.shop.clock.pass(40);
    assert!(open(lent.lending(), lent.licence.id).await.is_ok());
    drop((first, third));
}

#[tokio::test]
async fn answers_that_get_lost_count_nothing_twice() {
    let lent = Lent::new(|config| config.licence_downloads = Some(2)).await;
    lent.file().await;
    let here = lent.lending();
    // The entry, and then the counter: each is written and nobody hears of it.
    for _ in 0..2 {
        lent.library.shop.network.lose(1);
        assert!(matches!(here.flush_downloads().await, Err(LcpError::Cluster(_))));
    }
    here.flush_downloads().await.expect("memory");
    let other = lent.library.shop.other_gateway();
    assert!(open(&other, lent.licence.id).await.is_ok(), "one of two");
    let found = here.recorded_downloads(&Default::default(), None, 10).await.expect("read").found;
    assert_eq!(found.len(), 1);
}
