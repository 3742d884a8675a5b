//! What devices and stores do to a licence, and in which words they are refused.

use crate::{END, MAX, check, device, lent, sale, shop, told};
use drm::licence::LicenceId;
use drm::status::{Device, EVENTS_MAX, EventKind, Language, State};
use gateway_core::lcp::{LcpError, Lending, LicenceChange, Limit, RightsChange};
use s3_compat::lcp::at;

fn refusal<T: std::fmt::Debug>(result: Result<T, LcpError>) -> (u16, String) {
    told(result.expect_err("refused"))
}

fn is(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

#[tokio::test]
async fn a_device_registers_once() {
    let (shop, id) = lent().await;
    let first = shop.lending.register(id, &device("a")).await.expect("registered");
    assert_eq!((first.event, first.is_over_soft), (Some(EventKind::Register), false));
    assert_eq!(first.licence.status.state, State::Active);
    let commands = shop.network.commands();
    shop.clock.pass(60);
    let again = shop.lending.register(id, &device("a")).await.expect("registered before");
    assert_eq!((again.event, &again.licence), (None, &first.licence));
    assert_eq!(shop.network.commands(), commands);
    let second = shop.lending.register(id, &device("b")).await.expect("registered");
    let third = shop.lending.register(id, &device("c")).await.expect("registered");
    assert_eq!((second.is_over_soft, third.is_over_soft), (false, true));
    assert_eq!(third.licence.document, first.licence.document);
    assert_eq!(refusal(shop.lending.register(id, &Device::default()).await), is(400, "registration"));
    check(&shop, &third.licence);
}

#[tokio::test]
async fn a_licence_that_is_not_there_is_not_found() {
    let (shop, _) = shop().await;
    let id: LicenceId = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10".parse().expect("an id");
    let lending = &shop.lending;
    let nobody = device("a");
    let refused = [
        lending.register(id, &nobody).await.map(drop),
        lending.renew(id, &nobody, None).await.map(drop),
        lending.return_licence(id, &nobody).await.map(drop),
        lending.revoke(id).await.map(drop),
        lending.cancel(id).await.map(drop),
        lending.extend(id, at(MAX)).await.map(drop),
        lending.fresh(id, None).await.map(drop),
        lending.change_licence(id, &LicenceChange::default()).await.map(drop),
    ];
    assert!(refused.iter().all(|refused| matches!(refused, Err(LcpError::NoSuchLicence))), "{refused:?}");
}

#[tokio::test]
async fn a_renewal_moves_document_and_status_together() {
    let (shop, id) = lent().await;
    shop.clock.pass(60);
    let renewed = shop.lending.renew(id, &device("a"), None).await.expect("renewed").licence;
    check(&shop, &renewed);
    assert_eq!(renewed.status.end, Some(at("2026-05-29T10:00:00Z")));
    assert_eq!(renewed.status.licence_updated, shop.clock.now());
    let asked = shop.lending.renew(id, &device("a"), Some(at(MAX))).await.expect("renewed").licence;
    assert_eq!((check(&shop, &asked).terms().rights.end, asked.status.end), (Some(at(MAX)), Some(at(MAX))));
    let commands = shop.network.commands();
    let same = shop.lending.renew(id, &device("a"), Some(at(MAX))).await.expect("that end it has");
    assert_eq!((same.event, same.licence, shop.network.commands()), (None, asked, commands));
    assert_eq!(refusal(shop.lending.renew(id, &device("a"), None).await), is(403, "renew/date"));
    for end in ["2026-07-01T00:00:00Z", "2026-05-10T00:00:00Z"] {
        assert_eq!(refusal(shop.lending.renew(id, &device("a"), Some(at(end))).await), is(403, "renew/date"), "{end}");
    }
}

#[tokio::test]
async fn a_loan_is_given_back_once() {
    for (registered, state) in [(true, State::Returned), (false, State::Cancelled)] {
        let (shop, id) = lent().await;
        if registered {
            shop.lending.register(id, &device("a")).await.expect("registered");
        }
        shop.clock.pass(3600);
        let returned = shop.lending.return_licence(id, &device("a")).await.expect("returned").licence;
        assert_eq!((returned.status.state, returned.status.end), (state, Some(shop.clock.now())));
        check(&shop, &returned);
        assert_eq!(refusal(shop.lending.return_licence(id, &device("a")).await), is(403, "return/already"));
        assert_eq!(refusal(shop.lending.register(id, &device("b")).await), is(403, "registration"));
        assert_eq!(refusal(shop.lending.renew(id, &device("a"), None).await), is(403, "renew"));
        assert_eq!(refusal(shop.lending.extend(id, at(MAX)).await), is(403, "renew"));
        assert_eq!(refusal(shop.lending.revoke(id).await), is(400, "cancel"));
        let change = LicenceChange { user: Some("another".to_owned()), ..LicenceChange::default() };
        let closed = shop.lending.change_licence(id, &change).await;
        assert!(matches!(closed, Err(LcpError::Closed(name)) if name == state.name()), "{closed:?}");
        assert_eq!(shop.lending.fresh(id, None).await.expect("as it was"), returned);
    }
}

#[tokio::test]
async fn what_was_sold_is_neither_renewed_nor_returned_and_can_be_revoked() {
    let (shop, title) = shop().await;
    let id = shop.lending.issue(sale(&title)).await.expect("issued").licence.id;
    assert_eq!(refusal(shop.lending.renew(id, &device("a"), None).await), is(403, "renew"));
    assert_eq!(refusal(shop.lending.return_licence(id, &device("a")).await), is(400, "return"));
    assert_eq!(refusal(shop.lending.extend(id, at(MAX)).await), is(403, "renew"));
    shop.lending.register(id, &device("a")).await.expect("registered");
    assert_eq!(refusal(shop.lending.cancel(id).await), is(400, "cancel"));
    shop.clock.pass(5);
    let revoked = shop.lending.revoke(id).await.expect("revoked").licence;
    assert_eq!((revoked.status.state, revoked.status.end), (State::Revoked, Some(shop.clock.now())));
    check(&shop, &revoked);
    assert_eq!(refusal(shop.lending.return_licence(id, &device("a")).await), is(400, "return"));
}

#[tokio::test]
async fn only_what_nobody_has_used_is_cancelled() {
    let (shop, id) = lent().await;
    shop.clock.pass(5);
    let cancelled = shop.lending.cancel(id).await.expect("cancelled");
    assert_eq!((cancelled.event, cancelled.licence.status.state), (Some(EventKind::Cancel), State::Cancelled));
    assert_eq!(refusal(shop.lending.cancel(id).await), is(400, "cancel"));
}

#[tokio::test]
async fn expiry_comes_by_itself_and_the_store_can_put_it_off() {
    let (shop, id) = lent().await;
    shop.clock.set(at("2026-05-15T10:00:01Z"));
    let licence = shop.lending.licence(id).await.expect("there").value;
    assert_eq!(shop.lending.status_document(&licence, Language::English, false)["status"], "expired");
    assert_eq!(refusal(shop.lending.register(id, &device("a")).await), is(403, "registration"));
    assert_eq!(refusal(shop.lending.renew(id, &device("a"), None).await), is(403, "renew"));
    assert_eq!(refusal(shop.lending.return_licence(id, &device("a")).await), is(403, "return/expired"));
    assert_eq!(refusal(shop.lending.extend(id, at(END)).await), is(403, "renew/date"));
    // Further than the store's own policy allows to readers.
    let extended = shop.lending.extend(id, at("2026-12-31T00:00:00Z")).await.expect("extended");
    assert_eq!(
        (extended.event, extended.licence.status.state_at(shop.clock.now())),
        (Some(EventKind::Renew), State::Ready)
    );
    assert_eq!(extended.licence.status.max_end, Some(at("2026-12-31T00:00:00Z")));
    check(&shop, &extended.licence);
    shop.lending.register(id, &device("a")).await.expect("registered");
}

#[tokio::test]
async fn devices_are_refused_above_the_limit_and_only_there() {
    let (mut shop, id) = lent().await;
    let mut config = shop.lending.config().clone();
    config.policy.devices_hard = Some(2);
    shop.lending =
        Lending::new(shop.store.clone(), shop.keys.clone(), shop.signers.clone(), config).expect("valid settings");
    for name in ["a", "b"] {
        shop.lending.register(id, &device(name)).await.expect("registered");
    }
    assert_eq!(refusal(shop.lending.register(id, &device("c")).await), is(403, "registration"));
    shop.lending.register(id, &device("a")).await.expect("registered before");
}

#[tokio::test]
async fn events_are_bounded_and_leave_room_for_the_end() {
    let (shop, id) = lent().await;
    let mut registered = 0;
    let refused = loop {
        let long = Device { id: Some(format!("{registered:0>255}")), name: Some("ㅎ".repeat(85)) };
        match shop.lending.register(id, &long).await {
            Ok(_) => registered += 1,
            Err(error) => break told(error),
        }
    };
    assert_eq!(refused, is(403, "registration"));
    assert_eq!(refusal(shop.lending.renew(id, &device("a"), None).await), is(403, "renew"));
    shop.clock.pass(1);
    let returned = shop.lending.return_licence(id, &device("a")).await.expect("returned").licence;
    assert!(returned.status.events.len() <= EVENTS_MAX && registered > EVENTS_MAX - 8, "{registered}");
    check(&shop, &returned);
}

#[tokio::test]
async fn a_store_changes_what_it_has_granted() {
    let (shop, id) = lent().await;
    shop.clock.pass(60);
    let rights = RightsChange {
        print: Limit::Set(3),
        copy: Limit::Set(0),
        start: Limit::Set(at("2026-05-02T00:00:00Z")),
        end: Limit::Set(at("2026-12-31T00:00:00.5Z")),
    };
    let (user, provider) = (Some("독자-2".to_owned()), Some("https://other.example".to_owned()));
    let change = LicenceChange { rights, user, provider };
    let changed = shop.lending.change_licence(id, &change).await.expect("changed");
    let document = check(&shop, &changed);
    let terms = document.terms();
    assert_eq!((terms.rights.print, terms.rights.copy, terms.updated), (Some(3), Some(0), Some(shop.clock.now())));
    assert_eq!((terms.rights.end, &*terms.provider), (Some(at("2026-12-31T00:00:00Z")), "https://other.example"));
    assert_eq!((changed.user.as_str(), changed.status.max_end), ("독자-2", Some(at("2026-12-31T00:00:00Z"))));
    // Once more is nothing at all.
    shop.clock.pass(60);
    assert_eq!(shop.lending.change_licence(id, &change).await.expect("as it is"), changed);
    let lift = RightsChange { print: Limit::Lift, copy: Limit::Lift, start: Limit::Lift, end: Limit::Lift };
    let lifted = LicenceChange { rights: lift, ..LicenceChange::default() };
    let sold = shop.lending.change_licence(id, &lifted).await.expect("changed");
    let rights = check(&shop, &sold).terms().rights.clone();
    assert_eq!((rights, sold.status.max_end), (drm::licence::Rights::default(), None));
    let wrong = RightsChange { start: Limit::Set(at(MAX)), end: Limit::Set(at(END)), ..RightsChange::default() };
    let refused = shop.lending.change_licence(id, &LicenceChange { rights: wrong, ..LicenceChange::default() }).await;
    assert!(matches!(refused, Err(LcpError::Grant(_))), "{refused:?}");
}

#[tokio::test]
async fn what_has_expired_opens_again_when_the_store_moves_its_end() {
    let (shop, id) = lent().await;
    shop.clock.set(at("2026-06-01T00:00:00Z"));
    let rights = RightsChange { end: Limit::Set(at(MAX)), ..RightsChange::default() };
    let changed = shop.lending.change_licence(id, &LicenceChange { rights, ..LicenceChange::default() }).await;
    let changed = changed.expect("changed");
    assert_eq!(changed.status.state_at(shop.clock.now()), State::Ready);
    check(&shop, &changed);
}

#[tokio::test]
async fn a_licence_is_taken_back_though_nothing_can_be_signed() {
    let (shop, id) = lent().await;
    let extended = shop.lending.extend(id, at("2029-01-01T00:00:00Z")).await.expect("extended").licence;
    shop.lending.register(id, &device("a")).await.expect("registered");
    shop.clock.set(at("2028-06-01T00:00:00Z"));
    let refused = shop.lending.extend(id, at("2030-01-01T00:00:00Z")).await;
    assert!(matches!(refused, Err(LcpError::Signing(_))), "{refused:?}");
    let revoked = shop.lending.revoke(id).await.expect("revoked").licence;
    assert_eq!((revoked.status.state, &revoked.document), (State::Revoked, &extended.document));
    check(&shop, &revoked);
    let document = shop.lending.status_document(&revoked, Language::Korean, true);
    assert_eq!((&document["status"], &document["events"][2]["type"]), (&"revoked".into(), &"revoke".into()));
}
