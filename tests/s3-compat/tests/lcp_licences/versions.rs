//! Licences that are fetched anew: of a newer version of their title, under a newer certificate, for another passphrase.

use crate::{check, device, lent, loan, no_secret_is_kept, reader, shop};
use drm::licence::{CannotUnlock, Licence, Link, Reader};
use drm::status::Language;
use drm::{BasicProfile, PassphraseHash};
use gateway_core::lcp::{Anew, LcpError, Lending};
use s3_compat::lcp::at;

fn anew() -> Anew {
    let (hint, passphrase) = ("das andere".to_owned(), PassphraseHash::of("another passphrase"));
    Anew { reader: reader(), hint, passphrase, links: None, profile: None }
}

#[tokio::test]
async fn a_fresh_licence_is_the_same_bytes_until_something_changes() {
    let (shop, id) = lent().await;
    let licence = shop.lending.licence(id).await.expect("there").value;
    shop.clock.pass(3600);
    let commands = shop.network.commands();
    assert_eq!(shop.lending.fresh(id, None).await.expect("fresh"), licence);
    assert_eq!(shop.network.commands(), commands);
}

#[tokio::test]
async fn a_newer_package_moves_the_licence_once() {
    let (shop, id) = lent().await;
    shop.clock.pass(60);
    let title = shop.lending.licence(id).await.expect("there").value.title;
    shop.add_version(&title).await;
    let moved = shop.lending.fresh(id, None).await.expect("fresh");
    let document = check(&shop, &moved);
    let link = document.terms().link("publication").expect("a link").clone();
    assert_eq!((moved.version, link.length, link.hash), (2, Some(1_000_002), Some("02".repeat(32))));
    assert_eq!(link.href, "https://cdn.example/book-1/2.epub");
    assert_eq!((document.terms().updated, moved.status.licence_updated), (Some(shop.clock.now()), shop.clock.now()));
    let status = shop.lending.status_document(&moved, Language::English, false);
    assert_eq!(status["updated"]["license"], "2026-05-01T10:01:00Z");
    shop.clock.pass(60);
    assert_eq!(shop.lending.fresh(id, None).await.expect("fresh"), moved);
}

#[tokio::test]
async fn whatever_is_done_to_a_licence_brings_it_up_to_date() {
    let (shop, id) = lent().await;
    shop.clock.pass(60);
    let title = shop.lending.licence(id).await.expect("there").value.title;
    shop.add_version(&title).await;
    let registered = shop.lending.register(id, &device("a")).await.expect("registered").licence;
    check(&shop, &registered);
    assert_eq!((registered.version, registered.status.licence_updated), (2, shop.clock.now()));
    shop.add_version(&title).await;
    let renewed = shop.lending.renew(id, &device("a"), None).await.expect("renewed").licence;
    check(&shop, &renewed);
    assert_eq!((renewed.version, renewed.status.end), (3, Some(at("2026-05-29T10:00:00Z"))));
}

#[tokio::test]
async fn a_licence_lives_on_when_its_title_is_gone() {
    let (shop, title) = shop().await;
    let id = shop.lending.issue(loan(&title)).await.expect("issued").licence.id;
    let licence = shop.lending.licence(id).await.expect("there").value;
    shop.remove_title(&title).await;
    assert_eq!(shop.lending.fresh(id, None).await.expect("as it was"), licence);
    check(&shop, &shop.lending.renew(id, &device("a"), None).await.expect("renewed").licence);
    let refused = shop.lending.fresh(id, Some(anew())).await;
    assert!(matches!(refused, Err(LcpError::NoSuchTitle)), "{refused:?}");
    shop.clock.pass(60);
    check(&shop, &shop.lending.revoke(id).await.expect("revoked").licence);
}

#[tokio::test]
async fn a_new_certificate_signs_old_licences_and_moves_them_to_its_beginning() {
    let (shop, id) = lent().await;
    let old = shop.lending.licence(id).await.expect("there").value;
    // An older one, as at a gateway that has not read the new one yet: it does not undo what others do.
    shop.signers.set(shop.authority.provider(2025..2029));
    assert_eq!(shop.lending.fresh(id, None).await.expect("fresh"), old);
    // A newer one that began before the licence: signed anew, at no other time.
    shop.signers.set(shop.authority.provider(2026..2029));
    let resigned = shop.lending.fresh(id, None).await.expect("fresh");
    check(&shop, &resigned);
    assert!(resigned.document != old.document && resigned.status == old.status);
    assert_eq!(shop.lending.fresh(id, None).await.expect("fresh"), resigned);
    // One that is younger than the licence: readers would refuse it at the licence's time.
    shop.lending.extend(id, at("2030-01-01T00:00:00Z")).await.expect("extended");
    shop.clock.set(at("2028-03-01T00:00:00Z"));
    shop.signers.set(shop.authority.provider(2028..2030));
    let moved = shop.lending.fresh(id, None).await.expect("fresh");
    check(&shop, &moved);
    assert_eq!(moved.status.licence_updated, at("2028-01-01T00:00:00Z"));
}

#[tokio::test]
async fn a_licence_that_cannot_be_signed_is_given_as_it_was() {
    let (shop, id) = lent().await;
    let licence = shop.lending.licence(id).await.expect("there").value;
    shop.add_version(&licence.title).await;
    shop.clock.set(at("2028-03-01T00:00:00Z"));
    assert_eq!(shop.lending.fresh(id, None).await.expect("as it was"), licence);
    let refused = shop.lending.fresh(id, Some(anew())).await;
    assert!(matches!(refused, Err(LcpError::Signing(_))), "{refused:?}");
}

#[tokio::test]
async fn a_reader_with_another_passphrase_gets_other_keys_and_the_same_rights() {
    let (shop, title) = shop().await;
    let mut new = loan(&title);
    new.links = vec![Link::new("support", "mailto:help@store.example", "text/plain")];
    new.provider = Some("https://other.example".to_owned());
    let old = shop.lending.issue(new).await.expect("issued").licence;
    shop.clock.pass(60);
    let name = Some("새 이름".to_owned());
    let next = shop.lending.fresh(old.id, Some(Anew { reader: Reader { name, ..reader() }, ..anew() })).await;
    let next = next.expect("issued anew");
    let document = Licence::parse(next.document.as_bytes()).expect("a licence");
    let terms = document.terms();
    assert_eq!((terms.id.clone(), terms.issued), (old.id.to_string(), old.issued));
    assert_eq!((terms.updated, terms.rights.end), (Some(shop.clock.now()), old.status.end));
    assert_eq!((terms.hint.as_str(), terms.provider.as_str()), ("das andere", "https://other.example"));
    assert!(terms.links.contains(&old.links[0]));
    let unlocked = document.unlock(&BasicProfile, &PassphraseHash::of("another passphrase")).expect("opens");
    let whom = document.reader(&unlocked.user_key).expect("readable").expect("somebody");
    assert_eq!((whom.name.as_deref(), whom.id.as_str()), (Some("새 이름"), "독자-1"));
    let wrong = document.unlock(&BasicProfile, &s3_compat::lcp::passphrase());
    assert_eq!(wrong, Err(CannotUnlock::WrongPassphrase));
    assert_eq!(next.status.events, old.status.events);
    no_secret_is_kept(&shop);
    assert!(!shop.is_kept(PassphraseHash::of("another passphrase").expose()));
}

#[tokio::test]
async fn a_licence_is_not_issued_anew_for_somebody_else_or_once_it_is_final() {
    let (shop, id) = lent().await;
    let other = Anew { reader: Reader { id: "독자-2".to_owned(), ..reader() }, ..anew() };
    let refused = shop.lending.fresh(id, Some(other)).await;
    assert!(matches!(refused, Err(LcpError::Invalid { field: "user.id", .. })), "{refused:?}");
    shop.clock.pass(60);
    let returned = shop.lending.return_licence(id, &device("a")).await.expect("returned").licence;
    assert_eq!(shop.lending.fresh(id, Some(anew())).await.expect("as it was"), returned);
}

#[tokio::test]
async fn gateways_that_bring_a_licence_up_to_date_at_once_agree() {
    let (shop, id) = lent().await;
    let title = shop.lending.licence(id).await.expect("there").value.title;
    shop.add_version(&title).await;
    let gateways: Vec<Lending> = (0..6).map(|_| shop.other_gateway()).collect();
    let fresh = futures::future::join_all(gateways.iter().map(|gateway| gateway.fresh(id, None))).await;
    let kept = shop.lending.licence(id).await.expect("there").value;
    for licence in fresh {
        assert_eq!(licence.expect("fresh"), kept);
    }
    check(&shop, &kept);
}
