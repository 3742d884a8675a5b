//! The record of downloads.

use super::*;
use gateway_core::ClusterError;
use gateway_core::lcp::{Authority, DownloadEntry, DownloadFilter, Ending, Refused};
use harness::memory_cluster::Faults;
use std::time::Duration;
use tokio::sync::oneshot;

async fn all(lending: &Lending, filter: &DownloadFilter) -> Vec<DownloadEntry> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = lending.recorded_downloads(filter, after, 2).await.expect("read");
        found.extend(page.found.into_iter().map(|held| held.value));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_download_is_recorded_as_it_was() {
    let lent = Lent::new(|config| config.gateway = "gw-1".to_owned()).await;
    let file = lent.file().await;
    lent.library.shop.clock.pass(5);
    read(open(lent.lending(), lent.licence.id).await.expect("open"), Some(10..20)).await;
    lent.library.shop.clock.pass(5);
    let token = lent.lending().issue_token(lent.licence.id, Duration::from_secs(60)).await.expect("issued").text;
    let download = open_with(lent.lending(), lent.licence.id, &token).await.expect("open");
    let mut body = download.read(None).await.expect("readable");
    let first = body.try_next().await.expect("readable").expect("a piece").len() as u64;
    body.try_next().await.expect("readable").expect("another");
    drop(body);
    lent.lending().flush_downloads().await.expect("memory");
    let found = all(lent.lending(), &DownloadFilter::default()).await;
    let [whole, part, left] = found.as_slice() else { panic!("three: {found:?}") };
    assert_eq!(
        (&whole.licence, &whole.title, whole.version, whole.user.as_str()),
        (&lent.licence.id, &lent.title.id, 1, "독자-1")
    );
    assert_eq!((whole.range, whole.len, whole.sent), (None, file.len() as u64, file.len() as u64));
    assert_eq!((whole.ending, &whole.authority), (Ending::Sent, &Authority::User("back-end".to_owned())));
    assert_eq!((whole.address, whole.agent.as_deref()), ("192.0.2.7".parse().ok(), Some("Thorium/3")));
    assert!(whole.gateway.starts_with("gw-1:"), "{}", whole.gateway);
    assert_eq!(part.at.0 - whole.at.0, 5_000_000_000);
    assert_eq!((part.range, part.sent, part.ending), (Some((10, 19)), 10, Ending::Sent));
    assert!(matches!(&left.authority, Authority::Token(id) if id.len() == 30 && !token.contains(id)));
    assert_eq!((left.sent, left.ending), (first, Ending::Left), "the last piece may not have arrived");
}

#[tokio::test]
async fn refusals_are_recorded_and_what_nobody_may_know_is_not() {
    let lent = Lent::new(|config| config.licence_downloads = Some(1)).await;
    lent.file().await;
    assert!(open(lent.lending(), lent.licence.id).await.is_err());
    lent.lending().revoke(lent.licence.id).await.expect("revoked");
    assert!(open(lent.lending(), lent.licence.id).await.is_err());
    let unknown = "00000000-0000-4000-8000-000000000000".parse().expect("an id");
    assert!(open(lent.lending(), unknown).await.is_err());
    assert!(lent.lending().check_token("A", lent.licence.id).await.is_err());
    lent.lending().flush_downloads().await.expect("memory");
    let found = all(lent.lending(), &DownloadFilter::default()).await;
    let mut endings: Vec<_> = found.iter().map(|entry| (entry.ending.name(), entry.sent > 0)).collect();
    endings.sort_unstable();
    assert_eq!(endings, [("cancelled", false), ("licence limit", false), ("sent", true)]);
    assert_eq!(Ending::Refused(Refused::Revoked).name(), "revoked");
}

#[tokio::test]
async fn records_are_found_by_licence_title_reader_and_time() {
    let mut lent = Lent::new(|_| {}).await;
    let other = protected(&mut lent.library, "other.epub", &epub("겨울로")).await;
    let second = lent.another("독자-2", passphrase()).await;
    let third = lent.lending().issue(sale(&other.id, "독자-1", passphrase())).await.expect("issued").licence;
    let started = lent.library.shop.clock.now();
    for id in [lent.licence.id, second.id, third.id, lent.licence.id, second.id] {
        let download = lent.lending().open(DownloadRequest { source: None, ..request(id) }).await.expect("open");
        read(download, Some(0..1)).await;
        lent.library.shop.clock.pass(10);
    }
    lent.lending().flush_downloads().await.expect("memory");
    let after = |seconds: i64| Some(types::Timestamp(started.0 + seconds * types::Timestamp::SECOND));
    let none = DownloadFilter::default;
    for (filter, expected) in [
        (none(), vec![0, 10, 20, 30, 40]),
        (DownloadFilter { licence: Some(lent.licence.id), ..none() }, vec![0, 30]),
        (DownloadFilter { title: Some(lent.title.id.clone()), ..none() }, vec![0, 10, 30, 40]),
        (DownloadFilter { user: Some("독자-1".to_owned()), ..none() }, vec![0, 20, 30]),
        (DownloadFilter { from: after(10), to: after(30), ..none() }, vec![10, 20]),
        (DownloadFilter { user: Some("독자-2".to_owned()), from: after(11), ..none() }, vec![40]),
        (DownloadFilter { user: Some("독자-1".to_owned()), title: Some(lent.title.id.clone()), ..none() }, vec![0, 30]),
        (DownloadFilter { licence: Some(third.id), title: Some(lent.title.id.clone()), ..none() }, vec![]),
    ] {
        let found = all(lent.lending(), &filter).await;
        let times: Vec<_> = found.iter().map(|entry| (entry.at.0 - started.0) / types::Timestamp::SECOND).collect();
        assert_eq!(times, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn what_the_cluster_does_not_take_waits_for_it() {
    let lent = Lent::new(|_| {}).await;
    lent.file().await;
    let away = Faults { call: Some(cluster_client::CallError::Unavailable), ..Faults::default() };
    lent.library.shop.cluster.set_faults(away);
    let flushed = lent.lending().flush_downloads().await;
    assert!(matches!(flushed, Err(LcpError::Cluster(ClusterError::Unavailable))));
    lent.library.shop.cluster.set_faults(Faults::default());
    lent.lending().flush_downloads().await.expect("it is back");
    assert_eq!(all(lent.lending(), &DownloadFilter::default()).await.len(), 1);
}

#[tokio::test]
async fn what_waits_is_written_when_the_gateway_stops() {
    let lent = Lent::new(|_| {}).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let lending = lent.lending().clone();
    let writer = tokio::spawn(async move { lending.write_downloads(async move { drop(stopped.await) }).await });
    lent.file().await;
    drop(stop);
    writer.await.expect("it ends");
    assert_eq!(all(lent.lending(), &DownloadFilter::default()).await.len(), 1);
}

#[tokio::test]
async fn the_writer_writes_without_being_asked() {
    let lent = Lent::new(|config| config.licence_downloads = None).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let lending = lent.lending().clone();
    let writer = tokio::spawn(async move { lending.write_downloads(async move { drop(stopped.await) }).await });
    for _ in 0..100 {
        read(open(lent.lending(), lent.licence.id).await.expect("open"), Some(0..1)).await;
    }
    let written = async {
        while all(lent.lending(), &DownloadFilter::default()).await.len() < 100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.expect("written");
    drop(stop);
    writer.await.expect("it ends");
}

#[tokio::test]
async fn old_records_are_removed_and_newer_ones_stay() {
    let day = Duration::from_secs(24 * 3600);
    let lent = Lent::new(|config| config.keep_audit = 2 * day).await;
    for _ in 0..3 {
        lent.file().await;
        lent.library.shop.clock.pass(24 * 3600);
    }
    lent.lending().flush_downloads().await.expect("memory");
    // The first one, and the counters of the three days that are over.
    lent.library.shop.clock.pass(-1);
    assert_eq!(lent.lending().expire_downloads().await.expect("memory"), 1 + 3);
    assert_eq!(all(lent.lending(), &DownloadFilter::default()).await.len(), 2);
    assert_eq!(lent.lending().expire_downloads().await.expect("memory"), 0);
}

#[tokio::test]
async fn a_thousand_downloads_take_few_commands() {
    let lent = Lent::new(|config| config.licence_downloads = None).await;
    for _ in 0..1000 {
        read(open(lent.lending(), lent.licence.id).await.expect("open"), Some(0..1)).await;
    }
    let before = lent.library.shop.network.commands();
    lent.lending().flush_downloads().await.expect("memory");
    assert_eq!(lent.library.shop.network.commands() - before, 1000_usize.div_ceil(64));
    assert_eq!(all(lent.lending(), &DownloadFilter::default()).await.len(), 1000);
}
