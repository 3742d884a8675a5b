//! Several gateways at once, and answers that are lost.

use crate::{END, check, device, lent, loan, shop};
use drm::status::{EventKind, State};
use futures::future::join_all;
use gateway_core::ClusterError;
use gateway_core::lcp::{LcpError, NewLicence};
use s3_compat::lcp::at;

#[tokio::test]
async fn devices_that_register_at_once_are_all_there() {
    let (shop, id) = lent().await;
    let gateways: Vec<_> = (0..8).map(|_| shop.other_gateway()).collect();
    let names: Vec<_> = (0..8).map(|number| device(&number.to_string())).collect();
    let at_once = gateways.iter().zip(&names).map(|(gateway, device)| gateway.register(id, device));
    let done = join_all(at_once).await;
    assert!(done.iter().all(|done| done.as_ref().is_ok_and(|done| done.event.is_some())), "{done:?}");
    let licence = shop.lending.licence(id).await.expect("there").value;
    assert_eq!((licence.status.devices().len(), licence.status.events.len()), (8, 8));
    check(&shop, &licence);
}

#[tokio::test]
async fn one_device_at_several_gateways_is_one_event() {
    let (shop, id) = lent().await;
    let gateways: Vec<_> = (0..6).map(|_| shop.other_gateway()).collect();
    let device = device("a");
    let done = join_all(gateways.iter().map(|gateway| gateway.register(id, &device))).await;
    let first = done.iter().filter(|done| done.as_ref().is_ok_and(|done| done.event.is_some())).count();
    assert!(done.iter().all(Result::is_ok) && first == 1, "{done:?}");
    assert_eq!(shop.lending.licence(id).await.expect("there").value.status.events.len(), 1);
}

#[tokio::test]
async fn two_renewals_at_once_both_count() {
    let (shop, id) = lent().await;
    let (one, other) = (shop.other_gateway(), shop.other_gateway());
    let (a, b) = (device("a"), device("b"));
    let (first, second) = futures::join!(one.renew(id, &a, None), other.renew(id, &b, None));
    let mut ends = [first.expect("renewed"), second.expect("renewed")].map(|done| done.licence.status.end);
    ends.sort();
    assert_eq!(ends, [Some(at("2026-05-29T10:00:00Z")), Some(at("2026-06-12T10:00:00Z"))]);
    let licence = shop.lending.licence(id).await.expect("there").value;
    assert_eq!((licence.status.end, licence.status.events.len()), (ends[1], 2));
    check(&shop, &licence);
}

#[tokio::test]
async fn of_a_return_and_a_revocation_one_holds() {
    let (shop, id) = lent().await;
    shop.lending.register(id, &device("a")).await.expect("registered");
    shop.clock.pass(60);
    let (one, other) = (shop.other_gateway(), shop.other_gateway());
    let device = device("a");
    let (returned, revoked) = futures::join!(one.return_licence(id, &device), other.revoke(id));
    let licence = shop.lending.licence(id).await.expect("there").value;
    match licence.status.state {
        State::Returned => assert!(returned.is_ok() && matches!(revoked, Err(LcpError::Refused(_)))),
        State::Revoked => assert!(revoked.is_ok() && matches!(returned, Err(LcpError::Refused(_)))),
        other => panic!("{other:?}"),
    }
    assert_eq!(licence.status.events.len(), 2);
    check(&shop, &licence);
}

#[tokio::test]
async fn one_request_at_several_gateways_is_one_licence() {
    let (shop, title) = shop().await;
    let named = NewLicence { nonce: Some([9; 16]), ..loan(&title) };
    let gateways: Vec<_> = (0..6).map(|_| shop.other_gateway()).collect();
    let issued = join_all(gateways.iter().map(|gateway| gateway.issue(named.clone()))).await;
    let issued: Vec<_> = issued.into_iter().map(|issued| issued.expect("issued")).collect();
    assert_eq!(issued.iter().filter(|issued| !issued.is_repeated).count(), 1);
    assert!(issued.iter().all(|other| other.licence == issued[0].licence));
    assert_eq!(shop.lending.count_licences(None, None).await.expect("counted"), 1);
}

#[tokio::test]
async fn a_lost_answer_does_nothing_twice() {
    let (shop, id) = lent().await;
    let lost = |error: LcpError| matches!(error, LcpError::Cluster(ClusterError::Unavailable));
    shop.network.lose(1);
    assert!(lost(shop.lending.register(id, &device("a")).await.expect_err("unknown")));
    assert_eq!(shop.lending.register(id, &device("a")).await.expect("as before").event, None);
    shop.network.lose(1);
    let end = Some(at("2026-06-01T00:00:00Z"));
    assert!(lost(shop.lending.renew(id, &device("a"), end).await.expect_err("unknown")));
    let renewed = shop.lending.renew(id, &device("a"), end).await.expect("as before");
    assert_eq!((renewed.event, renewed.licence.status.end), (None, end));
    check(&shop, &renewed.licence);
    shop.clock.pass(60);
    shop.network.lose(1);
    assert!(lost(shop.lending.return_licence(id, &device("a")).await.expect_err("unknown")));
    let licence = shop.lending.licence(id).await.expect("there").value;
    let kinds: Vec<_> = licence.status.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Register, EventKind::Renew, EventKind::Return]);
    assert!(licence.status.end < Some(at(END)));
    check(&shop, &licence);
}
