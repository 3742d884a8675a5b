//! How many licences one thread issues: the document, its keys, the signature, and the trial of the signature, as a gateway does it; no cluster has a part in it.

use super::{Bound, Outcome, count};
use crate::latency::{Samples, Summary};
use crate::usage::thread_cpu;
use drm::licence::{self, Grant, HashForm, Keys, LicenceId, Link, Provider, Publication, Reader, Rights};
use drm::signature::{Algorithm, Signer};
use drm::{BasicProfile, ContentKey, Entropy, PassphraseHash};
use gateway_core::provider_key::ProviderKey;
use serde::Serialize;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// Licences a second that one thread is to issue with keys of P-256.
pub const ECDSA_AIM: f64 = 1_500.0;
/// The same with keys of RSA-2048.
pub const RSA_AIM: f64 = 700.0;

/// How many licences a second are aimed at with keys of that kind.
#[must_use]
pub fn aim(algorithm: Algorithm) -> f64 {
    match algorithm {
        Algorithm::RsaSha256 => RSA_AIM,
        Algorithm::EcdsaSha256 => ECDSA_AIM,
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
pub fn issue(signer: &ProviderKey, bound: Bound) -> Issued {
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
    let aim_per_second = aim(signer.algorithm());
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
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn licences_are_issued_and_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (certificate, key) = (folder.path().join("provider.pem"), folder.path().join("provider.key.pem"));
        let pair = KeyPair::generate().expect("a key");
        let signed = CertificateParams::default().self_signed(&pair).expect("a certificate");
        std::fs::write(&certificate, signed.pem()).expect("written");
        std::fs::write(&key, pair.serialize_pem()).expect("written");
        set_permissions(&key, Permissions::from_mode(0o600)).expect("for nobody else");
        let signer = ProviderKey::load(&certificate, &key).expect("a pair");
        let issued = issue(&signer, Bound::ops(3));
        assert_eq!((issued.summary.ops, issued.summary.failed, issued.aim_per_second), (3, 0, ECDSA_AIM));
        assert!(issued.summary.bytes > 3_000 && issued.per_cpu_second > 1.0);
        std::fs::write(&key, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
        assert!(ProviderKey::load(&certificate, &key).is_err());
    }
}
