//! What the tests of licences share: an authority, providers that sign, and random bytes from a seed.

use crate::licence::{self, Grant, HashForm, Issued, Keys, LicenceId, Provider as Store, Publication, Reader, Rights};
use crate::signature::{Algorithm, Signer, SignerFailed};
use crate::{BasicProfile, ContentKey, Entropy, PassphraseHash};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use types::Timestamp;

/// For tests only: anybody has it.
const RSA_KEY: &str = include_str!("testing/testdata/test-only-rsa-2048.pem");

/// A time as documents write it.
pub(crate) fn at(text: &str) -> Timestamp {
    crate::rfc3339::read(text).expect("a date")
}

/// Random bytes that are the same for the same seed.
pub(crate) struct Seeded(ChaCha8Rng);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Seeded(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

pub(crate) fn rsa_key() -> KeyPair {
    KeyPair::from_pem(RSA_KEY).expect("the key of the tests")
}

/// What a provider's certificate usually says: valid from 2026-01-01 to 2028-01-01, serial number 7.
pub(crate) fn provider_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "provider of the tests");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(SerialNumber::from(7));
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

/// What a root usually says: ten years from 2020-01-01 on.
pub(crate) fn root_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

/// An authority with a root certificate.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Authority::of(root_params(name))
    }

    pub(crate) fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key of P-256");
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        Authority { issuer: Issuer::new(params, key), der }
    }

    pub(crate) fn root(&self) -> crate::certificate::Root {
        crate::certificate::Root::parse(&self.der).expect("a root")
    }

    pub(crate) fn certify(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &self.issuer).expect("a certificate").der().to_vec()
    }

    /// A provider whose key is of P-256.
    pub(crate) fn provider(&self, params: &CertificateParams) -> Provider {
        let key = KeyPair::generate().expect("a key of P-256");
        Provider::of(self.certify(params, &key), &key)
    }

    /// A provider whose key is the one of RSA.
    pub(crate) fn rsa_provider(&self, params: &CertificateParams) -> Provider {
        let key = rsa_key();
        Provider::of(self.certify(params, &key), &key)
    }

    /// A list that takes back the certificates of these serial numbers, made 2026-06-01, the next due 2026-07-01.
    pub(crate) fn list(&self, serials: &[u64]) -> Vec<u8> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 1),
            next_update: date_time_ymd(2026, 7, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").der().to_vec()
    }
}

enum PrivateKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// A provider as the layer above has it: certificate and private key.
pub(crate) struct Provider {
    pub(crate) certificate: Vec<u8>,
    key: PrivateKey,
}

impl Provider {
    pub(crate) fn of(certificate: Vec<u8>, key: &KeyPair) -> Self {
        let pkcs8 = key.serialized_der();
        let key = match RsaKeyPair::from_pkcs8(pkcs8) {
            Ok(rsa) => PrivateKey::Rsa(Box::new(rsa)),
            Err(_) => {
                let random = SystemRandom::new();
                let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random);
                PrivateKey::Ecdsa(Box::new(ecdsa.expect("a key of P-256")))
            }
        };
        Provider { certificate, key }
    }
}

impl Signer for Provider {
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
        match &self.key {
            PrivateKey::Rsa(key) => {
                let mut value = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut value)
                    .map_err(|e| SignerFailed(e.to_string().into()))?;
                Ok(value)
            }
            PrivateKey::Ecdsa(key) => {
                let value = key.sign(&random, message).map_err(|e| SignerFailed(e.to_string().into()))?;
                Ok(value.as_ref().to_vec())
            }
        }
    }
}

/// The id of the sample's licence.
pub(crate) const LICENCE: &str = "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10";

/// All that a licence is made of; tests change what they are about.
pub(crate) struct Sample {
    pub(crate) store: Store,
    pub(crate) publication: Publication,
    pub(crate) reader: Reader,
    pub(crate) hint: String,
    pub(crate) rights: Rights,
    pub(crate) links: Vec<licence::Link>,
    pub(crate) content_key: ContentKey,
    pub(crate) passphrase: PassphraseHash,
    pub(crate) entropy: Seeded,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let store = Store {
            uri: "https://store.example".to_owned(),
            hint_href: Some("https://store.example/hint?licence={license_id}".to_owned()),
            status_href: Some("https://store.example/lsd/licenses/{license_id}/status".to_owned()),
            links: vec![licence::Link::new("support", "mailto:help@store.example", "text/plain")],
        };
        let publication = Publication {
            href: "https://store.example/books/1.epub".to_owned(),
            media_type: "application/epub+zip".to_owned(),
            title: Some("책 \"하나\"\n".to_owned()),
            length: 123_456,
            sha256: [0xab; 32],
            hash_form: HashForm::Hex,
        };
        let reader = Reader {
            email: Some("reader@store.example".to_owned()),
            name: Some("홍길동".to_owned()),
            ..Reader::new("독자-1")
        };
        Sample {
            store,
            publication,
            reader,
            hint: "늘 쓰던 것".to_owned(),
            rights: Rights { print: Some(10), copy: Some(0), ..Rights::default() },
            links: Vec::new(),
            content_key: ContentKey::from([5; 32]),
            passphrase: PassphraseHash::of("비밀 123"),
            entropy: Seeded::new(1),
        }
    }

    pub(crate) fn grant(&self) -> Grant<'_> {
        Grant {
            provider: &self.store,
            publication: &self.publication,
            reader: &self.reader,
            hint: &self.hint,
            rights: &self.rights,
            links: &self.links,
        }
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys { profile: &BasicProfile, content_key: &self.content_key, passphrase: &self.passphrase }
    }

    pub(crate) fn unsigned(&mut self, now: &str) -> Result<licence::Unsigned, licence::BadGrant> {
        let id: LicenceId = LICENCE.parse().expect("an id");
        let mut entropy = std::mem::replace(&mut self.entropy, Seeded::new(0));
        let unsigned = licence::issue(id, &self.grant(), self.keys(), at(now), &mut entropy);
        self.entropy = entropy;
        unsigned
    }

    pub(crate) fn issued(&mut self, signer: &Provider, now: &str) -> Issued {
        self.unsigned(now).expect("a sound grant").sign(signer, at(now)).expect("a valid certificate")
    }
}
