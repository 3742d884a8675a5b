//! Who gets nothing.

use super::*;
use drm::status::Device;
use gateway_core::ClusterError;
use gateway_core::lcp::{Ending, Place, Refused, Wanted};
use gateway_core::{ByteRange, Caller, Metadata, Precondition, PutRequest, SYSTEM_BUCKET, SYSTEM_USER, Upload};
use s3_compat::lcp::at;

/// Why a download is closed.
async fn closed(lending: &Lending, licence: LicenceId) -> &'static str {
    match open(lending, licence).await.map(|_| ()) {
        Err(LcpError::Closed(why)) => why,
        other => panic!("not closed: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_revoked_is_closed_at_every_gateway_from_the_next_range_on() {
    let lent = Lent::new(|_| {}).await;
    let (here, there, third) = (lent.lending(), lent.library.shop.other_gateway(), lent.library.shop.other_gateway());
    for gateway in [here, &there] {
        assert_eq!(read(open(gateway, lent.licence.id).await.expect("open"), Some(0..10)).await.len(), 10);
    }
    third.revoke(lent.licence.id).await.expect("revoked");
    for gateway in [here, &there, &third] {
        assert_eq!(closed(gateway, lent.licence.id).await, "cancelled");
    }
    here.flush_downloads().await.expect("memory");
    let found = here.recorded_downloads(&Default::default(), None, 10).await.expect("read").found;
    let endings: Vec<_> = found.iter().map(|held| (held.value.sent, held.value.ending)).collect();
    assert_eq!(endings, [(10, Ending::Sent), (0, Ending::Refused(Refused::Cancelled))]);
}

#[tokio::test]
async fn a_licence_is_closed_before_its_beginning_after_its_end_and_when_it_was_given_back() {
    let lent = Lent::new(|_| {}).await;
    let rights =
        Rights { start: Some(at("2026-05-02T00:00:00Z")), end: Some(at("2026-05-10T00:00:00Z")), ..Rights::default() };
    let loan = NewLicence { rights, ..sale(&lent.title.id, "독자-1", passphrase()) };
    let licence = lent.lending().issue(loan).await.expect("issued").licence.id;
    let clock = &lent.library.shop.clock;
    assert_eq!(closed(lent.lending(), licence).await, "not yet valid");
    clock.set(at("2026-05-02T00:00:00Z"));
    assert!(open(lent.lending(), licence).await.is_ok());
    clock.set(at("2026-05-10T00:00:00Z"));
    assert!(open(lent.lending(), licence).await.is_ok());
    clock.set(at("2026-05-10T00:00:01Z"));
    assert_eq!(closed(lent.lending(), licence).await, "expired");
    clock.set(at("2026-05-05T00:00:00Z"));
    let device = Device { id: Some("d".to_owned()), name: Some("단말".to_owned()) };
    lent.lending().register(licence, &device).await.expect("registered");
    assert!(open(lent.lending(), licence).await.is_ok());
    lent.lending().return_licence(licence, &device).await.expect("returned");
    assert_eq!(closed(lent.lending(), licence).await, "returned");
}

#[tokio::test]
async fn an_address_that_names_another_book_leads_nowhere() {
    let lent = Lent::new(|_| {}).await;
    for source in [(BUCKET, "other"), ("other", KEY), (BUCKET, "시/별 헤는 밤.epuB")] {
        let opened = lent.lending().open(DownloadRequest { source: Some(source), ..request(lent.licence.id) }).await;
        assert!(matches!(opened, Err(LcpError::NoSuchTitle)), "{source:?}");
    }
    let unknown = "00000000-0000-4000-8000-000000000000".parse().expect("an id");
    assert!(matches!(open(lent.lending(), unknown).await, Err(LcpError::NoSuchLicence)));
    let without = DownloadRequest { source: None, ..request(lent.licence.id) };
    assert!(lent.lending().open(without).await.is_ok());
    let elsewhere = lent.library.shop.add_title("brought").await;
    let licence = lent.lending().issue(sale(&elsewhere, "독자-1", passphrase())).await.expect("issued").licence;
    let opened = lent.lending().open(DownloadRequest { source: None, ..request(licence.id) }).await;
    assert!(matches!(opened, Err(LcpError::Elsewhere)));
}

#[tokio::test]
async fn what_lies_in_the_place_of_a_package_and_is_none_is_not_sent() {
    let lent = Lent::new(|_| {}).await;
    let Place::Here { key, layout, .. } = &lent.title.package().expect("protected").place else { panic!("it is here") };
    for bytes in [vec![0; layout.len as usize - 1], vec![0; layout.len as usize]] {
        let put = PutRequest {
            bucket: SYSTEM_BUCKET.to_owned(),
            key: key.clone(),
            metadata: Metadata::default(),
            precondition: Precondition::default(),
        };
        let length = bytes.len() as u64;
        let body = futures::stream::iter([Ok(Bytes::from(bytes))]);
        let upload = Upload { body, length, md5: None, checksum: None, compute: None };
        let system = Caller { user: SYSTEM_USER.to_owned() };
        lent.library.shop.store.put(&system, put, upload).await.expect("stored");
        let fresh = lent.library.shop.other_gateway();
        assert!(matches!(open(&fresh, lent.licence.id).await, Err(LcpError::Damaged(_))), "{length}");
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_no_answer_and_leaves_nothing_behind() {
    let lent = Lent::new(|_| {}).await;
    let lending = lent.library.shop.other_gateway();
    let lost = harness::memory_cluster::Faults { lost: true, ..Default::default() };
    lent.library.shop.cluster.set_faults(lost.clone());
    let opened = open(&lending, lent.licence.id).await.map(|_| ());
    assert!(matches!(opened, Err(LcpError::Cluster(ClusterError::Lost(_)))), "{opened:?}");
    lent.library.shop.cluster.set_faults(Default::default());
    let download = open(&lending, lent.licence.id).await.expect("it is read anew");
    let range = download.choose(&Wanted { range: Some(ByteRange::From(0)), ..Wanted::default() });
    let range = range.expect("within");
    lent.library.shop.cluster.set_faults(lost);
    assert!(matches!(download.read(range).await.map(|_| ()), Err(LcpError::Cluster(ClusterError::Lost(_)))));
    lent.library.shop.cluster.set_faults(Default::default());
    lending.flush_downloads().await.expect("memory");
    let found = lending.recorded_downloads(&Default::default(), None, 10).await.expect("read").found;
    assert!(found.is_empty(), "nothing was sent and nobody was refused");
}
