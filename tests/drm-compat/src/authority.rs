//! A root certificate, providers that it certifies, and its list of those it takes back.
//!
//! Keys are made in each run and never kept; those of RSA by openssl, since ring makes none.

use crate::programs::output_of;
use anyhow::Context;
use drm::Signer;
use drm::signature::{Algorithm, SignerFailed};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use std::process::Command;

/// What kind of key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 2048 bits, as the providers of today have it.
    Rsa,
    /// ECDSA on P-256.
    Ecdsa,
}

impl KeyKind {
    /// Both.
    pub const ALL: [KeyKind; 2] = [KeyKind::Rsa, KeyKind::Ecdsa];

    /// A new key.
    ///
    /// # Errors
    /// openssl cannot be run.
    fn generate(self) -> anyhow::Result<KeyPair> {
        match self {
            KeyKind::Ecdsa => Ok(KeyPair::generate()?),
            KeyKind::Rsa => {
                let mut openssl = Command::new("openssl");
                openssl.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
                let pem = String::from_utf8(output_of(&mut openssl)?)?;
                KeyPair::from_pem(&pem).context("openssl has made no key")
            }
        }
    }
}

/// An authority with a root certificate from 2020 to 2030.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    /// One whose key is of that kind.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new(kind: KeyKind) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        let key = kind.generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Authority { issuer: Issuer::new(params, key), certificate })
    }

    /// Its root certificate, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its root certificate as our own reader takes it.
    ///
    /// # Errors
    /// It takes it not.
    pub fn root(&self) -> anyhow::Result<drm::certificate::Root> {
        Ok(drm::certificate::Root::parse(self.certificate.der())?)
    }

    /// A provider with a new key, certified from the beginning of one year to that of another.
    ///
    /// # Errors
    /// No key can be made.
    pub fn provider(&self, kind: KeyKind, serial: u64, (from, to): (i32, i32)) -> anyhow::Result<Provider> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "provider of the tests");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = kind.generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Provider::new(certificate.der().to_vec(), &key, kind)
    }

    /// The list that takes back the certificates of these serial numbers, PEM.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn revocations_pem(&self, serials: &[u64]) -> anyhow::Result<String> {
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
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

enum PrivateKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// A provider: certificate and private key.
pub struct Provider {
    certificate: Vec<u8>,
    key: PrivateKey,
}

impl Provider {
    fn new(certificate: Vec<u8>, key: &KeyPair, kind: KeyKind) -> anyhow::Result<Self> {
        let pkcs8 = key.serialized_der();
        let rejected = |error: ring::error::KeyRejected| anyhow::anyhow!("ring takes no such key: {error}");
        let key = match kind {
            KeyKind::Rsa => PrivateKey::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?)),
            KeyKind::Ecdsa => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
                PrivateKey::Ecdsa(Box::new(key.map_err(rejected)?))
            }
        };
        Ok(Provider { certificate, key })
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
        let failed = |error: ring::error::Unspecified| SignerFailed(error.to_string().into());
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
