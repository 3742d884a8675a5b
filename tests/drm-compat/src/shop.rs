//! A store that sells licences, one reader's as a rule.

use crate::{Authority, KeyKind, Provider, Seeded, Title};
use anyhow::Context;
use drm::licence::{self, Change, Grant, Issued, Keys, Licence, LicenceId, Link, Reader, Rights, Scalar};
use drm::{BasicProfile, PassphraseHash};
use types::Timestamp;

/// What the reader types: letters of three bytes, a space at the end that is part of it.
pub const PASSPHRASE: &str = "비밀 123 é ";
/// What reminds him of it.
pub const HINT: &str = "늘 쓰던 것 — \"따옴표\" \\ / <&> 😀";

/// A time as documents write it.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn at(text: &str) -> Timestamp {
    drm::rfc3339::read(text).expect("a date")
}

/// A store.
pub struct Shop {
    /// Who has certified it.
    pub authority: Authority,
    /// Its key and certificate, of serial number 7, from 2026 to 2028.
    pub signer: Provider,
    /// What stands in all of its licences.
    pub store: licence::Provider,
    /// Whom it sells to.
    pub reader: Reader,
    entropy: Seeded,
}

impl Shop {
    /// The serial number of the certificate.
    pub const SERIAL: u64 = 7;

    /// One whose authority and own key are of that kind; status documents are under `base`.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new(kind: KeyKind, base: &str) -> anyhow::Result<Self> {
        let authority = Authority::new(kind)?;
        let signer = authority.provider(kind, Self::SERIAL, (2026, 2028))?;
        let store = licence::Provider {
            uri: "https://store.example".to_owned(),
            hint_href: Some("https://store.example/hint?licence={license_id}&a='b'".to_owned()),
            status_href: Some(format!("{base}/lsd/licenses/{{license_id}}/status")),
            links: vec![Link::new("support", "mailto:help@store.example", "text/plain")],
        };
        let mut reader = Reader::new("독자-1");
        reader.email = Some("reader@store.example".to_owned());
        reader.name = Some("홍길동 (洪吉童) \"의적\"".to_owned());
        // Names that are sorted otherwise by UTF-16 than by code points.
        for name in ["\u{ff21}", "\u{1f600}", "a", "A"] {
            let uri = format!("https://store.example/{name}");
            reader.extensions.insert(uri, Scalar::Text(format!("값 {name} \u{80}\u{feff}\u{2027}")));
        }
        Ok(Shop { authority, signer, store, reader, entropy: Seeded::new(11) })
    }

    /// A licence for a title, issued at `now`.
    ///
    /// # Errors
    /// It is not issued.
    pub fn issue(&mut self, title: &Title, rights: &Rights, now: Timestamp) -> anyhow::Result<Issued> {
        let id = LicenceId::random(&mut self.entropy);
        let publication = title.publication();
        let grant = grant(&self.store, &publication, &self.reader, rights);
        let (passphrase, profile) = (PassphraseHash::of(PASSPHRASE), BasicProfile);
        let keys = Keys { profile: &profile, content_key: &title.key, passphrase: &passphrase };
        let unsigned = licence::issue(id, &grant, keys, now, &mut self.entropy)?;
        Ok(unsigned.sign(&self.signer, now)?)
    }

    /// The same licence with everything in it made anew, under another passphrase.
    ///
    /// # Errors
    /// It is not issued.
    pub fn reissue(
        &mut self,
        issued: &Issued,
        title: &Title,
        passphrase: &str,
        now: Timestamp,
    ) -> anyhow::Result<Issued> {
        let stored = Licence::parse(issued.document.as_bytes())?;
        let (publication, rights) = (title.publication(), stored.terms().rights.clone());
        let grant = grant(&self.store, &publication, &self.reader, &rights);
        let (passphrase, profile) = (PassphraseHash::of(passphrase), BasicProfile);
        let keys = Keys { profile: &profile, content_key: &title.key, passphrase: &passphrase };
        let unsigned = licence::reissue(&stored, &grant, keys, now, &mut self.entropy)?;
        Ok(unsigned.sign(&self.signer, now)?)
    }

    /// The licence after a change.
    ///
    /// # Errors
    /// It is not issued.
    pub fn change(&self, issued: &Issued, change: &Change, now: Timestamp) -> anyhow::Result<Issued> {
        let stored = Licence::parse(issued.document.as_bytes())?;
        Ok(licence::change(&stored, change, now)?.sign(&self.signer, now)?)
    }

    /// The licence with another end, which is what renewing and returning come to.
    ///
    /// # Errors
    /// It is not issued.
    pub fn end_at(&self, issued: &Issued, end: Timestamp, now: Timestamp) -> anyhow::Result<Issued> {
        let rights = Licence::parse(issued.document.as_bytes())?.terms().rights.clone();
        let rights = Some(Rights { end: Some(end), ..rights });
        self.change(issued, &Change { rights, ..Change::default() }, now)
    }

    /// The licence signed anew, by the certificate that the store has now.
    ///
    /// # Errors
    /// It is not issued.
    pub fn sign_anew(&self, issued: &Issued, now: Timestamp) -> anyhow::Result<Issued> {
        let unsigned = Licence::parse(issued.document.as_bytes())?.unsigned().context("it has grown too long")?;
        Ok(unsigned.sign(&self.signer, now)?)
    }
}

fn grant<'a>(
    provider: &'a licence::Provider,
    publication: &'a licence::Publication,
    reader: &'a Reader,
    rights: &'a Rights,
) -> Grant<'a> {
    Grant { provider, publication, reader, hint: HINT, rights, links: &[] }
}
