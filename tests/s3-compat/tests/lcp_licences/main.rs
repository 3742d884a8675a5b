//! Licences over real state machines in memory: issued once, refused in the right words, changed by several gateways at once and never lost.

mod issuing;
mod races;
mod searching;
mod steps;
mod versions;

use drm::certificate::Certificate;
use drm::licence::{Licence, LicenceId, Reader, Rights};
use drm::signature;
use drm::status::{Device, Policy, Problem};
use drm::{BasicProfile, ContentKey};
use gateway_core::lcp::{LcpError, LicenceEntry, NewLicence, TitleId};
use s3_compat::lcp::{CONTENT_KEY, PASSPHRASE, Shop, at, passphrase};

/// When a loan ends that began as [`Shop::open`] does.
const END: &str = "2026-05-15T10:00:00Z";
/// And when it ends for good.
const MAX: &str = "2026-06-30T10:00:00Z";

/// A reader whose name and address must not be found in the clear.
fn reader() -> Reader {
    let (email, name) = (Some("canary@reader.example".to_owned()), Some("카나리아 홍길동".to_owned()));
    Reader { email, name, ..Reader::new("독자-1") }
}

/// A sale of that title.
fn sale(title: &TitleId) -> NewLicence {
    NewLicence {
        title: title.clone(),
        reader: reader(),
        hint: "늘 쓰던 것".to_owned(),
        passphrase: passphrase(),
        rights: Rights { print: Some(10), ..Rights::default() },
        links: Vec::new(),
        provider: None,
        profile: None,
        nonce: None,
    }
}

/// A loan of two weeks.
fn loan(title: &TitleId) -> NewLicence {
    NewLicence { rights: Rights { end: Some(at(END)), ..Rights::default() }, ..sale(title) }
}

/// Two weeks more for each renewal, sixty days in all.
fn policy() -> Policy {
    Policy { renew_days: Some(14), renew_days_max: Some(60), devices_soft: Some(2), ..Policy::default() }
}

fn device(id: &str) -> Device {
    Device { id: Some(id.to_owned()), name: Some(format!("{id}의 단말")) }
}

/// A shop that lends, and one title of it.
async fn shop() -> (Shop, TitleId) {
    let shop = Shop::open(|config| config.policy = policy());
    let title = shop.add_title("book-1").await;
    (shop, title)
}

/// The same with a licence.
async fn lent() -> (Shop, LicenceId) {
    let (shop, title) = shop().await;
    let licence = shop.lending.issue(loan(&title)).await.expect("issued").licence;
    (shop, licence.id)
}

/// Checks what is kept of a licence against itself, and its document as a reader does: signature, certificate, keys, the title's content key.
fn check(shop: &Shop, licence: &LicenceEntry) -> Licence {
    let document = Licence::parse(licence.document.as_bytes()).expect("a licence");
    let (terms, of_document) = (document.terms(), document.signature());
    let certificate = Certificate::parse(&of_document.certificate).expect("a certificate");
    shop.authority.root().signed(&certificate).expect("of the authority");
    certificate.valid_at(terms.last_change()).expect("a certificate of that time");
    let (key, text) = (certificate.public_key(), document.signed_text());
    signature::verify(of_document.algorithm, key, text.as_bytes(), &of_document.value).expect("rightly signed");
    let unlocked = document.unlock(&BasicProfile, &passphrase()).expect("the passphrase opens it");
    assert_eq!(unlocked.content_key, ContentKey::from(CONTENT_KEY));
    let status = &licence.status;
    assert_eq!((terms.id.as_str(), status.id), (licence.id.to_string().as_str(), licence.id));
    assert_eq!((terms.last_change(), terms.rights.end), (status.licence_updated, status.end));
    assert_eq!(document.user_id(), Some(licence.user.as_str()));
    document
}

/// Status and type of the problem that a client is told.
fn told(error: LcpError) -> (u16, String) {
    let LcpError::Refused(refusal) = error else { panic!("no refusal of a step: {error}") };
    let problem = Problem::from(&refusal);
    let kind = problem.type_uri();
    (problem.status, kind.strip_prefix("http://readium.org/license-status-document/error/").expect("a type").to_owned())
}

/// Nothing of a reader's secret, and no content key, stands anywhere in the metadata in any form that a search finds.
fn no_secret_is_kept(shop: &Shop) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let hash = *passphrase().expose();
    let forms = |secret: &[u8]| [secret.to_vec(), hex::encode(secret).into(), STANDARD.encode(secret).into()];
    let secrets = [PASSPHRASE.as_bytes(), &hash, &CONTENT_KEY, b"canary@reader.example", "카나리아".as_bytes()];
    for secret in secrets.into_iter().flat_map(forms) {
        assert!(!shop.is_kept(&secret), "{}", String::from_utf8_lossy(&secret));
    }
}
