//! What is issued, what is not, and requests that are made twice.

use crate::{check, loan, no_secret_is_kept, reader, sale, shop};
use drm::PassphraseHash;
use drm::licence::field;
use drm::licence::{BadGrant, Link, Reader, SigningError};
use drm::status::State;
use gateway_core::ClusterError;
use gateway_core::lcp::{Fault, LcpError, NewLicence, Standing, Title};
use s3_compat::lcp::at;

#[tokio::test]
async fn a_licence_opens_its_title_and_nothing_of_the_secret_stays() {
    let (shop, title) = shop().await;
    let issued = shop.lending.issue(loan(&title)).await.expect("issued");
    assert!(!issued.is_repeated);
    let licence = issued.licence;
    let document = check(&shop, &licence);
    let terms = document.terms();
    assert_eq!((terms.issued, terms.updated, terms.hint.as_str()), (shop.clock.now(), None, "늘 쓰던 것"));
    assert_eq!(terms.provider, "https://store.example");
    let link = |rel| terms.link(rel).map(|link| link.href.clone()).expect("a link");
    assert_eq!(link("publication"), "https://cdn.example/book-1/1.epub");
    assert_eq!(link("status"), format!("https://s.example/lsd/licenses/{}/status", licence.id));
    assert_eq!(link("hint"), "https://store.example/hint");
    assert_eq!((licence.status.state, licence.status.max_end), (State::Ready, Some(at("2026-06-30T10:00:00Z"))));
    assert_eq!(shop.lending.licence(licence.id).await.expect("kept").value, licence);
    assert!(shop.is_kept(licence.document.as_bytes()));
    no_secret_is_kept(&shop);
}

#[tokio::test]
async fn a_canary_would_be_found() {
    let (shop, title) = shop().await;
    let hint = "비밀 123 of the canary".to_owned();
    shop.lending.issue(NewLicence { hint: hint.clone(), ..sale(&title) }).await.expect("issued");
    assert!(shop.is_kept(hint.as_bytes()));
}

#[tokio::test]
async fn a_store_has_links_and_a_name_of_its_own_for_one_licence() {
    let (shop, title) = shop().await;
    let links = vec![Link::new("hint", "https://other.example/hint", "text/html")];
    let new = NewLicence { links: links.clone(), provider: Some("https://other.example".to_owned()), ..sale(&title) };
    let licence = shop.lending.issue(new).await.expect("issued").licence;
    let document = check(&shop, &licence);
    assert_eq!(document.terms().provider, "https://other.example");
    let hints: Vec<_> = document.terms().links.iter().filter(|link| link.is("hint")).cloned().collect();
    assert_eq!((hints, &licence.links), (links.clone(), &links));
}

#[tokio::test]
async fn a_title_has_to_be_there_and_protected() {
    let (shop, title) = shop().await;
    let unknown = shop.lending.issue(sale(&"no-book".parse().expect("an id"))).await;
    assert!(matches!(unknown, Err(LcpError::NoSuchTitle)), "{unknown:?}");
    let whole = shop.lending.title(&title).await.expect("there").value;
    let (since, reason, at) = (shop.clock.now(), "no pages".to_owned(), shop.clock.now());
    let without = |standing| Title { standing, packages: Vec::new(), ..whole.clone() };
    for waiting in [
        Standing::Queued { since, due: since, tries: 0 },
        Standing::Protecting { worker: 1, until: since, done: 0, tries: 1 },
    ] {
        shop.put_title(&without(waiting)).await;
        let refused = shop.lending.issue(sale(&title)).await;
        assert!(matches!(refused, Err(LcpError::NotReady)), "{refused:?}");
    }
    shop.put_title(&without(Standing::Failed { fault: Fault::Refused, reason: reason.clone(), at })).await;
    let refused = shop.lending.issue(sale(&title)).await;
    assert!(matches!(&refused, Err(LcpError::Unprotectable(why)) if *why == reason), "{refused:?}");
    shop.put_title(&Title { standing: Standing::Gone { at }, ..whole.clone() }).await;
    let refused = shop.lending.issue(sale(&title)).await;
    assert!(matches!(refused, Err(LcpError::NoSuchTitle)), "{refused:?}");
    // A new version that waits, or cannot be protected, does not take back the one that there is.
    shop.put_title(&Title { standing: Standing::Queued { since, due: since, tries: 0 }, ..whole.clone() }).await;
    shop.lending.issue(sale(&title)).await.expect("issued");
    shop.put_title(&Title { standing: Standing::Failed { fault: Fault::Refused, reason, at }, ..whole }).await;
    shop.lending.issue(sale(&title)).await.expect("issued");
}

#[tokio::test]
async fn what_cannot_stand_in_a_licence_is_refused() {
    let (shop, title) = shop().await;
    let of = |id: &str| Reader { id: id.to_owned(), ..reader() };
    let ends = |start: &str, end: &str| {
        let mut new = sale(&title);
        (new.rights.start, new.rights.end) = (Some(at(start)), Some(at(end)));
        new
    };
    let field = |error: LcpError| match error {
        LcpError::Grant(BadGrant::Field(bad)) => (bad.field, bad.fault),
        other => panic!("{other:?}"),
    };
    for (new, expected) in [
        (NewLicence { hint: String::new(), ..sale(&title) }, ("encryption.user_key.text_hint", field::Fault::Empty)),
        (NewLicence { reader: of(""), ..sale(&title) }, ("user.id", field::Fault::Empty)),
        (NewLicence { reader: of("a\u{2028}"), ..sale(&title) }, ("user.id", field::Fault::Character { code: 0x2028 })),
        (NewLicence { provider: Some("store".to_owned()), ..sale(&title) }, ("provider", field::Fault::Uri)),
        (ends("2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z"), ("rights.end", field::Fault::Order)),
    ] {
        assert_eq!(field(shop.lending.issue(new).await.expect_err("refused")), expected);
    }
    let profile = Some("http://readium.org/lcp/profile-1.0".to_owned());
    let refused = shop.lending.issue(NewLicence { profile, ..sale(&title) }).await;
    assert!(matches!(refused, Err(LcpError::Invalid { field: "encryption.profile", .. })), "{refused:?}");
    let many =
        (0..20).map(|n| Link::new("support", &format!("https://a.example/{n}{}", "x".repeat(1900)), "text/html"));
    let refused = shop.lending.issue(NewLicence { links: many.collect(), ..sale(&title) }).await;
    assert!(matches!(refused, Err(LcpError::Invalid { field: "links", .. })), "{refused:?}");
    assert_eq!(shop.lending.count_licences(None, None).await.expect("counted"), 0);
}

#[tokio::test]
async fn nothing_is_issued_with_a_certificate_that_has_ended_or_without_the_key() {
    let (shop, title) = shop().await;
    shop.clock.set(at("2028-06-01T00:00:00Z"));
    let refused = shop.lending.issue(sale(&title)).await;
    assert!(matches!(refused, Err(LcpError::Signing(SigningError::Validity(_)))), "{refused:?}");
    shop.signers.set(shop.authority.provider(2028..2030));
    shop.keys.set_away(true);
    let refused = shop.lending.issue(sale(&title)).await;
    assert!(matches!(refused, Err(LcpError::Key(_))), "{refused:?}");
    shop.keys.set_away(false);
    check(&shop, &shop.lending.issue(sale(&title)).await.expect("issued").licence);
    assert_eq!(shop.lending.count_licences(None, None).await.expect("counted"), 1);
}

#[tokio::test]
async fn a_request_with_a_name_is_one_licence_however_often_it_is_made() {
    let (shop, title) = shop().await;
    let named = NewLicence { nonce: Some([7; 16]), ..loan(&title) };
    shop.network.lose(1);
    let unknown = shop.lending.issue(named.clone()).await;
    assert!(matches!(unknown, Err(LcpError::Cluster(ClusterError::Unavailable))), "{unknown:?}");
    let again = shop.lending.issue(named.clone()).await.expect("the same");
    assert!(again.is_repeated);
    check(&shop, &again.licence);
    // Also when nothing could be issued any more, at another gateway, and after it has changed.
    shop.lending.register(again.licence.id, &crate::device("a")).await.expect("registered");
    shop.clock.set(at("2028-06-01T00:00:00Z"));
    let later = shop.other_gateway().issue(named).await.expect("the same");
    assert_eq!((later.is_repeated, later.licence.id), (true, again.licence.id));
    assert_eq!(later.licence.status.state, State::Active);
    assert_eq!(shop.lending.count_licences(None, None).await.expect("counted"), 1);
    no_secret_is_kept(&shop);
}

#[tokio::test]
async fn a_name_is_not_good_for_another_request() {
    let (shop, title) = shop().await;
    let other_title = shop.add_title("book-2").await;
    let nonce = Some([7; 16]);
    let named = NewLicence { nonce, ..loan(&title) };
    shop.lending.issue(named.clone()).await.expect("issued");
    let email = Some("another@reader.example".to_owned());
    for other in [
        NewLicence { title: other_title, ..named.clone() },
        NewLicence { passphrase: PassphraseHash::of("another"), ..named.clone() },
        NewLicence { reader: Reader { email, ..reader() }, ..named.clone() },
        NewLicence { hint: "another".to_owned(), ..named.clone() },
        NewLicence { nonce, ..sale(&title) },
    ] {
        let refused = shop.lending.issue(other).await;
        assert!(matches!(refused, Err(LcpError::NonceUsed)), "{refused:?}");
    }
    assert_eq!(shop.lending.count_licences(None, None).await.expect("counted"), 1);
    let second = shop.lending.issue(NewLicence { nonce: Some([8; 16]), ..named }).await.expect("issued");
    assert!(!second.is_repeated);
}
