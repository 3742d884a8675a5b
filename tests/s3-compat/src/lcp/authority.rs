//! An authority and its provider, made for the test.

use drm::certificate::Root;
use drm::signature::{Algorithm, Signer, SignerFailed};
use gateway_core::lcp::Signers;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use std::ops::Range;
use std::sync::Arc;

/// A root, as reading apps know one. Valid from 2020 to 2040.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// No certificate can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().expect("a key of P-256");
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        Authority { issuer: Issuer::new(params, key), der }
    }

    /// For checks of licences.
    ///
    /// # Panics
    /// The certificate is no root.
    #[must_use]
    pub fn root(&self) -> Root {
        Root::parse(&self.der).expect("a root")
    }

    /// A provider whose certificate is valid from the first of January of one year to that of another.
    ///
    /// # Panics
    /// No certificate can be made.
    #[must_use]
    pub fn provider(&self, years: Range<i32>) -> Arc<Provider> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "provider of the tests");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(7));
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().expect("a key of P-256");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().to_vec();
        let pkcs8 = key.serialized_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        Arc::new(Provider { certificate, key: key.expect("a key of P-256") })
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

/// A provider: certificate and private key.
pub struct Provider {
    certificate: Vec<u8>,
    key: EcdsaKeyPair,
}

impl Signer for Provider {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EcdsaSha256
    }

    fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFailed> {
        let signed =
            self.key.sign(&SystemRandom::new(), message).map_err(|error| SignerFailed(error.to_string().into()))?;
        Ok(signed.as_ref().to_vec())
    }
}

/// Who signs at present; a test puts another in his place.
pub struct Provisions(Mutex<Arc<Provider>>);

impl Provisions {
    /// With that one.
    #[must_use]
    pub fn new(provider: Arc<Provider>) -> Self {
        Provisions(Mutex::new(provider))
    }

    /// Another one, as after certificate and key were read anew.
    pub fn set(&self, provider: Arc<Provider>) {
        *self.0.lock() = provider;
    }
}

impl Signers for Provisions {
    fn current(&self) -> Arc<dyn Signer + Send + Sync> {
        self.0.lock().clone()
    }
}
