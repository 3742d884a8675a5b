//! How many licences one thread issues: the document, its keys, the signature, and the trial of the signature, as a gateway does it; no cluster has a part in it.

use super::{Bound, Outcome, count};
use crate::latency::{Samples, Summary};
use crate::usage::thread_cpu;
use anyhow::Context;
use drm::licence::{self, Grant, HashForm, Keys, LicenceId, Link, Provider, Publication, Reader, Rights};
use drm::signature::{Algorithm, Signer, SignerFailed};
use drm::{BasicProfile, ContentKey, Entropy, PassphraseHash};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// Licences a second that one thread is to issue with keys of P-256.
pub const ECDSA_AIM: f64 = 1_500.0;
/// The same with keys of RSA-2048.
pub const RSA_AIM: f64 = 700.0;

enum PrivateKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// A provider's certificate and key, both PEM.
pub struct ProviderPair {
    certificate: Vec<u8>,
    key: PrivateKey,
}

impl ProviderPair {
    /// Reads them, as `sago drm ca-dev` makes them.
    ///
    /// # Errors
    /// They are of another form, or do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let der = CertificateDer::from_pem_file(certificate).context("no certificate in PEM")?;
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_file(key).context("no private key in PEM, PKCS #8")?;
        let pkcs8 = pkcs8.secret_pkcs8_der();
        let parsed = drm::certificate::Certificate::parse(&der)?;
        let rejected = |error: ring::error::KeyRejected| anyhow::anyhow!("the key is not the certificate's: {error}");
        let key = match parsed.algorithm() {
            Algorithm::RsaSha256 => PrivateKey::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?)),
            Algorithm::EcdsaSha256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
                PrivateKey::Ecdsa(Box::new(key.map_err(rejected)?))
            }
        };
        let pair = ProviderPair { certificate: der.to_vec(), key };
        licence::check_signer(&pair, now())?;
        Ok(pair)
    }

    /// How many licences a second are aimed at.
    #[must_use]
    pub fn aim(&self) -> f64 {
        match self.algorithm() {
            Algorithm::RsaSha256 => RSA_AIM,
            Algorithm::EcdsaSha256 => ECDSA_AIM,
        }
    }
}

impl Signer for ProviderPair {
    fn algorithm(&self) -> Algorithm {
        match self.key {
            PrivateKey::Rsa(_) => Algorithm::RsaSha256,
            PrivateKey::Ecdsa(_) => Algorithm::EcdsaSha256,
        }
    }

    fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFailed> {
        let random = SystemRandom::new();
        let failed = |_| SignerFailed("ring does not sign".into());
        match &self.key {
            PrivateKey::Rsa(key) => {
                let mut value = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut value).map_err(failed)?;
                Ok(value)
            }
            PrivateKey::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

/// The generator of a gateway.
pub(super) struct System;

impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        rand::Rng::fill(&mut rand::rng(), bytes);
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, 0)
}

/// What one thread did.
#[derive(Clone, Debug, Serialize)]
pub struct Issued {
    /// How they were signed, by the URI in licences.
    pub algorithm: &'static str,
    /// Licences, and the time of each.
    pub summary: Summary,
    /// Licences a second of the thread's processor time: what it would be with a core of its own.
    pub per_cpu_second: f64,
    /// What is aimed at.
    pub aim_per_second: f64,
    /// Whether it is reached, by processor time, and all succeeded.
    pub aim_met: bool,
}

/// Issues licences from the calling thread; a sample is one of them, its bytes those of the document.
#[must_use]
pub fn issue(signer: &ProviderPair, bound: Bound) -> Issued {
    let (start, spent) = (Instant::now(), thread_cpu());
    let mut samples = Samples::default();
    let store = Store::new();
    for round in bound.rounds() {
        let mut bytes = 0;
        count(&mut samples, 0, || {
            bytes = store.licence(signer, round)?.len() as u64;
            Ok(())
        });
        samples.bytes += bytes;
    }
    let (outcome, spent) = (Outcome { samples, wall: start.elapsed() }, thread_cpu().saturating_sub(spent));
    let summary = outcome.samples.summary(outcome.wall);
    let per_cpu_second = summary.ops as f64 / spent.as_secs_f64().max(1e-9);
    let aim_per_second = signer.aim();
    let aim_met = summary.failed == 0 && per_cpu_second >= aim_per_second;
    Issued { algorithm: signer.algorithm().uri(), summary, per_cpu_second, aim_per_second, aim_met }
}

/// Everything of a licence that is the same in all of them.
struct Store {
    provider: Provider,
    publication: Publication,
    rights: Rights,
    content_key: ContentKey,
    passphrase: PassphraseHash,
    now: Timestamp,
}

impl Store {
    fn new() -> Self {
        let provider = Provider {
            uri: "https://store.example".to_owned(),
            hint_href: Some("https://store.example/hint?licence={license_id}".to_owned()),
            status_href: Some("https://store.example/lsd/licenses/{license_id}/status".to_owned()),
            links: vec![Link::new("support", "mailto:help@store.example", "text/plain")],
        };
        let publication = Publication {
            href: "https://store.example/lcp/contents/3f0c1a52".to_owned(),
            media_type: "application/epub+zip".to_owned(),
            title: Some("하늘과 바람과 별과 시".to_owned()),
            length: 5_000_000,
            sha256: [7; 32],
            hash_form: HashForm::Hex,
        };
        Store {
            provider,
            publication,
            rights: Rights { print: Some(10), copy: Some(2_000), ..Rights::default() },
            content_key: ContentKey::from([5; 32]),
            passphrase: PassphraseHash::of("늘 쓰던 것"),
            now: now(),
        }
    }

    fn licence(&self, signer: &dyn Signer, reader: usize) -> anyhow::Result<String> {
        let reader = Reader {
            email: Some("reader@store.example".to_owned()),
            name: Some("홍길동".to_owned()),
            ..Reader::new(&format!("reader-{reader}"))
        };
        let grant = Grant {
            provider: &self.provider,
            publication: &self.publication,
            reader: &reader,
            hint: "늘 쓰던 것",
            rights: &self.rights,
            links: &[],
        };
        let keys = Keys { profile: &BasicProfile, content_key: &self.content_key, passphrase: &self.passphrase };
        let id = LicenceId::random(&mut System);
        Ok(licence::issue(id, &grant, keys, self.now, &mut System)?.sign(signer, self.now)?.document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn licences_are_issued_and_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (certificate, key) = (folder.path().join("provider.pem"), folder.path().join("provider.key.pem"));
        let pair = KeyPair::generate().expect("a key");
        let signed = CertificateParams::default().self_signed(&pair).expect("a certificate");
        std::fs::write(&certificate, signed.pem()).expect("written");
        std::fs::write(&key, pair.serialize_pem()).expect("written");
        let signer = ProviderPair::load(&certificate, &key).expect("a pair");
        let issued = issue(&signer, Bound::ops(3));
        assert_eq!((issued.summary.ops, issued.summary.failed, issued.aim_per_second), (3, 0, ECDSA_AIM));
        assert!(issued.summary.bytes > 3_000 && issued.per_cpu_second > 1.0);
        std::fs::write(&key, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
        assert!(ProviderPair::load(&certificate, &key).is_err());
    }
}
